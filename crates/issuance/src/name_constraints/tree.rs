//! dNSName subtrees, sorted so that one binary search answers.

use core::cmp::Ordering;
use core::fmt;

use super::dns::{Host, forward, prefix};

/// The dNSName subtrees of one list.
///
/// A subtree's key is its host backwards with zero for every dot and one at the end, so that a
/// subtree's key is a prefix of the keys of exactly the hosts in it. Subtrees inside others are left
/// out; then the one that holds a host, if any, stands right before the host in the order of keys.
#[derive(Clone, Debug, Default)]
pub(super) struct HostTree {
    nodes: Vec<Node>,
    /// Whether the list was given at all.
    any: bool,
    /// The first subtree that is no host; nothing can be said about any name then.
    malformed: Option<Box<str>>,
}

/// One subtree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The key's first bytes, which decide nearly every comparison.
    prefix: u128,
    key: Box<[u8]>,
    /// Whether it was written with a leading dot, which leaves the host itself out.
    below: bool,
}

impl HostTree {
    pub(super) fn insert(&mut self, text: &str) {
        self.any = true;
        let below = text.strip_prefix('.');
        let key: Box<[u8]> = match Host::new(below.unwrap_or(text).as_bytes()) {
            Some(host) => host.key().into(),
            None if text.is_empty() => Box::default(),
            None => {
                self.malformed.get_or_insert_with(|| text.into());
                return;
            }
        };
        let node = Node {
            prefix: prefix(&key),
            key,
            below: below.is_some(),
        };
        if self.nodes.iter().any(|other| other.holds(&node)) {
            return;
        }
        self.nodes.retain(|other| !node.holds(other));
        let at = self.nodes.partition_point(|other| other.key < node.key);
        self.nodes.insert(at, node);
    }

    /// Whether there is no subtree.
    pub(super) fn is_empty(&self) -> bool {
        !self.any
    }

    /// The first subtree that is no host.
    pub(super) fn malformed(&self) -> Option<&str> {
        self.malformed.as_deref()
    }

    /// The only subtree, if there is one.
    pub(super) fn only(&self) -> Option<&Node> {
        match self.nodes.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The subtree that holds a host, or all a wildcard stands for.
    pub(super) fn holding(&self, name: &Host) -> Option<&Node> {
        let key = name.key();
        let node = self.nodes.get(self.behind(name).checked_sub(1)?)?;
        let itself = node.key.len() == key.len();
        (key.starts_with(&node.key) && (!itself || !node.below || name.is_wildcard()))
            .then_some(node)
    }

    /// The subtree that holds anything a name stands for: a wildcard stands for every label in its
    /// place, so also for a subtree one label further down.
    pub(super) fn touching(&self, name: &Host) -> Option<&Node> {
        let holding = self.holding(name);
        if holding.is_some() || !name.is_wildcard() {
            return holding;
        }
        let key = name.key();
        let below = self.nodes.get(self.behind(name)..)?.iter();
        below
            .take_while(|node| node.key.starts_with(key))
            .find(|node| {
                node.key[key.len()..]
                    .iter()
                    .filter(|byte| **byte == 0)
                    .count()
                    == 1
            })
    }

    /// The position of the first subtree behind a host, in the order of keys.
    fn behind(&self, name: &Host) -> usize {
        let (prefix, key) = (name.prefix(), name.key());
        self.nodes
            .partition_point(|node| match node.prefix.cmp(&prefix) {
                Ordering::Equal => *node.key <= *key,
                order => order == Ordering::Less,
            })
    }
}

impl Node {
    /// Whether everything in `other` is in here, too.
    fn holds(&self, other: &Self) -> bool {
        let itself = self.key.len() == other.key.len();
        other.key.starts_with(&self.key) && (!itself || !self.below || other.below)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return f.write_str("(every name)");
        }
        if self.below {
            f.write_str(".")?;
        }
        f.write_str(&forward(&self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(subtrees: &[&str]) -> HostTree {
        let mut tree = HostTree::default();
        subtrees.iter().for_each(|text| tree.insert(text));
        tree
    }

    #[test]
    fn one_subtree() {
        for (base, name, holding, touching) in [
            ("example.com", "example.com", true, true),
            ("example.com", "a.example.com", true, true),
            ("example.com", "A.B.EXAMPLE.com", true, true),
            ("EXAMPLE.com", "a.example.com", true, true),
            ("example.com", "badexample.com", false, false),
            ("example.com", "example.org", false, false),
            ("example.com", "com", false, false),
            (".example.com", "example.com", false, false),
            (".example.com", "a.example.com", true, true),
            ("", "a.example.com", true, true),
            ("example.com", "*.example.com", true, true),
            (".example.com", "*.example.com", true, true),
            ("foo.example.com", "*.example.com", false, true),
            (".foo.example.com", "*.example.com", false, true),
            ("a.foo.example.com", "*.example.com", false, false),
            ("example.com", "*.org.example", false, false),
        ] {
            let host = Host::presented(name.as_bytes()).unwrap();
            let tree = tree(&[base]);
            assert_eq!(tree.holding(&host).is_some(), holding, "{base} {name}");
            assert_eq!(tree.touching(&host).is_some(), touching, "{base} {name}");
        }
        for bad in ["*.example.com", "example.com.", ".", "a b", "10.0.0.1"] {
            assert_eq!(tree(&[bad]).malformed(), Some(bad));
        }
        for text in ["example.com", ".example.com"] {
            assert_eq!(tree(&[text]).only().unwrap().to_string(), text);
        }
    }

    proptest! {
        /// One search says what asking every subtree says.
        #[test]
        fn agrees_with_one_tree_per_subtree(
            subtrees in proptest::collection::vec("\\.?([ab-]{1,2}\\.){0,3}[abc]|", 0..8),
            name in "(\\*\\.)?([ab]{1,2}\\.){1,3}[abc]",
        ) {
            let usable = |text: &&str| tree(&[text]).malformed().is_none();
            let subtrees: Vec<&str> = subtrees.iter().map(String::as_str).filter(usable).collect();
            let host = Host::presented(name.as_bytes()).unwrap();
            let whole = tree(&subtrees);
            let any = |test: fn(&HostTree, &Host) -> bool| {
                subtrees.iter().any(|one| test(&tree(&[one]), &host))
            };
            prop_assert_eq!(whole.holding(&host).is_some(), any(|tree, host| tree.holding(host).is_some()));
            prop_assert_eq!(whole.touching(&host).is_some(), any(|tree, host| tree.touching(host).is_some()));
        }
    }
}

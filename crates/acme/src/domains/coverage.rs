use std::collections::HashSet;

/// Whether a name of a certificate stands for a name that is wanted, as Traefik's ACME provider has it:
/// both are the same text, or the certificate's, without dots at its end, is the wanted one with its
/// first label, or its first two, or any number of first labels, replaced by `*` each.
pub fn matches(pattern: &str, name: &str) -> bool {
    if pattern == name {
        return true;
    }
    let pattern = pattern.trim_end_matches('.').split('.');
    let stars = pattern.clone().take_while(|label| *label == "*").count();
    stars > 0
        && pattern.clone().count() == name.split('.').count()
        && pattern.skip(stars).eq(name.split('.').skip(stars))
}

/// Names of certificates that exist or are on their way, asked by a hash per label.
///
/// Which certificates count is the caller's business. Ours are those that are valid now: in Traefik an
/// expired one keeps a new one from being ordered.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    names: HashSet<String>,
    /// Without dots at the end: only these can stand for a name with stars.
    trimmed: HashSet<String>,
}

impl Coverage {
    /// The coverage of these names; one text may be several joined with commas, as Traefik's store
    /// identifies certificates.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut coverage = Self::default();
        for name in names {
            coverage.add(name);
        }
        coverage
    }

    /// Adds names.
    pub fn add(&mut self, names: &str) {
        for name in names.split(',') {
            self.insert(name);
        }
    }

    fn insert(&mut self, name: &str) {
        self.names.insert(name.to_owned());
        let trimmed = name.trim_end_matches('.');
        if trimmed.starts_with('*') {
            self.trimmed.insert(trimmed.to_owned());
        }
    }

    /// Whether one of the names stands for this one.
    pub fn covers(&self, name: &str) -> bool {
        self.names.contains(name)
            || !self.trimmed.is_empty() && starred(name).any(|one| self.trimmed.contains(&one))
    }

    /// The wanted names for which none stands, in order.
    pub fn uncovered(&self, wanted: &[String]) -> Vec<String> {
        let left = wanted.iter().filter(|name| !self.covers(name));
        left.cloned().collect()
    }
}

/// The name with its first label replaced by `*`, its first two, and so on.
fn starred(name: &str) -> impl Iterator<Item = String> {
    let labels = name.split('.').count();
    (1..=labels).map(move |stars| {
        let labels = name.split('.').enumerate();
        let labels: Vec<&str> = labels
            .map(|(index, label)| if index < stars { "*" } else { label })
            .collect();
        labels.join(".")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Traefik's own loop.
    fn naive(pattern: &str, name: &str) -> bool {
        if pattern == name {
            return true;
        }
        let pattern = pattern.trim_end_matches('.');
        let mut labels: Vec<&str> = name.split('.').collect();
        (0..labels.len()).any(|index| {
            labels[index] = "*";
            pattern == labels.join(".")
        })
    }

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("a.test", "a.test", true),
            ("a.test.", "a.test", false),
            ("A.test", "a.test", false),
            ("*.a.test", "b.a.test", true),
            ("*.a.test.", "b.a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", "c.b.a.test", false),
            ("*.*.a.test", "c.b.a.test", true),
            ("*.*.a.test", "b.a.test", false),
            ("c.*.a.test", "c.b.a.test", false),
            ("w*.a.test", "www.a.test", false),
            ("*", "localhost", true),
            ("*", "a.test", false),
            ("*.*", "a.test", true),
            ("?", "a.test", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*.0.2.7", "192.0.2.7", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
            assert_eq!(naive(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_left() {
        let wanted = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        for (existing, names, left) in [
            (&["a.t"][..], &["a.t", "b.t"][..], &["b.t"][..]),
            (
                &["*.a.t", "a.t"],
                &["a.t", "b.a.t", "c.b.a.t"],
                &["c.b.a.t"],
            ),
            (&["a.t,b.t,c.t"], &["b.t"], &[]),
            (&["a.t"], &["A.t"], &["A.t"]),
            (&[], &["a.t"], &["a.t"]),
        ] {
            let coverage = Coverage::of(existing.iter().copied());
            assert_eq!(coverage.uncovered(&wanted(names)), left, "{existing:?}");
        }
    }

    proptest! {
        #[test]
        fn as_the_plain_loop(pattern in "[ab*.]{0,8}", name in "[ab*.]{0,8}", others in proptest::collection::vec("[ab*.]{0,6}", 0..4)) {
            prop_assert_eq!(matches(&pattern, &name), naive(&pattern, &name));
            let coverage = Coverage::of(others.iter().map(String::as_str));
            let expected = others.iter().any(|other| naive(other, &name));
            prop_assert_eq!(coverage.covers(&name), expected);
        }
    }
}

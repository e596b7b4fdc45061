//! Several writes under conditions, all or nothing.

use std::collections::HashSet;

use crate::{Fence, Key, Revision, StorageError, Value};

/// The most bytes of keys and values one transaction may write.
pub const MAX_TXN_LEN: usize = 1 << 20;
/// The most guards, and the most writes, of one transaction.
pub const MAX_TXN_OPS: usize = 128;

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// There is nothing under the key.
    Absent(Key),
    /// The lease is held: nobody else acquired it, and it has not run out.
    Held(Fence),
    /// What is under the key was written at this revision.
    Unchanged(Key, Revision),
}

/// A write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// Nothing is under the key from now on; nothing happens if nothing was.
    Delete(Key),
    /// The value is under the key from now on.
    Put(Key, Value),
}

impl Write {
    /// The key written to.
    pub fn key(&self) -> &Key {
        match self {
            Self::Delete(key) | Self::Put(key, _) => key,
        }
    }
}

/// Writes that happen all together if every guard holds, and not at all otherwise.
///
/// At most [`MAX_TXN_OPS`] guards and as many writes, at most [`MAX_TXN_LEN`] bytes,
/// one write per key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    guards: Vec<Guard>,
    writes: Vec<Write>,
}

impl Txn {
    /// A transaction without guards or writes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if nothing is under `key`.
    #[must_use]
    pub fn if_absent(self, key: Key) -> Self {
        self.guard(Guard::Absent(key))
    }

    /// Only if what is under `key` was written at `revision`.
    #[must_use]
    pub fn if_unchanged(self, key: Key, revision: Revision) -> Self {
        self.guard(Guard::Unchanged(key, revision))
    }

    /// Only if the lease is held.
    #[must_use]
    pub fn if_held(self, fence: Fence) -> Self {
        self.guard(Guard::Held(fence))
    }

    /// Only if the guard holds.
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// Puts a value under a key.
    #[must_use]
    pub fn put(mut self, key: Key, value: impl Into<Value>) -> Self {
        self.writes.push(Write::Put(key, value.into()));
        self
    }

    /// Removes a key.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push(Write::Delete(key));
        self
    }

    /// Adds a write that was made elsewhere.
    #[must_use]
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// The guards, in the order they are checked.
    pub fn guards(&self) -> &[Guard] {
        &self.guards
    }

    /// The writes.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The writes alone.
    pub(crate) fn into_writes(self) -> Vec<Write> {
        self.writes
    }

    /// For backends: whether it keeps within the limits, which are the same everywhere
    /// so that what works on a laptop works on a cluster.
    ///
    /// # Errors
    /// [`StorageError::TooLarge`] over a limit, [`StorageError::WrittenTwice`] for two
    /// writes of one key.
    pub fn check(&self) -> Result<(), StorageError> {
        let limits = [
            ("guards", self.guards.len(), MAX_TXN_OPS),
            ("writes", self.writes.len(), MAX_TXN_OPS),
            ("bytes", self.len(), MAX_TXN_LEN),
        ];
        for (unit, len, max) in limits {
            if len > max {
                return Err(StorageError::TooLarge { unit, len, max });
            }
        }
        let mut seen = HashSet::with_capacity(self.writes.len());
        match self.writes.iter().find(|write| !seen.insert(write.key())) {
            Some(twice) => Err(StorageError::WrittenTwice {
                key: twice.key().clone(),
            }),
            None => Ok(()),
        }
    }

    fn len(&self) -> usize {
        let each = self.writes.iter().map(|write| match write {
            Write::Delete(key) => key.as_str().len(),
            Write::Put(key, value) => key.as_str().len() + value.len(),
        });
        each.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let key = |text: &str| Key::new(text).unwrap();
        let many =
            |count: usize| (0..count).fold(Txn::new(), |txn, at| txn.delete(key(&format!("{at}"))));
        let value = |len: usize| Txn::new().put(key("k"), vec![0; len]);
        assert!(many(128).check().is_ok());
        assert!(matches!(
            many(129).check(),
            Err(StorageError::TooLarge {
                unit: "writes",
                len: 129,
                max: 128
            })
        ));
        assert!(value(MAX_TXN_LEN - 1).check().is_ok());
        assert!(value(MAX_TXN_LEN).check().is_err());
        let twice = Txn::new().put(key("a"), "1").delete(key("a"));
        assert!(matches!(
            twice.check(),
            Err(StorageError::WrittenTwice { key }) if key.as_str() == "a"
        ));
    }
}

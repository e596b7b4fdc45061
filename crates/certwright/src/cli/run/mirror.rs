//! A machine's own copy of the Secrets that machines share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use certwright::{Publisher, ResourceName, SecretDir};
use certwright_cert_model::TlsSecret;

use super::command::Changes;
use super::events::Events;
use crate::cli::explain::is_served;
use crate::cli::with_causes;

/// Writes what servers serve into a directory; keys of CAs stay where they are. What cannot be written is tried again.
#[derive(Clone, Debug)]
pub(super) struct Mirror(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    dir: SecretDir,
    events: Events,
    /// Hears of what is on the disk, and of nothing else.
    then: Option<Changes>,
    /// What is still to be written, or removed if there is nothing to write.
    left: BTreeMap<ResourceName, Option<TlsSecret>>,
}

impl Mirror {
    pub(super) fn new(dir: SecretDir, events: Events, then: Option<Changes>) -> Self {
        let left = BTreeMap::new();
        Self(Arc::new(Mutex::new(State {
            dir,
            events,
            then,
            left,
        })))
    }

    /// Tries again and again what could not be written, as long as somebody publishes.
    pub(super) fn try_again(&self, every: Duration) {
        let state = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(state) = Weak::upgrade(&state) else {
                    return;
                };
                lock(&state).try_again();
            }
        });
    }
}

impl State {
    fn try_again(&mut self) {
        for (name, secret) in core::mem::take(&mut self.left) {
            // It was told when it did not work first.
            let done = match &secret {
                Some(secret) => self.write(secret).is_ok(),
                None => self.dir.remove(&name.namespace, &name.name).is_ok(),
            };
            match (done, secret, &mut self.then) {
                (false, secret, _) => drop(self.left.insert(name, secret)),
                (true, Some(secret), Some(then)) => then.put(&secret),
                (true, None, Some(then)) => then.remove(&name),
                (true, _, None) => {}
            }
        }
    }

    /// Whether it had to be written.
    fn write(&self, secret: &TlsSecret) -> Result<bool, certwright::SecretDirError> {
        let there = self.dir.read(&secret.namespace, &secret.name);
        match there {
            Ok(Some(there)) if there == *secret => Ok(false),
            _ => self.dir.write(secret).map(|_| true),
        }
    }

    /// Whether it is on the disk only from now on; none if it is not.
    fn put(&mut self, secret: &TlsSecret) -> Option<bool> {
        if !is_served(secret) {
            return None;
        }
        let name = ResourceName::new(&secret.namespace, &secret.name);
        match self.write(secret) {
            Ok(is_new) => {
                self.left.remove(&name);
                Some(is_new)
            }
            Err(error) => {
                self.events.say("store", &with_causes(&error));
                self.left.insert(name, Some(secret.clone_with_keys()));
                None
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Publisher for Mirror {
    /// What is in the directory and not among the Secrets stays: it may be somebody else's.
    fn replace(&mut self, secrets: &[&TlsSecret]) {
        let mut state = lock(&self.0);
        let (mut same, mut new) = (Vec::new(), Vec::new());
        for &secret in secrets {
            match state.put(secret) {
                Some(true) => new.push(secret),
                Some(false) => same.push(secret),
                None => {}
            }
        }
        // One that went away before it could be written is not written any more.
        state.left.retain(|name, left| {
            let is_it = |one: &&TlsSecret| one.namespace == name.namespace && one.name == name.name;
            left.is_none() || secrets.iter().any(is_it)
        });
        if let Some(then) = &mut state.then {
            then.replace(&same);
            // What changed while this process was away is new to whoever reads the directory.
            for secret in new {
                then.put(secret);
            }
        }
    }

    fn put(&mut self, secret: &TlsSecret) {
        let mut state = lock(&self.0);
        if state.put(secret).is_some()
            && let Some(then) = &mut state.then
        {
            then.put(secret);
        }
    }

    fn remove(&mut self, secret: &ResourceName) {
        let mut state = lock(&self.0);
        if let Err(error) = state.dir.remove(&secret.namespace, &secret.name) {
            state.events.say("store", &with_causes(&error));
            state.left.insert(secret.clone(), None);
            return;
        }
        state.left.remove(secret);
        if let Some(then) = &mut state.then {
            then.remove(secret);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::OnChange;
    use super::*;

    #[tokio::test]
    async fn what_changed_while_nobody_kept_the_directory_is_told() {
        let home = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(home.path());
        let told = home.path().join("told");
        let touch = format!("touch {}", told.display());
        for (text, expected) in [("1", true), ("1", false), ("2", true)] {
            let command = OnChange::new(&touch, false, Duration::from_secs(60)).unwrap();
            let (changes, task) = command.start(dir.clone(), home.path(), Events::new(false));
            let mut mirror = Mirror::new(dir.clone(), Events::new(false), Some(changes));
            let mut secret = TlsSecret::new("ns", "web");
            secret.insert("tls.crt", text);
            secret.insert("tls.key", "k");
            mirror.replace(&[&secret]);
            drop(mirror);
            task.await.unwrap();
            assert_eq!(told.exists(), expected, "{text}");
            let _ = std::fs::remove_file(&told);
        }
    }

    #[test]
    fn what_went_away_before_it_could_be_written_stays_away() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("ns"), "x").unwrap();
        let mut mirror = Mirror::new(SecretDir::new(home.path()), Events::new(false), None);
        let mut secret = TlsSecret::new("ns", "web");
        secret.insert("tls.crt", "1");
        secret.insert("tls.key", "k");
        mirror.put(&secret);
        assert_eq!(lock(&mirror.0).left.len(), 1);
        mirror.replace(&[]);
        assert!(lock(&mirror.0).left.is_empty());
    }

    #[test]
    fn what_could_not_be_written_is_written_when_it_can_be() {
        let home = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(home.path());
        // A file of theirs is where the namespace belongs.
        let obstacle = home.path().join("ns");
        std::fs::write(&obstacle, "x").unwrap();
        let mut mirror = Mirror::new(dir.clone(), Events::new(false), None);
        let of = |text: &str| {
            let mut secret = TlsSecret::new("ns", "web");
            secret.insert("tls.crt", text);
            secret.insert("tls.key", "k");
            secret
        };
        mirror.put(&of("1"));
        mirror.put(&of("2"));
        lock(&mirror.0).try_again();
        assert_eq!(lock(&mirror.0).left.len(), 1);
        std::fs::remove_file(&obstacle).unwrap();
        lock(&mirror.0).try_again();
        assert_eq!(dir.read("ns", "web").unwrap(), Some(of("2")));
        assert!(lock(&mirror.0).left.is_empty());
    }
}

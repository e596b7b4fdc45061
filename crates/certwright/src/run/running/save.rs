//! Stores what changed, and tells of it.

use tokio::time::Instant;

use super::{IN_A_ROW, RETRY, Running};
use crate::inventory::ResourceName;
use crate::manager::{Outcome, SecretChange, with_causes};
use crate::plan::Reason;
use crate::run::{Event, StoreError};

impl Running {
    /// Stores what changed, then tells everybody.
    pub(super) async fn save(&mut self) {
        if self.pause.is_some_and(|until| Instant::now() < until) {
            return;
        }
        // One write after a failure of the store shows whether it works again.
        let mut failed = self.pause.take().is_some();
        let mut failures = if failed { IN_A_ROW - 1 } else { 0 };
        self.deaf = false;
        let mut from = 0;
        while let Some(at) = self.unsaved.ready(from, Instant::now(), &self.manager) {
            // Many writes take longer than the right to issue lasts, and without it what was signed is signed again.
            self.lead().await;
            if !self.leading {
                return;
            }
            let Some(change) = self.unsaved.take(at) else {
                break;
            };
            let stored = match &change {
                SecretChange::Remove(name) => self.runner.store.remove(name).await,
                SecretChange::Put(secret) => self.runner.store.put(secret).await,
            };
            let name = change.name();
            from = at;
            match stored {
                Ok(()) => {
                    self.manager.unstored(&name, None);
                    failures = 0;
                    if core::mem::take(&mut failed) {
                        self.unsaved.retry(Instant::now());
                        from = 0;
                    }
                    if self.unsaved.stored(&name) {
                        // What it signed waited with it.
                        from = 0;
                    }
                    self.publish(&change);
                }
                Err(error @ StoreError::LeaseLost) => {
                    (self.runner.listener)(&Event::Store(&error));
                    return self.step_down().await;
                }
                Err(error @ StoreError::Conflict { .. }) => {
                    (self.runner.listener)(&Event::Store(&error));
                    from = 0;
                    if let Err(error) = self.read_again(&name).await {
                        self.park(at, change, &error);
                        failures += 1;
                    }
                }
                Err(error) => {
                    self.park(at, change, &error);
                    failures += 1;
                }
            }
            if failures >= IN_A_ROW {
                self.pause = Some(Instant::now() + RETRY);
                break;
            }
        }
        self.tell();
    }

    /// Tells what was done, but for what is still to be stored.
    fn tell(&mut self) {
        let unsaved = self.unsaved.names();
        for (name, outcome) in core::mem::take(&mut self.untold) {
            let target = self.manager.inventory().target(&name);
            if target.is_some_and(|target| unsaved.contains(&target)) {
                self.untold.push((name, outcome));
                continue;
            }
            let secret = self.manager.secret_of(&name);
            (self.runner.listener)(&Event::Certificate {
                name: &name,
                outcome: &outcome,
                secret,
            });
            if let Outcome::Issued { .. } | Outcome::Reapplied { .. } = outcome
                && let Some(schedule) = self.manager.schedule(&name, (self.runner.clock)())
            {
                let renewal = schedule.due();
                (self.runner.listener)(&Event::Scheduled {
                    name: &name,
                    renewal,
                });
            }
        }
    }

    fn park(&mut self, at: usize, change: SecretChange, error: &StoreError) {
        let name = change.name();
        let (attempts, retry) = self.unsaved.park(at, change, Instant::now());
        self.manager.unstored(&name, Some(with_causes(error)));
        (self.runner.listener)(&Event::NotStored {
            secret: &name,
            error,
            attempts,
            retry,
        });
    }

    /// Somebody else wrote a Secret: what is there now decides, about it and about what the one that was to be stored
    /// has signed.
    async fn read_again(&mut self, secret: &ResourceName) -> Result<(), StoreError> {
        let mut names = self.unsaved.names();
        names.retain(|name| self.manager.is_below(name, |ca| ca == secret));
        names.insert(secret.clone());
        for name in names {
            let seen = self.runner.store.read(&name).await?;
            self.withdraw(&name);
            self.take(seen);
        }
        Ok(())
    }

    /// What was to become of a Secret is not what is to become of it any more.
    pub(super) fn give_up(&mut self, secret: &ResourceName) {
        self.manager.unstored(secret, None);
        if self.unsaved.give_up(secret) {
            self.withdraw(secret);
        }
    }

    /// What was to be told of a Secret's Certificate did not come to be.
    fn withdraw(&mut self, secret: &ResourceName) {
        for (name, outcome) in core::mem::take(&mut self.untold) {
            if self.manager.inventory().target(&name).as_ref() == Some(secret) {
                self.ask_again(&name, &outcome);
            } else {
                self.untold.push((name, outcome));
            }
        }
    }

    /// Who asked for a certificate that came to nothing still wants it.
    pub(super) fn ask_again(&mut self, name: &ResourceName, outcome: &Outcome) {
        if let Outcome::Issued {
            reason: Reason::Requested(at),
            ..
        } = outcome
        {
            self.manager.ask_again(name, *at);
        }
    }

    fn publish(&mut self, change: &SecretChange) {
        for publisher in &mut self.runner.publishers {
            match change {
                SecretChange::Remove(name) => publisher.remove(name),
                SecretChange::Put(secret) => publisher.put(secret),
            }
        }
    }
}

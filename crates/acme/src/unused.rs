//! Certificates that are in the store and that nobody wants any more.

use std::time::Duration;

use certwright_renewal::RenewalPolicy;
use certwright_storage::{Acquisition, Entry, Txn};

use crate::certificate::IssuedCertificate;
use crate::engine::{Engine, EngineError};
use crate::event::Event;
use crate::journal::Journal;
use crate::layout::{CERTIFICATES, CertId};
use crate::wanted::Wanted;

/// What becomes of certificates that nobody wants any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unused {
    /// They are not renewed, and stay in the store. Names that were given up long ago use
    /// up no quota of those in use.
    #[default]
    LetExpire,
    /// They are not renewed, and leave the store so long after they expired, unless
    /// somebody who shares it has tried to renew them lately.
    Remove {
        /// How long after.
        after_expiry: Duration,
    },
    /// They are renewed like those that are wanted, as Traefik does.
    Renew,
}

impl Engine {
    /// Does with the certificates that nobody wants as `unused` says; those that are
    /// `wanted` are left alone. Answers with how many were renewed or removed. A
    /// [`Keeper`](crate::Keeper) does it every hour.
    ///
    /// A certificate is renewed as it was ordered, as far as it tells: one of another group
    /// or with a label is left alone, and not removed either, as its owner may want it.
    ///
    /// # Errors
    /// The store's; what fails for one certificate is told in `tracing`, and keeps nobody
    /// from the others.
    pub async fn tend_unused(
        &self,
        unused: Unused,
        policy: &RenewalPolicy,
        wanted: impl Fn(&CertId) -> bool,
    ) -> Result<usize, EngineError> {
        if unused == Unused::LetExpire {
            return Ok(0);
        }
        let listing = self.storage().list(CERTIFICATES).await?;
        let mut count = 0;
        for entry in listing.entries {
            let Some(id) = CertId::of_current(&entry.key).filter(|id| !wanted(id)) else {
                continue;
            };
            let done = match unused {
                Unused::LetExpire => Ok(false),
                Unused::Remove { after_expiry } => self.remove(&id, &entry, after_expiry).await,
                Unused::Renew => self.renew_unused(&id, &entry, policy).await,
            };
            match done {
                Ok(done) => count += usize::from(done),
                Err(error) => {
                    tracing::warn!(certificate = %id, %error, "unused certificate not looked after");
                }
            }
        }
        Ok(count)
    }

    async fn renew_unused(
        &self,
        id: &CertId,
        entry: &Entry,
        policy: &RenewalPolicy,
    ) -> Result<bool, EngineError> {
        let certificate = IssuedCertificate::decode(entry.value.as_bytes())?;
        let wanted = as_ordered(&certificate)?;
        if self.id(&wanted) != *id {
            return Ok(false);
        }
        let (outcome, _) = self.tend(&wanted, policy).await?;
        let now = outcome.certificate();
        Ok(now.is_some_and(|now| now.generation() > certificate.generation()))
    }

    async fn remove(
        &self,
        id: &CertId,
        entry: &Entry,
        after_expiry: Duration,
    ) -> Result<bool, EngineError> {
        let certificate = IssuedCertificate::decode(entry.value.as_bytes())?;
        let since = self.runtime().now() - certificate.not_after();
        if since < after_expiry
            || self.id(&as_ordered(&certificate)?) != *id
            || self.is_tried(id).await?
            || !self.abandon(id).await?
        {
            return Ok(false);
        }
        let (storage, options) = (self.storage(), self.options());
        let lock = id.lock();
        let lease = storage.acquire(&lock, &options.owner, options.lease);
        let Acquisition::Granted(lease) = lease.await? else {
            return Ok(false);
        };
        let txn = Txn::new()
            .if_held(lease.fence())
            // Somebody may have begun to renew it.
            .if_absent(id.journal())
            .if_unchanged(id.current(), entry.revision)
            .delete(id.current())
            .delete(id.previous())
            .delete(id.rejected())
            .delete(id.renewal());
        let done = storage.txn(txn).await;
        let _ = storage.release(lease).await;
        done?;
        self.events().emit(Event::Removed {
            id: id.clone(),
            identifiers: certificate.identifiers,
        });
        Ok(true)
    }

    /// Whether somebody tried to renew it not long ago, or is going to.
    async fn is_tried(&self, id: &CertId) -> Result<bool, EngineError> {
        let Some(entry) = self.storage().get(&id.journal()).await? else {
            return Ok(false);
        };
        let journal = Journal::decode(entry.value.as_bytes())?;
        let last = journal.touched.max(journal.history().next_at);
        let now = self.runtime().now();
        Ok(last.is_some_and(|last| now - last < self.options().abandoned_after))
    }
}

/// What was ordered, as far as the certificate tells.
fn as_ordered(certificate: &IssuedCertificate) -> Result<Wanted, EngineError> {
    let mut wanted = Wanted::new(certificate.identifiers().to_vec());
    wanted.key = certificate.key.read()?.algorithm();
    wanted.profile.clone_from(&certificate.profile);
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::account::AccountSpec;
    use crate::challenge::{ChallengeKind, Solvers};
    use crate::engine::{Demand, Options, Outcome};
    use crate::issuer::Issuer;
    use crate::limits::Quotas;
    use crate::testing::{FakeCa, World, identifiers, run};

    #[test]
    fn what_others_may_want_is_not_removed() {
        let world = World::new();
        let storage = world.storage();
        let ca = FakeCa::new(&world, &storage);
        let account = AccountSpec::new("https://ca.test/dir");
        let mut issuer = Issuer::new("ca", account, Arc::new(ca.clone()), Solvers::http01());
        issuer.quotas = Quotas::unlimited();
        let (storage, runtime) = (Arc::new(storage), Arc::new(world.clone()));
        let engine = Engine::new(storage, runtime, vec![issuer], Options::default()).unwrap();
        let unused = Wanted::new(identifiers(&["a.test"]));
        let tried = Wanted::new(identifiers(&["b.test"]));
        let mut labelled = unused.clone();
        labelled.label = "somebody's".to_owned();
        for wanted in [&unused, &tried, &labelled] {
            let outcome = run(engine.obtain(wanted, Demand::Missing)).unwrap();
            assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
        }
        world.advance(Duration::from_secs(200 * 86_400));
        // Another replica wants it, and the CA does not find it.
        ca.state().blind = vec![ChallengeKind::Http01];
        let outcome = run(engine.obtain(&tried, Demand::Renew { after: 1 })).unwrap();
        assert!(matches!(outcome, Outcome::Waiting { .. }), "{outcome:?}");
        let remove = Unused::Remove {
            after_expiry: Duration::ZERO,
        };
        let policy = RenewalPolicy::default();
        let removed = engine.tend_unused(remove, &policy, |_| false);
        assert_eq!(run(removed).unwrap(), 1);
        for (wanted, there) in [(&unused, false), (&tried, true), (&labelled, true)] {
            let current = run(engine.current(&engine.id(wanted))).unwrap();
            assert_eq!(current.is_some(), there, "{wanted:?}");
        }
    }
}

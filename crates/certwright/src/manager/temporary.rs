//! A certificate of no worth that stands in while the real one is pending.

use certwright_cert_model::secret::{KEYSTORE_JKS, KEYSTORE_P12, TRUSTSTORE_JKS, TRUSTSTORE_P12};
use certwright_cert_model::{TlsSecret, ValidatedSpec};
use certwright_issuance::temporary::temporary;
use certwright_issuance::{KeyPair, Profile};
use time::OffsetDateTime;

use super::Manager;
use super::anchors::TRUST_BUNDLE;
use super::settle::usable;
use crate::annotation;
use crate::inventory::ResourceName;
use crate::issue::{IssueError, Job, JobKey, prepare, verify};

impl Manager {
    /// Puts a temporary certificate into the Secret of a Certificate that wants one while an issuer is asked.
    pub(super) fn place_temporary(
        &mut self,
        job: &mut Job,
        now: OffsetDateTime,
    ) -> Result<(), IssueError> {
        if !self.lacks_certificate(&job.certificate) {
            return Ok(());
        }
        let key = core::mem::replace(&mut job.key, JobKey::Generate);
        let (key, csr) = prepare(&job.spec, key)?;
        let csr = verify(&csr)?;
        self.put_temporary(&job.certificate.clone(), &job.spec.clone(), &key, &csr, now);
        job.key = JobKey::Made(key);
        Ok(())
    }

    /// The same for one whose issuer was asked, or did not answer, before that was wanted.
    pub(super) fn place_wanted(&mut self, name: &ResourceName, now: OffsetDateTime) {
        let state = self.states.get(name);
        let waits = state.is_some_and(|state| state.running.is_some() || state.failing.is_some());
        if waits && let Err(error) = self.stand_in(name, now) {
            tracing::warn!(certificate = %name, error = &error as &dyn core::error::Error, "no temporary certificate");
        }
    }

    /// The same for one that was not issued.
    pub(super) fn stand_in(
        &mut self,
        name: &ResourceName,
        now: OffsetDateTime,
    ) -> Result<(), IssueError> {
        let Some(spec) = self.inventory.shared(name) else {
            return Ok(());
        };
        if !self.lacks_certificate(name) {
            return Ok(());
        }
        let (key, csr) = prepare(&spec, JobKey::Generate)?;
        let csr = verify(&csr)?;
        self.put_temporary(name, &spec, &key, &csr, now);
        Ok(())
    }

    /// Whether a Certificate wants a temporary certificate and has nothing to serve.
    fn lacks_certificate(&self, name: &ResourceName) -> bool {
        let Some(target) = self.inventory.target(name) else {
            return false;
        };
        if self.is_unreadable(&target) {
            // It may hold the only copy of a key.
            return false;
        }
        // Another one's Secret has nothing to do with it.
        let owner = self.inventory.owner(&target, self.secrets.get(&target));
        if !self.inventory.is_temporary_wanted(name) || owner != Some(name) {
            return false;
        }
        self.secret_of(name).and_then(usable).is_none()
    }

    fn put_temporary(
        &mut self,
        name: &ResourceName,
        spec: &ValidatedSpec,
        key: &KeyPair,
        csr: &certwright_issuance::VerifiedCsr,
        now: OffsetDateTime,
    ) {
        let target = ResourceName::new(&name.namespace, spec.secret_name());
        let placed = temporary(csr, &Profile::for_spec(spec), now)
            .map_err(|error| error.to_string())
            .and_then(|bundle| {
                let stored = self.secrets.get(&target).map(TlsSecret::clone_with_keys);
                let mut secret =
                    stored.unwrap_or_else(|| TlsSecret::new(&target.namespace, &target.name));
                annotation::unrecord(&mut secret);
                for key in AROUND {
                    secret.remove(key);
                }
                let mark = (annotation::TEMPORARY.to_owned(), "true".to_owned());
                secret.annotations.extend([mark]);
                bundle
                    .into_secret(secret, key, spec.key().encoding, spec.outputs())
                    .map_err(|error| error.to_string())
            });
        match placed {
            Ok(secret) => {
                self.secrets.insert(target.clone(), secret);
                self.changed(&target);
            }
            Err(error) => tracing::warn!(certificate = %name, error, "no temporary certificate"),
        }
    }
}

/// What beside a certificate is of the one before, and is made anew with the real one.
const AROUND: [&str; 5] = [
    TRUST_BUNDLE,
    KEYSTORE_JKS,
    KEYSTORE_P12,
    TRUSTSTORE_JKS,
    TRUSTSTORE_P12,
];

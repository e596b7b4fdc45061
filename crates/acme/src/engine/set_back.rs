//! What follows when something went wrong.

use certwright_cert_model::key::RotationPolicy;
use certwright_renewal::Seed;
use certwright_storage::Txn;

use super::EngineError;
use super::drive::{Drive, quotas_of};
use super::failure::{Setback, Wait};
use crate::challenge::ChallengeKind;
use crate::config::CommonName;
use crate::event::Event;
use crate::issuer::Issuer;
use crate::journal::{Circumstances, Failure, Stage};
use crate::layout::CertId;
use crate::limits::Scope;
use crate::problem::{Bounds, Class, one_line};
use crate::wanted::Wanted;

impl Drive<'_> {
    /// Writes down what went wrong and what follows from it.
    pub(super) async fn set_back(&mut self, setback: Setback) -> Result<(), EngineError> {
        let now = self.now();
        self.known = None;
        self.hold.let_go().await;
        let shared = self.shared;
        let names = self.issuers();
        let asked = names.get(self.journal.history.issuer_index(&names));
        let asked = match self.journal.plan() {
            Some(plan) => Some(plan.issuer.as_str()),
            None => asked.copied(),
        };
        let index = asked.and_then(|name| shared.index_of(name));
        let index = index.unwrap_or_default();
        let issuer = &shared.issuers[index];
        let until = setback.wait.map(|wait| match wait {
            Wait::Said(retry_after) => retry_after.until(now, Bounds::FREEZE),
            Wait::Until(until) => until,
        });
        let quota = self.quota(issuer, issuer.quotas);
        match (setback.class, until, &setback.scope) {
            (Class::RateLimited, Some(until), Some(scope)) => {
                let scope = Scope::of_refusal(scope, &self.names());
                quota.freeze(&scope, until, now).await?;
            }
            (Class::Validation, ..) => {
                let failed = setback.challenges.iter();
                let failed: Vec<String> = failed.map(|(one, _)| one.value()).collect();
                quota.failed(&failed, now).await?;
            }
            (Class::Account, ..) => {
                if let Some((_, account)) = self.account.take() {
                    let forgotten = issuer.account.forget_url(&*shared.storage, &account.url);
                    forgotten.await.map_err(|source| EngineError::Account {
                        issuer: issuer.name.clone(),
                        source,
                    })?;
                }
            }
            _ => {}
        }
        // An order without a certificate for sure, unless it is gone on with.
        let replaces = match &self.journal.stage {
            Stage::Ordering { plan }
            | Stage::Ordered { plan, .. }
            | Stage::Presenting { plan, .. } => Some(plan.replaces.is_some()),
            Stage::Waiting | Stage::Finalizing { .. } | Stage::Issued { .. } => None,
        };
        let other_challenges = self.other_challenges(issuer, &setback);
        let failure = Failure {
            at: now,
            class: setback.class,
            // Of a hundred names it may be longer than a record of the store.
            detail: one_line(&setback.detail).unwrap_or_default(),
            until,
            challenges: setback.challenges,
        };
        let settings = self.settings();
        self.journal.failed(
            failure.clone(),
            &Circumstances {
                issuers: &names,
                other_challenges,
                away: setback.away,
                settings: &settings,
                expires: self
                    .current
                    .as_ref()
                    .map(|current| current.certificate.not_after),
                seed: Seed::new(self.id.as_str().as_bytes()),
            },
        );
        self.write(Txn::new()).await?;
        if let (Stage::Waiting, Some(replaces)) = (&self.journal.stage, replaces) {
            let quotas = quotas_of(issuer, replaces);
            self.quota(issuer, quotas)
                .refund(&self.names(), now)
                .await?;
        }
        shared.events.emit(Event::Failed {
            id: self.id.clone(),
            identifiers: self.journal.identifiers.clone(),
            issuer: issuer.name.clone(),
            failure,
            next_at: self.journal.history.next_at,
            parked: self.journal.history.parked.is_some(),
        });
        match self.journal.stage {
            Stage::Waiting => self.clean().await,
            _ => Ok(()),
        }
    }

    pub(super) fn settings(&self) -> String {
        settings_of(&self.shared.issuers, self.wanted)
    }
}

/// A digest of everything that may make a refusal pass. It is stored, and read by replicas of
/// other versions: something new counts only where it is set, under a name of its own.
fn settings_of(issuers: &[Issuer], wanted: &Wanted) -> String {
    let issuers = issuers.iter().map(|issuer| {
        let kinds: Vec<&str> = issuer.solvers.kinds().map(ChallengeKind::as_str).collect();
        let account = &issuer.account;
        let binding = account.registration.binding.as_ref();
        let kid = binding
            .map(|binding| binding.kid.as_str())
            .unwrap_or_default();
        let profile = issuer.profile.as_deref().unwrap_or_default();
        let contacts = account.registration.contacts.join(" ");
        let directory = &account.directory;
        let kinds = kinds.join(" ");
        format!("issuer\n{directory}\n{kid}\n{contacts}\n{profile}\n{kinds}")
    });
    let mut parts: Vec<String> = issuers.collect();
    let Wanted {
        identifiers,
        key,
        rotation,
        profile,
        common_name,
        emails,
        not_before,
        not_after,
        label,
    } = wanted;
    let mut part = |name: &str, value: &str| parts.push(format!("{name}\n{value}"));
    for identifier in identifiers {
        part("identifier", &identifier.value());
    }
    part("key", &key.to_string());
    if *rotation == RotationPolicy::Never {
        part("rotation", "never");
    }
    if let Some(profile) = profile {
        part("profile", profile);
    }
    if *common_name == CommonName::None {
        part("common name", "none");
    }
    for email in emails {
        part("email", &email.to_string());
    }
    if let Some(after) = not_before {
        part("not before", &after.whole_nanoseconds().to_string());
    }
    if let Some(after) = not_after {
        part("not after", &after.whole_nanoseconds().to_string());
    }
    if !label.is_empty() {
        part("label", label);
    }
    CertId::of(parts.iter().map(String::as_str))
        .as_str()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use certwright_cert_model::key::KeyAlgorithm;
    use time::Duration;

    use super::*;
    use crate::testing::identifiers;

    #[test]
    fn settings_are_told_apart_and_known_to_the_next_version() {
        let wanted = || Wanted::new(identifiers(&["a.test", "b.test"]));
        let digest = settings_of(&[], &wanted());
        assert_eq!(digest, "87c5549d6198af1ac7e4924c325c9488");
        let changes: [fn(&mut Wanted); 10] = [
            |_| {},
            |wanted| wanted.identifiers.reverse(),
            |wanted| wanted.key = KeyAlgorithm::Ed25519,
            |wanted| wanted.rotation = RotationPolicy::Never,
            |wanted| wanted.profile = Some("short".to_owned()),
            |wanted| wanted.common_name = CommonName::None,
            |wanted| wanted.emails = vec!["a@b.test".parse().unwrap()],
            |wanted| wanted.not_before = Some(Duration::HOUR),
            |wanted| wanted.not_after = Some(Duration::HOUR),
            |wanted| wanted.label = "short".to_owned(),
        ];
        let digests = changes.map(|change| {
            let mut wanted = wanted();
            change(&mut wanted);
            settings_of(&[], &wanted)
        });
        assert_eq!(HashSet::from(digests).len(), changes.len());
    }
}

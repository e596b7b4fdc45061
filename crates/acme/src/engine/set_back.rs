//! What follows when something went wrong.

use certwright_renewal::Seed;
use certwright_storage::Txn;

use super::EngineError;
use super::drive::{Drive, quotas_of};
use super::failure::{Setback, Wait};
use crate::challenge::ChallengeKind;
use crate::event::Event;
use crate::journal::{Circumstances, Failure, Stage};
use crate::layout::CertId;
use crate::limits::Scope;
use crate::problem::{Bounds, Class, one_line};

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

    /// A digest of everything that may make a refusal pass.
    pub(super) fn settings(&self) -> String {
        let issuers = self.shared.issuers.iter().map(|issuer| {
            let kinds: Vec<&str> = issuer.solvers.kinds().map(ChallengeKind::as_str).collect();
            let account = &issuer.account;
            let binding = account.registration.binding.as_ref();
            let kid = binding
                .map(|binding| binding.kid.as_str())
                .unwrap_or_default();
            let profile = issuer.profile.as_deref().unwrap_or_default();
            let contacts = account.registration.contacts.join(" ");
            let directory = &account.directory;
            format!("{directory} {kid} {contacts} {profile} {kinds:?}")
        });
        let issuers: Vec<String> = issuers.collect();
        let wanted = format!("{:?}", self.wanted);
        let parts = issuers.iter().map(String::as_str).chain([wanted.as_str()]);
        CertId::of(parts).as_str().to_owned()
    }
}

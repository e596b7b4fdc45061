//! What follows when something went wrong.

use base64ct::{Base64UrlUnpadded, Encoding};
use certwright_cert_model::key::RotationPolicy;
use certwright_renewal::Seed;
use certwright_storage::Txn;

use super::EngineError;
use super::drive::{Drive, quotas_of};
use super::failure::{Setback, Wait};
use crate::challenge::ChallengeKind;
use crate::config::CommonName;
use crate::event::Event;
use crate::identifier::Identifier;
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
        let mut settings = self.settings();
        if let (Some(_), Stage::Finalizing { csr, .. }) = (self.given, &self.journal.stage)
            && let Ok(csr) = Base64UrlUnpadded::decode_vec(csr)
        {
            // Another request of the caller may pass. It may have come already, while this one
            // was found under way.
            settings = with_request(&settings, &csr);
        }
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

    /// Whether nothing has changed since the order was parked under this digest.
    pub(super) fn is_same(&self, parked: &str) -> bool {
        let settings = self.settings();
        let given = self.given;
        parked == settings
            || given.is_some_and(|given| parked == with_request(&settings, given.csr.der()))
    }

    fn settings(&self) -> String {
        settings_of(&self.shared.issuers, self.wanted)
    }
}

/// The same digest for this request alone.
fn with_request(settings: &str, csr: &[u8]) -> String {
    let said = Base64UrlUnpadded::encode_string(said(csr).unwrap_or(csr));
    CertId::of([settings, &said]).as_str().to_owned()
}

/// What a request says (RFC 2986 section 4.1), without the signature, which is another one
/// each time it is made.
fn said(csr: &[u8]) -> Option<&[u8]> {
    content(content(csr)?)
}

/// The content of the first DER element.
fn content(der: &[u8]) -> Option<&[u8]> {
    let (&length, rest) = der.get(1..)?.split_first()?;
    if length < 0x80 {
        return rest.get(..usize::from(length));
    }
    let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
    let length = digits.iter().try_fold(0_usize, |length, &digit| {
        length.checked_mul(256)?.checked_add(usize::from(digit))
    });
    rest.get(..length?)
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
        let rule = ruled(issuer, &wanted.identifiers);
        let kinds = kinds.join(" ");
        format!("issuer\n{directory}\n{kid}\n{contacts}\n{profile}\n{kinds}{rule}")
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

/// What the issuer's rule, if it has one, forbids for each of these.
fn ruled(issuer: &Issuer, identifiers: &[Identifier]) -> String {
    let solvers = &issuer.solvers;
    let mut text = String::new();
    if solvers.rule.is_none() {
        return text;
    }
    for identifier in identifiers {
        let forbidden = solvers
            .kinds()
            .filter(|kind| kind.can_prove(identifier) && !solvers.may_prove(*kind, identifier));
        let forbidden: Vec<&str> = forbidden.map(ChallengeKind::as_str).collect();
        if !forbidden.is_empty() {
            text += &format!("\nnot {} by {}", identifier.value(), forbidden.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use certwright_cert_model::key::KeyAlgorithm;
    use certwright_issuance::KeyPair;
    use time::Duration;

    use super::*;
    use crate::account::AccountSpec;
    use crate::challenge::{Pause, SolverRule, Solvers};
    use crate::testing::{FakeCa, World, identifiers};

    #[derive(Debug)]
    struct Only(ChallengeKind, &'static str);

    impl SolverRule for Only {
        fn allows(&self, kind: ChallengeKind, identifier: &Identifier) -> bool {
            kind == self.0 || identifier.base() != self.1
        }
    }

    #[test]
    fn settings_are_told_apart_and_known_to_the_next_version() {
        let wanted = || Wanted::new(identifiers(&["a.test", "b.test"]));
        let digest = settings_of(&[], &wanted());
        assert_eq!(digest, "87c5549d6198af1ac7e4924c325c9488");
        let world = World::new();
        let ca = FakeCa::new(&world, &world.storage());
        let issuer = |change: fn(&mut Issuer)| {
            let account = AccountSpec::new("https://ca.test/dir");
            let mut issuer = Issuer::new("ca", account, Arc::new(ca.clone()), Solvers::http01());
            change(&mut issuer);
            settings_of(&[issuer], &wanted())
        };
        assert_eq!(issuer(|_| {}), "3c5f2759aadebd92a38269902fb5cdea");
        // A rule that forbids nothing is none.
        let all = |issuer: &mut Issuer| {
            issuer.solvers.rule = Some(Arc::new(Only(ChallengeKind::Http01, "a.test")));
        };
        assert_eq!(issuer(all), "3c5f2759aadebd92a38269902fb5cdea");
        let changes: [fn(&mut Issuer); 7] = [
            |_| {},
            |issuer| issuer.account.directory = "https://ca.test/other".to_owned(),
            |issuer| issuer.account.registration.contacts = vec!["mailto:a@b.test".to_owned()],
            |issuer| issuer.profile = Some("short".to_owned()),
            |issuer| issuer.solvers.tls_alpn01 = Some(Pause::default()),
            |issuer| issuer.solvers.rule = Some(Arc::new(Only(ChallengeKind::Dns01, "a.test"))),
            |issuer| issuer.solvers.rule = Some(Arc::new(Only(ChallengeKind::Dns01, "b.test"))),
        ];
        let digests = changes.map(issuer);
        assert_eq!(HashSet::from(digests).len(), changes.len());
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

    #[test]
    fn a_request_is_told_by_what_it_says() {
        let wanted = Wanted::new(identifiers(&["a.test", "b.test"]));
        let key = KeyPair::generate(wanted.key).unwrap();
        let (one, again) = (wanted.csr(&key).unwrap(), wanted.csr(&key).unwrap());
        assert_ne!(one, again, "the signatures differ");
        let digest = with_request("settings", one.der());
        assert_eq!(digest, with_request("settings", again.der()));
        let bare = Wanted {
            common_name: CommonName::None,
            ..wanted.clone()
        };
        let other_key = KeyPair::generate(wanted.key).unwrap();
        for (settings, other) in [
            ("others", wanted.csr(&key)),
            ("settings", wanted.csr(&other_key)),
            ("settings", bare.csr(&key)),
        ] {
            assert_ne!(digest, with_request(settings, other.unwrap().der()));
        }
        for der in [
            &[][..],
            &[0x30],
            &[0x30, 0x85, 1],
            &[0x30, 0x82, 0xff, 0xff, 0],
        ] {
            assert_eq!(said(der), None, "{der:?}");
        }
        assert_eq!(said(&[0x30, 0x81, 3, 0x30, 1, 7]), Some(&[7][..]));
    }
}

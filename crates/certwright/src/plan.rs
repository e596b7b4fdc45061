//! What is to be done about one certificate: decided from what is written and what is stored, nothing else.

use core::fmt;

use certwright_cert_model::TlsSecret;
use certwright_cert_model::inspect::{CertificateFacts, NameTexts};
use certwright_cert_model::issuer_ref::IssuerRef;
use certwright_cert_model::key::RotationPolicy;
use certwright_cert_model::secret::{CA_CRT, TLS_CRT, TLS_KEY};
use certwright_cert_model::subject::{Subject, attribute};
use certwright_cert_model::validated::{RenewalTiming, ValidatedSpec};
use certwright_issuance::rotation::{KeyMismatch, mismatch};
use certwright_issuance::{Certificate, KeyPair};
use certwright_renewal::{Lifetime, Schedule};
use time::{Duration, OffsetDateTime};

use crate::annotation;

/// What is known about a certificate besides its specification.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Observed<'a> {
    /// The Secret as it is stored.
    pub secret: Option<&'a TlsSecret>,
    /// The certificate of the CA that would sign now; none if the issuer has none.
    pub authority: Option<&'a Certificate>,
}

impl<'a> Observed<'a> {
    /// A stored Secret, and the CA that would sign now.
    pub fn new(secret: Option<&'a TlsSecret>, authority: Option<&'a Certificate>) -> Self {
        Self { secret, authority }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Plan {
    /// Nothing can be done until somebody decides: the stored key is of another kind than the specification's,
    /// and `rotationPolicy: Never` keeps it.
    Blocked(KeyMismatch),
    /// Nothing before the schedule's due instant; `None` if renewal is disabled.
    Idle(Option<Schedule>),
    /// A certificate is to be issued.
    Issue {
        /// Why.
        reason: Reason,
        /// With which key.
        key: KeySource,
    },
}

/// Where the key of the next certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A new one is made.
    Generate,
    /// The one in the Secret is used again.
    Reuse,
}

/// Why a certificate is issued, in the order in which the reasons are looked for; the names are cert-manager's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The Secret does not exist.
    DoesNotExist,
    /// The Secret has no such key, or nothing under it.
    MissingData(&'static str),
    /// The private key cannot be read, or is another certificate's.
    InvalidKeyPair(String),
    /// The certificate cannot be read, or its CA did not sign it.
    InvalidCertificate(String),
    /// Another issuer signed it.
    IncorrectIssuer {
        /// The issuer the Secret tells of, `Kind/name`.
        stored: String,
        /// The issuer the specification names.
        wanted: IssuerRef,
    },
    /// The stored key is of another kind than the specification's.
    SecretMismatch(KeyMismatch),
    /// The specification asks for another certificate than it did when this one was issued.
    SpecChanged,
    /// The certificate is not what the specification asks for: other names, or another role.
    SpecMismatch,
    /// The CA has another certificate now than the one that signed.
    IssuerChanged,
    /// It is not valid before this instant, which is more than an hour ahead: a clock was wrong when it was issued.
    NotYetValid(OffsetDateTime),
    /// Its renewal is due.
    Renewing(OffsetDateTime),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoesNotExist => f.write_str("there is no Secret yet"),
            Self::MissingData(key) => write!(f, "the Secret has no {key}"),
            Self::InvalidKeyPair(why) => write!(f, "the stored key is unusable: {why}"),
            Self::InvalidCertificate(why) => write!(f, "the stored certificate is unusable: {why}"),
            Self::IncorrectIssuer { stored, wanted } => {
                // Annotations may hold anything.
                write!(f, "{} signed it, {wanted} is to", stored.escape_debug())
            }
            Self::SecretMismatch(mismatch) => mismatch.fmt(f),
            Self::SpecChanged => f.write_str("the specification has changed"),
            Self::SpecMismatch => f.write_str(
                "the stored certificate has other names than the specification, or another role",
            ),
            Self::IssuerChanged => f.write_str("the CA has a new certificate"),
            Self::NotYetValid(from) => write!(f, "it is not valid before {from}"),
            Self::Renewing(due) => write!(f, "its renewal is due since {due}"),
        }
    }
}

/// Decides what is to be done about a certificate at the instant `now`.
///
/// The checks and their order are cert-manager's; a changed CA certificate is ours: what it signed before follows.
pub fn plan(spec: &ValidatedSpec, observed: Observed<'_>, now: OffsetDateTime) -> Plan {
    let reason = match inspect(spec, observed, now) {
        Ok(schedule) => return Plan::Idle(schedule),
        Err(reason) => reason,
    };
    let stored = observed
        .secret
        .and_then(|secret| KeyPair::from_pem(secret.get(TLS_KEY)?).ok());
    let key = match (spec.key().rotation, stored) {
        (RotationPolicy::Never, Some(stored)) => {
            match mismatch(spec.key().algorithm, stored.algorithm()) {
                Some(mismatch) => return Plan::Blocked(mismatch),
                None => KeySource::Reuse,
            }
        }
        _ => KeySource::Generate,
    };
    Plan::Issue { reason, key }
}

/// How far clocks may be apart: less is waited for, so that a small correction of the clock replaces no CA.
const SKEW: Duration = Duration::HOUR;

/// The schedule of a stored certificate that is as it should be, or why another one is needed.
fn inspect(
    spec: &ValidatedSpec,
    observed: Observed<'_>,
    now: OffsetDateTime,
) -> Result<Option<Schedule>, Reason> {
    let secret = observed.secret.ok_or(Reason::DoesNotExist)?;
    let data = |key| {
        secret
            .get(key)
            .filter(|bytes| !bytes.is_empty())
            .ok_or(Reason::MissingData(key))
    };
    let (key, chain) = (data(TLS_KEY)?, data(TLS_CRT)?);

    let key = KeyPair::from_pem(key).map_err(|e| Reason::InvalidKeyPair(e.to_string()))?;
    let invalid = |e: &dyn fmt::Display| Reason::InvalidCertificate(e.to_string());
    let chain = Certificate::read_pem(chain).map_err(|e| invalid(&e))?;
    let leaf = chain.first().ok_or(Reason::MissingData(TLS_CRT))?;
    if leaf.spki_der() != key.public_key().spki_der() {
        return Err(Reason::InvalidKeyPair(
            "it is not the certificate's".to_owned(),
        ));
    }
    if let Some(stored) = annotation::other_issuer(secret, spec.issuer_ref()) {
        return Err(Reason::IncorrectIssuer {
            stored,
            wanted: spec.issuer_ref().clone(),
        });
    }
    if let Some(mismatch) = mismatch(spec.key().algorithm, key.algorithm()) {
        return Err(Reason::SecretMismatch(mismatch));
    }
    match annotation::same_spec(secret, spec) {
        Some(true) => {}
        Some(false) => return Err(Reason::SpecChanged),
        None if fits(leaf, spec) => {}
        None => return Err(Reason::SpecMismatch),
    }
    if let Some(authority) = observed.authority {
        let ca = Certificate::read_pem(secret.get(CA_CRT).unwrap_or_default()).unwrap_or_default();
        if !chain[1..]
            .iter()
            .chain(&ca)
            .any(|known| known.der() == authority.der())
        {
            return Err(Reason::IssuerChanged);
        }
        let signed = |key| leaf.verify_signature(&key).is_ok();
        if !authority.public_key().is_ok_and(signed) {
            return Err(invalid(&"its CA did not sign it"));
        }
    }
    let life = Lifetime::new(leaf.not_before(), leaf.not_after()).map_err(|e| invalid(&e))?;
    // A lead that leaves no time between two certificates is bounded, so that it cannot become a loop.
    let schedule = spec
        .renewal_policy()
        .schedule(life)
        .unwrap_or_else(|loops| loops.guarded());
    let schedule = match spec.renewal_timing() {
        RenewalTiming::Disabled => return Ok(None),
        // Without a window before expiry it is renewed when it is due: late would be an outage.
        RenewalTiming::Windows(windows) => windows.windows().fit(schedule).unwrap_or(schedule),
        _ => schedule,
    };
    if leaf.not_before() > now.saturating_add(SKEW) {
        return Err(Reason::NotYetValid(leaf.not_before()));
    }
    if schedule.is_due(now) {
        return Err(Reason::Renewing(schedule.due()));
    }
    Ok(Some(schedule))
}

/// Whether a certificate of unknown origin has the names and the role of a specification.
fn fits(leaf: &Certificate, spec: &ValidatedSpec) -> bool {
    fn same<T: PartialEq>(one: &[T], other: &[T]) -> bool {
        let within = |some: &[T], all: &[T]| some.iter().all(|name| all.contains(name));
        within(one, other) && within(other, one)
    }
    let Ok(facts) = CertificateFacts::from_der(leaf.der()) else {
        return false;
    };
    let (found, asked) = (&facts.names, &NameTexts::from(spec.names()));
    let common_name = |subject: &Subject| {
        let name = subject.values(attribute::COMMON_NAME).last();
        name.map(str::to_owned)
    };
    same(&found.dns, &asked.dns)
        && same(&found.email, &asked.email)
        && same(&found.ip, &asked.ip)
        && same(&found.uri, &asked.uri)
        && same(&found.other, &asked.other)
        && found.unread == 0
        && common_name(&facts.subject) == common_name(spec.subject())
        && facts.is_ca == spec.is_ca()
}

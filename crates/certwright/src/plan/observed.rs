use certwright_cert_model::{Fingerprint, Requested, TlsSecret};
use certwright_issuance::Certificate;
use certwright_renewal::{AriWindow, FailureBackoff};
use time::OffsetDateTime;

use super::seal::Seal;

/// What is known about a certificate besides its specification.
///
/// Start with [`Observed::new`] or the default and set what you know: what is left at its default is not looked at.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Observed<'a> {
    /// The Certificate's own name, to be compared with the one in the Secret's annotations; empty to leave it out.
    pub certificate: &'a str,
    /// The Secret as it is stored.
    pub secret: Option<&'a TlsSecret>,
    /// Who would sign now.
    pub authority: Authority<'a>,
    /// What the stored certificate was asked for.
    pub request: CurrentRequest<'a>,
    /// The Certificate that the Secret belongs to, if it is another one ([`ownership`](crate::ownership)).
    pub owner: Option<&'a str>,
    /// When the CA suggests to renew (RFC 9773).
    pub ari: Option<AriWindow>,
    /// The keys of the Secret's keystores that are not as the specification says. Whoever knows the passwords tells;
    /// it takes deriving keys from them.
    pub keystores: &'a [&'a str],
    /// Whether the issuer signs the same key twice.
    pub key_reuse: KeyReuse,
    /// When a user asked for a new certificate last. It is done once a certificate was issued later than that; an
    /// instant after `now` is not there yet.
    pub requested: Option<OffsetDateTime>,
    /// Whether that user asked for a new key as well, whatever `rotationPolicy` says: the old one may be known to
    /// others.
    pub rekey: bool,
    /// The failures since the last certificate.
    pub failures: Option<Failures>,
    /// How long is waited after them.
    pub backoff: FailureBackoff,
    /// When certificates were issued lately, in any order: if somebody undoes what is issued again and again, it is
    /// not issued ever faster.
    pub issued: &'a [OffsetDateTime],
    /// When the Secret was rewritten lately around the same certificate, in any order: if somebody undoes it again and
    /// again, it is not rewritten for ever. Sixteen instants are enough.
    pub rewritten: &'a [OffsetDateTime],
    /// Knows what the CA signed without verifying it again.
    pub(crate) seal: Option<&'a Seal>,
}

impl<'a> Observed<'a> {
    /// A stored Secret, and who would sign now.
    pub fn new(secret: Option<&'a TlsSecret>, authority: Authority<'a>) -> Self {
        Self {
            secret,
            authority,
            ..Self::default()
        }
    }
}

/// Who would sign now.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum Authority<'a> {
    /// A CA: its certificate, then those above it that are known.
    Chain(&'a [Certificate]),
    /// The certificate's own key (`selfSigned`).
    OwnKey,
    /// Nobody knows before it has signed (ACME), or the issuer cannot be asked now.
    #[default]
    Unknown,
}

/// The request that led to the stored certificate.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum CurrentRequest<'a> {
    /// It is known.
    Known(&'a Requested),
    /// It is gone; the Secret's fingerprint of the specification and the certificate itself must do.
    #[default]
    Unknown,
    /// It is there, and this is why it cannot be read.
    Unreadable(&'a str),
}

/// Whether an issuer signs the same key twice; complete by definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyReuse {
    /// It does.
    #[default]
    Allowed,
    /// It does not: `rotationPolicy: Never` is an error.
    Forbidden,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failures {
    /// How many, from 1.
    pub attempts: i64,
    /// When the last one was.
    pub last: OffsetDateTime,
    /// What was asked for then: who repaired the specification does not wait.
    pub spec: Fingerprint,
}

impl Failures {
    /// So many failures in a row, the last of them at this instant with this specification.
    pub fn new(attempts: i64, last: OffsetDateTime, spec: Fingerprint) -> Self {
        Self {
            attempts,
            last,
            spec,
        }
    }
}

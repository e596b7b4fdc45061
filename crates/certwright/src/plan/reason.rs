use core::fmt;

use certwright_cert_model::Difference;
use certwright_cert_model::issuer_ref::{CERT_MANAGER_GROUP, IssuerRef};
use certwright_issuance::rotation::KeyMismatch;
use certwright_renewal::AriWindow;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Why a certificate is issued, in the order in which the reasons are looked for.
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
    /// The certificate was only to be there until the real one is.
    Temporary,
    /// Another issuer signed it.
    IncorrectIssuer {
        /// The issuer the Secret tells of, `Kind/name`, or `Kind.group/name` beyond cert-manager's own group.
        stored: String,
        /// The issuer the specification names.
        wanted: IssuerRef,
    },
    /// It was issued for another Certificate.
    IncorrectCertificate {
        /// The Certificate the Secret tells of.
        stored: String,
        /// The Certificate that keeps its result there now.
        wanted: String,
    },
    /// The stored key is of another kind than the specification's.
    KeyMismatch(KeyMismatch),
    /// The request that led to the certificate cannot be read.
    InvalidCertificateRequest(String),
    /// The stored key is not the one that was requested with.
    KeyNotRequested,
    /// The certificate is not the one that was issued: somebody else put it into the Secret.
    Replaced {
        /// The serial number of the one that is there, as pairs of hexadecimal digits.
        serial: String,
    },
    /// The specification asks for something else than the request that led to the certificate.
    RequestChanged(Vec<Difference>),
    /// The specification asks for another certificate than it did when this one was issued. What is known to differ
    /// may be nothing: not everything that is asked for can be seen in a certificate.
    SpecChanged(Vec<Difference>),
    /// The certificate, of which no request is known, is not what the specification asks for.
    SpecMismatch(Vec<Difference>),
    /// The CA that would sign now is not the one that signed.
    IssuerChanged {
        /// What about it changed.
        change: AuthorityChange,
        /// The serial number of the CA's certificate then, as pairs of hexadecimal digits; empty if it is not known.
        stored: String,
        /// The serial number now.
        current: String,
    },
    /// The certificate, or the time until its renewal, is longer than its CA's.
    ChainEndsFirst {
        /// When the first certificate above it ends.
        chain: OffsetDateTime,
        /// When it would end itself.
        certificate: OffsetDateTime,
    },
    /// It is not valid before this instant, which is more than an hour ahead: a clock was wrong when it was issued.
    NotYetValid(OffsetDateTime),
    /// A user asked for it at this instant.
    Requested(OffsetDateTime),
    /// The CA asks for it to be renewed in this window, by an instant of which it is due.
    Suggested {
        /// The window.
        window: AriWindow,
        /// The instant.
        due: OffsetDateTime,
    },
    /// Its renewal is due.
    Renewing(OffsetDateTime),
    /// It ended at this instant; only told by [`readiness`](super::readiness), since a renewal is due before.
    Expired(OffsetDateTime),
}

/// What about a CA changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthorityChange {
    /// It is another kind of issuer: what signed itself is to be signed by a CA, or the reverse.
    Kind,
    /// It has a new key.
    Rekeyed,
    /// It has a new certificate for the same key.
    Renewed,
}

impl Reason {
    /// The reason as one word for conditions; cert-manager's where it knows the reason.
    pub fn word(&self) -> &'static str {
        match self {
            Self::DoesNotExist => "DoesNotExist",
            Self::MissingData(_) => "MissingData",
            Self::InvalidKeyPair(_) => "InvalidKeyPair",
            Self::InvalidCertificate(_) => "InvalidCertificate",
            Self::Temporary => "TemporaryCertificate",
            Self::IncorrectIssuer { .. } => "IncorrectIssuer",
            Self::IncorrectCertificate { .. } => "IncorrectCertificate",
            Self::KeyMismatch(_)
            | Self::KeyNotRequested
            | Self::Replaced { .. }
            | Self::SpecMismatch(_) => "SecretMismatch",
            Self::InvalidCertificateRequest(_) => "InvalidCertificateRequest",
            Self::RequestChanged(_) | Self::SpecChanged(_) => "RequestChanged",
            Self::IssuerChanged { .. } => "IssuerChanged",
            Self::ChainEndsFirst { .. } => "ChainEndsFirst",
            Self::NotYetValid(_) => "NotYetValid",
            Self::Requested(_) => "ManuallyTriggered",
            Self::Suggested { .. } | Self::Renewing(_) => "Renewing",
            Self::Expired(_) => "Expired",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoesNotExist => f.write_str("there is no Secret yet"),
            Self::MissingData(key) => write!(f, "the Secret has no {key}"),
            Self::InvalidKeyPair(why) => write!(f, "the stored key is unusable: {why}"),
            Self::InvalidCertificate(why) => write!(f, "the stored certificate is unusable: {why}"),
            Self::Temporary => f.write_str("the stored certificate is only a temporary one"),
            // Annotations may hold anything.
            Self::IncorrectIssuer { stored, wanted } => write!(
                f,
                "{} signed it, {} is to",
                stored.escape_debug(),
                issuer_text(wanted.kind(), wanted.group(), &wanted.name)
            ),
            Self::IncorrectCertificate { stored, wanted } => write!(
                f,
                "it was issued for Certificate {}, not for {wanted}",
                stored.escape_debug()
            ),
            Self::KeyMismatch(mismatch) => mismatch.fmt(f),
            Self::InvalidCertificateRequest(why) => {
                write!(f, "the request that led to it cannot be read: {why}")
            }
            Self::KeyNotRequested => {
                f.write_str("the stored key is not the one of the request that led to it")
            }
            Self::Replaced { serial } => write!(
                f,
                "the stored certificate with serial number {serial} is not the one that was issued"
            ),
            Self::RequestChanged(differences) => {
                f.write_str("something else was requested")?;
                list(f, differences)
            }
            Self::SpecChanged(differences) => {
                f.write_str("the specification has changed")?;
                list(f, differences)
            }
            Self::SpecMismatch(differences) => {
                f.write_str("the stored certificate is not what the specification asks for")?;
                list(f, differences)
            }
            Self::IssuerChanged {
                change,
                stored,
                current,
            } => issuer_changed(f, *change, stored, current),
            Self::ChainEndsFirst { chain, certificate } => write!(
                f,
                "its chain ends at {}, before it would itself at {}",
                instant(*chain),
                instant(*certificate)
            ),
            Self::NotYetValid(from) => write!(f, "it is not valid before {}", instant(*from)),
            Self::Requested(at) => write!(f, "it was asked for at {}", instant(*at)),
            Self::Suggested { window, due } => write!(
                f,
                "its CA asks for a renewal between {} and {}, and it is due since {}",
                instant(window.start()),
                instant(window.end()),
                instant(*due)
            ),
            Self::Renewing(due) => write!(f, "its renewal is due since {}", instant(*due)),
            Self::Expired(at) => write!(f, "it expired at {}", instant(*at)),
        }
    }
}

/// An issuer by its kind and name, and its group if that is not cert-manager's own.
pub(crate) fn issuer_text(kind: &str, group: &str, name: &str) -> String {
    if group == CERT_MANAGER_GROUP {
        format!("{kind}/{name}")
    } else {
        format!("{kind}.{group}/{name}")
    }
}

/// An instant for people: RFC 3339, in UTC, to the second; beyond the year 9999, which it cannot write, as it is.
pub(crate) fn instant(at: OffsetDateTime) -> String {
    let utc = at.checked_to_offset(UtcOffset::UTC).unwrap_or(at);
    let second = utc.replace_nanosecond(0).unwrap_or(utc);
    let text = second.format(&Rfc3339);
    text.unwrap_or_else(|_| at.to_string())
}

fn issuer_changed(
    f: &mut fmt::Formatter<'_>,
    change: AuthorityChange,
    stored: &str,
    current: &str,
) -> fmt::Result {
    match change {
        AuthorityChange::Kind => return f.write_str("its issuer is of another kind now"),
        AuthorityChange::Rekeyed => f.write_str("the CA has a new key and certificate")?,
        AuthorityChange::Renewed => f.write_str("the CA has a new certificate")?,
    }
    write!(f, " with serial number {current}")?;
    if !stored.is_empty() {
        write!(f, ", no longer {stored}")?;
    }
    Ok(())
}

fn list(f: &mut fmt::Formatter<'_>, differences: &[Difference]) -> fmt::Result {
    for (i, difference) in differences.iter().enumerate() {
        let before = if i == 0 { ": " } else { "; " };
        write!(f, "{before}{difference}")?;
    }
    Ok(())
}

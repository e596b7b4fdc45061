//! The one checker of name constraints (RFC 5280, 4.2.1.10): every form, over a whole chain, with
//! the CA, the subtree and the name in every refusal.
//!
//! It runs before a certificate is signed, and on chains that someone else issued
//! ([`check_chain`]).

mod dns;
mod judge;
mod mailbox;
mod model;
mod subtree;
mod tree;
mod uri;
mod violation;

use crate::certificate::Certificate;
use crate::decode::DerError;
use crate::general_name::GeneralName;
use judge::Judge;
use subtree::Subtrees;

pub use crate::encode::extension::name_constraints_to_der;
pub use model::{NameConstraintsError, name_constraints_from_der};
pub use violation::{NameForm, NameViolation, NameViolations, ViolationReason};

/// How much is demanded of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConstraintLevel {
    /// What every verifier in wide use accepts: RFC 5280, and
    ///
    /// - a common name that looks like a host is tested as a DNS name if there is none (OpenSSL,
    ///   GnuTLS),
    /// - e-mail addresses in the subject are tested always, not only without a subjectAltName (OpenSSL),
    /// - a URI whose host OpenSSL would find elsewhere is refused (user information, a query right
    ///   behind the host, a colon in the path),
    /// - DNS names and IP addresses of self-issued intermediates are tested (webpki).
    #[default]
    Interop,
    /// RFC 5280 to the letter: also refuses a URI whose host has one label only.
    Rfc5280,
}

/// The name constraints that a chain of CAs puts on whatever is below.
#[derive(Clone, Debug, Default)]
pub struct ChainConstraints {
    cas: Vec<CaConstraints>,
}

#[derive(Clone, Debug)]
struct CaConstraints {
    /// Position in the chain that was given.
    index: usize,
    subject: Box<[u8]>,
    permitted: Subtrees,
    excluded: Subtrees,
}

/// A certificate that is about to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// The last of its chain; its common name may be used as a host name.
    End,
    /// A CA between others.
    Intermediate,
    /// A CA between others that issued itself; RFC 5280 exempts it.
    SelfIssued,
}

impl ChainConstraints {
    /// The constraints of every CA of a chain, in any order; positions in refusals count in this order.
    ///
    /// # Errors
    ///
    /// A nameConstraints extension that is malformed; nothing below such a CA can be judged.
    pub fn of<'a>(
        chain: impl IntoIterator<Item = &'a Certificate>,
    ) -> Result<Self, MalformedConstraints> {
        let mut cas = Vec::new();
        for (index, ca) in chain.into_iter().enumerate() {
            let Some((_, value)) = ca.name_constraints() else {
                continue;
            };
            let (permitted, excluded) =
                subtree::read(value).map_err(|source| MalformedConstraints {
                    ca: ca.subject(),
                    index,
                    source,
                })?;
            cas.push(CaConstraints {
                index,
                subject: ca.subject_der().into(),
                permitted,
                excluded,
            });
        }
        Ok(Self { cas })
    }

    /// Whether no CA of the chain is constrained.
    pub fn is_empty(&self) -> bool {
        self.cas.is_empty()
    }

    /// Judges the subject and names of the certificate at the end of a chain. Names that pass
    /// cost no allocation.
    ///
    /// # Errors
    ///
    /// Every name that a CA of the chain does not allow, with the reason.
    pub fn check<'n>(
        &self,
        subject_der: &[u8],
        names: impl Iterator<Item = GeneralName<'n>>,
        level: ConstraintLevel,
    ) -> Result<(), NameViolations> {
        self.judge(subject_der, names, level, Position::End)
    }

    fn judge<'n>(
        &self,
        subject_der: &[u8],
        names: impl Iterator<Item = GeneralName<'n>>,
        level: ConstraintLevel,
        position: Position,
    ) -> Result<(), NameViolations> {
        if self.cas.is_empty()
            || (position, level) == (Position::SelfIssued, ConstraintLevel::Rfc5280)
        {
            return Ok(());
        }
        let mut judge = Judge {
            cas: &self.cas,
            level,
            violations: Vec::new(),
        };
        let (mut any, mut dns) = (false, false);
        for name in names {
            any = true;
            dns |= matches!(name, GeneralName::Dns(_));
            let exempt = position == Position::SelfIssued
                && !matches!(name, GeneralName::Dns(_) | GeneralName::Ip(_));
            if !exempt {
                judge.name(&name);
            }
        }
        if position != Position::SelfIssued {
            judge.subject(subject_der, any, dns, position);
        }
        NameViolations::from_vec(judge.violations).map_or(Ok(()), Err)
    }
}

/// Judges a whole chain that someone issued: the end certificate first, each next one the issuer of
/// the one before. The last one's own names are not judged.
///
/// # Errors
///
/// Malformed constraints, constraints on a leaf, or every name that a CA above it does not allow.
pub fn check_chain(chain: &[Certificate], level: ConstraintLevel) -> Result<(), ChainError> {
    if let Some(end) = chain
        .first()
        .filter(|end| !end.is_ca() && end.name_constraints().is_some())
    {
        return Err(ChainError::NotACa {
            certificate: end.subject(),
        });
    }
    for (index, certificate) in chain.iter().enumerate() {
        let above = chain.get(index + 1..).unwrap_or_default();
        let constraints = ChainConstraints::of(above)?;
        let position = match index {
            0 => Position::End,
            _ if certificate.is_self_issued() => Position::SelfIssued,
            _ => Position::Intermediate,
        };
        let judged = constraints.judge(
            certificate.subject_der(),
            certificate.names(),
            level,
            position,
        );
        judged.map_err(|violations| ChainError::Names {
            certificate: certificate.subject(),
            violations,
        })?;
    }
    Ok(())
}

/// Checks that the value of a nameConstraints extension can be evaluated.
pub(crate) fn check_value(value: &[u8]) -> Result<(), DerError> {
    subtree::read(value).map(|_| ())
}

/// The forms that an extension constrains and webpki does not know: it refuses every certificate
/// that has a name of such a form.
pub(crate) fn forms_rustls_cannot_evaluate(value: &[u8]) -> impl Iterator<Item = NameForm> {
    let (permitted, excluded) = subtree::read(value).unwrap_or_default();
    let any = |used: fn(&Subtrees) -> bool| used(&permitted) || used(&excluded);
    let forms = [
        (NameForm::Email, any(|subtrees| !subtrees.email.is_empty())),
        (NameForm::Uri, any(|subtrees| !subtrees.uri.is_empty())),
        (
            NameForm::Directory,
            any(|subtrees| !subtrees.directory.is_empty()),
        ),
        (NameForm::Other, any(|subtrees| subtrees.undefined != 0)),
    ];
    forms
        .into_iter()
        .filter_map(|(form, used)| used.then_some(form))
}

/// A CA whose nameConstraints extension cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name constraints of {ca:?} (certificate {index} of its chain) are malformed")]
#[non_exhaustive]
pub struct MalformedConstraints {
    /// The CA's subject.
    pub ca: String,
    /// Its position in the chain given.
    pub index: usize,
    /// What is wrong.
    pub source: DerError,
}

/// Why a chain breaks its own name constraints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A nameConstraints extension cannot be read.
    #[error(transparent)]
    Malformed(#[from] MalformedConstraints),
    /// Names outside the constraints of a CA above.
    #[error("{certificate:?} has names its CAs do not allow: {violations}")]
    Names {
        /// The certificate's subject.
        certificate: String,
        /// The names.
        violations: NameViolations,
    },
    /// Name constraints on a certificate that is not a CA's (RFC 5280, 4.2.1.10).
    #[error("{certificate:?} has name constraints but is not a CA")]
    NotACa {
        /// The certificate's subject.
        certificate: String,
    },
}

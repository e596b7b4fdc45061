//! The one checker of name constraints (RFC 5280, 4.2.1.10): every form, over a whole chain, with
//! the CA, the subtree and the name in every refusal.
//!
//! It runs before a certificate is signed, and on chains that someone else issued
//! ([`check_chain`]).

mod dns;
mod mailbox;
mod model;
mod subtree;
mod tree;
mod uri;
mod violation;

use core::fmt::Display;

use crate::certificate::Certificate;
use crate::decode::DerError;
use crate::general_name::GeneralName;
use crate::name::{self, COMMON_NAME, EMAIL_ADDRESS};
use dns::Host;
use mailbox::Mailbox;
use subtree::{Hit, Side, Subtrees};

pub use model::{NameConstraintsError, name_constraints_from_der};
pub use violation::{NameForm, NameViolation, NameViolations, ViolationReason};

/// How much is demanded of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// Collects what is wrong with the names of one certificate.
struct Judge<'a> {
    cas: &'a [CaConstraints],
    level: ConstraintLevel,
    violations: Vec<NameViolation>,
}

impl Judge<'_> {
    fn name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::Dns(text) => self.dns(text, NameForm::Dns),
            GeneralName::Email(text) => self.email(text, NameForm::Email),
            GeneralName::Uri(text) => self.uri(text),
            GeneralName::Ip(address) => self.forms(
                NameForm::Ip,
                |subtrees| &subtrees.ip,
                |base, _| match address.len() {
                    4 | 16 => base.test(address),
                    _ => Hit::Malformed,
                },
                || display_ip(address),
            ),
            GeneralName::Directory(name) => self.directory(name, NameForm::Directory),
            GeneralName::Other { .. } => self.undefined(0, NameForm::Other),
            GeneralName::X400 => self.undefined(3, NameForm::X400),
            GeneralName::EdiParty => self.undefined(5, NameForm::EdiParty),
            GeneralName::RegisteredId(_) => self.undefined(8, NameForm::RegisteredId),
        }
    }

    fn subject(&mut self, subject: &[u8], any: bool, dns: bool, position: Position) {
        if name::rdns(subject).next().is_none() {
            return;
        }
        self.directory(subject, NameForm::Subject);
        let interop = self.level == ConstraintLevel::Interop;
        for attribute in name::rdns(subject).flat_map(name::Rdn::attributes) {
            let email = attribute.oid == EMAIL_ADDRESS && (interop || !any);
            let host = attribute.oid == COMMON_NAME && interop && !dns && position == Position::End;
            let Some(chars) = attribute.chars().filter(|_| email || host) else {
                continue;
            };
            // At most 255 bytes are of interest; a longer value is no mailbox and no host.
            let mut buffer = [0; 256];
            let Some(text) = ascii(chars, &mut buffer) else {
                continue;
            };
            if email {
                self.email(text, NameForm::SubjectEmail);
            } else if subtree::host_like(text.as_bytes()) {
                self.dns(text, NameForm::CommonName);
            }
        }
    }

    fn dns(&mut self, text: &str, form: NameForm) {
        let host = Host::presented(text.as_bytes());
        for ca in self.cas {
            let (permitted, excluded) = (&ca.permitted.dns, &ca.excluded.dns);
            if permitted.is_empty() && excluded.is_empty() {
                continue;
            }
            let malformed = permitted.malformed().or(excluded.malformed());
            let violation = match &host {
                _ if malformed.is_some() => {
                    ca.violation(form, text, malformed, ViolationReason::Malformed)
                }
                None => {
                    let subtree = permitted.only().or(excluded.only());
                    ca.violation(form, text, subtree, ViolationReason::Malformed)
                }
                Some(host) => {
                    if let Some(subtree) = excluded.touching(host) {
                        ca.violation(form, text, Some(subtree), ViolationReason::Excluded)
                    } else if permitted.is_empty() || permitted.holding(host).is_some() {
                        continue;
                    } else {
                        let only = permitted.only();
                        ca.violation(form, text, only, ViolationReason::NotPermitted)
                    }
                }
            };
            self.violations.push(violation);
        }
    }

    fn email(&mut self, text: &str, form: NameForm) {
        let mailbox = Mailbox::new(text);
        self.forms(
            form,
            |subtrees| &subtrees.email,
            |base, _| match &mailbox {
                Some(mailbox) => base.test(mailbox),
                None => Hit::Malformed,
            },
            || text.to_owned(),
        );
    }

    fn uri(&mut self, text: &str) {
        let interop = self.level == ConstraintLevel::Interop;
        let host = uri::host(text, interop);
        let host = match host {
            Ok(host) if !interop && !host.is_qualified() => Err(ViolationReason::NoHost),
            host => host,
        };
        match host {
            Ok(host) => self.forms(
                NameForm::Uri,
                |subtrees| &subtrees.uri,
                |base, _| base.test(&host),
                || text.to_owned(),
            ),
            Err(reason) => {
                for ca in self.cas {
                    if !(ca.permitted.uri.is_empty() && ca.excluded.uri.is_empty()) {
                        let subtree = ca.permitted.uri.first().or(ca.excluded.uri.first());
                        let violation = ca.violation(NameForm::Uri, text, subtree, reason);
                        self.violations.push(violation);
                    }
                }
            }
        }
    }

    fn directory(&mut self, name: &[u8], form: NameForm) {
        self.forms(
            form,
            |subtrees| &subtrees.directory,
            |base, side| base.test(name, side),
            || name::display(name),
        );
    }

    /// A form whose matching is not defined: refused wherever it is constrained.
    fn undefined(&mut self, tag: u8, form: NameForm) {
        for ca in self.cas {
            if (ca.permitted.undefined | ca.excluded.undefined) & (1 << tag) != 0 {
                let none: Option<&String> = None;
                let reason = ViolationReason::UndefinedForm;
                self.violations.push(ca.violation(form, "", none, reason));
            }
        }
    }

    /// Tests one name against the subtrees of its form, of every CA.
    fn forms<B: Display>(
        &mut self,
        form: NameForm,
        bases: impl Fn(&Subtrees) -> &[B],
        test: impl Fn(&B, Side) -> Hit,
        text: impl Fn() -> String,
    ) {
        for ca in self.cas {
            let (permitted, excluded) = (bases(&ca.permitted), bases(&ca.excluded));
            let excluding = excluded
                .iter()
                .find_map(|base| match test(base, Side::Excluded) {
                    Hit::Outside => None,
                    Hit::Inside => Some((base, ViolationReason::Excluded)),
                    Hit::Malformed => Some((base, ViolationReason::Malformed)),
                });
            let mut found = excluding.map(|(base, reason)| (Some(base), reason));
            if found.is_none() && !permitted.is_empty() {
                let mut inside = false;
                for base in permitted {
                    match test(base, Side::Permitted) {
                        Hit::Outside => {}
                        Hit::Inside => inside = true,
                        Hit::Malformed => {
                            found = Some((Some(base), ViolationReason::Malformed));
                            break;
                        }
                    }
                }
                if found.is_none() && !inside {
                    // With one permitted subtree it is worth naming; with several none is to blame.
                    let only = (permitted.len() == 1).then(|| permitted.first()).flatten();
                    found = Some((only, ViolationReason::NotPermitted));
                }
            }
            if let Some((base, reason)) = found {
                self.violations
                    .push(ca.violation(form, &text(), base, reason));
            }
        }
    }
}

impl CaConstraints {
    fn violation(
        &self,
        form: NameForm,
        name: &str,
        subtree: Option<impl Display>,
        reason: ViolationReason,
    ) -> NameViolation {
        NameViolation {
            ca: name::display(&self.subject),
            ca_index: self.index,
            form,
            name: name.to_owned(),
            subtree: subtree.map(|subtree| subtree.to_string()),
            reason,
        }
    }
}

/// The characters as text in `buffer`, if they are ASCII and fit.
fn ascii<'b>(chars: name::Chars<'_>, buffer: &'b mut [u8; 256]) -> Option<&'b str> {
    let mut length = 0;
    for c in chars {
        let byte = u8::try_from(c).ok().filter(u8::is_ascii)?;
        *buffer.get_mut(length)? = byte;
        length += 1;
    }
    core::str::from_utf8(&buffer[..length]).ok()
}

fn display_ip(octets: &[u8]) -> String {
    use core::net::IpAddr;
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4.or(v6)
        .map_or_else(|_| format!("{octets:02x?}"), |address| address.to_string())
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

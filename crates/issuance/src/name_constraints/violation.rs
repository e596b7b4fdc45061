//! What is wrong with a name, and by whose word.

use core::fmt;

/// A name that a CA's constraints do not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{form} {name:?} {}, by the name constraints of {ca:?}", reason.with(subtree.as_deref()))]
#[non_exhaustive]
pub struct NameViolation {
    /// The subject of the CA whose constraint it is.
    pub ca: String,
    /// That CA's position in its chain.
    pub ca_index: usize,
    /// The form of the name.
    pub form: NameForm,
    /// The name.
    pub name: String,
    /// The subtree that decided; `None` if several were permitted and none of them matched.
    pub subtree: Option<String>,
    /// Why.
    pub reason: ViolationReason,
}

/// Where in a certificate a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameForm {
    /// The common name of a subject, used as a host name for want of another.
    CommonName,
    /// A directoryName.
    Directory,
    /// A dNSName.
    Dns,
    /// An ediPartyName.
    EdiParty,
    /// An rfc822Name.
    Email,
    /// An iPAddress.
    Ip,
    /// An otherName.
    Other,
    /// A registeredID.
    RegisteredId,
    /// The subject.
    Subject,
    /// An e-mail address in the subject.
    SubjectEmail,
    /// A URI.
    Uri,
    /// An x400Address.
    X400,
}

impl fmt::Display for NameForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommonName => "common name",
            Self::Directory => "directory name",
            Self::Dns => "DNS name",
            Self::EdiParty => "EDI party name",
            Self::Email => "e-mail address",
            Self::Ip => "IP address",
            Self::Other => "other name",
            Self::RegisteredId => "registered ID",
            Self::Subject => "subject",
            Self::SubjectEmail => "e-mail address of the subject",
            Self::Uri => "URI",
            Self::X400 => "X.400 address",
        })
    }
}

/// Why a name is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViolationReason {
    /// Verifiers find different hosts in the URI.
    AmbiguousHost,
    /// An excluded subtree holds it.
    Excluded,
    /// The name or the subtree is not well-formed, so nothing can be said.
    Malformed,
    /// A URI without a host name, where URIs are constrained.
    NoHost,
    /// No permitted subtree holds it.
    NotPermitted,
    /// RFC 5280 does not define constraints on this form, and there are some.
    UndefinedForm,
}

impl ViolationReason {
    fn with(self, subtree: Option<&str>) -> String {
        let subtree = subtree.map(|subtree| format!(" {subtree:?}"));
        let subtree = subtree.unwrap_or_default();
        match self {
            Self::AmbiguousHost => {
                "has a host that verifiers find in different places; write it without user information, and with a '/' behind the host".to_owned()
            }
            Self::Excluded => format!("is excluded by{subtree}"),
            Self::Malformed => format!("cannot be held against the subtree{subtree}: one of them is malformed"),
            Self::NoHost => "has no host name, which constrained URIs need".to_owned(),
            Self::NotPermitted if subtree.is_empty() => "is outside every permitted subtree".to_owned(),
            Self::NotPermitted => format!("is outside the permitted{subtree}"),
            Self::UndefinedForm => "is of a form whose constraints nobody can evaluate".to_owned(),
        }
    }
}

/// Everything wrong with the names of one certificate; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameViolations(Vec<NameViolation>);

impl NameViolations {
    pub(super) fn from_vec(violations: Vec<NameViolation>) -> Option<Self> {
        (!violations.is_empty()).then_some(Self(violations))
    }

    /// The violations, in the order of the names.
    pub fn iter(&self) -> core::slice::Iter<'_, NameViolation> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a NameViolations {
    type Item = &'a NameViolation;
    type IntoIter = core::slice::Iter<'a, NameViolation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for NameViolations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            violation.fmt(f)?;
        }
        Ok(())
    }
}

impl core::error::Error for NameViolations {}

//! Distinguished names as an ordered list of RDNs.

pub mod attribute;
mod literal;

use core::fmt;

pub use literal::{LiteralAttribute, LiteralSubject, LiteralSubjectError};

use crate::oid::Oid;

/// A distinguished name: RDNs in the order of the DER, most significant (country) first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subject(Vec<Rdn>);

/// A relative distinguished name: one or more attributes that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rdn(Vec<Attribute>);

/// One attribute: its type and its text.
///
/// Which ASN.1 string type carries the text is decided when the name is encoded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Attribute {
    /// The attribute type, for example `2.5.4.3`.
    pub oid: Oid,
    /// The value.
    pub value: String,
}

impl Subject {
    /// A name of these RDNs, most significant first.
    pub fn new(rdns: Vec<Rdn>) -> Self {
        Self(rdns)
    }

    /// The RDNs, most significant first.
    pub fn rdns(&self) -> &[Rdn] {
        &self.0
    }

    /// Whether the name has no RDN.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The attributes of this type, in DER order.
    pub fn values<'a>(&'a self, oid: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .flat_map(|rdn| &rdn.0)
            .filter(move |attribute| attribute.oid.as_str() == oid)
            .map(|attribute| attribute.value.as_str())
    }
}

impl fmt::Display for Subject {
    /// Writes the name as RFC 4514 does: the least significant RDN first, `CN=web,O=Example,C=GB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, rdn) in self.0.iter().rev().enumerate() {
            f.write_str(if i > 0 { "," } else { "" })?;
            for (j, attribute) in rdn.0.iter().enumerate() {
                let oid = attribute.oid.as_str();
                let name = attribute::name_of(oid).unwrap_or(oid);
                f.write_str(if j > 0 { "+" } else { "" })?;
                write!(f, "{name}={}", literal::Escaped(&attribute.value))?;
            }
        }
        Ok(())
    }
}

impl Rdn {
    /// An RDN of these attributes, or `None` if there are none.
    pub fn new(attributes: Vec<Attribute>) -> Option<Self> {
        (!attributes.is_empty()).then_some(Self(attributes))
    }

    /// The attributes; DER sorts them when the name is encoded.
    pub fn attributes(&self) -> &[Attribute] {
        &self.0
    }
}

impl Attribute {
    /// An attribute of this type and text.
    pub fn new(oid: Oid, value: impl Into<String>) -> Self {
        Self {
            oid,
            value: value.into(),
        }
    }
}

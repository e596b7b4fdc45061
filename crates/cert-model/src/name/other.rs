use core::fmt;

use crate::oid::Oid;

/// An otherName: a type and UTF-8 text, for example a user principal name (`1.3.6.1.4.1.311.20.2.3`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct OtherName {
    /// The type.
    pub oid: Oid,
    /// The value, written as UTF8String.
    pub value: String,
}

impl OtherName {
    /// An otherName of this type and text.
    pub fn new(oid: Oid, value: impl Into<String>) -> Self {
        Self {
            oid,
            value: value.into(),
        }
    }
}

impl fmt::Display for OtherName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.oid, self.value)
    }
}

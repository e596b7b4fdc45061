//! The attribute types that names are made of (RFC 4519, X.520), in dotted-decimal form.

#![allow(missing_docs, reason = "the constants are the attributes' own names")]

pub const COMMON_NAME: &str = "2.5.4.3";
pub const COUNTRY: &str = "2.5.4.6";
pub const DOMAIN_COMPONENT: &str = "0.9.2342.19200300.100.1.25";
pub const EMAIL_ADDRESS: &str = "1.2.840.113549.1.9.1";
pub const LOCALITY: &str = "2.5.4.7";
pub const ORGANIZATION: &str = "2.5.4.10";
pub const ORGANIZATIONAL_UNIT: &str = "2.5.4.11";
pub const POSTAL_CODE: &str = "2.5.4.17";
pub const PROVINCE: &str = "2.5.4.8";
pub const SERIAL_NUMBER: &str = "2.5.4.5";
pub const STREET_ADDRESS: &str = "2.5.4.9";
pub const USER_ID: &str = "0.9.2342.19200300.100.1.1";

/// The short names that `literalSubject` knows; they are case-sensitive.
const NAMES: [(&str, &str); 10] = [
    ("C", COUNTRY),
    ("CN", COMMON_NAME),
    ("DC", DOMAIN_COMPONENT),
    ("L", LOCALITY),
    ("O", ORGANIZATION),
    ("OU", ORGANIZATIONAL_UNIT),
    ("SERIALNUMBER", SERIAL_NUMBER),
    ("ST", PROVINCE),
    ("STREET", STREET_ADDRESS),
    ("UID", USER_ID),
];

/// The short names that `literalSubject` knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// The object identifier of a short name.
pub fn oid_of(name: &str) -> Option<&'static str> {
    let known = NAMES.iter().find(|(known, _)| *known == name)?;
    Some(known.1)
}

/// The short name of an object identifier.
pub fn name_of(oid: &str) -> Option<&'static str> {
    let known = NAMES.iter().find(|(_, known)| *known == oid)?;
    Some(known.0)
}

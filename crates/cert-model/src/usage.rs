//! Key usages (RFC 5280, 4.2.1.3) and extended key usages (4.2.1.12), by cert-manager's names.

use core::fmt;
use core::str::FromStr;

/// A key usage bit; the discriminant is its bit number in RFC 5280's `KeyUsage`,
/// which has no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are RFC 5280's own")]
pub enum KeyUsage {
    DigitalSignature = 0,
    ContentCommitment = 1,
    KeyEncipherment = 2,
    DataEncipherment = 3,
    KeyAgreement = 4,
    CertSign = 5,
    CrlSign = 6,
    EncipherOnly = 7,
    DecipherOnly = 8,
}

impl KeyUsage {
    /// All nine, in bit order.
    pub const ALL: [Self; 9] = [
        Self::DigitalSignature,
        Self::ContentCommitment,
        Self::KeyEncipherment,
        Self::DataEncipherment,
        Self::KeyAgreement,
        Self::CertSign,
        Self::CrlSign,
        Self::EncipherOnly,
        Self::DecipherOnly,
    ];

    /// The bit number in RFC 5280's `KeyUsage` (0 is the most significant bit of the first octet).
    pub fn bit(self) -> u8 {
        self as u8
    }
}

/// A set of key usages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyUsages(u16);

impl KeyUsages {
    /// The empty set.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether the set holds nothing.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the set holds `usage`.
    pub fn contains(self, usage: KeyUsage) -> bool {
        self.0 & (1 << usage.bit()) != 0
    }

    /// Adds `usage`.
    pub fn insert(&mut self, usage: KeyUsage) {
        self.0 |= 1 << usage.bit();
    }

    /// Takes `usage` out.
    pub fn remove(&mut self, usage: KeyUsage) {
        self.0 &= !(1 << usage.bit());
    }

    /// The usages of the set, in bit order.
    pub fn iter(self) -> impl Iterator<Item = KeyUsage> {
        KeyUsage::ALL.into_iter().filter(move |u| self.contains(*u))
    }
}

impl FromIterator<KeyUsage> for KeyUsages {
    fn from_iter<I: IntoIterator<Item = KeyUsage>>(usages: I) -> Self {
        let mut set = Self::empty();
        for usage in usages {
            set.insert(usage);
        }
        set
    }
}

/// An extended key usage that cert-manager's API names.
///
/// Whoever writes certificates has to know a new one's object identifier, so that a new variant is a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "the names are the usages' own; `oid` tells the rest"
)]
pub enum ExtendedKeyUsage {
    Any,
    ClientAuth,
    CodeSigning,
    EmailProtection,
    IpsecEndSystem,
    IpsecTunnel,
    IpsecUser,
    MicrosoftSgc,
    NetscapeSgc,
    OcspSigning,
    ServerAuth,
    Timestamping,
}

impl ExtendedKeyUsage {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Any,
        Self::ClientAuth,
        Self::CodeSigning,
        Self::EmailProtection,
        Self::IpsecEndSystem,
        Self::IpsecTunnel,
        Self::IpsecUser,
        Self::MicrosoftSgc,
        Self::NetscapeSgc,
        Self::OcspSigning,
        Self::ServerAuth,
        Self::Timestamping,
    ];

    /// The object identifier in dotted form.
    pub const fn oid(self) -> &'static str {
        match self {
            Self::Any => "2.5.29.37.0",
            Self::ClientAuth => "1.3.6.1.5.5.7.3.2",
            Self::CodeSigning => "1.3.6.1.5.5.7.3.3",
            Self::EmailProtection => "1.3.6.1.5.5.7.3.4",
            Self::IpsecEndSystem => "1.3.6.1.5.5.7.3.5",
            Self::IpsecTunnel => "1.3.6.1.5.5.7.3.6",
            Self::IpsecUser => "1.3.6.1.5.5.7.3.7",
            Self::MicrosoftSgc => "1.3.6.1.4.1.311.10.3.3",
            Self::NetscapeSgc => "2.16.840.1.113730.4.1",
            Self::OcspSigning => "1.3.6.1.5.5.7.3.9",
            Self::ServerAuth => "1.3.6.1.5.5.7.3.1",
            Self::Timestamping => "1.3.6.1.5.5.7.3.8",
        }
    }

    /// The usage with this object identifier, if it is one of the named ones.
    pub fn from_oid(oid: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|usage| usage.oid() == oid)
    }
}

/// A usage as a Certificate's `usages` list names it: a key usage or an extended one; complete by definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// An extended key usage.
    Extended(ExtendedKeyUsage),
    /// A key usage bit.
    Key(KeyUsage),
}

/// Every name of cert-manager's API; of two names for one usage the canonical one comes first.
const NAMES: [(&str, Usage); 23] = [
    ("digital signature", Usage::Key(KeyUsage::DigitalSignature)),
    ("signing", Usage::Key(KeyUsage::DigitalSignature)),
    (
        "content commitment",
        Usage::Key(KeyUsage::ContentCommitment),
    ),
    ("key encipherment", Usage::Key(KeyUsage::KeyEncipherment)),
    ("data encipherment", Usage::Key(KeyUsage::DataEncipherment)),
    ("key agreement", Usage::Key(KeyUsage::KeyAgreement)),
    ("cert sign", Usage::Key(KeyUsage::CertSign)),
    ("crl sign", Usage::Key(KeyUsage::CrlSign)),
    ("encipher only", Usage::Key(KeyUsage::EncipherOnly)),
    ("decipher only", Usage::Key(KeyUsage::DecipherOnly)),
    ("any", Usage::Extended(ExtendedKeyUsage::Any)),
    ("server auth", Usage::Extended(ExtendedKeyUsage::ServerAuth)),
    ("client auth", Usage::Extended(ExtendedKeyUsage::ClientAuth)),
    (
        "code signing",
        Usage::Extended(ExtendedKeyUsage::CodeSigning),
    ),
    (
        "email protection",
        Usage::Extended(ExtendedKeyUsage::EmailProtection),
    ),
    ("s/mime", Usage::Extended(ExtendedKeyUsage::EmailProtection)),
    (
        "ipsec end system",
        Usage::Extended(ExtendedKeyUsage::IpsecEndSystem),
    ),
    (
        "ipsec tunnel",
        Usage::Extended(ExtendedKeyUsage::IpsecTunnel),
    ),
    ("ipsec user", Usage::Extended(ExtendedKeyUsage::IpsecUser)),
    (
        "timestamping",
        Usage::Extended(ExtendedKeyUsage::Timestamping),
    ),
    (
        "ocsp signing",
        Usage::Extended(ExtendedKeyUsage::OcspSigning),
    ),
    (
        "microsoft sgc",
        Usage::Extended(ExtendedKeyUsage::MicrosoftSgc),
    ),
    (
        "netscape sgc",
        Usage::Extended(ExtendedKeyUsage::NetscapeSgc),
    ),
];

impl Usage {
    /// The 23 names of cert-manager's API.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
}

impl FromStr for Usage {
    type Err = UsageError;

    /// Reads a usage by its name; the match is case-sensitive, as in cert-manager's API.
    fn from_str(text: &str) -> Result<Self, UsageError> {
        match NAMES.iter().find(|(name, _)| *name == text) {
            Some((_, usage)) => Ok(*usage),
            None => Err(UsageError {
                found: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, usage)| usage == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

/// The usages of a certificate: bits, and an ordered list without repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usages {
    /// The key usage bits.
    pub key: KeyUsages,
    /// The extended key usages, in the order they were asked for.
    pub extended: Vec<ExtendedKeyUsage>,
}

impl Usages {
    /// Adds a usage; one that is already there changes nothing.
    pub fn insert(&mut self, usage: Usage) {
        match usage {
            Usage::Key(usage) => self.key.insert(usage),
            Usage::Extended(usage) => {
                if !self.extended.contains(&usage) {
                    self.extended.push(usage);
                }
            }
        }
    }
}

impl Usages {
    /// Whether there is no usage.
    pub fn is_empty(&self) -> bool {
        self.key.is_empty() && self.extended.is_empty()
    }

    /// The key usages in bit order, then the extended ones in theirs.
    pub fn iter(&self) -> impl Iterator<Item = Usage> + '_ {
        let extended = self.extended.iter().copied().map(Usage::Extended);
        self.key.iter().map(Usage::Key).chain(extended)
    }
}

impl fmt::Display for Usages {
    /// Writes the names, separated by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, usage) in self.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            usage.fmt(f)?;
        }
        Ok(())
    }
}

impl FromIterator<Usage> for Usages {
    fn from_iter<I: IntoIterator<Item = Usage>>(usages: I) -> Self {
        let mut set = Self::default();
        for usage in usages {
            set.insert(usage);
        }
        set
    }
}

/// No usage has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown usage {found:?}; the names are those of cert-manager's KeyUsage, such as \"server auth\""
)]
#[non_exhaustive]
pub struct UsageError {
    /// The name as written.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_and_the_first_one_is_written() {
        for name in Usage::names() {
            let usage: Usage = name.parse().unwrap();
            assert_eq!(usage.to_string().parse::<Usage>(), Ok(usage));
        }
        assert_eq!(
            "s/mime".parse::<Usage>().unwrap().to_string(),
            "email protection"
        );
        assert!("Server Auth".parse::<Usage>().is_err());
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let usages: Usages = ["cert sign", "signing", "server auth", "server auth"]
            .iter()
            .map(|name| name.parse::<Usage>().unwrap())
            .collect();
        let bits: Vec<_> = usages.key.iter().map(KeyUsage::bit).collect();
        assert_eq!(bits, [0, 5]);
        assert_eq!(usages.extended, [ExtendedKeyUsage::ServerAuth]);
    }
}

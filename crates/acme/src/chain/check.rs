//! Whether a chain is the one that was ordered.

use core::net::IpAddr;

use certwright_issuance::PublicKey;
use certwright_issuance::general_name::GeneralName;
use time::{Duration, OffsetDateTime};

use super::Chain;

/// What was ordered, against which an answer is checked before it replaces anything.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ordered<'o> {
    /// The key of the request.
    pub key: &'o PublicKey,
    /// The names of the order: DNS names, perhaps with `*.` in front, and IP addresses.
    pub names: &'o [String],
    /// Now.
    pub now: OffsetDateTime,
    /// How far in the future the beginning of validity may lie: clocks differ.
    pub skew: Duration,
}

impl<'o> Ordered<'o> {
    /// An order for these names with this key; clocks may differ by five minutes.
    pub fn new(key: &'o PublicKey, names: &'o [String], now: OffsetDateTime) -> Self {
        Self {
            key,
            names,
            now,
            skew: Duration::minutes(5),
        }
    }
}

impl Chain {
    /// Checks that the leaf has the key and the names of the order and is valid now, and that the
    /// others are CAs' certificates. That each signed the one before, reading has checked.
    ///
    /// # Errors
    ///
    /// [`WrongChain`], the first thing that is wrong.
    pub fn check(&self, ordered: &Ordered<'_>) -> Result<(), WrongChain> {
        let leaf = self.leaf().ok_or(WrongChain::Empty)?;
        if leaf.spki_der() != ordered.key.spki_der() {
            return Err(WrongChain::Key);
        }
        for name in ordered.names {
            let found = match name.parse::<IpAddr>() {
                Ok(ip) => leaf.names().any(|san| is_ip(&san, ip)),
                Err(_) => leaf.names().any(
                    |san| matches!(san, GeneralName::Dns(dns) if name.eq_ignore_ascii_case(dns)),
                ),
            };
            if !found {
                return Err(WrongChain::Name { name: name.clone() });
            }
        }
        if leaf.not_before() > ordered.now.saturating_add(ordered.skew) {
            return Err(WrongChain::NotYetValid {
                not_before: leaf.not_before(),
            });
        }
        if leaf.not_after() < ordered.now {
            return Err(WrongChain::Expired {
                not_after: leaf.not_after(),
            });
        }
        let mut issuers = self.certificates().iter().skip(1);
        match issuers.find(|issuer| !issuer.is_ca()) {
            Some(issuer) => Err(WrongChain::NoCa {
                subject: issuer.subject(),
            }),
            None => Ok(()),
        }
    }
}

fn is_ip(san: &GeneralName<'_>, ip: IpAddr) -> bool {
    match (san, ip) {
        (GeneralName::Ip(octets), IpAddr::V4(ip)) => *octets == ip.octets(),
        (GeneralName::Ip(octets), IpAddr::V6(ip)) => *octets == ip.octets(),
        _ => false,
    }
}

/// Why a chain is not what was ordered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrongChain {
    /// No certificate.
    #[error("the chain has no certificate")]
    Empty,
    /// The leaf has expired.
    #[error("the leaf expired at {not_after}; check this machine's clock")]
    Expired {
        /// Its last second.
        not_after: OffsetDateTime,
    },
    /// Another key than that of the request.
    #[error("the leaf has another key than the request")]
    Key,
    /// A name is missing.
    #[error("the leaf does not have the name {name:?} of the order")]
    Name {
        /// The name.
        name: String,
    },
    /// An issuer is no CA.
    #[error("{subject:?} issued a certificate of the chain and is no CA")]
    NoCa {
        /// The issuer's subject.
        subject: String,
    },
    /// The leaf is not valid yet.
    #[error("the leaf is valid from {not_before} on; check this machine's clock")]
    NotYetValid {
        /// Its first second.
        not_before: OffsetDateTime,
    },
}

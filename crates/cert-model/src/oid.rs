//! Object identifiers in dotted-decimal form.

use core::fmt;
use core::str::FromStr;

/// An object identifier: at least two arcs, valid in DER (X.660: the first arc is 0, 1 or 2,
/// the second is below 40 under the first two).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(String);

impl Oid {
    /// The dotted-decimal text, for example `2.5.4.3`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An object identifier that this crate's own source spells.
    pub(crate) fn known(text: &'static str) -> Self {
        debug_assert!(text.parse::<Self>().is_ok());
        Self(text.to_owned())
    }

    /// The arcs, left to right.
    pub fn arcs(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.split('.').filter_map(|arc| arc.parse().ok())
    }
}

impl FromStr for Oid {
    type Err = OidError;

    /// Reads dotted-decimal text without leading zeros; every arc fits in 32 bits.
    fn from_str(text: &str) -> Result<Self, OidError> {
        let mut arcs = 0_usize;
        let mut first = 0;
        let mut at = 0;
        for arc in text.split('.') {
            let canonical = arc == "0" || !arc.starts_with('0');
            let value: u32 = match arc.parse() {
                Ok(value) if canonical && arc.bytes().all(|b| b.is_ascii_digit()) => value,
                _ => {
                    return Err(OidError::Arc {
                        at,
                        found: arc.to_owned(),
                    });
                }
            };
            match arcs {
                0 if value > 2 => return Err(OidError::FirstArc { found: value }),
                0 => first = value,
                1 if first < 2 && value > 39 => return Err(OidError::SecondArc { found: value }),
                _ => {}
            }
            arcs += 1;
            at += arc.len() + 1;
        }
        if arcs < 2 {
            return Err(OidError::TooShort);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not an object identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OidError {
    /// An arc is not a canonical decimal number below 2^32.
    #[error("arc {found:?} at byte {at} is not a decimal number below 2^32 without leading zeros")]
    Arc {
        /// Byte offset of the arc in the text.
        at: usize,
        /// The arc as written.
        found: String,
    },
    /// The first arc is above 2.
    #[error("first arc {found} must be 0, 1 or 2")]
    FirstArc {
        /// The arc as written.
        found: u32,
    },
    /// The second arc is above 39 although the first is 0 or 1.
    #[error("second arc {found} must be below 40 when the first is 0 or 1")]
    SecondArc {
        /// The arc as written.
        found: u32,
    },
    /// Fewer than two arcs.
    #[error("an object identifier needs at least two arcs, like 2.5")]
    TooShort,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for good in [
            "2.5.4.3",
            "1.3.6.1.4.1.311.20.2.3",
            "0.0",
            "2.999.1",
            "1.39",
        ] {
            let oid: Oid = good.parse().unwrap();
            assert_eq!(oid.to_string(), good);
        }
        for bad in [
            "",
            "1",
            "3.1",
            "1.40",
            "1..2",
            ".1.2",
            "1.2.",
            "01.2",
            "1.+2",
            "1.-2",
            "1.4294967296",
        ] {
            assert!(bad.parse::<Oid>().is_err(), "{bad}");
        }
        assert_eq!(
            "1.2.x".parse::<Oid>(),
            Err(OidError::Arc {
                at: 4,
                found: "x".to_owned()
            })
        );
    }
}

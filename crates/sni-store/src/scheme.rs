//! Which signature schemes a certificate's key can use, and which ones a client accepts, as a bit mask.

use std::fmt;

/// A set of TLS signature schemes: one bit for each known code point of the IANA registry
/// (RFC 8446 section 4.2.3).
///
/// Intersecting two masks is the whole question "can this client be served by this key", which is why
/// it is worked out when a certificate is loaded rather than in each handshake.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SchemeMask(u32);

impl SchemeMask {
    /// Every scheme, known or not: a key or client of which nothing is known.
    pub const ALL: Self = Self(u32::MAX);
    /// No scheme at all.
    pub const NONE: Self = Self(0);

    /// The schemes with these code points; unknown ones are left out.
    pub fn from_code_points(points: impl IntoIterator<Item = u16>) -> Self {
        Self(points.into_iter().fold(0, |mask, point| mask | bit(point)))
    }

    /// The schemes with these code points, for constants.
    #[cfg_attr(not(feature = "rustls"), expect(dead_code))]
    pub(crate) const fn of(points: &[u16]) -> Self {
        let mut mask = 0;
        let mut index = 0;
        while index < points.len() {
            mask |= bit(points[index]);
            index += 1;
        }
        Self(mask)
    }

    /// Whether the two have a scheme in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The schemes that are in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The schemes that are in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The known code points in the set, in ascending order.
    pub fn code_points(self) -> impl Iterator<Item = u16> {
        KNOWN
            .iter()
            .map(|known| known.0)
            .filter(move |point| self.0 & bit(*point) != 0)
    }
}

impl fmt::Debug for SchemeMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The registry's names, separated by spaces; `any` for [`SchemeMask::ALL`], `none` for the empty set.
impl fmt::Display for SchemeMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => return f.write_str("any"),
            Self::NONE => return f.write_str("none"),
            _ => {}
        }
        let names = KNOWN
            .iter()
            .filter(|known| self.0 & bit(known.0) != 0)
            .map(|known| known.1);
        for (index, name) in names.enumerate() {
            write!(f, "{}{name}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[inline]
const fn bit(point: u16) -> u32 {
    let (bit, known) = BITS[slot(point)];
    if known == point { bit } else { 0 }
}

/// The low halves of a code point's two bytes tell the known ones apart.
const fn slot(point: u16) -> usize {
    ((point >> 4 & 0xf0) | (point & 0x0f)) as usize
}

/// A handshake maps a dozen code points; this makes it one load for each.
const BITS: [(u32, u16); 256] = {
    let mut bits = [(0, 0); 256];
    let mut index = 0;
    while index < KNOWN.len() {
        let point = KNOWN[index].0;
        assert!(bits[slot(point)].0 == 0);
        bits[slot(point)] = (1 << index, point);
        index += 1;
    }
    bits
};

/// Ascending; appending keeps masks compatible, which nothing stores.
const KNOWN: [(u16, &str); 19] = [
    (0x0201, "rsa_pkcs1_sha1"),
    (0x0203, "ecdsa_sha1"),
    (0x0401, "rsa_pkcs1_sha256"),
    (0x0403, "ecdsa_secp256r1_sha256"),
    (0x0501, "rsa_pkcs1_sha384"),
    (0x0503, "ecdsa_secp384r1_sha384"),
    (0x0601, "rsa_pkcs1_sha512"),
    (0x0603, "ecdsa_secp521r1_sha512"),
    (0x0804, "rsa_pss_rsae_sha256"),
    (0x0805, "rsa_pss_rsae_sha384"),
    (0x0806, "rsa_pss_rsae_sha512"),
    (0x0807, "ed25519"),
    (0x0808, "ed448"),
    (0x0809, "rsa_pss_pss_sha256"),
    (0x080a, "rsa_pss_pss_sha384"),
    (0x080b, "rsa_pss_pss_sha512"),
    (0x0904, "mldsa44"),
    (0x0905, "mldsa65"),
    (0x0906, "mldsa87"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_round_trip() {
        for (point, name) in KNOWN {
            let mask = SchemeMask::from_code_points([point]);
            assert_eq!(mask.code_points().collect::<Vec<_>>(), [point]);
            assert_eq!(mask.to_string(), name);
        }
        let all = SchemeMask::from_code_points(KNOWN.map(|known| known.0));
        assert_eq!(all.code_points().count(), KNOWN.len());
    }

    #[test]
    fn unknown_schemes_make_nothing_usable() {
        let grease = SchemeMask::from_code_points([0x0a0a, 0xffff, 0x0000, 0x1403]);
        assert_eq!(grease, SchemeMask::NONE);
        assert!(!grease.intersects(SchemeMask::ALL));
        assert_eq!(grease.to_string(), "none");
        assert_eq!(SchemeMask::ALL.to_string(), "any");
    }
}

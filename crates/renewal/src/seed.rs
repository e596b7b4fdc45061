//! Stable numbers in place of randomness.

/// A number drawn from an identity, the same on every machine and in every version.
///
/// Replicas that know the same certificate spread, draw and jitter alike without
/// telling each other, and a restart changes nothing. It is no cryptography: who
/// can choose identities can choose numbers, which here only moves a renewal
/// inside the span it may have anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(u64);

impl Seed {
    /// The seed of a certificate: give bytes that name it and outlive a restart,
    /// such as its ARI identifier or its store key.
    #[must_use]
    pub fn new(identity: &[u8]) -> Self {
        // FNV-1a, then a finaliser, because FNV's high bits alone are poor for
        // short inputs and `below` uses them.
        let fnv = identity.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(mix(fnv))
    }

    /// A different, equally stable seed for one purpose or attempt.
    #[must_use]
    pub fn with(self, number: u64) -> Self {
        Self(mix(self.0 ^ mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    /// A number below `bound`, all about equally likely; 0 if `bound` is 0.
    #[must_use]
    pub fn below(self, bound: u64) -> u64 {
        let product = u128::from(self.0) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A number of seconds in `0..bound`; 0 if there is none.
    pub(crate) fn seconds_below(self, bound: i64) -> i64 {
        let bound = u64::try_from(bound).unwrap_or(0);
        i64::try_from(self.below(bound)).unwrap_or(0)
    }
}

/// The finaliser of SplitMix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_what_it_was() {
        // The numbers were computed from the definitions of FNV-1a and SplitMix64.
        // Other versions run beside this one: a change here is a breaking change.
        for (identity, number) in [("", 957673), ("a", 10753), ("www.example.org", 964690)] {
            assert_eq!(Seed::new(identity.as_bytes()).below(1_000_000), number);
        }
        assert_eq!(Seed::new(b"a").with(1).below(1_000_000), 996610);
    }

    #[test]
    fn spreads_evenly_and_stays_below() {
        let mut buckets = [0u32; 10];
        for i in 0..10_000u32 {
            let drawn = Seed::new(format!("host-{i}.example.org").as_bytes()).below(10);
            buckets[usize::try_from(drawn).unwrap()] += 1;
        }
        for (bucket, count) in buckets.into_iter().enumerate() {
            assert!((850..1150).contains(&count), "{bucket}: {count}");
        }
        assert_eq!(Seed::new(b"a").below(0), 0);
        assert_eq!(Seed::new(b"a").below(1), 0);
        assert_eq!(Seed::new(b"a").seconds_below(-1), 0);
    }
}

//! Every decision of a world, out of one number.

/// In microseconds.
const LONGEST: u64 = 4_000_000;

/// SplitMix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5eed_5eed_5eed_5eed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of these, `end` left out.
    pub(crate) fn within(&mut self, range: core::ops::Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start).max(1)
    }

    /// True so many times in a thousand.
    pub(crate) fn thousandths(&mut self, share: u64) -> bool {
        self.within(0..1000) < share
    }

    /// Mostly short, sometimes ten or a hundred times as long; shorter than anybody's
    /// patience.
    pub(crate) fn tail(&mut self, usual: u64) -> u64 {
        let length = self.within(usual / 4..usual * 2);
        let length = match self.within(0..100) {
            0 => length * 100,
            1..=5 => length * 10,
            _ => length,
        };
        length.min(LONGEST)
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        let len = u64::try_from(len).unwrap();
        usize::try_from(self.within(0..len)).unwrap()
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }
}

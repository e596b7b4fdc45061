//! Waiting renewals, the one whose span begins last first.

/// Jobs by rank, the highest rank first, of equal ranks the last one pushed.
///
/// A heap would cost a logarithm and cache misses for every job of every sweep. Here
/// a job is one link, and a tree of bit sets, 64 wide, finds the highest rank.
#[derive(Debug)]
pub(super) struct Pool {
    /// A bit of the first says that a rank has jobs, one of each further that a word
    /// below is not zero; the last has one word.
    levels: Vec<Vec<u64>>,
    heads: Vec<usize>,
    next: Vec<usize>,
}

impl Pool {
    pub(super) fn new(ranks: usize, jobs: usize) -> Self {
        let mut levels = Vec::new();
        let mut words = ranks;
        loop {
            words = words.div_ceil(64).max(1);
            levels.push(vec![0; words]);
            if words == 1 {
                break;
            }
        }
        Self {
            levels,
            heads: vec![NONE; ranks],
            next: vec![NONE; jobs],
        }
    }

    pub(super) fn clear(&mut self) {
        self.levels.iter_mut().for_each(|level| level.fill(0));
        self.heads.fill(NONE);
    }

    pub(super) fn push(&mut self, rank: usize, job: usize) {
        self.next[job] = self.heads[rank];
        if self.heads[rank] == NONE {
            let mut bit = rank;
            for level in &mut self.levels {
                level[bit / 64] |= 1 << (bit % 64);
                bit /= 64;
            }
        }
        self.heads[rank] = job;
    }

    /// The highest rank with a job.
    pub(super) fn top(&self) -> Option<usize> {
        let mut place = 0;
        for level in self.levels.iter().rev() {
            let word = level[place];
            if word == 0 {
                return None;
            }
            let highest = 63 - usize::try_from(word.leading_zeros()).unwrap_or(0);
            place = place * 64 + highest;
        }
        Some(place)
    }

    /// Takes out a job of this rank.
    pub(super) fn pop(&mut self, rank: usize) -> Option<usize> {
        let job = self.heads[rank];
        if job == NONE {
            return None;
        }
        self.heads[rank] = self.next[job];
        if self.heads[rank] == NONE {
            let mut bit = rank;
            for level in &mut self.levels {
                level[bit / 64] &= !(1 << (bit % 64));
                if level[bit / 64] != 0 {
                    break;
                }
                bit /= 64;
            }
        }
        Some(job)
    }
}

const NONE: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn does_what_a_sorted_list_does(
            ranks in 1usize..10_000, steps in prop::collection::vec(any::<Option<usize>>(), 1..300),
        ) {
            let mut pool = Pool::new(ranks, steps.len());
            let mut model: Vec<(usize, usize)> = Vec::new();
            for (job, step) in steps.into_iter().enumerate() {
                match step {
                    Some(rank) => {
                        pool.push(rank % ranks, job);
                        model.push((rank % ranks, job));
                        model.sort_unstable();
                    }
                    None => {
                        let found = pool.top().and_then(|rank| Some((rank, pool.pop(rank)?)));
                        prop_assert_eq!(found, model.pop());
                    }
                }
            }
            prop_assert_eq!(pool.top(), model.last().map(|(rank, _)| *rank));
            pool.clear();
            prop_assert_eq!(pool.top(), None);
        }
    }
}

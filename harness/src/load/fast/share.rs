//! What of a load is one thread's: each takes every so many-th of whatever is counted.

/// One thread's part of a load that several drive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    nth: u32,
    threads: u32,
}

impl Share {
    /// The shares of so many threads.
    pub(super) fn all(threads: u32) -> impl Iterator<Item = Share> {
        (0..threads).map(move |nth| Share { nth, threads })
    }

    /// How many of so many are this thread's.
    pub(super) fn of(self, count: u64) -> u64 {
        count.saturating_sub(self.nth.into()).div_ceil(self.threads.into())
    }

    /// In the whole load the number of the one that this thread counts by this number, both from 0.
    pub(super) fn number(self, mine: u64) -> u64 {
        mine * u64::from(self.threads) + u64::from(self.nth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_everything_and_nothing_twice() {
        for (threads, count) in [(1, 5u64), (2, 5), (3, 5), (5, 5), (3, 0)] {
            let mut numbers: Vec<u64> =
                Share::all(threads).flat_map(|it| (0..it.of(count)).map(move |mine| it.number(mine))).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "{threads} threads");
        }
    }
}

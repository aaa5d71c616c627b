//! Time as the history knows it: nanoseconds of CLOCK_MONOTONIC since the run began, and intervals of them.
//!
//! Every observation is an interval [not before, not after]: a poll knows only "since the last sample". Overlapping
//! intervals are unordered, never guessed. Reading the clock is an effect and lives in [`crate::kernel::clock`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds since the run began (CLOCK_MONOTONIC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The instant `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Nanos {
        Nanos(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this instant is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Nanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Seconds with three decimals: "1.204 s".
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 / 1_000;
        write!(f, "{}.{:03} s", micros / 1_000_000, micros / 1_000 % 1_000)
    }
}

/// When something happened: not before the first instant and not after the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The last instant at which it is known not to have happened yet.
    pub not_before: Nanos,
    /// The first instant at which it is known to have happened.
    pub not_after: Nanos,
}

impl Interval {
    /// An interval; the order of the two instants is the caller's duty.
    #[must_use]
    pub fn new(not_before: Nanos, not_after: Nanos) -> Interval {
        debug_assert!(not_before <= not_after, "an interval ends before it begins");
        Interval { not_before, not_after }
    }

    /// An observation stamped at the source, such as the return of a system call.
    #[must_use]
    pub fn at(instant: Nanos) -> Interval {
        Interval { not_before: instant, not_after: instant }
    }

    /// Surely before `other`.
    ///
    /// # Examples
    /// ```
    /// use unbroken::clock::{Interval, Nanos};
    ///
    /// let sample = Interval::new(Nanos(1_000), Nanos(5_000));
    /// let reply = Interval::at(Nanos(4_000));
    /// // They overlap: neither is known to have come first.
    /// assert!(!sample.precedes(&reply) && !reply.precedes(&sample));
    /// assert!(sample.precedes(&Interval::at(Nanos(6_000))));
    /// ```
    #[must_use]
    pub fn precedes(&self, other: &Interval) -> bool {
        self.not_after < other.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_intervals_are_unordered() {
        let a = Interval::new(Nanos(1), Nanos(5));
        let b = Interval::new(Nanos(4), Nanos(9));
        assert!(!a.precedes(&b) && !b.precedes(&a));
        assert!(a.precedes(&Interval::at(Nanos(6))));
    }

    #[test]
    fn an_instant_prints_as_seconds() {
        assert_eq!(Nanos(1_204_567_000).to_string(), "1.204 s");
    }
}

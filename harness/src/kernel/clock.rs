//! The run's clock: CLOCK_MONOTONIC, shared by every process of a run, counted from the run's start.

use nix::sys::time::TimeSpec;
use rustix::time::{ClockId, clock_gettime};

use crate::clock::Nanos;

/// Reads CLOCK_MONOTONIC relative to an origin. Copies agree with each other, across threads and processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    origin: u64,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Clock {
        Clock { origin: monotonic() }
    }

    /// A clock with a given origin, as [`Clock::origin`] told it (for a process that was handed one).
    #[must_use]
    pub fn with_origin(origin: u64) -> Clock {
        Clock { origin }
    }

    /// Raw CLOCK_MONOTONIC nanoseconds at this clock's zero.
    #[must_use]
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.at(monotonic())
    }

    /// A raw CLOCK_MONOTONIC reading on this clock.
    #[must_use]
    pub fn at(&self, monotonic: u64) -> Nanos {
        Nanos(monotonic.saturating_sub(self.origin))
    }
}

/// Raw CLOCK_MONOTONIC in nanoseconds.
#[must_use]
pub fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // CLOCK_MONOTONIC counts from boot and is never negative.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// A stamp of CLOCK_REALTIME, the only one that the kernel gives, on CLOCK_MONOTONIC. Between the two looks lies one at the
/// other clock, so that the instant is known to some hundred nanoseconds. Now, when somebody has set the clock back.
#[must_use]
pub fn on_monotonic(stamp: TimeSpec) -> (u64, u64) {
    let before = monotonic();
    let now = clock_gettime(ClockId::Realtime);
    let after = monotonic();
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let age = nanoseconds(now.tv_sec, now.tv_nsec) - nanoseconds(stamp.tv_sec(), stamp.tv_nsec());
    let age = u64::try_from(age).unwrap_or(0);
    (before.saturating_sub(age), after.saturating_sub(age))
}

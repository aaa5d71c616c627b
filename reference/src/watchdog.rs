//! The watchdog of a supervisor (sd_watchdog_enabled(3)): a beat in time, or it kills the service and starts it again.
//!
//! The beat belongs into the loop that does the work, never into a thread or a timer of its own: those go on when the loop
//! hangs, which is the one thing that a watchdog is there to notice. So this is no clock but a deadline for that loop's wait.
//!
//! ```no_run
//! # use unbroken_reference::{notify::Notifier, poll, watchdog::Watchdog};
//! # fn main() -> std::io::Result<()> {
//! let (notifier, mut watchdog) = (Notifier::take()?, Watchdog::take());
//! loop {
//!     poll::until(&mut [/* whatever there is to do */], watchdog.as_ref().map(Watchdog::deadline))?;
//!     if watchdog.as_mut().is_some_and(Watchdog::is_due) {
//!         notifier.alive();
//!     }
//! }
//! # }
//! ```

use std::time::{Duration, Instant};

/// The variables: the longest time between two beats in microseconds, and whose beats are meant.
const VARIABLES: [&str; 2] = ["WATCHDOG_USEC", "WATCHDOG_PID"];

/// When the next beat is due.
#[derive(Debug)]
pub struct Watchdog {
    /// Half of what the supervisor waits: one beat may be late by as much again, and the service lives.
    interval: Duration,
    next: Instant,
}

impl Watchdog {
    /// What the environment says, which forgets it; `None` when nobody waits for this process's beats.
    ///
    /// Call it once, at the start of the process, before the first thread and before anything copies the environment.
    #[must_use]
    pub fn take() -> Option<Self> {
        let [period, pid] = VARIABLES.map(|name| std::env::var(name).ok());
        for name in VARIABLES {
            // SAFETY: called before any thread exists (documented above), so nobody reads the environment at the same time.
            unsafe { std::env::remove_var(name) };
        }
        Some(Self::every(interval(period?.as_str(), pid.as_deref(), std::process::id())?))
    }

    /// A beat is due now, and after each interval.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self { interval, next: Instant::now() }
    }

    /// The variable and its value for a process that is to beat in this one's place. Its pid is not known before it runs, so none is
    /// named: whoever reads the variable is meant.
    #[must_use]
    pub fn for_successor(&self) -> (&'static str, String) {
        (VARIABLES[0], (self.interval * 2).as_micros().to_string())
    }

    /// When the next beat is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// Whether a beat is due; if so, the next one is an interval from now. Beats that were missed are not made up for: they
    /// would say of the past what was not so.
    pub fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.next <= now;
        if due {
            self.next = now + self.interval;
        }
        due
    }
}

/// Half the period, if it is one and meant for this process. An unset pid means whoever reads it (sd_watchdog_enabled(3)).
fn interval(period: &str, pid: Option<&str>, own: u32) -> Option<Duration> {
    let meant = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let period: u64 = period.parse().ok().filter(|period| *period > 0 && *period != u64::MAX)?;
    meant.then(|| Duration::from_micros(period / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_period_for_this_process_is_believed() {
        let check = |period: &str, pid: Option<&str>, want: Option<u64>| {
            assert_eq!(interval(period, pid, 42), want.map(Duration::from_millis), "{period} {pid:?}");
        };
        check("3000000", Some("42"), Some(1500));
        check("3000000", None, Some(1500));
        check("3000000", Some("41"), None);
        check("3000000", Some(""), None);
        check("0", Some("42"), None);
        check("-1", Some("42"), None);
        check("18446744073709551615", Some("42"), None);
        check("3 s", None, None);
    }

    #[test]
    fn a_beat_is_due_at_once_and_then_only_after_an_interval() {
        let mut watchdog = Watchdog::every(Duration::from_secs(3600));
        assert!(watchdog.is_due());
        assert!(!watchdog.is_due());
        assert!(watchdog.deadline() > Instant::now() + Duration::from_secs(3000));
        let mut hurried = Watchdog::every(Duration::ZERO);
        assert!(hurried.is_due() && hurried.is_due());
    }
}

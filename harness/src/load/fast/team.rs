//! One load on one thread, or on several that share it: what they see is told as that of one.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::driver::{DriveError, Driven, drive_share};
use super::share::Share;
use super::slot::Shared;
use crate::drive::{DrivePlan, DriveReport, Interval, Pace, Seen};
use crate::kernel::clock::Clock;
use crate::wait::Stop;

/// Who is told of what is seen.
type See<'a> = dyn FnMut(Seen<'_>) + Send + 'a;

/// Drives the load until its time is over, or until it is asked to stop, and then until what is under way has ended. `see` is shown each
/// request as it ends, and about `every` so often what was since.
///
/// # Errors
/// A plan that contradicts itself; no descriptor for the driver. What happens to requests is in the report.
pub fn drive(plan: &DrivePlan, every: Duration, stop: &Stop, see: &mut See<'_>) -> Result<DriveReport, DriveError> {
    plan.check()?;
    let clock = Clock::start();
    let shares: Vec<Shared<'_>> = Share::all(plan.threads).map(|share| Shared::new(plan, clock, share)).collect();
    let driven = match shares.as_slice() {
        [alone] => drive_share(alone, every, stop, see)?,
        shares => drive_together(shares, every, stop, see)?,
    };
    let is_open_loop = matches!(plan.pace, Pace::PerSecond(_));
    Ok(driven.books.close(clock.origin(), driven.ended, is_open_loop, driven.processor))
}

fn drive_together(
    shares: &[Shared<'_>],
    every: Duration,
    stop: &Stop,
    see: &mut See<'_>,
) -> Result<Driven, DriveError> {
    let gathering = Mutex::new(Gathering::new(shares.len(), see));
    // Where `see` panics on one thread, the panic is what is told.
    let gathering = || gathering.lock().unwrap_or_else(PoisonError::into_inner);
    let driven: Result<Vec<Driven>, DriveError> = std::thread::scope(|scope| {
        let start = |(nth, shared)| {
            let gathering = &gathering;
            scope.spawn(move || {
                let driven = drive_share(shared, every, stop, &mut |seen| gathering().take(nth, seen));
                gathering().leave(nth);
                driven
            })
        };
        let threads: Vec<_> = shares.iter().enumerate().map(start).collect();
        let joined = threads.into_iter().map(|it| it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect()
    });
    Ok(driven?.into_iter().reduce(Driven::and).expect("a plan has a thread"))
}

impl Driven {
    /// Both as one.
    fn and(mut self, other: Driven) -> Driven {
        self.books.add(other.books);
        self.ended = self.ended.max(other.ended);
        self.processor += other.processor;
        self
    }
}

/// What the threads see, on its way to who is told of it.
struct Gathering<'g, 'a> {
    see: &'g mut See<'a>,
    /// Of each thread the intervals that others have not come to yet.
    waiting: Vec<VecDeque<Interval>>,
    /// Who has none to come.
    over: Vec<bool>,
}

impl<'g, 'a> Gathering<'g, 'a> {
    fn new(threads: usize, see: &'g mut See<'a>) -> Gathering<'g, 'a> {
        Gathering { see, waiting: vec![VecDeque::new(); threads], over: vec![false; threads] }
    }

    /// A request is told at once, an interval when every thread has had it.
    fn take(&mut self, nth: usize, seen: Seen<'_>) {
        match seen {
            Seen::Interval(interval) => {
                self.waiting[nth].push_back(interval.clone());
                self.tell();
            }
            one => (self.see)(one),
        }
    }

    /// This thread has nothing more to tell.
    fn leave(&mut self, nth: usize) {
        self.over[nth] = true;
        self.tell();
    }

    fn tell(&mut self) {
        while self.waiting.iter().zip(&self.over).all(|(waiting, over)| *over || !waiting.is_empty()) {
            let Some(whole) = self.waiting.iter_mut().filter_map(VecDeque::pop_front).reduce(merged) else { return };
            (self.see)(Seen::Interval(&whole));
        }
    }
}

/// Two threads' view of one interval.
fn merged(mut one: Interval, other: Interval) -> Interval {
    one.from = one.from.min(other.from);
    one.to = one.to.max(other.to);
    one.times.add(&other.times).expect("both have the same bounds");
    one.failed += other.failed;
    one.in_flight += other.in_flight;
    one
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nanos;
    use crate::drive::times;

    fn interval(from: u64, failed: u64) -> Interval {
        let mut times = times();
        times.record(1000).expect("it is within the bounds");
        Interval { from: Nanos(from), to: Nanos(from + 10), times, failed, in_flight: 1 }
    }

    #[test]
    fn an_interval_is_told_once_every_thread_has_had_it_or_is_gone() {
        let mut told = Vec::new();
        let mut see = |seen: Seen<'_>| {
            let Seen::Interval(it) = seen else { return };
            told.push((it.from.0, it.to.0, it.times.len(), it.failed, it.in_flight));
        };
        let mut gathering = Gathering::new(2, &mut see);
        gathering.take(0, Seen::Interval(&interval(0, 1)));
        gathering.take(0, Seen::Interval(&interval(10, 2)));
        gathering.take(1, Seen::Interval(&interval(1, 3)));
        gathering.leave(1);
        gathering.take(0, Seen::Interval(&interval(20, 4)));
        gathering.leave(0);
        assert_eq!(told, [(0, 11, 2, 4, 2), (10, 20, 1, 2, 1), (20, 30, 1, 4, 1)]);
    }
}

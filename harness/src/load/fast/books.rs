//! What ended, how, and how long it took; and how late we were ourselves.
//!
//! Times go into histograms of three significant digits (HdrHistogram), one for each interval; merged they lose nothing, so that the whole is
//! the sum of its intervals.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::Nanos;
use crate::drive::{DriveReport, Interval, Latencies, Lost, Seen, times};
use crate::load::failure::Failure;
use crate::request::FailureClass;

/// Failures that are told one by one; the others are counted. A server that is gone refuses thousands a second.
const FAILURES_TOLD: usize = 100_000;

/// The books of one load.
#[derive(Debug)]
pub(super) struct Books {
    interval: Interval,
    whole: Histogram<u64>,
    lateness: Histogram<u64>,
    begun: u64,
    pub(super) unsent: u64,
    failed: BTreeMap<FailureClass, u64>,
    pub(super) connections: u64,
    pub(super) idle_closes: u64,
    idle_broken: BTreeMap<FailureClass, u64>,
    bytes_received: u64,
    losses: Vec<Lost>,
}

impl Books {
    pub(super) fn new() -> Books {
        Books {
            interval: Interval { from: Nanos(0), to: Nanos(0), times: times(), failed: 0, in_flight: 0 },
            whole: times(),
            lateness: times(),
            begun: 0,
            unsent: 0,
            failed: BTreeMap::new(),
            connections: 0,
            idle_closes: 0,
            idle_broken: BTreeMap::new(),
            bytes_received: 0,
            losses: Vec::new(),
        }
    }

    /// The number of the next request, from 1; it has begun.
    pub(super) fn next(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }

    /// It began so late by our own fault.
    pub(super) fn late(&mut self, late: Duration) {
        record(&mut self.lateness, late);
    }

    pub(super) fn answered(&mut self, took: Duration, bytes: u64) {
        record(&mut self.interval.times, took);
        self.bytes_received += bytes;
    }

    pub(super) fn failed(&mut self, lost: Lost) {
        self.interval.failed += 1;
        self.bytes_received += lost.received;
        *self.failed.entry(lost.class).or_default() += 1;
        if self.losses.len() < FAILURES_TOLD {
            self.losses.push(lost);
        }
    }

    pub(super) fn idle_broken(&mut self, failure: &Failure) {
        *self.idle_broken.entry(failure.class).or_default() += 1;
    }

    /// Ends the interval, lets it be seen, and begins the next one.
    pub(super) fn cut(&mut self, now: Nanos, in_flight: usize, see: &mut dyn FnMut(Seen<'_>)) {
        (self.interval.to, self.interval.in_flight) = (now, in_flight);
        see(Seen::Interval(&self.interval));
        self.whole.add(&self.interval.times).expect("both have the same bounds");
        self.interval.times.clear();
        (self.interval.from, self.interval.failed) = (now, 0);
    }

    /// Takes in what another thread has counted of the same load.
    pub(super) fn add(&mut self, other: Books) {
        self.whole.add(&other.whole).expect("both have the same bounds");
        self.lateness.add(&other.lateness).expect("both have the same bounds");
        for (mine, theirs) in [(&mut self.failed, other.failed), (&mut self.idle_broken, other.idle_broken)] {
            for (class, count) in theirs {
                *mine.entry(class).or_default() += count;
            }
        }
        self.begun += other.begun;
        self.unsent += other.unsent;
        self.connections += other.connections;
        self.idle_closes += other.idle_closes;
        self.bytes_received += other.bytes_received;
        self.losses.extend(other.losses);
        self.losses.sort_by_key(|lost| lost.ended);
        self.losses.truncate(FAILURES_TOLD);
    }

    /// `origin` is the zero of its instants on CLOCK_MONOTONIC.
    pub(super) fn close(self, origin: u64, took: Nanos, is_open_loop: bool, processor: Duration) -> DriveReport {
        DriveReport {
            origin,
            begun: self.begun,
            unsent: self.unsent,
            answered: self.whole.len(),
            failed: self.failed,
            connections: self.connections,
            idle_closes: self.idle_closes,
            idle_broken: self.idle_broken,
            bytes_received: self.bytes_received,
            took: took.0,
            latency: Latencies::of(&self.whole),
            lateness: is_open_loop.then(|| Latencies::of(&self.lateness)),
            processor: u64::try_from(processor.as_nanos()).unwrap_or(u64::MAX),
            losses: self.losses,
        }
    }
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_the_sum_of_its_intervals() {
        let mut books = Books::new();
        let mut seen = Vec::new();
        for interval in 1..=3u64 {
            for n in 0..interval {
                books.next();
                books.answered(Duration::from_micros(100 * interval + n), 10);
            }
            books.cut(Nanos(interval), 0, &mut |it| {
                let Seen::Interval(it) = it else { return };
                seen.push((it.from, it.to, it.times.len()));
            });
        }
        assert_eq!(seen, [(Nanos(0), Nanos(1), 1), (Nanos(1), Nanos(2), 2), (Nanos(2), Nanos(3), 3)]);
        let report = books.close(0, Nanos(3), false, Duration::ZERO);
        assert_eq!((report.begun, report.answered, report.bytes_received, report.lost()), (6, 6, 60, 0));
        assert_eq!((report.latency.count, report.lateness), (6, None));
        let near = |got: u64, micros: u64| got.abs_diff(micros * 1000) <= micros;
        assert!(near(report.latency.min, 100) && near(report.latency.max, 302), "{:?}", report.latency);
    }

    #[test]
    fn each_failure_is_counted_and_the_first_are_told() {
        let mut books = Books::new();
        let lost = |at: u64| Lost {
            intended: Nanos(at),
            began: Nanos(at),
            ended: Nanos(at + 1),
            class: FailureClass::Refused,
            signal: "ECONNREFUSED".to_owned(),
            state: String::new(),
            received: 0,
        };
        let count = FAILURES_TOLD as u64 + 5;
        (0..count).for_each(|at| books.failed(lost(at)));
        let report = books.close(0, Nanos(1), true, Duration::ZERO);
        assert_eq!((report.lost(), report.losses.len()), (count, FAILURES_TOLD));
        assert_eq!(report.lateness.map(|it| it.count), Some(0));
    }
}

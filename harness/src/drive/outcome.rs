//! What came of a load: figures and losses.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Record;
use crate::clock::Nanos;
use crate::request::FailureClass;

/// The longest time that is told apart from longer ones: an hour, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;
/// Significant decimal digits of a time.
const DIGITS: u8 = 3;

/// An empty histogram of times in nanoseconds.
pub(crate) fn times() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST, DIGITS).expect("the bounds are constants and right")
}

/// The figures of a histogram of times, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// How many.
    pub count: u64,
    /// The shortest.
    pub min: u64,
    /// Half of them took at most this.
    pub p50: u64,
    /// 90 of 100.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1000.
    pub p99_9: u64,
    /// The longest.
    pub max: u64,
}

impl Latencies {
    /// Those of this histogram; all 0 of an empty one.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Latencies {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Latencies {
            count: histogram.len(),
            min: histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: histogram.max(),
        }
    }
}

/// A stretch of the load.
#[derive(Debug, Clone)]
pub struct Interval {
    /// When it began.
    pub from: Nanos,
    /// When it was over.
    pub to: Nanos,
    /// From the intended instant of each request that was answered in it to its last byte, in nanoseconds.
    pub times: Histogram<u64>,
    /// Requests that failed in it.
    pub failed: u64,
    /// Requests under way at its end.
    pub in_flight: usize,
}

/// What is seen of a load while it lasts.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A stretch is over.
    Interval(&'a Interval),
    /// A request was answered whole.
    Answered(Record),
    /// A request failed.
    Lost(&'a Lost),
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// When it was meant to be sent, in nanoseconds since the load began.
    pub intended: Nanos,
    /// When its work began.
    pub began: Nanos,
    /// When it failed.
    pub ended: Nanos,
    /// How.
    pub class: FailureClass,
    /// What ended it: "EOF", an errno's name, "deadline", or what was wrong with the answer.
    pub signal: String,
    /// TCP state at that instant.
    pub state: String,
    /// Bytes of answer read.
    pub received: u64,
}

/// What a load came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DriveReport {
    /// CLOCK_MONOTONIC when it began, in nanoseconds: the zero of all its instants.
    pub origin: u64,
    /// Requests that began.
    pub begun: u64,
    /// Requests of an open loop that were due and never began: every connection was busy until long after the end.
    pub unsent: u64,
    /// Answered whole, with status 2xx.
    pub answered: u64,
    /// Failed, by class.
    pub failed: BTreeMap<FailureClass, u64>,
    /// Connections that were opened.
    pub connections: u64,
    /// Kept connections that the server closed between two requests: nothing is lost with these.
    pub idle_closes: u64,
    /// Those that were reset there, or said what nobody had asked for, by class.
    pub idle_broken: BTreeMap<FailureClass, u64>,
    /// Bytes of answers.
    pub bytes_received: u64,
    /// From the first request's begin to the end of the last one, in nanoseconds.
    pub took: u64,
    /// From the intended instant of each answered request to its last byte.
    pub latency: Latencies,
    /// How late requests began, by our own fault: a request that waits for a busy connection is not late. Of an open loop.
    pub lateness: Option<Latencies>,
    /// Processor time of the driver's thread, in nanoseconds.
    pub processor: u64,
    /// The first failures, one by one.
    pub losses: Vec<Lost>,
}

impl DriveReport {
    /// Requests that failed, in all.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.failed.values().sum()
    }
}

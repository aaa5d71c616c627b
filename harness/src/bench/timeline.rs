//! What clients see around a trigger, 10 ms by 10 ms: the upgrades of a target laid over each other.
//!
//! Failures and answers lie where they ended. A latency lies where its request was meant to begin: what a standstill makes wait is seen
//! where it stood still, and not where it was over.

use std::time::Duration;

use serde::Serialize;

use super::figure::{median, round};
use crate::clock::Nanos;
use crate::history::{History, Upgrade};
use crate::measure::{milliseconds, per_mille};
use crate::request::{Pattern, Request};
use crate::scenario::Pace;

/// The width of a slice.
pub const SLICE_MS: u64 = 10;
/// Slices before the trigger, and after it.
const BEFORE: usize = 10;
const AFTER: usize = 20;
/// How long the load runs at least before each trigger and after each upgrade that is benchmarked: through all slices, and a little more,
/// as it takes up to 5 ms until the first request of a load is due.
pub(super) const PACE: Pace = Pace { before_ms: BEFORE as u64 * SLICE_MS + 20, after_ms: AFTER as u64 * SLICE_MS + 20 };

/// Ten milliseconds of all upgrades of a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slice {
    /// Where it begins: milliseconds after the trigger, or before it.
    pub at_ms: i64,
    /// Answers a second.
    pub answers_per_s: f64,
    /// The share of these that the new generation gave; `None` where nobody told a version.
    pub by_new: Option<f64>,
    /// Requests that failed.
    pub failed: usize,
    /// Median of the fresh requests that were meant to begin here, from that instant to their answer.
    pub fresh_p50_ms: Option<f64>,
    /// 99th percentile of the same.
    pub fresh_p99_ms: Option<f64>,
    /// 99.9th percentile of the same; the largest one of fewer than a thousand.
    pub fresh_p999_ms: Option<f64>,
}

/// What was gathered of a target so far.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    upgrades: usize,
    slices: Vec<Gathered>,
}

#[derive(Debug, Clone, Default)]
struct Gathered {
    answers: usize,
    by_old: usize,
    by_new: usize,
    failed: usize,
    latencies: Vec<Duration>,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline { upgrades: 0, slices: vec![Gathered::default(); BEFORE + AFTER] }
    }
}

impl Timeline {
    /// Adds the upgrades of a run.
    pub(super) fn add(&mut self, history: &History) {
        for upgrade in history.upgrades() {
            self.upgrades += 1;
            for request in history.load().filter(|it| !history.rejected_by_path(it)) {
                self.take(&upgrade, request);
            }
        }
    }

    fn take(&mut self, upgrade: &Upgrade, request: &Request) {
        let trigger = upgrade.trigger.not_before;
        if let Some(slice) = at(trigger, request.ended).map(|at| &mut self.slices[at]) {
            let answered = request.failure().is_none();
            slice.failed += usize::from(!answered);
            slice.answers += usize::from(answered);
            if let Some(version) = request.version() {
                let new = version >= upgrade.version;
                slice.by_new += usize::from(new);
                slice.by_old += usize::from(!new);
            }
        }
        if request.pattern == Pattern::Fresh
            && request.failure().is_none()
            && let Some(at) = at(trigger, request.intended)
        {
            self.slices[at].latencies.push(request.ended.since(request.intended));
        }
    }

    /// The slices in their order; none without an upgrade.
    pub(super) fn slices(&self) -> Vec<Slice> {
        if self.upgrades == 0 {
            return Vec::new();
        }
        let seconds = count(self.upgrades) * Duration::from_millis(SLICE_MS).as_secs_f64();
        let slice = |(at, of): (i64, &Gathered)| {
            let mut latencies = of.latencies.clone();
            latencies.sort_unstable();
            let told = of.by_old + of.by_new;
            Slice {
                at_ms: (at - BEFORE as i64) * SLICE_MS as i64,
                answers_per_s: round(count(of.answers) / seconds),
                by_new: (told > 0).then(|| round(count(of.by_new) / count(told))),
                failed: of.failed,
                fresh_p50_ms: per_mille(&latencies, 500).map(milliseconds),
                fresh_p99_ms: per_mille(&latencies, 990).map(milliseconds),
                fresh_p999_ms: per_mille(&latencies, 999).map(milliseconds),
            }
        };
        (0..).zip(&self.slices).map(slice).collect()
    }
}

/// What is left of the answers in the poorest slice after the trigger: its share of the median slice before it.
pub(super) fn poorest(slices: &[Slice]) -> Option<f64> {
    let (before, after): (Vec<&Slice>, Vec<&Slice>) = slices.iter().partition(|it| it.at_ms < 0);
    let usual = median(before.iter().map(|it| it.answers_per_s).collect())?;
    let least = after.iter().map(|it| it.answers_per_s).min_by(f64::total_cmp)?;
    (usual > 0.0).then(|| round(least / usual))
}

/// The slice in which an instant lies.
fn at(trigger: Nanos, instant: Nanos) -> Option<usize> {
    let slice = Duration::from_millis(SLICE_MS).as_nanos() as u64;
    let since = (instant.0 + BEFORE as u64 * slice).checked_sub(trigger.0)?;
    usize::try_from(since / slice).ok().filter(|at| *at < BEFORE + AFTER)
}

#[expect(clippy::cast_precision_loss, reason = "requests of a benchmark are far below 2^52")]
fn count(of: usize) -> f64 {
    of as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::{Script, answered, failed};
    use crate::request::FailureClass;

    fn slices(script: Script) -> Vec<Slice> {
        let mut timeline = Timeline::default();
        timeline.add(&script.history());
        timeline.slices()
    }

    #[test]
    fn an_answer_lies_where_it_came_and_its_latency_where_it_was_meant_to_begin() {
        let script = Script::new().trigger(1000, 1, 2);
        let slices = slices(script.request(answered(985, 986, 1)).request(answered(1001, 1025, 2)));
        let seen = |at: usize| (slices[at].at_ms, slices[at].answers_per_s, slices[at].by_new, slices[at].fresh_p50_ms);
        assert_eq!(seen(8), (-20, 100.0, Some(0.0), Some(1.0)));
        assert_eq!(seen(10), (0, 0.0, None, Some(24.0)));
        assert_eq!(seen(12), (20, 100.0, Some(1.0), None));
        assert_eq!(slices.len(), 30);
    }

    #[test]
    fn upgrades_lie_over_each_other_and_what_is_further_away_is_left_out() {
        let script = Script::new().trigger(1000, 1, 2).trigger(3000, 2, 3);
        let script = script.request(answered(1002, 1003, 2)).request(answered(3002, 3003, 3));
        let slices = slices(script.request(answered(2000, 2001, 2)).request(failed(3004, 3005, FailureClass::Refused)));
        assert_eq!((slices[10].answers_per_s, slices[10].failed), (100.0, 1), "two in two upgrades");
        assert_eq!(slices.iter().map(|it| it.answers_per_s).sum::<f64>(), 100.0);
    }

    #[test]
    fn the_poorest_slice_is_held_against_those_before_the_trigger() {
        let answers = |script: Script, from: u64, each: u64| {
            (0..each).fold(script, |script, nth| script.request(answered(from + nth, from + nth, 1)))
        };
        let share = |after: u64| {
            let before = (0..10).fold(Script::new().trigger(1000, 1, 2), |it, at| answers(it, 900 + 10 * at, 2));
            poorest(&slices((0..20).fold(before, |it, at| answers(it, 1000 + 10 * at, after))))
        };
        assert_eq!((share(2), share(1)), (Some(1.0), Some(0.5)));
        assert_eq!(poorest(&[]), None);
    }
}

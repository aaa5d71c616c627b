//! Figures of a run: always reported, never a verdict.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Nanos;
use crate::history::{History, Upgrade};
use crate::id::UpgradeId;
use crate::request::{Pattern, Request};

/// The figures of one upgrade.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// The upgrade.
    pub upgrade: UpgradeId,
    /// From the trigger to the end of the first answer of the new version, in milliseconds.
    pub handoff_ms: Option<f64>,
    /// Longest time between two successful fresh connects during the upgrade, in milliseconds.
    pub accept_gap_ms: Option<f64>,
    /// From the done event to the old generation gone, in milliseconds.
    pub drain_ms: Option<f64>,
    /// Requests of the load during the upgrade.
    pub requests: usize,
    /// How many of them failed, in whatever class.
    pub failed: usize,
    /// Median latency from the intended send time, fresh pattern, in milliseconds.
    pub fresh_p50_ms: Option<f64>,
    /// 99th percentile of the same.
    pub fresh_p99_ms: Option<f64>,
}

/// The figures of every upgrade of a history.
#[must_use]
pub fn measures(history: &History) -> Vec<Measure> {
    history.upgrades().iter().map(|upgrade| measure(history, upgrade)).collect()
}

fn measure(history: &History, upgrade: &Upgrade) -> Measure {
    let from = upgrade.trigger.not_before;
    let until = upgrade.settled.map_or(upgrade.window_end, |settled| settled.not_after);
    let during: Vec<&Request> = history.load().filter(|it| it.ended > from && it.began <= until).collect();
    let first =
        during.iter().filter(|it| it.began >= from && it.version() >= Some(upgrade.version)).map(|it| it.ended).min();
    let fresh = |request: &&&Request| request.pattern == Pattern::Fresh && request.failure().is_none();
    let gap = accept_gap(history, from, until);
    let mut latencies: Vec<Duration> = during.iter().filter(fresh).map(|it| it.ended.since(it.intended)).collect();
    latencies.sort_unstable();
    Measure {
        upgrade: upgrade.id,
        handoff_ms: first.map(|first| milliseconds(first.since(from))),
        accept_gap_ms: gap.map(milliseconds),
        drain_ms: upgrade
            .done
            .zip(upgrade.settled)
            .map(|(done, settled)| milliseconds(settled.not_after.since(done.not_after))),
        requests: during.len(),
        failed: during.iter().filter(|it| it.failure().is_some()).count(),
        fresh_p50_ms: percentile(&latencies, 50),
        fresh_p99_ms: percentile(&latencies, 99),
    }
}

/// The longest time between two successful fresh connects, one of them at least during the upgrade: a gap may begin
/// before its end and end after it.
fn accept_gap(history: &History, from: Nanos, until: Nanos) -> Option<Duration> {
    let answered = history.load().filter(|it| it.pattern == Pattern::Fresh && it.failure().is_none());
    let mut connects: Vec<Nanos> = answered.filter_map(|it| it.connected).collect();
    connects.sort_unstable();
    let touching = connects.windows(2).filter(|pair| pair[1] > from && pair[0] <= until);
    touching.map(|pair| pair[1].since(pair[0])).max()
}

/// The nearest-rank percentile of sorted durations.
fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().map(milliseconds)
}

/// Milliseconds with three decimals: a fixed format, so that reports are the same byte for byte.
fn milliseconds(duration: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a run are far below 2^52")]
    let micros = duration.as_micros() as f64;
    micros / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::{Script, answered};

    #[test]
    fn handoff_latency_counts_from_the_trigger_to_the_first_new_answer() {
        let script = Script::new().trigger(1000, 1, 2).settled(1200, 1);
        let script = script.request(answered(1001, 1002, 1)).request(answered(1030, 1032, 2));
        let measures = measures(&script.history());
        assert_eq!(measures[0].handoff_ms, Some(32.0));
        assert_eq!(measures[0].accept_gap_ms, Some(29.0));
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Some(50.0));
        assert_eq!(percentile(&sorted, 99), Some(99.0));
        assert_eq!(percentile(&[], 50), None);
    }
}

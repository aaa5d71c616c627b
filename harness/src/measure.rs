//! Figures of a run: always reported, never a verdict.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Nanos;
use crate::event::What;
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
    /// Longest time without a successful fresh connect while one was due, during the upgrade, in milliseconds.
    pub accept_gap_ms: Option<f64>,
    /// From the first answer of the new version to the last one of the one before, fresh requests alone, in milliseconds; 0 where nobody
    /// answered in between.
    pub overlap_ms: Option<f64>,
    /// From the done event to the old generation gone, in milliseconds.
    pub drain_ms: Option<f64>,
    /// Requests of the load during the upgrade.
    pub requests: usize,
    /// How many of them failed, in whatever class; those that the path rejected are not among them.
    pub failed: usize,
    /// Median latency from the intended send time, fresh pattern, in milliseconds.
    pub fresh_p50_ms: Option<f64>,
    /// 99th percentile of the same.
    pub fresh_p99_ms: Option<f64>,
    /// What the target held when the load was interrupted after it, where a scenario does that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_rest: Option<Holdings>,
}

/// What the processes of a target hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Holdings {
    /// How many processes there are, zombies among them.
    pub processes: usize,
    /// Their open descriptors.
    pub descriptors: usize,
    /// Bytes of their arguments and environments, a number in them counted as one.
    pub words: usize,
    /// KiB of their memory that lie in the machine's (VmRSS of proc_pid_status(5)).
    pub resident_kib: u64,
    /// Milliseconds of processor since it began, in steps of ten, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent_ms: Option<u64>,
}

/// By how much figures grow with each upgrade: the median of the slopes between all pairs (Theil-Sen), which a single look at
/// the wrong moment does not move.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Slopes {
    /// How many upgrades it was taken from.
    pub upgrades: usize,
    /// Processes.
    pub processes: f64,
    /// Open descriptors.
    pub descriptors: f64,
    /// Bytes of arguments and environments.
    pub words: f64,
    /// KiB of memory.
    pub resident_kib: f64,
    /// 99th percentile of fresh requests, in milliseconds.
    pub fresh_p99_ms: Option<f64>,
}

/// The first upgrades make what is made once; fewer points than this after them say nothing.
const WARM: usize = 3;
const POINTS_MIN: usize = 5;

/// How the figures of these upgrades, in their order, grow; `None` where too few of them were followed by a look at rest.
#[must_use]
pub fn slopes(upgrades: &[Measure]) -> Option<Slopes> {
    let later: Vec<(f64, &Measure, Holdings)> =
        upgrades.iter().skip(WARM).filter_map(|it| Some((f64::from(it.upgrade.0), it, it.at_rest?))).collect();
    if later.len() < POINTS_MIN {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a target are far below 2^52")]
    let of =
        |figure: fn(Holdings) -> u64| slope(later.iter().map(|(at, _, held)| (*at, figure(*held) as f64)).collect());
    let p99: Vec<(f64, f64)> = later.iter().filter_map(|(at, it, _)| Some((*at, it.fresh_p99_ms?))).collect();
    Some(Slopes {
        upgrades: later.len(),
        processes: of(|held| held.processes as u64),
        descriptors: of(|held| held.descriptors as u64),
        words: of(|held| held.words as u64),
        resident_kib: of(|held| held.resident_kib),
        fresh_p99_ms: (p99.len() >= POINTS_MIN).then(|| slope(p99)),
    })
}

/// The median slope, rounded to a thousandth of a unit per thousand upgrades: a fixed format.
fn slope(points: Vec<(f64, f64)>) -> f64 {
    let pairs = points.iter().enumerate().flat_map(|(n, from)| points[n + 1..].iter().map(move |to| (from, to)));
    let mut all: Vec<f64> = pairs.map(|(from, to)| (to.1 - from.1) / (to.0 - from.0)).collect();
    all.sort_unstable_by(f64::total_cmp);
    let middle = all.len() / 2;
    let median = if all.len() % 2 == 1 { all[middle] } else { f64::midpoint(all[middle - 1], all[middle]) };
    (median * 1e6).round() / 1e6
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
    // The old generation may be gone before anybody has asked the new one.
    let asked = history.load().filter(|it| it.began >= from && it.began <= upgrade.window_end);
    let first = asked.filter(|it| it.version() >= Some(upgrade.version)).map(|it| it.ended).min();
    let fresh = |request: &&&Request| request.pattern == Pattern::Fresh && request.failure().is_none();
    let gap = accept_gap(history, from, until);
    let mut latencies: Vec<Duration> = during.iter().filter(fresh).map(|it| it.ended.since(it.intended)).collect();
    latencies.sort_unstable();
    Measure {
        upgrade: upgrade.id,
        handoff_ms: first.map(|first| milliseconds(first.since(from))),
        accept_gap_ms: gap.map(milliseconds),
        overlap_ms: overlap(history, upgrade).map(milliseconds),
        drain_ms: upgrade
            .done
            .zip(upgrade.settled)
            .map(|(done, settled)| milliseconds(settled.not_after.since(done.not_after))),
        requests: during.len(),
        failed: during.iter().filter(|it| it.failure().is_some() && !history.rejected_by_path(it)).count(),
        fresh_p50_ms: percentile(&latencies, 50),
        fresh_p99_ms: percentile(&latencies, 99),
        at_rest: holdings(history, upgrade.id),
    }
}

/// For how long fresh clients met both generations.
fn overlap(history: &History, upgrade: &Upgrade) -> Option<Duration> {
    let window = upgrade.trigger.not_before..=upgrade.window_end;
    let fresh = || history.load().filter(|it| it.pattern == Pattern::Fresh && window.contains(&it.ended));
    let first = fresh().filter(|it| it.version() >= Some(upgrade.version)).map(|it| it.ended).min()?;
    let old = |it: &&Request| it.version().is_some_and(|version| version < upgrade.version);
    let last = fresh().filter(old).map(|it| it.ended).max();
    Some(last.unwrap_or_default().since(first))
}

/// The look at rest after this upgrade.
fn holdings(history: &History, upgrade: UpgradeId) -> Option<Holdings> {
    let seen = history.find(move |what| match what {
        What::Quiescent { upgrade: of, processes, zombies } if *of == upgrade => Some((processes, zombies)),
        _ => None,
    });
    let (processes, zombies) = seen.map(|(_, held)| held).next()?;
    let resident = history.find(|what| if let What::Resident(resident) = what { Some(resident) } else { None });
    let resident = resident.map(|(_, it)| it).find(|it| it.upgrade == upgrade);
    Some(Holdings {
        processes: processes.len() + zombies.len(),
        descriptors: processes.iter().map(|row| row.descriptors).sum(),
        words: processes.iter().filter_map(|row| row.words).sum(),
        spent_ms: resident.as_ref().and_then(|it| it.spent_ms),
        resident_kib: resident.map(|it| it.kib.iter().map(|(_, kib)| kib).sum()).unwrap_or_default(),
    })
}

/// The longest time without a successful fresh connect while one was due: from when the schedule meant the first one after a success
/// to the next success. A pair counts where one of the two lies in the upgrade: a gap may begin before its end and end after it.
fn accept_gap(history: &History, from: Nanos, until: Nanos) -> Option<Duration> {
    // What the path rejects never comes to the target.
    let fresh = || history.load().filter(|it| it.pattern == Pattern::Fresh && !history.rejected_by_path(it));
    let mut connects: Vec<Nanos> = fresh().filter(|it| it.failure().is_none()).filter_map(|it| it.connected).collect();
    connects.sort_unstable();
    let mut due: Vec<Nanos> = fresh().map(|it| it.intended).collect();
    due.sort_unstable();
    let gap = |pair: &[Nanos]| {
        let next = due.get(due.partition_point(|it| *it <= pair[0])).filter(|next| **next <= pair[1]);
        // Where none was meant in between, the second one was late.
        pair[1].since(*next.unwrap_or(&pair[0]))
    };
    let touching = connects.windows(2).filter(|pair| pair[1] > from && pair[0] <= until);
    touching.map(gap).max()
}

/// The nearest-rank percentile of sorted durations, in milliseconds.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    per_mille(sorted, 10 * percent).map(milliseconds)
}

/// The same in thousandths: 999 is the 99.9th percentile.
pub(crate) fn per_mille(sorted: &[Duration], of_thousand: usize) -> Option<Duration> {
    let rank = (sorted.len() * of_thousand).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied()
}

/// Milliseconds with three decimals: a fixed format, so that reports are the same byte for byte.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a run are far below 2^52")]
    let micros = duration.as_micros() as f64;
    micros / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::{Script, answered, failed};
    use crate::request::FailureClass;

    #[test]
    fn handoff_latency_counts_from_the_trigger_to_the_first_new_answer() {
        let script = Script::new().trigger(1000, 1, 2).settled(1200, 1);
        let script = script.request(answered(1001, 1002, 1)).request(answered(1030, 1032, 2));
        let measures = measures(&script.history());
        assert_eq!(measures[0].handoff_ms, Some(32.0));
    }

    #[test]
    fn an_answer_after_the_old_generation_is_gone_ends_a_handoff_too() {
        let script = Script::new().trigger(1000, 1, 2).settled(1010, 1);
        let script = script.request(answered(1001, 1002, 1)).request(answered(1030, 1032, 2));
        assert_eq!(measures(&script.history())[0].handoff_ms, Some(32.0));
    }

    #[test]
    fn the_accept_gap_counts_from_the_first_connect_that_was_due_and_failed() {
        let check = |refused: &[u64], want: f64| {
            let script = Script::new().trigger(1000, 1, 2).settled(1200, 1);
            let script = script.request(answered(1001, 1002, 1)).request(answered(1030, 1032, 2));
            let refuse = |script: Script, at: &u64| script.request(failed(*at, *at, FailureClass::Refused));
            let history = refused.iter().fold(script, refuse).history();
            assert_eq!(measures(&history)[0].accept_gap_ms, Some(want), "{refused:?}");
        };
        check(&[1006, 1011], 24.0);
        // The load stood still in between.
        check(&[], 0.0);
    }

    fn held(descriptors: &[usize]) -> Option<Slopes> {
        let rest = |script: Script, (upgrade, count): (u32, &usize)| {
            let at = 1000 * u64::from(upgrade);
            script.trigger(at, upgrade, upgrade + 1).at_rest(at + 500, upgrade, &[(1, *count), (5, 8)], &[])
        };
        slopes(&measures(&(1..).zip(descriptors).fold(Script::new(), rest).history()))
    }

    #[test]
    fn a_slope_is_the_growth_per_upgrade_and_one_odd_look_does_not_move_it() {
        let leaks = held(&[3, 9, 10, 11, 12, 40, 14, 15, 16]).expect("enough");
        assert_eq!((leaks.upgrades, leaks.descriptors, leaks.processes), (6, 1.0, 0.0));
        let keeps = held(&[3, 9, 10, 10, 10, 11, 10, 10, 10]).expect("enough");
        assert_eq!(keeps.descriptors, 0.0);
    }

    #[test]
    fn few_upgrades_have_no_slope() {
        assert_eq!(held(&[3, 9, 10, 11, 12, 13, 14]), None);
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Some(50.0));
        assert_eq!(percentile(&sorted, 99), Some(99.0));
        assert_eq!(per_mille(&sorted, 985), Some(Duration::from_millis(99)));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn the_overlap_is_from_the_first_new_answer_to_the_last_old_one() {
        let check = |old: u64, want: Option<f64>| {
            let script = Script::new().trigger(1000, 1, 2).request(answered(1001, old, 1));
            assert_eq!(measures(&script.request(answered(1005, 1010, 2)).history())[0].overlap_ms, want);
        };
        check(1008, Some(0.0));
        check(1013, Some(3.0));
        let alone = Script::new().trigger(1000, 1, 2).request(answered(1001, 1002, 1)).history();
        assert_eq!(measures(&alone)[0].overlap_ms, None, "there is no new answer");
    }
}

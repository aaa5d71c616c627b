//! Medians, how sure they are, and ratios of them.

use serde::Serialize;

use super::Row;
use super::timeline::{self, Slice};
use crate::measure::Measure;

/// What is measured of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// From the trigger to the end of the first answer of the new version.
    Handoff,
    /// Longest time without a successful fresh connect while one was due.
    AcceptGap,
    /// Time in which fresh clients met both generations.
    Overlap,
    /// Median of fresh requests during the upgrade, from the time they were due.
    FreshP50,
    /// 99th percentile of the same.
    FreshP99,
    /// From the done event to the old generation gone.
    Drain,
    /// Memory of all its processes at rest after the upgrade.
    Memory,
    /// Processor time of all its processes, the load around an upgrade included.
    Processor,
}

impl Kind {
    /// In the order of a report.
    pub const ALL: [Kind; 8] = [
        Kind::Handoff,
        Kind::AcceptGap,
        Kind::Overlap,
        Kind::FreshP50,
        Kind::FreshP99,
        Kind::Drain,
        Kind::Memory,
        Kind::Processor,
    ];

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Handoff => "handoff",
            Kind::AcceptGap => "accept gap",
            Kind::Overlap => "overlap",
            Kind::FreshP50 => "fresh p50",
            Kind::FreshP99 => "fresh p99",
            Kind::Drain => "drain",
            Kind::Memory => "memory",
            Kind::Processor => "processor",
        }
    }

    /// What it says, with its unit.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Kind::Handoff => "ms from the trigger to the first answer of the new generation",
            Kind::AcceptGap => "ms, the longest time without a fresh connect that succeeded, while one was due",
            Kind::Overlap => {
                "ms from the first answer of the new generation to the last one of the old, fresh requests alone"
            }
            Kind::FreshP50 => "ms, the median of fresh requests during an upgrade, from the time they were due",
            Kind::FreshP99 => "ms, the 99th percentile of the same",
            Kind::Drain => "ms from the done event to the old generation gone",
            Kind::Memory => "MiB of all its processes at rest after an upgrade (VmRSS)",
            Kind::Processor => {
                "ms of processor of all its processes for an upgrade and the load around it: the mean of each run"
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "KiB of a machine are far below 2^52")]
    fn of(self, measure: &Measure) -> Option<f64> {
        match self {
            Kind::Handoff => measure.handoff_ms,
            Kind::AcceptGap => measure.accept_gap_ms,
            Kind::Overlap => measure.overlap_ms,
            Kind::FreshP50 => measure.fresh_p50_ms,
            Kind::FreshP99 => measure.fresh_p99_ms,
            Kind::Drain => measure.drain_ms,
            Kind::Memory => measure.at_rest.map(|held| held.resident_kib as f64 / 1024.0),
            Kind::Processor => None,
        }
    }

    /// Its values: one of each upgrade, or one of each run where the kernel counts too coarsely for one upgrade.
    fn values(self, runs: &[Vec<Measure>]) -> Vec<f64> {
        if self == Kind::Processor {
            return runs.iter().filter_map(|run| processor(run)).collect();
        }
        runs.iter().flatten().filter_map(|it| self.of(it)).collect()
    }
}

/// Processor time between the first and the last look at rest, for each upgrade between them.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a run are far below 2^52")]
fn processor(run: &[Measure]) -> Option<f64> {
    let spent = |it: &Measure| Some((it.upgrade.0, it.at_rest?.spent_ms?));
    let (first, before) = run.iter().find_map(spent)?;
    let (last, after) = run.iter().rev().find_map(spent)?;
    (last > first).then(|| round(after.saturating_sub(before) as f64 / f64::from(last - first)))
}

/// The median of many upgrades.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Of what.
    pub kind: Kind,
    /// Of how many upgrades; of processor time: of how many runs.
    pub count: usize,
    /// The median.
    pub median: f64,
    /// From where to where the median lies at 95 % confidence: the order statistics whose ranks a binomial distribution leaves so seldom (no
    /// assumption on how the values are distributed; Conover, "Practical Nonparametric Statistics", 3.2).
    pub between: (f64, f64),
    /// The largest one.
    pub worst: f64,
    /// How it compares with the best of the yardsticks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
}

/// A median over another one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// Whose median is the other one: the smallest of the yardsticks'.
    pub against: String,
    /// The ratio.
    pub ratio: f64,
    /// From where to where it lies when both medians lie in their intervals.
    pub between: (f64, f64),
}

/// Lines of a report, the yardsticks at the end, from the upgrades of each run of each target.
pub(super) fn rows<'a>(targets: impl Iterator<Item = (&'a str, bool, &'a [Vec<Measure>], Vec<Slice>)>) -> Vec<Row> {
    let row = |(target, is_yardstick, runs, timeline): (&str, bool, &[Vec<Measure>], Vec<Slice>)| Row {
        target: target.to_owned(),
        is_yardstick,
        upgrades: runs.iter().flatten().count(),
        took_over: runs.iter().flatten().filter(|it| it.handoff_ms.is_some()).count(),
        requests: runs.iter().flatten().map(|it| it.requests).sum(),
        failed: runs.iter().flatten().map(|it| it.failed).sum(),
        figures: Kind::ALL.into_iter().filter_map(|kind| figure(kind, kind.values(runs))).collect(),
        poorest: timeline::poorest(&timeline),
        timeline,
    };
    let mut rows: Vec<Row> = targets.map(row).collect();
    let (yardsticks, measured): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|at| rows[*at].is_yardstick);
    for kind in Kind::ALL {
        let best = yardsticks.iter().filter_map(|at| Some((*at, find(&rows[*at], kind)?.clone())));
        let Some((of, best)) = best.min_by(|a, b| a.1.median.total_cmp(&b.1.median)) else { continue };
        let against = rows[of].target.clone();
        for at in &measured {
            if let Some(figure) = rows[*at].figures.iter_mut().find(|it| it.kind == kind) {
                figure.ratio = ratio(figure, &best, &against);
            }
        }
    }
    rows
}

fn find(row: &Row, kind: Kind) -> Option<&Figure> {
    row.figures.iter().find(|it| it.kind == kind)
}

fn figure(kind: Kind, mut values: Vec<f64>) -> Option<Figure> {
    values.sort_by(f64::total_cmp);
    let worst = *values.last()?;
    let (low, high) = ranks(values.len());
    Some(Figure {
        kind,
        count: values.len(),
        median: middle(&values),
        between: (values[low], values[high]),
        worst,
        ratio: None,
    })
}

/// `None` where nothing would be divided by.
fn ratio(of: &Figure, to: &Figure, against: &str) -> Option<Ratio> {
    let divided = |a: f64, b: f64| round(a / b);
    (to.between.0 > 0.0).then(|| Ratio {
        against: against.to_owned(),
        ratio: divided(of.median, to.median),
        between: (divided(of.between.0, to.between.1), divided(of.between.1, to.between.0)),
    })
}

/// A fixed format.
pub(super) fn round(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// The median of these; `None` of none.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    (!values.is_empty()).then(|| middle(&values))
}

fn middle(sorted: &[f64]) -> f64 {
    let at = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[at] } else { round(f64::midpoint(sorted[at - 1], sorted[at])) }
}

/// The ranks, from 0, between which the median of so many values lies at 95 % confidence: the highest one that at most 2.5 of 100 throws of
/// so many coins do not exceed in heads, and its mirror image. Of fewer than six values the first and the last.
fn ranks(count: usize) -> (usize, usize) {
    // The probability of exactly `k` heads of `count`, by logarithms: 2^-count is too small for a float from 1075 on.
    let mut probability_ln = -(count as f64) * std::f64::consts::LN_2;
    let (mut tail, mut low) = (0.0, 0);
    for k in 0..count / 2 {
        tail += probability_ln.exp();
        if tail > 0.025 {
            break;
        }
        low = k;
        probability_ln += ((count - k) as f64 / (k + 1) as f64).ln();
    }
    (low, count - 1 - low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UpgradeId;
    use crate::measure::Holdings;

    /// The upgrades of one run.
    fn upgrades(handoffs: &[f64]) -> [Vec<Measure>; 1] {
        let one = |(at, handoff): (u32, &f64)| Measure {
            upgrade: UpgradeId(at),
            handoff_ms: Some(*handoff),
            accept_gap_ms: None,
            overlap_ms: None,
            drain_ms: None,
            requests: 10,
            failed: 0,
            fresh_p50_ms: None,
            fresh_p99_ms: None,
            at_rest: None,
        };
        [(1..).zip(handoffs).map(one).collect()]
    }

    #[test]
    fn processor_time_is_the_mean_of_each_run() {
        let held = |spent| Holdings { processes: 1, descriptors: 1, words: 1, resident_kib: 1, spent_ms: Some(spent) };
        let run = |spent: [u64; 3]| {
            let [mut run] = upgrades(&[1.0; 3]);
            run.iter_mut().zip(spent).for_each(|(it, spent)| it.at_rest = Some(held(spent)));
            run
        };
        let figure = figure(Kind::Processor, Kind::Processor.values(&[run([10, 20, 70]), run([30, 30, 80])]));
        let figure = figure.expect("there are looks at rest");
        assert_eq!((figure.count, figure.median, figure.worst), (2, 27.5, 30.0));
        assert_eq!(Kind::Processor.values(&upgrades(&[1.0; 3])), Vec::<f64>::new(), "nobody looked");
    }

    #[test]
    fn the_interval_of_a_median_has_the_ranks_of_the_tables() {
        // Conover, table A3: for n = 10 the second and the ninth, for 20 the sixth and the fifteenth, for 100 the 40th and the 61st.
        for (count, want) in [(1, (0, 0)), (5, (0, 4)), (6, (0, 5)), (10, (1, 8)), (20, (5, 14)), (100, (39, 60))] {
            assert_eq!(ranks(count), want, "{count}");
        }
        let (low, high) = ranks(5000);
        assert!(low > 2400 && high < 2600 && low + high == 4999, "{low} {high}");
    }

    #[test]
    fn the_best_of_the_yardsticks_is_what_others_are_held_against() {
        let (ours, quick, slow) = (upgrades(&[4.0, 5.0, 6.0]), upgrades(&[10.0; 3]), upgrades(&[20.0; 3]));
        let targets = [("ours", false, &ours), ("quick", true, &quick), ("slow", true, &slow)];
        let rows =
            rows(targets.into_iter().map(|(name, is_yardstick, it)| (name, is_yardstick, it.as_slice(), Vec::new())));
        let figure = &rows[0].figures[0];
        assert_eq!((figure.kind, figure.count, figure.median, figure.worst), (Kind::Handoff, 3, 5.0, 6.0));
        let ratio = figure.ratio.as_ref().expect("there are yardsticks");
        assert_eq!((ratio.against.as_str(), ratio.ratio, ratio.between), ("quick", 0.5, (0.4, 0.6)));
        assert_eq!((rows[1].figures[0].ratio.as_ref(), rows[0].took_over, rows[0].requests), (None, 3, 30));
    }

    #[test]
    fn without_yardsticks_there_is_no_ratio_and_without_values_no_figure() {
        let ours = upgrades(&[1.0, 2.0]);
        let rows = rows(std::iter::once(("ours", false, ours.as_slice(), Vec::new())));
        assert_eq!((rows[0].figures.len(), rows[0].figures[0].median), (1, 1.5));
        assert_eq!(rows[0].figures[0].ratio, None);
    }
}

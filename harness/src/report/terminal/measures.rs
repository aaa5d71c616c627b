//! The figures of a target's upgrades in one short block. They never decide anything.

use std::fmt::Write;

use super::page::{Ink, Page};
use crate::measure::{Measure, Slopes};
use crate::summary::TargetSummary;

/// One line of the block.
struct Figure {
    name: &'static str,
    meaning: &'static str,
    of: fn(&Measure) -> Option<f64>,
}

static FIGURES: [Figure; 4] = [
    Figure { name: "handoff", meaning: "trigger to the first answer of the new generation", of: |it| it.handoff_ms },
    Figure {
        name: "accept gap",
        meaning: "longest time without a fresh connect that succeeded, while one was due",
        of: |it| it.accept_gap_ms,
    },
    Figure {
        name: "fresh p99",
        meaning: "99th percentile of fresh requests, from the time they were due",
        of: |it| it.fresh_p99_ms,
    },
    Figure { name: "drain", meaning: "done event to the old generation gone", of: |it| it.drain_ms },
];

/// The block, with an empty line at its end; empty without an upgrade.
pub(super) fn measures(target: &TargetSummary, page: &Page<'_>) -> String {
    let upgrades: Vec<&Measure> = target.measures.iter().flat_map(|it| &it.upgrades).collect();
    if upgrades.is_empty() {
        return String::new();
    }
    let (requests, failed) = upgrades.iter().fold((0, 0), |sum, it| (sum.0 + it.requests, sum.1 + it.failed));
    let count = if upgrades.len() == 1 { "1 upgrade".to_owned() } else { format!("{} upgrades", upgrades.len()) };
    let mut text = page.paint(Ink::Faint, &format!("  measured in {count:<12}   median       worst"));
    text.push('\n');
    for figure in &FIGURES {
        let mut values: Vec<f64> = upgrades.iter().filter_map(|it| (figure.of)(it)).collect();
        values.sort_by(f64::total_cmp);
        let Some(worst) = values.last() else { continue };
        // Nearest rank, as everywhere.
        let median = values[values.len().div_ceil(2) - 1];
        let _ = writeln!(text, "    {:<18} {median:>9.1} ms {worst:>9.1} ms   {}", figure.name, figure.meaning);
    }
    let _ = writeln!(text, "    requests during these upgrades: {requests}, of which {failed} failed");
    target.measures.iter().filter_map(|it| it.slopes).for_each(|slopes| text.push_str(&growth(&slopes)));
    text.push('\n');
    text
}

/// How what the target holds grows, in one line.
fn growth(slopes: &Slopes) -> String {
    let p99 = slopes.fresh_p99_ms.map(|it| format!(", fresh p99 {it:+.3} ms")).unwrap_or_default();
    format!(
        "    each of {} upgrades adds: processes {:+.3}, descriptors {:+.3}, arguments and environment {:+.3} bytes, \
         memory {:+.3} KiB{p99}\n",
        slopes.upgrades, slopes.processes, slopes.descriptors, slopes.words, slopes.resident_kib
    )
}

//! The endings as JSON, and their figures.

use serde_json::json;

use super::cell::{PHASES, Row};

/// The rows by cause and the phase that they hit, in the order of the phases.
pub(crate) fn groups(rows: &[Row]) -> Vec<(String, String, Vec<&Row>)> {
    let mut groups: Vec<(String, String, Vec<&Row>)> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|(phase, cause, _)| *phase == row.phase_reached && *cause == row.cause) {
            Some((_, _, of)) => of.push(row),
            None => groups.push((row.phase_reached.clone(), row.cause.clone(), vec![row])),
        }
    }
    groups.sort_by_key(|(phase, cause, _)| (cause.clone(), PHASES.iter().position(|it| it == phase)));
    groups
}

/// Median and maximum of the milliseconds until everything was gone.
pub(crate) fn median_max(rows: &[&Row]) -> (f64, f64) {
    let mut times: Vec<f64> = rows.iter().map(|row| row.gone_after_ms).collect();
    times.sort_by(f64::total_cmp);
    match times.last() {
        Some(max) => (times[times.len() / 2], *max),
        None => (0.0, 0.0),
    }
}

/// Everything, for the record.
pub(crate) fn json(seed: u64, kills: u32, rows: &[Row]) -> String {
    let killed: Vec<&Row> = rows.iter().filter(|row| row.cause == "SIGKILL").collect();
    let (median, max) = median_max(&killed);
    let hits: Vec<_> = ["A", "B", "C"]
        .iter()
        .flat_map(|tier| PHASES.iter().map(move |phase| (tier, phase)))
        .map(|(tier, phase)| {
            let hit = killed.iter().filter(|row| row.tier == *tier && row.phase_reached == *phase).count();
            json!({ "tier": tier, "phase": phase, "kills": hit })
        })
        .collect();
    let system = rustix::system::uname();
    let report = json!({
        "commit": std::env::var("UNBROKEN_COMMIT").unwrap_or_default(),
        "machine": {
            "kernel": system.release().to_string_lossy(),
            "processors": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        },
        "seed": seed,
        "kills_per_phase_and_tier": kills,
        "totals": {
            "kills": killed.len(),
            "endings": rows.len(),
            "with_differences": rows.iter().filter(|row| !row.differences.is_empty()).count(),
            "not_as_asked": rows.iter().filter(|row| !row.as_asked).count(),
            "gone_after_ms": { "median": median, "max": max },
            "hits": hits,
        },
        "endings": rows,
    });
    let mut text = serde_json::to_string_pretty(&report).expect("it is plain data");
    text.push('\n');
    text
}

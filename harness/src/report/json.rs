//! The report for programs: pretty JSON, keys in a fixed order, one format number.

use serde::Serialize;

use super::wording;
use crate::machine::Machine;
use crate::summary::{Exit, Summary, TargetSummary};

/// The number of the format. Keys may be added under the same number; one that changes or goes gets a new one.
pub const FORMAT: u32 = 1;

/// The whole document, in the order of its keys.
#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
    began: &'a str,
    seed: u64,
    exit: ExitCode,
    machine: &'a Machine,
    targets: &'a [TargetSummary],
}

#[derive(Serialize)]
struct ExitCode {
    code: u8,
    meaning: &'static str,
}

/// The report as JSON, with a line break at its end.
#[must_use]
pub fn render(summary: &Summary, exit: Exit) -> String {
    let document = Document {
        format: FORMAT,
        version: summary.version,
        commit: summary.commit.as_deref(),
        began: &summary.began,
        seed: summary.seed,
        exit: ExitCode { code: exit.code(), meaning: wording::exit(exit) },
        machine: &summary.machine,
        targets: &summary.targets,
    };
    let mut text = serde_json::to_string_pretty(&document).expect("a summary has no map with keys other than text");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use crate::report::sample;

    #[test]
    fn the_report_is_the_stored_text() {
        let summary = sample::summary();
        assert_eq!(super::render(&summary, summary.exit(false)), include_str!("testdata/report.json"));
    }

    #[test]
    fn the_format_is_the_first_key() {
        let summary = sample::clean();
        assert!(super::render(&summary, summary.exit(false)).starts_with("{\n  \"format\": 1,\n"));
    }
}

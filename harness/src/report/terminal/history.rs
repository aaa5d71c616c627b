//! Where the evidence of a finding stands on disk.

use std::fmt::Display;
use std::path::Path;

use super::page::Page;
use crate::verdict::Evidence;

/// More numbers than this help nobody: the file is at hand.
const NUMBERS_MAX: usize = 8;

/// The lines of a history label: events, then requests; the directory alone when the evidence names neither.
pub(super) fn history(directory: &Path, evidence: &[&Evidence], page: &Page<'_>) -> Vec<String> {
    if directory.as_os_str().is_empty() {
        return Vec::new();
    }
    let events: Vec<u64> = distinct(evidence.iter().flat_map(|it| it.events.iter().copied()));
    let requests: Vec<u64> = distinct(evidence.iter().flat_map(|it| it.requests.iter().copied()));
    let file = |name: &str| page.path(&directory.join(name));
    let mut lines = Vec::new();
    if !events.is_empty() {
        lines.push(format!("{}, {}", file("events.jsonl.gz"), numbered("event", &events)));
    }
    if !requests.is_empty() {
        lines.push(format!("{}, {}", file("requests.jsonl.gz"), numbered("request", &requests)));
    }
    if lines.is_empty() {
        lines.push(page.path(directory));
    }
    lines
}

/// "event 3", "runs 1, 2", "requests 1, 2 … and 40 more".
pub(super) fn numbered(noun: &str, numbers: &[impl Display]) -> String {
    let told: Vec<String> = numbers.iter().take(NUMBERS_MAX).map(ToString::to_string).collect();
    let plural = if numbers.len() == 1 { "" } else { "s" };
    let rest = numbers.len().saturating_sub(NUMBERS_MAX);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{noun}{plural} {}{more}", told.join(", "))
}

fn distinct(numbers: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn long_lists_of_numbers_are_cut_and_counted() {
        assert_eq!(numbered("event", &[7]), "event 7");
        assert_eq!(numbered("run", &(1..=10).collect::<Vec<_>>()), "runs 1, 2, 3, 4, 5, 6, 7, 8 and 2 more");
    }
}

//! The table of a target: one line per check.

use std::collections::BTreeMap;

use super::page::{Ink, Page, cut};
use crate::report::wording;
use crate::summary::{Disposition, Row, TargetSummary};
use crate::verdict::{Evidence, Verdict};

/// Fewer runs than this bound nothing: 3 of 3 without a failure leaves every probability possible by the rule of three.
const BOUND_RUNS_MIN: u32 = 4;
/// Columns of the level ("SHOULD").
const LEVEL: usize = 6;

/// Title, table and bounds of a target.
pub(super) fn table(target: &TargetSummary, page: &Page<'_>) -> String {
    let mut text = title(target, page);
    if target.rows.is_empty() {
        return text;
    }
    text.push('\n');
    let columns = Columns::of(target);
    text.push_str(
        &page
            .paint(Ink::Faint, columns.line(["check", "level", "verdict", "passed", "what was seen"], page).trim_end()),
    );
    text.push('\n');
    for row in &target.rows {
        text.push_str(&columns.row(row, page));
    }
    text.push_str(&bounds(target, page));
    text
}

/// How a disposition is coloured.
pub(in crate::report) fn ink(disposition: Disposition) -> Ink {
    match disposition {
        Disposition::Passed => Ink::Good,
        Disposition::Unsupported => Ink::Faint,
        Disposition::ExpectedFailure | Disposition::Warning => Ink::Attention,
        Disposition::Inconclusive => Ink::Unknown,
        Disposition::Error | Disposition::UnexpectedPass | Disposition::Failure => Ink::Bad,
    }
}

fn title(target: &TargetSummary, page: &Page<'_>) -> String {
    let runs = if target.runs == 1 { String::new() } else { format!(", {} runs of each scenario", target.runs) };
    format!("{}  ({}{runs})\n", page.paint(Ink::Title, &target.target), wording::role(target.role))
}

/// Widths that depend on what is in the table.
struct Columns {
    check: usize,
    verdict: usize,
    passed: usize,
}

impl Columns {
    fn of(target: &TargetSummary) -> Columns {
        let widest =
            |width: fn(&Row) -> usize, least: &str| target.rows.iter().map(width).fold(least.len(), usize::max);
        Columns {
            check: widest(|row| row.check.len(), "check"),
            verdict: widest(|row| wording::disposition(row.disposition).len(), "verdict"),
            passed: widest(|row| passed(row).chars().count(), "passed"),
        }
    }

    fn line(&self, cells: [&str; 5], page: &Page<'_>) -> String {
        let [check, level, verdict, passed, seen] = cells;
        let head = format!(
            "  {check:<0$}  {level:<LEVEL$}  {verdict:<1$}  {passed:<2$}  ",
            self.check, self.verdict, self.passed
        );
        let room = page.columns().saturating_sub(head.chars().count());
        format!("{head}{}", cut(seen, room))
    }

    fn row(&self, row: &Row, page: &Page<'_>) -> String {
        let verdict = wording::disposition(row.disposition);
        let level = row.level.to_string();
        let line = self.line([row.check, &level, verdict, &passed(row), &seen(row)], page);
        // The verdict's own columns are painted afterwards: sequences have no width.
        let at = 2 + self.check + 2 + LEVEL + 2;
        let (before, rest) = line.split_at(at);
        let (word, after) = rest.split_at(verdict.len());
        format!("{before}{}{}\n", page.paint(ink(row.disposition), word), after.trim_end())
    }
}

/// "2 of 3"; a dash for what was not judged.
pub(super) fn passed(row: &Row) -> String {
    match row.verdict {
        Some(_) => format!("{} of {}", row.passed, row.of),
        None => "–".to_owned(),
    }
}

/// One line that tells most.
fn seen(row: &Row) -> String {
    let of = |verdict: Verdict| row.findings.iter().map(|it| &it.finding).find(|finding| finding.verdict == verdict);
    let text = |evidence: Option<&Evidence>| evidence.map(|it| it.text.clone()).unwrap_or_default();
    match (row.disposition, row.verdict) {
        (Disposition::Unsupported, _) | (_, None) => row.unsupported.clone(),
        (Disposition::ExpectedFailure, _) => row.expectation.as_ref().map(|it| it.reason.clone()).unwrap_or_default(),
        // What took the pass away was added last.
        (_, Some(Verdict::Inconclusive)) => text(of(Verdict::Inconclusive).and_then(|it| it.evidence.last())),
        (_, Some(verdict)) => text(of(verdict).and_then(|it| it.evidence.first())),
    }
}

/// The rule of three, for the checks that passed in every one of enough runs.
fn bounds(target: &TargetSummary, page: &Page<'_>) -> String {
    let mut clean: BTreeMap<u32, usize> = BTreeMap::new();
    for row in target.rows.iter().filter(|row| row.of >= BOUND_RUNS_MIN && row.passed == row.of) {
        *clean.entry(row.of).or_default() += 1;
    }
    let lines = clean.iter().map(|(runs, checks)| {
        let which = if *checks == 1 { "1 check".to_owned() } else { format!("{checks} checks") };
        let bound = 300.0 / f64::from(*runs);
        page.paragraph(
            2,
            &format!(
                "{which}: 0 of {runs} failed, so below 3/{runs} = {bound:.1} % of such runs fail (at 95 % confidence)"
            ),
        )
    });
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

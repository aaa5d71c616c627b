//! Targets side by side: a line per check, a column per target, as text for a terminal and as Markdown.
//!
//! A cell has the disposition of one check in one target. What is known to fail has its reason below the table.

use std::fmt::Write;

use super::terminal::{Ink, ink};
use super::{Page, wording};
use crate::summary::{Disposition, Exit, Row, Summary, TargetSummary};
use crate::verdict::Level;

/// Columns between two cells.
const GAP: usize = 2;

/// The text for a terminal: targets are numbered, as their names would not fit above a column.
#[must_use]
pub fn text(summary: &Summary, exit: Exit, page: &Page<'_>) -> String {
    let grid = Grid::of(summary);
    let mut text = format!("{}\n\n", page.paint(Ink::Title, &title(summary)));
    for (n, target) in summary.targets.iter().enumerate() {
        let _ = writeln!(text, "  {:>2}  {}  {}", n + 1, target.target, page.paint(Ink::Faint, &standing(target)));
    }
    if grid.lines.is_empty() {
        return text + &closing(exit, page);
    }
    text.push('\n');
    let width = grid.lines.iter().map(|line| line.check.len()).max().unwrap_or_default();
    let numbers: String = (1..=summary.targets.len()).map(|n| format!("{n:>0$}", GAP + 1)).collect();
    text.push_str(&page.paint(Ink::Faint, &format!("  {:<width$}  {:<6}{numbers}", "check", "level")));
    text.push('\n');
    for line in &grid.lines {
        let mut told = format!("  {:<width$}  {:<6}", line.check, line.level.to_string());
        for cell in &line.cells {
            let painted = cell.map_or_else(|| " ".to_owned(), |row| page.paint(ink(row.disposition), mark(row)));
            let _ = write!(told, "{:GAP$}{painted}", "");
        }
        let _ = writeln!(text, "{}", told.trim_end());
    }
    text.push('\n');
    text.push_str(&page.paragraph(2, &legend()));
    text.push('\n');
    for (target, row) in known(summary) {
        text.push_str(&page.paragraph(2, &format!("{} in {target}: {}", row.check, reason(row))));
    }
    text + &closing(exit, page)
}

/// The same as Markdown, targets by name.
#[must_use]
pub fn markdown(summary: &Summary) -> String {
    let grid = Grid::of(summary);
    let mut text = format!("{}\n\n", title(summary));
    let names: Vec<String> = summary.targets.iter().map(|it| format!(" `{}` |", it.target)).collect();
    let _ = writeln!(text, "| check | level |{}", names.concat());
    let _ = writeln!(text, "|---|---|{}", "---|".repeat(names.len()));
    for line in &grid.lines {
        let cells: Vec<String> =
            line.cells.iter().map(|cell| format!(" {} |", cell.map_or(String::new(), word))).collect();
        let _ = writeln!(text, "| `{}` | {} |{}", line.check, line.level, cells.concat());
    }
    let known: Vec<String> = known(summary)
        .map(|(target, row)| format!("| `{target}` | `{}` | {} |\n", row.check, reason(row).replace('|', "\\|")))
        .collect();
    if !known.is_empty() {
        let _ = write!(text, "\n| target | known to fail | reason |\n|---|---|---|\n{}", known.concat());
    }
    let unavailable: String = summary.targets.iter().filter(|it| it.rows.is_empty()).map(not_judged).collect();
    if unavailable.is_empty() { text } else { format!("{text}\n{unavailable}") }
}

/// Which checks any target was judged by, and what came of them.
struct Grid<'a> {
    lines: Vec<Line<'a>>,
}

struct Line<'a> {
    check: &'static str,
    level: Level,
    /// One a target; `None` where it ran no scenario that judges the check.
    cells: Vec<Option<&'a Row>>,
}

impl<'a> Grid<'a> {
    fn of(summary: &'a Summary) -> Grid<'a> {
        let find = |target: &'a TargetSummary, id: &str| target.rows.iter().find(|row| row.check == id);
        let lines = crate::check::CHECKS.iter().map(|check| Line {
            check: check.id,
            level: check.level,
            cells: summary.targets.iter().map(|target| find(target, check.id)).collect(),
        });
        let is_judged = |line: &Line<'_>| line.cells.iter().flatten().any(|row| row.verdict.is_some());
        Grid { lines: lines.filter(is_judged).collect() }
    }
}

fn title(summary: &Summary) -> String {
    let machine = &summary.machine;
    format!(
        "unbroken {} matrix · Linux {} · tier {} · {}",
        summary.version, machine.kernel, machine.tier, summary.began
    )
}

/// What can be said of a target in a word or two.
fn standing(target: &TargetSummary) -> String {
    if !target.broken.is_empty() {
        return "does not work without any restart".to_owned();
    }
    if target.rows.is_empty() {
        return "not judged: unavailable or unsupported here".to_owned();
    }
    let judged = target.rows.iter().filter(|row| row.verdict.is_some());
    let passed = judged.clone().filter(|row| row.disposition == Disposition::Passed).count();
    format!("{passed} of {} passed", judged.count())
}

/// One character a cell.
fn mark(row: &Row) -> &'static str {
    match row.disposition {
        Disposition::Passed => "+",
        Disposition::Unsupported => "·",
        Disposition::ExpectedFailure => "x",
        Disposition::Warning => "w",
        Disposition::Inconclusive => "?",
        Disposition::Error => "E",
        Disposition::UnexpectedPass => "P",
        Disposition::Failure => "F",
    }
}

fn legend() -> String {
    "+ passes · x fails, as is known · F fails · w fails what it only should · P passes against what is known · ? not decided · \
     E error · a dot: not claimed"
        .to_owned()
}

/// The cell of a Markdown table.
fn word(row: &Row) -> String {
    let word = wording::disposition(row.disposition);
    match row.disposition {
        Disposition::Unsupported => "–".to_owned(),
        Disposition::Passed if row.of > 1 => format!("{word} {} of {}", row.passed, row.of),
        Disposition::Passed => word.to_owned(),
        _ if row.of > 1 => format!("**{word}**, passed {} of {}", row.passed, row.of),
        _ => format!("**{word}**"),
    }
}

/// What fails and is known to, target by target.
fn known(summary: &Summary) -> impl Iterator<Item = (&str, &Row)> {
    summary.targets.iter().flat_map(|target| {
        let rows = target.rows.iter().filter(|row| row.disposition == Disposition::ExpectedFailure);
        rows.map(|row| (target.target.as_str(), row))
    })
}

fn reason(row: &Row) -> String {
    let Some(expectation) = &row.expectation else { return String::new() };
    match &expectation.upstream {
        Some(upstream) => format!("{} ({upstream})", expectation.reason),
        None => expectation.reason.clone(),
    }
}

fn not_judged(target: &TargetSummary) -> String {
    format!("`{}`: {}.\n", target.target, standing(target))
}

fn closing(exit: Exit, page: &Page<'_>) -> String {
    let ink = if exit == Exit::AsExpected { Ink::Good } else { Ink::Bad };
    format!("\n{}\n", page.paint(ink, &format!("exit {}: {}", exit.code(), wording::exit(exit))))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::sample;

    #[test]
    fn the_text_is_the_stored_text() {
        let summary = sample::summary();
        let page = Page { width: 110, colour: false, here: Path::new("/") };
        let got = text(&summary, summary.exit(false), &page);
        assert!(got == include_str!("testdata/matrix.txt"), "the matrix changed; it is now:\n{got}");
    }

    #[test]
    fn the_markdown_is_the_stored_text() {
        let got = markdown(&sample::summary());
        assert!(got == include_str!("testdata/matrix.md"), "the matrix changed; it is now:\n{got}");
    }

    #[test]
    fn without_a_verdict_there_is_no_table() {
        let mut summary = sample::clean();
        summary.targets[0].rows.clear();
        let page = Page { width: 110, colour: false, here: Path::new("/") };
        assert!(!text(&summary, summary.exit(false), &page).contains("level"));
    }
}

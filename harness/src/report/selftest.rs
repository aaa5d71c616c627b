//! The report of the defect matrix: which defects were caught, how often, and what was not as it must be.

use std::fmt::Write;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::terminal::Ink;
use super::{Format, Page, wording};
use crate::selftest::{RowReport, SelftestReport};

/// The report in this format.
#[must_use]
pub fn render(report: &SelftestReport, format: Format, page: &Page<'_>) -> String {
    match format {
        Format::Terminal => text(report, page),
        Format::Json => json(report),
        Format::Junit => junit(report),
        Format::Markdown => markdown(report),
    }
}

/// A line per row.
fn markdown(report: &SelftestReport) -> String {
    let mut text = String::from("| kind | row | scenario | as it must be |\n|---|---|---|---|\n");
    for row in &report.rows {
        let kind = wording::word(&row.kind);
        let _ = writeln!(text, "| {kind} | {} | `{}` | {} of {} |", name(row), row.scenario, row.held, report.runs);
    }
    text
}

/// One suite per target, one case per row.
fn junit(report: &SelftestReport) -> String {
    let mut document = Report::new("unbroken selftest");
    let mut suites: Vec<TestSuite> = Vec::new();
    for row in &report.rows {
        let held = format!("as it must be in {} of {} runs\n{}", row.held, report.runs, row.wrong.join("\n"));
        let mut status = TestCaseStatus::success();
        if !row.ok {
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("wrong").set_message(row.wrong.join("; ")).set_description(held.as_str());
        }
        let kind = wording::word(&row.kind);
        let name = if row.defect.is_empty() { kind } else { format!("{kind} {}", row.defect) };
        let mut case = TestCase::new(name, status);
        case.set_classname(row.scenario.as_str());
        if row.ok {
            case.set_system_out(held);
        }
        let suite = suites.iter().position(|suite| suite.name.as_str() == row.target).unwrap_or_else(|| {
            suites.push(TestSuite::new(row.target.as_str()));
            suites.len() - 1
        });
        suites[suite].add_test_case(case);
    }
    document.add_test_suites(suites);
    super::junit::text(&document)
}

fn json(report: &SelftestReport) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report has no map with keys other than text");
    text.push('\n');
    text
}

fn text(report: &SelftestReport, page: &Page<'_>) -> String {
    let machine = &report.machine;
    let hog = if report.hog { " · with a processor hog" } else { "" };
    let mut text = format!(
        "{} · Linux {} · tier {} · seed {}\nbegan {} · each row {} times{hog}\n\n",
        page.paint(Ink::Title, &format!("unbroken {} selftest", report.version)),
        machine.kernel,
        machine.tier,
        report.seed,
        report.began,
        report.runs
    );
    let width = report.rows.iter().map(|row| name(row).chars().count()).max().unwrap_or_default();
    let scenario = report.rows.iter().map(|row| row.scenario.len()).max().unwrap_or_default();
    for row in &report.rows {
        let (ink, word) = if row.ok { (Ink::Good, "ok") } else { (Ink::Bad, "WRONG") };
        let kind = wording::word(&row.kind);
        let held = format!("{} of {}", row.held, report.runs);
        let _ = writeln!(
            text,
            "  {kind:<6}  {:<width$}  {:<scenario$}  {held:>9}  {}",
            name(row),
            row.scenario,
            page.paint(ink, word)
        );
    }
    text.push('\n');
    for row in report.rows.iter().filter(|row| !row.ok) {
        let _ = writeln!(text, "{}  {} · {}", page.paint(Ink::Bad, "WRONG"), name(row), row.scenario);
        for wrong in &row.wrong {
            text.push_str(&page.paragraph(6, wrong));
        }
        text.push('\n');
    }
    let wrong = report.rows.iter().filter(|row| !row.ok).count();
    let line = if report.ok {
        page.paint(Ink::Good, &format!("all {} rows are as they must be, in every run", report.rows.len()))
    } else {
        page.paint(Ink::Bad, &format!("{wrong} of {} rows are not as they must be", report.rows.len()))
    };
    text + &line + "\n"
}

/// What the row is about: its defect, else its target.
fn name(row: &RowReport) -> String {
    if row.defect.is_empty() { row.target.clone() } else { format!("{} in {}", row.defect, row.target) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::machine::{Machine, Tier};
    use crate::selftest::RowKind;

    fn row(kind: RowKind, defect: &str, held: u32, wrong: &[&str]) -> RowReport {
        RowReport {
            kind,
            target: "reference/exec-inherit".to_owned(),
            defect: defect.to_owned(),
            scenario: "restart/upgrade-under-load".to_owned(),
            ok: wrong.is_empty(),
            held,
            cells: BTreeMap::new(),
            excused: 0,
            wrong: wrong.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn the_report_is_the_stored_text() {
        let machine = Machine {
            tier: Tier::A,
            tier_reason: String::new(),
            kernel: "6.18.5".to_owned(),
            processors: 2,
            uid: 0,
            listen_hook: true,
            no_systemd: None,
            no_task_groups: None,
            no_clients: None,
            programs: BTreeMap::new(),
        };
        let report = SelftestReport {
            format: 1,
            version: "0.1.0",
            commit: None,
            began: "2026-11-22T21:26:00Z".to_owned(),
            machine,
            runs: 20,
            jobs: 1,
            hog: true,
            seed: 42,
            ok: false,
            rows: vec![
                row(RowKind::Clean, "", 20, &[]),
                row(RowKind::Defect, "no-refused", 20, &[]),
                row(
                    RowKind::Defect,
                    "backlog-kept",
                    19,
                    &["handoff/backlog-kept must Fail and was inconclusive (/runs/0007)"],
                ),
            ],
        };
        let page = Page { width: 110, colour: false, here: Path::new("/") };
        let got = render(&report, Format::Terminal, &page);
        assert!(got == include_str!("testdata/selftest.txt"), "the report changed; it is now:\n{got}");
        let got = render(&report, Format::Markdown, &page);
        let last = "| defect | backlog-kept in reference/exec-inherit | `restart/upgrade-under-load` | 19 of 20 |\n";
        assert!(got.ends_with(last), "{got}");
        let got = render(&report, Format::Junit, &page);
        assert!(got == include_str!("testdata/selftest.xml"), "the report changed; it is now:\n{got}");
    }
}

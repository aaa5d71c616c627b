//! The report of a calibration: each harm and what the load said of it, the gaps that it saw, and how late it was.

use std::fmt::Write;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::load::time;
use super::terminal::Ink;
use super::{Format, Page};
use crate::calibrate::{CalibrationReport, HarmRow};

/// The report in this format.
#[must_use]
pub fn render(report: &CalibrationReport, format: Format, page: &Page<'_>) -> String {
    match format {
        Format::Terminal => text(report, page),
        Format::Json => json(report),
        Format::Junit => junit(report),
        Format::Markdown => markdown(report),
    }
}

fn json(report: &CalibrationReport) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report has no map with keys other than text");
    text.push('\n');
    text
}

fn class(row: &HarmRow) -> &'static str {
    row.class.map_or("nothing lost", crate::request::FailureClass::word)
}

fn text(report: &CalibrationReport, page: &Page<'_>) -> String {
    let title = page.paint(Ink::Title, &format!("unbroken {} selftest --calibrate", report.version));
    let machine = &report.machine;
    let mut text = format!("{title} · Linux {} · {} processors\n\n", machine.kernel, machine.processors);
    let head = format!("  {:<62} {:<19} {:>7} {:>9} {:>9}", "the server", "class", "done", "reported", "invented");
    let _ = writeln!(text, "{}", page.paint(Ink::Faint, &head));
    for row in &report.harms {
        let (ink, word) = if row.ok { (Ink::Good, "ok") } else { (Ink::Bad, "WRONG") };
        let _ = writeln!(
            text,
            "  {:<62} {:<19} {:>7} {:>9} {:>9}  {}",
            row.harm,
            class(row),
            row.done,
            row.reported,
            row.invented,
            page.paint(ink, word)
        );
    }
    let head = format!(
        "  {:<30} {:>14} {:>9} {:>12} {:>16}",
        "nobody listens for", "connects/s", "gaps", "by the load", "by its identity"
    );
    let _ = writeln!(text, "\n{}", page.paint(Ink::Faint, &head));
    for row in &report.gaps {
        let ink = if row.by_identity == row.made { Ink::Good } else { Ink::Bad };
        let _ = writeln!(
            text,
            "  {:<30} {:>14} {:>9} {:>12} {}",
            time(row.length_us * 1000),
            row.rate,
            row.made,
            row.by_load,
            page.paint(ink, &format!("{:>16}", row.by_identity))
        );
    }
    let _ = writeln!(text, "\n  {}", schedule(report));
    let (ink, word) = if report.ok {
        (Ink::Good, "none missed, none invented")
    } else {
        (Ink::Bad, "not everything was reported as what it was")
    };
    let _ = writeln!(text, "{}", page.paint(ink, word));
    text
}

fn schedule(report: &CalibrationReport) -> String {
    let schedule = &report.schedule;
    format!(
        "at {} requests a second: late by {} (p50), {} (p99), {} (worst), with {:.0} % of a processor",
        schedule.rate,
        time(schedule.lateness.p50),
        time(schedule.lateness.p99),
        time(schedule.lateness.max),
        schedule.processor * 100.0
    )
}

fn markdown(report: &CalibrationReport) -> String {
    let mut text = String::from("| the server | class | done | reported | invented |\n|---|---|---|---|---|\n");
    for row in &report.harms {
        let _ =
            writeln!(text, "| {} | {} | {} | {} | {} |", row.harm, class(row), row.done, row.reported, row.invented);
    }
    text.push_str(
        "\n| nobody listens for | connects/s | gaps | by the load | by its identity |\n|---|---|---|---|---|\n",
    );
    for row in &report.gaps {
        let length = time(row.length_us * 1000);
        let _ = writeln!(text, "| {length} | {} | {} | {} | {} |", row.rate, row.made, row.by_load, row.by_identity);
    }
    let _ = writeln!(text, "\n{}", schedule(report));
    text
}

/// One case per harm, and one per kind of gap.
fn junit(report: &CalibrationReport) -> String {
    let mut document = Report::new("unbroken selftest --calibrate");
    let mut suite = TestSuite::new("load");
    let mut case = |name: String, ok: bool, said: String| {
        let mut status = TestCaseStatus::success();
        if !ok {
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("wrong").set_message(said.clone());
        }
        let mut case = TestCase::new(name, status);
        case.set_system_out(said);
        suite.add_test_case(case);
    };
    for row in &report.harms {
        let said = format!("done {}, reported {}, invented {}", row.done, row.reported, row.invented);
        case(format!("{}: {}", row.harm, class(row)), row.ok, said);
    }
    for row in &report.gaps {
        let said = format!("{} gaps, {} by the load, {} by its identity", row.made, row.by_load, row.by_identity);
        case(format!("gap of {} µs at {}/s", row.length_us, row.rate), row.by_identity == row.made, said);
    }
    document.add_test_suite(suite);
    super::junit::text(&document)
}

//! The report of an examination: advice on the manifest, then what the runs showed.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::terminal::Ink;
use super::{Format, Page, wording};
use crate::doctor::{DoctorReport, Examination, Outcome};

/// Columns of the first word of a line.
const WORD: usize = 11;

/// The report in this format.
#[must_use]
pub fn render(report: &DoctorReport, format: Format, page: &Page<'_>) -> String {
    match format {
        Format::Terminal => text(report, page),
        Format::Json => json(report),
        Format::Junit => junit(report),
        Format::Markdown => markdown(report),
    }
}

fn json(report: &DoctorReport) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report has no map with keys other than text");
    text.push('\n');
    text
}

fn text(report: &DoctorReport, page: &Page<'_>) -> String {
    let title = format!("unbroken {} doctor · {}", report.version, report.target);
    let mut text = format!("{}\n", page.paint(Ink::Title, &title));
    text.push_str(&format!("isolation: tier {}, {}\n\n", report.machine.tier, wording::tier(report.machine.tier)));
    text.push_str(&page.paint(Ink::Title, "manifest"));
    text.push('\n');
    if report.advice.is_empty() {
        text.push_str(&format!("  {}  it says all that the suite can use\n", page.paint(Ink::Good, "good")));
    }
    for advice in &report.advice {
        let word = page.paint(Ink::Attention, &format!("{:<WORD$}", "advice"));
        text.push_str(&format!("  {word}  {}\n", advice.key));
        text.push_str(&page.paragraph(WORD + 4, &advice.reason));
        text.push_str(&page.paragraph(WORD + 4, &format!("to do: {}", advice.fix)));
    }
    text.push('\n');
    text.push_str(&page.paint(Ink::Title, "runs"));
    text.push('\n');
    for it in &report.examinations {
        let (ink, word) = word(it.result);
        let kind = wording::word(&it.kind);
        text.push_str(&format!("  {}  {kind}: {}\n", page.paint(ink, &format!("{word:<WORD$}")), it.kind.want()));
        for seen in &it.seen {
            text.push_str(&page.paragraph(WORD + 4, seen));
        }
        if let Some(directory) = it.directory.as_ref().filter(|_| it.result != Outcome::Good) {
            let directory = directory.strip_prefix(page.here).unwrap_or(directory);
            text.push_str(&page.paragraph(WORD + 4, &format!("history: {}", directory.display())));
        }
    }
    let exit = report.exit();
    text.push_str(&format!("\nexit {}: {}\n", exit.code(), wording::exit(exit)));
    text
}

fn word(result: Outcome) -> (Ink, &'static str) {
    match result {
        Outcome::Good => (Ink::Good, "good"),
        Outcome::Broken => (Ink::Bad, "BROKEN"),
        Outcome::Bad => (Ink::Bad, "BAD"),
        Outcome::Error => (Ink::Unknown, "error"),
        Outcome::Undecided => (Ink::Unknown, "undecided"),
        Outcome::Unavailable => (Ink::Attention, "unavailable"),
        Outcome::NotRun => (Ink::Faint, "not run"),
    }
}

/// A line per run, and one per advice.
fn markdown(report: &DoctorReport) -> String {
    let mut text = String::from("| run | result | what was seen |\n|---|---|---|\n");
    for it in &report.examinations {
        let (_, word) = word(it.result);
        text.push_str(&format!(
            "| {} | {word} | {} |\n",
            wording::word(&it.kind),
            it.seen.join("; ").replace('|', "\\|")
        ));
    }
    for advice in &report.advice {
        text.push_str(&format!("\n- `{}`: {}; to do: {}\n", advice.key, advice.reason, advice.fix));
    }
    text
}

/// One case per run; the advice, which fails nothing, is the suite's output.
fn junit(report: &DoctorReport) -> String {
    let mut suite = TestSuite::new(report.target.as_str());
    for it in &report.examinations {
        let mut case = TestCase::new(wording::word(&it.kind), status(it));
        case.set_classname("doctor");
        suite.add_test_case(case);
    }
    let advice: Vec<String> =
        report.advice.iter().map(|it| format!("{}: {}; to do: {}", it.key, it.reason, it.fix)).collect();
    if !advice.is_empty() {
        suite.set_system_out(advice.join("\n"));
    }
    let mut document = Report::new("unbroken doctor");
    document.add_test_suite(suite);
    super::junit::text(&document)
}

fn status(it: &Examination) -> TestCaseStatus {
    let mut status = match it.result {
        Outcome::Good => return TestCaseStatus::success(),
        Outcome::Broken | Outcome::Bad => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Error | Outcome::Undecided => TestCaseStatus::non_success(NonSuccessKind::Error),
        Outcome::Unavailable | Outcome::NotRun => TestCaseStatus::skipped(),
    };
    status.set_type(wording::word(&it.result)).set_message(it.kind.want()).set_description(it.seen.join("\n"));
    status
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::doctor::Kind;
    use crate::doctor::lint::Advice;
    use crate::report::sample;

    fn report() -> DoctorReport {
        let examination = |kind, result, seen: &str, directory: Option<&str>| Examination {
            kind,
            result,
            seen: vec![seen.to_owned()],
            directory: directory.map(PathBuf::from),
        };
        let mut report = DoctorReport {
            format: 1,
            version: "0.1.0",
            began: "2026-11-22T21:26:00Z".to_owned(),
            seed: 42,
            target: "mine/server".to_owned(),
            machine: sample::clean().machine,
            advice: vec![Advice {
                key: "endpoints.http.echo_header".to_owned(),
                reason: "answers do not say which request they are for".to_owned(),
                fix: "name the header here".to_owned(),
            }],
            examinations: vec![
                examination(
                    Kind::Baseline,
                    Outcome::Good,
                    "life/nothing-left: no process, no listening socket and no socket file remained",
                    None,
                ),
                examination(
                    Kind::NoRestart,
                    Outcome::Bad,
                    "handoff/took-over: version 2 answered first at 1.032 s",
                    Some("/home/you/server/target/unbroken/1"),
                ),
                examination(
                    Kind::StopStart,
                    Outcome::NotRun,
                    "it is stopped by a command, whose end need not be the target's",
                    None,
                ),
            ],
            exit: 0,
        };
        report.exit = report.exit().code();
        report
    }

    #[test]
    fn the_report_is_the_stored_text() {
        let page = Page { width: 110, colour: false, here: Path::new("/home/you/server") };
        let got = render(&report(), Format::Terminal, &page);
        assert!(got == include_str!("testdata/doctor.txt"), "the report changed; it is now:\n{got}");
        let got = render(&report(), Format::Junit, &page);
        assert!(got == include_str!("testdata/doctor.xml"), "the report changed; it is now:\n{got}");
    }
}

//! JUnit XML, which servers of continuous integration read: one suite per target, one case per check and scenario.
//!
//! A failure here is one to the exit code, too: one that is known, or a SHOULD that warns, is a success whose output says
//! so. What could not be told is an error; what was not judged is skipped, with its reason.

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::wording;
use crate::check;
use crate::plan::NotRun;
use crate::summary::{Disposition, Located, Row, ScenarioVerdict, Summary, TargetSummary};
use crate::verdict::Verdict;

/// The report as JUnit XML, with a line break at its end.
#[must_use]
pub fn render(summary: &Summary) -> String {
    let mut report = Report::new("unbroken");
    report.add_test_suites(summary.targets.iter().map(|target| suite(summary, target)));
    text(&report)
}

/// The document of a report.
pub(super) fn text(report: &Report) -> String {
    let mut text = report.to_string().expect("a report is written to memory, and its texts hold only what XML can");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn suite(summary: &Summary, target: &TargetSummary) -> TestSuite {
    let mut suite = TestSuite::new(target.target.as_str());
    let machine = &summary.machine;
    // Not the attribute `timestamp`: the one wall-clock time of a report is when all of it began.
    suite.add_properties([
        Property::new("version", summary.version),
        Property::new("began", summary.began.as_str()),
        Property::new("seed", summary.seed.to_string()),
        Property::new("tier", wording::word(&machine.tier)),
        Property::new("kernel", machine.kernel.as_str()),
        Property::new("role", wording::word(&target.role)),
        Property::new("runs", target.runs.to_string()),
    ]);
    for located in &target.broken {
        let what = "it does not work without any restart";
        let status = failure("baseline", what, &told(&[located]));
        suite.add_test_case(case("baseline", &located.scenario, status));
    }
    for row in &target.rows {
        suite.add_test_cases(row.scenarios.iter().map(|it| judged(row, it)));
    }
    for it in &target.not_run {
        let (kind, reason) = match &it.why {
            NotRun::Unsupported { reason } => ("unsupported", reason.clone()),
            NotRun::Unavailable { reason, remedy } => ("unavailable", format!("{reason}; to do: {remedy}")),
        };
        suite.add_test_case(case("not run", &it.scenario, skipped(kind, &reason)));
    }
    for it in &target.unmatched {
        let what = "no check of these runs has the id of this expectation";
        suite.add_test_case(case(&it.check, "expectations", failure("unmatched", what, &it.reason)));
    }
    suite
}

/// One check in one scenario.
fn judged(row: &Row, it: &ScenarioVerdict) -> TestCase {
    let found: Vec<&Located> = row
        .findings
        .iter()
        .filter(|located| located.scenario == it.scenario && Some(located.finding.verdict) == it.verdict)
        .collect();
    let evidence = told(&found);
    let requirement = check::find(row.check).map_or("", |check| check.requirement);
    let reason = row.expectation.as_ref().map_or("", |expectation| expectation.reason.as_str());
    let (status, output) = match (it.verdict, row.disposition) {
        (None, _) => (skipped("unsupported", &row.unsupported), String::new()),
        (Some(Verdict::Inconclusive), _) => (error("inconclusive", &first(&found), &evidence), String::new()),
        (Some(Verdict::Error), _) => (error("error", &first(&found), &evidence), String::new()),
        (Some(_), Disposition::UnexpectedPass) => {
            let what = format!("expected to fail, but passed in {} of {} runs", row.passed, row.of);
            (failure("unexpected-pass", &what, &format!("expected: {reason}\n{evidence}")), String::new())
        }
        (Some(Verdict::Pass), _) => (TestCaseStatus::success(), evidence),
        (Some(Verdict::Fail), Disposition::ExpectedFailure) => {
            (TestCaseStatus::success(), format!("expected failure: {reason}\n{evidence}"))
        }
        (Some(Verdict::Fail), Disposition::Warning) => {
            (TestCaseStatus::success(), format!("warning, a failed SHOULD: {requirement}\n{evidence}"))
        }
        (Some(Verdict::Fail), _) => (failure("fail", requirement, &evidence), String::new()),
    };
    let mut case = case(row.check, &it.scenario, status);
    if !output.is_empty() {
        case.set_system_out(output);
    }
    case
}

fn case(name: &str, scenario: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(scenario);
    case
}

fn failure(kind: &str, message: &str, evidence: &str) -> TestCaseStatus {
    non_success(NonSuccessKind::Failure, kind, message, evidence)
}

fn error(kind: &str, message: &str, evidence: &str) -> TestCaseStatus {
    non_success(NonSuccessKind::Error, kind, message, evidence)
}

fn non_success(kind: NonSuccessKind, ty: &str, message: &str, evidence: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(ty).set_message(message).set_description(evidence);
    status
}

fn skipped(kind: &str, reason: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    // In the message too: many readers show nothing else of a skipped case.
    status.set_type(kind).set_message(format!("{kind}: {reason}"));
    status
}

fn first(found: &[&Located]) -> String {
    let text = found.first().and_then(|it| it.finding.evidence.first());
    text.map_or_else(String::new, |it| it.text.clone())
}

/// All evidence, run by run, each with the directory where its history is.
fn told(found: &[&Located]) -> String {
    let mut text = String::new();
    for it in found {
        for evidence in &it.finding.evidence {
            text.push_str(&evidence.text);
            text.push('\n');
        }
        // The directory of a passed run is usually gone.
        if it.finding.verdict != Verdict::Pass {
            text.push_str(&format!("history of run {}: {}\n", it.run, it.directory.display()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_report_is_the_stored_text() {
        let got = render(&sample::summary());
        assert!(got == include_str!("testdata/junit.xml"), "the report changed; it is now:\n{got}");
    }

    #[test]
    fn what_xml_cannot_hold_does_not_reach_it() {
        let mut summary = sample::clean();
        summary.targets[0].rows[0].findings[0].finding.evidence[0].text = "\u{1b}[31mred\u{0} <&> red".to_owned();
        let text = render(&summary);
        assert!(text.contains("red &lt;&amp;> red") || text.contains("red &lt;&amp;&gt; red"), "{text}");
    }

    #[test]
    fn what_is_as_expected_is_no_failure() {
        let text = render(&sample::clean());
        assert!(text.contains(r#"failures="0" errors="0""#), "{text}");
    }
}

//! An entry for everything of a target that is not a plain pass, the worst first.

use super::entry::Entry;
use super::history::{history, numbered};
use super::page::Page;
use super::table::ink;
use crate::check::{self, Check};
use crate::expectation::Expectation;
use crate::machine::Tier;
use crate::report::wording;
use crate::summary::{Disposition, Located, Row, Summary, TargetSummary};
use crate::verdict::{Evidence, Verdict};

/// Lines of evidence of one finding; the rest stands in the history.
const EVIDENCE_MAX: usize = 8;

/// The order of the entries: what needs a reader first.
const ORDER: [Disposition; 6] = [
    Disposition::Failure,
    Disposition::UnexpectedPass,
    Disposition::Error,
    Disposition::Warning,
    Disposition::Inconclusive,
    Disposition::ExpectedFailure,
];

/// All entries of a target.
pub(super) fn problems(summary: &Summary, target: &TargetSummary, page: &Page<'_>) -> String {
    let writer = Writer { summary, target, page };
    let mut text = writer.broken();
    for disposition in ORDER {
        for row in target.rows.iter().filter(|row| row.disposition == disposition) {
            text.push_str(&writer.row(row));
        }
    }
    text
}

struct Writer<'a> {
    summary: &'a Summary,
    target: &'a TargetSummary,
    page: &'a Page<'a>,
}

impl Writer<'_> {
    fn broken(&self) -> String {
        let mut text = String::new();
        for (scenario, located) in by_scenario(&self.target.broken.iter().collect::<Vec<_>>()) {
            let place = self.place(scenario, located[0]);
            let entry = Entry::new(self.page, (ink(Disposition::Failure), "BROKEN"), "", &place)
                .line("meaning", "It does not work without any restart, so nothing can be said of its restarts.");
            text.push_str(&self.with_evidence(entry, &located).finish());
        }
        text
    }

    /// One entry per scenario in which the row's verdict was found.
    fn row(&self, row: &Row) -> String {
        let Some(verdict) = row.verdict else { return String::new() };
        // What cannot be told because nothing works is told once, by the entry of what does not work.
        let said = |it: &Located| {
            let same = |broken: &Located| broken.scenario == it.scenario && broken.run == it.run;
            verdict == Verdict::Inconclusive && self.target.broken.iter().any(same)
        };
        let of_verdict = row.findings.iter().filter(|it| it.finding.verdict == verdict);
        let found: Vec<&Located> = of_verdict.filter(|it| !said(it)).collect();
        if row.disposition == Disposition::UnexpectedPass {
            return self.unexpected_pass(row);
        }
        by_scenario(&found).into_iter().map(|(scenario, located)| self.located(row, scenario, &located)).collect()
    }

    fn located(&self, row: &Row, scenario: &str, located: &[&Located]) -> String {
        let place = self.place(scenario, located[0]);
        let entry = Entry::new(self.page, (ink(row.disposition), word(row.disposition)), row.check, &place);
        let entry = requirement(entry, check::find(row.check));
        let entry = match (&row.expectation, row.disposition) {
            (Some(expectation), Disposition::ExpectedFailure) => expected(entry, expectation),
            (Some(expectation), Disposition::Failure) => entry.line("expected", &unlike(expectation)),
            _ => entry,
        };
        let entry = self.with_evidence(entry, located);
        let entry = match row.disposition {
            Disposition::Inconclusive => entry.lines("to do", &self.remedies(row)),
            Disposition::Error => {
                entry.line("to do", "Nothing is said of the target: mend the environment and run again.")
            }
            _ => entry,
        };
        entry.line("see", &format!("unbroken explain {}", row.check)).finish()
    }

    fn unexpected_pass(&self, row: &Row) -> String {
        let entry =
            Entry::new(self.page, (ink(row.disposition), word(row.disposition)), row.check, &self.target.target);
        let entry = requirement(entry, check::find(row.check));
        let entry = match &row.expectation {
            Some(expectation) => expected(entry, expectation),
            None => entry,
        };
        entry
            .line("but", &format!("it passed in {} of {} runs", row.passed, row.of))
            .line("to do", "If it is mended, take the expectation away; if chance decides, it is `may-fail`.")
            .line("see", &format!("unbroken explain {}", row.check))
            .finish()
    }

    /// Evidence, runs and history of findings of one scenario: the first of each failure class is shown.
    fn with_evidence<'e>(&self, entry: Entry<'e>, located: &[&Located]) -> Entry<'e> {
        let mut shown: Vec<&Located> = Vec::new();
        for it in located {
            if shown.iter().all(|seen| seen.finding.class != it.finding.class) {
                shown.push(it);
            }
        }
        let evidence: Vec<&Evidence> =
            shown.iter().flat_map(|it| it.finding.evidence.iter().take(EVIDENCE_MAX)).collect();
        let mut texts: Vec<String> = evidence.iter().map(|it| it.text.clone()).collect();
        let hidden: usize = shown.iter().map(|it| it.finding.evidence.len().saturating_sub(EVIDENCE_MAX)).sum();
        if hidden > 0 {
            texts.push(format!("… and {hidden} more lines: --report json=PATH has them all"));
        }
        let mut entry = entry.lines("evidence", &texts);
        let runs = runs(located);
        if self.target.runs > 1 {
            let count = format!("in {} of {} runs: {}", runs.len(), self.target.runs, numbered("run", &runs));
            entry = entry.line("found", &count);
        } else if located.len() > shown.len() {
            entry = entry.line("found", &format!("{} times in this run", located.len()));
        }
        for it in &shown {
            let of: Vec<&Evidence> = it.finding.evidence.iter().take(EVIDENCE_MAX).collect();
            entry = entry.lines("history", &history(&it.directory, &of, self.page));
        }
        entry
    }

    fn place(&self, scenario: &str, first: &Located) -> String {
        let run = if self.target.runs > 1 { format!(" · run {}", first.run) } else { String::new() };
        format!("{} · {scenario}{run}", self.target.target)
    }

    /// What would let the run decide: the causes are those that can take a pass away.
    fn remedies(&self, row: &Row) -> Vec<String> {
        let Some(check) = check::find(row.check) else { return Vec::new() };
        let mut remedies = Vec::new();
        if !self.target.broken.is_empty() {
            remedies.push("First make the target work without a restart.".to_owned());
        }
        let took_over = check::handoff::took_over::CHECK.id;
        // One that is inconclusive itself was no better off: its remedy is this row's.
        let stayed = |it: &Row| it.check == took_over && it.verdict == Some(Verdict::Fail);
        if row.check != took_over && self.target.rows.iter().any(stayed) {
            remedies.push(format!("First make {took_over} pass: without it nothing of the handoff is proven."));
        }
        if self.summary.machine.tier == Tier::C && check.unproven_bare.is_some() {
            remedies.push("Run as root (tier A), or where users may make namespaces (tier B).".to_owned());
        }
        if remedies.is_empty() {
            remedies.extend(check.needs.iter().filter_map(|need| wording::witness_remedy(*need)).map(str::to_owned));
            remedies.dedup();
        }
        if remedies.is_empty() {
            remedies.push("Give the machine to the run alone; the run's directory shows what was missing.".to_owned());
        }
        remedies
    }
}

fn word(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Failure => "FAIL",
        Disposition::UnexpectedPass => "UNEXPECTED PASS",
        Disposition::Error => "ERROR",
        Disposition::Warning => "WARN",
        Disposition::Inconclusive => "INCONCLUSIVE",
        Disposition::ExpectedFailure => "EXPECTED",
        Disposition::Passed => "PASS",
        Disposition::Unsupported => "NOT CLAIMED",
    }
}

fn requirement<'e>(entry: Entry<'e>, check: Option<&'static Check>) -> Entry<'e> {
    match check {
        Some(check) => entry.line("requirement", check.requirement).line("source", check.source),
        None => entry,
    }
}

fn expected<'e>(entry: Entry<'e>, expectation: &Expectation) -> Entry<'e> {
    let often = match &expectation.observed {
        Some(observed) => format!("{}, seen in {observed}", wording::word(&expectation.kind)),
        None => wording::word(&expectation.kind),
    };
    entry
        .line("expected", &format!("{often}{}: {}", expectation.scope(), expectation.reason))
        .line("upstream", expectation.upstream.as_deref().unwrap_or_default())
}

/// Why a failure is unexpected although there is an expectation of one.
fn unlike(expectation: &Expectation) -> String {
    match expectation.class {
        Some(class) => format!("only a failure of class {class}{}: {}", expectation.scope(), expectation.reason),
        None if !expectation.scenarios.is_empty() => {
            format!("only a failure{}: {}", expectation.scope(), expectation.reason)
        }
        None => format!(
            "{}, but chance does not decide this check: {}",
            wording::word(&expectation.kind),
            expectation.reason
        ),
    }
}

/// Located findings grouped by scenario, in the order of their first one.
fn by_scenario<'a>(located: &[&'a Located]) -> Vec<(&'a str, Vec<&'a Located>)> {
    let mut groups: Vec<(&str, Vec<&Located>)> = Vec::new();
    for it in located {
        match groups.iter_mut().find(|(scenario, _)| *scenario == it.scenario) {
            Some((_, group)) => group.push(it),
            None => groups.push((&it.scenario, vec![it])),
        }
    }
    groups
}

fn runs(located: &[&Located]) -> Vec<u32> {
    let mut runs: Vec<u32> = located.iter().map(|it| it.run).collect();
    runs.sort_unstable();
    runs.dedup();
    runs
}

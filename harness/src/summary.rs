//! Outcomes merged per target, set against the expectations, and boiled down to an exit code.
//!
//! Worst wins per check; all findings stay. Runs are repeated, never retried: a check says how many of N runs passed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::check::{self, Check};
use crate::expectation::{Expectation, ExpectationKind};
use crate::judge::{Baseline, Outcome, Status};
use crate::machine::Machine;
use crate::manifest::Role;
use crate::measure::{Measure, Slopes, slopes};
use crate::plan::NotRun;
use crate::verdict::{Finding, Level, Verdict};

/// The commit that this program was built from, as whoever runs it says in `UNBROKEN_COMMIT`: for reports that are kept.
#[must_use]
pub fn commit() -> Option<String> {
    std::env::var("UNBROKEN_COMMIT").ok().filter(|commit| !commit.is_empty())
}

/// The result of a whole invocation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Version of this program.
    pub version: &'static str,
    /// The commit that it was built from, where [`commit`] knows it.
    pub commit: Option<String>,
    /// When it began, RFC 3339 in UTC: the only wall-clock time of a report.
    pub began: String,
    /// The machine.
    pub machine: Machine,
    /// Seed of the random choices.
    pub seed: u64,
    /// One entry per target.
    pub targets: Vec<TargetSummary>,
}

/// The result of one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetSummary {
    /// Its name.
    pub target: String,
    /// Its role.
    pub role: Role,
    /// How often each scenario was run.
    pub runs: u32,
    /// Why it does not work without any restart, if so, and the scenario that showed it.
    pub broken: Vec<Located>,
    /// One row per check, in the order of the catalogue.
    pub rows: Vec<Row>,
    /// Scenarios that were not run, and why.
    pub not_run: Vec<NotRunScenario>,
    /// Expectations that no check of these runs could match.
    pub unmatched: Vec<Expectation>,
    /// Figures of every upgrade.
    pub measures: Vec<LocatedMeasures>,
}

/// The merged result of one check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its id.
    pub check: &'static str,
    /// Its level.
    pub level: Level,
    /// Worst over all runs; `None` when the target does not claim it.
    pub verdict: Option<Verdict>,
    /// Why it does not apply; empty when it was judged.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unsupported: String,
    /// In how many runs it passed.
    pub passed: u32,
    /// Of how many.
    pub of: u32,
    /// What that means.
    pub disposition: Disposition,
    /// The expectation that it was set against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expectation: Option<Expectation>,
    /// Its verdict scenario by scenario, in the order of the runs.
    pub scenarios: Vec<ScenarioVerdict>,
    /// All findings that are not a plain pass, and one pass.
    pub findings: Vec<Located>,
}

/// The result of one check in one scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScenarioVerdict {
    /// The scenario.
    pub scenario: String,
    /// Worst over all runs; `None` when the target does not claim the check.
    pub verdict: Option<Verdict>,
}

/// A finding and where it was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Located {
    /// The scenario.
    pub scenario: String,
    /// The run, counted from 1.
    pub run: u32,
    /// The run's directory, where its history is kept.
    pub directory: PathBuf,
    /// The finding.
    pub finding: Finding,
}

/// Figures and where they were taken.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LocatedMeasures {
    /// The scenario.
    pub scenario: String,
    /// The run, counted from 1.
    pub run: u32,
    /// One entry per upgrade.
    pub upgrades: Vec<Measure>,
    /// How they grow, where there were many upgrades with a look at rest after each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slopes: Option<Slopes>,
}

/// A scenario that was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotRunScenario {
    /// Its name.
    pub scenario: String,
    /// Why.
    pub why: NotRun,
}

/// What a result means for the invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disposition {
    /// Passed, and nothing else was expected.
    Passed,
    /// Not claimed.
    Unsupported,
    /// Failed as its expectation says.
    ExpectedFailure,
    /// A SHOULD that failed: a warning.
    Warning,
    /// Could not be told.
    Inconclusive,
    /// Harness or environment broke.
    Error,
    /// Passed although its expectation says that it fails.
    UnexpectedPass,
    /// Failed.
    Failure,
}

/// One judged run of one scenario.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The run, counted from 1.
    pub run: u32,
    /// Where its history is.
    pub directory: PathBuf,
    /// What it says.
    pub outcome: Outcome,
}

/// What the merging needs to know beside the outcomes.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The target's name.
    pub target: &'a str,
    /// Its role.
    pub role: Role,
    /// Runs of each scenario.
    pub runs: u32,
    /// A failed SHOULD counts as a failed MUST.
    pub strict: bool,
    /// The target's known failures.
    pub expectations: &'a [Expectation],
    /// Everything was selected: an expectation that matches nothing is a failure.
    pub complete: bool,
}

/// Merges the judged runs of one target.
#[must_use]
pub fn merge(judged: &[Judged], not_run: Vec<NotRunScenario>, terms: Terms<'_>) -> TargetSummary {
    let rows: Vec<Row> = check::CHECKS.iter().filter_map(|check| row(check, judged, terms)).collect();
    let broken = judged.iter().flat_map(|it| match &it.outcome.baseline {
        Baseline::Clean | Baseline::Doubtful(_) => None,
        Baseline::Broken(evidence) => Some(locate(it, &Finding::fail(evidence.clone()))),
    });
    let ran = |it: &Expectation| judged.iter().any(|judged| it.concerns(&judged.outcome.scenario));
    let judges = |it: &Expectation| {
        let of_check = rows.iter().filter(|row| row.check == it.check);
        of_check.flat_map(|row| &row.scenarios).any(|seen| it.concerns(&seen.scenario))
    };
    let unmatched = |it: &&Expectation| ran(it) && !judges(it);
    TargetSummary {
        target: terms.target.to_owned(),
        role: terms.role,
        runs: terms.runs,
        broken: broken.collect(),
        not_run,
        unmatched: if terms.complete && !judged.is_empty() {
            terms.expectations.iter().filter(unmatched).cloned().collect()
        } else {
            Vec::new()
        },
        measures: judged
            .iter()
            .filter(|it| !it.outcome.measures.is_empty())
            .map(|it| LocatedMeasures {
                scenario: it.outcome.scenario.clone(),
                run: it.run,
                upgrades: it.outcome.measures.clone(),
                slopes: slopes(&it.outcome.measures),
            })
            .collect(),
        rows,
    }
}

fn locate(judged: &Judged, finding: &Finding) -> Located {
    Located {
        scenario: judged.outcome.scenario.clone(),
        run: judged.run,
        directory: judged.directory.clone(),
        finding: finding.clone(),
    }
}

fn row(check: &'static Check, judged: &[Judged], terms: Terms<'_>) -> Option<Row> {
    let (mut per_run, mut cells) = (BTreeMap::new(), Vec::new());
    let mut unsupported = String::new();
    let mut findings: Vec<Located> = Vec::new();
    let mut scenarios: Vec<ScenarioVerdict> = Vec::new();
    for it in judged {
        for result in it.outcome.results.iter().filter(|result| result.check == check.id) {
            let verdict = match &result.status {
                Status::Verdict(verdict) => {
                    let worst: &mut Verdict = per_run.entry(it.run).or_insert(*verdict);
                    *worst = worst.worst(*verdict);
                    cells.push((it.outcome.scenario.as_str(), *verdict));
                    Some(*verdict)
                }
                Status::Unsupported(reason) => {
                    unsupported.clone_from(reason);
                    None
                }
            };
            match scenarios.iter_mut().find(|seen| seen.scenario == it.outcome.scenario) {
                // No verdict is less than any.
                Some(seen) => seen.verdict = seen.verdict.max(verdict),
                None => scenarios.push(ScenarioVerdict { scenario: it.outcome.scenario.clone(), verdict }),
            }
            findings.extend(result.findings.iter().map(|finding| locate(it, finding)));
        }
    }
    if scenarios.is_empty() {
        return None;
    }
    let verdict = per_run.values().copied().max();
    // One pass is enough to show what was seen; everything else stays.
    let first_pass = findings.iter().position(|it| it.finding.verdict == Verdict::Pass);
    let mut n = 0;
    findings.retain(|it| {
        n += 1;
        it.finding.verdict != Verdict::Pass || Some(n - 1) == first_pass
    });
    // Several ways to fail are several expectations, one a class; that of the class that came is shown, else the first.
    let in_play = |it: &Expectation| scenarios.iter().any(|seen| it.concerns(&seen.scenario));
    let of_check = terms.expectations.iter().filter(|it| it.check == check.id);
    let expected: Vec<Expectation> = of_check.filter(|it| in_play(it)).cloned().collect();
    let failed = |it: &&Located| it.finding.verdict == Verdict::Fail;
    let came = |it: &Expectation| findings.iter().filter(failed).any(|found| foresees(it, found));
    Some(Row {
        check: check.id,
        level: check.level,
        verdict,
        unsupported,
        passed: u32::try_from(per_run.values().filter(|it| **it == Verdict::Pass).count()).unwrap_or(u32::MAX),
        of: u32::try_from(per_run.len()).unwrap_or(u32::MAX),
        disposition: disposition(
            check,
            Verdicts { per_run: &per_run, cells: &cells },
            &findings,
            &expected,
            terms.strict,
        ),
        expectation: expected.iter().find(|it| came(it)).or(expected.first()).cloned(),
        scenarios,
        findings,
    })
}

/// What a check has said of one target.
#[derive(Clone, Copy)]
struct Verdicts<'a> {
    /// The worst one of each run.
    per_run: &'a BTreeMap<u32, Verdict>,
    /// Each one, with its scenario.
    cells: &'a [(&'a str, Verdict)],
}

impl Verdicts<'_> {
    /// It has passed although this says that it always fails: in a run, or in a scenario where one is named.
    fn contradict(self, expectation: &Expectation) -> bool {
        let passed_there =
            |(scenario, verdict): &(&str, Verdict)| *verdict == Verdict::Pass && expectation.concerns(scenario);
        expectation.kind == ExpectationKind::Fail
            && if expectation.scenarios.is_empty() {
                self.per_run.values().any(|verdict| *verdict != Verdict::Fail)
            } else {
                self.cells.iter().any(passed_there)
            }
    }
}

fn disposition(
    check: &Check,
    verdicts: Verdicts<'_>,
    findings: &[Located],
    expected: &[Expectation],
    strict: bool,
) -> Disposition {
    let Some(worst) = verdicts.per_run.values().copied().max() else { return Disposition::Unsupported };
    let by_chance = expected.iter().any(|it| it.kind == ExpectationKind::MayFail);
    let is_contradicted = expected.iter().any(|it| verdicts.contradict(it));
    match worst {
        Verdict::Pass if is_contradicted => Disposition::UnexpectedPass,
        Verdict::Pass => Disposition::Passed,
        // It failed as it may, or would have but for the machine's sake: either is expected.
        Verdict::Inconclusive if by_chance && check.chance && is_excused_as_expected(findings, expected) => {
            Disposition::ExpectedFailure
        }
        Verdict::Inconclusive => Disposition::Inconclusive,
        Verdict::Error => Disposition::Error,
        Verdict::Fail if expected.is_empty() && check.level == Level::Should && !strict => Disposition::Warning,
        Verdict::Fail if !all_foreseen(findings, expected) => Disposition::Failure,
        Verdict::Fail if is_contradicted => Disposition::UnexpectedPass,
        Verdict::Fail if by_chance && !check.chance => Disposition::Failure,
        Verdict::Fail => Disposition::ExpectedFailure,
    }
}

/// Every failure is of a scenario and a class that one of them names; one without names all.
fn all_foreseen(findings: &[Located], expected: &[Expectation]) -> bool {
    findings.iter().filter(|it| it.finding.verdict == Verdict::Fail).all(|it| is_foreseen(it, expected))
}

/// Whatever is not decided is so for the machine's sake, and of such a class.
fn is_excused_as_expected(findings: &[Located], expected: &[Expectation]) -> bool {
    let mut undecided = findings.iter().filter(|it| it.finding.verdict == Verdict::Inconclusive);
    undecided.all(|it| !it.finding.is_open() && is_foreseen(it, expected)) && all_foreseen(findings, expected)
}

fn is_foreseen(located: &Located, expected: &[Expectation]) -> bool {
    expected.iter().any(|it| foresees(it, located))
}

fn foresees(expectation: &Expectation, located: &Located) -> bool {
    expectation.concerns(&located.scenario)
        && (expectation.class.is_none() || expectation.class == located.finding.class)
}

/// Exit codes, stable for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything as expected.
    AsExpected,
    /// An unexpected verdict.
    Unexpected,
    /// Usage or manifest.
    Usage,
    /// Only inconclusive results (or unavailable ones with `--require-all`).
    Inconclusive,
    /// Nothing was selected.
    NothingSelected,
    /// The target does not work without any restart.
    BrokenTarget,
    /// Environment error.
    Environment,
    /// A bug of ours.
    Internal,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::AsExpected => 0,
            Exit::Unexpected => 1,
            Exit::Usage => 2,
            Exit::Inconclusive => 3,
            Exit::NothingSelected => 4,
            Exit::BrokenTarget => 5,
            Exit::Environment => 6,
            Exit::Internal => 70,
        }
    }
}

impl Summary {
    /// The exit code: 5 before 1 before 6 before 3 (70, 2 and 4 are decided before anything ran).
    #[must_use]
    pub fn exit(&self, require_all: bool) -> Exit {
        let rows = || self.targets.iter().flat_map(|target| &target.rows);
        let any = |wanted: &[Disposition]| rows().any(|row| wanted.contains(&row.disposition));
        let unavailable =
            self.targets.iter().flat_map(|it| &it.not_run).any(|it| matches!(it.why, NotRun::Unavailable { .. }));
        let judged = rows().next().is_some();
        if self.targets.iter().any(|target| !target.broken.is_empty()) {
            Exit::BrokenTarget
        } else if any(&[Disposition::Failure, Disposition::UnexpectedPass])
            || self.targets.iter().any(|target| !target.unmatched.is_empty())
        {
            Exit::Unexpected
        } else if any(&[Disposition::Error]) {
            Exit::Environment
        } else if any(&[Disposition::Inconclusive]) || (unavailable && require_all) {
            Exit::Inconclusive
        } else if judged || unavailable {
            Exit::AsExpected
        } else {
            Exit::NothingSelected
        }
    }

    /// Nothing failed, and whatever is not decided is not for the machine's sake: it stood still, or the target lacked a processor.
    #[must_use]
    pub fn is_undecided_for_the_machine(&self) -> bool {
        let rows = self.targets.iter().flat_map(|target| &target.rows);
        let mut undecided = rows.filter(|row| row.disposition == Disposition::Inconclusive);
        let is_excused = |row: &Row| !row.findings.iter().any(|it| it.finding.is_open());
        self.exit(true) == Exit::Inconclusive && undecided.all(is_excused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::CheckResult;
    use crate::machine::Tier;
    use crate::request::FailureClass;

    /// A check that chance does not decide.
    const ID: &str = "drain/stream-intact";

    fn run(run: u32, finding: Finding) -> Judged {
        let verdict = finding.verdict;
        let result =
            CheckResult { check: ID, level: Level::Must, status: Status::Verdict(verdict), findings: vec![finding] };
        let outcome = Outcome {
            target: "t".to_owned(),
            role: Role::Peer,
            scenario: "s".to_owned(),
            tier: Tier::A,
            baseline: Baseline::Clean,
            results: vec![result],
            measures: Vec::new(),
        };
        Judged { run, directory: PathBuf::new(), outcome }
    }

    fn expect(kind: ExpectationKind, class: Option<FailureClass>) -> Expectation {
        Expectation {
            check: ID.to_owned(),
            kind,
            reason: String::new(),
            upstream: None,
            class,
            observed: None,
            scenarios: Vec::new(),
        }
    }

    fn check(judged: &[Judged], expectations: &[Expectation], want: Disposition) {
        let terms = Terms { target: "t", role: Role::Peer, runs: 1, strict: false, expectations, complete: true };
        assert_eq!(merge(judged, Vec::new(), terms).rows[0].disposition, want);
    }

    fn refused() -> Finding {
        Finding::fail(Vec::new()).class(FailureClass::Refused)
    }

    #[test]
    fn worst_wins_over_runs() {
        check(&[run(1, Finding::pass("")), run(2, refused())], &[], Disposition::Failure);
        check(&[run(1, Finding::pass("")), run(2, Finding::pass(""))], &[], Disposition::Passed);
    }

    #[test]
    fn a_row_tells_its_scenarios_apart() {
        let mut elsewhere = run(1, Finding::pass(""));
        elsewhere.outcome.scenario = "other".to_owned();
        let terms = Terms { target: "t", role: Role::Peer, runs: 2, strict: false, expectations: &[], complete: true };
        let judged = [run(1, Finding::pass("")), elsewhere, run(2, refused())];
        let told = |scenario: &str, verdict| ScenarioVerdict { scenario: scenario.to_owned(), verdict: Some(verdict) };
        let want = vec![told("s", Verdict::Fail), told("other", Verdict::Pass)];
        assert_eq!(merge(&judged, Vec::new(), terms).rows[0].scenarios, want);
    }

    #[test]
    fn an_expected_failure_that_passes_is_unexpected() {
        let expected = [expect(ExpectationKind::Fail, None)];
        check(&[run(1, Finding::pass(""))], &expected, Disposition::UnexpectedPass);
        check(&[run(1, Finding::pass("")), run(2, refused())], &expected, Disposition::UnexpectedPass);
        check(&[run(1, refused())], &expected, Disposition::ExpectedFailure);
    }

    #[test]
    fn a_failure_of_another_class_is_a_failure() {
        let expected = [expect(ExpectationKind::Fail, Some(FailureClass::Hung))];
        check(&[run(1, refused())], &expected, Disposition::Failure);
    }

    #[test]
    fn an_expectation_of_one_scenario_says_nothing_of_the_others() {
        let in_scenario = |name: &str, finding| {
            let mut judged = run(1, finding);
            name.clone_into(&mut judged.outcome.scenario);
            judged
        };
        let of = |name: &str| {
            let scenarios = vec![name.to_owned()];
            [Expectation { scenarios, ..expect(ExpectationKind::Fail, None) }]
        };
        let (pass, fail) = (|| Finding::pass(""), || in_scenario("a", refused()));
        check(&[fail(), in_scenario("b", pass())], &of("a"), Disposition::ExpectedFailure);
        check(&[in_scenario("a", pass()), in_scenario("b", pass())], &of("a"), Disposition::UnexpectedPass);
        check(&[in_scenario("b", pass())], &of("a"), Disposition::Passed);
        check(&[fail(), in_scenario("b", refused())], &of("a"), Disposition::Failure);
        check(&[fail()], &of("b"), Disposition::Failure);
    }

    #[test]
    fn one_expectation_a_class_foresees_several_classes() {
        let of = |class| expect(ExpectationKind::Fail, Some(class));
        let expected = [of(FailureClass::Hung), of(FailureClass::Refused)];
        check(&[run(1, refused())], &expected, Disposition::ExpectedFailure);
    }

    #[test]
    fn may_fail_is_only_for_checks_decided_by_chance() {
        check(&[run(1, refused())], &[expect(ExpectationKind::MayFail, None)], Disposition::Failure);
    }

    #[test]
    fn what_may_fail_is_as_expected_when_the_machine_leaves_it_open_and_only_then() {
        // A check that chance decides.
        let id = "drain/keepalive-swallowed";
        let check = |excused: bool, class, want| {
            let mut judged = run(1, Finding { excused, ..Finding::inconclusive("").class(class) });
            judged.outcome.results[0].check = id;
            let expectation = expect(ExpectationKind::MayFail, Some(FailureClass::Unread));
            check(&[judged], &[Expectation { check: id.to_owned(), ..expectation }], want);
        };
        check(true, FailureClass::Unread, Disposition::ExpectedFailure);
        check(true, FailureClass::Refused, Disposition::Inconclusive);
        check(false, FailureClass::Unread, Disposition::Inconclusive);
    }

    #[test]
    fn error_is_never_excused() {
        check(&[run(1, Finding::error(""))], &[expect(ExpectationKind::Fail, None)], Disposition::Error);
    }
}

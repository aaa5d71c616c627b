//! An examination of one target: can the suite judge it, and would it see a failure there?
//!
//! - [`lint`] reads the manifest for what it could say and does not
//! - `control` makes the runs: the target without any restart must work, and with a restart that does nothing, or that
//!   lets nobody listen for a while, it must not pass. A suite that passes those cannot be believed on this target

mod control;
pub mod lint;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::check;
use crate::date;
use crate::doctor::control::Control;
use crate::doctor::lint::Advice;
use crate::machine::Machine;
use crate::manifest::Profile;
use crate::plan::NotRun;
use crate::progress::{self, Progress};
use crate::run::Builds;
use crate::scenario::Scenario;
use crate::summary::{Exit, Located, TargetSummary};
use crate::target::Target;
use crate::verdict::Verdict;
use crate::verify::{self, Subject, VerifyError, verify};
use crate::wait::Stop;

/// The number of the JSON form.
pub const FORMAT: u32 = 1;

/// What to examine, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The target.
    pub target: Target,
    /// The scenario under which a bad restart must show: upgrades under load.
    pub upgrades: Scenario,
    /// The machine as probed.
    pub machine: Machine,
    /// Seed of the random choices.
    pub seed: u64,
    /// Where the runs' directories go.
    pub directory: PathBuf,
}

/// What an examination found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DoctorReport {
    /// The number of the format.
    pub format: u32,
    /// Version of this program.
    pub version: &'static str,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// Seed of the random choices.
    pub seed: u64,
    /// The target's name.
    pub target: String,
    /// The machine.
    pub machine: Machine,
    /// What the manifest could say and does not.
    pub advice: Vec<Advice>,
    /// The runs: first the baseline, then the controls.
    pub examinations: Vec<Examination>,
    /// What the command ends with.
    pub exit: u8,
}

/// One run of the examination.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Examination {
    /// What it is.
    pub kind: Kind,
    /// What came out.
    pub result: Outcome,
    /// What was seen, or why it was not run.
    pub seen: Vec<String>,
    /// Where the run's history is, where it was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
}

/// What a run of the examination is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Start, load without a restart, stop, look for leftovers: must work.
    Baseline,
    /// A restart that does nothing: must not pass.
    NoRestart,
    /// Stop, then start: must not pass.
    StopStart,
}

/// What came out of a run of the examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it must be.
    Good,
    /// The target does not work without any restart.
    Broken,
    /// Not as it must be: the target left something behind, or the suite passed a control.
    Bad,
    /// Harness or environment broke.
    Error,
    /// The run did not give the evidence.
    Undecided,
    /// This machine lacks something.
    Unavailable,
    /// Does not apply to this target.
    NotRun,
}

impl Kind {
    /// What must come out.
    #[must_use]
    pub fn want(self) -> &'static str {
        match self {
            Kind::Baseline => "works without any restart, and leaves nothing behind",
            Kind::NoRestart => "a restart that does nothing must not pass",
            Kind::StopStart => "stop, then start, must not pass",
        }
    }
}

impl DoctorReport {
    /// The exit code as a meaning.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let any = |wanted: Outcome| self.examinations.iter().any(|it| it.result == wanted);
        if any(Outcome::Broken) {
            Exit::BrokenTarget
        } else if any(Outcome::Bad) {
            Exit::Unexpected
        } else if any(Outcome::Error) {
            Exit::Environment
        } else if any(Outcome::Undecided) || any(Outcome::Unavailable) {
            Exit::Inconclusive
        } else {
            Exit::AsExpected
        }
    }
}

/// Examines a target: lint, baseline, controls. A target that is broken without a restart gets no controls.
///
/// # Errors
/// As [`verify`](crate::verify::verify()).
pub fn examine(request: &Request, stop: &Stop, progress: progress::Listener<'_>) -> Result<DoctorReport, VerifyError> {
    let began = date::now_rfc3339();
    let controls = control::controls(&request.target, &request.upgrades);
    let of = controls.len();
    let builds = Arc::new(Builds::below(&request.directory));
    let mut examinations: Vec<Examination> = Vec::new();
    for (n, control) in controls.into_iter().enumerate() {
        if let Some(first) = examinations.first().filter(|it| it.result != Outcome::Good) {
            let seen = vec![match first.result {
                Outcome::Unavailable => "what the baseline lacks, it lacks, too".to_owned(),
                _ => "first the baseline has to be good".to_owned(),
            }];
            examinations.push(Examination { kind: control.kind, result: Outcome::NotRun, seen, directory: None });
            continue;
        }
        // Each control is a verification of its own; to the user they are one piece of work.
        let mut numbered = |step| {
            progress(match step {
                Progress::RunBegan { target, scenario, .. } => {
                    Progress::RunBegan { target, scenario, number: n + 1, of }
                }
                other => other,
            });
        };
        examinations.push(one(request, control, &builds, stop, &mut numbered)?);
    }
    let mut report = DoctorReport {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION"),
        began,
        seed: request.seed,
        target: request.target.name.clone(),
        machine: request.machine.clone(),
        advice: lint::lint(&request.target),
        examinations,
        exit: 0,
    };
    report.exit = report.exit().code();
    Ok(report)
}

fn one(
    request: &Request,
    control: Control,
    builds: &Arc<Builds>,
    stop: &Stop,
    progress: progress::Listener<'_>,
) -> Result<Examination, VerifyError> {
    let kind = control.kind;
    let (target, scenario) = match control.run {
        Ok(run) => run,
        Err(why) => return Ok(Examination { kind, result: Outcome::NotRun, seen: vec![why], directory: None }),
    };
    let verification = verify::Request {
        subjects: vec![Subject { target, expectations: Vec::new() }],
        scenarios: vec![scenario],
        run: Vec::new(),
        skip: Vec::new(),
        runs: 1,
        seed: request.seed,
        strict: false,
        complete: false,
        keep: false,
        jobs: 1,
        builds: Arc::clone(builds),
        directory: request.directory.clone(),
        machine: request.machine.clone(),
    };
    let summary = verify(&verification, stop, progress)?;
    let target = summary.targets.first().expect("one subject gives one summary");
    let (result, seen) = conclude(kind, target);
    let directory = target.broken.iter().chain(target.rows.iter().flat_map(|row| &row.findings));
    let mut directory = directory.map(|it| it.directory.clone()).next().filter(|it| it.is_dir());
    if result == Outcome::Good
        && let Some(directory) = directory.take()
    {
        discard(&directory, &request.directory);
    }
    Ok(Examination { kind, result, seen, directory })
}

/// Removes the directory of a run that went as it must, a failed control's too, and those above it that are empty then.
fn discard(run: &Path, above: &Path) {
    // What cannot be removed stays for the user to see; it makes no result wrong.
    let _kept = fs::remove_dir_all(run);
    for parent in run.ancestors().skip(1).take_while(|it| it.starts_with(above) && *it != above) {
        if fs::remove_dir(parent).is_err() {
            break;
        }
    }
}

/// What a run says of the target, or of the suite.
fn conclude(kind: Kind, target: &TargetSummary) -> (Outcome, Vec<String>) {
    if let Some(not_run) = target.not_run.first() {
        return match &not_run.why {
            NotRun::Unavailable { reason, remedy } => {
                (Outcome::Unavailable, vec![format!("{reason}; to do: {remedy}")])
            }
            NotRun::Unsupported { reason } => (Outcome::NotRun, vec![reason.clone()]),
        };
    }
    if !target.broken.is_empty() {
        return (Outcome::Broken, target.broken.iter().flat_map(texts).collect());
    }
    let with = |verdict: Verdict| -> Vec<String> {
        let rows = target.rows.iter().filter(move |row| row.verdict == Some(verdict));
        let first = |row: &crate::summary::Row| {
            let found = row.findings.iter().find(|it| it.finding.verdict == verdict);
            let text = found.and_then(|it| texts(it).next()).unwrap_or_default();
            format!("{}: {text}", row.check)
        };
        rows.map(first).collect()
    };
    let failed = with(Verdict::Fail);
    let errors = with(Verdict::Error);
    match kind {
        Kind::Baseline if !failed.is_empty() => (Outcome::Bad, failed),
        _ if !errors.is_empty() => (Outcome::Error, errors),
        Kind::Baseline => {
            let undecided = with(Verdict::Inconclusive);
            if undecided.is_empty() { (Outcome::Good, with(Verdict::Pass)) } else { (Outcome::Undecided, undecided) }
        }
        Kind::NoRestart | Kind::StopStart if !failed.is_empty() => (Outcome::Good, failed),
        // Nothing failed. Undecided is no pass, but it shows no failure either.
        Kind::NoRestart | Kind::StopStart => {
            let took_over = check::handoff::took_over::CHECK.id;
            let passed = target.rows.iter().any(|row| row.check == took_over && row.verdict == Some(Verdict::Pass));
            if passed { (Outcome::Bad, with(Verdict::Pass)) } else { (Outcome::Undecided, with(Verdict::Inconclusive)) }
        }
    }
}

fn texts(located: &Located) -> impl Iterator<Item = String> {
    located.finding.evidence.iter().map(|it| it.text.clone())
}

/// Whether a target claims upgrades at all.
fn restarts(target: &Target) -> bool {
    target.profiles.contains(&Profile::Restart) && target.restart.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Role;
    use crate::summary::{Disposition, Row};
    use crate::verdict::Finding;

    fn row(id: &str, finding: Finding) -> Row {
        let check = check::find(id).expect("a check of the catalogue");
        let located = Located { scenario: "s".to_owned(), run: 1, directory: PathBuf::new(), finding: finding.clone() };
        Row {
            check: check.id,
            level: check.level,
            verdict: Some(finding.verdict),
            unsupported: String::new(),
            passed: 0,
            of: 1,
            disposition: Disposition::Passed,
            expectation: None,
            scenarios: Vec::new(),
            findings: vec![located],
        }
    }

    fn check(kind: Kind, rows: Vec<Row>, broken: bool, want: Outcome) {
        let located = |finding| Located { scenario: "s".to_owned(), run: 1, directory: PathBuf::new(), finding };
        let target = TargetSummary {
            target: "t".to_owned(),
            role: Role::Peer,
            runs: 1,
            broken: if broken { vec![located(Finding::fail(Vec::new()))] } else { Vec::new() },
            rows,
            not_run: Vec::new(),
            unmatched: Vec::new(),
            measures: Vec::new(),
        };
        assert_eq!(conclude(kind, &target).0, want);
    }

    fn fail() -> Finding {
        Finding::fail(vec!["seen".into()])
    }

    #[test]
    fn a_baseline_must_work_and_leave_nothing() {
        check(Kind::Baseline, vec![row("life/nothing-left", Finding::pass(""))], false, Outcome::Good);
        check(Kind::Baseline, vec![row("life/nothing-left", fail())], false, Outcome::Bad);
        check(Kind::Baseline, vec![row("life/nothing-left", Finding::inconclusive(""))], false, Outcome::Undecided);
        check(Kind::Baseline, Vec::new(), true, Outcome::Broken);
    }

    #[test]
    fn a_control_that_passes_is_bad() {
        let kind = Kind::NoRestart;
        check(kind, vec![row("handoff/took-over", fail())], false, Outcome::Good);
        check(kind, vec![row("handoff/took-over", Finding::pass(""))], false, Outcome::Bad);
        check(kind, vec![row("handoff/took-over", Finding::inconclusive(""))], false, Outcome::Undecided);
        check(Kind::StopStart, vec![row("handoff/no-refused", Finding::error(""))], false, Outcome::Error);
    }
}

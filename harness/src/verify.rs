//! The pipeline on one screen: plan, execute, judge, merge.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use thiserror::Error;

use crate::check::{self, Check};
use crate::date;
use crate::expectation::Expectation;
use crate::judge::{Status, judge};
use crate::machine::Machine;
use crate::plan::Plan;
use crate::progress::{self, Progress};
use crate::run::store::{self, StoreError};
use crate::run::{Execution, RunError, execute};
use crate::scenario::Scenario;
use crate::summary::{self, Judged, NotRunScenario, Summary, TargetSummary, Terms, merge};
use crate::target::Target;
use crate::verdict::Verdict;
use crate::wait::Stop;

/// A target and its known failures.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The implementation under test.
    pub target: Target,
    /// Its known failures.
    pub expectations: Vec<Expectation>,
}

/// What to verify, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The targets.
    pub subjects: Vec<Subject>,
    /// The scenarios to run against each.
    pub scenarios: Vec<Scenario>,
    /// Ids or prefixes ("handoff", "handoff/no-refused") of the checks to judge; empty for all.
    pub run: Vec<String>,
    /// Ids or prefixes of checks to leave out.
    pub skip: Vec<String>,
    /// How often each scenario is run.
    pub runs: u32,
    /// Seed of the random choices.
    pub seed: u64,
    /// A failed SHOULD counts as a failed MUST.
    pub strict: bool,
    /// Nothing was left out by a selector: an expectation that matches nothing is a failure.
    pub complete: bool,
    /// Keep the directories of passed runs too.
    pub keep: bool,
    /// Where the runs' directories go.
    pub directory: PathBuf,
    /// The machine as probed.
    pub machine: Machine,
}

/// Why nothing could be verified.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// A run could not be had.
    #[error("run {target} · {scenario}")]
    Run {
        /// The target.
        target: String,
        /// The scenario.
        scenario: String,
        /// Why.
        #[source]
        source: RunError,
    },
    /// A saved run could not be read, or its verdicts not written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Verifies targets: plans every target × scenario, executes, judges, and merges.
///
/// # Errors
/// [`VerifyError`] when a command of a manifest cannot be executed, an address is taken, the work is interrupted, or a
/// run's directory cannot be written. Everything else is in the summary.
pub fn verify(request: &Request, stop: &Stop, progress: progress::Listener<'_>) -> Result<Summary, VerifyError> {
    let began = date::now_rfc3339();
    let session = request.directory.join(format!("{}-{}", date::now_compact(), std::process::id()));
    let mut jobs = Jobs { number: 0, of: planned(request), session, request, stop, progress };
    let targets = request.subjects.iter().map(|subject| jobs.subject(subject)).collect::<Result<_, _>>()?;
    // Only goes when no run was kept in it.
    let _kept = fs::remove_dir(&jobs.session);
    Ok(Summary {
        version: env!("CARGO_PKG_VERSION"),
        commit: summary::commit(),
        began,
        machine: request.machine.clone(),
        seed: request.seed,
        targets,
    })
}

/// Judges a saved run again; starts nothing.
///
/// # Errors
/// [`VerifyError::Store`] when the run cannot be read.
pub fn rejudge(directory: &Path, strict: bool, expectations: &[Expectation]) -> Result<Summary, VerifyError> {
    let history = store::read(directory)?;
    let outcome = judge(&history, &|_| true);
    let plan = &history.plan;
    let judged = [Judged { run: 1, directory: directory.to_owned(), outcome }];
    let terms =
        Terms { target: &plan.target.name, role: plan.target.role, runs: 1, strict, expectations, complete: false };
    Ok(Summary {
        version: env!("CARGO_PKG_VERSION"),
        commit: summary::commit(),
        began: history.began.clone(),
        machine: plan.machine.clone(),
        seed: plan.seed,
        targets: vec![merge(&judged, Vec::new(), terms)],
    })
}

/// How many runs there will be.
fn planned(request: &Request) -> usize {
    let pairs = request.subjects.iter().flat_map(|subject| request.scenarios.iter().map(move |it| (subject, it)));
    let runnable = pairs.filter(|(subject, scenario)| {
        wants(request, scenario) && Plan::new(&subject.target, scenario, &request.machine, request.seed).is_ok()
    });
    runnable.count() * usize::try_from(request.runs).expect("u32 fits usize on Linux")
}

/// Whether any check of this scenario is selected.
fn wants(request: &Request, scenario: &Scenario) -> bool {
    scenario.script().checks.iter().filter_map(|id| check::find(id)).any(|check| selected(request, check))
}

/// Whether this check is to be judged.
fn selected(request: &Request, check: &Check) -> bool {
    let matches = |pattern: &String| {
        check.id == pattern
            || check.id.strip_prefix(pattern.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
    };
    (request.run.is_empty() || request.run.iter().any(matches)) && !request.skip.iter().any(matches)
}

/// The runs of one invocation.
struct Jobs<'a> {
    number: usize,
    of: usize,
    session: PathBuf,
    request: &'a Request,
    stop: &'a Stop,
    progress: progress::Listener<'a>,
}

impl Jobs<'_> {
    fn subject(&mut self, subject: &Subject) -> Result<TargetSummary, VerifyError> {
        let request = self.request;
        let mut judged = Vec::new();
        let mut not_run = Vec::new();
        for scenario in request.scenarios.iter().filter(|scenario| wants(request, scenario)) {
            match Plan::new(&subject.target, scenario, &request.machine, request.seed) {
                Err(why) => not_run.push(NotRunScenario { scenario: scenario.script().name.clone(), why }),
                Ok(plan) => {
                    for run in 1..=request.runs {
                        judged.push(self.run(&plan, run)?);
                    }
                }
            }
        }
        let terms = Terms {
            target: &subject.target.name,
            role: subject.target.role,
            runs: request.runs,
            strict: request.strict,
            expectations: &subject.expectations,
            complete: request.complete,
        };
        Ok(merge(&judged, not_run, terms))
    }

    fn run(&mut self, plan: &Plan, run: u32) -> Result<Judged, VerifyError> {
        self.number += 1;
        let (target, scenario) = (plan.target.name.clone(), plan.scenario.script().name.clone());
        (self.progress)(Progress::RunBegan {
            target: target.clone(),
            scenario: scenario.clone(),
            number: self.number,
            of: self.of,
        });
        let directory = self.session.join(&target).join(format!("{scenario}-{run}"));
        let began = Instant::now();
        let execution = Execution { directory: &directory, stop: self.stop, progress: self.progress };
        // Another seed for each run, so that repeated runs are not the same run.
        let plan = Plan { seed: plan.seed.wrapping_add(u64::from(run - 1)), ..plan.clone() };
        if let Err(source) = execute(&plan, execution) {
            // Half a run has no verdict, and nobody asked for its files.
            let unfinished = matches!(source, RunError::Interrupted) && !self.request.keep;
            if source.tells_nothing() || unfinished {
                self.discard(&directory);
            }
            return Err(VerifyError::Run { target, scenario, source });
        }
        // Judged from what is on disk, as `unbroken judge` will: both must say the same.
        let outcome = judge(&store::read(&directory)?, &|check| selected(self.request, check));
        store::write_verdicts(&directory, &outcome)?;
        let verdict = outcome
            .results
            .iter()
            .filter_map(|result| match &result.status {
                Status::Verdict(verdict) => Some(*verdict),
                Status::Unsupported(_) => None,
            })
            .max();
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.progress)(Progress::RunEnded { verdict, took_ms });
        if verdict == Some(Verdict::Pass) && !self.request.keep {
            self.discard(&directory);
        }
        Ok(Judged { run, directory, outcome })
    }

    /// Removes the directory of a passed run, and those above it up to the session's that it leaves empty.
    fn discard(&self, directory: &Path) {
        // What cannot be removed stays for the user to see; it makes no verdict wrong.
        let _kept = fs::remove_dir_all(directory);
        let above = directory.ancestors().skip(1).take_while(|it| it.starts_with(&self.session));
        for parent in above {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
    }
}

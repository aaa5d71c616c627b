//! The pipeline on one screen: plan, execute, judge, merge.

mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::check::{self, Check};
use crate::date;
use crate::expectation::Expectation;
use crate::judge::judge;
use crate::machine::Machine;
use crate::plan::Plan;
use crate::progress;
use crate::run::store::{self, StoreError};
use crate::run::{Builds, RunError};
use crate::scenario::Scenario;
use crate::summary::{self, Judged, NotRunScenario, Summary, Terms, merge};
use crate::target::Target;
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
    /// How many runs at a time; more than one only where each has a network of its own.
    pub jobs: usize,
    /// Where the runs' directories go.
    pub directory: PathBuf,
    /// What their targets have built.
    pub builds: Arc<Builds>,
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
    let mut planned = Vec::new();
    let mut not_run: Vec<Vec<NotRunScenario>> = Vec::new();
    for (subject, it) in request.subjects.iter().enumerate() {
        let mut without = Vec::new();
        for scenario in request.scenarios.iter().filter(|scenario| wants(request, scenario)) {
            match Plan::new(&it.target, scenario, &request.machine, request.seed) {
                Err(why) => without.push(NotRunScenario { scenario: scenario.script().name.clone(), why }),
                Ok(plan) => {
                    planned.extend((1..=request.runs).map(|run| work::Run { subject, run, plan: plan.clone() }))
                }
            }
        }
        not_run.push(without);
    }
    // Before the first run: a build beside one would take its processors.
    for run in &planned {
        let built = request.builds.product(&run.plan.target, request.machine.tier, stop, progress);
        built.map_err(|source| run.error(source))?;
    }
    let judged = work::all(request, &session, planned, stop, progress)?;
    let targets = request.subjects.iter().zip(not_run).zip(judged).map(|((subject, not_run), judged)| {
        let terms = Terms {
            target: &subject.target.name,
            role: subject.target.role,
            runs: request.runs,
            strict: request.strict,
            expectations: &subject.expectations,
            complete: request.complete,
        };
        merge(&judged, not_run, terms)
    });
    Ok(Summary {
        version: env!("CARGO_PKG_VERSION"),
        commit: summary::commit(),
        began,
        machine: request.machine.clone(),
        seed: request.seed,
        targets: targets.collect(),
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

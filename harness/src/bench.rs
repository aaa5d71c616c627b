//! A benchmark of handoffs: the same upgrades of several targets under the same load, and each target's figures beside the others'.
//!
//! A round makes the upgrades of each target once, one target after the other; what the machine does meanwhile it does to all of them.
//! The next round begins with another target. A figure is the median over all upgrades of all rounds, with the interval in which the
//! median of such upgrades lies at 95 % confidence ([`Figure`]), and what is compared are medians: as a ratio, with its interval.

mod figure;
mod timeline;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

pub use figure::{Figure, Kind, Ratio};
use timeline::Timeline;
pub use timeline::{SLICE_MS, Slice};

use crate::date;
use crate::history::History;
use crate::machine::Machine;
use crate::measure::{Measure, measures, milliseconds, percentile};
use crate::plan::{NotRun, Plan};
use crate::progress::{self, Progress};
use crate::request::Pattern;
use crate::run::store::{self, StoreError};
use crate::run::{Builds, Execution, RunError, execute};
use crate::scenario::Scenario;
use crate::summary::{self, Exit};
use crate::target::Target;
use crate::wait::Stop;

/// The number of the JSON form.
pub const FORMAT: u32 = 1;

/// What to measure, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The targets.
    pub targets: Vec<Target>,
    /// Those that the others are held against.
    pub against: Vec<Target>,
    /// The scenario: upgrades in a row under load.
    pub scenario: Scenario,
    /// How often each target's turn comes.
    pub rounds: u32,
    /// Seed of the random choices.
    pub seed: u64,
    /// The machine as probed.
    pub machine: Machine,
    /// Where the runs' directories go.
    pub directory: PathBuf,
    /// What their targets have built.
    pub builds: Arc<Builds>,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchReport {
    /// The number of the format.
    pub format: u32,
    /// Version of this program.
    pub version: &'static str,
    /// Commit of the source, where it is known.
    pub commit: Option<String>,
    /// When it began (UTC).
    pub began: String,
    /// The machine.
    pub machine: Machine,
    /// The scenario.
    pub scenario: String,
    /// Rounds.
    pub rounds: u32,
    /// Seed.
    pub seed: u64,
    /// A line for each target, those that the others are held against at the end.
    pub rows: Vec<Row>,
    /// Targets that could not be run, and why.
    pub not_run: Vec<NotRunTarget>,
    /// What the machine adds to every figure.
    pub noise: Noise,
}

/// What was measured of one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub target: String,
    /// The others are held against it.
    pub is_yardstick: bool,
    /// Upgrades that were triggered.
    pub upgrades: usize,
    /// Those that took over.
    pub took_over: usize,
    /// Requests during these.
    pub requests: usize,
    /// Those of them that failed.
    pub failed: usize,
    /// The figures.
    pub figures: Vec<Figure>,
    /// The answers in the poorest 10 ms after the triggers, as a share of those before them: 1 where no capacity is missing.
    pub poorest: Option<f64>,
    /// What clients saw around the triggers.
    pub timeline: Vec<Slice>,
}

/// A target that could not be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotRunTarget {
    /// Its name.
    pub target: String,
    /// Why.
    pub why: NotRun,
}

/// The noise floor, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Noise {
    /// How late the load was by its own fault: the 99th percentile of a run, and the median of these.
    pub lateness_p99_ms: f64,
    /// How long a server of our own, which is never restarted, took to answer meanwhile: the same.
    pub canary_p99_ms: f64,
    /// The longest of all: what is as long and happened once may be the machine's.
    pub canary_worst_ms: f64,
}

impl Noise {
    fn of(history: &History) -> Noise {
        let answers = history.requests.iter().filter(|it| it.pattern == Pattern::Canary);
        let mut took: Vec<Duration> = answers.map(|it| it.ended.since(it.intended)).collect();
        took.sort_unstable();
        Noise {
            lateness_p99_ms: milliseconds(Duration::from_nanos(history.account.lateness_p99)),
            canary_p99_ms: percentile(&took, 99).unwrap_or_default(),
            canary_worst_ms: took.last().copied().map(milliseconds).unwrap_or_default(),
        }
    }

    fn over(runs: &[Noise]) -> Noise {
        let median = |of: fn(&Noise) -> f64| figure::median(runs.iter().map(of).collect()).unwrap_or_default();
        Noise {
            lateness_p99_ms: median(|it| it.lateness_p99_ms),
            canary_p99_ms: median(|it| it.canary_p99_ms),
            canary_worst_ms: runs.iter().map(|it| it.canary_worst_ms).fold(0.0, f64::max),
        }
    }
}

/// Why nothing could be measured.
#[derive(Debug, Error)]
pub enum BenchError {
    /// A run could not be had.
    #[error("run {target}")]
    Run {
        /// The target.
        target: String,
        /// Why.
        #[source]
        source: RunError,
    },
    /// Harness or environment broke in a run, which then measures nothing.
    #[error("measure {target}: {fault}")]
    Fault {
        /// The target.
        target: String,
        /// What broke.
        fault: String,
    },
    /// A saved run could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BenchReport {
    /// What the command ends with: a benchmark judges nobody.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.rows.is_empty() {
            Exit::NothingSelected
        } else if self.not_run.is_empty() {
            Exit::AsExpected
        } else {
            Exit::Inconclusive
        }
    }
}

/// What was recorded of one target.
#[derive(Default)]
struct Samples {
    /// Of each run.
    upgrades: Vec<Vec<Measure>>,
    timeline: Timeline,
    /// Of each run.
    noise: Vec<Noise>,
}

/// Upgrades in a row as they are benchmarked: the load runs for a while around each trigger, and what the target has is looked at after
/// each. `None` where the scenario makes no upgrades in a row.
#[must_use]
pub fn paced(scenario: &Scenario, upgrades: u32) -> Option<Scenario> {
    scenario.with_paced(upgrades, timeline::PACE)
}

/// Measures.
///
/// # Errors
/// [`BenchError`]; a target that cannot be run on this machine is in the report.
pub fn bench(request: &Request, stop: &Stop, progress: progress::Listener<'_>) -> Result<BenchReport, BenchError> {
    let began = date::now_rfc3339();
    let session = request.directory.join(format!("bench-{}-{}", date::now_compact(), std::process::id()));
    let (mut plans, mut not_run) = (Vec::new(), Vec::new());
    let all = request.targets.iter().map(|it| (it, false)).chain(request.against.iter().map(|it| (it, true)));
    for (target, is_yardstick) in all {
        match Plan::new(target, &request.scenario, &request.machine, request.seed) {
            Ok(plan) => plans.push((plan, is_yardstick)),
            Err(why) => not_run.push(NotRunTarget { target: target.name.clone(), why }),
        }
    }
    // Before the first run: a build beside one would take its processors.
    for (plan, _) in &plans {
        let built = request.builds.product(&plan.target, request.machine.tier, stop, progress);
        built.map_err(|source| BenchError::Run { target: plan.target.name.clone(), source })?;
    }
    let mut samples: Vec<Samples> = plans.iter().map(|_| Samples::default()).collect();
    let of = plans.len() * usize::try_from(request.rounds).unwrap_or(usize::MAX);
    let mut number = 0;
    for round in 0..request.rounds {
        for turn in 0..plans.len() {
            let at = (turn + usize::try_from(round).unwrap_or_default()) % plans.len();
            let plan = Plan { seed: request.seed.wrapping_add(u64::from(round)), ..plans[at].0.clone() };
            number += 1;
            let (target, scenario) = (plan.target.name.clone(), plan.scenario.script().name.clone());
            progress(Progress::RunBegan { target, scenario, number, of });
            let history = one(request, &session, &plan, (round, stop), progress)?;
            samples[at].upgrades.push(measures(&history));
            samples[at].timeline.add(&history);
            samples[at].noise.push(Noise::of(&history));
        }
    }
    let _kept = std::fs::remove_dir(&session);
    let noise: Vec<Noise> = samples.iter().flat_map(|it| it.noise.iter().copied()).collect();
    Ok(BenchReport {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION"),
        commit: summary::commit(),
        began,
        machine: request.machine.clone(),
        scenario: request.scenario.script().name.clone(),
        rounds: request.rounds,
        seed: request.seed,
        rows: figure::rows(plans.iter().zip(&samples).map(|((plan, is_yardstick), samples)| {
            (plan.target.name.as_str(), *is_yardstick, samples.upgrades.as_slice(), samples.timeline.slices())
        })),
        not_run,
        noise: Noise::over(&noise),
    })
}

/// One run; its directory stays only where something broke.
fn one(
    request: &Request,
    session: &std::path::Path,
    plan: &Plan,
    (round, stop): (u32, &Stop),
    progress: progress::Listener<'_>,
) -> Result<History, BenchError> {
    let target = || plan.target.name.clone();
    let directory = session.join(&plan.target.name).join((round + 1).to_string());
    let execution = Execution { directory: &directory, builds: &request.builds, stop, progress };
    execute(plan, execution).map_err(|source| BenchError::Run { target: target(), source })?;
    let history = store::read(&directory)?;
    if let Some(fault) = history.faults.first() {
        return Err(BenchError::Fault { target: target(), fault: fault.clone() });
    }
    let _kept = std::fs::remove_dir_all(&directory);
    for parent in directory.ancestors().skip(1).take_while(|it| it.starts_with(session)) {
        let _other_runs = std::fs::remove_dir(parent);
    }
    Ok(history)
}

//! The defect matrix: proof that every check can fail, and that the clean references do not.
//!
//! A row runs one defect of a reference in one scenario; its cells are the scenario's checks. A cell that must fail has to
//! fail every time; one that may fail says why; one that is withheld must not pass (nothing proves it there); every other
//! must pass. Beside the rows stand the clean references, which must pass, and the null targets, which never may.

mod matrix;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde::Serialize;
use thiserror::Error;

pub use matrix::{Matrix, Row, names};

use self::work::{Bench, Run, Work};
use crate::catalogue::Catalogue;
use crate::date;
use crate::machine::Machine;
use crate::plan::{NotRun, Plan};
use crate::progress::Progress;
use crate::run::store::StoreError;
use crate::run::{Builds, RunError};
use crate::summary;
use crate::wait::Stop;

/// What to test, and how.
#[derive(Debug)]
pub struct Request<'a> {
    /// The embedded catalogue.
    pub catalogue: &'a Catalogue,
    /// The machine as probed.
    pub machine: Machine,
    /// How often each row is run.
    pub runs: u32,
    /// Rows, defects, targets or checks to take; empty for all.
    pub only: Vec<String>,
    /// Seed of the random choices.
    pub seed: u64,
    /// A processor hog runs beside (recorded in the report).
    pub hog: bool,
    /// How many runs at a time; more than one only where each has a network of its own.
    pub jobs: u32,
    /// Where the runs' directories go.
    pub directory: PathBuf,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SelftestReport {
    /// Version of this form.
    pub format: u32,
    /// Version of this program.
    pub version: &'static str,
    /// Commit of the source, where it is known.
    pub commit: Option<String>,
    /// When it began (UTC).
    pub began: String,
    /// The machine.
    pub machine: Machine,
    /// Runs of each row.
    pub runs: u32,
    /// A processor hog ran beside.
    pub hog: bool,
    /// Runs at a time: each is noise for the others.
    pub jobs: u32,
    /// Seed.
    pub seed: u64,
    /// Everything as it must be.
    pub ok: bool,
    /// The rows.
    pub rows: Vec<RowReport>,
}

/// What kind of row it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowKind {
    /// A reference without a defect: everything must pass.
    Clean,
    /// A reference with one defect.
    Defect,
    /// A null target: must never pass.
    Null,
}

/// The result of one row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowReport {
    /// Kind.
    pub kind: RowKind,
    /// The target.
    pub target: String,
    /// The defect; empty without one.
    pub defect: String,
    /// The scenario.
    pub scenario: String,
    /// As it must be.
    pub ok: bool,
    /// In how many runs the row was as it must be.
    pub held: u32,
    /// In how many it was not, and all that was wrong could not be told for the machine's sake.
    #[serde(skip_serializing_if = "is_zero")]
    pub excused: u32,
    /// The cells, by check.
    pub cells: BTreeMap<&'static str, Cell>,
    /// What was wrong, with the directory that shows it.
    pub wrong: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What must be, and how often it was which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// What must be.
    pub must: Must,
    /// Runs with verdict pass.
    pub pass: u32,
    /// Runs with verdict inconclusive.
    pub inconclusive: u32,
    /// Runs with verdict error.
    pub error: u32,
    /// Runs with verdict fail.
    pub fail: u32,
}

/// What a cell must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Must {
    /// Fail, every time.
    Fail,
    /// Fail or pass, for a reason that the matrix gives.
    MayFail,
    /// Neither pass nor fail.
    Withheld,
    /// Not pass (null targets).
    NotPass,
    /// Pass, every time.
    Pass,
}

/// Why the matrix could not be run.
#[derive(Debug, Error)]
pub enum SelftestError {
    /// The matrix does not fit the catalogue.
    #[error("understand the defect matrix: {0}")]
    Matrix(String),
    /// A run could not be had.
    #[error("run {row}")]
    Run {
        /// The row.
        row: String,
        /// Why.
        #[source]
        source: RunError,
    },
    /// A saved run could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs the matrix.
///
/// # Errors
/// [`SelftestError`]; a row that is not as it must be is in the report.
pub fn run(
    request: &Request<'_>,
    stop: &Stop,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<SelftestReport, SelftestError> {
    let began = date::now_rfc3339();
    let mut jobs = matrix::jobs(request.catalogue)?;
    jobs.retain(|job| request.only.is_empty() || request.only.iter().any(|word| job.concerns(word)));
    // A clean reference that does not claim what a scenario needs has no row there.
    jobs.retain(|job| {
        let plan = Plan::new(&job.target, &job.scenario, &request.machine, request.seed);
        job.kind != RowKind::Clean || !matches!(plan, Err(NotRun::Unsupported { .. }))
    });
    let session = request.directory.join(format!("selftest-{}-{}", date::now_compact(), std::process::id()));
    let mut rows = Vec::new();
    let mut runs = VecDeque::new();
    for (row, job) in jobs.iter().enumerate() {
        rows.push(job.report());
        match Plan::new(&job.target, &job.scenario, &request.machine, request.seed) {
            // Another seed for each run, so that repeated runs are not the same run.
            Ok(plan) => runs.extend((0..request.runs).map(|run| {
                let seed = request.seed.wrapping_add(u64::from(run));
                Run { row, plan: Plan { seed, ..plan.clone() } }
            })),
            Err(why) => return Err(SelftestError::Matrix(format!("{}: {why:?}", job.name()))),
        }
    }
    let of = runs.len();
    let bench = Mutex::new(Bench { runs, number: 0, of, rows, progress });
    let builds = Builds::below(&request.directory);
    let work = Work { jobs: &jobs, session: &session, builds: &builds, stop, bench: &bench };
    let at_a_time = if request.machine.tier.isolates_network() { request.jobs } else { 1 };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(|| work.until_done())).collect();
        workers.into_iter().try_for_each(|it| it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let _kept = std::fs::remove_dir(&session);
    let mut rows = bench.into_inner().unwrap_or_else(PoisonError::into_inner).rows;
    rows.iter_mut().for_each(|row| row.ok = row.held == request.runs);
    Ok(SelftestReport {
        format: 1,
        version: env!("CARGO_PKG_VERSION"),
        commit: summary::commit(),
        began,
        machine: request.machine.clone(),
        runs: request.runs,
        hog: request.hog,
        jobs: at_a_time,
        seed: request.seed,
        ok: !rows.is_empty() && rows.iter().all(|row| row.ok),
        rows,
    })
}

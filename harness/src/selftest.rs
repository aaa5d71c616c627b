//! The defect matrix: proof that every check can fail, and that the clean references do not.
//!
//! A row runs one defect of a reference in one scenario; its cells are the scenario's checks. A cell that must fail has to
//! fail every time; one that may fail says why; one that is withheld must not pass (nothing proves it there); every other
//! must pass. Beside the rows stand the clean references, which must pass, and the null targets, which never may.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::catalogue::Catalogue;
use crate::date;
use crate::judge::{Baseline, Outcome, Status, judge};
use crate::machine::Machine;
use crate::manifest::Role;
use crate::plan::{NotRun, Plan};
use crate::progress::Progress;
use crate::run::store::{self, StoreError};
use crate::run::{Execution, RunError, execute};
use crate::scenario::Scenario;
use crate::target::{Target, Template};
use crate::verdict::{Level, Verdict};
use crate::wait::Stop;

/// The matrix as written in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Its rows.
    pub row: Vec<Row>,
}

/// One defect in one scenario.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What `--defect` takes.
    pub defect: String,
    /// The reference that has it.
    pub target: String,
    /// The scenario that shows it.
    pub scenario: String,
    /// Checks that must fail.
    pub must_fail: Vec<String>,
    /// Checks that may fail, each with the reason.
    #[serde(default)]
    pub may_fail: BTreeMap<String, String>,
    /// Checks that must neither pass nor fail, because nothing proves them here.
    #[serde(default)]
    pub withheld: Vec<String>,
}

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
    /// The cells, by check.
    pub cells: BTreeMap<&'static str, Cell>,
    /// What was wrong, with the directory that shows it.
    pub wrong: Vec<String>,
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

/// A row ready to run.
struct Job {
    kind: RowKind,
    target: Target,
    defect: String,
    scenario: Scenario,
    must: BTreeMap<&'static str, Must>,
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
    let mut jobs = jobs(request.catalogue)?;
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
    let work = Work { jobs: &jobs, session: &session, stop, bench: &bench };
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
        commit: std::env::var("UNBROKEN_COMMIT").ok(),
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

/// The names of all rows, as [`Request::only`] takes them.
///
/// # Errors
/// [`SelftestError::Matrix`] when the matrix does not fit the catalogue.
pub fn names(catalogue: &Catalogue) -> Result<Vec<String>, SelftestError> {
    // The clean references are tests of their own.
    Ok(jobs(catalogue)?.iter().filter(|job| job.kind != RowKind::Clean).map(Job::name).collect())
}

/// The jobs of the matrix: clean references first, then defects, then null targets.
fn jobs(catalogue: &Catalogue) -> Result<Vec<Job>, SelftestError> {
    let mut jobs = Vec::new();
    for target in catalogue.targets.iter().filter(|target| target.role == Role::Reference) {
        for scenario in catalogue.scenarios.iter().filter(|scenario| scenario.script().core) {
            jobs.push(job(RowKind::Clean, target, "", scenario, |_, _| Must::Pass)?);
        }
    }
    let matrix: Matrix =
        toml::from_str(unbroken_scenarios::MATRIX).map_err(|error| SelftestError::Matrix(error.to_string()))?;
    for row in &matrix.row {
        let target = catalogue.targets.iter().find(|target| target.name == row.target);
        let scenario = catalogue.scenarios.iter().find(|scenario| scenario.script().name == row.scenario);
        let (Some(target), Some(scenario)) = (target, scenario) else {
            return Err(SelftestError::Matrix(format!(
                "{} · {}: no such target or scenario",
                row.target, row.scenario
            )));
        };
        let mut target = target.clone();
        target.launch.command.extend(["--defect", &row.defect].map(|word| Template(word.to_owned())));
        let must = |check: &str, _level: Level| {
            if row.must_fail.iter().any(|id| id == check) {
                Must::Fail
            } else if row.may_fail.contains_key(check) {
                Must::MayFail
            } else if row.withheld.iter().any(|id| id == check) {
                Must::Withheld
            } else {
                Must::Pass
            }
        };
        jobs.push(job(RowKind::Defect, &target, &row.defect, scenario, must)?);
    }
    for target in catalogue.targets.iter().filter(|target| target.role == Role::Null) {
        let scenario = catalogue.scenarios.iter().find(|scenario| scenario.script().name == NULL_SCENARIO);
        let Some(scenario) = scenario else {
            return Err(SelftestError::Matrix(format!("no scenario {NULL_SCENARIO}")));
        };
        // Of a null target only what rests on a takeover must not pass: it may well leave nothing behind.
        let must = |check: &str, _level: Level| {
            let rests = check.starts_with("handoff/") || check.starts_with("drain/");
            if rests { Must::NotPass } else { Must::MayFail }
        };
        jobs.push(job(RowKind::Null, target, "", scenario, must)?);
    }
    Ok(jobs)
}

/// The scenario in which null targets are shown never to pass.
const NULL_SCENARIO: &str = "restart/upgrade-under-load";

fn job(
    kind: RowKind,
    target: &Target,
    defect: &str,
    scenario: &Scenario,
    must: impl Fn(&str, Level) -> Must,
) -> Result<Job, SelftestError> {
    let mut cells = BTreeMap::new();
    for id in &scenario.script().checks {
        let check = crate::check::find(id).ok_or_else(|| SelftestError::Matrix(format!("no check {id}")))?;
        cells.insert(check.id, must(check.id, check.level));
    }
    Ok(Job { kind, target: target.clone(), defect: defect.to_owned(), scenario: scenario.clone(), must: cells })
}

impl Job {
    /// An empty report of this row.
    fn report(&self) -> RowReport {
        RowReport {
            kind: self.kind,
            target: self.target.name.clone(),
            defect: self.defect.clone(),
            scenario: self.scenario.script().name.clone(),
            ok: false,
            held: 0,
            cells: BTreeMap::new(),
            wrong: Vec::new(),
        }
    }

    /// The target as progress shows it.
    fn title(&self) -> String {
        if self.defect.is_empty() {
            self.target.name.clone()
        } else {
            format!("{} --defect {}", self.target.name, self.defect)
        }
    }

    fn name(&self) -> String {
        let defect = if self.defect.is_empty() { String::new() } else { format!(" with defect {}", self.defect) };
        format!("{}{defect} · {}", self.target.name, self.scenario.script().name)
    }

    /// A word of the command line means this row.
    fn concerns(&self, word: &str) -> bool {
        let must_fail = self.must.iter().any(|(check, must)| *must == Must::Fail && check == &word);
        self.name() == word
            || self.defect == word
            || self.target.name == word
            || self.scenario.script().name == word
            || must_fail
    }
}

/// One run of one row.
struct Run {
    row: usize,
    plan: Plan,
}

/// What the workers share: runs to take, rows to fill in, and whom to tell.
struct Bench<'a> {
    runs: VecDeque<Run>,
    number: usize,
    of: usize,
    rows: Vec<RowReport>,
    progress: &'a mut (dyn FnMut(Progress) + Send),
}

/// The runs of one invocation.
struct Work<'a, 'b> {
    jobs: &'a [Job],
    session: &'a Path,
    stop: &'a Stop,
    bench: &'a Mutex<Bench<'b>>,
}

impl<'b> Work<'_, 'b> {
    /// Takes runs until there are none.
    fn until_done(&self) -> Result<(), SelftestError> {
        loop {
            let mut bench = self.bench();
            let Some(run) = bench.runs.pop_front() else { return Ok(()) };
            bench.number += 1;
            let (number, of, job) = (bench.number, bench.of, &self.jobs[run.row]);
            let scenario = job.scenario.script().name.clone();
            (bench.progress)(Progress::RunBegan { target: job.title(), scenario, number, of });
            drop(bench);
            if let Err(error) = self.one(&run, number) {
                // The others end after their run.
                self.bench().runs.clear();
                return Err(error);
            }
        }
    }

    fn bench(&self) -> MutexGuard<'_, Bench<'b>> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one(&self, run: &Run, number: usize) -> Result<(), SelftestError> {
        let job = &self.jobs[run.row];
        let began = Instant::now();
        let directory = self.session.join(format!("{number:04}"));
        let mut tell = |step| (self.bench().progress)(step);
        let execution = Execution { directory: &directory, stop: self.stop, progress: &mut tell };
        execute(&run.plan, execution).map_err(|source| SelftestError::Run { row: job.name(), source })?;
        let outcome = judge(&store::read(&directory)?, &|_| true);
        store::write_verdicts(&directory, &outcome)?;
        let mut bench = self.bench();
        let report = &mut bench.rows[run.row];
        let wrong = count(job, &outcome, report);
        if wrong.is_empty() {
            report.held += 1;
            let _kept = std::fs::remove_dir_all(&directory);
        }
        let verdict = Some(if wrong.is_empty() { Verdict::Pass } else { Verdict::Fail });
        report.wrong.extend(wrong.into_iter().map(|text| format!("{text} ({})", directory.display())));
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (bench.progress)(Progress::RunEnded { verdict, took_ms });
        Ok(())
    }
}

/// Counts the verdicts of one run into the cells; gives what was not as it must be.
fn count(job: &Job, outcome: &Outcome, report: &mut RowReport) -> Vec<String> {
    let mut wrong = Vec::new();
    if job.kind != RowKind::Null
        && let Baseline::Broken(evidence) = &outcome.baseline
    {
        wrong.push(format!("broken without a restart: {}", evidence.first().map_or("", |it| it.text.as_str())));
    }
    for result in &outcome.results {
        let Status::Verdict(verdict) = result.status else { continue };
        let must = job.must.get(result.check).copied().unwrap_or(Must::Pass);
        let cell =
            report.cells.entry(result.check).or_insert(Cell { must, pass: 0, inconclusive: 0, error: 0, fail: 0 });
        match verdict {
            Verdict::Pass => cell.pass += 1,
            Verdict::Inconclusive => cell.inconclusive += 1,
            Verdict::Error => cell.error += 1,
            Verdict::Fail => cell.fail += 1,
        }
        let right = match must {
            Must::Fail => verdict == Verdict::Fail,
            Must::MayFail => verdict != Verdict::Error,
            Must::Withheld => verdict == Verdict::Inconclusive,
            Must::NotPass => matches!(verdict, Verdict::Inconclusive | Verdict::Fail),
            Must::Pass => verdict == Verdict::Pass,
        };
        if !right {
            wrong.push(format!("{} must {must:?} and was {verdict}", result.check));
        }
    }
    wrong
}

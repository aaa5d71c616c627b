//! Running the rows, several at a time.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::matrix::Job;
use super::{Cell, Must, RowKind, RowReport, SelftestError};
use crate::judge::{Baseline, Outcome, Status, judge};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::run::{Builds, Execution, execute, store};
use crate::verdict::Verdict;
use crate::wait::Stop;

/// One run of one row.
pub(super) struct Run {
    pub(super) row: usize,
    pub(super) plan: Plan,
}

/// What the workers share: runs to take, rows to fill in, and whom to tell.
pub(super) struct Bench<'a> {
    pub(super) runs: VecDeque<Run>,
    pub(super) number: usize,
    pub(super) of: usize,
    pub(super) rows: Vec<RowReport>,
    pub(super) progress: &'a mut (dyn FnMut(Progress) + Send),
}

/// The runs of one invocation.
pub(super) struct Work<'a, 'b> {
    pub(super) jobs: &'a [Job],
    pub(super) session: &'a Path,
    pub(super) builds: &'a Builds,
    pub(super) stop: &'a Stop,
    pub(super) bench: &'a Mutex<Bench<'b>>,
}

impl<'b> Work<'_, 'b> {
    /// Takes runs until there are none.
    pub(super) fn until_done(&self) -> Result<(), SelftestError> {
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
        let (builds, stop) = (self.builds, self.stop);
        let execution = Execution { directory: &directory, builds, stop, progress: &mut tell };
        execute(&run.plan, execution).map_err(|source| SelftestError::Run { row: job.name(), source })?;
        let outcome = judge(&store::read(&directory)?, &|_| true);
        store::write_verdicts(&directory, &outcome)?;
        let mut bench = self.bench();
        let report = &mut bench.rows[run.row];
        let wrong = count(job, &outcome, report);
        if wrong.is_empty() {
            report.held += 1;
            let _kept = std::fs::remove_dir_all(&directory);
        } else if wrong.iter().all(|it| it.is_excused) {
            report.excused += 1;
        }
        let verdict = Some(if wrong.is_empty() { Verdict::Pass } else { Verdict::Fail });
        report.wrong.extend(wrong.into_iter().map(|it| format!("{} ({})", it.text, directory.display())));
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (bench.progress)(Progress::RunEnded { verdict, took_ms });
        Ok(())
    }
}

/// What was not as it must be.
struct Wrong {
    text: String,
    /// It could not be told, for the machine's sake.
    is_excused: bool,
}

/// Counts the verdicts of one run into the cells; gives what was not as it must be.
fn count(job: &Job, outcome: &Outcome, report: &mut RowReport) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    if job.kind != RowKind::Null
        && let Baseline::Broken(evidence) = &outcome.baseline
    {
        let text = format!("broken without a restart: {}", evidence.first().map_or("", |it| it.text.as_str()));
        wrong.push(Wrong { text, is_excused: false });
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
            let text = format!("{} must {must:?} and was {verdict}", result.check);
            wrong.push(Wrong { text, is_excused: result.is_excused() });
        }
    }
    wrong
}

//! Executing the planned runs, several at a time, and judging each.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::{Request, VerifyError, selected};
use crate::judge::{Outcome, Status, judge};
use crate::plan::Plan;
use crate::progress::{self, Progress};
use crate::run::{Execution, RunError, execute, store};
use crate::summary::Judged;
use crate::verdict::Verdict;
use crate::wait::Stop;

/// A run to be had.
pub(super) struct Run {
    /// Which of the request's subjects.
    pub(super) subject: usize,
    /// Counted from 1.
    pub(super) run: u32,
    /// What is to be done.
    pub(super) plan: Plan,
}

impl Run {
    /// Why this one could not be had.
    pub(super) fn error(&self, source: RunError) -> VerifyError {
        let (target, scenario) = (self.plan.target.name.clone(), self.plan.scenario.script().name.clone());
        VerifyError::Run { target, scenario, source }
    }
}

/// What the workers share: runs to take, what came of them, and whom to tell.
struct Bench<'a> {
    /// With their place in the order.
    runs: VecDeque<(usize, Run)>,
    number: usize,
    of: usize,
    /// By the place of the run.
    judged: Vec<Option<(usize, Judged)>>,
    progress: progress::Listener<'a>,
}

/// The runs of one invocation.
struct Work<'a, 'b> {
    request: &'a Request,
    session: &'a Path,
    stop: &'a Stop,
    bench: &'a Mutex<Bench<'b>>,
}

/// Has all of them, `request.jobs` at a time; gives what came of them by subject, in their order.
///
/// # Errors
/// The first run that could not be had; those that run meanwhile are finished, and no further one begins.
pub(super) fn all(
    request: &Request,
    session: &Path,
    planned: Vec<Run>,
    stop: &Stop,
    progress: progress::Listener<'_>,
) -> Result<Vec<Vec<Judged>>, VerifyError> {
    let of = planned.len();
    let places: Vec<PathBuf> = planned.iter().map(|run| directory(session, run)).collect();
    let judged = std::iter::repeat_with(|| None).take(of).collect();
    let at_a_time = if request.machine.tier.isolates_network() { request.jobs } else { 1 };
    let mut runs: Vec<(usize, Run)> = planned.into_iter().enumerate().collect();
    if at_a_time > 1 {
        // The longest first, so that it is not what all wait for at the end: twenty upgrades are more steps than one.
        runs.sort_by_key(|(_, run)| Reverse(run.plan.scenario.script().steps.len()));
    }
    let bench = Mutex::new(Bench { runs: runs.into(), number: 0, of, judged, progress });
    let work = Work { request, session, stop, bench: &bench };
    let ended = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(|| work.until_done())).collect();
        let joined: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        joined.into_iter().try_for_each(|it| it.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    places.iter().for_each(|place| prune(session, place));
    ended?;
    let mut by_subject: Vec<Vec<Judged>> = request.subjects.iter().map(|_| Vec::new()).collect();
    let judged = bench.into_inner().unwrap_or_else(PoisonError::into_inner).judged;
    judged.into_iter().flatten().for_each(|(subject, judged)| by_subject[subject].push(judged));
    Ok(by_subject)
}

/// Where a run writes.
fn directory(session: &Path, run: &Run) -> PathBuf {
    session.join(&run.plan.target.name).join(format!("{}-{}", run.plan.scenario.script().name, run.run))
}

/// Removes the directories above a removed one, as long as they are empty. Only when nobody makes any below them.
fn prune(session: &Path, place: &Path) {
    for parent in place.ancestors().skip(1).take_while(|it| it.starts_with(session)) {
        if fs::remove_dir(parent).is_err() {
            break;
        }
    }
}

impl<'b> Work<'_, 'b> {
    /// Takes runs until there are none.
    fn until_done(&self) -> Result<(), VerifyError> {
        loop {
            let mut bench = self.bench();
            let Some((place, run)) = bench.runs.pop_front() else { return Ok(()) };
            bench.number += 1;
            let (number, of) = (bench.number, bench.of);
            let (target, scenario) = (run.plan.target.name.clone(), run.plan.scenario.script().name.clone());
            (bench.progress)(Progress::RunBegan { target, scenario, number, of });
            drop(bench);
            match self.one(&run) {
                Ok(judged) => self.bench().judged[place] = Some((run.subject, judged)),
                Err(error) => {
                    // The others end after their run.
                    self.bench().runs.clear();
                    return Err(error);
                }
            }
        }
    }

    fn bench(&self) -> MutexGuard<'_, Bench<'b>> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one(&self, run: &Run) -> Result<Judged, VerifyError> {
        let directory = directory(self.session, run);
        let began = Instant::now();
        let mut tell = |step| (self.bench().progress)(step);
        let builds = &self.request.builds;
        let execution = Execution { directory: &directory, builds, stop: self.stop, progress: &mut tell };
        // Another seed for each run, so that repeated runs are not the same run.
        let plan = Plan { seed: run.plan.seed.wrapping_add(u64::from(run.run - 1)), ..run.plan.clone() };
        if let Err(source) = execute(&plan, execution) {
            // Half a run has no verdict, and nobody asked for its files.
            let unfinished = matches!(source, RunError::Interrupted) && !self.request.keep;
            if source.tells_nothing() || unfinished {
                discard(&directory);
            }
            return Err(run.error(source));
        }
        // Judged from what is on disk, as `unbroken judge` will: both must say the same.
        let outcome = judge(&store::read(&directory)?, &|check| selected(self.request, check));
        store::write_verdicts(&directory, &outcome)?;
        let verdict = worst(&outcome);
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.bench().progress)(Progress::RunEnded { verdict, took_ms });
        if verdict == Some(Verdict::Pass) && !self.request.keep {
            discard(&directory);
        }
        Ok(Judged { run: run.run, directory, outcome })
    }
}

/// `None` when no check applied.
fn worst(outcome: &Outcome) -> Option<Verdict> {
    let verdicts = outcome.results.iter().filter_map(|result| match &result.status {
        Status::Verdict(verdict) => Some(*verdict),
        Status::Unsupported(_) => None,
    });
    verdicts.max()
}

/// Removes the directory of a run. What cannot be removed stays for the user to see; it makes no verdict wrong.
fn discard(directory: &Path) {
    let _kept = fs::remove_dir_all(directory);
}

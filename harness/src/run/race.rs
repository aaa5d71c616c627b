//! Several starts at once.

use crate::clock::Interval;
use crate::event::{ExitStatus, Occasion, StartRace, What};
use crate::id::Pid;
use crate::run::daemon::REST;
use crate::run::obstructed::clear;
use crate::run::start::Launched;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::target::Signal;

/// SIGSTOP cannot be caught; SIGCONT lets go.
const HOLD: Signal = Signal(libc::SIGSTOP);
const LET_GO: Signal = Signal(libc::SIGCONT);

impl Stage<'_> {
    /// So many rounds; in every second one the pidfile of the killed winner before lies there.
    pub(super) fn racing_starts(&mut self, starts: u32, rounds: u32) -> Result<(), RunError> {
        for round in 1..=rounds {
            if let Some(path) = self.pidfile_path().filter(|_| round % 2 == 1) {
                clear(&path)?;
            }
            self.ties.occasion = Occasion::Racing;
            let raced = self.race(round, starts);
            self.ties.occasion = Occasion::Start;
            raced?;
            self.kill_all_but(&[])?;
        }
        Ok(())
    }

    fn race(&mut self, round: u32, starts: u32) -> Result<(), RunError> {
        let began = self.clock.now();
        let launched = (0..starts).map(|_| self.launch_suspended()).collect::<Result<Vec<Launched>, RunError>>()?;
        for one in &launched {
            // One that was faster than its stop has ended.
            let _ended = one.pidfd.send_signal(LET_GO);
        }
        let limit = self.plan.target.deadlines.start;
        let _returned = self.within(limit, || yes(launched.iter().all(|one| one.pidfd.has_exited())))?;
        let status =
            |one: &Launched| one.pidfd.has_exited().then(|| self.exit_status_of(one).unwrap_or(ExitStatus::Unknown));
        let statuses: Vec<Option<ExitStatus>> = launched.iter().map(status).collect();
        if statuses.contains(&Some(ExitStatus::Code(0))) {
            // Whether it serves at once is another question.
            let _serves = self.serves_within(limit, None)?;
        }
        let _alone = self.within(REST, || yes(self.adopted().is_ok_and(|all| all.len() <= 1)))?;
        let race = StartRace { round, statuses, daemons: self.adopted()?, answer: self.ask()? };
        self.sink.put(Interval::new(began, self.clock.now()), What::StartsRaced(race));
        Ok(())
    }

    /// Launches, and stops the launcher right after its exec: let go together, all begin at once.
    fn launch_suspended(&mut self) -> Result<Launched, RunError> {
        let launched = self.launch()?;
        let _ended = launched.pidfd.send_signal(HOLD);
        Ok(launched)
    }

    /// Living processes that the reaper is the parent of.
    fn adopted(&self) -> Result<Vec<Pid>, RunError> {
        let stats = self.sandbox.procfs().scan()?.into_iter();
        let reaper = self.sandbox.init_pid();
        Ok(stats.filter(|stat| !stat.is_dead() && stat.ppid == reaper).map(|stat| stat.image.pid).collect())
    }
}

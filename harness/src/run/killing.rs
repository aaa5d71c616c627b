//! An upgrade in the middle of which one side is killed, or stands still.

use std::time::Duration;

use crate::clock::Interval;
use crate::event::{Killing, Phase, Side, Suspension, What};
use crate::id::{Image, Pid, UpgradeId};
use crate::manifest::MainProcess;
use crate::run::census::Main;
use crate::run::daemon::KILL_LIMIT;
use crate::run::stall::CONT;
use crate::run::supervised::KILL;
use crate::run::upgrade::{Before, describe, yes};
use crate::run::{RunError, Stage};
use crate::target::TargetRestartStep;

/// Within that time a process has done what it was told: a signal or some bytes that lie ready wake it at once.
const HEARD: Duration = Duration::from_millis(100);

/// From when on a new process counts.
#[derive(Clone, Copy)]
enum Begun {
    /// From its first instant.
    Lives,
    /// As soon as it holds a listener.
    Listens,
}

impl Begun {
    /// What the other side has to have done when this one is struck. The new one is struck at once: whoever listens for itself does
    /// so as late as it can, and is ready then.
    fn before(struck: Side) -> Begun {
        if struck == Side::New { Begun::Lives } else { Begun::Listens }
    }
}

/// The same process: a fork that has not executed yet is the same as after that.
fn is_same(one: &Image, other: &Image) -> bool {
    (one.pid, one.start_ticks) == (other.pid, other.start_ticks)
}

impl Stage<'_> {
    /// The restart steps, with a SIGKILL after the trigger; the load goes on for `after`. Whether the upgrade comes about is
    /// nobody's business.
    pub(super) fn kill_in_upgrade(&mut self, side: Side, after: Duration) -> Result<(), RunError> {
        let kill = |stage: &Self, before: &Before, processes: &[Main]| {
            let old_listens = if side == Side::New { Some(stage.still_listens(&before.holders)?) } else { None };
            stage.kill_side(before.id, side, processes, old_listens)
        };
        self.strike_in_upgrade(side, kill)?;
        if self.stop.pause(after) {
            return Err(RunError::Interrupted);
        }
        if self.plan.target.main == MainProcess::Pidfile { self.find_main() } else { Ok(()) }
    }

    /// The same with a SIGSTOP, and a SIGCONT after `lasts`.
    pub(super) fn suspend_in_upgrade(&mut self, side: Side, lasts: Duration, after: Duration) -> Result<(), RunError> {
        let suspend =
            |stage: &Self, before: &Before, processes: &[Main]| stage.suspend_side(before.id, side, processes, lasts);
        let Some((before, struck)) = self.strike_in_upgrade(side, suspend)? else {
            return Ok(());
        };
        if self.plan.target.tells_versions() {
            // Until it has come about or was given up: who is asked for the next one meanwhile may be another by the time.
            let is_one = |it: &Image| struck.iter().any(|of| is_same(of, it));
            let given_up = || side == Side::New && self.living().is_ok_and(|living| !living.iter().any(is_one));
            let over = || yes(self.answers(before.version) || given_up());
            let _over = self.within(self.plan.target.deadlines.upgrade, over)?;
        }
        if self.stop.pause(after) {
            return Err(RunError::Interrupted);
        }
        if self.plan.target.main == MainProcess::Pidfile {
            self.find_main()?;
        }
        // Where it has come about, the generation before is to go.
        self.last_upgrade = Some(before).filter(|before| self.answers(before.version));
        Ok(())
    }

    /// The restart steps; as soon as somebody new has begun, as far as that side's turn asks, it is struck: who it was.
    fn strike_in_upgrade(
        &mut self,
        side: Side,
        strike: impl Fn(&Self, &Before, &[Main]) -> Result<(), RunError>,
    ) -> Result<Option<(Before, Vec<Image>)>, RunError> {
        let Some(restart) = self.plan.target.restart.clone() else { return Ok(None) };
        self.await_steady_load()?;
        let before = self.before_upgrade()?;
        let known = self.living()?;
        // Held before the trigger: later a number may be somebody else's.
        let spared = before.main.filter(|_| !self.main_moved);
        let old = before.holders.iter().filter(|image| Some(**image) != spared);
        let old: Vec<Main> = old.filter_map(|image| self.identify(image.pid)).collect();
        self.phase(Phase::Trigger);
        let (trigger, mut struck) = (restart.trigger(), Vec::new());
        // Who is launched by a step of its own has not begun before that.
        let launch = restart.steps.iter().position(|step| *step == TargetRestartStep::Launch).unwrap_or(0);
        for (index, step) in restart.steps.iter().enumerate() {
            let began = self.clock.now();
            let outcome = self.restart_step(step, &before)?;
            if index == trigger {
                let what = What::Triggered { upgrade: before.id, version: before.version, action: describe(step) };
                self.sink.put(Interval::new(began, self.clock.now()), what);
            }
            if index == trigger.max(launch)
                && outcome.is_ok()
                && let Some(born) = self.await_born(&known, Begun::before(side))?
            {
                let born = if side == Side::New { self.with_descendants(born)? } else { born };
                let processes = if side == Side::New { &born } else { &old };
                struck.extend(processes.iter().map(|process| process.image));
                strike(self, &before, processes)?;
            }
            if let Err(reason) = outcome {
                self.action_failed(&describe(step), &reason);
                break;
            }
        }
        Ok(Some((before, struck)))
    }

    /// One upgrade, and a SIGKILL to the new generation as soon as it is done; the load goes on for `after`.
    pub(super) fn kill_after_upgrade(&mut self, after: Duration) -> Result<(), RunError> {
        let known = self.living()?;
        self.upgrade()?;
        let Some(upgrade) = self.last_upgrade.as_ref().map(|before| before.id) else { return Ok(()) };
        if let Some(born) = self.await_born(&known, Begun::Listens)? {
            let born = self.with_descendants(born)?;
            self.kill_side(upgrade, Side::New, &born, None)?;
        }
        if self.stop.pause(after) { Err(RunError::Interrupted) } else { Ok(()) }
    }

    /// Waits until a process that was not known has begun; the main process is who keeps the service together.
    fn await_born(&self, known: &[Image], begun: Begun) -> Result<Option<Vec<Main>>, RunError> {
        let main = self.main.as_ref().map(|main| main.image.pid);
        let is_known = |image: &Image| known.iter().any(|it| is_same(it, image));
        let limit = self.plan.target.deadlines.upgrade;
        let mut born = Vec::new();
        let seen = self.within(limit, || {
            let there = match begun {
                Begun::Lives => self.living(),
                Begun::Listens => self.holders(),
            };
            let new = there.unwrap_or_default().into_iter().filter(|image| Some(image.pid) != main && !is_known(image));
            born = new.filter_map(|image| self.identify(image.pid)).collect();
            yes(!born.is_empty())
        })?;
        if !seen {
            self.deadline_passed("begin of a new generation", limit);
        }
        Ok(seen.then_some(born))
    }

    /// Stops them, so that they start nobody any more, and adds whom they have started: who outlives its parent would be one
    /// side of an upgrade that nobody has made.
    fn with_descendants(&self, mut born: Vec<Main>) -> Result<Vec<Main>, RunError> {
        let mut stopped = 0;
        while stopped < born.len() {
            let _stand = self.stop_each(&born[stopped..], self.plan.target.deadlines.stop)?;
            stopped = born.len();
            let has = |pid: Pid| born.iter().any(|process| process.image.pid == pid);
            let children = self.sandbox.procfs().scan()?;
            let more: Vec<Main> = children
                .iter()
                .filter(|stat| has(stat.ppid) && !has(stat.image.pid) && !stat.is_dead())
                .filter_map(|stat| self.identify(stat.image.pid))
                .collect();
            born.extend(more);
        }
        Ok(born)
    }

    /// Stops those that live, and continues them after that time. Were we to end meanwhile, they end with the sandbox: SIGKILL
    /// asks nobody who stands still.
    fn suspend_side(
        &self,
        upgrade: UpgradeId,
        side: Side,
        processes: &[Main],
        lasts: Duration,
    ) -> Result<(), RunError> {
        let began = self.clock.now();
        let _stand = self.stop_each(processes, self.plan.target.deadlines.stop)?;
        let living = processes.iter().filter(|process| !process.pidfd.has_exited());
        let images = living.map(|process| process.image).collect();
        let what = What::SideSuspended(Suspension { upgrade, side, images });
        self.sink.put(Interval::new(began, self.clock.now()), what);
        if self.stop.pause(lasts) {
            return Err(RunError::Interrupted);
        }
        let until = self.clock.now();
        for process in processes {
            // Whoever was given up meanwhile needs no signal.
            let _gone = process.pidfd.send_signal(CONT);
        }
        self.sink.put(Interval::new(until, self.clock.now()), What::SideContinued { upgrade });
        Ok(())
    }

    /// Whether one of them holds a listener. The other side stands still: it tells nobody to go any more, and what it has told before is
    /// waited for.
    fn still_listens(&self, old: &[Image]) -> Result<bool, RunError> {
        let is_old = |holder: &Image| old.iter().any(|it| is_same(it, holder));
        let gone = self.within(HEARD, || yes(self.holders().is_ok_and(|holders| !holders.iter().any(is_old))))?;
        Ok(!gone)
    }

    /// Kills those that live, and waits until they are gone.
    fn kill_side(
        &self,
        upgrade: UpgradeId,
        side: Side,
        processes: &[Main],
        old_listens: Option<bool>,
    ) -> Result<(), RunError> {
        let began = self.clock.now();
        let living: Vec<&Main> = processes.iter().filter(|process| !process.pidfd.has_exited()).collect();
        for process in &living {
            process.pidfd.send_signal(KILL).map_err(|error| RunError::Environment(error.to_string()))?;
        }
        if let Some(left) = living.iter().find(|process| !process.pidfd.wait(KILL_LIMIT)) {
            return Err(RunError::Environment(format!("end process {}", left.image.pid)));
        }
        let images = living.iter().map(|process| process.image).collect();
        let what = What::Killed(Killing { upgrade, side, images, old_listens });
        self.sink.put(Interval::new(began, self.clock.now()), what);
        Ok(())
    }
}

//! An upgrade that cannot succeed: the executable that is deployed fails, or its configuration is invalid.

use std::path::Path;
use std::time::Duration;

use crate::clock::Interval;
use crate::event::{Broken, Phase, What};
use crate::id::UpgradeId;
use crate::run::bait::Bait;
use crate::run::daemon::KILL_LIMIT;
use crate::run::supervised::KILL;
use crate::run::upgrade::{Before, describe, yes};
use crate::run::{RunError, Stage};
use crate::target::{TargetRestart, TargetRestartStep};

impl Stage<'_> {
    /// The restart steps with what is broken; the load goes on for `after` once the target has taken that up.
    pub(super) fn broken_upgrade(&mut self, fault: Broken, after: Duration) -> Result<(), RunError> {
        let Some(restart) = self.plan.target.restart.clone() else { return Ok(()) };
        self.await_steady_load()?;
        let before = self.before_upgrade()?;
        let Some(mut bait) = self.bait(fault)? else { return Ok(()) };
        self.trigger_broken(&restart, (&before, after), fault, &bait)?;
        if self.await_taken(before.id, &mut bait)? {
            if let Some(mark) = bait.mark().filter(|_| fault == Broken::Hangs) {
                self.await_given_up(before.id, mark)?;
            }
            if self.stop.pause(after) {
                return Err(RunError::Interrupted);
            }
            let survivor = self.main_by_service()?.map(|main| main.image.pid);
            let what = What::Survived { upgrade: before.id, pidfile: self.pidfile_look(), survivor };
            self.sink.put_at(self.clock.now(), what);
        }
        bait.take_away()
    }

    /// The restart steps, with the bait where they deploy. Who waits for what a success brings does so for `patience`, and does not go on
    /// without it.
    fn trigger_broken(
        &mut self,
        restart: &TargetRestart,
        (before, patience): (&Before, Duration),
        fault: Broken,
        bait: &Bait,
    ) -> Result<(), RunError> {
        self.phase(Phase::Trigger);
        let trigger = restart.trigger();
        for (index, step) in restart.steps.iter().enumerate() {
            let began = self.clock.now();
            let outcome = match step {
                TargetRestartStep::Deploy => {
                    bait.place(&self.deployer)?;
                    Ok(())
                }
                TargetRestartStep::Wait(what) => {
                    if index > trigger && !self.comes(what, before, patience)? {
                        break;
                    }
                    continue;
                }
                other => self.restart_step(other, before)?,
            };
            if index == trigger {
                let what = What::BrokenTriggered { upgrade: before.id, action: describe(step), fault };
                self.sink.put(Interval::new(began, self.clock.now()), what);
            }
            if let Err(reason) = outcome {
                self.action_failed(&describe(step), &reason);
                break;
            }
        }
        Ok(())
    }

    /// Waits until the target has taken the bait; whether it has.
    fn await_taken(&mut self, upgrade: UpgradeId, bait: &mut Bait) -> Result<bool, RunError> {
        let limit = self.plan.target.deadlines.upgrade;
        let mut unseen = self.clock.now();
        let taken = self.within(limit, || {
            let now = self.clock.now();
            let taken = bait.is_taken();
            if !taken {
                unseen = now;
            }
            yes(taken)
        })?;
        if taken {
            self.sink.put(Interval::new(unseen, self.clock.now()), What::BrokenRan { upgrade });
        } else {
            self.deadline_passed("taking up what is broken", limit);
        }
        Ok(taken)
    }

    /// Waits until the new generation that hangs is gone; ends it when nobody has.
    fn await_given_up(&mut self, upgrade: UpgradeId, mark: &Path) -> Result<(), RunError> {
        let mut seen = self.clock.now();
        // Gone before it could be looked at: it was given up at once.
        let hung = self.pid_in(mark).and_then(|pid| self.identify(pid));
        let limit = self.plan.target.deadlines.give_up.unwrap_or(self.plan.target.deadlines.upgrade);
        let mut by_harness = false;
        if let Some(hung) = &hung {
            let gone = self.within(limit, || {
                let now = self.clock.now();
                let gone = hung.pidfd.has_exited();
                if !gone {
                    seen = now;
                }
                yes(gone)
            })?;
            if !gone {
                self.deadline_passed("give up a new generation that hangs", limit);
                by_harness = true;
                hung.pidfd.send_signal(KILL).map_err(|error| RunError::Environment(error.to_string()))?;
                if !hung.pidfd.wait(KILL_LIMIT) {
                    return Err(RunError::Environment(format!("end process {}", hung.image.pid)));
                }
            }
        }
        self.sink.put(Interval::new(seen, self.clock.now()), What::BrokenEnded { upgrade, by_harness });
        Ok(())
    }
}

//! An upgrade that cannot succeed: the executable that is deployed fails.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::clock::Interval;
use crate::event::{Broken, Phase, What};
use crate::id::UpgradeId;
use crate::run::daemon::KILL_LIMIT;
use crate::run::supervised::KILL;
use crate::run::upgrade::{describe, trigger_of, yes};
use crate::run::{RunError, Stage};
use crate::target::TargetRestartStep;

/// The file that the broken executable leaves, in the target's directory.
const MARK: &str = "broken-executable-ran";

impl Stage<'_> {
    /// The restart steps with a broken executable; the load goes on for `after` once that one ran.
    pub(super) fn broken_upgrade(&mut self, executable: Broken, after: Duration) -> Result<(), RunError> {
        let Some(restart) = self.plan.target.restart.clone() else { return Ok(()) };
        self.await_steady_load()?;
        let before = self.before_upgrade()?;
        let mark = self.target_dir.join(MARK);
        match fs::remove_file(&mark) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        self.phase(Phase::Trigger);
        let trigger = trigger_of(&restart.steps);
        for (index, step) in restart.steps.iter().enumerate() {
            let began = self.clock.now();
            let outcome = match step {
                TargetRestartStep::Deploy => {
                    self.deployer.break_self(&mark, executable)?;
                    Ok(())
                }
                // What a success would bring is not waited for.
                TargetRestartStep::Wait(_) => continue,
                other => self.restart_step(other, &before)?,
            };
            if index == trigger {
                let what = What::BrokenTriggered { upgrade: before.id, action: describe(step), executable };
                self.sink.put(Interval::new(began, self.clock.now()), what);
            }
            if let Err(reason) = outcome {
                self.action_failed(&describe(step), &reason);
                break;
            }
        }
        let limit = self.plan.target.deadlines.upgrade;
        let mut unseen = self.clock.now();
        let ran = self.within(limit, || {
            let now = self.clock.now();
            let there = is_left(&mark);
            if !there {
                unseen = now;
            }
            yes(there)
        })?;
        if !ran {
            self.deadline_passed("run of the broken executable", limit);
            return Ok(());
        }
        self.sink.put(Interval::new(unseen, self.clock.now()), What::BrokenRan { upgrade: before.id });
        if executable == Broken::Hangs {
            self.await_given_up(before.id, &mark)?;
        }
        if self.stop.pause(after) {
            return Err(RunError::Interrupted);
        }
        let survivor = self.main_by_service()?.map(|main| main.image.pid);
        let what = What::Survived { upgrade: before.id, pidfile: self.pidfile_look(), survivor };
        self.sink.put_at(self.clock.now(), what);
        Ok(())
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

/// Made first and written to then.
fn is_left(mark: &Path) -> bool {
    fs::metadata(mark).is_ok_and(|file| file.len() > 0)
}

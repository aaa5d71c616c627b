//! A storm: one upgrade whose signal is sent again and again.

use std::time::Duration;

use crate::clock::Interval;
use crate::event::{Phase, What};
use crate::manifest::MainProcess;
use crate::run::upgrade::describe;
use crate::run::{RunError, Stage};
use crate::target::TargetRestartStep;

impl Stage<'_> {
    /// One upgrade whose signal is sent `triggers` times from the first to the end of `within`, then until nothing more
    /// happens.
    pub(super) fn storm(&mut self, triggers: u32, within: Duration) -> Result<(), RunError> {
        let Some(restart) = self.plan.target.restart.clone() else { return Ok(()) };
        self.rest()?;
        self.await_steady_load()?;
        let before = self.before_upgrade()?;
        self.phase(Phase::Trigger);
        let pause = within / triggers.saturating_sub(1).max(1);
        for step in &restart.steps {
            if *step == TargetRestartStep::Deploy {
                self.restart_step(step, &before)?.map_err(RunError::Environment)?;
                continue;
            }
            let mut sent = 0;
            for nth in 0..triggers {
                let began = self.clock.now();
                let outcome = self.restart_step(step, &before)?;
                if nth == 0 {
                    let what = What::Triggered { upgrade: before.id, version: before.version, action: describe(step) };
                    self.sink.put(Interval::new(began, self.clock.now()), what);
                }
                match outcome {
                    Ok(()) => sent += 1,
                    Err(reason) => self.action_failed(&describe(step), &reason),
                }
                if nth + 1 < triggers && self.stop.pause(pause) {
                    return Err(RunError::Interrupted);
                }
            }
            self.sink.put_at(self.clock.now(), What::Storm { upgrade: before.id, signals: sent });
        }
        if self.await_done(&restart.done, &before)? {
            self.find_main_by_pidfile()?;
            self.last_upgrade = Some(before);
        }
        self.settle()?;
        self.await_quiet()?;
        // The upgrade that was first done need not have been the last one.
        self.find_main_by_pidfile()?;
        self.rest()
    }

    /// Where the pidfile tells who is main, it may tell of another one now.
    fn find_main_by_pidfile(&mut self) -> Result<(), RunError> {
        if self.plan.target.main == MainProcess::Pidfile { self.find_main() } else { Ok(()) }
    }
}

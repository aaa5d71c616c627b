//! The stop, and the look for what it left behind.

use std::time::Duration;

use crate::event::{Leftover, Phase, What};
use crate::manifest::MainProcess;
use crate::run::upgrade::yes;
use crate::run::{CommandKey, RunError, Stage};
use crate::target::TargetStop;

/// After the main process's exit its last children may still be on their way out (their exit is asynchronous to the
/// parent's); a real leftover lives on for ever.
const LAST_CHILDREN: Duration = Duration::from_millis(500);

impl Stage<'_> {
    /// Stops the target by the manifest's way and waits until its main process is gone.
    pub(super) fn stop_target(&mut self) -> Result<(), RunError> {
        self.phase(Phase::Teardown);
        if self.plan.target.main == MainProcess::Pidfile {
            // The last upgrade may have failed half way: whom the pidfile names now is whom an operator would stop.
            self.main = self.main_by_pidfile().or_else(|| self.main.take());
        }
        let with = self.placeholders();
        let action = match &self.plan.target.stop {
            TargetStop::Signal(signal) => format!("signal {signal} to main"),
            TargetStop::Command(command) => {
                format!("run {}", command.iter().map(|word| word.fill(&with)).collect::<Vec<_>>().join(" "))
            }
        };
        self.sink.put_at(self.clock.now(), What::StopAsked { action: action.clone() });
        let Some(main) = self.main.as_ref().map(|main| main.image) else {
            self.action_failed(&action, "no main process is known");
            return Ok(());
        };
        match self.plan.target.stop.clone() {
            TargetStop::Signal(signal) => {
                let sent = self.sandbox.open_pid(main.pid).map_err(|error| error.to_string());
                let sent = sent.and_then(|pidfd| pidfd.send_signal(signal).map_err(|error| error.to_string()));
                if let Err(reason) = sent {
                    self.action_failed(&action, &reason);
                }
            }
            TargetStop::Command(command) => {
                let command = command.iter().map(|word| word.fill(&with)).collect();
                let (directory, environment) = (self.target_dir.clone(), self.clean_environment());
                self.spawn(CommandKey::Stop, command, directory, environment)?;
            }
        }
        let limit = self.plan.target.deadlines.stop;
        if !self.within(limit, || yes(!self.lives(main)))? {
            self.deadline_passed("stop", limit);
        }
        Ok(())
    }

    /// Looks for processes and sockets that remained.
    pub(super) fn scan(&mut self) -> Result<(), RunError> {
        let _empty = self.within(LAST_CHILDREN, || yes(self.leftovers().is_ok_and(|it| it.is_empty())))?;
        self.sink.put_at(self.clock.now(), What::Scanned { leftovers: self.leftovers()? });
        Ok(())
    }

    fn leftovers(&self) -> Result<Vec<Leftover>, RunError> {
        let procfs = self.sandbox.procfs();
        let processes = procfs.scan()?.into_iter().filter(|stat| !stat.is_dead()).map(|stat| Leftover::Process {
            image: stat.image,
            command: procfs.command_line(stat.image.pid).ok().flatten().unwrap_or_default().join(" "),
        });
        // Without a network namespace of its own, only the declared addresses are the target's.
        let rows = if self.plan.machine.tier.isolates_network() { self.all_listeners()? } else { self.listeners()? };
        Ok(processes.chain(rows.into_iter().map(Leftover::Listener)).collect())
    }
}

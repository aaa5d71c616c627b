//! The stop, and the look for what it left behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::event::{Leftover, Phase, What};
use crate::id::Image;
use crate::manifest::MainProcess;
use crate::run::start::CommandLine;
use crate::run::upgrade::yes;
use crate::run::{CommandKey, RunError, Stage};
use crate::target::{Signal, TargetStop};

/// After the main process's exit its last children may still be on their way out (their exit is asynchronous to the
/// parent's); a real leftover lives on for ever.
const LAST_CHILDREN: Duration = Duration::from_millis(500);

impl Stage<'_> {
    /// Stops the target by the manifest's way and waits until its main process is gone.
    pub(super) fn stop_target(&mut self) -> Result<(), RunError> {
        self.phase(Phase::Teardown);
        self.held.clear();
        if self.plan.target.main == MainProcess::Pidfile {
            // The last upgrade may have failed half way: whom the pidfile names now is whom an operator would stop.
            self.main = self.main_by_pidfile().or_else(|| self.main.take());
        }
        self.stop_main(CommandKey::Stop, &self.plan.target.stop.clone())
    }

    /// Stops the main process that is known by now, in this way.
    pub(super) fn stop_main(&mut self, key: CommandKey, stop: &TargetStop) -> Result<(), RunError> {
        let with = self.placeholders();
        let action = match stop {
            TargetStop::Signal(signal) => format!("signal {signal} to main"),
            TargetStop::Command(command) => {
                format!("run {}", command.iter().map(|word| word.fill(&with)).collect::<Vec<_>>().join(" "))
            }
        };
        self.follow_exec();
        self.socket_files = self.bound_socket_files()?;
        self.sink.put_at(self.clock.now(), What::StopAsked { action: action.clone() });
        let Some(main) = self.main.as_ref().map(|main| main.image) else {
            self.action_failed(&action, "no main process is known");
            return Ok(());
        };
        let mut commanded = None;
        match stop {
            TargetStop::Signal(signal) => {
                let sent = self.sandbox.open_pid(main.pid).map_err(|error| error.to_string());
                let sent = sent.and_then(|pidfd| pidfd.send_signal(*signal).map_err(|error| error.to_string()));
                if let Err(reason) = sent {
                    self.action_failed(&action, &reason);
                }
            }
            TargetStop::Command(command) => {
                let words = command.iter().map(|word| word.fill(&with)).collect();
                let (directory, environment) = (self.target_dir.clone(), self.clean_environment());
                commanded = Some(self.spawn(key, CommandLine { program: None, words, directory, environment })?);
            }
        }
        self.await_end(main)?;
        // What it still does, such as removing a pidfile, must not happen to the next start.
        if let Some(command) = commanded {
            let _ended = self.within(self.plan.target.deadlines.stop, || yes(command.pidfd.has_exited()))?;
        }
        self.read_logs()
    }

    /// Waits until a main process that was told to stop is gone.
    pub(super) fn await_end(&self, main: Image) -> Result<(), RunError> {
        let limit = self.plan.target.deadlines.stop;
        if !self.within(limit, || yes(!self.lives(main)))? {
            self.deadline_passed("stop", limit);
        }
        // How it ended only its reaper knows, who tells within milliseconds; a parent of its own never does.
        let _told = self.within(LAST_CHILDREN, || yes(self.observers.exit_status(main.pid).is_some()))?;
        Ok(())
    }

    /// Suspends the main process as a shell's ^Z does, and continues it: what it was told to do then, it still must.
    pub(super) fn suspend(&mut self) -> Result<(), RunError> {
        let Some(main) = &self.main else { return Ok(()) };
        let image = main.image;
        let send = |signal: i32| main.pidfd.send_signal(Signal(signal)).map_err(|error| error.to_string());
        if let Err(reason) = send(libc::SIGSTOP) {
            self.action_failed("suspend", &reason);
            return Ok(());
        }
        // Nobody can refuse SIGSTOP: what does not stand still is not scheduled.
        let stands = || yes(self.sandbox.procfs().stat(image.pid).is_ok_and(|it| it.is_none_or(|it| it.state == 'T')));
        if !self.within(self.plan.target.deadlines.stop, stands)? {
            return Err(RunError::Environment("failed to suspend the main process: it never stood still".to_owned()));
        }
        self.sink.put_at(self.clock.now(), What::Suspended { image });
        if let Err(reason) = send(libc::SIGCONT) {
            self.action_failed("continue", &reason);
        }
        Ok(())
    }

    /// Looks for processes and sockets that remained.
    pub(super) fn scan(&mut self) -> Result<(), RunError> {
        let _empty = self.within(LAST_CHILDREN, || yes(self.leftovers().is_ok_and(|it| it.is_empty())))?;
        // Who is in exit(2) is on its way out for certain, however long the kernel takes.
        let _gone = self.within(self.plan.target.deadlines.stop, || yes(!self.somebody_is_leaving()))?;
        self.sink.put_at(self.clock.now(), What::Scanned { leftovers: self.leftovers()? });
        self.end_systemd()
    }

    fn somebody_is_leaving(&self) -> bool {
        let scanned = self.sandbox.procfs().scan();
        scanned.is_ok_and(|stats| stats.iter().any(|stat| stat.exiting && !stat.is_dead()))
    }

    fn leftovers(&self) -> Result<Vec<Leftover>, RunError> {
        let procfs = self.sandbox.procfs();
        let mut processes = Vec::new();
        for image in self.unit_processes()? {
            let command = procfs.command_line(image.pid)?.unwrap_or_default().join(" ");
            processes.push(Leftover::Process { image, command });
        }
        // Without a network namespace of its own, only the declared addresses are the target's.
        let rows = if self.plan.machine.tier.isolates_network() { self.all_listeners()? } else { self.listeners()? };
        let files = self.socket_files.iter().filter(|path| path.exists());
        let files = files.map(|path| Leftover::SocketFile(path.display().to_string()));
        Ok(processes.into_iter().chain(rows.into_iter().map(Leftover::Listener)).chain(files).collect())
    }

    /// The files of the UNIX sockets that are bound in the target's network namespace. On a shared network they would be
    /// the whole host's: none are looked for.
    fn bound_socket_files(&self) -> Result<Vec<PathBuf>, RunError> {
        let Some(main) = self.main.as_ref().filter(|_| self.plan.machine.tier.isolates_network()) else {
            return Ok(Vec::new());
        };
        let (procfs, pid) = (self.sandbox.procfs(), main.image.pid);
        let table = procfs.read(&format!("{pid}/net/unix"))?.unwrap_or_default();
        let directory = procfs.link(&format!("{pid}/cwd"))?.unwrap_or_default();
        Ok(bound_paths(&String::from_utf8_lossy(&table)).map(|path| Path::new(&directory).join(path)).collect())
    }
}

/// The file names in `/proc/net/unix` (proc(5)): the eighth column, empty for an unbound socket. Abstract names begin with
/// `@` and have no file.
fn bound_paths(table: &str) -> impl Iterator<Item = &str> {
    table.lines().skip(1).map(eighth_column).filter(|path| !path.is_empty() && !path.starts_with('@'))
}

/// With its spaces: it is the last one.
fn eighth_column(row: &str) -> &str {
    (0..7).fold(row, |rest, _column| rest.trim_start().split_once(' ').map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_with_a_file_name_one() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                     ffff8880: 00000002 00000000 00010000 0001 01 30001 /run/my server.sock\n\
                     ffff8881: 00000003 00000000 00000000 0001 03    12\n\
                     ffff8882: 00000002 00000000 00010000 0001 01 30003 @abstract\n\
                     ffff8883: 00000002 00000000 00010000 0001 01     7 control.sock\n";
        assert_eq!(bound_paths(table).collect::<Vec<_>>(), ["/run/my server.sock", "control.sock"]);
    }
}

//! The target under supervisord: started by it, killed under it, stopped through it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Interval;
use crate::event::{ComeBack, SupervisedStop, What};
use crate::id::{Image, Pid};
use crate::run::daemon::{KILL_LIMIT, REST};
use crate::run::observers::OutputWritten;
use crate::run::start::CommandLine;
use crate::run::upgrade::yes;
use crate::run::{CommandKey, RunError, Stage};
use crate::supervisord::{self, PROGRAM, Said, Unit, said};
use crate::target::{Signal, TargetStop};

/// What supervisord needs beside the start itself: it is a Python program, and calls a program running after a second.
const START_MARGIN: Duration = Duration::from_secs(10);

/// SIGKILL cannot be caught.
pub(super) const KILL: Signal = Signal(libc::SIGKILL);

impl Stage<'_> {
    /// Starts supervisord with the target as its program, and waits until the target is ready and supervisord calls it
    /// running.
    pub(super) fn start_supervised(&mut self) -> Result<(), RunError> {
        self.main = None;
        let written = self.observers.output_written();
        fs::write(self.configuration_path(), self.configuration())?;
        let words = vec![
            "supervisord".to_owned(),
            "--configuration".to_owned(),
            self.configuration_path().display().to_string(),
        ];
        self.launched = Some(self.spawn(CommandKey::Launch, self.beside_target(words))?);
        self.await_spawned(written)?;
        if self.await_ready(false, written)? && self.await_running(written)? {
            self.find_supervised(written);
        }
        Ok(())
    }

    /// Kills the main process, and waits until its supervisor calls another one running, or gives up.
    pub(super) fn kill_main(&mut self) -> Result<(), RunError> {
        if self.systemd.is_some() {
            return self.kill_main_under_systemd();
        }
        let Some(main) = self.main.take() else { return Ok(()) };
        let supervisor = self.launched.as_ref().map(|it| it.pid);
        let before: Vec<Image> =
            self.living()?.into_iter().filter(|it| Some(it.pid) != supervisor && *it != main.image).collect();
        let (began, written) = (self.clock.now(), self.observers.output_written());
        main.pidfd.send_signal(KILL).map_err(|error| RunError::Environment(error.to_string()))?;
        let running = self.await_running(written)?;
        self.find_supervised(written);
        let of_before = |stage: &Self| -> Vec<Image> { before.iter().copied().filter(|it| stage.lives(*it)).collect() };
        let _gone = self.within(REST, || yes(of_before(self).is_empty()))?;
        let back = ComeBack {
            killed: main.image.pid,
            main: self.main.as_ref().map(|main| main.image.pid),
            starts: self.said_since(written).iter().filter(|said| matches!(said, Said::Spawned(_))).count(),
            running,
            // It calls running what has lived for a second; nobody tells it of a server that serves.
            answer: if running { self.await_answer()? } else { self.ask()? },
            survivors: of_before(self),
        };
        self.sink.put(Interval::new(began, self.clock.now()), What::CameBack(back));
        Ok(())
    }

    /// Stops the target through supervisorctl, looks at what is left of it, and ends supervisord.
    pub(super) fn stop_supervised(&mut self) -> Result<(), RunError> {
        let Some(supervisor) = self.launched.take() else { return Ok(()) };
        if let Some(main) = self.main.as_ref().map(|main| main.image) {
            self.stop_program(main, supervisor.pid)?;
        }
        // It has nothing to lose, and takes a second or two over SIGTERM: it looks once a second.
        supervisor.pidfd.send_signal(KILL).map_err(|error| RunError::Environment(error.to_string()))?;
        if !self.within(KILL_LIMIT, || yes(supervisor.pidfd.has_exited()))? {
            return Err(RunError::Environment("failed to end supervisord".to_owned()));
        }
        Ok(())
    }

    fn stop_program(&mut self, main: Image, supervisor: Pid) -> Result<(), RunError> {
        let limit = self.plan.target.deadlines.stop;
        let written = self.observers.output_written();
        let configuration = self.configuration_path().display().to_string();
        let words =
            ["supervisorctl", "--configuration", configuration.as_str(), "stop", PROGRAM].map(str::to_owned).to_vec();
        self.sink.put_at(self.clock.now(), What::StopAsked { action: format!("run {}", words.join(" ")) });
        let command = self.spawn(CommandKey::Stop, self.beside_target(words))?;
        // It returns when supervisord has seen the end of the program, and kills it when it has waited for long enough.
        let _returned = self.within(limit * 2, || yes(command.pidfd.has_exited()))?;
        self.await_end(main)?;
        let rest = |stage: &Self| -> Result<Vec<Image>, RunError> {
            Ok(stage.living()?.into_iter().filter(|it| it.pid != supervisor).collect())
        };
        let _gone = self.within(REST, || yes(rest(self).is_ok_and(|living| living.is_empty())))?;
        let killed = self.said_since(written).contains(&Said::Killed);
        self.sink.put_at(self.clock.now(), What::SupervisedStop(SupervisedStop { killed, living: rest(self)? }));
        Ok(())
    }

    /// Waits until supervisord has started the program: the time that this may take begins then, and not with the supervisor's own start,
    /// which beside two busy processes has taken three seconds. Where it starts nothing, nothing gets ready either.
    fn await_spawned(&self, since: OutputWritten) -> Result<(), RunError> {
        let has_ended = || self.launched.as_ref().is_some_and(|it| it.pidfd.has_exited());
        let spawned = |said: &Said| matches!(said, Said::Spawned(_) | Said::GaveUp);
        let begun = || yes(has_ended() || self.said_since(since).iter().any(spawned));
        self.within(START_MARGIN, begun).map(|_begun| ())
    }

    /// Waits until supervisord calls the program running. It says so once it has lived for a second.
    fn await_running(&self, since: OutputWritten) -> Result<bool, RunError> {
        let limit = self.plan.target.deadlines.start + START_MARGIN;
        let decided = |said: &Said| matches!(said, Said::Running | Said::GaveUp);
        let _decided = self.within(limit, || yes(self.said_since(since).iter().any(decided)))?;
        let said = self.said_since(since);
        let running = said.contains(&Said::Running);
        let starts = said.iter().filter(|said| matches!(said, Said::Spawned(_))).count();
        self.sink.put_at(self.clock.now(), What::Supervised { running, starts });
        Ok(running)
    }

    /// Who was spawned last is the main process, if it still lives.
    fn find_supervised(&mut self, since: OutputWritten) {
        let spawned = |said: &Said| if let Said::Spawned(pid) = said { Some(*pid) } else { None };
        self.main = self.said_since(since).iter().rev().find_map(spawned).and_then(|pid| self.identify(pid));
        if let Some(main) = &self.main {
            self.sink.put_at(self.clock.now(), What::Main { image: main.image });
        }
    }

    /// What supervisord has said of the program since then.
    fn said_since(&self, since: OutputWritten) -> Vec<Said> {
        self.observers.output_since(since).lines().filter_map(said).collect()
    }

    fn configuration_path(&self) -> PathBuf {
        self.target_dir.join("supervisord.conf")
    }

    fn configuration(&self) -> String {
        let launch = self.launch_command(&[]);
        supervisord::configuration(&Unit {
            command: &launch.words,
            directory: &launch.directory,
            environment: &launch.environment,
            umask: self.plan.target.launch.umask,
            stop: match self.plan.target.stop {
                TargetStop::Signal(signal) => signal,
                // A supervisor stops by signals alone.
                TargetStop::Command(_) => Signal(libc::SIGTERM),
            },
            stop_wait: self.plan.target.deadlines.stop,
            state: &self.target_dir,
        })
    }

    /// A command that is no part of the target, from its directory.
    fn beside_target(&self, words: Vec<String>) -> CommandLine {
        CommandLine { program: None, words, directory: self.target_dir.clone(), environment: self.clean_environment() }
    }
}

//! The target's own commands on a pidfile that is not as it left it, and a pidfile that is a successor's.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::clock::Interval;
use crate::event::{
    CommandedStatus, CommandedStop, DatedLook, ExitStatus, FileKind, Obstacle, Phase, RelativeStart, Stranger,
    Succession, What,
};
use crate::id::Image;
use crate::run::daemon::KILL_LIMIT;
use crate::run::obstructed::{HANG_MIN, HANG_TIMES, clear, lay};
use crate::run::second::look_at;
use crate::run::start::CommandLine;
use crate::run::upgrade::yes;
use crate::run::{CommandKey, RunError, Stage};
use crate::scenario::Step;
use crate::target::{Signal, TargetStop, Template};

/// What a status command finds when the daemon does not run. The FIFO last: how long a look takes tells how long one hangs.
const LEFT_BEHIND: [Option<Obstacle>; 4] =
    [Some(Obstacle::DeadPid), Some(Obstacle::Garbage), None, Some(Obstacle::Fifo)];

/// How old a file is made before a command that must not write it: a write in the same tick of the kernel's clock would not
/// show.
const OLD: Duration = Duration::from_secs(3600);

impl Stage<'_> {
    /// A step about the number in the pidfile, or about the file that has its name.
    pub(super) fn pidfile_step(&mut self, step: &Step) -> Result<(), RunError> {
        match step {
            Step::CommandedStops => self.commanded_stops(),
            Step::StatusCommands => self.status_commands(),
            Step::StopSucceeded => self.stop_succeeded(),
            Step::RelativeStart => self.relative_start(),
            other => unreachable!("`{}` is no step of pidfiles", other.word()),
        }
    }

    /// Stops the target by its command, then lets that loose on numbers of others.
    fn commanded_stops(&mut self) -> Result<(), RunError> {
        let target = &self.plan.target;
        let (Some(path), Some(command)) = (self.pidfile_path(), target.commands.stop.clone()) else { return Ok(()) };
        let stop = TargetStop::Command(command.clone());
        let key = if target.stop == stop { CommandKey::Stop } else { CommandKey::StopCommand };
        self.phase(Phase::Teardown);
        self.stop_main(key, &stop)?;
        // One whose command does not stop it is judged by that.
        self.kill_all_but(&[])?;
        Stranger::ALL.iter().try_for_each(|stranger| self.stop_stranger(*stranger, &path, key, &command))
    }

    fn stop_stranger(
        &mut self,
        stranger: Stranger,
        path: &Path,
        key: CommandKey,
        command: &[Template],
    ) -> Result<(), RunError> {
        let (bystander, image) = self.bystander()?;
        self.settle_bystander(image)?;
        clear(path)?;
        let content = stranger.line(bystander.pid());
        fs::write(path, &content)?;
        let began = self.clock.now();
        let status = self.run_own(key, command, self.plan.target.deadlines.stop)?;
        let unharmed = self.settle_bystander(image)? == Some('S');
        let stop = CommandedStop { stranger, content, status, bystander: bystander.pid(), unharmed };
        self.sink.put(Interval::new(began, self.clock.now()), What::CommandedStop(stop));
        clear(path)?;
        self.kill_all_but(&[image])?;
        self.end_bystander(bystander)
    }

    /// Has the target test its configuration, again and again.
    pub(super) fn config_tests(&mut self, tests: u32) -> Result<(), RunError> {
        let Some(command) = self.plan.target.commands.config_test.clone() else { return Ok(()) };
        for _ in 0..tests {
            let began = self.clock.now();
            let status = self.run_own(CommandKey::ConfigTest, &command, self.plan.target.deadlines.start)?;
            self.sink.put(Interval::new(began, self.clock.now()), What::ConfigTested { status });
        }
        Ok(())
    }

    /// Waits until a bystander sleeps, is stopped, or is gone; in which state it is then. Asleep it waits for the end of a pipe:
    /// whom a signal reaches, that one is awake from that instant on.
    fn settle_bystander(&self, image: Image) -> Result<Option<char>, RunError> {
        self.within(KILL_LIMIT, || yes(self.state(image).is_none_or(|state| matches!(state, 'S' | 'T'))))?;
        Ok(self.state(image))
    }

    /// Asks for the status of the running target, then stops it and asks again.
    fn status_commands(&mut self) -> Result<(), RunError> {
        let (Some(path), Some(command)) = (self.pidfile_path(), self.plan.target.commands.status.clone()) else {
            return Ok(());
        };
        let Some(main) = self.main.as_ref().map(|main| main.image) else { return Ok(()) };
        let took = Instant::now();
        let (status, before, after, began) = self.ask_status(&path, &command, self.plan.target.deadlines.stop)?;
        let limit = self.plan.target.deadlines.stop.min(HANG_MIN.max(HANG_TIMES * took.elapsed()));
        let asked = CommandedStatus { daemon_lives: Some(self.lives(main)), obstacle: None, status, before, after };
        self.sink.put(Interval::new(began, self.clock.now()), What::CommandedStatus(asked));
        self.stop_target()?;
        self.kill_all_but(&[])?;
        let (dead, victim) = (self.dead_pid()?, self.target_dir.join("victim"));
        for obstacle in LEFT_BEHIND {
            clear(&path)?;
            obstacle.map_or(Ok(()), |it| lay(it, &path, dead, &victim))?;
            let (status, before, after, began) = self.ask_status(&path, &command, limit)?;
            let asked = CommandedStatus { daemon_lives: None, obstacle, status, before, after };
            self.sink.put(Interval::new(began, self.clock.now()), What::CommandedStatus(asked));
            self.kill_all_but(&[])?;
        }
        Ok(clear(&path)?)
    }

    fn ask_status(
        &mut self,
        path: &Path,
        command: &[Template],
        limit: Duration,
    ) -> Result<(Option<ExitStatus>, DatedLook, DatedLook, crate::clock::Nanos), RunError> {
        make_old(path)?;
        let (began, before) = (self.clock.now(), dated(path));
        let status = self.run_own(CommandKey::StatusCommand, command, limit)?;
        Ok((status, before, dated(path), began))
    }

    /// Runs a command until it ends; `None` when it does not.
    fn run_own(
        &mut self,
        key: CommandKey,
        command: &[Template],
        limit: Duration,
    ) -> Result<Option<ExitStatus>, RunError> {
        let with = self.placeholders();
        let words = command.iter().map(|word| word.fill(&with)).collect();
        let (directory, environment) = (self.target_dir.clone(), self.clean_environment());
        let launched = self.spawn(key, CommandLine { program: None, words, directory, environment })?;
        let ended = self.within(limit, || yes(launched.pidfd.has_exited()))?;
        if !ended {
            self.deadline_passed("the end of a command", limit);
        }
        Ok(ended.then(|| self.exit_status_of(&launched).unwrap_or(ExitStatus::Unknown)))
    }

    /// Puts a successor's file in the pidfile's place, as an upgrade does that writes beside and renames over, and stops the
    /// old one.
    fn stop_succeeded(&mut self) -> Result<(), RunError> {
        let Some(main) = self.main.as_ref().map(|main| main.image) else { return Ok(()) };
        let Some(path) = self.pidfile_path() else { return self.stop_target() };
        let (successor, image) = self.bystander()?;
        let next = path.with_extension("successor");
        fs::write(&next, format!("{}\n", successor.pid()))?;
        fs::rename(&next, &path)?;
        let (began, before) = (self.clock.now(), look_at(&path));
        self.phase(Phase::Teardown);
        // A command would stop whom the file names.
        let stop = match self.plan.target.stop {
            TargetStop::Signal(signal) => signal,
            TargetStop::Command(_) => Signal(libc::SIGTERM),
        };
        self.stop_main(CommandKey::Stop, &TargetStop::Signal(stop))?;
        let ended = !self.lives(main);
        self.kill_all_but(&[image])?;
        let succession = Succession { daemon: main.pid, ended, before, after: look_at(&path) };
        self.sink.put(Interval::new(began, self.clock.now()), What::Succeeded(succession));
        clear(&path)?;
        self.end_bystander(successor)
    }

    /// A start with a relative path of the pidfile, and a stop.
    fn relative_start(&mut self) -> Result<(), RunError> {
        let below = self.plan.target.relative_pidfile().map(|(_, below)| below.to_owned());
        let (Some(below), Some(detour)) = (below, detour(&self.target_dir)) else { return Ok(()) };
        let given = detour.join(below).display().to_string();
        let began = self.clock.now();
        self.relative_pidfile = Some(given.clone());
        let started = self.start();
        self.relative_pidfile = None;
        started?;
        let daemon = self.main.as_ref().map(|main| main.image.pid);
        let gone = daemon.is_none() && self.living()?.is_empty();
        let start = RelativeStart { given, daemon, gone, there: self.pidfile_look() };
        self.sink.put(Interval::new(began, self.clock.now()), What::StartedRelative(start));
        if daemon.is_some() {
            self.stop_target()?;
        }
        self.begin_anew()
    }
}

/// A way from a directory to itself that leads nowhere from the root directory, to which daemons change: one that resolves its
/// path there must not leave a file on this machine.
fn detour(directory: &Path) -> Option<PathBuf> {
    Some(Path::new("../..").join(directory.parent()?.file_name()?).join(directory.file_name()?))
}

fn dated(path: &Path) -> DatedLook {
    let modified = path.symlink_metadata().map_or(0, |it| it.mtime() * 1_000_000_000 + it.mtime_nsec());
    DatedLook { look: look_at(path), modified }
}

/// Gives a file an old modification time.
fn make_old(path: &Path) -> Result<(), RunError> {
    if look_at(path).kind != FileKind::Regular {
        return Ok(());
    }
    let times = FileTimes::new().set_modified(SystemTime::now() - OLD);
    Ok(File::options().append(true).open(path)?.set_times(times)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detour_leads_back_to_where_it_began() {
        let directory = std::env::temp_dir().join(format!("unbroken-detour-{}", std::process::id())).join("inner");
        fs::create_dir_all(&directory).expect("a scratch directory");
        let detour = detour(&directory).expect("it has a parent");
        assert!(detour.is_relative());
        let back = fs::canonicalize(directory.join(&detour)).expect("it is there");
        assert_eq!(back, fs::canonicalize(&directory).expect("it is there"));
        assert!(!Path::new("/").join(&detour).exists());
        fs::remove_dir_all(directory.parent().expect("it has one")).expect("remove");
    }
}

//! The launchers of daemons, in the words of the sandbox, and the starts from each of them.

use std::fs;
use std::path::PathBuf;

use crate::event::{Answer, Phase, StartFrom, What};
use crate::ready::Probe;
use crate::run::start::PROBE_LIMIT;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::sandbox::Standing;
use crate::scenario::Launcher;
use crate::target::{Signal, TargetReady};

/// The directory that a launcher stands in once it is removed, below the target's.
const REMOVED_DIRECTORY: &str = "removed";

/// What [`Launcher::BlockedSignals`] blocks: what daemons are told by, and what tells them of their children.
const BLOCKED: [Signal; 5] =
    [Signal(libc::SIGTERM), Signal(libc::SIGHUP), Signal(libc::SIGUSR1), Signal(libc::SIGUSR2), Signal(libc::SIGCHLD)];

/// What [`Launcher::IgnoredSignals`] ignores.
const IGNORED: [Signal; 2] = [Signal(libc::SIGHUP), Signal(libc::SIGCHLD)];

/// What [`Launcher::ManyGroups`] is in: root's own group, and one of no meaning that nothing would be in by itself.
const GROUPS: [u32; 2] = [0, 54321];

/// What nohup(1) ignores.
const NOHUP: [Signal; 1] = [Signal(libc::SIGHUP)];

impl Launcher {
    /// Its place among sessions and process groups.
    pub(super) fn standing(self) -> Standing {
        match self {
            Launcher::Terminal => Standing::Terminal,
            Launcher::GroupLeader => Standing::LeadsGroup,
            Launcher::Script => Standing::LeadsNothing,
            Launcher::Clean
            | Launcher::BlockedSignals
            | Launcher::IgnoredSignals
            | Launcher::OpenUmask
            | Launcher::UsualUmask
            | Launcher::ClosedUmask
            | Launcher::Nohup
            | Launcher::RemovedDirectory
            | Launcher::ChildOfInit
            | Launcher::Container
            | Launcher::ManyGroups => Standing::LeadsSession,
        }
    }

    /// Its supplementary groups, where it has others than the harness.
    pub(super) fn groups(self) -> &'static [u32] {
        if self == Launcher::ManyGroups { &GROUPS } else { &[] }
    }

    /// The signals that are blocked in it.
    pub(super) fn blocked(self) -> &'static [Signal] {
        if self == Launcher::BlockedSignals { &BLOCKED } else { &[] }
    }

    /// The signals that it ignores.
    pub(super) fn ignored(self) -> &'static [Signal] {
        match self {
            Launcher::IgnoredSignals => &IGNORED,
            Launcher::Nohup => &NOHUP,
            _ => &[],
        }
    }

    /// Its umask, where it is not the manifest's.
    pub(super) fn umask(self) -> Option<u32> {
        match self {
            Launcher::OpenUmask => Some(0),
            Launcher::UsualUmask => Some(0o022),
            Launcher::ClosedUmask => Some(0o077),
            _ => None,
        }
    }
}

impl Stage<'_> {
    /// One start from each, ended before the next.
    pub(super) fn starts_from(&mut self, launchers: &[Launcher]) -> Result<(), RunError> {
        self.each_launcher(launchers, Stage::start_from)
    }

    /// One start from each while the harness listens on the address.
    pub(super) fn busy_starts_from(&mut self, launchers: &[Launcher]) -> Result<(), RunError> {
        self.each_launcher(launchers, |stage, _| stage.start_busy())
    }

    fn each_launcher(
        &mut self,
        launchers: &[Launcher],
        mut start: impl FnMut(&mut Self, Launcher) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let usual = self.ties.from;
        for from in launchers {
            // Its manifest may mean paths of the command to be below that directory.
            if *from == Launcher::RemovedDirectory && self.plan.target.launch.directory.is_some() {
                let action = format!("start from {}", from.word());
                self.action_failed(&action, "the manifest declares another directory (`launch.directory`)");
                continue;
            }
            self.ties.from = *from;
            let started = start(self, *from);
            self.ties.from = usual;
            started?;
        }
        Ok(())
    }

    fn start_from(&mut self, from: Launcher) -> Result<(), RunError> {
        self.phase(Phase::Start);
        let began = self.clock.now();
        let launched = self.launch()?;
        let status = self.await_return(&launched)?;
        (self.launched, self.main) = (Some(launched), None);
        let answer = match status {
            Some(_) => self.await_answer()?,
            None => Answer::Missing("the launcher had not returned by the start deadline".to_owned()),
        };
        let mut stopped = None;
        if answer == Answer::Answered {
            self.find_main()?;
            self.portray_daemon()?;
            if let Some(main) = self.main.as_ref().map(|main| main.image) {
                self.stop_target()?;
                stopped = Some(!self.lives(main));
            }
        }
        self.begin_anew()?;
        let what = What::StartedFrom(StartFrom { from, status, answer, stopped });
        self.sink.put(crate::clock::Interval::new(began, self.clock.now()), what);
        Ok(())
    }

    /// Asks until there is an answer, or nobody who could give one, or the start deadline has passed.
    pub(super) fn await_answer(&self) -> Result<Answer, RunError> {
        let endpoint = match self.plan.target.ready {
            TargetReady::Answers(index) => index,
            TargetReady::File(_) | TargetReady::Output(_) => 0,
        };
        let mut last = Answer::Refused;
        let limit = self.plan.target.deadlines.start;
        let _decided = self.within(limit, || {
            // Before the request: one that was gone then can have answered nothing since.
            let gone = self.sandbox.procfs().scan().is_ok_and(|all| all.iter().all(|stat| stat.is_dead()));
            last = match self.probe(endpoint, PROBE_LIMIT) {
                Ok(Probe::Answered { .. }) => Answer::Answered,
                Ok(Probe::Refused) => Answer::Refused,
                Ok(Probe::Silent { reason }) => Answer::Missing(reason),
                Ok(Probe::Wrong { what }) => Answer::Missing(what),
                Err(error) => Answer::Missing(error.to_string()),
            };
            yes(last == Answer::Answered || gone)
        })?;
        Ok(last)
    }

    /// The directory that the next launcher stands in; an empty one if it is to be removed under it.
    pub(super) fn directory_to_remove(&self) -> Result<PathBuf, RunError> {
        let directory = self.target_dir.join(REMOVED_DIRECTORY);
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }
}

//! Who is who in the target right now: the main process, the holders of the listener, the listeners.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use crate::event::{FIND_MAIN, Listener, What};
use crate::id::{Image, Pid};
use crate::kernel::pidfd::Pidfd;
use crate::manifest::{MainProcess, Profile};
use crate::run::systemd::innermost;
use crate::run::{RunError, Stage};
use crate::scenario::Launcher;
use crate::target::Placeholders;

/// The main process, held by identity.
#[derive(Debug)]
pub(super) struct Main {
    pub(super) image: Image,
    pub(super) pidfd: Pidfd,
}

impl Stage<'_> {
    /// Finds the main process as the manifest says, and tells it.
    pub(super) fn find_main(&mut self) -> Result<(), RunError> {
        let found = match self.plan.target.main {
            MainProcess::Launched => self.launched.as_ref().and_then(|launched| self.identify(launched.pid)),
            // A pidfile that is wrong or late is what a daemon is judged for: who is main must not hang on it.
            MainProcess::Pidfile if self.is_fresh_daemon() => {
                self.settled_main_by_service()?.or_else(|| self.main_by_pidfile())
            }
            MainProcess::Pidfile => self.main_by_pidfile(),
        };
        match found {
            Some(main) => {
                if self.main.as_ref().map(|known| known.image) != Some(main.image) {
                    self.tell_main(&main)?;
                }
                self.main = Some(main);
            }
            None => self.action_failed(FIND_MAIN, "it does not live, or the pidfile names none"),
        }
        Ok(())
    }

    /// Tells who is main, and watches for its end.
    pub(super) fn tell_main(&self, main: &Main) -> Result<(), RunError> {
        self.sink.put_at(self.clock.now(), What::Main { image: main.image });
        self.observers.watch_exit(main.image.pid, main.pidfd.as_fd().try_clone_to_owned()?)
    }

    /// The main process may have executed another program since it was found: the same process (its end is watched for
    /// already), and another image.
    pub(super) fn follow_exec(&mut self) {
        let Some(known) = self.main.as_ref().map(|main| main.image) else { return };
        if self.lives(known) {
            return;
        }
        if let Some(now) = self.identify(known.pid).filter(|now| now.image.start_ticks == known.start_ticks) {
            self.sink.put_at(self.clock.now(), What::Main { image: now.image });
            self.main = Some(now);
        }
    }

    /// A daemon whose service no upgrade has touched yet: no older generation serves beside it.
    fn is_fresh_daemon(&self) -> bool {
        self.plan.target.profiles.contains(&Profile::Daemon) && self.upgrades == 0
    }

    /// The live process that the pidfile names.
    pub(super) fn main_by_pidfile(&self) -> Option<Main> {
        let path = self.plan.target.pidfile.as_ref()?.fill(&self.placeholders());
        self.identify(self.pid_in(Path::new(&path))?)
    }

    /// The process id that a file of the target holds.
    pub(super) fn pid_in(&self, path: &Path) -> Option<Pid> {
        let pid = read_pid(path)?;
        // In a pid namespace of its own the target has numbers of its own.
        if self.plan.scenario.script().launcher == Launcher::Container { self.contained(pid) } else { Some(pid) }
    }

    /// The process that calls itself so.
    fn contained(&self, pid: Pid) -> Option<Pid> {
        let (procfs, named) = (self.sandbox.procfs(), pid.to_string());
        let is_named = |outer: &Pid| {
            let status = procfs.read(&format!("{outer}/status")).ok().flatten().unwrap_or_default();
            innermost(&String::from_utf8_lossy(&status)) == Some(named.as_str())
        };
        procfs.scan().ok()?.into_iter().filter(|stat| !stat.is_dead()).map(|stat| stat.image.pid).find(is_named)
    }

    /// A pidfd first, then the image: if the process still lives afterwards, both are of the same process.
    pub(super) fn identify(&self, pid: Pid) -> Option<Main> {
        let pidfd = self.sandbox.open_pid(pid).ok()?;
        let stat = self.sandbox.procfs().stat(pid).ok().flatten()?;
        (!pidfd.has_exited() && !stat.is_dead()).then_some(Main { image: stat.image, pidfd })
    }

    /// Whether this very image still lives.
    pub(super) fn lives(&self, image: Image) -> bool {
        self.state(image).is_some()
    }

    /// Whether it lives, and has not begun to exit.
    pub(super) fn runs(&self, image: Image) -> bool {
        let stat = self.sandbox.procfs().stat(image.pid).ok().flatten();
        stat.is_some_and(|stat| image.is_still(&stat.image) && !stat.is_dead() && !stat.exiting)
    }

    /// The state of this very image; `None` when it is gone or dead.
    pub(super) fn state(&self, image: Image) -> Option<char> {
        let stat = self.sandbox.procfs().stat(image.pid).ok().flatten()?;
        (image.is_still(&stat.image) && !stat.is_dead()).then_some(stat.state)
    }

    /// The images that hold a listener of the endpoints open.
    pub(super) fn holders(&self) -> Result<Vec<Image>, RunError> {
        let inodes: Vec<u64> = self.listeners()?.iter().map(|row| row.inode).filter(|inode| *inode != 0).collect();
        let procfs = self.sandbox.procfs();
        let mut holders = Vec::new();
        // Who has begun to exit lets go of it in a moment.
        for stat in procfs.scan()?.into_iter().filter(|stat| !stat.is_dead() && !stat.exiting) {
            let sockets = procfs.fds_of(stat.image.pid)?;
            if sockets.iter().any(|inode| inodes.contains(inode)) {
                holders.push(stat.image);
            }
        }
        Ok(holders)
    }

    /// Tells who serves, and whether they descend from the launched process.
    pub(super) fn portray_service(&self) -> Result<(), RunError> {
        let Some(launched) = self.launched.as_ref().map(|it| it.pid) else { return Ok(()) };
        let holders = self.holders()?;
        let stats = self.sandbox.procfs().scan()?;
        let parents: BTreeMap<Pid, Pid> = stats.iter().map(|stat| (stat.image.pid, stat.ppid)).collect();
        let descends = |image: &Image| {
            let mut lineage = std::iter::successors(Some(image.pid), |pid| parents.get(pid).copied());
            lineage.any(|pid| pid == launched)
        };
        let strays = holders.iter().copied().filter(|image| !descends(image)).collect();
        self.sink.put_at(self.clock.now(), What::Serving { launched, holders, strays });
        Ok(())
    }

    /// The listeners on the endpoints' addresses.
    pub(super) fn listeners(&self) -> Result<Vec<Listener>, RunError> {
        let ports: Vec<u16> = self.plan.target.endpoints.iter().map(|endpoint| endpoint.address.port()).collect();
        let on_port = |row: &Listener| {
            row.address.rsplit(':').next().and_then(|port| port.parse().ok()).is_some_and(|port| ports.contains(&port))
        };
        Ok(self.all_listeners()?.into_iter().filter(on_port).collect())
    }

    /// Every listener of the target's network namespace.
    pub(super) fn all_listeners(&self) -> Result<Vec<Listener>, RunError> {
        Ok(self.diag.borrow_mut().listeners()?)
    }

    /// What the manifest's templates are filled with now.
    pub(super) fn placeholders(&self) -> Placeholders {
        self.deployer.placeholders(&self.plan.target, self.version)
    }

    /// The environment of commands beside the launch.
    pub(super) fn clean_environment(&self) -> BTreeMap<String, String> {
        crate::run::start::clean_environment()
    }

    /// Tells that an action could not be carried out.
    pub(super) fn action_failed(&self, action: &str, reason: &str) {
        let what = What::ActionFailed { action: action.to_owned(), reason: reason.to_owned() };
        self.sink.put_at(self.clock.now(), what);
    }

    /// Tells that a deadline passed.
    pub(super) fn deadline_passed(&self, name: &str, length: Duration) {
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        self.sink.put_at(self.clock.now(), What::DeadlinePassed { name: name.to_owned(), length_ms });
    }
}

/// The number that a file holds.
fn read_pid(path: &Path) -> Option<Pid> {
    // Opening a FIFO would wait for its writer.
    let content = path.is_file().then(|| fs::read_to_string(path).ok()).flatten()?;
    content.trim().parse().ok().filter(|pid| *pid > 0).map(Pid)
}

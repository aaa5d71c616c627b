//! Daemons: what they are launched from, what their launcher left when it returned, and what still ties them to it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::fstat;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::event::{
    Answer, DaemonPortrait, ExitStatus, LauncherReturn, LauncherTies, Occasion, OpenDescriptor, ProcessPortrait, What,
};
use crate::id::{Image, Pid};
use crate::kernel::namespace::enter_netns;
use crate::ready::Probe;
use crate::run::census::Main;
use crate::run::start::Launched;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::target::{Signal, TargetReady};
use crate::wait::{readable_within, ready_within};

/// Numbers of the planted descriptors: one of a digit, as a script's `exec 9>file` leaves, and one beyond what a loop up
/// to 64 or 128 closes.
pub(super) const PLANTED: [i32; 2] = [9, 200];

/// A daemon that is up comes to rest at once: intermediates end, the launcher's pipes are closed. What takes longer than
/// this after readiness is not on its way.
pub(super) const REST: Duration = Duration::from_millis(500);

/// A hangup kills at once; whoever still lives after this was not killed by it.
const HANGUP_WINDOW: Duration = Duration::from_millis(200);

/// How long the kernel may take to echo a typed character.
const ECHO_LIMIT: Duration = Duration::from_secs(10);

/// How long SIGKILL may take.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// What ties the last launcher to the harness.
#[derive(Debug, Default)]
pub(super) struct Ties {
    pub(super) occasion: Occasion,
    pub(super) launcher: LauncherTies,
    /// Read ends of its standard output and error.
    pub(super) readers: Vec<OwnedFd>,
    /// Its terminal: the master side, and the other one, which somebody has to hold open as a shell does.
    terminal: Option<(OwnedFd, OwnedFd)>,
}

impl Stage<'_> {
    /// A terminal for standard input: the same one for every launch, as from one shell.
    pub(super) fn terminal(&mut self) -> Result<OwnedFd, RunError> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let failed = |errno: rustix::io::Errno| RunError::Environment(format!("failed to make a terminal: {errno}"));
        if self.ties.terminal.is_none() {
            let master = openpt(flags).map_err(failed)?;
            grantpt(&master).map_err(failed)?;
            unlockpt(&master).map_err(failed)?;
            let slave = ioctl_tiocgptpeer(&master, flags).map_err(failed)?;
            self.ties.terminal = Some((master, slave));
        }
        let (_, slave) = self.ties.terminal.as_ref().expect("it was made above");
        Ok(slave.try_clone()?)
    }

    /// Waits for the end of a launcher, and tells what was there at that instant. `None` when it does not end.
    pub(super) fn await_return(&self, launched: &Launched) -> Result<Option<ExitStatus>, RunError> {
        let limit = self.plan.target.deadlines.start;
        // Woken by the kernel: what is looked at next is as near to the exit as it can be.
        let [ended, stopped] = <[_; 2]>::try_from(ready_within(&[launched.pidfd.as_fd(), self.stop.as_fd()], limit))
            .expect("as many answers as descriptors");
        let at = self.clock.now();
        if stopped.any() {
            return Err(RunError::Interrupted);
        }
        if !ended.any() {
            self.deadline_passed(self.ties.occasion.deadline(), limit);
            return Ok(None);
        }
        let pidfile = self.pidfile_content();
        let answer = match self.ties.occasion {
            Occasion::Start | Occasion::PidfileBlocked => self.ask()?,
            Occasion::AddressBusy => Answer::Missing("the harness listens there".to_owned()),
        };
        let status = self.exit_status_of(launched).unwrap_or(ExitStatus::Unknown);
        let what = LauncherReturn { occasion: self.ties.occasion, pid: launched.pid, status, pidfile, answer };
        self.sink.put_at(at, What::LauncherReturned(what));
        Ok(Some(status))
    }

    /// One request to the endpoint that tells readiness.
    fn ask(&self) -> Result<Answer, RunError> {
        let endpoint = match self.plan.target.ready {
            TargetReady::Answers(index) => index,
            TargetReady::File(_) | TargetReady::Output(_) => 0,
        };
        let probe = self.probe(endpoint, self.plan.target.deadlines.request);
        Ok(match probe.map_err(|error| RunError::Environment(format!("failed to {error}")))? {
            Probe::Answered { .. } => Answer::Answered,
            Probe::Refused => Answer::Refused,
            Probe::Silent { reason } => Answer::Missing(reason),
            Probe::Wrong { what } => Answer::Missing(what),
        })
    }

    fn pidfile_content(&self) -> Option<String> {
        let path = self.plan.target.pidfile.as_ref()?.fill(&self.placeholders());
        std::fs::read(Path::new(&path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The process that serves, whatever the pidfile says: the nearest one that is, or is an ancestor of, every process
    /// that holds a listener of the endpoints.
    pub(super) fn main_by_service(&self) -> Result<Option<Main>, RunError> {
        let holders: Vec<Pid> = self.holders()?.into_iter().map(|image| image.pid).collect();
        let stats = self.sandbox.procfs().scan()?;
        let parents: BTreeMap<Pid, Pid> = stats.iter().map(|stat| (stat.image.pid, stat.ppid)).collect();
        Ok(nearest_ancestor(&holders, &parents).and_then(|pid| self.identify(pid)))
    }

    /// Tells what a daemon at rest looks like.
    pub(super) fn portray_daemon(&self) -> Result<(), RunError> {
        let Some(main) = self.main.as_ref().map(|main| main.image) else { return Ok(()) };
        let _at_rest = self.within(REST, || yes(self.is_at_rest(main)))?;
        let procfs = self.sandbox.procfs();
        let mut processes = Vec::new();
        for stat in procfs.scan()?.into_iter().filter(|stat| !stat.is_dead()) {
            let descriptors = procfs.descriptors(stat.image.pid)?.into_iter();
            processes.push(ProcessPortrait {
                image: stat.image,
                ppid: stat.ppid,
                session: stat.session,
                tty: stat.tty,
                descriptors: descriptors.map(|it| OpenDescriptor { number: it.number, link: it.link }).collect(),
            });
        }
        let portrait = DaemonPortrait {
            launcher: self.ties.launcher.clone(),
            reaper: self.sandbox.init_pid(),
            main,
            processes,
            pidfile: self.pidfile_content(),
            end_of_output: self.end_of_output(),
        };
        self.sink.put_at(self.clock.now(), What::Daemonised(portrait));
        Ok(())
    }

    fn is_at_rest(&self, main: Image) -> bool {
        let adopted = self
            .sandbox
            .procfs()
            .stat(main.pid)
            .is_ok_and(|stat| stat.is_some_and(|stat| stat.image == main && stat.ppid == self.sandbox.init_pid()));
        let signed = self.plan.target.pidfile.is_none() || self.pidfile_content().is_some_and(|it| !it.is_empty());
        adopted && signed && self.end_of_output()
    }

    /// No process holds a write end of the launcher's standard output or error any more.
    fn end_of_output(&self) -> bool {
        let readers: Vec<BorrowedFd<'_>> = self.ties.readers.iter().map(AsFd::as_fd).collect();
        ready_within(&readers, Duration::ZERO).iter().all(|reader| reader.hung_up)
    }

    /// Launches while the harness listens on the address, and clears away whatever of the target is left: what comes next
    /// begins anew.
    pub(super) fn start_busy(&mut self) -> Result<(), RunError> {
        let address = self.plan.target.endpoints[0].address;
        let held = listen(self.sandbox.netns(), address)?;
        let failed = self.fail_start(Occasion::AddressBusy);
        drop(held);
        failed
    }

    /// The same with a directory where its pidfile belongs: no permission stops root, but nobody writes into a directory.
    pub(super) fn start_blocked(&mut self) -> Result<(), RunError> {
        let Some(pidfile) = &self.plan.target.pidfile else { return Ok(()) };
        let path = PathBuf::from(pidfile.fill(&self.placeholders()));
        // What an earlier start left there, as nobody stopped it.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        // Not empty: else a daemon that replaces its pidfile by rename(2) would replace this too.
        std::fs::create_dir_all(path.join("occupied"))?;
        let failed = self.fail_start(Occasion::PidfileBlocked);
        std::fs::remove_dir_all(&path)?;
        failed
    }

    /// One launch that cannot succeed.
    fn fail_start(&mut self, occasion: Occasion) -> Result<(), RunError> {
        self.ties.occasion = occasion;
        let launched = self.launch()?;
        let _status = self.await_return(&launched)?;
        self.ties.occasion = Occasion::Start;
        let gone = self.within(KILL_LIMIT, || yes(self.kill_all().is_ok_and(|left| left == 0)))?;
        if gone { Ok(()) } else { Err(RunError::Environment("failed to end what a failed start left".to_owned())) }
    }

    /// Kills every process of the target; gives how many there were.
    fn kill_all(&self) -> Result<usize, RunError> {
        let living: Vec<_> = self.sandbox.procfs().scan()?.into_iter().filter(|stat| !stat.is_dead()).collect();
        for stat in &living {
            if let Ok(process) = self.sandbox.open_pid(stat.image.pid) {
                // One that has ended meanwhile is what was wanted.
                let _ = process.send_signal(Signal(libc::SIGKILL));
            }
        }
        Ok(living.len())
    }

    /// ^C and then the end of the terminal that the launcher was started from.
    pub(super) fn hangup(&mut self) -> Result<(), RunError> {
        let failed =
            |what: &str| RunError::Environment(format!("failed to type ^C on the launcher's terminal: {what}"));
        let Some((master, _slave)) = self.ties.terminal.take() else { return Err(failed("there is none")) };
        rustix::io::write(&master, b"\x03").map_err(|errno| failed(&errno.to_string()))?;
        // The echo comes after the signal (n_tty): closed before, the terminal would forget the character.
        let mut echo = Vec::new();
        while !echo.windows(2).any(|pair| pair == b"^C") {
            if !readable_within(master.as_fd(), ECHO_LIMIT) {
                return Err(failed("it is not echoed"));
            }
            let mut piece = [0; 256];
            let length = rustix::io::read(&master, &mut piece).map_err(|errno| failed(&errno.to_string()))?;
            echo.extend_from_slice(&piece[..length]);
        }
        drop(master);
        let Some(main) = &self.main else { return Ok(()) };
        let lives = !main.pidfd.wait(HANGUP_WINDOW);
        let answer = self.ask()?;
        self.sink.put_at(self.clock.now(), What::HungUp { lives, answer });
        Ok(())
    }
}

/// A pipe's write end and a socket, and how `/proc/PID/fd` shows them. Their other ends are closed: nobody is to wait.
pub(super) fn planted() -> Result<(Vec<OwnedFd>, Vec<String>), RunError> {
    let (_reader, pipe) = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from)?;
    let (_peer, socket) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(std::io::Error::from)?;
    let links = vec![link_of("pipe", &pipe)?, link_of("socket", &socket)?];
    Ok((vec![pipe, socket], links))
}

/// How `/proc/PID/fd` shows a descriptor without a path (proc(5)).
pub(super) fn link_of(kind: &str, fd: &OwnedFd) -> Result<String, RunError> {
    Ok(format!("{kind}:[{}]", fstat(fd).map_err(std::io::Error::from)?.st_ino))
}

/// A listener of the harness's own in the target's network: a socket stays in the namespace in which it was made.
pub(super) fn listen(netns: Option<BorrowedFd<'_>>, address: SocketAddr) -> Result<TcpListener, RunError> {
    let failed =
        |why: String| RunError::Environment(format!("failed to listen on {address} in the target's place: {why}"));
    let bound = thread::scope(|scope| {
        let bind = || {
            if let Some(netns) = netns {
                enter_netns(netns).map_err(|error| error.to_string())?;
            }
            TcpListener::bind(address).map_err(|error| error.to_string())
        };
        scope.spawn(bind).join()
    });
    bound.unwrap_or_else(|_| Err("its thread panicked".to_owned())).map_err(failed)
}

/// The nearest process that is, or is an ancestor of, all of these; `None` without any.
fn nearest_ancestor(all: &[Pid], parents: &BTreeMap<Pid, Pid>) -> Option<Pid> {
    let lineage = |pid: Pid| std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
    let known = |pid: &Pid| parents.contains_key(pid);
    lineage(*all.first()?).filter(known).find(|elder| all.iter().all(|pid| lineage(*pid).any(|it| it == *elder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(holders: &[i32], want: Option<i32>) {
        // 1 ── 5 ── 6, 7;  1 ── 8
        let parents = [(5, 1), (6, 5), (7, 5), (8, 1)].map(|(pid, parent)| (Pid(pid), Pid(parent)));
        let holders: Vec<Pid> = holders.iter().copied().map(Pid).collect();
        assert_eq!(nearest_ancestor(&holders, &BTreeMap::from(parents)), want.map(Pid), "{holders:?}");
    }

    #[test]
    fn the_main_process_is_the_nearest_ancestor_of_all_that_serve() {
        check(&[6], Some(6));
        check(&[6, 7], Some(5));
        check(&[5, 6], Some(5));
        check(&[6, 8], None);
        check(&[], None);
    }
}

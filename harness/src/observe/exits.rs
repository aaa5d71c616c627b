//! How processes ended: the reaper's account, and pidfds for those that it cannot wait for.
//!
//! The reaper (init of the target's pid namespace) knows the status, a pidfd only the end. Of a process that both tell
//! of, the status is told, once; only when the reaper is late is there an `Unknown` first and the status after it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::account::Account;
use super::error::ObserveError;
use super::handle::{Handle, Watch, spawn};
use super::inbox::{Inbox, Outbox, inbox};
use super::vantage::Vantage;
use crate::clock::{Interval, Nanos};
use crate::event::{ExitStatus, What};
use crate::id::Pid;
use crate::wait::{readable_within, ready_within};

const NAME: &str = "exits";
/// The reaper stamps what it tells, so nothing is lost by looking seldom; pidfds wake the thread at once. It is also
/// how long a pidfd's word waits for the reaper's: ten times what reaping takes.
const SAMPLE: Duration = Duration::from_millis(2);

/// An exit as the reaper tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Who, in the target's pid namespace.
    pub pid: Pid,
    /// How.
    pub status: ExitStatus,
    /// When it was reaped.
    pub at: Nanos,
}

/// Where the reaper's exits come from; `|| receiver.try_recv().ok()` is one.
pub trait ExitSource: Send {
    /// The next exit, if there is one. Never blocks.
    fn try_next(&mut self) -> Option<Exit>;
}

impl<F: FnMut() -> Option<Exit> + Send> ExitSource for F {
    fn try_next(&mut self) -> Option<Exit> {
        self()
    }
}

/// Adds processes at run time.
#[derive(Debug, Clone)]
pub struct ExitWatch {
    requests: Outbox<(Pid, OwnedFd)>,
}

impl ExitWatch {
    /// Tells the end of this process even if the reaper does not. `pid` is the name in the target's pid namespace.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn watch(&self, pid: Pid, pidfd: OwnedFd) -> Result<(), ObserveError> {
        if self.requests.send((pid, pidfd)) { Ok(()) } else { Err(ObserveError::Ended { observer: NAME }) }
    }
}

/// Observer of exits.
#[derive(Debug)]
pub struct ExitObserver;

impl ExitObserver {
    /// Starts it.
    ///
    /// # Errors
    /// When no thread or descriptor is left.
    pub fn spawn(reaper: impl ExitSource + 'static, vantage: Vantage) -> Result<(ExitWatch, Handle), ObserveError> {
        let (requests, inbox) = inbox().map_err(|source| ObserveError::Thread { observer: NAME, source })?;
        let handle = spawn(NAME, vantage, move |vantage, account| {
            let looked = vantage.clock.now();
            let mut looks = ExitLooks {
                reaper,
                inbox,
                pidfds: BTreeMap::new(),
                pending: BTreeMap::new(),
                told: BTreeSet::new(),
                looked,
            };
            looks.hear_reaper(vantage);
            account.sampled(looked);
            Ok(looks)
        })?;
        Ok((ExitWatch { requests }, handle))
    }
}

struct ExitLooks<S> {
    reaper: S,
    inbox: Inbox<(Pid, OwnedFd)>,
    /// Alive when last looked at.
    pidfds: BTreeMap<Pid, OwnedFd>,
    /// Ended, as a pidfd told; the reaper may yet tell how.
    pending: BTreeMap<Pid, Interval>,
    /// Ended, as the reaper told.
    told: BTreeSet<Pid>,
    /// When the pidfds were last looked at.
    looked: Nanos,
}

impl<S: ExitSource> Watch for ExitLooks<S> {
    fn watch(mut self, vantage: &Vantage, account: &mut Account) -> Result<(), ObserveError> {
        loop {
            let mut stopped = self.wait(vantage, account);
            if stopped {
                // Once more: processes may have been added just before the stop.
                stopped = self.wait(vantage, account);
            }
            self.hear_reaper(vantage);
            let late = vantage.clock.now();
            let waits = |at: &Interval| !stopped && late.since(at.not_after) < SAMPLE;
            let (waiting, given_up) =
                std::mem::take(&mut self.pending).into_iter().partition::<BTreeMap<_, _>, _>(|(_, at)| waits(at));
            self.pending = waiting;
            for (pid, at) in given_up {
                vantage.put(at, What::Exited { pid, status: ExitStatus::Unknown });
            }
            if stopped {
                return Ok(());
            }
        }
    }
}

impl<S: ExitSource> ExitLooks<S> {
    /// Waits for a stop, a request or an end; true for the stop.
    fn wait(&mut self, vantage: &Vantage, account: &mut Account) -> bool {
        let looked = vantage.clock.now();
        let fds: Vec<BorrowedFd<'_>> = [vantage.stop.as_fd(), self.inbox.as_fd()]
            .into_iter()
            .chain(self.pidfds.values().map(AsFd::as_fd))
            .collect();
        let limit = if self.pending.is_empty() { vantage.pace(SAMPLE) } else { SAMPLE };
        let ready = ready_within(&fds, limit);
        account.sampled(looked);
        let at = Interval::new(self.looked, vantage.clock.now());
        let ended: Vec<Pid> =
            self.pidfds.keys().zip(&ready[2..]).filter(|(_, ready)| ready.any()).map(|(pid, _)| *pid).collect();
        self.looked = looked;
        for pid in ended {
            self.pidfds.remove(&pid);
            if !self.told.contains(&pid) {
                self.pending.insert(pid, at);
            }
        }
        self.take_requests(vantage);
        ready[0].readable
    }

    fn take_requests(&mut self, vantage: &Vantage) {
        while let Some((pid, pidfd)) = self.inbox.next() {
            if readable_within(pidfd.as_fd(), Duration::ZERO) {
                // It ended before anyone looked: at some time since the run began.
                if !self.told.contains(&pid) {
                    self.pending.insert(pid, Interval::new(Nanos::default(), vantage.clock.now()));
                }
            } else {
                self.pidfds.insert(pid, pidfd);
            }
        }
    }

    fn hear_reaper(&mut self, vantage: &Vantage) {
        while let Some(exit) = self.reaper.try_next() {
            self.pending.remove(&exit.pid);
            self.told.insert(exit.pid);
            vantage.sink.put_at(exit.at, What::Exited { pid: exit.pid, status: exit.status });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::sync::mpsc::{Sender, channel};

    use rustix::process::{Pid as RawPid, PidfdFlags, pidfd_open};

    use super::super::fixture::Fixture;
    use super::*;

    fn child() -> (Child, Pid, OwnedFd) {
        let child = Command::new("sleep").arg("100").spawn().expect("sleep");
        let pidfd = pidfd_open(RawPid::from_child(&child), PidfdFlags::empty()).expect("pidfd");
        let pid = Pid(child.id().try_into().expect("a pid"));
        (child, pid, pidfd)
    }

    fn begin(fixture: &Fixture) -> (Sender<Exit>, ExitWatch, Handle) {
        let (sender, receiver) = channel();
        let (watch, handle) = ExitObserver::spawn(move || receiver.try_recv().ok(), fixture.vantage()).expect("spawn");
        (sender, watch, handle)
    }

    fn exits(fixture: &Fixture) -> Vec<(Pid, ExitStatus)> {
        let exit = |what| if let What::Exited { pid, status } = what { Some((pid, status)) } else { None };
        fixture.take().into_iter().filter_map(|(_, what)| exit(what)).collect()
    }

    #[test]
    fn a_pidfd_tells_an_end_of_unknown_status() {
        let fixture = Fixture::new(None);
        let (mut child, pid, pidfd) = child();
        let (_reaper, watch, handle) = begin(&fixture);
        watch.watch(pid, pidfd).expect("watch");
        child.kill().expect("kill");
        let status = fixture.find(|_, what| match what {
            What::Exited { pid: it, status } if it == pid => Some(status),
            _ => None,
        });
        assert_eq!(status, ExitStatus::Unknown);
        child.wait().expect("wait");
        fixture.stop();
        handle.finish().expect("finish");
        assert_eq!(exits(&fixture), []);
    }

    #[test]
    fn a_process_that_the_reaper_told_of_is_not_told_again() {
        let fixture = Fixture::new(None);
        let (mut child, pid, pidfd) = child();
        let (reaper, watch, handle) = begin(&fixture);
        child.kill().expect("kill");
        child.wait().expect("wait");
        let status = ExitStatus::Signal(9);
        reaper.send(Exit { pid, status, at: Nanos(7) }).expect("send");
        let at = fixture.find(|at, what| matches!(what, What::Exited { .. }).then_some(at));
        assert_eq!(at, Interval::at(Nanos(7)));
        watch.watch(pid, pidfd).expect("watch");
        fixture.stop();
        handle.finish().expect("finish");
        assert_eq!(exits(&fixture), []);
        assert!(watch.watch(pid, child_pidfd()).is_err());
    }

    fn child_pidfd() -> OwnedFd {
        pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).expect("pidfd")
    }

    #[test]
    fn a_reaper_that_is_late_still_tells_the_status() {
        let fixture = Fixture::new(None);
        let (mut child, pid, pidfd) = child();
        let (reaper, watch, handle) = begin(&fixture);
        watch.watch(pid, pidfd).expect("watch");
        child.kill().expect("kill");
        let unknown = (pid, ExitStatus::Unknown);
        let exited = |what| if let What::Exited { pid, status } = what { Some((pid, status)) } else { None };
        assert_eq!(fixture.find(|_, what| exited(what)), unknown);
        child.wait().expect("wait");
        reaper.send(Exit { pid, status: ExitStatus::Signal(9), at: Nanos(8) }).expect("send");
        assert_eq!(fixture.find(|_, what| exited(what)), (pid, ExitStatus::Signal(9)));
        fixture.stop();
        handle.finish().expect("finish");
    }
}

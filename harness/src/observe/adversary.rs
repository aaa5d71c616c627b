//! The adversary: holds the last calls of a daemon's start, to see whether its launcher waits for them.
//!
//! Whether a launcher returns before its daemon listens is a race that the daemon usually wins. Held in its listen(2), or
//! in the call that makes its pidfile, it loses for certain: until the launcher has returned (then it did not wait), or
//! has stood still for so long that it evidently waits. The launcher's own calls are never held: nobody would be left to
//! let them go.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use super::account::Account;
use super::endpoints::Endpoints;
use super::error::ObserveError;
use super::handle::{Handle, Watch, spawn};
use super::listen_hook::HeldCall;
use super::vantage::Vantage;
use crate::clock::{Interval, Nanos};
use crate::event::{Released, StartupCall, What};
use crate::id::Pid;
use crate::wait::ready_within;

const NAME: &str = "adversary";
/// Nothing is polled: an hour only bounds one wait, after which it waits again.
const IDLE: Duration = Duration::from_secs(3600);
/// After a failed receive: it must not spin, and whoever is held waits that long at most before the next try.
const PAUSE: Duration = Duration::from_millis(1);
/// A launcher that still stands after this has time enough to return, on a slow machine too.
const WAIT_MIN: Duration = Duration::from_millis(500);
/// The same for launchers that are slow by nature: so many times what the start took until the held call.
const WAIT_TIMES: u32 = 5;

/// What a held call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// listen(2) on a socket that is bound to this address.
    Listen(SocketAddr),
    /// This file is opened for writing, or gets its name.
    File(PathBuf),
    /// This file, open already, is written to.
    Content(PathBuf),
}

/// The seccomp hook, as far as this observer needs it.
pub trait StartupCalls: Send {
    /// Readable while a call is held; hung up when no process with the filter is left.
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Takes a held call, and what it is about; `None` when it was withdrawn (the caller died or was interrupted).
    ///
    /// # Errors
    /// When the kernel refuses for another reason.
    fn receive(&mut self) -> io::Result<Option<(HeldCall, Option<Concern>)>>;

    /// Lets the call go on in the kernel. A caller that has died meanwhile is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn answer_continue(&mut self, id: u64) -> io::Result<()>;
}

/// How long a call is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// Until the launcher has returned, or has shown that it waits; at most so long, as it gives up some day.
    Shown(Duration),
    /// Until the launcher has returned, however long that takes.
    Returned,
}

/// The launcher, of which it is asked whether it waits.
#[derive(Debug)]
pub struct Waiter {
    /// Its pid, in the target's pid namespace.
    pub pid: Pid,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// When it was launched.
    pub since: Nanos,
    /// How long a call is held for it.
    pub term: Term,
}

/// Observer that holds a daemon's start.
#[derive(Debug)]
pub struct Adversary;

impl Adversary {
    /// Starts it. It also ends when no process with the filter is left. `pidfile` is held where the target has one.
    ///
    /// # Errors
    /// When its thread cannot be had.
    pub fn spawn(
        hook: impl StartupCalls + 'static,
        launcher: Waiter,
        (endpoints, pidfile): (Endpoints, Option<PathBuf>),
        vantage: Vantage,
    ) -> Result<Handle, ObserveError> {
        spawn(NAME, vantage, move |_, _| {
            let (held, held_for) = (Vec::new(), Duration::ZERO);
            Ok(Watching { hook, launcher, endpoints, pidfile, made: false, held, held_for })
        })
    }
}

struct Watching<H> {
    hook: H,
    launcher: Waiter,
    endpoints: Endpoints,
    pidfile: Option<PathBuf>,
    /// Somebody was held for the pidfile already.
    made: bool,
    held: Vec<Holding>,
    /// For how long calls were held, together.
    held_for: Duration,
}

/// A call that stands still now.
struct Holding {
    call: HeldCall,
    startup: StartupCall,
    since: Nanos,
    /// When its launcher has waited long enough.
    until: Nanos,
}

impl<H: StartupCalls> Watch for Watching<H> {
    fn watch(mut self, vantage: &Vantage, account: &mut Account) -> Result<(), ObserveError> {
        loop {
            let stopping = vantage.stop.is_asked();
            let limit = if stopping { Duration::ZERO } else { self.patience(vantage.clock.now()) };
            // The launcher is asked only while somebody is held for it: its pidfd stays readable for ever.
            let fds = [self.hook.as_fd(), vantage.stop.as_fd(), self.launcher.pidfd.as_fd()];
            let ready = ready_within(if self.held.is_empty() { &fds[..2] } else { &fds }, limit);
            self.release(vantage);
            if ready[0].readable {
                self.receive(vantage, account);
            } else if ready[0].hung_up || stopping {
                // Whoever is still held would get ENOSYS when the hook closes.
                self.held.drain(..).for_each(|it| answer(&mut self.hook, &it.call, vantage));
                return Ok(());
            }
        }
    }
}

impl<H: StartupCalls> Watching<H> {
    /// How long there is nothing to do for certain.
    fn patience(&self, now: Nanos) -> Duration {
        self.held.iter().map(|it| it.until.since(now)).min().unwrap_or(IDLE)
    }

    fn receive(&mut self, vantage: &Vantage, account: &mut Account) {
        let (call, concern) = match self.hook.receive() {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(error) => {
                vantage.fault(NAME, format!("failed to receive a held call: {error}"));
                // Asked or not, the next round looks at the hook first.
                let _ = vantage.stop.pause(PAUSE);
                return;
            }
        };
        account.announced();
        match concern.and_then(|it| self.startup(it)).filter(|_| call.pid != self.launcher.pid) {
            None => answer(&mut self.hook, &call, vantage),
            Some(startup) => {
                self.made |= startup == StartupCall::Pidfile;
                let since = vantage.clock.now();
                // While somebody was held the start did not go on.
                let took = since.since(self.launcher.since).saturating_sub(self.held_for);
                let wait = match self.launcher.term {
                    Term::Shown(at_most) => WAIT_MIN.max(took * WAIT_TIMES).min(at_most),
                    Term::Returned => IDLE,
                };
                self.held.push(Holding { call, startup, since, until: since.plus(wait) });
                // A launcher that is gone already is seen here, before anything else happens.
                self.release(vantage);
            }
        }
    }

    fn startup(&self, concern: Concern) -> Option<StartupCall> {
        match concern {
            Concern::Listen(address) => {
                self.endpoints.have_port(address.port()).then(|| StartupCall::Listen(address.to_string()))
            }
            Concern::File(path) => (Some(path) == self.pidfile).then_some(StartupCall::Pidfile),
            // For a file that its launcher opened the daemon is held in the first write: only that makes it a pidfile. Who
            // was held in the open has shown already what there is to see.
            Concern::Content(path) => (!self.made && Some(path) == self.pidfile).then_some(StartupCall::Pidfile),
        }
    }

    /// Lets go whom the launcher's return, or its patience, sets free.
    fn release(&mut self, vantage: &Vantage) {
        let returned = ready_within(&[self.launcher.pidfd.as_fd()], Duration::ZERO)[0].any();
        let now = vantage.clock.now();
        for it in self.held.extract_if(.., |it| returned || it.until <= now) {
            self.held_for += now.since(it.since);
            let released = if returned { Released::LauncherReturned } else { Released::LauncherWaited };
            let what = What::StartupHeld { pid: it.call.pid, call: it.startup, released };
            vantage.put(Interval::new(it.since, now), what);
            answer(&mut self.hook, &it.call, vantage);
        }
    }
}

fn answer(hook: &mut impl StartupCalls, call: &HeldCall, vantage: &Vantage) {
    if let Err(error) = hook.answer_continue(call.id) {
        vantage.fault(NAME, format!("failed to let pid {} go on: {error}", call.pid));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use rustix::pipe::pipe;

    use super::super::fixture::Fixture;
    use super::*;

    const LAUNCHER: Pid = Pid(5);
    const DAEMON: Pid = Pid(7);

    /// A byte in the pipe is a held call: 'l' listen by the daemon, 'p' its pidfile, 'w' a write to that, 'f' another file,
    /// 'm' the launcher's own listen.
    struct Fake {
        held: OwnedFd,
        answers: Sender<u64>,
    }

    impl StartupCalls for Fake {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.held.as_fd()
        }

        fn receive(&mut self) -> io::Result<Option<(HeldCall, Option<Concern>)>> {
            let mut byte = [0];
            rustix::io::read(&self.held, &mut byte)?;
            let (pid, concern) = match byte[0] {
                b'l' => (DAEMON, Concern::Listen("0.0.0.0:10099".parse().expect("an address"))),
                b'm' => (LAUNCHER, Concern::Listen("0.0.0.0:10099".parse().expect("an address"))),
                b'p' => (DAEMON, Concern::File("/run/pid".into())),
                b'w' => (DAEMON, Concern::Content("/run/pid".into())),
                _ => (DAEMON, Concern::File("/run/other".into())),
            };
            Ok(Some((HeldCall { id: byte[0].into(), pid }, Some(concern))))
        }

        fn answer_continue(&mut self, id: u64) -> io::Result<()> {
            self.answers.send(id).expect("the test listens");
            Ok(())
        }
    }

    /// Holds `calls` of a daemon whose launcher returns (or not) after they were all received; what was told.
    fn held(calls: &[u8], returns: bool) -> Vec<(StartupCall, Released)> {
        let fixture = Fixture::new(None);
        let (hook, hold) = pipe().expect("pipe");
        let (pidfd, lives) = pipe().expect("pipe");
        let (answers, answered) = channel();
        let since = fixture.vantage().clock.now();
        let launcher = Waiter { pid: LAUNCHER, pidfd, since, term: Term::Shown(IDLE) };
        let endpoints = Endpoints::new(vec!["127.0.0.1:10099".parse().expect("an address")]);
        let about = (endpoints, Some("/run/pid".into()));
        let handle = Adversary::spawn(Fake { held: hook, answers }, launcher, about, fixture.vantage()).expect("spawn");
        rustix::io::write(&hold, calls).expect("write");
        if returns {
            drop(lives);
            // Every call is answered once the launcher has returned, long before anybody has waited enough.
            let mut ids: Vec<u64> = answered.iter().take(calls.len()).collect();
            ids.sort_unstable();
            let mut wanted: Vec<u64> = calls.iter().map(|it| (*it).into()).collect();
            wanted.sort_unstable();
            assert_eq!(ids, wanted);
        } else {
            assert_eq!(answered.iter().take(calls.len()).count(), calls.len());
            drop(lives);
        }
        drop(hold);
        handle.finish().expect("finish");
        let told = fixture.take().into_iter().filter_map(|(_, what)| match what {
            What::StartupHeld { pid: DAEMON, call, released } => Some((call, released)),
            _ => None,
        });
        told.collect()
    }

    fn listen() -> StartupCall {
        StartupCall::Listen("0.0.0.0:10099".to_owned())
    }

    #[test]
    fn a_launcher_that_returns_while_its_daemon_is_held_does_not_wait() {
        assert_eq!(held(b"l", true), [(listen(), Released::LauncherReturned)]);
        assert_eq!(held(b"pl", true).len(), 2);
    }

    #[test]
    fn a_launcher_that_still_stands_has_shown_that_it_waits() {
        assert_eq!(held(b"p", false), [(StartupCall::Pidfile, Released::LauncherWaited)]);
    }

    #[test]
    fn a_pidfile_that_the_launcher_opened_is_held_in_its_first_write() {
        assert_eq!(held(b"w", true), [(StartupCall::Pidfile, Released::LauncherReturned)]);
        assert_eq!(held(b"pw", true), [(StartupCall::Pidfile, Released::LauncherReturned)]);
    }

    #[test]
    fn other_files_and_the_launchers_own_calls_are_never_held() {
        assert_eq!(held(b"fm", false), []);
    }
}

//! The target stands still in listen(2) while the listeners are dumped.
//!
//! However short a rebind's gap is, the dump is taken inside it: that certainty no polling gives. Every held call is
//! let go whatever happens; when this ends, the hook's descriptor closes and the kernel lets go what is left (with
//! ENOSYS, hence: ask the stop only when the target has ended).

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::account::Account;
use super::endpoints::Endpoints;
use super::error::ObserveError;
use super::handle::{Handle, Watch, spawn};
use super::vantage::Vantage;
use crate::clock::Interval;
use crate::event::What;
use crate::id::{Cookie, Pid};
use crate::kernel::inet_diag::{Diag, ListenSocket};
use crate::wait::{Readiness, ready_within};

const NAME: &str = "listen-hook";
/// Nothing is polled: an hour only bounds one wait, after which it waits again.
const IDLE: Duration = Duration::from_secs(3600);
/// After a failed receive: it must not spin, and whoever is held waits that long at most before the next try.
const PAUSE: Duration = Duration::from_millis(1);

/// A call that the kernel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldCall {
    /// The notification's id.
    pub id: u64,
    /// The caller, in the target's pid namespace.
    pub pid: Pid,
}

/// The socket that a held listen(2) is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldSocket {
    /// Its identity.
    pub cookie: Cookie,
    /// The address it is bound to.
    pub address: SocketAddr,
    /// SO_REUSEPORT.
    pub reuseport: bool,
    /// SO_ACCEPTCONN: it listened already.
    pub already_listening: bool,
}

/// The seccomp hook, as far as this observer needs it.
pub trait HeldCalls: Send {
    /// Readable while a call is held; hung up when no process with the filter is left.
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Takes a held call; `None` when it was withdrawn (the caller died or was interrupted).
    ///
    /// # Errors
    /// When the kernel refuses for another reason.
    fn receive(&mut self) -> io::Result<Option<HeldCall>>;

    /// The socket of a held call; `None` when it is no TCP socket, or the caller has died.
    ///
    /// # Errors
    /// When it cannot be looked at.
    fn socket(&mut self, call: &HeldCall) -> io::Result<Option<HeldSocket>>;

    /// Lets the call go on in the kernel. A caller that has died meanwhile is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn answer_continue(&mut self, call: &HeldCall) -> io::Result<()>;
}

/// Observer of listen(2) calls.
#[derive(Debug)]
pub struct ListenHookObserver;

impl ListenHookObserver {
    /// Starts it. It also ends when no process with the filter is left.
    ///
    /// # Errors
    /// When the namespace cannot be entered or inet_diag refuses.
    pub fn spawn(
        hook: impl HeldCalls + 'static,
        endpoints: Endpoints,
        vantage: Vantage,
    ) -> Result<Handle, ObserveError> {
        spawn(NAME, vantage, move |_, _| {
            let mut diag = Diag::open().map_err(ObserveError::look(NAME, "open inet_diag"))?;
            diag.listen_sockets().map_err(ObserveError::look(NAME, "dump the listeners"))?;
            Ok(ListenHookWatch { hook, endpoints, diag })
        })
    }
}

struct ListenHookWatch<H> {
    hook: H,
    endpoints: Endpoints,
    diag: Diag,
}

impl<H: HeldCalls> Watch for ListenHookWatch<H> {
    fn watch(mut self, vantage: &Vantage, account: &mut Account) -> Result<(), ObserveError> {
        loop {
            let limit = if vantage.stop.is_asked() { Duration::ZERO } else { IDLE };
            let ready = ready_within(&[self.hook.as_fd(), vantage.stop.as_fd()], limit);
            match ready[0] {
                Readiness { readable: true, .. } => self.serve(vantage, account),
                Readiness { hung_up: true, .. } => return Ok(()),
                // Only after the held calls: nobody may stay held.
                _ if ready[1].readable => return Ok(()),
                _ => {}
            }
        }
    }
}

impl<H: HeldCalls> ListenHookWatch<H> {
    fn serve(&mut self, vantage: &Vantage, account: &mut Account) {
        let call = match self.hook.receive() {
            Ok(Some(call)) => call,
            Ok(None) => return,
            Err(error) => {
                vantage.fault(NAME, format!("failed to receive a held listen(2): {error}"));
                // Asked or not, the next round looks at the hook first.
                let _ = vantage.stop.pause(PAUSE);
                return;
            }
        };
        account.announced();
        let seen = self.look(&call, vantage);
        let answered = self.hook.answer_continue(&call);
        match seen {
            Ok(Some((at, what))) => vantage.put(at, what),
            Ok(None) => {}
            Err(error) => vantage.fault(NAME, format!("failed to look while pid {} stood still: {error}", call.pid)),
        }
        if let Err(error) = answered {
            vantage.fault(NAME, format!("failed to let pid {} go on in listen(2): {error}", call.pid));
        }
    }

    fn look(&mut self, call: &HeldCall, vantage: &Vantage) -> io::Result<Option<(Interval, What)>> {
        let held = vantage.clock.now();
        let Some(socket) = self.hook.socket(call)? else { return Ok(None) };
        if !self.endpoints.have_port(socket.address.port()) {
            return Ok(None);
        }
        let mut rows = self.diag.listen_sockets()?;
        rows.retain(|row| self.endpoints.are_served_by(row));
        rows.sort_unstable_by_key(|row| (row.local, row.cookie));
        let what = What::ListenCall {
            pid: call.pid,
            cookie: socket.cookie,
            address: socket.address.to_string(),
            reuseport: socket.reuseport,
            already_listening: socket.already_listening,
            rows: rows.iter().map(ListenSocket::row).collect(),
        };
        Ok(Some((Interval::new(held, vantage.clock.now()), what)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::mpsc::{Sender, channel};

    use rustix::pipe::pipe;

    use super::super::fixture::Fixture;
    use super::*;
    use crate::kernel::inet_diag::fresh_netns::in_fresh_netns;

    /// A byte in the pipe is a held call: 'e' on an endpoint, 'o' elsewhere, 'x' whose socket cannot be read.
    struct Fake {
        held: OwnedFd,
        answers: Sender<u64>,
    }

    impl HeldCalls for Fake {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.held.as_fd()
        }

        fn receive(&mut self) -> io::Result<Option<HeldCall>> {
            let mut byte = [0];
            rustix::io::read(&self.held, &mut byte)?;
            Ok(Some(HeldCall { id: byte[0].into(), pid: Pid(7) }))
        }

        fn socket(&mut self, call: &HeldCall) -> io::Result<Option<HeldSocket>> {
            let address = match call.id {
                101 => "0.0.0.0:10086",
                111 => "127.0.0.1:1",
                _ => return Err(io::Error::other("gone")),
            };
            let address = address.parse().expect("an address");
            Ok(Some(HeldSocket { cookie: Cookie(9), address, reuseport: true, already_listening: false }))
        }

        fn answer_continue(&mut self, call: &HeldCall) -> io::Result<()> {
            self.answers.send(call.id).expect("the test listens");
            Ok(())
        }
    }

    #[test]
    fn every_held_call_is_answered_and_those_on_endpoints_are_told_with_a_dump() {
        in_fresh_netns(|netns| {
            let fixture = Fixture::new(Some(netns));
            let _listener = TcpListener::bind("127.0.0.1:10086").expect("bind");
            let (held, hold) = pipe().expect("pipe");
            let (answers, answered) = channel();
            let endpoints = Endpoints::new(vec!["127.0.0.1:10086".parse().expect("an address")]);
            let handle =
                ListenHookObserver::spawn(Fake { held, answers }, endpoints, fixture.vantage()).expect("spawn");
            rustix::io::write(&hold, b"xoe").expect("write");
            let (pid, rows) = fixture.find(|_, what| match what {
                What::ListenCall { pid, rows, reuseport: true, .. } => Some((pid, rows)),
                _ => None,
            });
            assert_eq!((pid, rows.len()), (Pid(7), 1));
            // Held at the stop: answered nevertheless.
            fixture.stop();
            rustix::io::write(&hold, b"o").ok();
            drop(hold);
            assert!(handle.finish().expect("finish").samples >= 3);
            assert_eq!(answered.iter().take(3).collect::<Vec<_>>(), b"xoe".map(u64::from));
            let faults = fixture.take();
            assert!(faults.iter().all(|(_, what)| !matches!(what, What::ListenCall { .. })), "{faults:?}");
        });
    }

    #[test]
    fn it_ends_when_no_process_with_the_filter_is_left() {
        let fixture = Fixture::new(None);
        let (held, hold) = pipe().expect("pipe");
        let (answers, _answered) = channel();
        let handle = ListenHookObserver::spawn(Fake { held, answers }, Endpoints::new(vec![]), fixture.vantage())
            .expect("spawn");
        drop(hold);
        assert_eq!(handle.finish().expect("finish").samples, 0);
    }
}

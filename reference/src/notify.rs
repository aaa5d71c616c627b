//! sd_notify(3): telling a supervisor what goes on, by datagrams to the socket that NOTIFY_SOCKET names.
//!
//! - The variable is taken out of the environment: a helper that inherits it would speak for its parent.
//! - A message is one datagram of lines; what belongs together goes into one message.
//! - Nobody is waited for: a supervisor that does not listen must not hold the service up.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that names the socket: a path, or a name in the abstract namespace after `@` (unix(7)).
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// The way to the supervisor; without one, every message is dropped.
#[derive(Debug, Default)]
pub struct Notifier {
    supervisor: Option<(UnixDatagram, SocketAddr)>,
}

/// The other way, of s6 (`notification-fd`): a newline on a descriptor that was agreed on, which is then closed.
#[derive(Debug)]
pub struct Newline {
    pipe: File,
}

impl Newline {
    /// The descriptor of this number; `None` when nothing is open there, because nobody waits.
    ///
    /// Call it once, at the start of the process, before any descriptor is opened.
    #[must_use]
    pub fn take(number: RawFd) -> Option<Self> {
        // SAFETY: asked about only; where nothing is open the kernel answers EBADF.
        rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) }).ok()?;
        // SAFETY: it is open, and was given to this process for this purpose: nobody else here owns it.
        Some(Self { pipe: File::from(unsafe { OwnedFd::from_raw_fd(number) }) })
    }

    /// It serves. Closed by being dropped: the reader may wait for the end of file.
    pub fn ready(mut self) {
        let _ = self.pipe.write_all(b"\n");
    }

    /// It serves, and the descriptor stays open: the mistake of [`crate::defect::Defect::NotifyFd`].
    pub fn ready_and_forget(mut self) {
        let _ = self.pipe.write_all(b"\n");
        std::mem::forget(self.pipe);
    }
}

impl Notifier {
    /// To whom the environment says, which forgets it.
    ///
    /// Call it once, at the start of the process, before the first thread and before anything copies the environment.
    ///
    /// # Errors
    /// An address that is none, or no descriptor left.
    pub fn take() -> io::Result<Self> {
        let Some(name) = std::env::var_os(VARIABLE) else { return Ok(Self::default()) };
        // SAFETY: called before any thread exists (documented above), so nobody reads the environment at the same time.
        unsafe { std::env::remove_var(VARIABLE) };
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { supervisor: Some((socket, address)) })
    }

    /// It serves; after [`Notifier::reloading`], it serves what was asked for, or what it served before.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// It changes what it serves. The time tells the supervisor that this answers its latest order.
    pub fn reloading(&self) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_microseconds()));
    }

    /// It ends.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// One message.
    pub fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.supervisor {
            // Whether a supervisor hears is its own affair.
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// CLOCK_MONOTONIC, as sd_notify(3) wants it.
fn monotonic_microseconds() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn messages_arrive_whole_and_a_reload_carries_its_time() {
        let scratch = Scratch::new("notify");
        let path = scratch.path().join("socket");
        let supervisor = UnixDatagram::bind(&path).expect("bind");
        let socket = UnixDatagram::unbound().expect("socket");
        let notifier = Notifier { supervisor: Some((socket, SocketAddr::from_pathname(&path).expect("address"))) };
        let heard = || {
            let mut buffer = [0; 100];
            let length = supervisor.recv(&mut buffer).expect("receive");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        let before = monotonic_microseconds();
        notifier.reloading();
        let said = heard();
        let time = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("both in one message");
        assert!((before..=monotonic_microseconds()).contains(&time.parse().expect("a number")));
        notifier.ready();
        assert_eq!(heard(), "READY=1");
    }

    #[test]
    fn a_newline_comes_and_then_the_end_of_file() {
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let number = std::os::fd::IntoRawFd::into_raw_fd(writer);
        Newline::take(number).expect("it is open").ready();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut reader, &mut said).expect("read");
        assert_eq!(said, "\n");
        assert!(Newline::take(1_000_000).is_none());
    }

    #[test]
    fn without_a_supervisor_messages_are_dropped() {
        Notifier::default().ready();
        let gone = SocketAddr::from_pathname("/nonexistent/socket").expect("address");
        Notifier { supervisor: Some((UnixDatagram::unbound().expect("socket"), gone)) }.ready();
    }
}

//! sd_notify(3): telling a supervisor what goes on, by datagrams to the socket that NOTIFY_SOCKET names.
//!
//! - The variable is taken out of the environment: a helper that inherits it would speak for its parent.
//! - A message is one datagram of lines; what belongs together goes into one message.
//! - Nobody is waited for: a supervisor that does not listen must not hold the service up.
//! - A value ends with its line: text from elsewhere could otherwise say `READY=1` in a line of its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix};

/// The variable that names the socket: a path, or a name in the abstract namespace after `@` (unix(7)).
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Longest name of stored descriptors (sd_notify(3), FDNAME=).
const FDNAME_MAX: usize = 255;

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

    /// The value of [`VARIABLE`] for a process that is to speak in this one's place; `None` where there is nobody to speak to.
    #[must_use]
    pub fn for_successor(&self) -> Option<OsString> {
        let (_, address) = self.supervisor.as_ref()?;
        let hidden = || address.as_abstract_name().map(|name| OsString::from_vec([b"@", name].concat()));
        address.as_pathname().map(|path| path.as_os_str().to_owned()).or_else(hidden)
    }

    /// It serves; after [`Notifier::reloading`], it serves what was asked for, or what it served before.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The same, with a word for whoever looks, in the same message.
    pub fn ready_as(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// A word for whoever looks (`systemctl status`); it changes nothing.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// Another process is the main one from now on. Say it while the old one lives, or the supervisor takes its end for the
    /// service's. systemd believes it only of a process of the unit, and from a sender that NotifyAccess= admits.
    pub fn main_pid(&self, pid: u32) {
        self.send(&format!("MAINPID={pid}"));
    }

    /// It still does its work (see [`crate::watchdog`]).
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// Leaves copies of descriptors with the supervisor, which hands them back after the next start, under this name
    /// ([`crate::activation::take_all`]). systemd keeps at most FileDescriptorStoreMax=, which is 0 unless the unit sets it.
    ///
    /// # Errors
    /// A name that LISTEN_FDNAMES could not carry (a colon, a control character, over 255 characters), or what sendmsg(2) reports:
    /// unlike a word, what is to be kept must not get lost unnoticed.
    pub fn store(&self, name: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if name.len() > FDNAME_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let Some((socket, address)) = &self.supervisor else { return Ok(()) };
        let address = match (address.as_pathname(), address.as_abstract_name()) {
            (Some(path), _) => SocketAddrUnix::new(path)?,
            (None, name) => SocketAddrUnix::new_abstract_name(name.unwrap_or_default())?,
        };
        let rights = SendAncillaryMessage::ScmRights(descriptors);
        let mut space = vec![MaybeUninit::uninit(); rights.size()];
        let mut control = SendAncillaryBuffer::new(&mut space);
        // SCM_MAX_FD, 253 on Linux, is what the kernel refuses; here there is room for whatever there is.
        assert!(control.push(rights), "the space was measured for it");
        let text = format!("FDSTORE=1\nFDNAME={name}");
        rustix::net::sendmsg_addr(
            socket,
            &address,
            &[IoSlice::new(text.as_bytes())],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// The supervisor closes what it keeps under this name: what is stored and not wanted any more would be handed out for ever.
    pub fn forget(&self, name: &str) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={}", one_line(name)));
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

/// What a value may be: the rest of a line.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
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

    fn to(address: SocketAddr) -> Notifier {
        Notifier { supervisor: Some((UnixDatagram::unbound().expect("socket"), address)) }
    }

    fn heard(supervisor: &UnixDatagram) -> String {
        let mut buffer = [0; 100];
        let length = supervisor.recv(&mut buffer).expect("receive");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn messages_arrive_whole_and_a_reload_carries_its_time() {
        let scratch = Scratch::new("notify");
        let path = scratch.path().join("socket");
        let supervisor = UnixDatagram::bind(&path).expect("bind");
        let notifier = to(SocketAddr::from_pathname(&path).expect("address"));
        let heard = || heard(&supervisor);
        let before = monotonic_microseconds();
        notifier.reloading();
        let said = heard();
        let time = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("both in one message");
        assert!((before..=monotonic_microseconds()).contains(&time.parse().expect("a number")));
        notifier.ready();
        assert_eq!(heard(), "READY=1");
        notifier.ready_as("serving\nWATCHDOG=trigger");
        assert_eq!(heard(), "READY=1\nSTATUS=serving WATCHDOG=trigger", "a status is one line");
        notifier.main_pid(42);
        assert_eq!(heard(), "MAINPID=42");
        notifier.alive();
        assert_eq!(heard(), "WATCHDOG=1");
    }

    #[test]
    fn a_stored_descriptor_arrives_with_its_name_at_a_path_and_at_an_abstract_name() {
        use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
        let scratch = Scratch::new("notify-store");
        let path = scratch.path().join("socket");
        let hidden = path.as_os_str().as_bytes();
        for address in [SocketAddr::from_pathname(&path), SocketAddr::from_abstract_name(hidden)] {
            let address = address.expect("address");
            let supervisor = UnixDatagram::bind_addr(&address).expect("bind");
            let (mut reader, writer) = std::io::pipe().expect("pipe");
            to(address).store("web", &[std::os::fd::AsFd::as_fd(&writer)]).expect("somebody listens");
            drop(writer);
            let (mut text, mut space) = ([0; 100], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let buffers = &mut [std::io::IoSliceMut::new(&mut text)];
            let received = rustix::net::recvmsg(&supervisor, buffers, &mut control, RecvFlags::CMSG_CLOEXEC);
            let length = received.expect("receive").bytes;
            assert_eq!(&text[..length], b"FDSTORE=1\nFDNAME=web");
            let Some(RecvAncillaryMessage::ScmRights(mut descriptors)) = control.drain().next() else {
                panic!("no descriptor came")
            };
            File::from(descriptors.next().expect("one")).write_all(b"kept").expect("it is the pipe");
            let mut kept = [0; 4];
            std::io::Read::read_exact(&mut reader, &mut kept).expect("read");
            assert_eq!(&kept, b"kept");
        }
    }

    #[test]
    fn a_name_that_could_not_come_back_is_refused() {
        for name in ["a:b", "a\nREADY=1", "a b", "\u{e4}", &"a".repeat(256)] {
            let error = Notifier::default().store(name, &[]).expect_err(name);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
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
    fn a_successor_is_told_the_same_address() {
        let named = |address: io::Result<SocketAddr>| to(address.expect("address")).for_successor();
        assert_eq!(named(SocketAddr::from_pathname("/run/notify")), Some("/run/notify".into()));
        assert_eq!(named(SocketAddr::from_abstract_name(b"notify")), Some("@notify".into()));
        assert_eq!(Notifier::default().for_successor(), None);
    }

    #[test]
    fn without_a_supervisor_messages_are_dropped() {
        Notifier::default().ready();
        let gone = SocketAddr::from_pathname("/nonexistent/socket").expect("address");
        to(gone.clone()).ready();
        let (_reader, writer) = std::io::pipe().expect("pipe");
        to(gone).store("web", &[std::os::fd::AsFd::as_fd(&writer)]).expect_err("what is to be kept is not dropped");
    }
}

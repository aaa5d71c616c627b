//! The supervisor's end of a notification: a socket that tells who sent what, and when (sd_notify(3)), or a pair of which
//! the other end is handed over.

use std::fs;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg, setsockopt, socketpair,
    sockopt,
};
use nix::sys::time::TimeSpec;

use super::clock::{monotonic, on_monotonic};
use crate::id::Pid;

/// More than any message that systemd takes (4096 bytes).
const MESSAGE_BYTES_MAX: usize = 8192;

/// As many descriptors as one message can carry (SCM_MAX_FD, unix(7)).
const DESCRIPTORS_MAX: usize = 253;

/// A notification socket.
#[derive(Debug)]
pub struct NotifySocket {
    socket: OwnedFd,
    address: String,
}

/// A message and its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The message, lossily decoded; empty for the end of a pair.
    pub text: String,
    /// The sender as its own pid namespace knows it (SCM_CREDENTIALS); `None` when it had ended before it could be asked.
    pub pid: Option<Pid>,
    /// When it was sent, by the kernel's own stamp, in nanoseconds of CLOCK_MONOTONIC: not before the first and not after the
    /// second. The end of a pair has no stamp: it is of the look at it.
    pub sent: (u64, u64),
}

impl NotifySocket {
    /// A socket with this file, whose name must be short (unix(7): 107 bytes); removing it is the business of whose directory it
    /// is. Anybody may write to it, whatever a target makes of itself.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn with_path(path: &Path) -> io::Result<NotifySocket> {
        let socket = UnixDatagram::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        NotifySocket::new(socket.into(), path.display().to_string())
    }

    /// A socket in the abstract namespace, which belongs to the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn with_abstract_name() -> io::Result<NotifySocket> {
        // On a shared network another run has one too.
        let name = format!("unbroken-notify-{}-{}", std::process::id(), monotonic());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        NotifySocket::new(socket.into(), format!("@{name}"))
    }

    /// A pair that is written to and closed as a pipe is, and whose end is seen as a pipe's is; but the kernel stamps what
    /// comes through it (SOCK_SEQPACKET, unix(7)). The second one is to be handed over.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn pair() -> io::Result<(NotifySocket, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((NotifySocket::new(ours, String::new())?, theirs))
    }

    fn new(socket: OwnedFd, address: String) -> io::Result<NotifySocket> {
        setsockopt(&socket, sockopt::PassCred, &true)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        Ok(NotifySocket { socket, address })
    }

    /// What NOTIFY_SOCKET says; empty for a pair.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next message; `None` when there is none.
    ///
    /// # Errors
    /// What recvmsg(2) reports.
    pub fn receive(&self) -> io::Result<Option<Notification>> {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        let mut control = nix::cmsg_space!(libc::ucred, TimeSpec, [RawFd; DESCRIPTORS_MAX]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let received = match recvmsg::<UnixAddr>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(received) => received,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let looked = monotonic();
        let (mut pid, mut sent) = (None, (looked, looked));
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::ScmCredentials(sender) => pid = inner(sender.pid()),
                ControlMessageOwned::ScmTimestampns(stamp) => sent = on_monotonic(stamp),
                ControlMessageOwned::ScmRights(left) => left.into_iter().for_each(close),
                _ => {}
            }
        }
        let length = received.bytes;
        Ok(Some(Notification { text: String::from_utf8_lossy(&buffer[..length]).into_owned(), pid, sent }))
    }
}

impl AsFd for NotifySocket {
    /// Readable while there is a message.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What was left with us (FDSTORE=1) is for nobody: there will be no other instance.
fn close(left: RawFd) {
    // SAFETY: the kernel has just made it, in the message that was received, and nobody else knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(left) });
}

/// A process of ours as its own pid namespace knows it (proc_pid_status(5), NStgid).
fn inner(outer: i32) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{outer}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("NStgid:"))?;
    line.split_ascii_whitespace().last()?.parse().ok().map(Pid)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wait::readable_within;

    fn check(socket: &NotifySocket, address: &SocketAddr) {
        let sender = UnixDatagram::unbound().expect("socket");
        let began = monotonic();
        sender.send_to_addr(b"READY=1\nSTATUS=up", address).expect("send");
        assert!(readable_within(socket.as_fd(), Duration::from_secs(20)));
        let looked = monotonic();
        let received = socket.receive().expect("receive").expect("a message");
        assert_eq!(received.text, "READY=1\nSTATUS=up");
        assert_eq!(received.pid, Some(Pid(i32::try_from(std::process::id()).expect("a pid"))));
        // Sent after the first look at the clock, and before the second one.
        assert!(began <= received.sent.1 && received.sent.0 <= received.sent.1 && received.sent.0 < looked);
        assert_eq!(socket.receive().expect("receive"), None);
    }

    #[test]
    fn a_pair_stamps_what_comes_through_it_and_shows_its_end() {
        let (socket, theirs) = NotifySocket::pair().expect("socket");
        let began = monotonic();
        rustix::io::write(&theirs, b"\n").expect("write");
        drop(theirs);
        let looked = monotonic();
        let newline = socket.receive().expect("receive").expect("a message");
        assert_eq!(newline.text, "\n");
        assert!(began <= newline.sent.1 && newline.sent.0 <= newline.sent.1 && newline.sent.0 < looked);
        let end = socket.receive().expect("receive").expect("the end");
        assert_eq!((end.text.as_str(), end.pid), ("", None));
    }

    #[test]
    fn what_is_left_with_us_is_closed_and_its_message_told() {
        let path = std::env::temp_dir().join(format!("unbroken-notify-store-{}", std::process::id()));
        let socket = NotifySocket::with_path(&path).expect("socket");
        let sender = UnixDatagram::unbound().expect("socket");
        sender.connect(&path).expect("connect");
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let left = vec![writer.as_raw_fd(); DESCRIPTORS_MAX];
        let message = [std::io::IoSlice::new(b"FDSTORE=1")];
        let control = [nix::sys::socket::ControlMessage::ScmRights(&left)];
        nix::sys::socket::sendmsg::<()>(sender.as_raw_fd(), &message, &control, MsgFlags::empty(), None).expect("send");
        drop(writer);
        assert_eq!(socket.receive().expect("receive").expect("a message").text, "FDSTORE=1");
        // Nobody holds the other end any more.
        assert!(readable_within(reader.as_fd(), Duration::from_secs(20)));
        fs::remove_file(&path).expect("it is there");
    }

    #[test]
    fn a_message_tells_its_sender_and_its_time_by_path_and_by_abstract_name() {
        let path = std::env::temp_dir().join(format!("unbroken-notify-test-{}", std::process::id()));
        let socket = NotifySocket::with_path(&path).expect("socket");
        check(&socket, &SocketAddr::from_pathname(&path).expect("address"));
        fs::remove_file(&path).expect("it is there");
        let socket = NotifySocket::with_abstract_name().expect("socket");
        let name = socket.address().strip_prefix('@').expect("abstract").to_owned();
        check(&socket, &SocketAddr::from_abstract_name(name).expect("address"));
    }
}

//! Handing listening sockets to a process that is neither parent nor child: SCM_RIGHTS over a UNIX socket (unix(7)).
//!
//! What is handed over is another descriptor of the same open file description, as dup(2) makes one: queue, half-open handshakes and
//! options are the socket's, and nothing of them changes hands.
//!
//! ```text
//!   successor                     predecessor
//!      │ ── connects ─────────────────▶ │   whoever is not this user is sent away
//!      │ ◀──────────── descriptors ──── │   253 at most in a message, and how many are to come
//!      │   initialises                  │   serves on
//!      │ ── ready ────────────────────▶ │
//!      │ ◀──────────────────── yours ── │   too late otherwise: it has given up waiting, and serves on
//!      │   pidfile, door, accept(2)     │
//!      │ ── taken ────────────────────▶ │   closes its copies, drains, ends
//! ```
//!
//! Whichever end fails before `taken`, the predecessor serves on. Where it was killed it cannot, and nobody listens at its door, whose
//! file is still there: then the successor, which has the listeners, takes over. Who ends in order removes the file.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// SCM_MAX_FD: how many descriptors a message carries at most (unix(7)).
pub const DESCRIPTORS_MAX: usize = 253;

/// Successors that wait while another one is being served; there is rarely a second.
const DOOR_QUEUE: i32 = 4;

/// Pause after accept(2) failed for want of descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What the two say to each other; a message of its own each (SOCK_SEQPACKET keeps their bounds).
const READY: &[u8] = b"ready";
const YOURS: &[u8] = b"yours";
const TAKEN: &[u8] = b"taken";

/// Where a successor knocks: a UNIX socket at a path, which its owner only may connect to.
#[derive(Debug)]
pub struct Door {
    socket: OwnedFd,
    path: PathBuf,
    /// Device and inode of the file.
    file: (u64, u64),
}

impl Door {
    /// Opens it. Bound beside and renamed over: a predecessor's is replaced without an instant at which the path leads nowhere.
    ///
    /// # Errors
    /// What socket(2), bind(2), listen(2) or rename(2) report.
    pub fn open(path: &Path) -> io::Result<Self> {
        let place = Place::of(path)?;
        let name = format!(".{}.{}", place.name, std::process::id());
        let beside = path.with_file_name(&name);
        // Only a crashed process with our pid can have left one.
        let _ = std::fs::remove_file(&beside);
        let socket = unconnected()?;
        rustix::net::bind(&socket, &place.address(&name)?)?;
        let opened = || -> io::Result<(u64, u64)> {
            std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
            rustix::net::listen(&socket, DOOR_QUEUE)?;
            let file = std::fs::symlink_metadata(&beside)?;
            std::fs::rename(&beside, path)?;
            Ok((file.dev(), file.ino()))
        };
        let file = opened().inspect_err(|_| drop(std::fs::remove_file(&beside)))?;
        Ok(Self { socket, path: path.to_owned(), file })
    }

    /// Waits for a successor, for as long as it takes. Whoever is not of this process's user is sent away: the permissions of
    /// the file are one lock, and this is the other (SO_PEERCRED: who connected, as the kernel knows it).
    ///
    /// # Errors
    /// What accept(2) reports.
    pub fn wait(&self) -> io::Result<Successor> {
        loop {
            match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(socket) if is_ours(&socket)? => return Ok(Successor { socket }),
                Ok(_) | Err(Errno::INTR | Errno::CONNABORTED) => {}
                // Nobody tells when there is room again, and the successor goes on waiting in the queue.
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => std::thread::sleep(EXHAUSTED_PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Another descriptor of the same door, for the thread that waits at it.
    ///
    /// # Errors
    /// What fcntl(2) reports.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, path: self.path.clone(), file: self.file })
    }

    /// Removes the file, unless it is a successor's by now; whether it was this process's.
    ///
    /// # Errors
    /// What unlink(2) reports.
    pub fn close(self) -> io::Result<bool> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == self.file => std::fs::remove_file(&self.path).map(|()| true),
            _ => Ok(false),
        }
    }
}

/// The process that is to take over, seen from the one that serves.
#[derive(Debug)]
pub struct Successor {
    socket: OwnedFd,
}

impl Successor {
    /// Hands the listeners over and waits until it serves; every answer has this long. An error means that it does not, and
    /// this process goes on.
    ///
    /// # Errors
    /// UnexpectedEof when it has ended, WouldBlock when it was too slow, or what sendmsg(2) and recvmsg(2) report.
    pub fn hand_over(&self, listeners: &[BorrowedFd<'_>], patience: Duration) -> io::Result<()> {
        sockopt::set_socket_timeout(&self.socket, Timeout::Recv, Some(patience))?;
        send(self.socket.as_fd(), listeners)?;
        hear(&self.socket, READY)?;
        say(&self.socket, YOURS)?;
        hear(&self.socket, TAKEN)
    }
}

/// The process that serves, seen from the one that is to take over.
#[derive(Debug)]
pub struct Predecessor {
    socket: OwnedFd,
    door: Place,
}

impl Predecessor {
    /// Knocks; `None` when nobody is there: no file, or one that a dead process left.
    ///
    /// # Errors
    /// PermissionDenied when somebody else's process listens there; what connect(2) reports.
    pub fn find(path: &Path) -> io::Result<Option<Self>> {
        let door = Place::of(path)?;
        let socket = unconnected()?;
        match rustix::net::connect(&socket, &door.address(&door.name)?) {
            Ok(()) if is_ours(&socket)? => Ok(Some(Self { socket, door })),
            Ok(()) => Err(io::ErrorKind::PermissionDenied.into()),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What it hands over, in its order.
    ///
    /// # Errors
    /// UnexpectedEof when it has ended, or another successor was faster.
    pub fn listeners(&self) -> io::Result<Vec<OwnedFd>> {
        receive(self.socket.as_fd())
    }

    /// Says that this process can serve, and waits until the predecessor leaves it to it, or has been killed.
    ///
    /// # Errors
    /// UnexpectedEof or BrokenPipe when it has given up waiting (it serves on, and this process must not), or was stopped.
    pub fn ready(&self) -> io::Result<()> {
        let left = say(&self.socket, READY).and_then(|()| hear(&self.socket, YOURS));
        if left.is_err() && self.was_killed()? { Ok(()) } else { left }
    }

    /// Nobody listens at its door, and nobody has removed it.
    fn was_killed(&self) -> io::Result<bool> {
        let again = rustix::net::connect(&unconnected()?, &self.door.address(&self.door.name)?);
        Ok(again == Err(Errno::CONNREFUSED))
    }

    /// This process serves: the predecessor drains.
    ///
    /// # Errors
    /// What sendmsg(2) reports: it has ended meanwhile, which changes nothing.
    pub fn taken(self) -> io::Result<()> {
        say(&self.socket, TAKEN)
    }
}

/// A path that may be longer than an address of a UNIX socket (108 bytes): by its directory's descriptor it never is.
#[derive(Debug)]
struct Place {
    directory: std::fs::File,
    name: String,
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let parent = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory =
            std::fs::File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(parent)?;
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { directory, name: name.to_owned() })
    }

    fn address(&self, name: &str) -> io::Result<SocketAddrUnix> {
        Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", self.directory.as_raw_fd()))?)
    }
}

fn unconnected() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// The other end is a process of this one's user.
fn is_ours(socket: &OwnedFd) -> io::Result<bool> {
    Ok(sockopt::socket_peercred(socket)?.uid == rustix::process::geteuid())
}

fn say(to: &OwnedFd, word: &[u8]) -> io::Result<()> {
    rustix::net::send(to, word, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn hear(from: &OwnedFd, word: &[u8]) -> io::Result<()> {
    let mut heard = [0; 16];
    let (length, _) = again(|| rustix::net::recv(from, &mut heard, RecvFlags::empty()))?;
    match &heard[..length] {
        [] => Err(io::ErrorKind::UnexpectedEof.into()),
        it if it == word => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Each message says how many descriptors come after it.
fn send(to: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut left = descriptors.len();
    for some in descriptors.chunks(DESCRIPTORS_MAX) {
        left -= some.len();
        let rights = SendAncillaryMessage::ScmRights(some);
        let mut space = vec![MaybeUninit::uninit(); rights.size()];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(rights), "the space was measured for it");
        let text = u32::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?.to_ne_bytes();
        rustix::net::sendmsg(to, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Close-on-exec from their first instant: a helper that is started meanwhile gets none of them.
fn receive(from: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut descriptors = Vec::new();
    loop {
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut text = [0; 4];
        let message = again(|| {
            rustix::net::recvmsg(from, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        if message.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = part {
                descriptors.extend(some);
            }
        }
        // Fewer than were sent: this process may not open more (RLIMIT_NOFILE).
        if message.flags.contains(ReturnFlags::CTRUNC) || message.bytes != text.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if u32::from_ne_bytes(text) == 0 {
            return Ok(descriptors);
        }
    }
}

/// Once more when a signal came.
fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::scratch::Scratch;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn sockets(count: usize) -> Vec<TcpListener> {
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("bind")).collect()
    }

    /// A predecessor in a thread hands `count` listeners to whatever `successor` does; what it heard comes back.
    fn handed(count: usize, successor: impl FnOnce(Predecessor)) -> io::Result<()> {
        let scratch = Scratch::new("handover");
        let path = scratch.path().join("door");
        let door = Door::open(&path).expect("open");
        std::thread::scope(|scope| {
            let serves = scope.spawn(|| {
                let listeners = sockets(count);
                let listeners: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
                door.wait().expect("a successor").hand_over(&listeners, PATIENCE)
            });
            successor(Predecessor::find(&path).expect("find").expect("it is there"));
            serves.join().expect("no panic")
        })
    }

    #[test]
    fn more_descriptors_than_a_message_carries_arrive_and_all_listen() {
        let taken = handed(300, |predecessor| {
            let listeners = predecessor.listeners().expect("receive");
            assert_eq!(listeners.len(), 300);
            for listener in &listeners {
                assert!(sockopt::socket_acceptconn(listener).expect("a socket"));
                assert!(rustix::io::fcntl_getfd(listener).expect("flags").contains(rustix::io::FdFlags::CLOEXEC));
            }
            predecessor.ready().expect("ready");
            predecessor.taken().expect("taken");
        });
        taken.expect("it was taken over");
    }

    #[test]
    fn a_successor_that_dies_before_it_serves_leaves_everything_to_its_predecessor() {
        let early = handed(1, |predecessor| drop(predecessor.listeners().expect("receive")));
        assert_eq!(early.expect_err("never ready").kind(), io::ErrorKind::UnexpectedEof);
        let late = handed(1, |predecessor| {
            predecessor.listeners().expect("receive");
            predecessor.ready().expect("ready");
        });
        assert_eq!(late.expect_err("never taken").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_successor_that_is_too_slow_is_told_so() {
        let scratch = Scratch::new("handover-slow");
        let path = scratch.path().join("door");
        let door = Door::open(&path).expect("open");
        let predecessor = Predecessor::find(&path).expect("find").expect("it is there");
        let successor = door.wait().expect("a successor");
        let listeners = sockets(1);
        let error = successor.hand_over(&[listeners[0].as_fd()], Duration::from_millis(1)).expect_err("too slow");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(successor);
        predecessor.listeners().expect("they came");
        predecessor.ready().expect_err("it serves on");
    }

    #[test]
    fn one_that_is_killed_leaves_what_it_has_handed_over_and_one_that_is_stopped_does_not() {
        for killed in [true, false] {
            let scratch = Scratch::new("handover-ended");
            let path = scratch.path().join("door");
            let door = Door::open(&path).expect("open");
            let predecessor = Predecessor::find(&path).expect("find").expect("it is there");
            let (successor, listeners) = (door.wait().expect("a successor"), sockets(1));
            send(successor.socket.as_fd(), &[listeners[0].as_fd()]).expect("send");
            if killed {
                drop((door, successor));
            } else {
                door.close().expect("close");
                drop(successor);
            }
            predecessor.listeners().expect("they came");
            assert_eq!(predecessor.ready().is_ok(), killed);
        }
    }

    #[test]
    fn a_door_that_a_dead_process_left_is_nobody_s_and_is_replaced() {
        let scratch = Scratch::new("handover-left");
        let path = scratch.path().join("door");
        assert!(Predecessor::find(&path).expect("find").is_none());
        // Dropped, not closed: its file stays.
        drop(Door::open(&path).expect("open"));
        assert!(Predecessor::find(&path).expect("find").is_none());
        let (old, new) = (Door::open(&path).expect("open"), Door::open(&path).expect("open"));
        old.close().expect("close");
        assert!(Predecessor::find(&path).expect("find").is_some(), "the successor's file stays");
        new.close().expect("close");
        assert_eq!(std::fs::read_dir(scratch.path()).expect("list").count(), 0);
    }
}

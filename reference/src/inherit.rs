//! Taking over what the master handed on across exec(2): the mark, and descriptors at agreed numbers.
//!
//! The mark is an environment variable, `is_slave=true`, and an environment leaks: a shell exports it, a supervisor copies it.
//! So the mark alone proves nothing. A process that finds it checks that descriptor 3 *is* a socket that listens on the
//! configured address, and that the two pipes are pipes; otherwise it refuses to run. Serving on whatever happens to be open
//! at 3 would be far worse than an error.

use std::fmt;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::net::sockopt;

use crate::further;

/// Name of the environment variable that marks a generation.
pub const MARK: &str = "is_slave";
/// Value of [`MARK`]; any other value is not the mark.
pub const MARK_VALUE: &str = "true";
/// The listening socket.
pub const LISTENER_FD: RawFd = 3;
/// Write end of a pipe: one byte means *ready*; closed without a byte means *failed*.
pub const READY_FD: RawFd = 4;
/// Read end of a pipe that nobody writes to: EOF means that the master is gone, however it ended.
pub const ALIVE_FD: RawFd = 5;
/// The file that has the lock of the pidfile, where a process takes over from another one ([`take_pidfile`]).
pub const PIDFILE_FD: RawFd = 6;
/// The same where a process executes the next program itself: only the listener lies before it.
pub const OWN_PIDFILE_FD: RawFd = 4;

/// The variable that says how many further listeners lie behind everything else; absent where there are none.
pub const FURTHER: &str = "further_listeners";

/// Why a marked process refuses to serve.
#[derive(Debug, PartialEq, Eq)]
pub enum InheritError {
    /// Nothing is open at the number, or it is no socket.
    NoSocket(RawFd),
    /// A socket, but not a listening one (SO_ACCEPTCONN, socket(7)).
    NotListening,
    /// A listener on another address than the configured one.
    ForeignAddress {
        /// What the command line asks for.
        wanted: SocketAddr,
        /// What the inherited socket is bound to.
        found: SocketAddr,
    },
    /// The socket is not an internet socket, so it has no such address.
    NoAddress,
    /// Nothing is open at the number, or it is no pipe.
    NoPipe(RawFd),
    /// Nothing is open at the number, or it is no file.
    NoFile(RawFd),
}

impl fmt::Display for InheritError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "found {MARK}={MARK_VALUE} in the environment, but ")?;
        match self {
            Self::NoSocket(fd) => write!(out, "descriptor {fd} is not an open socket"),
            Self::NotListening => write!(out, "descriptor {LISTENER_FD} is not a listening socket"),
            Self::ForeignAddress { wanted, found } => {
                write!(out, "descriptor {LISTENER_FD} listens on {found} instead of {wanted}")
            }
            Self::NoAddress => write!(out, "descriptor {LISTENER_FD} has no internet address"),
            Self::NoPipe(fd) => write!(out, "descriptor {fd} is not a pipe"),
            Self::NoFile(fd) => write!(out, "descriptor {fd} is not a regular file"),
        }?;
        write!(out, "; a stray mark is refused (unset {MARK} to start a server)")
    }
}

impl std::error::Error for InheritError {}

/// What a generation received from its master.
#[derive(Debug)]
pub struct Inherited {
    /// The shared listening socket, or the one that holds its address.
    pub listener: TcpListener,
    /// Readiness, see [`READY_FD`].
    pub ready: OwnedFd,
    /// Life of the master, see [`ALIVE_FD`].
    pub alive: OwnedFd,
}

/// Whether this process carries the mark.
#[must_use]
pub fn is_marked() -> bool {
    std::env::var_os(MARK).is_some_and(|value| value == MARK_VALUE)
}

/// Verifies and takes the inherited descriptors, makes them close-on-exec and removes the mark from the environment, so that
/// no helper started by this generation believes to be one.
///
/// Call it once, at the start of the process, before the first thread and before any descriptor is opened.
///
/// # Errors
/// [`InheritError`] when the mark is stray; nothing has been touched then.
pub fn take(wanted: SocketAddr) -> Result<Inherited, InheritError> {
    verify_listener(LISTENER_FD, wanted)?;
    take_verified()
}

/// The rest, when the socket is the right one.
fn take_verified() -> Result<Inherited, InheritError> {
    verify_pipe(READY_FD)?;
    verify_pipe(ALIVE_FD)?;
    // SAFETY: called once before any thread exists (documented at both callers), so nobody reads the environment at the same time.
    unsafe { std::env::remove_var(MARK) };
    Ok(Inherited { listener: TcpListener::from(adopt(LISTENER_FD)), ready: adopt(READY_FD), alive: adopt(ALIVE_FD) })
}

/// The same for a process that was another program until now: there is nobody else, so the listener comes alone.
///
/// # Errors
/// As [`take`].
pub fn take_listener(wanted: SocketAddr) -> Result<TcpListener, InheritError> {
    verify_listener(LISTENER_FD, wanted)?;
    // SAFETY: as in `take`: before any thread exists.
    unsafe { std::env::remove_var(MARK) };
    Ok(TcpListener::from(adopt(LISTENER_FD)))
}

/// The file that was handed on at this number: with it goes the lock of a pidfile. Call it right after what takes the listener.
///
/// # Errors
/// [`InheritError::NoFile`].
pub fn take_pidfile(number: RawFd) -> Result<File, InheritError> {
    let stat = rustix::fs::fstat(peek(number)).map_err(|_| InheritError::NoFile(number))?;
    let regular = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    if regular { Ok(File::from(adopt(number))) } else { Err(InheritError::NoFile(number)) }
}

/// Where they lie behind what [`take`] takes.
pub const FURTHER_FD: RawFd = 6;

/// The further listeners, of which the first lies at this number. Call it right after what takes the others.
///
/// # Errors
/// [`InheritError::NoSocket`] for one that neither listens nor is for datagrams.
pub fn take_further(first: RawFd) -> Result<Vec<OwnedFd>, InheritError> {
    let count: RawFd = std::env::var(FURTHER).ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    // SAFETY: as in `take`: before any thread exists.
    unsafe { std::env::remove_var(FURTHER) };
    let is_one = |socket| sockopt::socket_acceptconn(socket) == Ok(true) || further::is_for_datagrams(&socket);
    let one = |number| if is_one(peek(number)) { Ok(adopt(number)) } else { Err(InheritError::NoSocket(number)) };
    (first..first.saturating_add(count)).map(one).collect()
}

/// The same where descriptor 3 is a socket that only holds the address ([`crate::listener::reserve`]).
///
/// # Errors
/// As [`take`].
pub fn take_address(wanted: SocketAddr) -> Result<Inherited, InheritError> {
    verify_address(LISTENER_FD, wanted)?;
    take_verified()
}

/// Takes whatever lies at the agreed numbers: the mistake of [`crate::defect::Defect::FalseMark`]. Where nothing is open,
/// `/dev/null` stands for what a launcher may have left there.
///
/// # Errors
/// What opening it reports.
pub fn believe() -> std::io::Result<Inherited> {
    let null = std::fs::File::open("/dev/null")?;
    // Above the agreed numbers, so that dropping it leaves them alone.
    let null = rustix::io::fcntl_dupfd_cloexec(&null, ALIVE_FD + 1)?;
    for number in [LISTENER_FD, READY_FD, ALIVE_FD] {
        if rustix::io::fcntl_getfd(peek(number)).is_err() {
            // SAFETY: the number is free, so nothing that anybody owns is closed.
            if unsafe { libc::dup2(null.as_raw_fd(), number) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
    }
    // SAFETY: as in `take`: before any thread exists.
    unsafe { std::env::remove_var(MARK) };
    Ok(Inherited { listener: TcpListener::from(adopt(LISTENER_FD)), ready: adopt(READY_FD), alive: adopt(ALIVE_FD) })
}

/// A descriptor by its number, for questions only.
fn peek(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: used for one fcntl, fstat or getsockopt at a time; if nothing is open there the kernel answers EBADF.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// SO_ACCEPTCONN and getsockname(2): is this really the listener that the command line asks for?
pub(crate) fn verify_listener(fd: RawFd, wanted: SocketAddr) -> Result<(), InheritError> {
    let socket = peek(fd);
    match sockopt::socket_acceptconn(socket) {
        Ok(true) => {}
        Ok(false) => return Err(InheritError::NotListening),
        Err(_) => return Err(InheritError::NoSocket(fd)),
    }
    verify_address(fd, wanted)
}

/// getsockname(2): is it bound to what the command line asks for?
fn verify_address(fd: RawFd, wanted: SocketAddr) -> Result<(), InheritError> {
    let socket = peek(fd);
    if sockopt::socket_type(socket).is_err() {
        return Err(InheritError::NoSocket(fd));
    }
    let name = rustix::net::getsockname(socket).map_err(|_| InheritError::NoAddress)?;
    let found = SocketAddr::try_from(name).map_err(|_| InheritError::NoAddress)?;
    // Port 0 asks for any port, so any port is the configured one.
    let port_fits = wanted.port() == 0 || found.port() == wanted.port();
    if found.ip() == wanted.ip() && port_fits { Ok(()) } else { Err(InheritError::ForeignAddress { wanted, found }) }
}

/// fstat(2): a FIFO is what the master hands on as readiness and life line.
fn verify_pipe(fd: RawFd) -> Result<(), InheritError> {
    let stat = rustix::fs::fstat(peek(fd)).map_err(|_| InheritError::NoPipe(fd))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_fifo() { Ok(()) } else { Err(InheritError::NoPipe(fd)) }
}

/// Owns an inherited descriptor and makes it close-on-exec again: it was handed to this process, not to its children.
fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: just verified to be open; nothing else in this fresh process owns the agreed number.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    debug_assert_eq!(owned.as_raw_fd(), fd);
    let _ = rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC);
    owned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::{Sharing, bind};

    fn local() -> SocketAddr {
        "127.0.0.1:0".parse().expect("address")
    }

    #[test]
    fn only_a_listener_on_the_configured_address_is_believed() {
        let listener = bind(local(), Sharing::Exclusive).expect("bind");
        let found = listener.local_addr().expect("name");
        assert_eq!(verify_listener(listener.as_raw_fd(), found), Ok(()));
        assert_eq!(verify_listener(listener.as_raw_fd(), local()), Ok(()));
        let wanted = SocketAddr::new(found.ip(), found.port() ^ 1);
        assert_eq!(verify_listener(listener.as_raw_fd(), wanted), Err(InheritError::ForeignAddress { wanted, found }));
    }

    #[test]
    fn other_descriptors_are_refused() {
        let (pipe, _writer) = std::io::pipe().expect("pipe");
        assert_eq!(verify_listener(pipe.as_raw_fd(), local()), Err(InheritError::NoSocket(pipe.as_raw_fd())));
        assert_eq!(verify_pipe(pipe.as_raw_fd()), Ok(()));
        let udp = std::net::UdpSocket::bind(local()).expect("udp");
        assert_eq!(verify_listener(udp.as_raw_fd(), local()), Err(InheritError::NotListening));
        assert_eq!(verify_pipe(udp.as_raw_fd()), Err(InheritError::NoPipe(udp.as_raw_fd())));
        assert_eq!(verify_listener(9999, local()), Err(InheritError::NoSocket(9999)));
        assert_eq!(take_pidfile(pipe.as_raw_fd()).err(), Some(InheritError::NoFile(pipe.as_raw_fd())));
        assert_eq!(take_pidfile(9999).err(), Some(InheritError::NoFile(9999)));
    }
}

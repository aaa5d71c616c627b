//! UNIX stream sockets of a client (unix(7)).
//!
//! No network lies between its two ends. What write(2) has taken lies in the peer's queue, so that there is nothing to acknowledge, and a
//! connect(2) is over when it returns: it is refused where nobody listens, and where the listener's queue is full it would wait until there
//! is room. A nonblocking one fails with EAGAIN then, and nothing tells when to try again.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::stream::StreamSocket;
use crate::drive::UnixName;

/// A name as connect(2) takes it.
///
/// # Errors
/// ENAMETOOLONG: more than the 108 bytes of a `sockaddr_un`, of which an abstract name has one less.
pub fn address(name: &UnixName) -> io::Result<SocketAddrUnix> {
    Ok(match name {
        UnixName::Path(path) => SocketAddrUnix::new(path)?,
        UnixName::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
    })
}

/// A nonblocking UNIX client socket.
#[derive(Debug)]
pub struct UnixSocket(StreamSocket);

impl UnixSocket {
    /// A nonblocking, close-on-exec socket.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM: our own resources.
    pub fn open() -> io::Result<UnixSocket> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(UnixSocket(StreamSocket::from(fd)))
    }

    /// Connects; false where the listener's queue is full, and the caller is to try again.
    ///
    /// # Errors
    /// ECONNREFUSED where nobody listens, ENOENT where there is no such file.
    pub fn connect(&self, to: &SocketAddrUnix) -> io::Result<bool> {
        match rustix::net::connect(&self.0, to) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Deref for UnixSocket {
    type Target = StreamSocket;

    fn deref(&self) -> &StreamSocket {
        &self.0
    }
}

impl AsFd for UnixSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::stream::Peek;

    /// A listener at an abstract name of its own.
    fn listener(backlog: i32) -> (std::os::fd::OwnedFd, SocketAddrUnix) {
        let name = UnixName::Abstract(format!("unbroken-unix-{}-{backlog}", std::process::id()));
        let address = address(&name).expect("it is short");
        let fd = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("socket");
        rustix::net::bind(&fd, &address).expect("bind");
        rustix::net::listen(&fd, backlog).expect("listen");
        (fd, address)
    }

    #[test]
    fn a_full_queue_is_no_failure_and_a_close_is_seen() {
        // A queue of one has room for two (`unix_recvq_full` in net/unix/af_unix.c).
        let (listener, to) = listener(1);
        let open = || UnixSocket::open().expect("open");
        let (first, second, third) = (open(), open(), open());
        assert!(first.connect(&to).expect("room") && second.connect(&to).expect("room"));
        assert!(!third.connect(&to).expect("it is full"));
        drop(rustix::net::accept(&listener).expect("accept"));
        assert!(third.connect(&to).expect("there is room again"));
        assert_eq!(first.peek().expect("peek"), Peek::Closed);
        assert_eq!(first.write(b"x").expect_err("nobody reads it").raw_os_error(), Some(libc::EPIPE));
        drop(listener);
        // Whoever was in the queue is reset, and nobody listens any more.
        assert_eq!(second.read(&mut [0]).expect_err("reset").raw_os_error(), Some(libc::ECONNRESET));
        assert_eq!(open().connect(&to).expect_err("refused").raw_os_error(), Some(libc::ECONNREFUSED));
    }
}

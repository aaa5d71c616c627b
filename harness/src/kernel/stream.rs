//! A client's stream socket, of whatever family: nonblocking reads and writes, and a look for the peer's end (socket(7)).
//!
//! Own wrapper instead of a runtime's stream: the load must see every errno first-hand, and reading SO_ERROR consumes
//! the error, so nobody else may read it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// A connected socket, or one that is to be.
#[derive(Debug)]
pub struct StreamSocket(OwnedFd);

/// What lies in the receive queue of a socket, without taking it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// Nothing: the connection is open and silent.
    Quiet,
    /// The peer's end: a FIN, or its close.
    Closed,
    /// Bytes.
    Bytes,
}

impl From<OwnedFd> for StreamSocket {
    fn from(fd: OwnedFd) -> StreamSocket {
        StreamSocket(fd)
    }
}

impl StreamSocket {
    /// Reads what is there; 0 after the peer's end.
    ///
    /// # Errors
    /// EAGAIN when nothing is there; ECONNRESET, once, when the peer reset the connection.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = again(|| rustix::net::recv(&self.0, &mut *buffer, RecvFlags::DONTWAIT))?;
        Ok(count)
    }

    /// Gives bytes to the kernel; never raises SIGPIPE.
    ///
    /// # Errors
    /// EAGAIN when the send queue is full; ECONNRESET after a RST, EPIPE after a FIN and a RST.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(again(|| rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT))?)
    }

    /// Looks into the receive queue without taking anything (MSG_PEEK).
    ///
    /// # Errors
    /// The connection's error, which this consumes: ECONNRESET.
    pub fn peek(&self) -> io::Result<Peek> {
        let mut byte = [0u8; 1];
        match again(|| rustix::net::recv(&self.0, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)) {
            Ok((0, _)) => Ok(Peek::Closed),
            Ok(_) => Ok(Peek::Bytes),
            Err(Errno::AGAIN) => Ok(Peek::Quiet),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Bytes received and not read (FIONREAD). Closing with any makes the kernel send RST instead of FIN.
    ///
    /// # Errors
    /// None that a connected socket gives.
    pub fn unread(&self) -> io::Result<u64> {
        Ok(rustix::io::ioctl_fionread(&self.0)?)
    }
}

impl AsFd for StreamSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

//! A client's stream socket, of whatever family: nonblocking reads and writes, and a look for the peer's end (socket(7)).
//!
//! Own wrapper instead of a runtime's stream: the load must see every errno first-hand, and reading SO_ERROR consumes
//! the error, so nobody else may read it.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::clock::on_monotonic;

/// Room for the header of a control message, and a stamp.
const STAMP_BYTES: usize = 64;

/// Where the kernel writes control messages (cmsg(3)).
#[repr(align(8))]
struct Control([u8; STAMP_BYTES]);

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

    /// Lets the kernel stamp what comes from now on (SO_TIMESTAMPNS). A kernel that stamped nothing before begins a moment later.
    ///
    /// # Errors
    /// None that a socket gives.
    pub fn stamp(&self) -> io::Result<()> {
        Ok(setsockopt(&self.0, ReceiveTimestampns, &true)?)
    }

    /// The same as [`StreamSocket::read`]; and where the kernel has stamped it, when the last of it came, on raw CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// The same.
    pub fn read_stamped(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
        let mut control = Control([0; STAMP_BYTES]);
        let mut parts = [IoSliceMut::new(buffer)];
        loop {
            match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut control.0), MsgFlags::MSG_DONTWAIT) {
                Ok(received) => return Ok((received.bytes, received.cmsgs()?.find_map(stamp))),
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
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

/// Of the two instants between which it came the later one.
fn stamp(message: ControlMessageOwned) -> Option<u64> {
    if let ControlMessageOwned::ScmTimestampns(stamp) = message { Some(on_monotonic(stamp).1) } else { None }
}

fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::kernel::clock::monotonic;
    use crate::wait::readable_within;

    #[test]
    fn a_stamp_tells_when_the_bytes_came() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (mut far, _) = listener.accept().expect("accept");
        let near = StreamSocket::from(OwnedFd::from(near));
        near.stamp().expect("stamp");
        let mut buffer = [0u8; 8];
        let mut stamped = || {
            let wrote = monotonic();
            far.write_all(b"ab").expect("write");
            assert!(readable_within(near.as_fd(), Duration::from_secs(20)));
            let (count, stamp) = near.read_stamped(&mut buffer).expect("read");
            assert_eq!(count, 2);
            stamp.map(|stamp| (wrote, stamp))
        };
        // The first that asks for stamps anywhere on a machine has none for a moment: the kernel turns them on beside it.
        let (wrote, stamp) = (0..100_000).find_map(|_| stamped()).expect("the kernel stamps");
        assert!((wrote..=monotonic()).contains(&stamp), "{wrote} {stamp}");
        assert_eq!(near.read_stamped(&mut buffer).expect_err("nothing more").kind(), io::ErrorKind::WouldBlock);
        drop(far);
        assert_eq!(near.read_stamped(&mut buffer).expect("the end"), (0, None));
    }
}

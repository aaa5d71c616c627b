//! What carries the requests of a slot: TCP, or a UNIX socket.
//!
//! What a loss on a UNIX socket is, the kernel tells without a doubt, as there is no network in between (`net/unix/af_unix.c`):
//!
//! | What came | Class |
//! |---|---|
//! | ECONNREFUSED, or no file of that name, at connect(2) | `refused` |
//! | the listener's queue was full until the deadline | `connect-timeout` |
//! | EPIPE at a write: the server had closed a moment before | `crossed` |
//! | ECONNRESET: it closed with the request in its queue | `unread` |
//! | the end, after the request had been taken out of the queue | `taken` |

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};

use super::slot::Shared;
use crate::drive::Peer;
use crate::kernel::stream::StreamSocket;
use crate::kernel::tcp::{SYN_BYTES, TcpInfo, TcpSocket};
use crate::kernel::unix::{self, UnixSocket};

/// A connection, or one that is to be.
#[derive(Debug)]
pub(super) enum Wire {
    Tcp(TcpSocket),
    Unix(UnixSocket),
}

/// How far a connect(2) is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connect {
    /// Done.
    Done,
    /// The kernel will tell.
    UnderWay,
    /// There is no room in the listener's queue, and nobody will tell when there is.
    Full,
}

impl Wire {
    /// A socket for the driver's `number`th connection.
    ///
    /// # Errors
    /// Our own resources.
    pub(super) fn open(shared: &Shared<'_>, number: u64) -> io::Result<Wire> {
        let plan = shared.plan;
        match &plan.to {
            Peer::Tcp(to) => {
                let socket = TcpSocket::open_from(*to, plan.source_of(number))?;
                // A connection's only request is one write, and waits for nothing.
                if plan.kept {
                    socket.send_at_once()?;
                }
                if shared.stamped {
                    socket.stamp()?;
                }
                Ok(Wire::Tcp(socket))
            }
            Peer::Unix(_) => UnixSocket::open().map(Wire::Unix),
        }
    }

    /// Connects, or begins to; after [`Connect::Full`] again.
    ///
    /// # Errors
    /// Why it was refused.
    pub(super) fn connect(&self, to: &Peer) -> io::Result<Connect> {
        match (self, to) {
            (Wire::Tcp(socket), Peer::Tcp(to)) => {
                Ok(if socket.connect_at_once(*to)? { Connect::Done } else { Connect::UnderWay })
            }
            (Wire::Unix(socket), Peer::Unix(to)) => {
                Ok(if socket.connect(&unix::address(to)?)? { Connect::Done } else { Connect::Full })
            }
            _ => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// Whether a handshake that was under way is complete.
    ///
    /// # Errors
    /// Why it failed.
    pub(super) fn handshake(&self) -> io::Result<bool> {
        match self {
            Wire::Tcp(socket) => socket.handshake(),
            Wire::Unix(_) => Ok(true),
        }
    }

    /// What the kernel tells of the connection; nothing of a UNIX socket.
    pub(super) fn info(&self) -> Option<TcpInfo> {
        match self {
            Wire::Tcp(socket) => socket.info().ok(),
            Wire::Unix(_) => None,
        }
    }

    /// Of `sent` bytes of a request those that the other side's kernel has, where `before` were sent on the connection before it.
    pub(super) fn acknowledged(&self, info: Option<TcpInfo>, sent: u64, before: u64) -> u64 {
        match self {
            Wire::Tcp(_) => info.map_or(0, |it| it.bytes_acked).saturating_sub(SYN_BYTES + before).min(sent),
            // It is the same kernel.
            Wire::Unix(_) => sent,
        }
    }
}

impl Deref for Wire {
    type Target = StreamSocket;

    fn deref(&self) -> &StreamSocket {
        match self {
            Wire::Tcp(socket) => socket,
            Wire::Unix(socket) => socket,
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.deref().as_fd()
    }
}

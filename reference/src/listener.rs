//! The listening socket: bound once, then handed from generation to generation.
//!
//! A connection belongs to the listening *socket*, not to the process that will accept it: as long as one descriptor of the
//! socket is open somewhere, the kernel completes handshakes and keeps the accept queue (listen(2)). That is the whole secret
//! of an upgrade without a refused connection: never close the last descriptor, never shutdown(2) a shared one.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Length of the accept queue. Large enough for a burst that arrives while a generation is starting; the kernel caps it at
/// `net.core.somaxconn` (4096 since Linux 5.4). A queue of 1 (systemfd) makes clients wait for a SYN retransmit.
pub const BACKLOG: i32 = 1024;

/// What many libraries give to listen(2), and what [`crate::defect::Defect::BacklogSizeKept`] falls back to.
pub const BACKLOG_OF_LIBRARIES: i32 = 128;

/// Whether two sockets may listen on one address at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One socket; generations share it by descriptor. The right choice for an upgrade.
    Exclusive,
    /// The same without SO_REUSEADDR: the mistake of [`crate::defect::Defect::RebindAtOnce`].
    ExclusiveEvenOfThePast,
    /// SO_REUSEPORT: each socket has an accept queue of its own, which is lost when that socket closes (socket(7)).
    ReusePort,
}

/// Binds and listens.
///
/// The socket is close-on-exec and non-blocking: two generations wait on it at once, and the one that comes second must not
/// hang in accept(2). O_NONBLOCK is a property of the shared open file description; accepted sockets do not inherit it on
/// Linux (accept(2)). SO_REUSEADDR lets a stopped server start again while its old connections are in TIME_WAIT.
///
/// # Errors
/// What socket(2), bind(2) or listen(2) report; EADDRINUSE when another server listens there.
pub fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    bind_with(address, sharing, BACKLOG)
}

/// The same with a queue of another length.
///
/// # Errors
/// As [`bind`].
pub fn bind_with(address: SocketAddr, sharing: Sharing, backlog: i32) -> io::Result<TcpListener> {
    let socket = bound(address, SocketType::STREAM, sharing)?;
    rustix::net::listen(&socket, backlog)?;
    Ok(TcpListener::from(socket))
}

/// A socket that reads datagrams: there is nothing to listen for, and what comes before anybody reads waits in its buffer.
///
/// # Errors
/// What socket(2) or bind(2) report; EADDRINUSE when another server reads there.
pub fn bind_datagrams(address: SocketAddr, sharing: Sharing) -> io::Result<OwnedFd> {
    bound(address, SocketType::DGRAM, sharing)
}

/// A socket with the address.
fn bound(address: SocketAddr, kind: SocketType, sharing: Sharing) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    // Of datagrams there is no past, and two that have it both get the address (socket(7)).
    let is_listener = kind == SocketType::STREAM;
    sockopt::set_socket_reuseaddr(&socket, is_listener && sharing != Sharing::ExclusiveEvenOfThePast)?;
    if sharing == Sharing::ReusePort {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Holds an address with SO_REUSEPORT, without listening there: no connection is ever waiting in it, and it keeps other users
/// from the port. Whoever runs as the same user may [`bind`] beside it with [`Sharing::ReusePort`].
///
/// # Errors
/// What socket(2) or bind(2) report; EADDRINUSE when somebody holds it who does not share.
pub fn reserve(address: SocketAddr) -> io::Result<TcpListener> {
    Ok(TcpListener::from(bound(address, SocketType::STREAM, Sharing::ReusePort)?))
}

/// Takes one connection from the queue, or `None` when another generation was faster.
///
/// # Errors
/// Only what concerns this process (EMFILE, ENFILE, ENOBUFS, ENOMEM): a connection that died in the queue is skipped
/// (accept(2), "Error handling").
pub fn accept(listener: &impl AsFd) -> io::Result<Option<std::net::TcpStream>> {
    match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
        Ok(socket) => Ok(Some(prepared(socket))),
        Err(
            error @ (rustix::io::Errno::MFILE
            | rustix::io::Errno::NFILE
            | rustix::io::Errno::NOBUFS
            | rustix::io::Errno::NOMEM
            | rustix::io::Errno::BADF
            | rustix::io::Errno::INVAL),
        ) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// A connection without Nagle's delay: an answer is one write, and the last segment must not wait for an acknowledgement. The type
/// is that of any stream socket: what is read, written and shut down is a descriptor.
fn prepared(socket: OwnedFd) -> std::net::TcpStream {
    let stream = std::net::TcpStream::from(socket);
    // Fails only for a connection that is already dead, where reading will tell, and for a UNIX socket, which knows no such delay.
    let _ = stream.set_nodelay(true);
    stream
}

/// The gap of a defect, in which nobody listens. Short ones are waited out on the processor: a sleep would be longer than they are.
pub fn absent_for(gap: Duration) {
    if gap >= Duration::from_millis(1) {
        std::thread::sleep(gap);
        return;
    }
    let end = Instant::now() + gap;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusive_listener_refuses_a_second_one_and_reuseport_allows_it() {
        let loopback: SocketAddr = "127.0.0.1:0".parse().expect("address");
        let first = bind(loopback, Sharing::Exclusive).expect("bind");
        let taken = first.local_addr().expect("name");
        let error = bind(taken, Sharing::ReusePort).expect_err("the port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);

        let first = bind(loopback, Sharing::ReusePort).expect("bind");
        bind(first.local_addr().expect("name"), Sharing::ReusePort).expect("both allow it");
    }

    #[test]
    fn a_reserved_address_takes_no_connection_and_is_shared_by_who_listens() {
        let reserved = reserve("127.0.0.1:0".parse().expect("address")).expect("reserve");
        let address = reserved.local_addr().expect("name");
        let error = std::net::TcpStream::connect(address).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let _listener = bind(address, Sharing::ReusePort).expect("beside it");
        std::net::TcpStream::connect(address).expect("connect");
        bind(address, Sharing::Exclusive).expect_err("it does not share");
    }

    #[test]
    fn an_empty_queue_does_not_block() {
        let listener = bind("127.0.0.1:0".parse().expect("address"), Sharing::Exclusive).expect("bind");
        assert!(accept(&listener).expect("accept").is_none());
    }
}

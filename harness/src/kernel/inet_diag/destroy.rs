//! The DESTROY groups: the kernel announces sockets as it frees them.
//!
//! An event comes up to 0.1 ms late. Every destroyed socket would have one, so that a load overruns any buffer: a
//! classic BPF filter on the netlink socket keeps those without a remote port and with a local port of interest:
//! listeners, and connections that died in an accept queue (freed after a disconnect, hence without a remote end).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::net::netlink::SOCK_DIAG;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use super::message::{HEADER_BYTES, Message, TcpState, parse};
use crate::id::Cookie;
use crate::kernel::netlink::Netlink;

/// SKNLGRP_INET_TCP_DESTROY is group 1, SKNLGRP_INET6_TCP_DESTROY group 3 (linux/sock_diag.h).
const DESTROY_GROUPS: u32 = 1 << 0 | 1 << 2;
/// About 4 000 events of 1 KiB each: more than the longest accept queue (4 096 by default) needs with slack.
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// A classic BPF program has at most BPF_MAXINSNS instructions, two for each port.
const PORTS_MAX: usize = 2_000;

/// A socket without a remote end that the kernel freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destroyed {
    /// Its identity.
    pub cookie: Cookie,
    /// Its local address; of a connection from an accept queue the listener's, wildcard or not (measured).
    pub local: SocketAddr,
    /// Its state; always CLOSE, also for a listener.
    pub state: TcpState,
}

/// A subscription to DESTROY events, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct DestroyEvents {
    netlink: Netlink,
}

impl DestroyEvents {
    /// Subscribes to sockets without a remote port on these local ports. Events from here on are kept.
    ///
    /// # Errors
    /// When the kernel has no sock_diag, or for more than 2 000 ports (the filter's limit).
    pub fn open(ports: &[u16]) -> io::Result<DestroyEvents> {
        let netlink = Netlink::open(Some(SOCK_DIAG))?;
        // Forcing needs CAP_NET_ADMIN on the machine; without it (tier B) rmem_max is the limit.
        set_socket_recv_buffer_size_force(netlink.as_fd(), RECEIVE_BUFFER_BYTES)
            .or_else(|_| set_socket_recv_buffer_size(netlink.as_fd(), RECEIVE_BUFFER_BYTES))?;
        // Attach before joining: nothing unfiltered may reach the buffer.
        attach(netlink.as_fd(), &mut filter(ports)?)?;
        netlink.join(DESTROY_GROUPS)?;
        Ok(DestroyEvents { netlink })
    }

    /// What there is now; `None` when nothing is left.
    ///
    /// # Errors
    /// ENOBUFS when the buffer overflowed: events are lost and the caller must look for itself again.
    pub fn next_event(&mut self) -> io::Result<Option<Destroyed>> {
        let Some(datagram) = self.netlink.try_receive()? else { return Ok(None) };
        // The kernel sends one socket per datagram.
        match parse(datagram).next() {
            Some(Ok(Message::Socket(row))) => {
                Ok(Some(Destroyed { cookie: row.cookie, local: row.local, state: row.state }))
            }
            Some(Err(error)) => Err(error),
            Some(Ok(Message::Done)) | None => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a DESTROY event without a socket"))
            }
        }
    }
}

impl AsFd for DestroyEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

/// Accepts messages with dport 0 and a sport among `ports`; `inet_diag_sockid` begins with the two ports, after
/// `nlmsghdr` and four bytes.
fn filter(ports: &[u16]) -> io::Result<Vec<libc::sock_filter>> {
    if ports.len() > PORTS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "more than 2000 ports to watch"));
    }
    let sport_at = u32::try_from(HEADER_BYTES + 4).expect("an offset within a header");
    let load = |at: u32| instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, at);
    let unless = |value: u16, skip: u8| instruction(libc::BPF_JMP | libc::BPF_JEQ, skip, value.into());
    let drop = instruction(libc::BPF_RET, 0, 0);
    let keep = instruction(libc::BPF_RET, 0, u32::MAX);
    let mut program = vec![load(sport_at + 2)];
    program.push(libc::sock_filter { jt: 1, jf: 0, ..unless(0, 0) });
    program.push(drop);
    program.push(load(sport_at));
    for port in ports {
        program.push(unless(*port, 1));
        program.push(keep);
    }
    program.push(drop);
    Ok(program)
}

fn instruction(code: u32, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("BPF codes have 16 bits"), jt: 0, jf, k }
}

/// SO_ATTACH_FILTER (socket(7)).
fn attach(socket: BorrowedFd<'_>, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).expect("bounded by PORTS_MAX");
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    let size = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).expect("a small struct");
    // SAFETY: `program` is a valid sock_fprog whose `filter` points at `len` instructions that live through the call;
    // the kernel only reads and copies them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::super::fresh_netns::in_fresh_netns;
    use super::*;
    use crate::wait::readable_within;

    fn next(events: &mut DestroyEvents) -> Option<Destroyed> {
        // Half a second without any event is the end: they come within 0.1 ms.
        readable_within(events.as_fd(), Duration::from_millis(500))
            .then(|| events.next_event().expect("next"))
            .flatten()
    }

    fn check(bind: &str, connect: &str) {
        in_fresh_netns(|_| {
            let listener = TcpListener::bind(bind).expect("bind");
            let cookie = Cookie(rustix::net::sockopt::socket_cookie(&listener).expect("cookie"));
            let local: SocketAddr = bind.parse().expect("an address");
            let mut events = DestroyEvents::open(&[local.port()]).expect("open");
            let _parked: Vec<_> = (0..64).map(|_| TcpStream::connect(connect).expect("connect")).collect();
            drop(listener);
            // The kernel frees sockets when it gets to it: wait for the number, then for nothing more.
            let mut seen = Vec::new();
            while seen.len() < 65 && readable_within(events.as_fd(), Duration::from_secs(30)) {
                seen.extend(events.next_event().expect("next"));
            }
            assert_eq!((seen.len(), next(&mut events)), (65, None));
            let last = seen.pop().expect("65 events");
            assert_eq!((last.cookie, last.local, last.state), (cookie, local, TcpState::CLOSE));
            assert!(seen.iter().all(|it| it.cookie != cookie && it.local == local), "{seen:?}");
        });
    }

    #[test]
    fn parked_connections_have_events_of_their_own_before_the_listeners() {
        check("127.0.0.1:80", "127.0.0.1:80");
        check("0.0.0.0:80", "127.0.0.1:80");
        check("[::]:80", "[::1]:80");
        check("[::]:80", "127.0.0.1:80");
    }

    #[test]
    fn other_ports_and_ordinary_connections_are_filtered_out() {
        in_fresh_netns(|_| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let address = listener.local_addr().expect("bound");
            let mut events = DestroyEvents::open(&[1, address.port()]).expect("open");
            drop(TcpListener::bind("127.0.0.1:0").expect("bind"));
            let client = TcpStream::connect(address).expect("connect");
            drop(listener.accept().expect("accept"));
            drop(client);
            assert_eq!(next(&mut events), None);
        });
    }

    #[test]
    fn too_many_ports_are_refused() {
        assert!(DestroyEvents::open(&vec![1; PORTS_MAX + 1]).is_err());
    }
}

//! The bytes of inet_diag: `nlmsghdr`, `inet_diag_req`, `inet_diag_msg` (linux/netlink.h, linux/inet_diag.h).
//!
//! Dumps are asked for in the older of the two forms, which gives both families in one walk of the kernel's table; `inet_diag_req_v2`
//! takes one family, and its walk is as long: 65536 buckets, most of them empty.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::id::Cookie;
use crate::kernel::netlink::find;

/// Size of `nlmsghdr`.
pub(super) const HEADER_BYTES: usize = 16;
/// Size of `inet_diag_msg`, which attributes follow.
const MESSAGE_BYTES: usize = 72;
/// Size of `nlmsghdr` and `inet_diag_req`.
const REQUEST_BYTES: usize = HEADER_BYTES + 60;
/// TCPDIAG_GETSOCK: the type of dumps and of their answers.
const TCPDIAG_GETSOCK: u16 = 18;
/// SOCK_DIAG_BY_FAMILY: the type of DESTROY events.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// The attribute that tells an IPv6 listener without IPv4.
const INET_DIAG_SKV6ONLY: u16 = 11;

/// A TCP state (net/tcp_states.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpState(pub u8);

impl TcpState {
    /// Data can flow.
    pub const ESTABLISHED: TcpState = TcpState(1);
    /// A handshake that the client has not completed; also what a request socket shows.
    pub const SYN_RECV: TcpState = TcpState(3);
    /// Closed, not yet freed: the state of every DESTROY event.
    pub const CLOSE: TcpState = TcpState(7);
    /// The peer has closed, this side has not.
    pub const CLOSE_WAIT: TcpState = TcpState(8);
    /// A listener.
    pub const LISTEN: TcpState = TcpState(10);

    /// Its bit in the state mask of a request.
    #[must_use]
    pub(super) fn bit(self) -> u32 {
        1 << self.0
    }
}

/// One `inet_diag_msg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) state: TcpState,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) cookie: Cookie,
    pub(super) rqueue: u32,
    pub(super) wqueue: u32,
    pub(super) inode: u32,
    pub(super) v6_only: bool,
}

/// One netlink message of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A socket.
    Socket(Row),
    /// The end of a dump.
    Done,
}

/// What to dump.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter {
    /// Bits of [`TcpState`].
    pub(super) states: u32,
    /// Local port, 0 for all.
    pub(super) sport: u16,
}

/// A dump request.
pub(super) fn dump_request(filter: Filter, sequence: u32) -> [u8; REQUEST_BYTES] {
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).expect("netlink flags have 16 bits");
    let length = u32::try_from(REQUEST_BYTES).expect("a request has 76 bytes");
    let mut request = [0; REQUEST_BYTES];
    request[0..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&TCPDIAG_GETSOCK.to_ne_bytes());
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
    request[20..22].copy_from_slice(&filter.sport.to_be_bytes());
    // INET_DIAG_NOCOOKIE: two words of ones.
    request[60..68].fill(0xff);
    request[68..72].copy_from_slice(&filter.states.to_ne_bytes());
    request
}

/// The messages of one datagram.
///
/// # Errors
/// The kernel's NLMSG_ERROR as its errno, `InvalidData` for bytes that are no netlink messages.
pub(super) fn parse(datagram: &[u8]) -> impl Iterator<Item = io::Result<Message>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (message, after) = match split(rest) {
            Ok(parts) => parts,
            Err(error) => {
                rest = &[];
                return Some(Err(error));
            }
        };
        rest = after;
        Some(decode(message))
    })
}

fn split(bytes: &[u8]) -> io::Result<(&[u8], &[u8])> {
    let length = bytes.first_chunk().map_or(0, |length| u32::from_ne_bytes(*length) as usize);
    if length < HEADER_BYTES || length > bytes.len() {
        return Err(malformed());
    }
    let aligned = length.next_multiple_of(4).min(bytes.len());
    Ok((&bytes[..length], &bytes[aligned..]))
}

fn decode(message: &[u8]) -> io::Result<Message> {
    let kind = u16::from_ne_bytes([message[4], message[5]]);
    let body = &message[HEADER_BYTES..];
    match i32::from(kind) {
        libc::NLMSG_DONE => match errno(body) {
            Some(error) => Err(error),
            None => Ok(Message::Done),
        },
        libc::NLMSG_ERROR => Err(errno(body).unwrap_or_else(malformed)),
        _ if [TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY].contains(&kind) => {
            row(body).map(Message::Socket).ok_or_else(malformed)
        }
        _ => Err(malformed()),
    }
}

/// The negative errno that NLMSG_ERROR and a failed dump's NLMSG_DONE begin with.
fn errno(body: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(*body.first_chunk()?);
    (code < 0).then(|| io::Error::from_raw_os_error(-code))
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an inet_diag message")
}

fn row(body: &[u8]) -> Option<Row> {
    if body.len() < MESSAGE_BYTES {
        return None;
    }
    let word = |at: usize| u32::from_ne_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
    let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let family = body[0];
    Some(Row {
        state: TcpState(body[1]),
        local: SocketAddr::new(address(family, &body[8..24])?, port(4)),
        remote: SocketAddr::new(address(family, &body[24..40])?, port(6)),
        cookie: Cookie(u64::from(word(44)) | u64::from(word(48)) << 32),
        rqueue: word(56),
        wqueue: word(60),
        inode: word(68),
        v6_only: find(&body[MESSAGE_BYTES..], INET_DIAG_SKV6ONLY).is_some_and(|value| value.first() == Some(&1)),
    })
}

fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_netlink_are_an_error_and_not_a_panic() {
        for bytes in [&[1u8, 0, 0][..], &[0; 16], &[0xff; 64], &[16, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
            let messages: Vec<_> = parse(bytes).collect();
            assert_eq!(messages.len(), 1, "{bytes:?}");
            assert!(messages[0].is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn the_kernels_refusal_is_its_errno() {
        let mut bytes = vec![20, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend((-libc::ENOENT).to_ne_bytes());
        let error = parse(&bytes).next().expect("one message").expect_err("a refusal");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}

//! TCP sockets: nonblocking connect, TCP_INFO (tcp(7), ip(7)). Reading and writing is as with any [`StreamSocket`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::io::unix::AsyncFd;

use super::stream::StreamSocket;

/// The SYN counts as one byte in tcpi_bytes_acked (tcp_snd_una_update in net/ipv4/tcp_input.c).
pub const SYN_BYTES: u64 = 1;

/// A nonblocking TCP client socket.
#[derive(Debug)]
pub struct TcpSocket(StreamSocket);

/// State of a TCP connection (include/net/tcp_states.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpState {
    /// Handshake and data done both ways.
    Established,
    /// Our SYN is out, no answer yet.
    SynSent,
    /// SYN received.
    SynRecv,
    /// Our FIN is out, not acknowledged.
    FinWait1,
    /// Our FIN is acknowledged.
    FinWait2,
    /// Both FINs are through; waits out old segments.
    TimeWait,
    /// No connection: never connected, reset, or over.
    Close,
    /// The peer's FIN arrived, ours is not sent.
    CloseWait,
    /// Our FIN after the peer's is out.
    LastAck,
    /// A listener.
    Listen,
    /// Both FINs crossed.
    Closing,
    /// A number that this list does not know.
    Unknown,
}

impl TcpState {
    fn from_number(number: u8) -> TcpState {
        match number {
            1 => TcpState::Established,
            2 => TcpState::SynSent,
            3 => TcpState::SynRecv,
            4 => TcpState::FinWait1,
            5 => TcpState::FinWait2,
            6 => TcpState::TimeWait,
            7 => TcpState::Close,
            8 => TcpState::CloseWait,
            9 => TcpState::LastAck,
            10 => TcpState::Listen,
            11 => TcpState::Closing,
            _ => TcpState::Unknown,
        }
    }

    /// Its name in the kernel, without the prefix.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TcpState::Established => "ESTABLISHED",
            TcpState::SynSent => "SYN_SENT",
            TcpState::SynRecv => "SYN_RECV",
            TcpState::FinWait1 => "FIN_WAIT1",
            TcpState::FinWait2 => "FIN_WAIT2",
            TcpState::TimeWait => "TIME_WAIT",
            TcpState::Close => "CLOSE",
            TcpState::CloseWait => "CLOSE_WAIT",
            TcpState::LastAck => "LAST_ACK",
            TcpState::Listen => "LISTEN",
            TcpState::Closing => "CLOSING",
            TcpState::Unknown => "UNKNOWN",
        }
    }
}

/// The part of TCP_INFO that tells failures apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpInfo {
    /// State of the connection.
    pub state: TcpState,
    /// Retransmissions of the whole connection, SYN included (tcpi_total_retrans).
    pub total_retrans: u32,
    /// Bytes that the peer's kernel acknowledged, SYN included (tcpi_bytes_acked, [`SYN_BYTES`]).
    pub bytes_acked: u64,
}

impl TcpSocket {
    /// A nonblocking, close-on-exec socket for a connection to `to`. Towards a 127.0.0.0/8 address it is bound to
    /// 127.0.0.1 without a port: connect(2) then picks one by the whole four-tuple (IP_BIND_ADDRESS_NO_PORT). Where the loopback
    /// is down (a namespace of clients beyond a veth) the route tells the source.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL: our own resources.
    pub fn open(to: SocketAddr) -> io::Result<TcpSocket> {
        let source = (to.is_ipv4() && to.ip().is_loopback()).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let socket = match TcpSocket::open_from(to, source) {
            // No port was asked for: it is the address that is nobody's here.
            Err(error) if error.raw_os_error() == Some(Errno::ADDRNOTAVAIL.raw_os_error()) => {
                TcpSocket::open_from(to, None)
            }
            opened => opened,
        }?;
        socket.send_at_once()?;
        Ok(socket)
    }

    /// From this address of ours, with a port that connect(2) picks by the whole four-tuple; `None`: both are the kernel's choice.
    ///
    /// # Errors
    /// As [`TcpSocket::open`]; EADDRNOTAVAIL where the address is not this machine's.
    pub fn open_from(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpSocket> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        if let Some(source) = source {
            set_flag(fd.as_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT)?;
            rustix::net::bind(&fd, &SocketAddr::new(source, 0))?;
        }
        Ok(TcpSocket(StreamSocket::from(fd)))
    }

    /// Lets every write leave at once (TCP_NODELAY): with Nagle the second one of a connection could wait for an ACK.
    ///
    /// # Errors
    /// None that a TCP socket gives.
    pub fn send_at_once(&self) -> io::Result<()> {
        Ok(sockopt::set_tcp_nodelay(&self.0, true)?)
    }

    /// Bounds what the kernel takes in for us (SO_RCVBUF, which it doubles); before [`TcpSocket::connect`], so that the
    /// window never was larger.
    ///
    /// # Errors
    /// None that a TCP socket gives.
    pub fn bound_receive_buffer(&self, bytes: usize) -> io::Result<()> {
        Ok(sockopt::set_socket_recv_buffer_size(&self.0, bytes)?)
    }

    /// Registers it with the current tokio runtime. Only after [`TcpSocket::connect`]: a socket that never connected
    /// reports a hangup, and the runtime never forgets a hangup.
    ///
    /// # Errors
    /// ENOMEM, ENOSPC: epoll takes no more.
    ///
    /// # Panics
    /// Outside of a runtime with I/O.
    pub fn register(self) -> io::Result<AsyncFd<TcpSocket>> {
        // SAFETY: the descriptor is private to this type, which owns it, never replaces or closes it before it is
        // dropped, and always returns it from `as_raw_fd`.
        unsafe { AsyncFd::register(self) }.map_err(io::Error::from)
    }

    /// Begins the handshake. [`TcpSocket::handshake`] tells how it goes.
    ///
    /// # Errors
    /// What connect(2) says at once, such as EADDRNOTAVAIL.
    pub fn connect(&self, to: SocketAddr) -> io::Result<()> {
        self.connect_at_once(to).map(drop)
    }

    /// The same; true when the handshake is complete already, as it mostly is on the loopback.
    ///
    /// # Errors
    /// As [`TcpSocket::connect`]; what a handshake that is over already came to, such as ECONNREFUSED.
    pub fn connect_at_once(&self, to: SocketAddr) -> io::Result<bool> {
        match rustix::net::connect(&self.0, &to) {
            Ok(()) => Ok(true),
            // Interrupted or not, the handshake goes on without us.
            Err(Errno::INPROGRESS | Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether the handshake is complete. Once it was, a later reset is left for the next read or write to tell.
    ///
    /// # Errors
    /// Why the handshake failed (SO_ERROR, which this consumes): ECONNREFUSED, ECONNRESET, ETIMEDOUT.
    pub fn handshake(&self) -> io::Result<bool> {
        // The state first: the error of a connection that is CLOSE by then was set before.
        match self.info()?.state {
            TcpState::SynSent | TcpState::SynRecv => {
                sockopt::socket_error(&self.0)??;
                Ok(false)
            }
            TcpState::Close => match sockopt::socket_error(&self.0)? {
                // A RST behind a FIN (tcp_reset in net/ipv4/tcp_input.c), which only a complete one has: writing tells it again.
                Err(Errno::PIPE) => Ok(true),
                Err(errno) => Err(errno.into()),
                Ok(()) => Err(Errno::NOTCONN.into()),
            },
            _ => Ok(true),
        }
    }

    /// Our port; 0 when there is none yet.
    ///
    /// # Errors
    /// None that a TCP socket gives.
    pub fn local_port(&self) -> io::Result<u16> {
        let name = rustix::net::getsockname(&self.0)?;
        Ok(SocketAddr::try_from(name).map_or(0, |address| address.port()))
    }

    /// TCP_INFO now.
    ///
    /// # Errors
    /// None that a TCP socket gives; EINVAL when the kernel (before 4.1) has no tcpi_bytes_acked.
    pub fn info(&self) -> io::Result<TcpInfo> {
        // struct tcp_info of include/uapi/linux/tcp.h: state at 0, total_retrans at 100, bytes_acked at 120.
        let mut raw = [0u8; 128];
        let mut length: libc::socklen_t = 128;
        // SAFETY: the pointer and `length` describe `raw`, which lives through the call; any bytes are valid u8.
        let result = unsafe {
            libc::getsockopt(
                self.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                raw.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        if length < 128 {
            return Err(Errno::INVAL.into());
        }
        let retrans = [raw[100], raw[101], raw[102], raw[103]];
        let acked = [raw[120], raw[121], raw[122], raw[123], raw[124], raw[125], raw[126], raw[127]];
        Ok(TcpInfo {
            state: TcpState::from_number(raw[0]),
            total_retrans: u32::from_ne_bytes(retrans),
            bytes_acked: u64::from_ne_bytes(acked),
        })
    }
}

impl Deref for TcpSocket {
    type Target = StreamSocket;

    fn deref(&self) -> &StreamSocket {
        &self.0
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

fn set_flag(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("the size of an int fits");
    // SAFETY: the pointer and `length` describe `on`, which lives through the call.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const on).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::kernel::stream::Peek;

    fn connected() -> (TcpSocket, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let to = listener.local_addr().expect("address");
        let socket = TcpSocket::open(to).expect("open");
        socket.connect(to).expect("connect");
        // The peer's accept returns only after the handshake.
        let (peer, _) = listener.accept().expect("accept");
        assert!(socket.handshake().expect("handshake"));
        (socket, peer)
    }

    #[test]
    fn the_syn_counts_as_one_acknowledged_byte() {
        let (socket, mut peer) = connected();
        assert_eq!(socket.info().expect("info").bytes_acked, SYN_BYTES);
        assert_eq!(socket.write(b"hello").expect("write"), 5);
        let mut got = [0u8; 5];
        peer.read_exact(&mut got).expect("read");
        peer.write_all(b"!").expect("answer");
        let info = socket.info().expect("info");
        assert_eq!((info.state, info.bytes_acked, info.total_retrans), (TcpState::Established, SYN_BYTES + 5, 0));
    }

    #[test]
    fn peeking_tells_silence_bytes_and_fin_and_takes_nothing() {
        let (socket, mut peer) = connected();
        assert_eq!(socket.peek().expect("peek"), Peek::Quiet);
        peer.write_all(b"ab").expect("write");
        assert_eq!(socket.peek().expect("peek"), Peek::Bytes);
        assert_eq!(socket.unread().expect("unread"), 2);
        let mut buffer = [0u8; 8];
        assert_eq!(socket.read(&mut buffer).expect("read"), 2);
        drop(peer);
        assert_eq!(socket.peek().expect("peek"), Peek::Closed);
        assert_eq!(socket.info().expect("info").state, TcpState::CloseWait);
        assert_eq!(socket.read(&mut buffer).expect("read"), 0);
    }

    #[test]
    fn a_bound_port_that_nobody_listens_on_refuses() {
        let held = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
        rustix::net::bind(&held, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("bind");
        let to = SocketAddr::try_from(rustix::net::getsockname(&held).expect("name")).expect("address");
        let socket = TcpSocket::open(to).expect("open");
        socket.connect(to).expect("connect begins");
        let refused = socket.handshake().expect_err("nobody listens");
        assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));
    }

    #[test]
    fn a_handshake_was_complete_where_a_reset_lies_behind_an_end() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let to = listener.local_addr().expect("address");
        let socket = TcpSocket::open(to).expect("open");
        socket.connect(to).expect("connect");
        let (peer, _) = listener.accept().expect("accept");
        peer.shutdown(std::net::Shutdown::Write).expect("shutdown");
        sockopt::set_socket_linger(&peer, Some(std::time::Duration::ZERO)).expect("linger");
        drop(peer);
        assert_eq!(socket.info().expect("info").state, TcpState::Close);
        assert!(socket.handshake().expect("it was complete"));
        assert_eq!(socket.write(b"x").expect_err("nobody is there").kind(), io::ErrorKind::BrokenPipe);
    }
}

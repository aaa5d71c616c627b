//! Which socket of a SO_REUSEPORT group the kernel gives a new connection to (socket(7), SO_ATTACH_REUSEPORT_CBPF).
//!
//! Left alone it hashes the client's address, and so a socket that is about to be closed gets its share until the last instant: a
//! handshake whose last ACK is taken on one processor while close(2) runs on another is reset (`inet_csk_reqsk_queue_add` finds the
//! listener closed). A program of the group's own can send whoever comes from now on elsewhere.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::AttachReusePortCbpf;

/// `ret k` of classic BPF (linux/filter.h).
const RET_K: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// New connections go to the socket that listened second: the successor's, while the one that listened first is still there. Where
/// there is no second one the kernel hashes as before.
///
/// # Errors
/// What setsockopt(2) reports; EINVAL for a socket without SO_REUSEPORT.
pub fn prefer_second(listener: &impl AsFd) -> io::Result<()> {
    let mut program = [libc::sock_filter { code: RET_K, jt: 0, jf: 0, k: 1 }];
    let program = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    setsockopt(listener, AttachReusePortCbpf, &program).map_err(Into::into)
}

/// New connections are hashed again. It is a property of the group, which outlives the socket: left as it is, the generation after the
/// next would get all of them as soon as it listens.
///
/// # Errors
/// What setsockopt(2) reports; ENOENT where nothing was preferred.
pub fn prefer_none(listener: &impl AsFd) -> io::Result<()> {
    let ignored: libc::c_int = 0;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("the size of an int fits");
    let (socket, option) = (listener.as_fd().as_raw_fd(), libc::SO_DETACH_REUSEPORT_BPF);
    // SAFETY: the pointer and `length` describe `ignored`, which lives through the call.
    let result = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, (&raw const ignored).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

    use super::*;
    use crate::listener::{self, Sharing};

    const CLIENTS: usize = 64;

    fn waiting(listener: &TcpListener) -> usize {
        std::iter::from_fn(|| listener::accept(listener).expect("nothing is lacking")).count()
    }

    /// How many of them each of the two gets.
    fn shares(first: &TcpListener, second: &TcpListener) -> (usize, usize) {
        let to = first.local_addr().expect("it is bound");
        let _clients: Vec<TcpStream> =
            (0..CLIENTS).map(|_| TcpStream::connect(to).expect("somebody listens")).collect();
        (waiting(first), waiting(second))
    }

    #[test]
    fn the_second_gets_all_until_none_is_preferred_and_a_group_of_one_serves_on() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let first = listener::bind(any, Sharing::ReusePort).expect("a port is free");
        let second = listener::bind(first.local_addr().expect("bound"), Sharing::ReusePort).expect("they share");
        prefer_second(&first).expect("Linux 4.6");
        assert_eq!(shares(&first, &second), (0, CLIENTS));
        prefer_none(&first).expect("Linux 5.3");
        let (of_first, of_second) = shares(&first, &second);
        assert!(of_first > 0 && of_second > 0 && of_first + of_second == CLIENTS, "{of_first}, {of_second}");
        prefer_second(&first).expect("once more");
        drop(first);
        assert_eq!(shares(&second, &second), (CLIENTS, 0));
        // It belongs to the group: the one that is left can end it.
        prefer_none(&second).expect("it was preferred");
        assert!(prefer_none(&second).is_err());
    }
}

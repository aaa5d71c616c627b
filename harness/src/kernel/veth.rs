//! Two network namespaces that are joined by a pair of interfaces (veth(4)), by rtnetlink(7): what a target's clients see of it from
//! another host, though it listens on 127.0.0.1.
//!
//! The namespace of the clients has no loopback (`lo` is down), and its route to 127.0.0.0/8 leads over its interface;
//! `route_localnet` lets either side take what would be a martian else (`ip-sysctl` in the kernel's documentation). There is no such
//! thing for ::1. Ports suffice: a connection that its client has closed lies in TIME_WAIT for a minute, and the load opens less than
//! 400 a second, of which 28 000 would fit into that time (`tcp_tw_reuse` helps on a loopback interface only).

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, unshare};
use thiserror::Error;

use super::namespace::{NamespaceError, inside_netns};
use super::netlink::{NESTED, Netlink, attribute, message};

/// The interface in the target's namespace.
pub const TO_CLIENTS: &str = "clients";
/// The interface in the namespace of its clients.
pub const TO_TARGET: &str = "target";

/// Nobody's addresses (TEST-NET-1, RFC 5737), and no route leads out of here.
const TARGET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENTS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const PREFIX: u8 = 30;

/// AF_INET as netlink has it.
const INET: u8 = 2;
/// IPV4_DEVCONF_ROUTE_LOCALNET (linux/ip.h).
const ROUTE_LOCALNET: u16 = 26;

/// Why two namespaces could not be joined.
#[derive(Debug, Error)]
pub enum VethError {
    /// The target's could not be entered.
    #[error(transparent)]
    Enter(#[from] NamespaceError),
    /// A step of it.
    #[error("{action}")]
    Step {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> VethError {
    move |source| VethError::Step { action, source }
}

/// Makes a network namespace for the clients of who lives in `target`. It lives as long as somebody holds it, and with it, as with
/// the target's, the pair of interfaces ends.
///
/// # Errors
/// Where the kernel has no veth, or we no CAP_NET_ADMIN over the target's namespace.
pub fn join(target: BorrowedFd<'_>) -> Result<OwnedFd, VethError> {
    let clients = std::thread::scope(|scope| {
        scope.spawn(|| make(target)).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    inside_netns(Some(target), || set_up(TO_CLIENTS, TARGET))??;
    Ok(clients)
}

/// On a thread of its own, which is in the new namespace from here on.
fn make(target: BorrowedFd<'_>) -> Result<OwnedFd, VethError> {
    let unshared = unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
    unshared.map_err(failed("make a network namespace (unshare)"))?;
    let namespace = File::open("/proc/thread-self/ns/net").map_err(failed("open a network namespace"))?;
    pair(target).map_err(failed("make a pair of interfaces (veth)"))?;
    set_up(TO_TARGET, CLIENTS)?;
    lead_to_target().map_err(failed("route 127.0.0.0/8 over an interface"))?;
    Ok(namespace.into())
}

/// Its nearer end here, the other one there.
fn pair(target: BorrowedFd<'_>) -> io::Result<()> {
    let name = |name: &str| attribute(IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
    let there = attribute(IFLA_NET_NS_FD, &target.as_raw_fd().to_ne_bytes());
    // VETH_INFO_PEER holds an `ifinfomsg` of its own.
    let peer = attribute(1 | NESTED, &[link(0, 0), name(TO_CLIENTS), there].concat());
    // IFLA_INFO_KIND, IFLA_INFO_DATA.
    let info = [attribute(1, b"veth\0"), attribute(2 | NESTED, &peer)].concat();
    let body = [link(0, 0), name(TO_TARGET), attribute(IFLA_LINKINFO | NESTED, &info)].concat();
    request(libc::RTM_NEWLINK, CREATE, &body)
}

/// Its address; up; and what comes from 127.0.0.0/8, or goes there, is taken.
fn set_up(interface: &str, address: Ipv4Addr) -> Result<(), VethError> {
    let index = index(interface).map_err(failed("find an interface"))?;
    // `ifaddrmsg`: family, prefix, flags, scope, index; IFA_LOCAL, IFA_ADDRESS.
    let message = [&[INET, PREFIX, 0, 0][..], &index.to_ne_bytes()].concat();
    let addresses = [attribute(2, &address.octets()), attribute(1, &address.octets())].concat();
    request(libc::RTM_NEWADDR, CREATE, &[message, addresses].concat())
        .map_err(failed("give an interface an address"))?;
    // IFLA_AF_SPEC, AF_INET, IFLA_INET_CONF.
    let setting = attribute(1 | NESTED, &attribute(ROUTE_LOCALNET, &1_u32.to_ne_bytes()));
    let setting = attribute(IFLA_AF_SPEC | NESTED, &attribute(u16::from(INET) | NESTED, &setting));
    let up = u32::try_from(libc::IFF_UP).expect("a flag");
    request(libc::RTM_SETLINK, 0, &[link(index, up), setting].concat()).map_err(failed("bring an interface up"))
}

fn lead_to_target() -> io::Result<()> {
    // `rtmsg`: family, prefix of the destination and of the source, type of service, table, protocol, scope, type, flags.
    let message = [INET, 8, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_STATIC, libc::RT_SCOPE_LINK, libc::RTN_UNICAST];
    let body = [
        &message[..],
        &[0; 4],
        &attribute(libc::RTA_DST, &[127, 0, 0, 0]),
        &attribute(libc::RTA_OIF, &index(TO_TARGET)?.to_ne_bytes()),
        &attribute(libc::RTA_PREFSRC, &CLIENTS.octets()),
    ];
    request(libc::RTM_NEWROUTE, CREATE, &body.concat())
}

const CREATE: i32 = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
const IFLA_IFNAME: u16 = libc::IFLA_IFNAME;
const IFLA_LINKINFO: u16 = libc::IFLA_LINKINFO;
const IFLA_AF_SPEC: u16 = libc::IFLA_AF_SPEC;
const IFLA_NET_NS_FD: u16 = libc::IFLA_NET_NS_FD;

/// The number of an interface in the calling thread's network namespace.
pub(super) fn index(interface: &str) -> io::Result<u32> {
    let name = std::ffi::CString::new(interface).map_err(io::Error::other)?;
    // SAFETY: a string that ends with NUL and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// `ifinfomsg`: family, type, index, flags, and which of these are changed.
fn link(index: u32, up: u32) -> Vec<u8> {
    [&[0; 4][..], &index.to_ne_bytes(), &up.to_ne_bytes(), &up.to_ne_bytes()].concat()
}

/// Has the kernel do something in the calling thread's network namespace.
fn request(kind: u16, flags: i32, body: &[u8]) -> io::Result<()> {
    let mut netlink = Netlink::open(None)?;
    netlink.send(&message(kind, libc::NLM_F_ACK | flags, body))?;
    netlink.acknowledged()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::event::Shape;
    use crate::kernel::counter;
    use crate::kernel::inet_diag::fresh_netns::in_fresh_netns;
    use crate::kernel::nf_tables::path::{Fate, PathFilter};
    use crate::kernel::tbf::Shaper;
    use crate::wait::{Look, Stop, WaitError, until};

    /// Longer than all that is waited for here.
    const LIMIT: Duration = Duration::from_secs(30);

    fn connect(clients: &OwnedFd, to: SocketAddr) -> io::Result<TcpStream> {
        inside_netns(Some(clients.as_fd()), || {
            let stream = TcpStream::connect_timeout(&to, LIMIT)?;
            stream.set_read_timeout(Some(LIMIT))?;
            Ok(stream)
        })
        .expect("it can be entered")
    }

    /// In the namespace of a target that listens on the loopback, with clients beyond it.
    fn check(act: impl FnOnce(TcpListener, SocketAddr, OwnedFd) + Send) {
        in_fresh_netns(|target| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let address = listener.local_addr().expect("bound");
            act(listener, address, join(target.as_fd()).expect("join"));
        });
    }

    /// What the resets of one side are: those that it has sent.
    fn resets() -> u64 {
        counter::read().expect("read")["Tcp.OutRsts"]
    }

    #[test]
    fn clients_beyond_a_veth_reach_a_listener_on_the_loopback_and_each_side_counts_its_own_resets() {
        check(|listener, address, clients| {
            let mut client = connect(&clients, address).expect("connect");
            let (mut server, from) = listener.accept().expect("accept");
            assert_eq!(from.ip(), CLIENTS);
            client.write_all(b"there").expect("write");
            let mut said = [0; 5];
            server.read_exact(&mut said).expect("read");
            server.write_all(b"back!").expect("write");
            client.read_exact(&mut said).expect("read");
            assert_eq!(&said, b"back!");
            drop((client, server, listener));
            assert_eq!(resets(), 0);
            connect(&clients, address).expect_err("nobody listens");
            assert_eq!(resets(), 1);
            let theirs = inside_netns(Some(clients.as_fd()), resets).expect("enter");
            assert_eq!(theirs, 0);
        });
    }

    #[test]
    fn what_is_dropped_is_sent_again_and_counted() {
        check(|listener, address, clients| {
            let mut client = connect(&clients, address).expect("connect");
            let (mut server, _) = listener.accept().expect("accept");
            let mut filter = PathFilter::raise(TO_CLIENTS, Fate::Lost).expect("raise");
            client.write_all(b"again").expect("write");
            server.set_read_timeout(Some(Duration::from_millis(50))).expect("a limit");
            let nothing = server.read(&mut [0; 5]).expect_err("it is lost");
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
            assert!(filter.lift().expect("lift") > 0);
            server.set_read_timeout(Some(LIMIT)).expect("a limit");
            let mut said = [0; 5];
            server.read_exact(&mut said).expect("it comes after all");
            assert_eq!(&said, b"again");
            filter.remove().expect("remove");
            PathFilter::raise(TO_CLIENTS, Fate::Lost).expect("raise another one");
        });
    }

    #[test]
    fn a_connect_is_rejected_by_neither_side_and_what_is_connected_goes_on() {
        check(|listener, address, clients| {
            let mut client = connect(&clients, address).expect("connect");
            let (mut server, _) = listener.accept().expect("accept");
            let mut filter = PathFilter::raise(TO_CLIENTS, Fate::Rejected { port: address.port() }).expect("raise");
            for _ in 0..3 {
                let refused = connect(&clients, address).expect_err("it is rejected");
                assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            }
            client.write_all(b"still").expect("write");
            let mut said = [0; 5];
            server.read_exact(&mut said).expect("read");
            // Not those of the target's own namespace.
            TcpStream::connect(address).expect("it listens");
            assert_eq!(filter.lift().expect("lift"), 3);
            connect(&clients, address).expect("nothing is in the way");
            assert_eq!(resets(), 0);
        });
    }

    #[test]
    fn what_is_shaped_takes_as_long_as_its_rate_says_and_comes_whole() {
        check(|listener, address, clients| {
            const BYTES: usize = 500_000;
            let shape = Shape { rate_kbit: 20_000, burst_bytes: 10_000, latency_ms: 50 };
            let mut client = connect(&clients, address).expect("connect");
            let (mut server, _) = listener.accept().expect("accept");
            let mut shaper = Shaper::raise(TO_CLIENTS, &shape).expect("raise");
            let sent: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
            let began = Instant::now();
            let mut come = Vec::new();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    server.write_all(&sent).expect("write");
                    drop(server);
                });
                client.read_to_end(&mut come).expect("read");
            });
            // 2.5 MB a second.
            let least = Duration::from_millis(190);
            assert!(began.elapsed() > least, "{:?}", began.elapsed());
            assert!(come == sent);
            let passed = shaper.lift().expect("lift");
            assert!(passed.bytes >= BYTES as u64 && passed.waits > 0, "{passed:?}");
        });
    }

    #[test]
    fn the_pair_ends_with_the_namespace_of_the_clients() {
        in_fresh_netns(|target| {
            let clients = join(target.as_fd()).expect("join");
            index(TO_CLIENTS).expect("it is there");
            drop(clients);
            // The kernel takes a namespace down on a worker of its own, which may have others to do.
            let gone = || if index(TO_CLIENTS).is_err() { Look::Yes(()) } else { Look::NotYet };
            let ended = until(LIMIT, Duration::from_millis(1), &Stop::new().expect("a stop"), gone);
            ended.unwrap_or_else(|_: WaitError<()>| panic!("it stays"));
        });
    }
}

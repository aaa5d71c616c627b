//! The sockets on which a server listens beside the first one: other ports, IPv6, UNIX sockets with a file or an abstract name, and
//! those on which it reads datagrams.
//!
//! A listening socket keeps its name whoever has it open, so a process that is handed many need not be told which is which: it asks
//! the kernel (getsockname(2)), takes those that it is to listen on, binds what is missing, and closes the rest. That is how a new
//! version adds, drops or moves an address without touching any other.
//!
//! The file of a UNIX socket is the name and not the socket: it is made by bind(2) and stays until somebody unlinks it. It must be
//! unlinked by the last process that listens there, and by nobody before: a path that is made anew is missing in between.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::listener::{self, Sharing};

/// What stands before the address of a UNIX socket.
const UNIX: &str = "unix:";
/// What stands before an address at which datagrams are read.
const UDP: &str = "udp:";

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// IPv4 or IPv6: `127.0.0.1:80`, `[::1]:80`.
    Internet(SocketAddr),
    /// The same for datagrams: `udp:127.0.0.1:80`. The port may be a listener's, too.
    Datagram(SocketAddr),
    /// A UNIX socket with a file: `unix:run/server.sock`.
    Path(PathBuf),
    /// A UNIX socket with an abstract name (unix(7)): `unix:@server`.
    Abstract(String),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let no_address = || {
            format!(
                "`{text}` is no address: write `127.0.0.1:80`, `[::1]:80`, `udp:127.0.0.1:80`, `unix:PATH` or `unix:@NAME`"
            )
        };
        if let Some(address) = text.strip_prefix(UDP) {
            return address.parse().map(Self::Datagram).map_err(|_| no_address());
        }
        match text.strip_prefix(UNIX).map(|rest| rest.strip_prefix('@').ok_or(rest)) {
            Some(Ok("") | Err("")) => Err(format!("`{text}` names no socket")),
            Some(Ok(name)) => Ok(Self::Abstract(name.to_owned())),
            Some(Err(path)) => Ok(Self::Path(path.into())),
            None => text.parse().map(Self::Internet).map_err(|_| no_address()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet(address) => write!(out, "{address}"),
            Self::Datagram(address) => write!(out, "{UDP}{address}"),
            Self::Path(path) => write!(out, "{UNIX}{}", path.display()),
            Self::Abstract(name) => write!(out, "{UNIX}@{name}"),
        }
    }
}

impl Address {
    /// One line: an address, or some that differ in the port, `127.0.0.1:8001-8004` or `udp:127.0.0.1:8001-8004`.
    ///
    /// # Errors
    /// What is wrong with it, for standard error.
    pub fn some(line: &str) -> Result<Vec<Self>, String> {
        let (kind, ports): (fn(SocketAddr) -> Self, _) =
            line.strip_prefix(UDP).map_or((Self::Internet, line), |rest| (Self::Datagram, rest));
        let range = ports.rsplit_once('-').and_then(|(first, last)| {
            let first: SocketAddr = first.parse().ok()?;
            let last: u16 = last.parse().ok().filter(|last| *last >= first.port())?;
            Some((first.port()..=last).map(move |port| kind(SocketAddr::new(first.ip(), port))))
        });
        match range {
            Some(range) => Ok(range.collect()),
            None => Ok(vec![line.parse()?]),
        }
    }

    /// The name of a socket, if it is one of these.
    pub fn of(socket: &impl AsFd) -> Option<Self> {
        let name = rustix::net::getsockname(socket).ok()?;
        if let Ok(address) = SocketAddr::try_from(name.clone()) {
            return Some(if is_for_datagrams(socket) { Self::Datagram(address) } else { Self::Internet(address) });
        }
        let name = SocketAddrUnix::try_from(name).ok()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let path = name.path_bytes().map(|it| Self::Path(text(it).into()));
        path.or_else(|| name.abstract_name().map(|it| Self::Abstract(text(it))))
    }

    /// Those of a file: lines as of [`Address::some`], empty ones, and comments that begin with `#`. Without a file there are none.
    ///
    /// # Errors
    /// What is wrong, for standard error.
    pub fn listed(file: Option<&Path>) -> Result<Vec<Self>, String> {
        let Some(path) = file else { return Ok(Vec::new()) };
        let text = std::fs::read_to_string(path).map_err(|error| format!("read {}: {error}", path.display()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let some = lines.map(Self::some).collect::<Result<Vec<_>, _>>();
        Ok(some.map_err(|error| format!("understand {}: {error}", path.display()))?.concat())
    }

    fn bind(&self, sharing: Sharing) -> io::Result<OwnedFd> {
        let name = match self {
            Self::Internet(address) => return Ok(listener::bind(*address, sharing)?.into()),
            Self::Datagram(address) => return listener::bind_datagrams(*address, sharing),
            Self::Path(path) => {
                remove_if_dead(path)?;
                SocketAddrUnix::new(path)?
            }
            Self::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&socket, &name)?;
        rustix::net::listen(&socket, listener::BACKLOG)?;
        Ok(socket)
    }
}

pub(crate) fn is_for_datagrams(socket: &impl AsFd) -> bool {
    rustix::net::sockopt::socket_type(socket) == Ok(SocketType::DGRAM)
}

/// Sorts those that listen before those for datagrams, and counts them.
fn listening_first(sockets: &mut [OwnedFd]) -> usize {
    sockets.sort_by_key(is_for_datagrams);
    sockets.iter().filter(|socket| !is_for_datagrams(*socket)).count()
}

/// Removes the file of a socket on which nobody listens any more: bind(2) refuses a name that is there.
fn remove_if_dead(path: &Path) -> io::Result<()> {
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

/// The listening sockets beside the first one.
#[derive(Debug, Default)]
pub struct Further {
    /// Those that listen, then those for datagrams.
    sockets: Vec<OwnedFd>,
    /// How many listen.
    listening: usize,
    /// The files by which they are reached.
    files: Vec<PathBuf>,
    /// The files of sockets that were handed over and are not wanted.
    dropped: Vec<PathBuf>,
    /// The files that this process has made, until it serves: one that never does leaves none behind.
    made: Vec<PathBuf>,
}

impl Drop for Further {
    fn drop(&mut self) {
        remove(&self.made);
    }
}

/// Sockets of which another process keeps the files.
impl From<Vec<OwnedFd>> for Further {
    fn from(mut sockets: Vec<OwnedFd>) -> Self {
        let listening = listening_first(&mut sockets);
        Self { sockets, listening, files: Vec::new(), dropped: Vec::new(), made: Vec::new() }
    }
}

impl Further {
    /// Takes those of `handed` that are `wanted`, and binds what is not among them. The others are closed. An address that is wanted
    /// twice has two sockets (SO_REUSEPORT), each with an accept queue of its own; what is handed over is told apart by number, not by
    /// name: who keeps one for each name closes the other's queue.
    ///
    /// # Errors
    /// An address that cannot be bound, and why; what was bound before it is undone.
    pub fn take(wanted: &[Address], mut handed: Vec<OwnedFd>) -> Result<Self, String> {
        let (mut further, mut sockets) = (Self::default(), Vec::new());
        let sharing = |address: &Address| {
            let is_shared = wanted.iter().filter(|it| *it == address).count() > 1;
            if is_shared { Sharing::ReusePort } else { Sharing::Exclusive }
        };
        for address in wanted {
            let there = handed.iter().position(|socket| Address::of(socket).as_ref() == Some(address));
            let socket = match there {
                Some(at) => handed.swap_remove(at),
                None => address.bind(sharing(address)).map_err(|error| format!("listen on {address}: {error}"))?,
            };
            if let Address::Path(path) = address {
                further.files.push(path.clone());
                further.made.extend(there.is_none().then(|| path.clone()));
            }
            sockets.push(socket);
        }
        further.listening = listening_first(&mut sockets);
        further.sockets = sockets;
        let file =
            |socket: &OwnedFd| if let Some(Address::Path(path)) = Address::of(socket) { Some(path) } else { None };
        further.dropped = handed.iter().filter_map(file).collect();
        Ok(further)
    }

    /// This process serves, and nobody before it any more: what it has made stays, and the files of what is listened on no more go.
    pub fn settle(&mut self) {
        self.made.clear();
        remove(&std::mem::take(&mut self.dropped));
    }

    /// All of them, to be handed on.
    #[must_use]
    pub fn sockets(&self) -> &[OwnedFd] {
        &self.sockets
    }

    /// Those that listen, in the order of what was wanted.
    #[must_use]
    pub fn queues(&self) -> &[OwnedFd] {
        &self.sockets[..self.listening]
    }

    /// Those for datagrams.
    #[must_use]
    pub fn datagrams(&self) -> &[OwnedFd] {
        &self.sockets[self.listening..]
    }

    /// The files that whoever listens last removes.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Binds anew what has a file: the mistake of [`crate::defect::Defect::UnixPathKept`].
    ///
    /// # Errors
    /// As [`Further::take`].
    pub fn bind_files_anew(&mut self) -> Result<(), String> {
        let files: Vec<Address> = self.files.iter().cloned().map(Address::Path).collect();
        let (_closed, kept) = std::mem::take(&mut self.sockets)
            .into_iter()
            .partition::<Vec<_>, _>(|socket| Address::of(socket).is_some_and(|it| files.contains(&it)));
        let mut anew = Self::take(&files, Vec::new())?;
        anew.settle();
        self.sockets = kept.into_iter().chain(std::mem::take(&mut anew.sockets)).collect();
        self.listening = listening_first(&mut self.sockets);
        Ok(())
    }
}

/// Removes files; one that is gone already is as good.
pub fn remove(files: &[PathBuf]) {
    files.iter().for_each(|path| drop(std::fs::remove_file(path)));
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt;

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["127.0.0.1:80", "[::1]:80", "udp:127.0.0.1:80", "unix:a/b.sock", "unix:@name"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
        for text in ["localhost:80", "udp:80", "unix:", "unix:@", "80"] {
            text.parse::<Address>().expect_err(text);
        }
        let some = Address::some("127.0.0.1:8001-8003").expect("a range");
        assert_eq!(
            some.iter().map(Address::to_string).collect::<Vec<_>>(),
            ["127.0.0.1:8001", "127.0.0.1:8002", "127.0.0.1:8003"]
        );
        Address::some("127.0.0.1:8003-8001").expect_err("backwards");
        assert_eq!(Address::some("unix:a-b.sock").expect("no range").len(), 1);
    }

    #[test]
    fn what_is_handed_over_is_told_by_its_name_and_the_rest_is_closed() {
        let scratch = Scratch::new("further");
        let path = |name: &str| Address::Path(scratch.path().join(name));
        let abstract_name = Address::Abstract(format!("unbroken-further-{}", std::process::id()));
        let mut first =
            Further::take(&[path("kept"), path("dropped"), abstract_name.clone()], Vec::new()).expect("bind");
        first.settle();
        let handed = first.sockets().iter().map(|it| it.try_clone().expect("dup")).collect();
        let mut second = Further::take(&[abstract_name, path("added"), path("kept")], handed).expect("take");
        drop(first);
        assert_eq!(second.files(), [scratch.path().join("added"), scratch.path().join("kept")]);
        for name in ["kept", "added"] {
            UnixStream::connect(scratch.path().join(name)).expect(name);
        }
        let refused = UnixStream::connect(scratch.path().join("dropped")).expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(scratch.path().join("dropped").exists(), "its predecessor may serve on");
        second.settle();
        assert!(!scratch.path().join("dropped").exists());
        remove(second.files());
        assert!(!scratch.path().join("kept").exists());
    }

    #[test]
    fn an_address_that_is_wanted_twice_has_two_sockets_before_and_after() {
        let free = listener::bind("127.0.0.1:0".parse().expect("address"), Sharing::Exclusive).expect("bind");
        let address = Address::of(&free).expect("it has a name");
        drop(free);
        let wanted = [address.clone(), address];
        let first = Further::take(&wanted, Vec::new()).expect("both allow it");
        let cookies = |further: &Further| -> Vec<u64> {
            let mut cookies: Vec<u64> =
                further.sockets().iter().map(|it| sockopt::socket_cookie(it).expect("a socket has one")).collect();
            cookies.sort_unstable();
            cookies
        };
        let handed = first.sockets().iter().map(|it| it.try_clone().expect("dup")).collect();
        let second = Further::take(&wanted, handed).expect("take");
        assert_eq!(cookies(&second), cookies(&first));
        assert_ne!(cookies(&second)[0], cookies(&second)[1]);
    }

    #[test]
    fn a_listener_and_a_socket_for_datagrams_may_have_one_port() {
        let listener = listener::bind("127.0.0.1:0".parse().expect("address"), Sharing::Exclusive).expect("bind");
        let port = listener.local_addr().expect("name");
        let first = Further::take(&[Address::Datagram(port)], Vec::new()).expect("the port is another one");
        let handed = vec![first.sockets()[0].try_clone().expect("dup"), OwnedFd::from(listener)];
        let further = Further::take(&[Address::Datagram(port), Address::Internet(port)], handed).expect("take");
        let name = |sockets: &[OwnedFd]| sockets.iter().filter_map(Address::of).collect::<Vec<_>>();
        assert_eq!(name(further.queues()), [Address::Internet(port)]);
        assert_eq!(name(further.datagrams()), [Address::Datagram(port)]);
        assert_eq!(further.sockets().len(), 2);
    }

    #[test]
    fn a_file_that_nobody_listens_on_is_replaced_and_one_that_somebody_does_is_not() {
        let scratch = Scratch::new("further-stale");
        let address = Address::Path(scratch.path().join("server.sock"));
        let mut first = Further::take(std::slice::from_ref(&address), Vec::new()).expect("bind");
        first.settle();
        let other = Address::Path(scratch.path().join("other.sock"));
        let error = Further::take(&[other, address.clone()], Vec::new()).expect_err("it is taken");
        assert!(error.contains("server.sock"), "{error}");
        assert!(!scratch.path().join("other.sock").exists(), "what was bound before it is undone");
        drop(first);
        let never_served = Further::take(&[address], Vec::new()).expect("its file is a dead one's");
        drop(never_served);
        assert!(!scratch.path().join("server.sock").exists(), "who never serves leaves nothing behind");
    }
}

//! What to drive: checked once, so that the loop need not ask.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::manifest::Protocol;

/// More connections than a driver on one thread has use for; it bounds a typing error.
pub const CONNECTIONS_MAX: u32 = 65_536;
/// One request each microsecond is more than any server of one machine answers.
pub const RATE_MAX: f64 = 1e6;
/// More threads than a machine has processors for; it bounds a typing error.
pub const THREADS_MAX: u32 = 256;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each connection sends the next one when the answer before has come (closed loop).
    AsAnswered,
    /// So many a second in all, whatever comes back (open loop).
    PerSecond(f64),
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// By TCP.
    Tcp(SocketAddr),
    /// By a UNIX stream socket.
    Unix(UnixName),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix(name) => name.fmt(f),
        }
    }
}

impl Peer {
    fn is_of_the_family_of(&self, address: IpAddr) -> bool {
        matches!(self, Peer::Tcp(to) if to.is_ipv4() == address.is_ipv4())
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        Peer::Tcp(address)
    }
}

impl From<UnixName> for Peer {
    fn from(name: UnixName) -> Peer {
        Peer::Unix(name)
    }
}

/// Where a UNIX socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnixName {
    /// In the file system.
    Path(PathBuf),
    /// In the abstract namespace of the network namespace.
    Abstract(String),
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnixName::Path(path) => write!(f, "unix:{}", path.display()),
            UnixName::Abstract(name) => write!(f, "unix:@{name}"),
        }
    }
}

impl UnixName {
    /// It is longer than a `sockaddr_un` has room for (unix(7)): 108 bytes, and one less for an abstract name.
    fn is_too_long(&self) -> bool {
        match self {
            UnixName::Path(path) => path.as_os_str().len() > 108,
            UnixName::Abstract(name) => name.len() > 107,
        }
    }
}

/// Where our side of the connections is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The kernel decides.
    Any,
    /// These addresses in turn, each with all ports of its own: one address has some 28 000, and each is in TIME_WAIT for a minute after a
    /// close of ours.
    Each(Vec<IpAddr>),
}

/// What to drive.
#[derive(Debug, Clone, PartialEq)]
pub struct DrivePlan {
    /// Where requests go.
    pub to: Peer,
    /// What is spoken there.
    pub protocol: Protocol,
    /// `Host` of each request; raw echo has none.
    pub host: String,
    /// Path of each request, with its query; of raw echo the first word of each line.
    pub path: String,
    /// How many at a time.
    pub connections: u32,
    /// Threads that share them: one is enough until it needs a whole processor.
    pub threads: u32,
    /// A connection carries one request after the other; else each has its own.
    pub kept: bool,
    /// When they are sent.
    pub pace: Pace,
    /// Requests begin within this time.
    pub duration: Duration,
    /// From the begin of a request to its last byte.
    pub deadline: Duration,
    /// Where our side of the connections is.
    pub source: Source,
}

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PlanError {
    /// Nothing would be sent.
    #[error("{0} connections: from 1 to {CONNECTIONS_MAX} can be driven")]
    Connections(u32),
    /// A thread would have nothing to do.
    #[error(
        "{threads} threads for {connections} connections: from 1 to {THREADS_MAX}, each with a connection at least"
    )]
    Threads {
        /// The threads.
        threads: u32,
        /// What they would share.
        connections: u32,
    },
    /// Not a rate.
    #[error("a rate of {0}/s: from 0.01 to {RATE_MAX} can be kept")]
    Rate(f64),
    /// Nothing would be sent, or answered.
    #[error("a {what} of zero")]
    Zero {
        /// Which time.
        what: &'static str,
    },
    /// A source of the other family.
    #[error("{source_address} cannot be the source of a connection to {to}: the two are of different families")]
    Family {
        /// The source.
        source_address: IpAddr,
        /// The destination.
        to: String,
    },
    /// No socket has such a name.
    #[error("{to} cannot be connected to: a name of a UNIX socket has at most 108 bytes")]
    Name {
        /// The destination.
        to: String,
    },
}

impl DrivePlan {
    /// HTTP over 16 kept connections as fast as they are answered, for ten seconds.
    #[must_use]
    pub fn new(to: impl Into<Peer>) -> DrivePlan {
        let to = to.into();
        // Servers refuse a `Host` that is none, as a path would be.
        let host = if let Peer::Tcp(address) = &to { address.to_string() } else { "localhost".to_owned() };
        DrivePlan {
            to,
            protocol: Protocol::Http1,
            host,
            path: "/".to_owned(),
            connections: 16,
            threads: 1,
            kept: true,
            pace: Pace::AsAnswered,
            duration: Duration::from_secs(10),
            deadline: Duration::from_secs(10),
            source: Source::Any,
        }
    }

    /// Nothing contradicts itself.
    ///
    /// # Errors
    /// The first thing that does.
    pub fn check(&self) -> Result<(), PlanError> {
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return Err(PlanError::Connections(self.connections));
        }
        if !(1..=THREADS_MAX.min(self.connections)).contains(&self.threads) {
            return Err(PlanError::Threads { threads: self.threads, connections: self.connections });
        }
        if let Pace::PerSecond(rate) = self.pace
            && !(0.01..=RATE_MAX).contains(&rate)
        {
            return Err(PlanError::Rate(rate));
        }
        for (what, time) in [("duration", self.duration), ("deadline", self.deadline)] {
            if time.is_zero() {
                return Err(PlanError::Zero { what });
            }
        }
        if let Source::Each(addresses) = &self.source
            && let Some(&source_address) = addresses.iter().find(|it| !self.to.is_of_the_family_of(**it))
        {
            return Err(PlanError::Family { source_address, to: self.to.to_string() });
        }
        match &self.to {
            Peer::Unix(name) if name.is_too_long() => Err(PlanError::Name { to: self.to.to_string() }),
            _ => Ok(()),
        }
    }

    /// It leaves this machine.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self.to, Peer::Tcp(to) if !to.ip().to_canonical().is_loopback())
    }

    /// The address that the connection of this number comes from.
    pub(crate) fn source_of(&self, connection: u64) -> Option<IpAddr> {
        let Source::Each(addresses) = &self.source else { return None };
        let count = u64::try_from(addresses.len()).ok().filter(|count| *count > 0)?;
        usize::try_from(connection % count).ok().and_then(|n| addresses.get(n)).copied()
    }
}

impl Source {
    /// This many addresses of the loopback interface: 127.1.0.1, 127.1.0.2 and on, all of which are this machine's (RFC 1122, 3.2.1.3).
    #[must_use]
    pub fn loopback(count: u8) -> Source {
        Source::Each((1..=count).map(|n| IpAddr::V4(Ipv4Addr::new(127, 1, 0, n))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_contradicts_itself_is_named() {
        let right = DrivePlan::new("127.0.0.1:80".parse::<SocketAddr>().expect("an address"));
        assert_eq!(right.check(), Ok(()));
        let wrong = |change: fn(&mut DrivePlan)| {
            let mut plan = right.clone();
            change(&mut plan);
            plan.check().expect_err("it is wrong").to_string()
        };
        assert!(wrong(|it| it.connections = 0).contains("0 connections"));
        assert!(wrong(|it| it.threads = 0).contains("0 threads for 16 connections"));
        assert!(wrong(|it| it.threads = 17).contains("17 threads for 16 connections"));
        assert!(wrong(|it| it.pace = Pace::PerSecond(f64::NAN)).contains("rate of NaN/s"));
        assert!(wrong(|it| it.pace = Pace::PerSecond(2e6)).contains("1000000"));
        assert!(wrong(|it| it.duration = Duration::ZERO).contains("duration of zero"));
    }

    #[test]
    fn a_source_is_of_the_family_of_its_destination_and_taken_in_turn() {
        let mut plan = DrivePlan::new("127.0.0.1:80".parse::<SocketAddr>().expect("an address"));
        plan.source = Source::loopback(2);
        assert_eq!(plan.check(), Ok(()));
        let sources: Vec<String> = (0..3).filter_map(|n| plan.source_of(n)).map(|it| it.to_string()).collect();
        assert_eq!(sources, ["127.1.0.1", "127.1.0.2", "127.1.0.1"]);
        plan.to = "[::1]:80".parse::<SocketAddr>().expect("an address").into();
        plan.check().expect_err("the families differ");
        plan.to = UnixName::Path("/run/x".into()).into();
        plan.check().expect_err("a UNIX socket has no such source");
    }

    #[test]
    fn a_name_that_no_socket_has_is_refused() {
        let check = |name| DrivePlan::new(name).check();
        assert_eq!(check(UnixName::Path("/run/x.sock".into())), Ok(()));
        assert_eq!(check(UnixName::Abstract("x".repeat(107))), Ok(()));
        check(UnixName::Abstract("x".repeat(108))).expect_err("too long");
        let long = check(UnixName::Path("x".repeat(109).into())).expect_err("too long").to_string();
        assert!(long.ends_with("at most 108 bytes"), "{long}");
    }

    #[test]
    fn only_the_loopback_is_near() {
        let remote = |to: &str| DrivePlan::new(to.parse::<SocketAddr>().expect("an address")).is_remote();
        assert!(!DrivePlan::new(UnixName::Abstract("x".to_owned())).is_remote());
        assert!(!remote("127.9.0.1:80") && !remote("[::1]:80") && !remote("[::ffff:127.0.0.1]:80"));
        assert!(remote("10.0.0.1:80") && remote("0.0.0.0:80") && remote("[::]:80"));
    }
}

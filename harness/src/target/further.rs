//! The addresses on which a target listens beside its endpoints.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Placeholders, Template, TextProblem, text};

/// What stands before the address of a UNIX socket.
const UNIX: &str = "unix:";
/// What stands before an address at which datagrams are answered.
const UDP: &str = "udp:";
/// What stands before an address at which TLS is spoken.
const TLS: &str = "tls:";
/// What stands before an address at which HTTP/2 is spoken, with prior knowledge.
const H2: &str = "h2:";

/// More than any server that we know is asked to have; it bounds a typing error in a range.
const PORTS_MAX: u16 = 1024;

/// More sockets than a server has processors, mostly; it bounds a typing error.
const SOCKETS_MAX: usize = 64;

/// An entry of `also`: one address, some that differ in the port, or one on which several sockets listen (SO_REUSEPORT).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetFurther(pub(super) Template);

/// An address on which a target listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FurtherAddress {
    /// On the loopback interface.
    Internet(SocketAddr),
    /// The same for datagrams.
    Datagram(SocketAddr),
    /// The same over TLS.
    Tls(SocketAddr),
    /// The same over HTTP/2.
    H2(SocketAddr),
    /// A UNIX socket with a file.
    Path(PathBuf),
    /// A UNIX socket with an abstract name (unix(7)).
    Abstract(String),
}

impl fmt::Display for FurtherAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FurtherAddress::Internet(address) => write!(f, "{address}"),
            FurtherAddress::Datagram(address) => write!(f, "{UDP}{address}"),
            FurtherAddress::Tls(address) => write!(f, "{TLS}{address}"),
            FurtherAddress::H2(address) => write!(f, "{H2}{address}"),
            FurtherAddress::Path(path) => write!(f, "{UNIX}{}", path.display()),
            FurtherAddress::Abstract(name) => write!(f, "{UNIX}@{name}"),
        }
    }
}

impl TargetFurther {
    /// It is another address in each version.
    #[must_use]
    pub fn moves(&self) -> bool {
        self.0.is_versioned()
    }

    /// The addresses at this version, each as often as sockets listen there.
    ///
    /// # Errors
    /// The version makes it something else than an address: the tenth has one digit more.
    pub fn addresses(&self, with: &Placeholders) -> Result<Vec<FurtherAddress>, TextProblem> {
        some(&self.0.fill(with))
    }

    /// Checks an entry as it is written.
    pub(super) fn check(template: Template) -> Result<TargetFurther, TextProblem> {
        let written = template.as_written();
        match path_of(written) {
            Some(path) => text::below_dir(path)?,
            None => drop(some(&written.replace("{version}", "1"))?),
        }
        Ok(TargetFurther(template))
    }
}

/// At an entry as it is written HTTP/2 is spoken.
pub(super) fn speaks_h2(written: &str) -> bool {
    written.starts_with(H2)
}

/// At an entry as it is written TLS is spoken.
pub(super) fn speaks_tls(written: &str) -> bool {
    written.starts_with(TLS)
}

/// An entry as it is written is for datagrams.
pub(super) fn is_for_datagrams(written: &str) -> bool {
    written.starts_with(UDP)
}

/// The file of an entry as it is written, where it has one.
pub(super) fn path_of(written: &str) -> Option<&str> {
    written.strip_prefix(UNIX).filter(|rest| !rest.starts_with('@'))
}

/// What is at an address, and the rest of it.
fn kind(text: &str) -> (fn(SocketAddr) -> FurtherAddress, &str) {
    if let Some(rest) = text.strip_prefix(UDP) {
        (FurtherAddress::Datagram, rest)
    } else if let Some(rest) = text.strip_prefix(TLS) {
        (FurtherAddress::Tls, rest)
    } else if let Some(rest) = text.strip_prefix(H2) {
        (FurtherAddress::H2, rest)
    } else {
        (FurtherAddress::Internet, text)
    }
}

/// `127.0.0.1:8001`, `127.0.0.1:8001-8004`, `127.0.0.1:8001*2`, any of these behind `udp:`, `tls:` or `h2:`, `unix:PATH`, `unix:@NAME`.
fn some(text: &str) -> Result<Vec<FurtherAddress>, TextProblem> {
    match text.strip_prefix(UNIX).map(|rest| rest.strip_prefix('@').ok_or(rest)) {
        Some(Ok("")) => Err(TextProblem::Address { text: text.to_owned() }),
        Some(Ok(name)) => Ok(vec![FurtherAddress::Abstract(name.to_owned())]),
        Some(Err(path)) => Ok(vec![FurtherAddress::Path(path.into())]),
        None => {
            let (kind, text) = kind(text);
            let (ports, sockets) = text.split_once('*').map_or((text, Some(1)), |(ports, sockets)| {
                (ports, sockets.parse().ok().filter(|sockets| (2..=SOCKETS_MAX).contains(sockets)))
            });
            let sockets = sockets.ok_or_else(|| TextProblem::Address { text: text.to_owned() })?;
            let (first, last) = ports.rsplit_once('-').map_or((ports, None), |(first, last)| (first, Some(last)));
            let first = text::address(first)?;
            let last = last.map_or(Ok(first.port()), str::parse).ok();
            let ports = last.filter(|last| (first.port()..first.port().saturating_add(PORTS_MAX)).contains(last));
            let ports = first.port()..=ports.ok_or_else(|| TextProblem::Address { text: text.to_owned() })?;
            let addresses = ports.map(|port| kind(SocketAddr::new(first.ip(), port)));
            Ok(addresses.flat_map(|address| std::iter::repeat_n(address, sockets)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Version;

    fn at(text: &str, version: u32) -> Vec<String> {
        let with = Placeholders {
            self_path: String::new(),
            dir: "/run".to_owned(),
            version: Version(version),
            address: "127.0.0.1:80".parse().expect("an address"),
        };
        let further = TargetFurther::check(Template(text.to_owned())).expect(text);
        further.addresses(&with).expect(text).iter().map(FurtherAddress::to_string).collect()
    }

    #[test]
    fn an_entry_is_one_address_or_a_range_of_ports() {
        assert_eq!(at("127.0.0.1:8001", 1), ["127.0.0.1:8001"]);
        assert_eq!(at("[::1]:8001-8003", 1), ["[::1]:8001", "[::1]:8002", "[::1]:8003"]);
        assert_eq!(at("127.0.0.1:8001*2", 1), ["127.0.0.1:8001", "127.0.0.1:8001"]);
        assert_eq!(at("udp:127.0.0.1:8001-8002", 1), ["udp:127.0.0.1:8001", "udp:127.0.0.1:8002"]);
        assert_eq!(at("tls:127.0.0.1:8443", 1), ["tls:127.0.0.1:8443"]);
        assert_eq!(at("unix:{dir}/a-b.sock", 1), ["unix:/run/a-b.sock"]);
        assert_eq!(at("unix:@name", 1), ["unix:@name"]);
    }

    #[test]
    fn one_that_moves_is_another_in_each_version() {
        assert_eq!(at("127.0.0.{version}:8001", 12), ["127.0.0.12:8001"]);
        assert_eq!(at("unix:{dir}/{version}.sock", 3), ["unix:/run/3.sock"]);
        let moves = |text: &str| TargetFurther::check(Template(text.to_owned())).expect(text).moves();
        assert!(moves("127.0.0.1:800{version}") && !moves("127.0.0.1:8001"));
    }

    #[test]
    fn what_is_no_address_of_a_run_is_refused() {
        for text in [
            "8001",
            "10.0.0.1:80",
            "127.0.0.1:0",
            "127.0.0.1:9-8",
            "127.0.0.1:1-9999",
            "127.0.0.1:80*1",
            "127.0.0.1:80*65",
            "udp:10.0.0.1:80",
            "unix:@",
            "unix:/tmp/x",
        ] {
            TargetFurther::check(Template(text.to_owned())).expect_err(text);
        }
    }
}

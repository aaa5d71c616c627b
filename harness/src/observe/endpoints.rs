//! The addresses that the target declares, and whether a listener serves one of them.

use std::net::{IpAddr, SocketAddr};

use crate::kernel::inet_diag::ListenSocket;

/// TCP addresses of the endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints(Vec<SocketAddr>);

impl Endpoints {
    /// These addresses.
    #[must_use]
    pub fn new(addresses: Vec<SocketAddr>) -> Endpoints {
        Endpoints(addresses)
    }

    /// Their ports, each once.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.0.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// An endpoint has this port.
    #[must_use]
    pub fn have_port(&self, port: u16) -> bool {
        self.0.iter().any(|endpoint| endpoint.port() == port)
    }

    /// This listener takes connections to an endpoint: the same address, or a wildcard that covers it.
    #[must_use]
    pub fn are_served_by(&self, listener: &ListenSocket) -> bool {
        self.0.iter().any(|endpoint| endpoint.port() == listener.local.port() && covers(listener, endpoint.ip()))
    }
}

fn covers(listener: &ListenSocket, endpoint: IpAddr) -> bool {
    let endpoint = endpoint.to_canonical();
    match listener.local.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => endpoint.is_ipv4(),
        IpAddr::V6(ip) if ip.is_unspecified() => endpoint.is_ipv6() || !listener.v6_only,
        ip => ip == endpoint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Cookie;

    fn check(local: &str, v6_only: bool, want: bool) {
        let endpoints = Endpoints::new(vec!["127.0.0.1:80".parse().expect("an address")]);
        let local = local.parse().expect("an address");
        let listener = ListenSocket { cookie: Cookie(1), local, v6_only, inode: 1, queued: 0, backlog: 1 };
        assert_eq!(endpoints.are_served_by(&listener), want, "{local} {v6_only}");
    }

    #[test]
    fn a_listener_serves_an_endpoint_by_its_address_or_as_a_wildcard() {
        check("127.0.0.1:80", false, true);
        check("127.0.0.2:80", false, false);
        check("127.0.0.1:81", false, false);
        check("0.0.0.0:80", false, true);
        check("[::]:80", false, true);
        check("[::]:80", true, false);
        check("[::ffff:127.0.0.1]:80", false, true);
        check("[::1]:80", false, false);
    }
}

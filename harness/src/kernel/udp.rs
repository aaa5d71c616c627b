//! A UDP socket that speaks to one address.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// A socket with a port of its own, connected: it hears nobody else, and is told where nobody has the port (ECONNREFUSED, udp(7)). The
/// kernel gives any free port, also the one that is spoken to where nobody has it.
///
/// # Errors
/// No descriptor, no port, or no way there.
pub fn connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let from: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = elsewhere(UdpSocket::bind(from)?, from, to.port())?;
    socket.connect(to)?;
    Ok(socket)
}

/// This socket, or one with another port where it was given this one: nobody has that, and whoever spoke to it would hear himself.
fn elsewhere(given: UdpSocket, from: SocketAddr, port: u16) -> io::Result<UdpSocket> {
    // The given one keeps its port meanwhile.
    if given.local_addr()?.port() == port { UdpSocket::bind(from) } else { Ok(given) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A port at which nobody hears us, for as long as the socket is held, and which nobody else gets.
    pub(crate) fn closed_port() -> (UdpSocket, SocketAddr) {
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        // One that is connected hears who it is connected to.
        held.connect((Ipv4Addr::LOCALHOST, 1)).expect("connect");
        let address = held.local_addr().expect("address");
        (held, address)
    }

    #[test]
    fn nobody_is_given_the_port_that_he_speaks_to() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let port = |socket: &UdpSocket| socket.local_addr().expect("address").port();
        let given = UdpSocket::bind(any).expect("bind");
        let asked = port(&given);
        assert_ne!(port(&elsewhere(given, any, asked).expect("bind")), asked);
        let given = UdpSocket::bind(any).expect("bind");
        let (own, other) = (port(&given), port(&UdpSocket::bind(any).expect("bind")));
        assert_eq!(port(&elsewhere(given, any, other).expect("bind")), own);
    }
}

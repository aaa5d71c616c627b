//! One blocking request on a fresh connection: is the service up, and does it answer as it should?

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::{ClientConnection, StreamOwned};
use thiserror::Error;

use crate::datagram::{self, Reply};
use crate::id::Version;
use crate::kernel::namespace::{NamespaceError, inside_netns};
use crate::kernel::udp;
use crate::manifest::Protocol;
use crate::ready::{echo, h2, http, unix};
use crate::target::{FurtherAddress, TargetEndpoint};
use crate::tls;

/// What is larger than this is not the head of an answer of any server that we know; it bounds our memory.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What [`Probe::Silent`] gives as its reason when nothing but the time ran out.
pub const NO_ANSWER: &str = "no answer within the limit";

/// What one request found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Answered with 2xx, or with its own line.
    Answered {
        /// The version that the answer carried, where the manifest says how answers carry it.
        version: Option<Version>,
    },
    /// ECONNREFUSED: nobody listens. Not yet.
    Refused,
    /// Connected, or connecting, and no answer: reset, closed, or silent until the limit. Not yet.
    Silent {
        /// What the socket said.
        reason: String,
    },
    /// An answer, and a wrong one. Not ready, and it may never be.
    Wrong {
        /// "status 503", "not HTTP", "other bytes than were sent".
        what: String,
    },
}

/// Why nothing could be asked: our own resources, never the target.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The target's network namespace could not be entered.
    #[error("get where the target is to be asked")]
    Namespace(#[from] NamespaceError),
    /// No client that speaks TLS.
    #[error("speak TLS")]
    Tls(#[source] rustls::Error),
    /// No socket, no route, no port.
    #[error("open a connection to ask whether the target is ready")]
    Socket(#[source] io::Error),
}

/// Sends a request of the endpoint's path from inside `netns` (the caller's namespace when absent) and waits at most
/// `limit` for the whole answer.
///
/// # Errors
/// When the harness itself could not ask.
pub fn answers(netns: Option<BorrowedFd<'_>>, endpoint: &TargetEndpoint, limit: Duration) -> Result<Probe, ProbeError> {
    inside(netns, || ask(endpoint, Instant::now() + limit))
}

/// Asks from inside a network namespace (the caller's when absent).
///
/// # Errors
/// [`ProbeError`]: its own, or that of the act.
pub fn inside<T: Send>(
    netns: Option<BorrowedFd<'_>>,
    act: impl FnOnce() -> Result<T, ProbeError> + Send,
) -> Result<T, ProbeError> {
    inside_netns(netns, act)?
}

/// Sends one request that announces its connection's end, which takes HTTP, and keeps the connection until the server has closed it, at most
/// `limit`; whether it has.
///
/// # Errors
/// When the harness itself could not, or the target did not take the connection.
pub fn closed_first(
    netns: Option<BorrowedFd<'_>>,
    endpoint: &TargetEndpoint,
    limit: Duration,
) -> Result<bool, ProbeError> {
    inside(netns, || {
        let end = Instant::now() + limit;
        let mut stream = TcpStream::connect_timeout(&endpoint.address, limit).map_err(ProbeError::Socket)?;
        stream.write_all(http::request(endpoint).as_bytes()).map_err(ProbeError::Socket)?;
        let mut buffer = [0u8; 4096];
        while let Some(left) = left(end) {
            stream.set_read_timeout(Some(left)).map_err(ProbeError::Socket)?;
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // A reset leaves nothing behind.
                Err(_) => return Ok(false),
            }
        }
        Ok(false)
    })
}

/// As [`answers`], at another address and from the network namespace of the caller. A UNIX socket without a file refuses like one on
/// which nobody listens.
///
/// # Errors
/// When the harness itself could not ask.
pub fn answers_at(address: &FurtherAddress, endpoint: &TargetEndpoint, limit: Duration) -> Result<Probe, ProbeError> {
    let end = Instant::now() + limit;
    match address {
        FurtherAddress::Internet(address) => ask(&TargetEndpoint { address: *address, ..endpoint.clone() }, end),
        FurtherAddress::Datagram(address) => ask_by_datagram(*address, end),
        FurtherAddress::H2(address) => h2::ask(*address, endpoint, end),
        FurtherAddress::Tls(address) => ask_by_tls(*address, endpoint, end),
        FurtherAddress::Path(path) => connected(unix::to_path(path), |stream| exchange(stream, endpoint, end)),
        FurtherAddress::Abstract(name) => connected(unix::to_name(name), |stream| exchange(stream, endpoint, end)),
    }
}

fn ask(endpoint: &TargetEndpoint, end: Instant) -> Result<Probe, ProbeError> {
    let Some(left) = left(end) else { return Ok(silent("the limit passed")) };
    connected(TcpStream::connect_timeout(&endpoint.address, left), |stream| exchange(stream, endpoint, end))
}

/// One datagram and its answer.
fn ask_by_datagram(to: SocketAddr, end: Instant) -> Result<Probe, ProbeError> {
    let socket = udp::connected(to).map_err(ProbeError::Socket)?;
    let question = datagram::question(0);
    let mut buffer = [0u8; 2048];
    let asked = socket.send(question.as_bytes()).and_then(|_sent| {
        let Some(left) = left(end) else { return Ok(None) };
        socket.set_read_timeout(Some(left))?;
        socket.recv(&mut buffer).map(Some)
    });
    match asked {
        Ok(Some(length)) => Ok(match datagram::reply(&buffer[..length]) {
            Some(Reply { id: 0, version }) => Probe::Answered { version },
            _ => Probe::Wrong { what: "other bytes than were sent".to_owned() },
        }),
        Ok(None) => Ok(silent(NO_ANSWER)),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Ok(Probe::Refused),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(silent(NO_ANSWER)),
            _ => Err(ProbeError::Socket(error)),
        },
    }
}

/// One request after a handshake.
fn ask_by_tls(to: SocketAddr, endpoint: &TargetEndpoint, end: Instant) -> Result<Probe, ProbeError> {
    let Some(left) = left(end) else { return Ok(silent(NO_ANSWER)) };
    let session =
        tls::client(Resumption::disabled()).and_then(|config| ClientConnection::new(config, tls::name(to.ip())));
    let session = session.map_err(ProbeError::Tls)?;
    connected(TcpStream::connect_timeout(&to, left), |stream| {
        // A handshake is read and written by whoever reads and writes.
        exchange(StreamOwned::new(session, stream), endpoint, end)
    })
}

/// What a connect that failed says, or what comes of the connection.
fn connected<S>(stream: io::Result<S>, exchange: impl FnOnce(S) -> Probe) -> Result<Probe, ProbeError> {
    match stream {
        Ok(stream) => Ok(exchange(stream)),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Ok(Probe::Refused),
            io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut => Ok(silent(&format!("connect: {error}"))),
            _ => Err(ProbeError::Socket(error)),
        },
    }
}

/// One request and its answer.
fn exchange(mut stream: impl Stream, endpoint: &TargetEndpoint, end: Instant) -> Probe {
    let request = match endpoint.protocol {
        Protocol::Http1 => http::request(endpoint),
        Protocol::Echo => echo::line(endpoint),
    };
    if let Err(error) = stream.write_all(request.as_bytes()) {
        return silent(&format!("write: {error}"));
    }
    let (answer, stopped) = read_answer(&mut stream, Vec::new(), endpoint, end);
    understand(&answer, endpoint).unwrap_or_else(|| silent(&stopped))
}

/// `None` when it is not whole.
pub(super) fn understand(answer: &[u8], endpoint: &TargetEndpoint) -> Option<Probe> {
    match endpoint.protocol {
        Protocol::Http1 => http::understand(answer, endpoint),
        Protocol::Echo => echo::understand(answer, endpoint),
    }
}

/// No more of it need be read: a server that keeps its connection open must not cost the whole limit.
fn is_enough(answer: &[u8], endpoint: &TargetEndpoint) -> bool {
    match endpoint.protocol {
        Protocol::Http1 => http::is_whole(answer),
        Protocol::Echo => echo::understand(answer, endpoint).is_some(),
    }
}

/// A connection whose reads can be limited.
pub(super) trait Stream: Read + Write {
    fn limit_reads(&self, limit: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn limit_reads(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn limit_reads(&self, limit: Duration) -> io::Result<()> {
        self.sock.set_read_timeout(Some(limit))
    }
}

impl Stream for UnixStream {
    fn limit_reads(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }
}

/// Reads to the end of the stream, so that our close sends FIN and not RST (a reset of ours would move the counters of
/// a namespace that we share), or until there is enough. Returns the beginning, of which `answer` has come already, and why it
/// stopped.
pub(super) fn read_answer(
    stream: &mut impl Stream,
    mut answer: Vec<u8>,
    endpoint: &TargetEndpoint,
    end: Instant,
) -> (Vec<u8>, String) {
    let mut buffer = [0u8; 4096];
    loop {
        let Some(left) = left(end) else { return (answer, NO_ANSWER.to_owned()) };
        if let Err(error) = stream.limit_reads(left) {
            return (answer, format!("read: {error}"));
        }
        match stream.read(&mut buffer) {
            Ok(0) => return (answer, "closed without an answer".to_owned()),
            Ok(count) => {
                let room = ANSWER_BYTES_MAX.saturating_sub(answer.len()).min(count);
                answer.extend_from_slice(&buffer[..room]);
                if is_enough(&answer, endpoint) {
                    return (answer, String::new());
                }
            }
            // The time left is looked at above.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return (answer, format!("read: {error}")),
        }
    }
}

pub(super) fn silent(reason: &str) -> Probe {
    Probe::Silent { reason: reason.to_owned() }
}

/// The time left, never zero (which would mean "without limit" to a socket).
fn left(end: Instant) -> Option<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    pub(in crate::ready) fn endpoint(address: SocketAddr) -> TargetEndpoint {
        TargetEndpoint {
            name: "http".to_owned(),
            address,
            protocol: Protocol::Http1,
            path: "/".to_owned(),
            slow: None,
            stream: None,
            upload: None,
            websocket: None,
            backlog: None,
            version_header: Some("X-Version".to_owned()),
            echo_header: None,
        }
    }

    /// Asks a server that writes `answer` to one request and then closes.
    fn check(answer: &'static str, want: &Probe) {
        check_in(Protocol::Http1, answer, want);
    }

    fn check_in(protocol: Protocol, answer: &'static str, want: &Probe) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut asked = Vec::new();
            let mut byte = [0u8; 1];
            let end = if protocol == Protocol::Http1 { "\r\n\r\n" } else { "\n" };
            while !asked.ends_with(end.as_bytes()) {
                stream.read_exact(&mut byte).expect("request");
                asked.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).expect("answer");
        });
        let endpoint = TargetEndpoint { protocol, ..endpoint(address) };
        let probe = answers(None, &endpoint, Duration::from_secs(20)).expect("asked");
        server.join().expect("server");
        assert_eq!(&probe, want, "{answer:?}");
    }

    #[test]
    fn an_answer_is_told_from_a_wrong_one_and_from_silence() {
        let answered = |version: Option<u32>| Probe::Answered { version: version.map(Version) };
        let wrong = |what: &str| Probe::Wrong { what: what.to_owned() };
        check("HTTP/1.1 200 OK\r\nX-Version: 4\r\nContent-Length: 2\r\n\r\nok", &answered(Some(4)));
        check("HTTP/1.1 204 No Content\r\nX-Version: new\r\n\r\n", &answered(None));
        check("HTTP/1.1 503 Not yet\r\nContent-Length: 0\r\n\r\n", &wrong("status 503"));
        check("SSH-2.0-OpenSSH_9.2\r\n", &wrong("not HTTP"));
        check("", &silent("closed without an answer"));
        check("HTTP/1.1 200", &silent("closed without an answer"));
    }

    #[test]
    fn an_echo_is_the_line_and_nothing_else() {
        let wrong = |what: &str| Probe::Wrong { what: what.to_owned() };
        check_in(Protocol::Echo, "/ 0\n", &Probe::Answered { version: None });
        check_in(Protocol::Echo, "/ 0\n/ 0\n", &wrong("more bytes than were sent"));
        check_in(Protocol::Echo, "/ 1\n", &wrong("other bytes than were sent"));
        check_in(Protocol::Echo, "HTTP/1.1 400 Bad Request\r\n\r\n", &wrong("other bytes than were sent"));
        check_in(Protocol::Echo, "/ 0", &silent("closed without an answer"));
        check_in(Protocol::Echo, "", &silent("closed without an answer"));
    }

    #[test]
    fn a_datagram_is_answered_by_itself_and_by_a_version() {
        let ask = |answer: &'static str| {
            let server = UdpSocket::bind("127.0.0.1:0").expect("bind");
            let address = FurtherAddress::Datagram(server.local_addr().expect("address"));
            let server = std::thread::spawn(move || {
                let (_length, from) = server.recv_from(&mut [0; 64]).expect("receive");
                server.send_to(answer.as_bytes(), from).expect("send");
            });
            let endpoint = endpoint("127.0.0.1:1".parse().expect("address"));
            let probe = answers_at(&address, &endpoint, Duration::from_secs(20)).expect("asked");
            server.join().expect("server");
            probe
        };
        assert_eq!(ask("unbroken 0\n"), Probe::Answered { version: None });
        assert_eq!(ask("unbroken 0\n4"), Probe::Answered { version: Some(Version(4)) });
        assert_eq!(ask("unbroken 1\n4"), Probe::Wrong { what: "other bytes than were sent".to_owned() });
        let (_held, closed) = crate::kernel::udp::tests::closed_port();
        let endpoint = endpoint(closed);
        let probe = answers_at(&FurtherAddress::Datagram(closed), &endpoint, Duration::from_secs(20)).expect("asked");
        assert_eq!(probe, Probe::Refused);
    }

    #[test]
    fn whether_the_server_closes_first_is_seen_by_its_end_of_stream() {
        for closes in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let address = listener.local_addr().expect("address");
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("accept");
                let mut asked = [0u8; 4096];
                assert!(stream.read(&mut asked).expect("request") > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("answer");
                // Kept open until the client has given up.
                assert!(closes || stream.read(&mut asked).expect("end") == 0);
            });
            let limit = if closes { Duration::from_secs(20) } else { Duration::from_millis(50) };
            assert_eq!(closed_first(None, &endpoint(address), limit).expect("asked"), closes);
            server.join().expect("server");
        }
    }

    #[test]
    fn nobody_listening_is_not_yet() {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
        let held = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
        bind(&held, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
        let address = SocketAddr::try_from(getsockname(&held).expect("name")).expect("address");
        let probe = answers(None, &endpoint(address), Duration::from_secs(20)).expect("asked");
        assert_eq!(probe, Probe::Refused);
    }

    #[test]
    fn a_listener_that_never_answers_is_silent_when_the_limit_passes() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let probe = answers(None, &endpoint(address), Duration::from_millis(50)).expect("asked");
        assert_eq!(probe, silent("no answer within the limit"));
    }
}

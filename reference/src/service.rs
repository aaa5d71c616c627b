//! The service: one thread per connection, blocking HTTP/1.1 (or [raw echo](crate::echo)), and a drain that no client can notice as a
//! failure.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /` | `hello world` |
//! | `GET /slow?ms=N` | the same, N milliseconds later |
//! | `GET /stream?bytes=N` | N bytes; the byte at offset i is i modulo 251 |
//! | `GET /ws` that asks for a [WebSocket](crate::websocket) | each message, sent back |
//! | `POST /upload` | `bytes=N checksum=H`, H being FNV-1a (64 bits) in 16 hexadecimal digits |
//!
//! Each answer carries `X-Version` and echoes `X-Request-Id`.
//!
//! How a kept connection ends without a race (RFC 9112 §9.6): a server that closes an idle connection may meet the next request
//! on its way, and the client gets a reset. So a draining server *answers* the next request, announces the end in that answer
//! with `Connection: close`, then closes its sending half and reads on until the client has closed: closing a socket with unread
//! bytes sends a reset, which can overtake and destroy the answer (RFC 9112 §9.6, "lingering close").

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use crate::connection::{Connection, Dialogue, Next};
use crate::defect::{KeptConnection, LongBody, YoungConnection};
use crate::drain::Drain;
use crate::echo::Echo;
use crate::h2::{self, LastStream};
use crate::http::{self, BadRequest, Head};
use crate::log::Log;
use crate::tls::Secured;
use crate::websocket::{self, Goodbye};

/// Longest delay that `/slow` accepts, so that a typing error does not hold a thread for ever.
pub(crate) const DELAY_MS_MAX: u64 = 600_000;

/// Period of the pattern of `/stream`: a prime, so that a lost, repeated or swapped block of any usual size shows.
const PATTERN_PERIOD: u64 = 251;

/// What is spoken on the connections of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// Whatever comes is sent back.
    Echo,
}

/// What one generation serves.
#[derive(Debug)]
pub struct Service {
    /// How it speaks.
    pub protocol: Protocol,
    /// `X-Version` of every answer.
    pub version: u64,
    /// The end of this generation.
    pub drain: Arc<Drain>,
    /// What happens to kept connections when the drain begins.
    pub kept: KeptConnection,
    /// Where each request's method and URL are logged; `None`: nowhere.
    pub requests: Option<Log>,
    /// What happens then to connections whose first request is not there yet.
    pub young: YoungConnection,
    /// What happens then to bodies that are on their way.
    pub long: LongBody,
    /// How WebSockets end then.
    pub goodbye: Goodbye,
    /// Where TLS is spoken.
    pub tls: Option<Secured>,
    /// Where HTTP/2 is spoken.
    pub h2: Option<SocketAddr>,
    /// How its connections end then.
    pub last_stream: LastStream,
}

impl Service {
    /// One that speaks HTTP, does everything right, and logs no requests.
    #[must_use]
    pub fn new(version: u64, drain: Arc<Drain>) -> Self {
        let (kept, young, long) = (KeptConnection::Answer, YoungConnection::Await, LongBody::Finish);
        Self {
            protocol: Protocol::Http,
            version,
            drain,
            kept,
            requests: None,
            young,
            long,
            goodbye: Goodbye::Restart,
            tls: None,
            h2: None,
            last_stream: LastStream::Announced,
        }
    }

    /// The same with another protocol.
    #[must_use]
    pub fn speaking(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// The same with TLS at an address.
    #[must_use]
    pub fn secured(self, tls: Option<Secured>) -> Self {
        Self { tls, ..self }
    }

    /// The same with HTTP/2 at an address.
    #[must_use]
    pub fn with_h2(self, h2: Option<SocketAddr>) -> Self {
        Self { h2, ..self }
    }

    /// Serves one connection until its end. A client that goes away is not an error of the server.
    pub fn serve(&self, stream: TcpStream) {
        if self.h2.is_some_and(|h2| stream.local_addr().is_ok_and(|address| address == h2)) {
            return drop(h2::serve(stream, self));
        }
        match self.tls.as_ref().filter(|tls| tls.concerns(&stream)) {
            Some(tls) => drop(tls.serve(&stream, |inner| self.converse(inner))),
            None => self.converse(stream),
        }
    }

    fn converse(&self, stream: TcpStream) {
        let mut connection = Connection::new(self, stream);
        let _ = match self.protocol {
            Protocol::Http => connection.run::<Http>(),
            Protocol::Echo => connection.run::<Echo>(),
        };
    }
}

/// What is written after a head.
enum Body {
    Text(String),
    Pattern(u64),
}

impl Body {
    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Pattern(length) => *length,
        }
    }
}

/// Heads, each with its body.
struct Http;

impl Dialogue for Http {
    /// Nobody knows where a request ends that cannot be understood, or where the next one begins.
    type Request = Result<Head, BadRequest>;

    fn parse(unread: &[u8], _is_all: bool) -> Option<(Self::Request, usize)> {
        match http::parse(unread) {
            Ok(head) => head.map(|(head, length)| (Ok(head), length)),
            Err(bad) => Some((Err(bad), unread.len())),
        }
    }

    fn discard(connection: &mut Connection<'_>, request: &Self::Request) -> io::Result<()> {
        request.as_ref().map_or(Ok(()), |head| connection.read_body(head.body_length).map(|_checksum| ()))
    }

    fn answer(connection: &mut Connection<'_>, request: Self::Request) -> io::Result<Next> {
        match request {
            Ok(head) => match head.websocket_key.as_deref().filter(|_| head.wants_websocket && head.path == "/ws") {
                Some(key) => websocket::converse(connection, &head, key),
                None => connection.exchange(&head),
            },
            Err(BadRequest(reason)) => {
                let head = Head { closes: true, ..Head::default() };
                connection.respond(&head, "400 Bad Request", &Body::Text(format!("{reason}\n")))
            }
        }
    }
}

impl Connection<'_> {
    /// Reads the body that belongs to the head and answers.
    fn exchange(&mut self, head: &Head) -> io::Result<Next> {
        if head.expects_continue && head.body_length > 0 {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        // Read for every request, wanted or not: an unread body would be taken for the next request.
        let checksum = self.read_body(head.body_length)?;
        if let Some(log) = &self.service.requests {
            let query = if head.query.is_empty() { String::new() } else { format!("?{}", head.query) };
            log.line(format_args!("{} {}{query}", head.method, head.path));
        }
        let (status, body) = answer(head, checksum);
        self.respond(head, status, &body)
    }

    /// Reads exactly so many bytes and returns their checksum.
    fn read_body(&mut self, length: u64) -> io::Result<u64> {
        let mut checksum = FNV_OFFSET;
        let mut left = length;
        let buffered = self.unread.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        checksum = fnv1a(checksum, &self.unread[..buffered]);
        self.unread.drain(..buffered);
        left -= buffered as u64;
        let mut piece = vec![0_u8; 64 * 1024];
        while left > 0 {
            let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if self.service.long == LongBody::CutRequest && self.is_cut()? {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let length = self.stream.read(&mut piece[..wanted])?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            checksum = fnv1a(checksum, &piece[..length]);
            left -= length as u64;
        }
        Ok(checksum)
    }

    /// Writes one answer. Whether it announces the end is decided now, as late as possible.
    fn respond(&mut self, head: &Head, status: &str, body: &Body) -> io::Result<Next> {
        let next = if head.closes || self.service.drain.has_begun() { Next::Close } else { Next::Keep };
        let mut text = format!("HTTP/1.1 {status}\r\nX-Version: {}\r\n", self.service.version);
        if let Some(id) = &head.request_id {
            text += &format!("X-Request-Id: {id}\r\n");
        }
        let says_so = head.closes || self.service.kept != KeptConnection::CloseUnannounced;
        if next == Next::Close && says_so {
            text += "Connection: close\r\n";
        }
        text += &format!("Content-Length: {}\r\n\r\n", body.length());
        let with_body = head.method != "HEAD";
        if let (Body::Text(body), true) = (body, with_body) {
            text += body;
        }
        self.stream.write_all(text.as_bytes())?;
        if let (Body::Pattern(length), true) = (body, with_body) {
            self.write_pattern(*length)?;
        }
        Ok(next)
    }

    /// Byte i is i modulo the period.
    fn write_pattern(&mut self, length: u64) -> io::Result<()> {
        // Longer than a block by one period, so that a block can begin at any phase.
        let pattern: Vec<u8> = (0..(64 * 1024 + PATTERN_PERIOD)).map(|at| (at % PATTERN_PERIOD) as u8).collect();
        let mut sent = 0;
        while sent < length {
            self.break_answer()?;
            let phase = usize::try_from(sent % PATTERN_PERIOD).expect("below the period");
            let block = usize::try_from((length - sent).min(64 * 1024)).expect("a block");
            self.stream.write_all(&pattern[phase..phase + block])?;
            sent += block as u64;
        }
        Ok(())
    }

    /// Where the defects of long answers strike: an error ends the connection.
    fn break_answer(&self) -> io::Result<()> {
        match self.service.long {
            LongBody::CutAnswer | LongBody::ResetAnswer if self.service.drain.has_begun() => {
                if self.service.long == LongBody::ResetAnswer {
                    // close(2) then sends RST and drops what is queued (socket(7), SO_LINGER).
                    rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))?;
                }
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            _ => Ok(()),
        }
    }
}

/// Routing. The delay of `/slow` is the handler's simulated work.
fn answer(head: &Head, checksum: u64) -> (&'static str, Body) {
    let reading = matches!(head.method.as_str(), "GET" | "HEAD");
    let bad = |what: &str| ("400 Bad Request", Body::Text(format!("{what}\n")));
    match head.path.as_str() {
        "/" if reading => ("200 OK", Body::Text("hello world\n".to_owned())),
        "/slow" if reading => match head.number("ms").filter(|ms| *ms <= DELAY_MS_MAX) {
            Some(ms) => {
                std::thread::sleep(Duration::from_millis(ms));
                ("200 OK", Body::Text("hello world\n".to_owned()))
            }
            None => bad("ms=N is missing or too large"),
        },
        "/stream" if reading => match head.number("bytes") {
            Some(bytes) => ("200 OK", Body::Pattern(bytes)),
            None => bad("bytes=N is missing"),
        },
        "/upload" if head.method == "POST" => {
            ("200 OK", Body::Text(format!("bytes={} checksum={checksum:016x}\n", head.body_length)))
        }
        _ => ("404 Not Found", Body::Text("not found\n".to_owned())),
    }
}

/// Start value of FNV-1a, 64 bits (draft-eastlake-fnv).
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits: detects any accidental change of a body, and is three lines in every language.
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Patience;
    use std::net::TcpListener;
    use std::time::Instant;

    /// A connection to a service in a thread.
    fn served(kept: KeptConnection) -> (TcpStream, Arc<Drain>, std::thread::JoinHandle<()>) {
        serving(kept, YoungConnection::Await)
    }

    fn serving(kept: KeptConnection, young: YoungConnection) -> (TcpStream, Arc<Drain>, std::thread::JoinHandle<()>) {
        let patience = Patience { idle_grace: Duration::from_millis(200), timeout: Duration::from_secs(60) };
        let drain = Drain::new(patience).expect("drain");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("name")).expect("connect");
        let stream = listener.accept().expect("accept").0;
        let service = Service { kept, young, ..Service::new(3, Arc::clone(&drain)) };
        (client, drain, std::thread::spawn(move || service.serve(stream)))
    }

    fn ask(client: &mut TcpStream, request: &str) -> String {
        client.write_all(request.as_bytes()).expect("send");
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with("\n\n") && !text.ends_with("\r\n\r\n") {
            assert_eq!(client.read(&mut byte).expect("read"), 1, "{text}");
            text.push(char::from(byte[0]));
        }
        let length: usize = text.split("Content-Length: ").nth(1).expect("length").trim().parse().expect("number");
        let mut body = vec![0; length];
        client.read_exact(&mut body).expect("body");
        text + &String::from_utf8_lossy(&body)
    }

    #[test]
    fn requests_are_answered_with_version_and_id_on_one_connection() {
        let (mut client, _drain, server) = served(KeptConnection::Answer);
        let hello = ask(&mut client, "GET / HTTP/1.1\r\nX-Request-Id: 42\r\n\r\n");
        assert_eq!(
            hello,
            "HTTP/1.1 200 OK\r\nX-Version: 3\r\nX-Request-Id: 42\r\nContent-Length: 12\r\n\r\nhello world\n"
        );
        let upload = ask(&mut client, "POST /upload HTTP/1.1\r\nContent-Length: 6\r\n\r\nfoobar");
        assert!(upload.ends_with("bytes=6 checksum=85944171f73967e8\n"), "{upload}");
        assert!(ask(&mut client, "GET /slow?ms=x HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
        assert!(ask(&mut client, "GET /none HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        drop(client);
        server.join().expect("ends with the client");
    }

    #[test]
    fn a_stream_repeats_its_pattern() {
        let (mut client, _drain, server) = served(KeptConnection::Answer);
        client.write_all(b"GET /stream?bytes=200000 HTTP/1.1\r\nConnection: close\r\n\r\n").expect("send");
        let mut all = Vec::new();
        client.read_to_end(&mut all).expect("read");
        let body = &all[all.len() - 200_000..];
        assert!(body.iter().enumerate().all(|(at, byte)| at as u64 % PATTERN_PERIOD == u64::from(*byte)));
        drop(client);
        server.join().expect("ends");
    }

    #[test]
    fn draining_answers_the_next_request_and_announces_the_end() {
        let (mut client, drain, server) = served(KeptConnection::Answer);
        ask(&mut client, "GET / HTTP/1.1\r\n\r\n");
        drain.begin();
        let last = ask(&mut client, "GET / HTTP/1.1\r\n\r\n");
        assert!(last.contains("\r\nConnection: close\r\n"), "{last}");
        assert_eq!(client.read(&mut [0]).expect("orderly end"), 0);
        drop(client);
        server.join().expect("ends");
    }

    #[test]
    fn draining_closes_an_idle_connection_but_not_a_fresh_one() {
        let (mut client, drain, server) = served(KeptConnection::Answer);
        ask(&mut client, "GET / HTTP/1.1\r\n\r\n");
        drain.begin();
        assert_eq!(client.read(&mut [0]).expect("orderly end"), 0);
        assert!(Instant::now() >= drain.idle_until().expect("begun"));
        drop(client);
        server.join().expect("ends");

        let (mut client, drain, server) = served(KeptConnection::Answer);
        drain.begin();
        client.set_read_timeout(Some(Duration::from_millis(300))).expect("timeout");
        assert_eq!(client.read(&mut [0]).expect_err("still open").kind(), io::ErrorKind::WouldBlock);
        assert!(ask(&mut client, "GET / HTTP/1.1\r\n\r\n").contains("Connection: close"));
        drop(client);
        server.join().expect("ends");
    }

    #[test]
    fn the_defects_of_young_connections_end_them_without_an_answer() {
        for (young, first, later) in [
            (YoungConnection::CutHalf, "GET / HT", ""),
            (YoungConnection::Swallow, "", "GET / HTTP/1.1\r\n\r\n"),
            (YoungConnection::CloseUnused, "", ""),
        ] {
            let (mut client, drain, server) = serving(KeptConnection::Answer, young);
            client.write_all(first.as_bytes()).expect("send");
            drain.begin();
            client.write_all(later.as_bytes()).expect("send");
            assert_eq!(client.read(&mut [0]).expect("orderly end"), 0, "{young:?}");
            drop(client);
            server.join().expect("ends");
        }
    }

    #[test]
    fn the_two_defects_of_kept_connections_look_different_to_a_client() {
        for (kept, want) in [(KeptConnection::CloseUnread, true), (KeptConnection::Swallow, false)] {
            let (mut client, drain, server) = served(kept);
            ask(&mut client, "GET / HTTP/1.1\r\n\r\n");
            drain.begin();
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("send");
            let reset = client.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
            assert_eq!(reset, want, "{kept:?}");
            server.join().expect("ends");
        }
    }
}

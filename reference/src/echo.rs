//! Raw echo: whatever a client sends comes back, line by line, byte by byte (after RFC 862).
//!
//! | Line | Comes back |
//! |---|---|
//! | `/slow?ms=N …` | N milliseconds later |
//! | any other | at once |
//!
//! Nothing but the line comes back: no version, and no word for the end of a connection. So the end travels *with* the last line: a
//! draining server gives the kernel the line and its FIN to send in one segment (MSG_MORE of send(2), then shutdown(2)). Whoever has
//! read the line then has the FIN, too: a client that looks for one before it writes never sends a line that nobody would answer.
//! (Were the process to stand still for a fifth of a second between the two calls, the kernel would send the line alone: its client
//! may then meet what any client of an idle connection may meet.)

use std::io;
use std::time::Duration;

use rustix::net::SendFlags;

use crate::connection::{Connection, Dialogue, Next};
use crate::defect::KeptConnection;
use crate::service::DELAY_MS_MAX;

/// A line that is longer comes back in pieces of about this length: no client can make the server keep more.
const LINE_MAX: usize = 32 * 1024;

/// Lines, each its own answer.
pub(crate) struct Echo;

impl Dialogue for Echo {
    /// With its end, unless it has none.
    type Request = Vec<u8>;

    fn parse(unread: &[u8], is_all: bool) -> Option<(Vec<u8>, usize)> {
        let end = unread.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
        let whole = unread.len() >= LINE_MAX || (is_all && !unread.is_empty());
        let length = end.or_else(|| whole.then_some(unread.len()))?;
        Some((unread[..length].to_vec(), length))
    }

    /// A line is all there is.
    fn discard(_: &mut Connection<'_>, _: &Vec<u8>) -> io::Result<()> {
        Ok(())
    }

    /// Whether it is the last one is decided now, as late as possible.
    fn answer(connection: &mut Connection<'_>, line: Vec<u8>) -> io::Result<Next> {
        let service = connection.service;
        if let Some(log) = &service.requests {
            log.line(format_args!("ECHO {}", String::from_utf8_lossy(&line).trim_end()));
        }
        if let Some(delay) = delay(&line) {
            std::thread::sleep(delay);
        }
        let next = if service.drain.has_begun() { Next::Close } else { Next::Keep };
        // The mistake of an unannounced end: in a segment of its own the FIN may meet the next line on its way.
        let together = next == Next::Close && service.kept != KeptConnection::CloseUnannounced;
        let flags = if together { SendFlags::MORE } else { SendFlags::empty() };
        let mut left = line.as_slice();
        while !left.is_empty() {
            let sent =
                rustix::io::retry_on_intr(|| rustix::net::send(&connection.stream, left, flags | SendFlags::NOSIGNAL))?;
            left = &left[sent..];
        }
        Ok(next)
    }
}

/// The simulated work of a line.
fn delay(line: &[u8]) -> Option<Duration> {
    let number = std::str::from_utf8(line).ok()?.strip_prefix("/slow?ms=")?.split_ascii_whitespace().next()?;
    number.parse().ok().filter(|ms| *ms <= DELAY_MS_MAX).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread::JoinHandle;
    use std::time::Instant;

    use super::*;
    use crate::defect::YoungConnection;
    use crate::drain::{Drain, Patience};
    use crate::service::{Protocol, Service};

    /// A connection to a service in a thread.
    fn served(kept: KeptConnection, young: YoungConnection) -> (TcpStream, Arc<Drain>, JoinHandle<()>) {
        let patience = Patience { idle_grace: Duration::from_millis(200), timeout: Duration::from_secs(60) };
        let drain = Drain::new(patience).expect("drain");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("name")).expect("connect");
        client.set_nodelay(true).expect("nodelay");
        let stream = listener.accept().expect("accept").0;
        let service = Service { protocol: Protocol::Echo, kept, young, ..Service::new(3, Arc::clone(&drain)) };
        (client, drain, std::thread::spawn(move || service.serve(stream)))
    }

    fn correct() -> (TcpStream, Arc<Drain>, JoinHandle<()>) {
        served(KeptConnection::Answer, YoungConnection::Await)
    }

    /// Sends a line and reads as many bytes.
    fn echo(client: &mut TcpStream, line: &str) {
        client.write_all(line.as_bytes()).expect("send");
        let mut back = vec![0; line.len()];
        client.read_exact(&mut back).expect("read");
        assert_eq!(String::from_utf8_lossy(&back), line);
    }

    /// What a look at the connection finds at this instant: as many bytes, none after a FIN, `None` where it is open and silent.
    fn look(client: &TcpStream) -> Option<usize> {
        client.set_nonblocking(true).expect("nonblocking");
        let found = client.peek(&mut [0; 8]);
        client.set_nonblocking(false).expect("blocking");
        found
            .map(Some)
            .or_else(|error| if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) })
            .expect("no reset")
    }

    #[test]
    fn whatever_is_sent_comes_back() {
        let (mut client, _drain, server) = correct();
        echo(&mut client, "/ 1\n");
        echo(&mut client, "\n");
        echo(&mut client, "two lines\r\nat once\n");
        echo(&mut client, &format!("{}\n", "x".repeat(3 * LINE_MAX)));
        let begun = Instant::now();
        echo(&mut client, "/slow?ms=50 2\n");
        assert!(begun.elapsed() >= Duration::from_millis(50));
        echo(&mut client, "/slow?ms=many 3\n");
        client.write_all(b"no end").expect("send");
        client.shutdown(Shutdown::Write).expect("shutdown");
        let mut rest = String::new();
        client.read_to_string(&mut rest).expect("read");
        assert_eq!(rest, "no end");
        server.join().expect("ends with the client");
    }

    #[test]
    fn whoever_has_read_the_last_line_finds_its_end_at_once() {
        for nth in 0..200 {
            let (mut client, drain, server) = correct();
            echo(&mut client, "/ 1\n");
            assert_eq!(look(&client), None, "{nth}: open as ever");
            drain.begin();
            echo(&mut client, "/ 2\n");
            assert_eq!(look(&client), Some(0), "{nth}: the end came with the line");
            drop(client);
            server.join().expect("ends");
        }
    }

    #[test]
    fn a_line_that_crosses_the_end_is_read_and_meets_no_reset() {
        let (mut client, drain, server) = correct();
        drain.begin();
        echo(&mut client, "/ 1\n");
        client.write_all(b"/ 2\n").expect("send");
        assert_eq!(client.read(&mut [0]).expect("orderly end"), 0);
        drop(client);
        server.join().expect("ends");
    }

    #[test]
    fn draining_closes_an_idle_connection_but_not_a_fresh_one() {
        let (mut client, drain, server) = correct();
        echo(&mut client, "/ 1\n");
        drain.begin();
        assert_eq!(client.read(&mut [0]).expect("orderly end"), 0);
        assert!(Instant::now() >= drain.idle_until().expect("begun"));
        drop(client);
        server.join().expect("ends");

        let (mut client, drain, server) = correct();
        drain.begin();
        client.set_read_timeout(Some(Duration::from_millis(300))).expect("timeout");
        assert_eq!(client.read(&mut [0]).expect_err("still open").kind(), io::ErrorKind::WouldBlock);
        echo(&mut client, "/ 1\n");
        assert_eq!(look(&client), Some(0));
        drop(client);
        server.join().expect("ends");
    }

    #[test]
    fn the_defects_of_connections_strike_here_too() {
        for (young, first, later) in [
            (YoungConnection::CutHalf, "/ ", ""),
            (YoungConnection::Swallow, "", "/ 1\n"),
            (YoungConnection::DropLate, "", "/ 1\n"),
            (YoungConnection::CloseUnused, "", ""),
        ] {
            let (mut client, drain, server) = served(KeptConnection::Answer, young);
            client.write_all(first.as_bytes()).expect("send");
            drain.begin();
            client.write_all(later.as_bytes()).expect("send");
            assert_eq!(client.read(&mut [0]).expect("orderly end"), 0, "{young:?}");
            drop(client);
            server.join().expect("ends");
        }
        for (kept, want) in [(KeptConnection::CloseUnread, true), (KeptConnection::Swallow, false)] {
            let (mut client, drain, server) = served(kept, YoungConnection::Await);
            echo(&mut client, "/ 1\n");
            drain.begin();
            client.write_all(b"/ 2\n").expect("send");
            let reset = client.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
            assert_eq!(reset, want, "{kept:?}");
            server.join().expect("ends");
        }
    }
}

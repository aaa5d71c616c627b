//! A connection with half a request on it: a client that never ends, or ends late.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::probe::{Probe, ProbeError, inside, read_answer, silent, understand};
use super::{echo, http};
use crate::event::HeldEnd;
use crate::manifest::Protocol;
use crate::target::TargetEndpoint;

/// The connection, and what came back of its half: raw echo may answer a byte at once.
#[derive(Debug)]
pub struct HalfRequest {
    stream: TcpStream,
    early: Vec<u8>,
}

impl HalfRequest {
    /// Opens a connection to an endpoint from inside `netns` and sends half a request.
    ///
    /// # Errors
    /// When the harness itself could not, or the target did not take the connection.
    pub fn open(
        netns: Option<BorrowedFd<'_>>,
        endpoint: &TargetEndpoint,
        limit: Duration,
    ) -> Result<HalfRequest, ProbeError> {
        inside(netns, || {
            let mut stream = TcpStream::connect_timeout(&endpoint.address, limit).map_err(ProbeError::Socket)?;
            let half = match endpoint.protocol {
                Protocol::Http1 => http::half(endpoint),
                Protocol::Echo => echo::beginning(endpoint),
            };
            stream.write_all(half.as_bytes()).map_err(ProbeError::Socket)?;
            Ok(HalfRequest { stream, early: Vec::new() })
        })
    }

    /// How it has ended by now, if it has: without waiting.
    pub fn end(&mut self, endpoint: &TargetEndpoint) -> Option<HeldEnd> {
        let due = match endpoint.protocol {
            Protocol::Http1 => String::new(),
            Protocol::Echo => echo::beginning(endpoint),
        };
        let recv = |flags| {
            let mut byte = [0];
            let (count, _) = rustix::net::recv(&self.stream, &mut byte, flags | RecvFlags::DONTWAIT)?;
            Ok((count > 0).then_some(byte[0]))
        };
        loop {
            match recv(RecvFlags::PEEK) {
                Ok(None) => return Some(HeldEnd::Closed),
                Ok(Some(byte)) if due.as_bytes().get(self.early.len()) == Some(&byte) => {
                    let _same = recv(RecvFlags::empty());
                    self.early.push(byte);
                }
                Ok(Some(_)) => return Some(HeldEnd::Answered),
                Err(Errno::AGAIN | Errno::INTR) => return None,
                Err(_) => return Some(HeldEnd::Reset),
            }
        }
    }

    /// Sends the rest of the request and waits for its answer; `sent` is told when it is on its way.
    pub fn complete(&mut self, endpoint: &TargetEndpoint, limit: Duration, sent: impl FnOnce()) -> Probe {
        let rest = match endpoint.protocol {
            Protocol::Http1 => http::REST,
            Protocol::Echo => echo::END,
        };
        if let Err(error) = self.stream.write_all(rest.as_bytes()) {
            return silent(&format!("write: {error}"));
        }
        sent();
        let early = std::mem::take(&mut self.early);
        let (answer, stopped) = read_answer(&mut self.stream, early, endpoint, Instant::now() + limit);
        understand(&answer, endpoint).unwrap_or_else(|| silent(&stopped))
    }
}

impl Drop for HalfRequest {
    /// What came of it is read away, as far as one read goes, so that our close sends FIN and not RST.
    fn drop(&mut self) {
        let _none = rustix::net::recv(&self.stream, &mut [0; 1024], RecvFlags::DONTWAIT);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::super::probe::tests::endpoint;
    use super::*;
    use crate::wait::{Look, Stop, until};

    const LONG: Duration = Duration::from_secs(20);

    /// Half a request to a server that gets its connection.
    fn held(protocol: Protocol, serve: fn(TcpStream)) -> (HalfRequest, TargetEndpoint, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let server = std::thread::spawn(move || serve(listener.accept().expect("accept").0));
        let endpoint = TargetEndpoint { protocol, version_header: None, ..endpoint(address) };
        let half = HalfRequest::open(None, &endpoint, LONG).expect("opened");
        (half, endpoint, server)
    }

    fn ended(half: &mut HalfRequest, endpoint: &TargetEndpoint) -> HeldEnd {
        let stop = Stop::new().expect("eventfd");
        let look = || half.end(endpoint).map_or(Look::<_, ()>::NotYet, Look::Yes);
        until(LONG, Duration::from_millis(1), &stop, look).expect("it ends")
    }

    /// Sends back each byte as it comes, until the end.
    fn by_bytes(mut stream: TcpStream) {
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|count| count > 0) {
            stream.write_all(&byte).expect("the client is there");
        }
    }

    #[test]
    fn what_comes_back_of_half_a_line_is_no_end() {
        let (mut half, endpoint, server) = held(Protocol::Echo, by_bytes);
        let stop = Stop::new().expect("eventfd");
        let came = |half: &mut HalfRequest| {
            assert_eq!(half.end(&endpoint), None);
            if half.early == b"/ " { Look::<(), ()>::Yes(()) } else { Look::NotYet }
        };
        until(LONG, Duration::from_millis(1), &stop, || came(&mut half)).expect("both bytes");
        let mut told = false;
        assert_eq!(half.complete(&endpoint, LONG, || told = true), Probe::Answered { version: None });
        assert!(told);
        drop(half);
        server.join().expect("server");
    }

    #[test]
    fn a_line_that_comes_back_whole_is_an_answer() {
        let (mut half, endpoint, server) = held(Protocol::Echo, |mut stream| {
            let mut line = [0; 4];
            stream.read_exact(&mut line).expect("the whole line");
            stream.write_all(&line).expect("answer");
        });
        assert_eq!(half.end(&endpoint), None);
        assert_eq!(half.complete(&endpoint, LONG, || {}), Probe::Answered { version: None });
        server.join().expect("server");
    }

    #[test]
    fn an_end_is_told_from_an_answer_to_half_a_request() {
        for protocol in [Protocol::Http1, Protocol::Echo] {
            let (mut half, endpoint, server) = held(protocol, |mut stream| {
                assert!(stream.read(&mut [0; 1024]).expect("half") > 0);
            });
            assert_eq!(ended(&mut half, &endpoint), HeldEnd::Closed);
            server.join().expect("server");
            let (mut half, endpoint, server) = held(protocol, |mut stream| {
                stream.write_all(b"too slow\n").expect("answer");
                while stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {}
            });
            assert_eq!(ended(&mut half, &endpoint), HeldEnd::Answered);
            drop(half);
            server.join().expect("server");
        }
    }
}

//! A server that misbehaves on purpose, for the tests of the load: threads of the test process on an ephemeral port.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Serves until dropped; then every thread of it has ended. Its clients must be gone by then.
pub(super) struct FakeServer {
    pub(super) address: SocketAddr,
    pub(super) deeds: Deeds,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// What the server did, by name: the truth that the driver's records must tell.
#[derive(Clone, Default)]
pub(super) struct Deeds(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Deeds {
    pub(super) fn add(&self, deed: &'static str) {
        *self.0.lock().expect("nobody panics with it").entry(deed).or_default() += 1;
    }

    pub(super) fn count(&self, deed: &str) -> u64 {
        self.0.lock().expect("nobody panics with it").get(deed).copied().unwrap_or(0)
    }
}

impl FakeServer {
    /// Serves each connection by `behave`, which is given the connection's number from 0, in a thread of its own.
    pub(super) fn start(behave: impl Fn(Peer, usize) + Send + Sync + 'static) -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let (stop, deeds) = (Arc::new(AtomicBool::new(false)), Deeds::default());
        let (stopped, done) = (Arc::clone(&stop), deeds.clone());
        let acceptor = std::thread::spawn(move || {
            serve(listener.incoming(), &stopped, true, |stream, number| {
                stream.set_nodelay(true).expect("nodelay");
                behave(Peer { stream, deeds: done.clone() }, number);
            });
        });
        FakeServer { address, deeds, stop, acceptor: Some(acceptor) }
    }

    /// Answers everything well, keeps connections open unless asked to close.
    pub(super) fn plain() -> FakeServer {
        FakeServer::start(|mut peer, _| {
            while let Some(ask) = peer.request() {
                // Counted first: whoever has read an answer finds it counted.
                peer.deeds.add("answered");
                peer.answer(&ask, "");
                if ask.close {
                    return;
                }
            }
        })
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor out of accept(2).
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Serves each of these connections, by TCP or by a UNIX socket, until told to stop: each in a thread of its own, at once or one after the
/// other.
pub(super) fn serve<S: Send>(
    connections: impl Iterator<Item = io::Result<S>>,
    stopped: &AtomicBool,
    at_once: bool,
    each: impl Fn(S, usize) + Sync,
) {
    std::thread::scope(|scope| {
        for (number, connection) in connections.enumerate() {
            if stopped.load(Ordering::SeqCst) {
                break;
            }
            let (connection, each) = (connection.expect("accept"), &each);
            let served = scope.spawn(move || each(connection, number));
            if !at_once {
                served.join().expect("it behaves");
            }
        }
    });
}

/// A request as the server read it.
pub(super) struct Ask {
    pub(super) id: String,
    pub(super) path: String,
    pub(super) close: bool,
}

/// The server's end of one connection.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    pub(super) deeds: Deeds,
}

impl Peer {
    /// Reads one request; `None` when the client closed instead.
    pub(super) fn request(&mut self) -> Option<Ask> {
        let mut head = Vec::new();
        let mut buffer = [0u8; 1024];
        while !head.ends_with(b"\r\n\r\n") {
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(count) => head.extend_from_slice(&buffer[..count]),
            }
        }
        let head = String::from_utf8(head).expect("requests are ASCII");
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        Some(Ask {
            id: value("X-Request-Id: ").expect("every request carries its id"),
            path: head.split(' ').nth(1).expect("a request line").to_owned(),
            close: value("Connection: close").is_some(),
        })
    }

    /// Waits until a request can be read, and leaves it there; false when the client closed instead.
    pub(super) fn readable(&self) -> bool {
        self.stream.peek(&mut [0u8; 1]).is_ok_and(|count| count > 0)
    }

    pub(super) fn write(&mut self, bytes: &str) {
        // The client may be gone; its records tell.
        let _ = self.stream.write_all(bytes.as_bytes());
    }

    /// A good answer with version 3; `headers` are whole lines.
    pub(super) fn answer(&mut self, ask: &Ask, headers: &str) {
        let close = if ask.close { "Connection: close\r\n" } else { "" };
        self.write(&format!(
            "HTTP/1.1 200 OK\r\nX-Request-Id: {}\r\nX-Version: 3\r\n{headers}{close}Content-Length: 2\r\n\r\nok",
            ask.id
        ));
    }

    /// Ends the connection by RST, whatever was read.
    pub(super) fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("linger");
    }
}

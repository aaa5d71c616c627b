//! A server of our own that does harm on purpose: a thread for each connection, in the network namespace of whoever starts it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// An answer that leaves its connection open.
pub(super) const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Serves until dropped; then every thread of it has ended. Its clients must be gone by then.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves each connection by `each`, which is given the connection's number from 0.
    ///
    /// # Errors
    /// No socket, or no thread.
    pub(super) fn start(each: impl Fn(Peer, u64) + Send + Sync + 'static) -> io::Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, over) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&over);
        let accepting = std::thread::Builder::new().name("server".to_owned()).spawn(move || {
            std::thread::scope(|scope| {
                for (number, stream) in (0..).zip(listener.incoming()) {
                    if ended.load(Ordering::Acquire) {
                        return;
                    }
                    // Who was gone before it was accepted wants nothing.
                    let Ok(stream) = stream else { continue };
                    let _ = stream.set_nodelay(true);
                    let each = &each;
                    scope.spawn(move || each(Peer { stream }, number));
                }
            });
        })?;
        Ok(Server { address, over, accepting: Some(accepting) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Wakes it out of accept(2).
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// The server's side of one connection.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
}

impl Peer {
    /// Reads one request; false when the client has closed instead.
    pub(super) fn request(&mut self) -> bool {
        let (mut last, mut buffer) = ([0u8; 4], [0u8; 1024]);
        loop {
            let count = match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => return false,
                Ok(count) => count,
            };
            let seen = [&last[..], &buffer[..count]].concat();
            last.copy_from_slice(&seen[seen.len() - 4..]);
            // A client has one request on its way at a time.
            if &last == b"\r\n\r\n" {
                return true;
            }
        }
    }

    /// Waits until a request has come, and leaves it in its queue; false when the client has closed instead.
    pub(super) fn has_request(&self) -> bool {
        self.stream.peek(&mut [0u8; 1]).is_ok_and(|count| count > 0)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        // The client may be gone; the driver's books tell.
        let _ = self.stream.write_all(bytes);
    }
}

/// Answers whatever comes.
pub(super) fn answers(mut peer: Peer, _number: u64) {
    while peer.request() {
        peer.write(ANSWER);
    }
}

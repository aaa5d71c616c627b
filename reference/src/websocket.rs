//! WebSocket (RFC 6455): each message comes back, and the end is said in a close frame.
//!
//! A WebSocket has no last answer that could announce its end: a server may close it whenever it likes, if it says so. A draining server
//! answers the messages that have come, sends a close frame with 1012 (service restart; 1001, going away, is as good), reads on until the
//! client has sent its own, and closes the connection first (§7.1.1). What a client sends while that frame is on its way is not answered,
//! and the client knows it: messages on either side of a close frame are told apart by their order, as nothing in HTTP/1.1 tells them.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Error, Message, WebSocket};

use crate::connection::{Connection, Next};
use crate::defect::Defect;
use crate::http::Head;
use crate::poll;

/// How long the client's close frame is waited for after our own.
const CLOSING: Duration = Duration::from_secs(2);

/// How a draining generation ends a WebSocket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goodbye {
    /// By a close frame with 1012: correct.
    #[default]
    Restart,
    /// By a close frame without a code: the mistake of [`Defect::CloseCode`].
    Unsaid,
    /// By the end of the connection: the mistake of [`Defect::WebSocket`].
    Missing,
}

impl Goodbye {
    /// The correct way, or the defect's.
    #[must_use]
    pub fn of(defect: Option<Defect>) -> Self {
        match defect {
            Some(Defect::CloseCode) => Self::Unsaid,
            Some(Defect::WebSocket) => Self::Missing,
            _ => Self::Restart,
        }
    }

    fn frame(self) -> Option<CloseFrame> {
        let restart = CloseFrame { code: CloseCode::Restart, reason: "restart".into() };
        (self == Self::Restart).then_some(restart)
    }
}

/// Answers an opening handshake with this key (§4.2.2), and then each message until the end of either side.
///
/// # Errors
/// What the connection reports; a client that goes away is told as one.
pub(crate) fn converse(connection: &mut Connection<'_>, head: &Head, key: &str) -> io::Result<Next> {
    let id = head.request_id.as_ref().map_or_else(String::new, |id| format!("X-Request-Id: {id}\r\n"));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\
         X-Version: {}\r\n{id}\r\n",
        tungstenite::handshake::derive_accept_key(key.as_bytes()),
        connection.service.version
    );
    connection.stream.write_all(answer.as_bytes())?;
    // Several messages may have come with one read: whether another one is there is asked of the socket last.
    connection.stream.set_nonblocking(true)?;
    let unread = std::mem::take(&mut connection.unread);
    let socket = WebSocket::from_partially_read(&connection.stream, unread, Role::Server, None);
    let ended = Conversation { connection, socket, closing: None }.run();
    connection.stream.set_nonblocking(false)?;
    ended.map(|()| Next::Close)
}

struct Conversation<'a> {
    connection: &'a Connection<'a>,
    socket: WebSocket<&'a TcpStream>,
    /// Until when the client's close frame is waited for.
    closing: Option<Instant>,
}

impl Conversation<'_> {
    fn run(mut self) -> io::Result<()> {
        loop {
            match self.socket.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) if self.closing.is_none() => {
                    match self.socket.send(message) {
                        Err(error) if would_block(&error) => self.flush()?,
                        sent => sent.map_err(failed)?,
                    }
                }
                // The library answers pings and close frames; what comes behind our own close frame is not answered.
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(()),
                Err(error) if would_block(&error) => {
                    if !self.wait()? {
                        return Ok(());
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Waits until there is something to read, or to say; false when there is nothing to wait for.
    fn wait(&mut self) -> io::Result<bool> {
        let (stream, drain) = (&self.connection.stream, &self.connection.service.drain);
        if let Some(until) = self.closing {
            return poll::until(&mut [poll::readable(stream)], Some(until));
        }
        if !drain.has_begun() {
            let signal = drain.signal();
            poll::until(&mut [poll::readable(stream), poll::readable(&signal)], None)?;
            return Ok(true);
        }
        let goodbye = self.connection.service.goodbye;
        if goodbye == Goodbye::Missing {
            return Ok(false);
        }
        self.closing = Some(Instant::now() + CLOSING);
        match self.socket.close(goodbye.frame()) {
            Err(error) if would_block(&error) => self.flush()?,
            closed => closed.map_err(failed)?,
        }
        Ok(true)
    }

    /// Gives the kernel what it had no room for.
    fn flush(&mut self) -> io::Result<()> {
        loop {
            match self.socket.flush() {
                Err(error) if would_block(&error) => {
                    poll::until(&mut [poll::writable(&self.connection.stream)], None)?;
                }
                flushed => return flushed.map_err(failed),
            }
        }
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn failed(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::*;
    use crate::drain::{Drain, Patience};
    use crate::service::Service;

    type Client = WebSocket<TcpStream>;

    fn conversation(goodbye: Goodbye) -> (Client, Arc<Drain>, std::thread::JoinHandle<()>) {
        let patience = Patience { idle_grace: Duration::from_millis(200), timeout: Duration::from_secs(60) };
        let drain = Drain::new(patience).expect("drain");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("name");
        let service = Service { goodbye, ..Service::new(3, Arc::clone(&drain)) };
        let server = std::thread::spawn(move || service.serve(listener.accept().expect("accept").0));
        let stream = TcpStream::connect(address).expect("connect");
        let (client, answer) = tungstenite::client(format!("ws://{address}/ws"), stream).expect("handshake");
        assert_eq!(answer.headers()["X-Version"], "3");
        (client, drain, server)
    }

    #[test]
    fn each_message_comes_back_whatever_it_is() {
        let (mut client, drain, server) = conversation(Goodbye::Restart);
        for message in [Message::text("one"), Message::binary(vec![0; 100_000]), Message::text("")] {
            client.send(message.clone()).expect("send");
            assert_eq!(client.read().expect("read"), message);
        }
        client.send(Message::Ping(vec![7].into())).expect("send");
        assert_eq!(client.read().expect("read"), Message::Pong(vec![7].into()));
        client.close(None).expect("close");
        assert!(matches!(client.read(), Ok(Message::Close(_))));
        assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
        server.join().expect("ends with the client");
        assert!(!drain.has_begun());
    }

    #[test]
    fn a_drain_is_said_in_a_close_frame_and_the_server_closes_first() {
        let (mut client, drain, server) = conversation(Goodbye::Restart);
        client.send(Message::text("before")).expect("send");
        assert_eq!(client.read().expect("read"), Message::text("before"));
        drain.begin();
        let Ok(Message::Close(Some(frame))) = client.read() else { panic!("no close frame with a code") };
        assert_eq!(u16::from(frame.code), 1012);
        // The reply is sent by the next read, which ends with the server's end.
        assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
        drop(client);
        server.join().expect("ends");
    }

    #[test]
    fn the_defects_end_without_a_code_or_without_a_frame() {
        let (mut client, drain, server) = conversation(Goodbye::Unsaid);
        drain.begin();
        assert_eq!(client.read().expect("a close frame"), Message::Close(None));
        assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
        drop(client);
        server.join().expect("ends");

        let (mut client, drain, server) = conversation(Goodbye::Missing);
        drain.begin();
        assert!(matches!(client.read(), Err(Error::Protocol(_))));
        drop(client);
        server.join().expect("ends");
    }
}

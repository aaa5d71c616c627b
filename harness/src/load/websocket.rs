//! WebSockets: each message is a request, and its answer is the same message (RFC 6455).
//!
//! The opening handshake is the first request of a connection, an HTTP/1.1 request like any other. How a message may end:
//!
//! | What came | Class |
//! |---|---|
//! | the same message | none |
//! | another message, or what no server may send | `wrong-answer` |
//! | a close frame, before the answer | `close-frame`: the two crossed, and the client knows that it was not answered (§5.5.1) |
//! | the end of the connection, or a reset, and no close frame (§7.1.5: 1006), also between two messages | `no-close-frame` |
//! | nothing by the deadline | `hung` |
//!
//! Close frames are counted by their code. Pings are answered.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::Connection;
use super::crew::asked;
use super::driver::LoadError;
use super::exchange::Exchange;
use super::failure::Failure;
use super::frame::{self, Frame, Frames};
use super::ledger::Attempt;
use super::schedule::{Random, Ticker};
use crate::clock::Nanos;
use crate::id::Version;
use crate::kernel::stream::Peek;
use crate::request::{Ending, FailureClass, Pattern};
use crate::target::TargetEndpoint;

/// The sample of RFC 6455 §1.3, and what it has to be answered with: a server cannot tell it from another one.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// What stands for the missing code of a close frame (§7.4.1).
const NO_STATUS: u16 = 1005;
/// Bytes of one read.
const READ_BYTES: usize = 4096;
/// Header lines of one answer.
const HEADERS_MAX: usize = 64;
/// How long the server's part of a closing handshake is waited for that we began.
const CLOSING: Duration = Duration::from_secs(2);

/// One place: a WebSocket that is spoken on by schedule, and opened anew when it has ended.
#[derive(Debug)]
pub(super) struct Talk {
    exchange: Rc<Exchange>,
    opening: Rc<Opening>,
    ticker: Ticker,
    random: Random,
    wire: Option<Wire>,
    /// How it ended while nothing was sent on it, where that is no proper end: the next message is recorded with it.
    broken: Option<(Wire, Failure)>,
    /// When the message before was over.
    free: Nanos,
}

/// What an opening handshake needs.
#[derive(Debug)]
pub(super) struct Opening {
    path: String,
    host: String,
    version_header: Option<String>,
}

#[derive(Debug)]
struct Wire {
    connection: Connection,
    frames: Frames,
}

enum News {
    Stop,
    Tick(Nanos),
    Came,
}

impl Opening {
    /// `None` where the endpoint speaks none.
    pub(super) fn of(endpoint: &TargetEndpoint) -> Option<Opening> {
        let path = endpoint.websocket.clone()?;
        Some(Opening { path, host: endpoint.address.to_string(), version_header: endpoint.version_header.clone() })
    }

    fn request(&self, id: u64) -> String {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nX-Request-Id: {id}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
            self.path, self.host
        )
    }

    /// Reads the answer: its length, and what it says. `None`: not whole yet.
    fn answer(&self, bytes: &[u8]) -> Result<Option<(usize, Said)>, &'static str> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut headers);
        let length = match answer.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("not HTTP"),
        };
        let value = |name: &str| {
            let header = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok().map(str::trim)
        };
        let status = answer.code.unwrap_or_default();
        if status == 101 && value("Sec-WebSocket-Accept") != Some(ACCEPT) {
            return Err("101, and not for the key that was sent");
        }
        let version = self.version_header.as_deref().and_then(value).and_then(|text| text.parse().ok()).map(Version);
        Ok(Some((length, Said { status, version })))
    }
}

struct Said {
    status: u16,
    version: Option<Version>,
}

impl Talk {
    /// A place without a connection yet: its first request opens one.
    pub(super) fn new(exchange: Rc<Exchange>, opening: Rc<Opening>, ticker: Ticker, random: Random) -> Talk {
        Talk { exchange, opening, ticker, random, wire: None, broken: None, free: Nanos(0) }
    }

    /// Speaks on schedule until asked to stop, then closes.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            match self.news(&mut stop).await {
                Ok(News::Tick(intended)) => self.speak(intended).await,
                Ok(News::Came) => self.hear(),
                Ok(News::Stop) => break,
                Err(error) => {
                    self.exchange.ledger.fault(error);
                    break;
                }
            }
        }
        self.hear();
        // No tick will come that could tell of it: tell now.
        if self.broken.is_some() {
            self.speak(self.exchange.ledger.clock.now()).await;
        }
        self.take_leave().await;
    }

    async fn news(&mut self, stop: &mut watch::Receiver<bool>) -> Result<News, LoadError> {
        let Talk { ticker, wire, .. } = self;
        let came = async {
            match wire {
                // An error is found again by whoever reads.
                Some(wire) => drop(wire.connection.disturbance().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = asked(stop) => Ok(News::Stop),
            tick = ticker.tick() => tick.map(News::Tick).map_err(LoadError::Timer),
            () = came => Ok(News::Came),
        }
    }

    /// Takes what came between two messages.
    fn hear(&mut self) {
        let Some(mut wire) = self.wire.take() else { return };
        let heard = loop {
            match wire.frames.next() {
                Ok(None) => {}
                Ok(Some(Frame::Ping(payload))) => wire.reply(&frame::pong(&payload, self.random.bits())),
                Ok(Some(Frame::Pong)) => {}
                Ok(Some(Frame::Close(code))) => return self.closed(wire, code),
                Ok(Some(Frame::Message(_))) => break Err(wire.connection.unsolicited()),
                Err(what) => break Err(Failure::told(FailureClass::WrongAnswer, what.to_owned())),
            }
            let mut buffer = [0; READ_BYTES];
            match wire.connection.read_now(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Ok(0) => break Err(wire.connection.broken(None, FailureClass::NoCloseFrame)),
                Err(error) => break Err(wire.connection.broken(Some(&error), FailureClass::NoCloseFrame)),
                Ok(length) => wire.frames.push(&buffer[..length]),
            }
        };
        match heard {
            Ok(()) => self.wire = Some(wire),
            Err(failure) => self.broken = Some((wire, failure)),
        }
    }

    /// The server has closed, and says so: it gets a close frame in return.
    fn closed(&mut self, wire: Wire, code: Option<u16>) {
        let code_or_none = code.unwrap_or(NO_STATUS);
        self.exchange.ledger.count(|account| *account.close_codes.entry(code_or_none).or_default() += 1);
        wire.reply(&frame::close(code, self.random.bits()));
        self.drop(wire);
    }

    fn drop(&self, wire: Wire) {
        self.exchange.ledger.gauges.closed(Pattern::Websocket);
        wire.connection.close(&self.exchange.ledger);
    }

    async fn speak(&mut self, intended: Nanos) {
        let exchange = Rc::clone(&self.exchange);
        let mut attempt = exchange.ledger.schedule(Pattern::Websocket, intended, self.free);
        // Immediately before the write: a close frame that is there already means that nothing was lost.
        self.hear();
        let deadline = exchange.deadline();
        let ending = match (self.broken.take(), self.wire.take()) {
            (Some((mut wire, failure)), _) => {
                wire.connection.carry(&mut attempt);
                self.drop(wire);
                Err(failure)
            }
            (None, None) => self.open(&mut attempt, deadline).await,
            (None, Some(wire)) => self.say(wire, &mut attempt, deadline).await,
        };
        exchange.ledger.end(attempt, ending);
        self.free = exchange.ledger.clock.now();
    }

    /// The opening handshake (§4.1), on a connection of its own.
    async fn open(&mut self, attempt: &mut Attempt, deadline: Instant) -> Result<Ending, Failure> {
        let exchange = Rc::clone(&self.exchange);
        let mut connection = exchange.open(attempt, deadline).await?;
        connection.carry(attempt);
        let (opening, ledger) = (Rc::clone(&self.opening), &exchange.ledger);
        let answered = async {
            connection.send(opening.request(attempt.id).as_bytes(), deadline, attempt, ledger).await?;
            let mut came = Vec::new();
            loop {
                let said = opening.answer(&came).map_err(|what| connection.wrong(what, attempt))?;
                if let Some((length, said)) = said {
                    return Ok((came.split_off(length), said));
                }
                let mut buffer = [0; READ_BYTES];
                let length = connection.read_some(&mut buffer, deadline, attempt, ledger).await?;
                came.extend_from_slice(&buffer[..length]);
            }
        };
        let (behind, said) = match answered.await {
            Ok(answered) => answered,
            Err(failure) => {
                connection.close(ledger);
                return Err(failure);
            }
        };
        if said.status == 101 {
            connection.answered(attempt);
            self.exchange.ledger.gauges.opened(Pattern::Websocket);
            self.wire = Some(Wire { connection, frames: Frames::from(behind) });
            return Ok(Ending::Answered { status: Some(101), version: said.version, close_announced: false });
        }
        let class = if said.status >= 500 { FailureClass::ServerError } else { FailureClass::WrongAnswer };
        let failure = connection.answered_badly(class, &format!("status {}", said.status), attempt);
        connection.close(ledger);
        Err(failure)
    }

    /// One message, and the same message back.
    async fn say(&mut self, mut wire: Wire, attempt: &mut Attempt, deadline: Instant) -> Result<Ending, Failure> {
        let exchange = Rc::clone(&self.exchange);
        let message = format!("unbroken {}", attempt.id);
        wire.connection.carry(attempt);
        let said = frame::text(&message, self.random.bits());
        let sent = wire.connection.send(&said, deadline, attempt, &exchange.ledger).await;
        let answer = match sent {
            Ok(()) => self.await_message(&mut wire, attempt, deadline).await,
            Err(failure) => Err(failure),
        };
        let failure = match answer {
            Ok(Frame::Message(answer)) if answer == message.as_bytes() => {
                wire.connection.answered(attempt);
                self.wire = Some(wire);
                return Ok(Ending::Answered { status: None, version: None, close_announced: false });
            }
            Ok(Frame::Close(code)) => {
                let signal = format!("close frame {}", code.unwrap_or(NO_STATUS));
                self.closed(wire, code);
                return Err(Failure::told(FailureClass::CloseFrame, signal));
            }
            Ok(_) => wire.connection.wrong("another message", attempt),
            // Whatever ended it, it was no close frame; of what the kernel says the evidence is kept.
            Err(Failure { class, evidence }) if !matches!(class, FailureClass::Hung | FailureClass::WrongAnswer) => {
                Failure { class: FailureClass::NoCloseFrame, evidence }
            }
            Err(failure) => failure,
        };
        self.drop(wire);
        Err(failure)
    }

    /// The next message or close frame.
    async fn await_message(
        &mut self,
        wire: &mut Wire,
        attempt: &mut Attempt,
        deadline: Instant,
    ) -> Result<Frame, Failure> {
        let mut buffer = [0; READ_BYTES];
        loop {
            match wire.frames.next() {
                Ok(None) => {
                    let ledger = &self.exchange.ledger;
                    let length = wire.connection.read_some(&mut buffer, deadline, attempt, ledger).await?;
                    wire.frames.push(&buffer[..length]);
                }
                Ok(Some(Frame::Ping(payload))) => wire.reply(&frame::pong(&payload, self.random.bits())),
                Ok(Some(Frame::Pong)) => {}
                Ok(Some(said)) => return Ok(said),
                Err(what) => return Err(wire.connection.wrong(what, attempt)),
            }
        }
    }

    /// Closes an open one as a client that has no more to say (1000), and waits for the server's part.
    async fn take_leave(&mut self) {
        let Some(wire) = self.wire.take() else { return };
        wire.reply(&frame::close(Some(1000), self.random.bits()));
        let answered = async {
            loop {
                // Its end comes behind its close frame, or instead of it.
                let Ok(Peek::Bytes) = wire.connection.disturbance().await else { return };
                if !matches!(wire.connection.read_now(&mut [0; READ_BYTES]), Ok(1..)) {
                    return;
                }
            }
        };
        // Whoever does not answer has been told.
        let _answered = tokio::time::timeout(CLOSING, answered).await;
        self.drop(wire);
    }
}

impl Wire {
    /// Sends a control frame: it is small, and whoever does not read has no answer to give either.
    fn reply(&self, frame: &[u8]) {
        self.connection.write_now(frame);
    }
}

//! TLS: each request on a connection of its own, which resumes the session of the one before if the server lets it.
//!
//! | What happened | Class |
//! |---|---|
//! | an alert, or what is no TLS, before the request was sent | `tls` |
//! | the connection's end, a reset, or close_notify (RFC 8446 §6.1), and nothing of the answer | `dropped` |
//! | the same in the middle of the answer | `truncated` |
//! | anything that was answered | as without TLS |
//!
//! Bytes are counted as the kernel has them: records, and not what is in them.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use tokio::sync::watch;
use tokio::time::Instant;

use super::answer::Progress;
use super::connection::Connection;
use super::crew::asked;
use super::exchange::{Exchange, judge};
use super::failure::Failure;
use super::ledger::Attempt;
use super::protocol::Ask;
use super::schedule::Ticker;
use super::tickets::Tickets;
use crate::clock::Nanos;
use crate::id::Version;
use crate::load::LoadError;
use crate::request::{Ending, FailureClass, Pattern, TlsSession};
use crate::tls;

/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;
/// Tickets that a place keeps, as many as the library keeps of one server at least: a handshake gives two, and the next uses one.
const SESSIONS: usize = 8;

/// One place: connections one after the other, with what the server gave them to come back with.
#[derive(Debug)]
pub(super) struct Secure {
    exchange: Rc<Exchange>,
    to: SocketAddr,
    ask: Rc<Ask>,
    config: Arc<ClientConfig>,
    tickets: Arc<Tickets>,
    ticker: Ticker,
    /// Who answered last, and gave the ticket that the next connection comes with, if it gave any and it was not used up since.
    comes_from: Option<Version>,
    free: Nanos,
}

impl Secure {
    /// A place without a ticket yet.
    ///
    /// # Errors
    /// [`LoadError::Tls`].
    pub(super) fn new(
        exchange: Rc<Exchange>,
        to: SocketAddr,
        ask: Rc<Ask>,
        ticker: Ticker,
    ) -> Result<Secure, LoadError> {
        let tickets = Arc::new(Tickets::new(SESSIONS));
        let config = tls::client(Resumption::store(Arc::clone(&tickets) as _)).map_err(LoadError::Tls)?;
        Ok(Secure { exchange, to, ask, config, tickets, ticker, comes_from: None, free: Nanos(0) })
    }

    /// Asks on schedule until asked to stop.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let tick = tokio::select! {
                biased;
                () = asked(&mut stop) => return,
                tick = self.ticker.tick() => tick,
            };
            match tick {
                Ok(intended) => self.request(intended).await,
                Err(error) => return self.exchange.ledger.fault(LoadError::Timer(error)),
            }
        }
    }

    async fn request(&mut self, intended: Nanos) {
        let exchange = Rc::clone(&self.exchange);
        let mut attempt = exchange.ledger.schedule(Pattern::Tls, intended, self.free);
        let deadline = exchange.deadline();
        match exchange.open_at(self.to, &mut attempt, deadline).await {
            Ok(mut connection) => {
                connection.carry(&mut attempt);
                let ending = self.speak(&mut connection, &mut attempt, deadline).await;
                if let Ok(Ending::Answered { version, .. }) = ending {
                    self.comes_from = version;
                }
                // First ended, then closed: the close is no part of the request's time.
                exchange.ledger.end(attempt, ending);
                connection.close(&exchange.ledger);
            }
            Err(failure) => exchange.ledger.end(attempt, Err(failure)),
        }
        self.free = exchange.ledger.clock.now();
    }

    async fn speak(
        &self,
        connection: &mut Connection,
        attempt: &mut Attempt,
        deadline: Instant,
    ) -> Result<Ending, Failure> {
        let session = ClientConnection::new(Arc::clone(&self.config), tls::name(self.to.ip()));
        let session =
            session.map_err(|error| connection.answered_badly(FailureClass::Tls, &error.to_string(), attempt))?;
        let comes_from = self.comes_from.filter(|_| self.tickets.came_with());
        let mut wire = Wire { connection, session, exchange: &self.exchange, deadline, is_answered: false };
        while wire.session.is_handshaking() {
            wire.pass_on(attempt).await?;
            if wire.session.is_handshaking() {
                wire.take_in(attempt).await?;
            }
        }
        let resumed = wire.session.handshake_kind() == Some(HandshakeKind::Resumed);
        // What has come so far is no byte of the answer.
        attempt.first_byte = None;
        attempt.tls = Some(TlsSession { comes_from, resumed });
        // Into memory: nothing that could fail.
        let _ = wire.session.writer().write_all(&self.ask.bytes(attempt.id));
        wire.pass_on(attempt).await?;
        self.exchange.ledger.sent(attempt);
        let ending = wire.await_answer(&self.ask, attempt).await;
        // Whoever says nothing more says so; the server may have said it first, and be gone.
        wire.session.send_close_notify();
        let mut records = Vec::new();
        let _ = wire.session.write_tls(&mut records);
        wire.connection.write_now(&records);
        ending
    }
}

/// A connection, and the session that is spoken on it.
struct Wire<'a> {
    connection: &'a mut Connection,
    session: ClientConnection,
    exchange: &'a Exchange,
    deadline: Instant,
    /// Something of the answer has come: until then whoever ends the connection has said nothing.
    is_answered: bool,
}

impl Wire<'_> {
    /// Gives the kernel what the session has to say.
    async fn pass_on(&mut self, attempt: &mut Attempt) -> Result<(), Failure> {
        let mut records = Vec::new();
        while self.session.wants_write() {
            // Into memory: nothing that could fail.
            let _ = self.session.write_tls(&mut records);
        }
        self.connection.give(&records, self.deadline, attempt).await
    }

    /// Reads what comes next, and lets the session understand it.
    async fn take_in(&mut self, attempt: &mut Attempt) -> Result<(), Failure> {
        let mut buffer = [0; READ_BYTES];
        let read = self.connection.read_some(&mut buffer, self.deadline, attempt, &self.exchange.ledger).await;
        let length = match read {
            Err(Failure { class: FailureClass::Truncated, evidence }) if !self.is_answered => {
                return Err(Failure { class: FailureClass::Dropped, evidence });
            }
            read => read?,
        };
        let mut records = &buffer[..length];
        while !records.is_empty() {
            let taken = self.session.read_tls(&mut records);
            let understood = self.session.process_new_packets();
            if let (Ok(1..), Ok(_)) = (&taken, &understood) {
                continue;
            }
            let what = understood.map_or_else(|error| error.to_string(), |_| "more than a session takes".to_owned());
            return Err(self.connection.answered_badly(FailureClass::Tls, &what, attempt));
        }
        Ok(())
    }

    async fn await_answer(&mut self, ask: &Ask, attempt: &mut Attempt) -> Result<Ending, Failure> {
        let exchange = self.exchange;
        let mut reader = exchange.answers.reader(ask, attempt.id);
        loop {
            let mut plain = [0; READ_BYTES];
            let progress = match self.session.reader().read(&mut plain) {
                Ok(0) if reader.ends_with_stream() => Progress::Whole { excess: 0 },
                Ok(0) => {
                    let class = if self.is_answered { FailureClass::Truncated } else { FailureClass::Dropped };
                    return Err(self.connection.answered_badly(class, "close_notify", attempt));
                }
                Ok(length) => {
                    self.is_answered = true;
                    reader.feed(&plain[..length])
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.take_in(attempt).await?;
                    continue;
                }
                Err(error) => {
                    return Err(self.connection.answered_badly(FailureClass::Truncated, &error.to_string(), attempt));
                }
            };
            match progress {
                Progress::More => {}
                Progress::Malformed => return Err(self.connection.wrong(reader.malformed(), attempt)),
                Progress::Whole { excess: 1.. } => return Err(self.connection.unsolicited()),
                Progress::Whole { excess: 0 } => break,
            }
        }
        self.connection.answered(attempt);
        match reader.answer() {
            Some(answer) => judge(answer, self.connection, attempt),
            None => Err(self.connection.wrong(reader.malformed(), attempt)),
        }
    }
}

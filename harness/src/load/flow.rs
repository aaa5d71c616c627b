//! Datagrams: a flow is a socket of its own, whose datagrams are told apart by what is in them.
//!
//! | What happened to a datagram | Class |
//! |---|---|
//! | its answer came within [`DATAGRAM_LIMIT`] | none |
//! | no answer by then, and a later one of its flow was answered: what one reader takes from one socket it takes in order | `lost` |
//! | no answer by then, and none to a later one | `hung` |
//! | nobody has the port (ICMP, which a connected socket is told of: udp(7)) | `refused` |
//! | an answer with other bytes | `wrong-answer`, of the oldest one that waits |
//!
//! A second answer to a datagram, or one that comes when its time is over, is counted beside
//! ([`LoadAccount::unpaired_datagrams`](crate::request::LoadAccount)).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::crew::asked;
use super::driver::LoadError;
use super::exchange::Exchange;
use super::failure::{Failure, Signal};
use super::ledger::Attempt;
use super::schedule::Ticker;
use crate::clock::Nanos;
use crate::datagram::{question, reply};
use crate::kernel::udp;
use crate::request::{Ending, FailureClass, Pattern};

/// How long the answer to a datagram may take: twice as long as QUIC waits before it sends its first one again (RFC 9002, §6.2.2).
pub(super) const DATAGRAM_LIMIT: Duration = Duration::from_secs(2);

/// More than any answer has: what does not fit is cut off, and is no answer then.
const ANSWER_MAX: usize = 2048;

/// One flow: a port of ours, and what was sent from it and not answered yet.
#[derive(Debug)]
pub(super) struct Flow {
    exchange: Rc<Exchange>,
    socket: UdpSocket,
    ticker: Ticker,
    /// Its number among the connections.
    id: u64,
    local_port: u16,
    sent: u32,
    waiting: BTreeMap<u64, Waiting>,
    /// The latest one that was answered.
    answered: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    attempt: Attempt,
    until: Instant,
}

enum News {
    Stop,
    Tick(Nanos),
    Came(usize),
    Refused,
    TimeOver,
}

impl Flow {
    /// A flow to this address, which sends by the ticker.
    ///
    /// # Errors
    /// No socket.
    pub(super) fn open(exchange: Rc<Exchange>, to: SocketAddr, ticker: Ticker) -> Result<Flow, LoadError> {
        let connected = || -> io::Result<UdpSocket> {
            let socket = udp::connected(to)?;
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(socket)
        };
        let socket = connected().map_err(LoadError::Flow)?;
        let local_port = socket.local_addr().map_or(0, |address| address.port());
        let id = exchange.ledger.connection();
        Ok(Flow { exchange, socket, ticker, id, local_port, sent: 0, waiting: BTreeMap::new(), answered: None })
    }

    /// Sends on schedule until asked to stop, and waits then for what has not been answered.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut buffer = [0; ANSWER_MAX];
        let mut stopped = false;
        while !stopped || !self.waiting.is_empty() {
            match self.news((!stopped).then_some(&mut stop), &mut buffer).await {
                Ok(News::Stop) => stopped = true,
                Ok(News::Tick(intended)) => self.send(intended).await,
                Ok(News::Came(length)) => self.took(&buffer[..length]),
                Ok(News::Refused) => self.refused(),
                Ok(News::TimeOver) => self.expire(),
                Err(error) => {
                    self.exchange.ledger.fault(error);
                    break;
                }
            }
        }
        // Only after a fault of ours is there anything left.
        while let Some((_, waiting)) = self.waiting.pop_first() {
            self.end(waiting.attempt, FailureClass::HarnessFault, "fault");
        }
    }

    /// Without a `stop` nothing more is sent.
    async fn news(&mut self, stop: Option<&mut watch::Receiver<bool>>, buffer: &mut [u8]) -> Result<News, LoadError> {
        let Flow { socket, ticker, waiting, .. } = self;
        let until = waiting.first_key_value().map(|(_, it)| it.until);
        let time_over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let scheduled = async {
            match stop {
                Some(stop) => tokio::select! {
                    biased;
                    () = asked(stop) => Ok(News::Stop),
                    tick = ticker.tick() => tick.map(News::Tick).map_err(LoadError::Timer),
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            news = scheduled => news,
            // What has come has come in time, however late we are to look.
            came = socket.recv(buffer) => match came {
                Ok(length) => Ok(News::Came(length)),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(News::Refused),
                Err(error) => Err(LoadError::Flow(error)),
            },
            () = time_over => Ok(News::TimeOver),
        }
    }

    async fn send(&mut self, intended: Nanos) {
        let exchange = Rc::clone(&self.exchange);
        let mut attempt = exchange.ledger.schedule(Pattern::Flow, intended, Nanos(0));
        (attempt.connection, attempt.local_port, attempt.nth_on_connection) = (self.id, self.local_port, self.sent);
        self.sent += 1;
        let datagram = question(attempt.id);
        let mut sent = self.socket.send(datagram.as_bytes()).await;
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            // The answer to one before this: it was not sent (udp(7)).
            self.refused();
            sent = self.socket.send(datagram.as_bytes()).await;
        }
        match sent {
            Ok(length) => {
                attempt.bytes_sent = length as u64;
                exchange.ledger.sent(&mut attempt);
                let until = Instant::now() + DATAGRAM_LIMIT;
                self.waiting.insert(attempt.id, Waiting { attempt, until });
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.end(attempt, FailureClass::Refused, &Signal::from(&error).to_string());
            }
            Err(error) => self.end(attempt, FailureClass::HarnessFault, &Signal::from(&error).to_string()),
        }
    }

    fn took(&mut self, datagram: &[u8]) {
        let now = self.exchange.ledger.clock.now();
        let Some(reply) = reply(datagram) else {
            match self.waiting.pop_first() {
                Some((_, mut it)) => {
                    it.attempt.bytes_received = datagram.len() as u64;
                    self.end(it.attempt, FailureClass::WrongAnswer, "other bytes than were sent");
                }
                None => self.unpaired(),
            }
            return;
        };
        let Some(Waiting { mut attempt, .. }) = self.waiting.remove(&reply.id) else { return self.unpaired() };
        (attempt.first_byte, attempt.bytes_received) = (Some(now), datagram.len() as u64);
        self.answered = self.answered.max(Some(reply.id));
        let ending = Ending::Answered { status: None, version: reply.version, close_announced: false };
        self.exchange.ledger.end(attempt, Ok(ending));
    }

    fn unpaired(&self) {
        self.exchange.ledger.count(|account| account.unpaired_datagrams += 1);
    }

    /// Nobody has the port: the kernel says so of the oldest one that it has not answered for.
    fn refused(&mut self) {
        if let Some((_, waiting)) = self.waiting.pop_first() {
            self.end(waiting.attempt, FailureClass::Refused, "ECONNREFUSED");
        }
    }

    /// Ends those whose time is over.
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.waiting.first_entry().filter(|first| first.get().until <= now) {
            let (id, Waiting { attempt, .. }) = first.remove_entry();
            let class = if self.answered > Some(id) { FailureClass::Lost } else { FailureClass::Hung };
            self.end(attempt, class, &Signal::Deadline.to_string());
        }
    }

    fn end(&self, attempt: Attempt, class: FailureClass, signal: &str) {
        self.exchange.ledger.end(attempt, Err(Failure::told(class, signal)));
    }
}

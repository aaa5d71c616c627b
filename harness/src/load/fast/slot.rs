//! One place for a connection: handshake, a request, its answer, and the next one, step by step as the kernel tells.
//!
//! ```text
//!            begin                 written whole            answered whole
//!  Vacant ──────────► Connecting ──► Sending ──► Receiving ───────────────► Idle (kept) or Vacant
//!  Idle   ──────────────────────────► Sending
//! ```
//!
//! A step that fails the request leaves the slot vacant. On the loopback a connect and a write are mostly done at once, so that a
//! request that meets no trouble costs one write(2) and one read(2).

use std::io;

use crate::clock::Nanos;
use crate::drive::DrivePlan;
use crate::kernel::clock::Clock;
use crate::kernel::tcp::{Peek, SYN_BYTES, TcpSocket, TcpState};
use crate::load::answer::{AnswerReader, HeaderNames, Progress};
use crate::load::failure::{Failure, Loss, Signal, connect_failure};
use crate::request::{FailureClass, SocketEvidence};

/// Digits of a request's id: enough for any `u64`, always as many, so that they are written in place.
const ID_DIGITS: usize = 20;

/// What all slots share.
#[derive(Debug)]
pub(super) struct Shared<'p> {
    pub(super) plan: &'p DrivePlan,
    pub(super) clock: Clock,
    /// The bytes of a request before its id, and after it.
    request: (Vec<u8>, Vec<u8>),
    names: HeaderNames,
}

impl<'p> Shared<'p> {
    pub(super) fn new(plan: &'p DrivePlan, clock: Clock) -> Shared<'p> {
        let before = format!("GET {} HTTP/1.1\r\nHost: {}\r\nX-Request-Id: ", plan.path, plan.host);
        let after = if plan.kept { "\r\n\r\n" } else { "\r\nConnection: close\r\n\r\n" };
        let request = (before.into_bytes(), after.as_bytes().to_vec());
        Shared { plan, clock, request, names: HeaderNames::default() }
    }
}

/// Where a slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No connection.
    Vacant,
    /// The handshake is under way.
    Connecting,
    /// The kernel has not taken the whole request yet.
    Sending,
    /// The answer is not whole yet.
    Receiving,
    /// A kept connection between two requests.
    Idle,
}

/// What epoll tells of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watched {
    /// It does not know it.
    Nothing,
    /// That something has come, and its end.
    Reading,
    /// That it can be written to, too.
    Both,
}

/// What a step came to.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing more until the kernel tells.
    Waiting,
    /// The request was answered whole.
    Answered {
        /// The server ended the connection with it, and had not said that it would.
        closed: bool,
    },
    /// It failed.
    Failed(Box<Failure>),
    /// An idle connection was closed by its server: nothing is lost.
    IdleClosed,
    /// An idle connection was reset, or said what nobody asked for.
    IdleBroken(Box<Failure>),
}

/// A place for a connection.
#[derive(Debug)]
pub(super) struct Slot<'s> {
    socket: Option<TcpSocket>,
    stage: Stage,
    /// Connections that this slot has had: tells an event of an earlier one.
    pub(super) connections: u32,
    /// The connection that it has, or had: the how many-th of the driver.
    pub(super) number: u64,
    /// What epoll is to tell of the socket.
    watched: Watched,
    /// The bytes of the request, with its id in place.
    request: Vec<u8>,
    /// The connection is to carry more than one.
    kept: bool,
    reader: AnswerReader<'s>,
    /// Requests begun on this connection, and the bytes of those before this one.
    requests: u32,
    sent_before: u64,
    sent: usize,
    pub(super) received: u64,
    /// When the request was meant to be sent, and when its work began.
    pub(super) intended: Nanos,
    pub(super) began: Nanos,
}

impl<'s> Slot<'s> {
    pub(super) fn new(shared: &'s Shared<'_>) -> Slot<'s> {
        let (before, after) = &shared.request;
        let request = [before.as_slice(), &[b'0'; ID_DIGITS], after].concat();
        Slot {
            socket: None,
            stage: Stage::Vacant,
            connections: 0,
            number: 0,
            watched: Watched::Nothing,
            request,
            kept: shared.plan.kept,
            reader: AnswerReader::new(&shared.names, 0),
            requests: 0,
            sent_before: 0,
            sent: 0,
            received: 0,
            intended: Nanos(0),
            began: Nanos(0),
        }
    }

    /// A request is under way.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.stage, Stage::Connecting | Stage::Sending | Stage::Receiving)
    }

    /// The connection, where there is one.
    pub(super) fn socket(&self) -> Option<&TcpSocket> {
        self.socket.as_ref()
    }

    /// What epoll is to tell of the connection from now on and was told so far, where the two differ. That it can be written to is asked
    /// for only by who waits for it: mostly nobody does, and a new connection would be told so at once.
    pub(super) fn watch(&mut self) -> Option<(Watched, Watched)> {
        let wanted = match self.stage {
            Stage::Connecting | Stage::Sending => Watched::Both,
            _ => Watched::Reading,
        };
        (self.watched < wanted).then(|| (std::mem::replace(&mut self.watched, wanted), wanted))
    }

    /// Begins the request with this id; a vacant slot opens a connection first, the driver's `number`th.
    pub(super) fn begin(&mut self, shared: &'s Shared<'_>, id: u64, number: u64, intended: Nanos) -> Step {
        self.intended = intended;
        self.began = shared.clock.now();
        self.reader = AnswerReader::new(&shared.names, id);
        write_digits(&mut self.request[shared.request.0.len()..][..ID_DIGITS], id);
        (self.sent, self.received) = (0, 0);
        if self.socket.is_none() {
            return self.open(shared, number);
        }
        self.give()
    }

    fn open(&mut self, shared: &Shared<'_>, number: u64) -> Step {
        let to = shared.plan.to;
        (self.number, self.requests, self.sent_before) = (number, 0, 0);
        self.connections = self.connections.wrapping_add(1);
        let opened = TcpSocket::open_from(to, shared.plan.source_of(number));
        let connected = opened.and_then(|socket| Ok((socket.connect_at_once(to)?, socket)));
        match connected {
            Ok((connected, socket)) => {
                self.socket = Some(socket);
                self.watched = Watched::Nothing;
                if connected {
                    return self.give();
                }
                self.stage = Stage::Connecting;
                Step::Waiting
            }
            Err(error) => self.failed(connect_failure(Signal::from(&error), None)),
        }
    }

    /// The kernel tells that something happened; `closing` when that is, or comes with, the end of the connection.
    pub(super) fn proceed(&mut self, closing: bool, buffer: &mut [u8]) -> Step {
        match self.stage {
            Stage::Vacant => Step::Waiting,
            Stage::Connecting => self.connect(),
            Stage::Sending => self.give(),
            Stage::Receiving => self.hear(closing, buffer),
            Stage::Idle => self.look(),
        }
    }

    fn connect(&mut self) -> Step {
        let Some(socket) = &self.socket else { return Step::Waiting };
        match socket.handshake() {
            Ok(true) => self.give(),
            Ok(false) => Step::Waiting,
            Err(error) => {
                let info = socket.info().ok();
                self.failed(connect_failure(Signal::from(&error), info))
            }
        }
    }

    /// Gives the rest of the request to the kernel.
    fn give(&mut self) -> Step {
        let Some(socket) = &self.socket else { return Step::Waiting };
        self.stage = Stage::Sending;
        while self.sent < self.request.len() {
            match socket.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Waiting,
                Err(error) => return self.lost(Signal::from(&error)),
            }
        }
        self.stage = Stage::Receiving;
        Step::Waiting
    }

    /// Reads of the answer what has come. Each new arrival is told by an event of its own, so a read that leaves room in the buffer was
    /// the last one for now; but the end of a connection is told once only, and may come with bytes before it.
    fn hear(&mut self, closing: bool, buffer: &mut [u8]) -> Step {
        loop {
            let Some(socket) = &self.socket else { return Step::Waiting };
            match socket.read(buffer) {
                Ok(0) if self.reader.ends_with_stream() => return self.answered(0, true),
                Ok(0) => return self.lost(Signal::Eof),
                Ok(count) => {
                    self.received += count as u64;
                    match self.reader.feed(&buffer[..count]) {
                        Progress::Whole { excess } => return self.answered(excess, closing),
                        Progress::Malformed => return self.wrong("not HTTP"),
                        Progress::More if !closing && count < buffer.len() => return Step::Waiting,
                        Progress::More => {}
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Waiting,
                Err(error) => return self.lost(Signal::from(&error)),
            }
        }
    }

    /// An answer is whole: what it says decides, and whether the connection can carry another.
    fn answered(&mut self, excess: usize, closing: bool) -> Step {
        let answer = self.reader.answer();
        let (status, last) = answer.map_or((None, true), |it| (it.status, it.last));
        match status {
            Some(200..=299) => {}
            Some(status @ 500..=599) => {
                return self.answered_badly(FailureClass::ServerError, &format!("status {status}"));
            }
            status => {
                let said = status.map_or_else(|| "no status".to_owned(), |it| format!("status {it}"));
                return self.wrong(&said);
            }
        }
        if excess > 0 {
            return self.answered_badly(FailureClass::UnsolicitedAnswer, "bytes nobody asked for");
        }
        self.requests += 1;
        self.sent_before += self.request.len() as u64;
        // A connection whose end came with the answer carries no other request: that nothing is lost with it is seen before the next write.
        if last || closing || !self.kept {
            self.close();
        } else {
            self.stage = Stage::Idle;
        }
        Step::Answered { closed: closing && !last }
    }

    /// Looks at a connection between two requests, without waiting: a FIN that is there before a write means that nothing is lost.
    pub(super) fn look(&mut self) -> Step {
        let Some(socket) = &self.socket else { return Step::Waiting };
        match socket.peek() {
            Ok(Peek::Quiet) => Step::Waiting,
            Ok(Peek::Closed) => {
                self.close();
                Step::IdleClosed
            }
            Ok(Peek::Bytes) => {
                let failure = saying(FailureClass::UnsolicitedAnswer, "bytes nobody asked for", 0, self.state());
                self.close();
                Step::IdleBroken(Box::new(failure))
            }
            Err(error) => {
                let signal = Signal::from(&error);
                let loss = Loss { signal, reused: true, sent: 0, acked: 0, received: 0, state: self.tcp_state() };
                let failure = loss.failure();
                self.close();
                Step::IdleBroken(Box::new(failure))
            }
        }
    }

    /// Its time is over.
    pub(super) fn expire(&mut self) -> Step {
        match (self.stage, &self.socket) {
            (Stage::Connecting, Some(socket)) => {
                let info = socket.info().ok();
                self.failed(connect_failure(Signal::Deadline, info))
            }
            (Stage::Sending | Stage::Receiving, _) => self.lost(Signal::Deadline),
            _ => Step::Waiting,
        }
    }

    /// Closes what is there.
    pub(super) fn close(&mut self) {
        self.socket = None;
        self.stage = Stage::Vacant;
    }

    /// The connection failed the request: the class from the kernel's view at this instant.
    fn lost(&mut self, signal: Signal) -> Step {
        let info = self.socket.as_ref().and_then(|socket| socket.info().ok());
        let acked = info.map_or(0, |info| info.bytes_acked).saturating_sub(SYN_BYTES + self.sent_before);
        let sent = self.sent as u64;
        let loss = Loss {
            signal,
            reused: self.requests > 0,
            sent,
            acked: acked.min(sent),
            received: self.received,
            state: info.map(|info| info.state),
        };
        self.failed(loss.failure())
    }

    fn wrong(&mut self, what: &str) -> Step {
        self.answered_badly(FailureClass::WrongAnswer, what)
    }

    fn answered_badly(&mut self, class: FailureClass, what: &str) -> Step {
        let failure = saying(class, what, self.sent as u64, self.state());
        self.failed(failure)
    }

    fn failed(&mut self, failure: Failure) -> Step {
        self.close();
        Step::Failed(Box::new(failure))
    }

    fn tcp_state(&self) -> Option<TcpState> {
        self.socket.as_ref().and_then(|socket| socket.info().ok()).map(|info| info.state)
    }

    fn state(&self) -> &'static str {
        self.tcp_state().map_or("", TcpState::name)
    }
}

fn saying(class: FailureClass, what: &str, acked: u64, state: &str) -> Failure {
    let evidence = SocketEvidence { signal: what.to_owned(), state: state.to_owned(), request_bytes_acked: acked };
    Failure { class, evidence }
}

/// A number with leading zeros.
fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_place() {
        let mut digits = *b"xxxxx";
        write_digits(&mut digits, 407);
        assert_eq!(&digits, b"00407");
    }
}

//! One place for a connection: handshake, a request, its answer, and the next one, step by step as the kernel tells.
//!
//! ```text
//!            begin                 written whole            answered whole
//!  Vacant ──────────► Connecting ──► Sending ──► Receiving ───────────────► Idle (kept) or Vacant
//!  Idle   ──────────────────────────► Sending
//! ```
//!
//! Where the queue of a UNIX listener is full a slot is Queueing before it is Sending, and asks again and again. A step that fails the
//! request leaves the slot vacant. On the loopback a connect and a write are mostly done at once: a request that meets no trouble costs
//! one write(2) and one read(2), and a connection for it four calls more at least (socket, connect, epoll_ctl, close).

use std::io;

use super::share::Share;
use super::wire::{Connect, Wire};
use crate::clock::Nanos;
use crate::drive::{DrivePlan, Pace, Peer};
use crate::kernel::clock::Clock;
use crate::kernel::stream::Peek;
use crate::kernel::tcp::TcpState;
use crate::load::answer::{AnswerReader, HeaderNames, Progress};
use crate::load::echo::EchoReader;
use crate::load::failure::{Failure, Loss, Signal, connect_failure};
use crate::load::protocol::Reader;
use crate::manifest::Protocol;
use crate::request::FailureClass;

/// Digits of a request's id: enough for any `u64`, always as many, so that they are written in place.
const ID_DIGITS: usize = 20;

/// What all slots share.
#[derive(Debug)]
pub(super) struct Shared<'p> {
    pub(super) plan: &'p DrivePlan,
    pub(super) clock: Clock,
    /// What of the plan is this thread's.
    pub(super) share: Share,
    /// The kernel tells when what is read has come. In a closed loop nobody asks: there the next request begins when it is read.
    pub(super) stamped: bool,
    /// The bytes of a request before its id, and after it.
    request: (Vec<u8>, Vec<u8>),
    names: HeaderNames,
}

impl<'p> Shared<'p> {
    pub(super) fn new(plan: &'p DrivePlan, clock: Clock, share: Share) -> Shared<'p> {
        let (before, after) = match plan.protocol {
            Protocol::Http1 => {
                let before = format!("GET {} HTTP/1.1\r\nHost: {}\r\nX-Request-Id: ", plan.path, plan.host);
                (before, if plan.kept { "\r\n\r\n" } else { "\r\nConnection: close\r\n\r\n" })
            }
            Protocol::Echo => (format!("{} ", plan.path), "\n"),
        };
        let request = (before.into_bytes(), after.as_bytes().to_vec());
        let stamped = matches!((plan.pace, &plan.to), (Pace::PerSecond(_), Peer::Tcp(_)));
        Shared { plan, clock, share, stamped, request, names: HeaderNames::default() }
    }
}

/// Where a slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No connection.
    Vacant,
    /// The handshake is under way.
    Connecting,
    /// There is no room in the listener's queue.
    Queueing,
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
    /// The kernel will not tell: [`Slot::connect_again`] is to ask.
    Queueing,
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
    socket: Option<Wire>,
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
    reader: Reader<'s>,
    /// Requests begun on this connection, and the bytes of those before this one.
    requests: u32,
    sent_before: u64,
    sent: usize,
    pub(super) received: u64,
    /// What is read is stamped; when the last of it came, on raw CLOCK_MONOTONIC.
    stamped: bool,
    arrived: Option<u64>,
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
            reader: match shared.plan.protocol {
                Protocol::Http1 => Reader::Http(AnswerReader::new(&shared.names, 0)),
                Protocol::Echo => Reader::Echo(EchoReader::new(Vec::new())),
            },
            requests: 0,
            sent_before: 0,
            sent: 0,
            received: 0,
            stamped: shared.stamped,
            arrived: None,
            intended: Nanos(0),
            began: Nanos(0),
        }
    }

    /// A request is under way.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.stage, Stage::Vacant | Stage::Idle)
    }

    /// The connection, where there is one.
    pub(super) fn socket(&self) -> Option<&Wire> {
        self.socket.as_ref()
    }

    /// What epoll is to tell of the connection from now on and was told so far, where the two differ. That it can be written to is asked
    /// for only by who waits for it: mostly nobody does, and a new connection would be told so at once.
    pub(super) fn watch(&mut self) -> Option<(Watched, Watched)> {
        let wanted = match self.stage {
            // A socket that has never connected is told to have hung up.
            Stage::Queueing => Watched::Nothing,
            Stage::Connecting | Stage::Sending => Watched::Both,
            _ => Watched::Reading,
        };
        (self.watched < wanted).then(|| (std::mem::replace(&mut self.watched, wanted), wanted))
    }

    /// Begins the request with this id; a vacant slot opens a connection first, the driver's `number`th.
    pub(super) fn begin(&mut self, shared: &'s Shared<'_>, id: u64, number: u64, intended: Nanos) -> Step {
        self.intended = intended;
        self.began = shared.clock.now();
        write_digits(&mut self.request[shared.request.0.len()..][..ID_DIGITS], id);
        match &mut self.reader {
            Reader::Http(reader) => *reader = AnswerReader::new(&shared.names, id),
            Reader::Echo(reader) => reader.again(&self.request),
        }
        (self.sent, self.received, self.arrived) = (0, 0, None);
        if self.socket.is_none() {
            return self.open(shared, number);
        }
        self.give()
    }

    fn open(&mut self, shared: &Shared<'_>, number: u64) -> Step {
        (self.number, self.requests, self.sent_before) = (number, 0, 0);
        self.connections = self.connections.wrapping_add(1);
        self.watched = Watched::Nothing;
        match Wire::open(shared, number) {
            Ok(socket) => {
                self.socket = Some(socket);
                self.connect_to(shared)
            }
            Err(error) => self.failed(connect_failure(Signal::from(&error), None)),
        }
    }

    fn connect_to(&mut self, shared: &Shared<'_>) -> Step {
        let Some(socket) = &self.socket else { return Step::Waiting };
        match socket.connect(&shared.plan.to) {
            Ok(Connect::Done) => self.give(),
            Ok(Connect::UnderWay) => self.greet(),
            Ok(Connect::Full) => {
                self.stage = Stage::Queueing;
                Step::Queueing
            }
            Err(error) => self.failed(connect_failure(Signal::from(&error), None)),
        }
    }

    /// On the loopback the handshake is over when a nonblocking connect(2) returns, although it says that it is under way. A write knows, and
    /// where the handshake has failed says why: the error that a look would have found.
    fn greet(&mut self) -> Step {
        let Some(socket) = &self.socket else { return Step::Waiting };
        match socket.write(&self.request) {
            Ok(count) => {
                self.sent = count;
                self.give()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.stage = Stage::Connecting;
                Step::Waiting
            }
            // The handshake was complete, and a FIN and a RST came after it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.lost(Signal::from(&error)),
            Err(error) => {
                let info = socket.info();
                self.failed(connect_failure(Signal::from(&error), info))
            }
        }
    }

    /// Asks once more for room in the listener's queue, where the connection of this number has none yet.
    pub(super) fn connect_again(&mut self, shared: &Shared<'_>, connection: u32) -> Step {
        if self.stage == Stage::Queueing && self.connections == connection {
            return self.connect_to(shared);
        }
        Step::Waiting
    }

    /// The kernel tells that something happened; `closing` when that is, or comes with, the end of the connection.
    pub(super) fn proceed(&mut self, closing: bool, buffer: &mut [u8]) -> Step {
        match self.stage {
            Stage::Vacant | Stage::Queueing => Step::Waiting,
            Stage::Connecting => self.shake_hands(),
            Stage::Sending => self.give(),
            Stage::Receiving => self.hear(closing, buffer),
            Stage::Idle => self.look(),
        }
    }

    fn shake_hands(&mut self) -> Step {
        let Some(socket) = &self.socket else { return Step::Waiting };
        match socket.handshake() {
            Ok(true) => self.give(),
            Ok(false) => Step::Waiting,
            Err(error) => {
                let info = socket.info();
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
            let read =
                if self.stamped { socket.read_stamped(buffer) } else { socket.read(buffer).map(|it| (it, None)) };
            match read {
                Ok((0, _)) if self.reader.ends_with_stream() => return self.answered(0, true),
                Ok((0, _)) => return self.lost(Signal::Eof),
                Ok((count, arrived)) => {
                    self.received += count as u64;
                    self.arrived = arrived;
                    match self.reader.feed(&buffer[..count]) {
                        Progress::Whole { excess } => return self.answered(excess, closing),
                        Progress::Malformed => {
                            return self.answered_badly(FailureClass::WrongAnswer, self.reader.malformed());
                        }
                        Progress::More if !closing && count < buffer.len() => return Step::Waiting,
                        Progress::More => {}
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Waiting,
                Err(error) => return self.lost(Signal::from(&error)),
            }
        }
    }

    /// When the last bytes of the answer came that was read now: as the kernel says, where it does. Its stamps are of CLOCK_REALTIME; one
    /// outside of the request means that somebody has set that clock meanwhile.
    pub(super) fn arrived(&self, clock: &Clock, now: Nanos) -> Nanos {
        let stamp = self.arrived.map(|it| clock.at(it));
        stamp.filter(|it| (self.began..=now).contains(it)).unwrap_or(now)
    }

    /// An answer is whole: what it says decides, and whether the connection can carry another.
    fn answered(&mut self, excess: usize, closing: bool) -> Step {
        let Some(answer) = self.reader.answer() else {
            return self.answered_badly(FailureClass::WrongAnswer, self.reader.malformed());
        };
        if let Some((class, what)) = answer.fault() {
            return self.answered_badly(class, &what);
        }
        if excess > 0 {
            return self.answered_badly(FailureClass::UnsolicitedAnswer, "bytes nobody asked for");
        }
        self.requests += 1;
        self.sent_before += self.request.len() as u64;
        // A connection whose end came with the answer carries no other request: that nothing is lost with it is seen before the next write.
        if answer.last || closing || !self.kept {
            self.close();
        } else {
            self.stage = Stage::Idle;
        }
        Step::Answered { closed: closing && !answer.last }
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
                let failure =
                    Failure::told(FailureClass::UnsolicitedAnswer, "bytes nobody asked for").seen(self.state(), 0);
                self.close();
                Step::IdleBroken(Box::new(failure))
            }
            Err(error) => {
                let signal = Signal::from(&error);
                let loss = Loss { signal, reused: true, sent: 0, acked: 0, received: 0, state: self.state() };
                let failure = loss.failure();
                self.close();
                Step::IdleBroken(Box::new(failure))
            }
        }
    }

    /// Its time is over.
    pub(super) fn expire(&mut self) -> Step {
        match (self.stage, &self.socket) {
            (Stage::Connecting | Stage::Queueing, Some(socket)) => {
                let info = socket.info();
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
        let info = self.socket.as_ref().and_then(Wire::info);
        let sent = self.sent as u64;
        let acked = self.socket.as_ref().map_or(0, |socket| socket.acknowledged(info, sent, self.sent_before));
        let loss = Loss {
            signal,
            reused: self.requests > 0,
            sent,
            acked,
            received: self.received,
            state: info.map(|info| info.state),
        };
        self.failed(loss.failure())
    }

    fn answered_badly(&mut self, class: FailureClass, what: &str) -> Step {
        let failure = Failure::told(class, what).seen(self.state(), self.sent as u64);
        self.failed(failure)
    }

    fn failed(&mut self, failure: Failure) -> Step {
        self.close();
        Step::Failed(Box::new(failure))
    }

    fn state(&self) -> Option<TcpState> {
        self.socket.as_ref().and_then(Wire::info).map(|info| info.state)
    }
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

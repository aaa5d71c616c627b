//! One request and its answer, on a connection that is given or on one of its own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Answer;
use super::connection::{Connection, Idle};
use super::failure::Failure;
use super::ledger::{Attempt, Ledger};
use super::protocol::{Answers, Ask, Reader};
use crate::request::Ending;
use crate::target::TargetEndpoint;

/// What all requests of one load share.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) ledger: Ledger,
    to: SocketAddr,
    limit: Duration,
    pub(super) answers: Answers,
    /// An answer can say that it is the last one on its connection.
    pub(super) ends_announced: bool,
}

/// A connection's part of a good ending: how the request ended, whether the connection can carry another one, and
/// whether bytes lie behind the answer.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) ending: Result<Ending, Failure>,
    pub(super) last: bool,
    pub(super) excess: bool,
}

impl Exchange {
    /// For one endpoint; `limit` is the deadline of each request, counted from its begin.
    pub(super) fn new(ledger: Ledger, endpoint: &TargetEndpoint, limit: Duration) -> Exchange {
        let ends_announced = endpoint.announces_ends();
        Exchange { ledger, to: endpoint.address, limit, answers: Answers::of(endpoint), ends_announced }
    }

    /// The deadline of a request that begins now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// Opens a connection for the attempt and looks at it once before anything is sent on it.
    ///
    /// # Errors
    /// The failure to record.
    pub(super) async fn open(&self, attempt: &mut Attempt, deadline: Instant) -> Result<Connection, Failure> {
        self.open_with(None, attempt, deadline).await
    }

    /// The same at another address.
    ///
    /// # Errors
    /// The failure to record.
    pub(super) async fn open_at(
        &self,
        to: SocketAddr,
        attempt: &mut Attempt,
        deadline: Instant,
    ) -> Result<Connection, Failure> {
        self.opened((to, None), attempt, deadline).await
    }

    /// The same with a bound for the kernel's receive buffer.
    ///
    /// # Errors
    /// The failure to record.
    pub(super) async fn open_with(
        &self,
        receive_buffer: Option<usize>,
        attempt: &mut Attempt,
        deadline: Instant,
    ) -> Result<Connection, Failure> {
        self.opened((self.to, receive_buffer), attempt, deadline).await
    }

    async fn opened(
        &self,
        to: (SocketAddr, Option<usize>),
        attempt: &mut Attempt,
        deadline: Instant,
    ) -> Result<Connection, Failure> {
        let connection = Connection::open(to, deadline, attempt, &self.ledger).await?;
        let failure = match connection.look() {
            Idle::Quiet => return Ok(connection),
            Idle::Closed => connection.closed_unused(),
            Idle::Broken(failure) => failure,
        };
        connection.close(&self.ledger);
        Err(failure)
    }

    /// A whole request on a connection of its own. `opened` is told once the request was sent, or the handshake
    /// failed: then with false.
    pub(super) async fn alone(&self, mut attempt: Attempt, ask: &Ask, opened: impl FnOnce(bool)) {
        let deadline = self.deadline();
        let mut connection = match self.open(&mut attempt, deadline).await {
            Ok(connection) => connection,
            Err(failure) => {
                opened(attempt.connected.is_some());
                return self.ledger.end(attempt, Err(failure));
            }
        };
        connection.carry(&mut attempt);
        let sent = connection.send(&ask.bytes(attempt.id), deadline, &mut attempt, &self.ledger).await;
        opened(true);
        let ending = match sent {
            Ok(()) => {
                let mut reader = self.answers.reader(ask, attempt.id);
                let told = self.hear(&mut connection, &mut reader, &mut attempt, deadline).await;
                told.and_then(|told| if told.excess { Err(connection.unsolicited()) } else { told.ending })
            }
            Err(failure) => Err(failure),
        };
        // First ended, then closed: the close is no part of the request's time.
        self.ledger.end(attempt, ending);
        connection.close(&self.ledger);
    }

    /// A request on a connection of its own with a pause: before its first byte (`first` is 0), or after so many bytes.
    /// The deadline counts anew from the end of the pause.
    pub(super) async fn hesitant(
        &self,
        mut attempt: Attempt,
        ask: &Ask,
        first: usize,
        resume: impl Future<Output = ()>,
    ) {
        let mut connection = match self.open(&mut attempt, self.deadline()).await {
            Ok(connection) => connection,
            Err(failure) => return self.ledger.end(attempt, Err(failure)),
        };
        connection.carry(&mut attempt);
        let ending = self.in_two(&mut connection, &mut attempt, (ask, first), resume).await;
        self.ledger.end(attempt, ending);
        connection.close(&self.ledger);
    }

    async fn in_two(
        &self,
        connection: &mut Connection,
        attempt: &mut Attempt,
        (ask, first): (&Ask, usize),
        resume: impl Future<Output = ()>,
    ) -> Result<Ending, Failure> {
        let bytes = ask.bytes(attempt.id);
        let (now, later) = bytes.split_at(first.min(bytes.len()));
        connection.give(now, self.deadline(), attempt).await?;
        let gauges = &self.ledger.gauges;
        gauges.opened(attempt.pattern);
        let mut reader = self.answers.reader(ask, attempt.id);
        let paused = connection.pause(resume, &mut reader, attempt, &self.ledger).await;
        gauges.closed(attempt.pattern);
        paused?;
        let deadline = self.deadline();
        connection.send(later, deadline, attempt, &self.ledger).await?;
        let told = self.hear(connection, &mut reader, attempt, deadline).await?;
        if told.excess { Err(connection.unsolicited()) } else { told.ending }
    }

    /// Sends on a connection and hears the answer; it becomes the connection's next request.
    ///
    /// # Errors
    /// The failure to record; the connection is then of no further use.
    pub(super) async fn on(
        &self,
        connection: &mut Connection,
        attempt: &mut Attempt,
        ask: &Ask,
        deadline: Instant,
    ) -> Result<Told, Failure> {
        connection.carry(attempt);
        connection.send(&ask.bytes(attempt.id), deadline, attempt, &self.ledger).await?;
        self.hear(connection, &mut self.answers.reader(ask, attempt.id), attempt, deadline).await
    }

    pub(super) async fn hear(
        &self,
        connection: &mut Connection,
        reader: &mut Reader<'_>,
        attempt: &mut Attempt,
        deadline: Instant,
    ) -> Result<Told, Failure> {
        let (answer, excess) = connection.receive(reader, deadline, attempt, &self.ledger).await?;
        let ending = judge(answer, connection, attempt);
        Ok(Told { ending, last: answer.last, excess: excess > 0 })
    }
}

/// A whole answer is good when its status, if it has one, is 2xx and it answers this very request.
pub(super) fn judge(answer: Answer, connection: &Connection, attempt: &mut Attempt) -> Result<Ending, Failure> {
    let Answer { status, version, close_announced, .. } = answer;
    match answer.fault() {
        None => Ok(Ending::Answered { status, version, close_announced }),
        Some((class, what)) => Err(connection.answered_badly(class, &what, attempt)),
    }
}

//! Long bodies, read or sent slowly until they are released: an answer and a request that span an upgrade.

use std::io;

use tokio::sync::watch;

use super::answer::Sequence;
use super::connection::Connection;
use super::crew::asked;
use super::driver::LoadError;
use super::exchange::{Exchange, judge};
use super::failure::Failure;
use super::ledger::Attempt;
use super::protocol::{Ask, Reader};
use super::schedule::{
    PIECE_EVERY, READER_BUFFER, Rhythm, Ticker, UPLOAD_BYTES, UPLOAD_KEPT_BACK, UPLOAD_PIECE, UPLOAD_REST_PIECES,
};
use crate::kernel::clock::Clock;
use crate::manifest::Stream;
use crate::request::Ending;

/// Which body.
#[derive(Debug)]
pub(super) enum Body {
    /// A long answer.
    Answer(Ask, Stream),
    /// A long request.
    Request(Ask),
}

/// The time of each piece, until the body is released, or the load stopped.
#[derive(Debug)]
pub(super) struct Held {
    ticker: Ticker,
    released: watch::Receiver<()>,
    stop: watch::Receiver<bool>,
}

impl Held {
    /// Held from now on: a release of before does not count.
    ///
    /// # Errors
    /// When there is no descriptor left for the timer.
    pub(super) fn new(clock: Clock, released: &watch::Receiver<()>, stop: &watch::Receiver<bool>) -> io::Result<Held> {
        let ticker = Ticker::new(clock, clock.now(), Rhythm::Even(PIECE_EVERY))?;
        let (mut released, stop) = (released.clone(), stop.clone());
        released.mark_unchanged();
        Ok(Held { ticker, released, stop })
    }

    /// Waits until the next piece is due; false when the body is held no longer.
    async fn piece(&mut self) -> io::Result<bool> {
        tokio::select! {
            biased;
            () = asked(&mut self.stop) => Ok(false),
            // A conductor that is gone releases too.
            _ = self.released.changed() => Ok(false),
            tick = self.ticker.tick() => tick.map(|_| true),
        }
    }

    /// Waits for the time of the next piece of one that is held no longer; false when the load stops.
    async fn tick(&mut self) -> io::Result<bool> {
        tokio::select! {
            biased;
            () = asked(&mut self.stop) => Ok(false),
            tick = self.ticker.tick() => tick.map(|_| true),
        }
    }
}

impl Exchange {
    /// A whole exchange with a long body, on a connection of its own.
    pub(super) async fn slowly(&self, mut attempt: Attempt, body: &Body, mut held: Held) {
        let receive_buffer = match body {
            Body::Answer(..) => Some(READER_BUFFER),
            Body::Request(_) => None,
        };
        let mut connection = match self.open_with(receive_buffer, &mut attempt, self.deadline()).await {
            Ok(connection) => connection,
            Err(failure) => return self.ledger.end(attempt, Err(failure)),
        };
        connection.carry(&mut attempt);
        let ending = match body {
            Body::Answer(ask, stream) => {
                let read = self.read_slowly(&mut connection, &mut attempt, (ask, stream), &mut held).await;
                self.ledger.gauges.leave_unread(attempt.id, None);
                read
            }
            Body::Request(ask) => self.send_slowly(&mut connection, &mut attempt, ask, &mut held).await,
        };
        self.ledger.end(attempt, ending);
        connection.close(&self.ledger);
    }

    async fn read_slowly(
        &self,
        connection: &mut Connection,
        attempt: &mut Attempt,
        (ask, stream): (&Ask, &Stream),
        held: &mut Held,
    ) -> Result<Ending, Failure> {
        connection.send(&ask.bytes(attempt.id), self.deadline(), attempt, &self.ledger).await?;
        let reader = self.answers.reader(ask, attempt.id);
        let mut reader = reader.expecting(Sequence::new(stream.bytes, stream.period));
        while self.timed(held.piece()).await {
            if connection.sip(&mut reader, attempt, &self.ledger)? {
                break;
            }
            // The head counts as read body: a few hundred bytes of 16 MiB, and never to the target's harm.
            let unread = stream.bytes.saturating_sub(attempt.bytes_received);
            self.ledger.gauges.leave_unread(attempt.id, Some(unread));
        }
        self.ledger.gauges.leave_unread(attempt.id, None);
        let (answer, excess) = connection.receive(&mut reader, self.deadline(), attempt, &self.ledger).await?;
        let ending = judge(answer, connection, attempt)?;
        match reader.body_problem() {
            Some(problem) => Err(connection.wrong(&problem, attempt)),
            None if excess > 0 => Err(connection.unsolicited()),
            None => Ok(ending),
        }
    }

    async fn send_slowly(
        &self,
        connection: &mut Connection,
        attempt: &mut Attempt,
        ask: &Ask,
        held: &mut Held,
    ) -> Result<Ending, Failure> {
        connection.give(&ask.bytes(attempt.id), self.deadline(), attempt).await?;
        let body = [b'.'; UPLOAD_BYTES];
        let gauges = &self.ledger.gauges;
        gauges.opened(attempt.pattern);
        let mut reader = self.answers.reader(ask, attempt.id);
        let begun = self.dribble(connection, (&mut reader, &mut *attempt), &body, held).await;
        gauges.closed(attempt.pattern);
        let rest = self.trickle(connection, (&mut reader, &mut *attempt), begun?, held).await?;
        let deadline = self.deadline();
        connection.send(rest, deadline, attempt, &self.ledger).await?;
        let told = self.hear(connection, &mut reader, attempt, deadline).await?;
        if told.excess { Err(connection.unsolicited()) } else { told.ending }
    }

    /// Sends pieces until the body is released; what is left of it then. An answer before its end is unsolicited.
    async fn dribble<'a>(
        &self,
        connection: &Connection,
        (reader, attempt): (&mut Reader<'_>, &mut Attempt),
        body: &'a [u8],
        held: &mut Held,
    ) -> Result<&'a [u8], Failure> {
        let mut left = body;
        while self.due(connection, (&mut *reader, &mut *attempt), held.piece()).await? {
            if left.len() > UPLOAD_KEPT_BACK {
                left = self.give_piece(connection, attempt, left, UPLOAD_PIECE).await?;
            }
        }
        Ok(left)
    }

    /// Sends all but the last piece of what is left, at the pace of before, unless the load stops; what is left then.
    async fn trickle<'a>(
        &self,
        connection: &Connection,
        (reader, attempt): (&mut Reader<'_>, &mut Attempt),
        left: &'a [u8],
        held: &mut Held,
    ) -> Result<&'a [u8], Failure> {
        let length = left.len().div_ceil(UPLOAD_REST_PIECES).max(1);
        let mut left = left;
        while left.len() > length && self.due(connection, (&mut *reader, &mut *attempt), held.tick()).await? {
            left = self.give_piece(connection, attempt, left, length).await?;
        }
        Ok(left)
    }

    /// Waits for the time of the next piece, on a connection that must stay quiet; false when there is none.
    async fn due(
        &self,
        connection: &Connection,
        (reader, attempt): (&mut Reader<'_>, &mut Attempt),
        piece: impl Future<Output = io::Result<bool>>,
    ) -> Result<bool, Failure> {
        let mut due = false;
        connection.pause(async { due = self.timed(piece).await }, reader, attempt, &self.ledger).await?;
        Ok(due)
    }

    /// Sends one piece; gives what is left.
    async fn give_piece<'a>(
        &self,
        connection: &Connection,
        attempt: &mut Attempt,
        left: &'a [u8],
        length: usize,
    ) -> Result<&'a [u8], Failure> {
        let (piece, rest) = left.split_at(length);
        connection.give(piece, self.deadline(), attempt).await?;
        Ok(rest)
    }

    /// Without its timer there is no next piece, and the run has a fault.
    async fn timed(&self, piece: impl Future<Output = io::Result<bool>>) -> bool {
        piece.await.unwrap_or_else(|error| {
            self.ledger.fault(LoadError::Timer(error));
            false
        })
    }
}

//! A kept connection: used again and again after a think time, watched in between, replaced when it ends.

use std::rc::Rc;

use tokio::sync::watch;

use super::connection::{Connection, Idle};
use super::crew::asked;
use super::driver::LoadError;
use super::exchange::Exchange;
use super::failure::Failure;
use super::protocol::Ask;
use super::schedule::Ticker;
use crate::clock::Nanos;
use crate::request::{FailureClass, Pattern};

/// One place of the busy or the idle pattern: its schedule, and the connection that it has at the moment.
#[derive(Debug)]
pub(super) struct Kept {
    exchange: Rc<Exchange>,
    pattern: Pattern,
    ask: Rc<Ask>,
    ticker: Ticker,
    connection: Option<Connection>,
    /// It has been answered: one that waits to be accepted is nobody's yet, and no harm to it is one to a kept connection.
    counted: bool,
    /// How the connection broke while nothing was sent on it: the next scheduled request is recorded with it.
    broken: Option<(Connection, Failure)>,
    /// When the request before was over.
    free: Nanos,
}

enum News {
    Tick(Nanos),
    Idle(Idle),
    Stop,
}

impl Kept {
    /// A place without a connection yet: its first request opens one.
    pub(super) fn new(exchange: Rc<Exchange>, pattern: Pattern, ask: Rc<Ask>, ticker: Ticker) -> Kept {
        Kept { exchange, pattern, ask, ticker, connection: None, counted: false, broken: None, free: Nanos(0) }
    }

    /// Sends on schedule until asked to stop, then closes the idle connection cleanly.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            match self.news(&mut stop).await {
                Ok(News::Tick(intended)) => self.request(intended).await,
                Ok(News::Idle(idle)) => self.found(idle),
                Ok(News::Stop) => break,
                Err(error) => {
                    self.exchange.ledger.fault(error);
                    break;
                }
            }
        }
        if let Some(connection) = &self.connection {
            let idle = connection.look();
            self.found(idle);
        }
        // No tick will come that could tell of it: tell now.
        if self.broken.is_some() {
            self.request(self.exchange.ledger.clock.now()).await;
        }
        self.close();
    }

    async fn news(&mut self, stop: &mut watch::Receiver<bool>) -> Result<News, LoadError> {
        let Kept { ticker, connection, .. } = self;
        let disturbed = async {
            match connection {
                Some(connection) => connection.disturbed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = asked(stop) => Ok(News::Stop),
            tick = ticker.tick() => tick.map(News::Tick).map_err(LoadError::Timer),
            idle = disturbed => Ok(News::Idle(idle)),
        }
    }

    /// Draws the consequence of a look at the idle connection.
    fn found(&mut self, idle: Idle) {
        match idle {
            Idle::Quiet => {}
            Idle::Closed => {
                self.exchange.ledger.count(|account| account.idle_closes += 1);
                // An announced close would have made us close first.
                self.closed_unannounced();
                self.close();
            }
            Idle::Broken(failure) => {
                if failure.class == FailureClass::IdleReset {
                    self.closed_unannounced();
                }
                self.broken = self.take().map(|connection| (connection, failure));
            }
        }
    }

    async fn request(&mut self, intended: Nanos) {
        let exchange = Rc::clone(&self.exchange);
        let mut attempt = exchange.ledger.schedule(self.pattern, intended, self.free);
        // Immediately before the write: a FIN that is there already means that nothing was lost.
        if let Some(connection) = &self.connection {
            let idle = connection.look();
            self.found(idle);
        }
        if let Some((mut connection, failure)) = self.broken.take() {
            connection.carry(&mut attempt);
            exchange.ledger.end(attempt, Err(failure));
            connection.close(&exchange.ledger);
            return;
        }
        let deadline = exchange.deadline();
        if self.connection.is_none() {
            match exchange.open(&mut attempt, deadline).await {
                Ok(connection) => self.connection = Some(connection),
                Err(failure) => {
                    exchange.ledger.end(attempt, Err(failure));
                    self.free = exchange.ledger.clock.now();
                    return;
                }
            }
        }
        let Some(connection) = &mut self.connection else { return };
        let told = exchange.on(connection, &mut attempt, &self.ask, deadline).await;
        let reused = attempt.nth_on_connection > 0;
        match told {
            Ok(told) => {
                exchange.ledger.end(attempt, told.ending);
                if !std::mem::replace(&mut self.counted, true) {
                    exchange.ledger.gauges.opened(self.pattern);
                }
                if told.excess {
                    let unsolicited = connection.unsolicited();
                    self.found(Idle::Broken(unsolicited));
                } else if told.last {
                    self.close();
                }
            }
            Err(failure) => {
                if reused && closed_by_peer(failure.class) {
                    self.closed_unannounced();
                }
                exchange.ledger.end(attempt, Err(failure));
                self.close();
            }
        }
        self.free = exchange.ledger.clock.now();
    }

    /// The server ended the connection, and its last answer did not say so.
    fn closed_unannounced(&self) {
        if self.exchange.ends_announced {
            self.exchange.ledger.count(|account| account.unannounced_closes += 1);
        }
    }

    fn take(&mut self) -> Option<Connection> {
        let connection = self.connection.take()?;
        if std::mem::take(&mut self.counted) {
            self.exchange.ledger.gauges.closed(self.pattern);
        }
        Some(connection)
    }

    fn close(&mut self) {
        if let Some(connection) = self.take() {
            connection.close(&self.exchange.ledger);
        }
    }
}

/// On a reused connection these mean that the server ended it.
fn closed_by_peer(class: FailureClass) -> bool {
    matches!(
        class,
        FailureClass::Crossed
            | FailureClass::Unread
            | FailureClass::Taken
            | FailureClass::Truncated
            | FailureClass::IdleReset
    )
}

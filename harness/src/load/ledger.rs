//! The books of the load: every request that was meant, how it ended, and what other threads may see meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::driver::{LoadError, LoadRecord};
use super::failure::Failure;
use crate::clock::Nanos;
use crate::id::Version;
use crate::kernel::clock::Clock;
use crate::kernel::tcp::TcpInfo;
use crate::request::{Ending, LoadAccount, Pattern, Request, TlsSession};

/// Room for a minute of all patterns together; more only costs a reallocation.
const RECORDS_AT_FIRST: usize = 64 * 1024;

/// What other threads may read at any time.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    /// Open kept connections of the busy pattern that have been answered.
    pub(super) busy: AtomicU32,
    /// Those of the idle pattern.
    pub(super) idle: AtomicU32,
    /// Open connections that have sent nothing yet on purpose.
    pub(super) silent: AtomicU32,
    /// Open connections that have sent half a head.
    pub(super) half: AtomicU32,
    /// Open connections that have sent a part of a body.
    pub(super) upload: AtomicU32,
    /// Open WebSockets.
    pub(super) websocket: AtomicU32,
    /// Streams that are sent and not ended.
    pub(super) h2: AtomicU32,
    /// Open connections whose handshake the server has not seen the end of.
    pub(super) half_open: AtomicU32,
    /// Requests sent and not ended.
    pub(super) in_flight: AtomicU32,
    /// Those of them that are slow.
    pub(super) slow_in_flight: AtomicU32,
    /// Requests that have ended.
    pub(super) ended: AtomicU32,
    /// Bytes that each slow reader has not read of its answer, by request.
    unread: Mutex<BTreeMap<u64, u64>>,
    /// The highest version so far and when it was first seen; locked only when it rises.
    newest: Mutex<Option<(Version, Nanos)>>,
}

impl Gauges {
    /// The gauge of the open connections of a pattern that has one.
    pub(super) fn open(&self, pattern: Pattern) -> Option<&AtomicU32> {
        match pattern {
            Pattern::Busy => Some(&self.busy),
            Pattern::Idle => Some(&self.idle),
            Pattern::Silent => Some(&self.silent),
            Pattern::Half => Some(&self.half),
            Pattern::Upload => Some(&self.upload),
            Pattern::HalfOpen => Some(&self.half_open),
            Pattern::Websocket => Some(&self.websocket),
            Pattern::H2 => Some(&self.h2),
            Pattern::Fresh
            | Pattern::Slow
            | Pattern::Reader
            | Pattern::Parked
            | Pattern::Tls
            | Pattern::Flow
            | Pattern::Canary => None,
        }
    }

    /// One more open connection of the pattern.
    pub(super) fn opened(&self, pattern: Pattern) {
        if let Some(gauge) = self.open(pattern) {
            gauge.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One less.
    pub(super) fn closed(&self, pattern: Pattern) {
        if let Some(gauge) = self.open(pattern) {
            gauge.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// What each slow reader has not read yet.
    pub(super) fn unread(&self) -> Vec<u64> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    }

    /// A slow reader has so much to read yet; `None`: it reads no longer.
    pub(super) fn leave_unread(&self, request: u64, bytes: Option<u64>) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        match bytes {
            Some(bytes) => unread.insert(request, bytes),
            None => unread.remove(&request),
        };
    }

    /// The highest version that any answer carried, and when first.
    pub(super) fn newest(&self) -> Option<(Version, Nanos)> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raise(&self, version: Version, at: Nanos) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((version, at));
    }
}

/// A request that was meant and has not ended.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) id: u64,
    pub(super) pattern: Pattern,
    pub(super) connection: u64,
    pub(super) local_port: u16,
    pub(super) nth_on_connection: u32,
    pub(super) intended: Nanos,
    /// The instant from which a delay is ours: when it was meant, or when its connection became free, if later.
    due: Nanos,
    pub(super) began: Nanos,
    pub(super) connected: Option<Nanos>,
    pub(super) sent: Option<Nanos>,
    pub(super) first_byte: Option<Nanos>,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) retransmits: u32,
    pub(super) tls: Option<TlsSession>,
}

impl Attempt {
    /// Takes what the record keeps of the kernel's view.
    pub(super) fn note(&mut self, info: Option<TcpInfo>) {
        if let Some(info) = info {
            self.retransmits = info.total_retrans;
        }
    }
}

/// Ids, records and counts; belongs to the load thread.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) clock: Clock,
    pub(super) gauges: Arc<Gauges>,
    endpoint: usize,
    next_id: Cell<u64>,
    next_connection: Cell<u64>,
    newest: Cell<Option<Version>>,
    records: RefCell<Vec<Request>>,
    lateness: RefCell<Vec<u64>>,
    account: RefCell<LoadAccount>,
    fault: RefCell<Option<LoadError>>,
}

impl Ledger {
    /// Empty books; ids of requests and of connections both count from `first_id`.
    pub(super) fn new(clock: Clock, gauges: Arc<Gauges>, endpoint: usize, first_id: u64) -> Ledger {
        Ledger {
            clock,
            gauges,
            endpoint,
            next_id: Cell::new(first_id),
            next_connection: Cell::new(first_id),
            newest: Cell::new(None),
            records: RefCell::new(Vec::with_capacity(RECORDS_AT_FIRST)),
            lateness: RefCell::new(Vec::with_capacity(RECORDS_AT_FIRST)),
            account: RefCell::new(LoadAccount::default()),
            fault: RefCell::new(None),
        }
    }

    /// Enters a request that is meant to be sent at `intended`. `free` is when its kept connection became free of the
    /// request before: waiting for the target is not lateness of the schedule.
    pub(super) fn schedule(&self, pattern: Pattern, intended: Nanos, free: Nanos) -> Attempt {
        self.account.borrow_mut().scheduled += 1;
        Attempt {
            id: self.next_id.replace(self.next_id.get() + 1),
            pattern,
            connection: 0,
            local_port: 0,
            nth_on_connection: 0,
            intended,
            due: intended.max(free),
            began: self.clock.now(),
            connected: None,
            sent: None,
            first_byte: None,
            bytes_sent: 0,
            bytes_received: 0,
            retransmits: 0,
            tls: None,
        }
    }

    /// A number for a new connection, whether or not it comes about.
    pub(super) fn connection(&self) -> u64 {
        self.next_connection.replace(self.next_connection.get() + 1)
    }

    /// The last byte of a request was given to the kernel.
    pub(super) fn sent(&self, attempt: &mut Attempt) {
        attempt.sent = Some(self.clock.now());
        self.gauges.in_flight.fetch_add(1, Ordering::Relaxed);
        if attempt.pattern == Pattern::Slow {
            self.gauges.slow_in_flight.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends a request.
    pub(super) fn end(&self, attempt: Attempt, ending: Result<Ending, Failure>) {
        let ended = self.clock.now();
        self.gauges.ended.fetch_add(1, Ordering::Relaxed);
        if attempt.sent.is_some() {
            self.gauges.in_flight.fetch_sub(1, Ordering::Relaxed);
            if attempt.pattern == Pattern::Slow {
                self.gauges.slow_in_flight.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let ending = ending.unwrap_or_else(|Failure { class, evidence }| Ending::Failed { class, evidence });
        // Who answers datagrams need not be who accepts connections.
        if let Ending::Answered { version: Some(version), .. } = ending
            && attempt.pattern != Pattern::Flow
            && self.newest.get().is_none_or(|newest| newest < version)
        {
            self.newest.set(Some(version));
            self.gauges.raise(version, ended);
        }
        // These have no schedule: they are sent as fast as they connect, or when they are let go.
        if !matches!(attempt.pattern, Pattern::Parked | Pattern::HalfOpen) {
            let late = attempt.began.since(attempt.due);
            self.lateness.borrow_mut().push(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
        }
        self.account.borrow_mut().ended += 1;
        self.records.borrow_mut().push(Request {
            id: attempt.id,
            pattern: attempt.pattern,
            endpoint: self.endpoint,
            connection: attempt.connection,
            local_port: attempt.local_port,
            nth_on_connection: attempt.nth_on_connection,
            intended: attempt.intended,
            began: attempt.began,
            connected: attempt.connected,
            sent: attempt.sent,
            first_byte: attempt.first_byte,
            ended,
            bytes_sent: attempt.bytes_sent,
            bytes_received: attempt.bytes_received,
            retransmits: attempt.retransmits,
            tls: attempt.tls,
            ending,
        });
    }

    /// Changes a count.
    pub(super) fn count(&self, change: impl FnOnce(&mut LoadAccount)) {
        change(&mut self.account.borrow_mut());
    }

    /// Keeps the first failure of the driver itself.
    pub(super) fn fault(&self, error: LoadError) {
        self.fault.borrow_mut().get_or_insert(error);
    }

    /// Checks the conservation law and hands the books over.
    ///
    /// # Errors
    /// The driver's own failure, or [`LoadError::Unbalanced`].
    pub(super) fn close(&self) -> Result<LoadRecord, LoadError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let mut requests = self.records.take();
        let mut account = self.account.take();
        if account.scheduled != account.ended || account.ended != requests.len() as u64 {
            return Err(LoadError::Unbalanced { scheduled: account.scheduled, ended: account.ended });
        }
        requests.sort_unstable_by_key(|request| request.id);
        let mut lateness = self.lateness.take();
        lateness.sort_unstable();
        account.lateness_p50 = percentile(&lateness, 50);
        account.lateness_p99 = percentile(&lateness, 99);
        account.lateness_max = percentile(&lateness, 100);
        Ok(LoadRecord { requests, account })
    }
}

/// Nearest rank: the smallest value that at least `percent` of all do not exceed; 0 of none.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!([50, 99, 100].map(|it| percentile(&hundred, it)), [50, 99, 100]);
        assert_eq!([50, 99, 100].map(|it| percentile(&[7], it)), [7, 7, 7]);
        assert_eq!(percentile(&[], 99), 0);
    }

    #[test]
    fn books_that_do_not_balance_are_refused() {
        let ledger = Ledger::new(Clock::start(), Arc::default(), 0, 1);
        let _lost = ledger.schedule(Pattern::Fresh, Nanos(0), Nanos(0));
        assert!(matches!(ledger.close(), Err(LoadError::Unbalanced { scheduled: 1, ended: 0 })));
    }

    #[test]
    fn waiting_for_a_busy_connection_is_not_lateness() {
        let clock = Clock::with_origin(Clock::start().origin() - 10_000_000_000);
        let ledger = Ledger::new(clock, Arc::default(), 0, 1);
        let attempt = ledger.schedule(Pattern::Busy, Nanos(1), clock.now());
        let answered = Ending::Answered { status: Some(200), version: None, close_announced: false };
        ledger.end(attempt, Ok(answered));
        let account = ledger.close().expect("balanced").account;
        assert!(account.lateness_max < 5_000_000_000, "{account:?}");
    }
}

//! The load as its owner sees it: one thread in the target's network namespace that sends by schedule and keeps records.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use super::conductor::{Command, Conductor, Destination};
use super::exchange::Exchange;
use super::ledger::{Gauges, Ledger};
use crate::clock::Nanos;
use crate::id::Version;
use crate::kernel::clock::Clock;
use crate::request::{LoadAccount, Pattern, Request};
use crate::target::TargetEndpoint;

/// Whom to load, and how the records are numbered and stamped.
#[derive(Debug)]
pub struct LoadConfig {
    /// The run's clock.
    pub clock: Clock,
    /// Seed of the think times.
    pub seed: u64,
    /// Index of the endpoint in the manifest, as it stands in the records.
    pub endpoint_index: usize,
    /// Where requests go.
    pub endpoint: TargetEndpoint,
    /// Where datagrams go.
    pub datagrams: Option<SocketAddr>,
    /// Where TLS is spoken.
    pub tls: Option<SocketAddr>,
    /// Where HTTP/2 is spoken.
    pub h2: Option<SocketAddr>,
    /// From the begin of a request to its last byte; then it is [`Hung`](crate::request::FailureClass::Hung). A late
    /// send does not shorten it.
    pub request_deadline: Duration,
    /// The network namespace that the load thread enters before anything else; the caller's when absent.
    pub netns: Option<OwnedFd>,
    /// First id of requests, and of connections.
    pub first_id: u64,
}

/// Why the load could not do its work.
#[derive(Debug, Error)]
pub enum LoadError {
    /// setns(2) refused.
    #[error("enter the network namespace with the load thread")]
    Namespace(#[source] io::Error),
    /// No thread.
    #[error("start the load thread")]
    Thread(#[source] io::Error),
    /// No epoll.
    #[error("build the runtime of the load thread")]
    Runtime(#[source] io::Error),
    /// No timer for a schedule, or a timer that failed.
    #[error("keep the schedule of the load by timerfd")]
    Timer(#[source] io::Error),
    /// The slow pattern needs a slow request.
    #[error("begin slow requests: the endpoint {endpoint} has none in the manifest")]
    NoSlow {
        /// Name of the endpoint.
        endpoint: String,
    },
    /// Slow bodies need a stream and an upload, WebSockets a path.
    #[error("begin {pattern} requests: the endpoint {endpoint} names none in the manifest")]
    NoBody {
        /// The pattern.
        pattern: Pattern,
        /// Name of the endpoint.
        endpoint: String,
    },
    /// Flows need an address.
    #[error("begin datagrams: the manifest has no address `udp:…` in `also`")]
    NoDatagrams,
    /// HTTP/2 needs an address.
    #[error("begin HTTP/2: the manifest has no address `h2:…` in `also`")]
    NoH2,
    /// TLS needs an address.
    #[error("begin TLS: the manifest has no address `tls:…` in `also`")]
    NoTls,
    /// No client that speaks TLS.
    #[error("speak TLS")]
    Tls(#[source] rustls::Error),
    /// No socket for a flow, or one that failed.
    #[error("speak by datagrams")]
    Flow(#[source] io::Error),
    /// The pattern has no schedule.
    #[error("begin {0} requests: they have no schedule")]
    NotScheduled(Pattern),
    /// The thread panicked: a bug of ours.
    #[error("reach the load thread: it has ended")]
    Gone,
    /// The conservation law is broken: a bug of ours.
    #[error("account for every request: {scheduled} scheduled, {ended} ended")]
    Unbalanced {
        /// Requests that were meant.
        scheduled: u64,
        /// Requests that ended.
        ended: u64,
    },
}

/// What came of [`Load::park`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parked {
    /// Handshakes that completed; the request was sent on each at once.
    pub connected: u32,
    /// Handshakes that failed.
    pub failed: u32,
}

/// Everything that a load recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadRecord {
    /// In the order of their ids.
    pub requests: Vec<Request>,
    /// The other side of the conservation law.
    pub account: LoadAccount,
}

/// A running load. Dropping it ends its thread at once and forgets its records.
#[derive(Debug)]
pub struct Load {
    /// Absent only while being dropped: that is what ends the thread.
    commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
    gauges: Arc<Gauges>,
}

impl Load {
    /// Starts the thread and waits until it has entered the namespace.
    ///
    /// # Errors
    /// When it could not.
    pub fn spawn(config: LoadConfig) -> Result<Load, LoadError> {
        let (commands, orders) = unbounded_channel();
        let gauges = Arc::new(Gauges::default());
        let (started, start) = channel();
        let seen = Arc::clone(&gauges);
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || match enter(config.netns.as_ref()) {
                Ok(runtime) => {
                    let LoadConfig { clock, seed, endpoint_index, request_deadline, first_id, .. } = config;
                    let to = Destination {
                        endpoint: config.endpoint,
                        datagrams: config.datagrams,
                        tls: config.tls,
                        h2: config.h2,
                    };
                    let ledger = Ledger::new(clock, seen, endpoint_index, first_id);
                    let exchange = Exchange::new(ledger, &to.endpoint, request_deadline);
                    let _ = started.send(Ok(()));
                    LocalSet::new().block_on(&runtime, Conductor::new(to, exchange, seed).obey(orders));
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            })
            .map_err(LoadError::Thread)?;
        let load = Load { commands: Some(commands), thread: Some(thread), gauges };
        start.recv().map_err(|_| LoadError::Gone)??;
        Ok(load)
    }

    /// Begins patterns; each goes on until [`Load::quiesce`]. May be called several times.
    ///
    /// # Errors
    /// [`LoadError::NoSlow`] and [`LoadError::NotScheduled`] name a pattern that cannot begin.
    pub fn begin(&self, patterns: &[Pattern]) -> Result<(), LoadError> {
        self.ask(|done| Command::Begin(patterns.to_vec(), done))?
    }

    /// Opens this many connections at once and sends a request on each as soon as its handshake is complete. Returns
    /// when all are sent or failed, at the latest after the request deadline.
    ///
    /// # Errors
    /// When the load thread has ended.
    pub fn park(&self, connections: u32) -> Result<Parked, LoadError> {
        self.ask(|done| Command::Park(connections, done))
    }

    /// Begins this many connections that send nothing: [`Load::open_connections`] tells how many are open.
    ///
    /// # Errors
    /// When the load thread has ended.
    pub fn half_open(&self, connections: u32) -> Result<(), LoadError> {
        self.ask(|done| Command::HalfOpen(connections, done))
    }

    /// Lets each of them send its request.
    ///
    /// # Errors
    /// When the load thread has ended.
    pub fn complete(&self) -> Result<(), LoadError> {
        self.ask(Command::Complete)
    }

    /// The highest version that any answer carried so far, and when an answer with it was first whole.
    #[must_use]
    pub fn newest_version(&self) -> Option<(Version, Nanos)> {
        self.gauges.newest()
    }

    /// Kept connections that are open now and have been answered.
    #[must_use]
    pub fn busy_connections(&self) -> u32 {
        self.gauges.busy.load(Ordering::Relaxed)
    }

    /// While they are held, no silent and no half-sent request goes on: those whose pause is over go on as soon as they are let go.
    ///
    /// # Errors
    /// When the load thread has ended.
    pub fn hold_pauses(&self, held: bool) -> Result<(), LoadError> {
        self.ask(|done| Command::Hold(held, done))
    }

    /// Lets slow readers and slow uploads go on at full speed; those that begin later are slow again.
    ///
    /// # Errors
    /// When the load thread has ended.
    pub fn release(&self) -> Result<(), LoadError> {
        self.ask(Command::Release)
    }

    /// Bytes that each slow reader has not read of its answer yet.
    #[must_use]
    pub fn unread(&self) -> Vec<u64> {
        self.gauges.unread()
    }

    /// Connections of the pattern that are open now: kept ones once they have been answered, others while they pause before or in
    /// their request; of HTTP/2 the streams under way; 0 of a pattern that is not counted so.
    #[must_use]
    pub fn open_connections(&self, pattern: Pattern) -> u32 {
        self.gauges.open(pattern).map_or(0, |gauge| gauge.load(Ordering::Relaxed))
    }

    /// Requests sent and not ended now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.gauges.in_flight.load(Ordering::Relaxed)
    }

    /// Requests that have ended so far, in whatever way.
    #[must_use]
    pub fn ended(&self) -> u32 {
        self.gauges.ended.load(Ordering::Relaxed)
    }

    /// Slow requests sent and not ended now.
    #[must_use]
    pub fn slow_in_flight(&self) -> u32 {
        self.gauges.slow_in_flight.load(Ordering::Relaxed)
    }

    /// Stops the schedules, waits until every request in flight has ended, by its own deadline at the latest, and
    /// closes the idle kept connections.
    ///
    /// # Errors
    /// When the load thread has ended.
    pub fn quiesce(&self) -> Result<(), LoadError> {
        self.ask(Command::Quiesce)
    }

    /// Quiesces, ends the thread and hands over what it recorded.
    ///
    /// # Errors
    /// A failure of the driver itself: a timer, or books that do not balance.
    pub fn finish(mut self) -> Result<LoadRecord, LoadError> {
        let record = self.ask(Command::Finish)?;
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(LoadError::Gone),
            _ => record,
        }
    }

    fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<T, LoadError> {
        let (done, answer) = channel();
        let commands = self.commands.as_ref().ok_or(LoadError::Gone)?;
        commands.send(command(done)).map_err(|_| LoadError::Gone)?;
        answer.recv().map_err(|_| LoadError::Gone)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // It panicked, or it ends by itself now: nobody is left to tell either.
            let _ = thread.join();
        }
    }
}

/// First the namespace: a socket belongs to the one that it was created in.
fn enter(netns: Option<&OwnedFd>) -> Result<Runtime, LoadError> {
    if let Some(netns) = netns {
        move_into_link_name_space(std::os::fd::AsFd::as_fd(netns), Some(LinkNameSpaceType::Network))
            .map_err(|errno| LoadError::Namespace(errno.into()))?;
    }
    Builder::new_current_thread().enable_all().build().map_err(LoadError::Runtime)
}

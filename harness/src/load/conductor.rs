//! The load thread's own loop: obeys commands, runs the schedules.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::body::{Body, Held};
use super::crew::{Crew, asked};
use super::driver::{LoadError, LoadRecord, Parked};
use super::exchange::Exchange;
use super::flow::Flow;
use super::h2::{Multiplexed, Wanted};
use super::kept::Kept;
use super::ledger::Attempt;
use super::protocol::Ask;
use super::schedule::{
    BODY_EVERY, BUSY_CONNECTIONS, BUSY_EVERY, CANARY_EVERY, FLOW_EVERY, FLOWS, FRESH_EVERY, H2_EVERY, H2_PLACES,
    HALF_EVERY, IDLE_CONNECTIONS, IDLE_EVERY, IDLE_SPREAD, PAUSE, READERS, Random, Rhythm, SECURE_EVERY, SECURE_PLACES,
    SILENT_EVERY, SLOW_IN_FLIGHT, Ticker, UPLOAD_BYTES, UPLOADS, WEBSOCKETS,
};
use super::tls::Secure;
use super::websocket::{Opening, Talk};
use crate::clock::Nanos;
use crate::request::Pattern;
use crate::target::TargetEndpoint;

/// What the owner of the load asks of its thread; each is answered when it is done.
#[derive(Debug)]
pub(super) enum Command {
    Begin(Vec<Pattern>, Sender<Result<(), LoadError>>),
    Park(u32, Sender<Parked>),
    HalfOpen(u32, Sender<()>),
    Complete(Sender<()>),
    Hold(bool, Sender<()>),
    Release(Sender<()>),
    Quiesce(Sender<()>),
    Finish(Sender<Result<LoadRecord, LoadError>>),
}

/// Where a load goes.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) endpoint: TargetEndpoint,
    pub(super) datagrams: Option<SocketAddr>,
    pub(super) tls: Option<SocketAddr>,
    pub(super) h2: Option<SocketAddr>,
}

/// Runs patterns on the load thread.
#[derive(Debug)]
pub(super) struct Conductor {
    endpoint: TargetEndpoint,
    datagrams: Option<SocketAddr>,
    tls: Option<SocketAddr>,
    h2: Option<SocketAddr>,
    exchange: Rc<Exchange>,
    crew: Crew,
    seed: u64,
    /// Kept places and pausing schedules made so far: each has a random stream of its own.
    places: u64,
    stop: watch::Sender<bool>,
    /// While this is so no pause ends.
    held: watch::Sender<bool>,
    /// Slow bodies go on when something is sent.
    release: watch::Sender<()>,
    /// Half-open connections send their requests when something is sent.
    completed: watch::Sender<()>,
}

impl Conductor {
    /// Nothing runs yet.
    pub(super) fn new(to: Destination, exchange: Exchange, seed: u64) -> Conductor {
        let Destination { endpoint, datagrams, tls, h2 } = to;
        let (stop, release, completed) = (watch::channel(false).0, watch::channel(()).0, watch::channel(()).0);
        let (exchange, crew) = (Rc::new(exchange), Crew::default());
        let held = watch::channel(false).0;
        Conductor { endpoint, datagrams, tls, h2, exchange, crew, seed, places: 0, stop, held, release, completed }
    }

    /// Obeys until told to finish, or until the owner is gone.
    pub(super) async fn obey(mut self, mut commands: UnboundedReceiver<Command>) {
        // An owner that does not wait for the answer does not need it.
        while let Some(command) = commands.recv().await {
            match command {
                Command::Begin(patterns, done) => {
                    let begun = patterns.into_iter().try_for_each(|pattern| self.begin(pattern));
                    let _ = done.send(begun);
                }
                Command::Park(connections, done) => self.park(connections, done),
                Command::HalfOpen(connections, done) => {
                    self.half_open(connections);
                    let _ = done.send(());
                }
                Command::Complete(done) => {
                    self.completed.send_replace(());
                    let _ = done.send(());
                }
                Command::Hold(held, done) => {
                    self.held.send_replace(held);
                    let _ = done.send(());
                }
                Command::Release(done) => {
                    self.release.send_replace(());
                    let _ = done.send(());
                }
                Command::Quiesce(done) => {
                    self.quiesce().await;
                    let _ = done.send(());
                }
                Command::Finish(done) => {
                    self.quiesce().await;
                    let _ = done.send(self.exchange.ledger.close());
                    return;
                }
            }
        }
    }

    fn begin(&mut self, pattern: Pattern) -> Result<(), LoadError> {
        let path = self.endpoint.path.clone();
        match pattern {
            Pattern::Fresh => self.begin_alone(pattern, &path, FRESH_EVERY),
            Pattern::Canary => self.begin_alone(pattern, &path, CANARY_EVERY),
            Pattern::Slow => {
                let slow = self.endpoint.slow.clone().ok_or_else(|| self.no_slow())?;
                // Little's law: in flight = rate × duration.
                let takes = Duration::from_millis(slow.takes_ms.max(1));
                self.begin_alone(pattern, &slow.path, takes / SLOW_IN_FLIGHT)
            }
            Pattern::Busy => self.begin_kept(pattern, BUSY_CONNECTIONS, BUSY_EVERY, BUSY_EVERY),
            Pattern::Idle => self.begin_kept(pattern, IDLE_CONNECTIONS, IDLE_EVERY, IDLE_SPREAD),
            Pattern::Silent => self.begin_hesitant(pattern, SILENT_EVERY),
            Pattern::Half => self.begin_hesitant(pattern, HALF_EVERY),
            Pattern::Reader => self.begin_bodies(pattern, READERS),
            Pattern::Upload => self.begin_bodies(pattern, UPLOADS),
            Pattern::Flow => self.begin_flows(),
            Pattern::H2 => self.begin_h2(),
            Pattern::Tls => self.begin_tls(),
            Pattern::Websocket => self.begin_websockets(),
            Pattern::Parked | Pattern::HalfOpen => Err(LoadError::NotScheduled(pattern)),
        }
    }

    fn no_slow(&self) -> LoadError {
        LoadError::NoSlow { endpoint: self.endpoint.name.clone() }
    }

    fn begin_alone(&mut self, pattern: Pattern, path: &str, every: Duration) -> Result<(), LoadError> {
        let exchange = Rc::clone(&self.exchange);
        let ask = Rc::new(Ask::once(&self.endpoint, path));
        self.begin_scheduled(pattern, every, move |attempt| {
            let (exchange, ask) = (Rc::clone(&exchange), Rc::clone(&ask));
            async move { exchange.alone(attempt, &ask, |_| {}).await }
        })
    }

    /// Requests that pause before their first byte, or in the middle of their head. A stop ends the pauses at once: the
    /// rest of each request is sent and answered.
    fn begin_hesitant(&mut self, pattern: Pattern, every: Duration) -> Result<(), LoadError> {
        let exchange = Rc::clone(&self.exchange);
        let ask = Rc::new(Ask::once(&self.endpoint, &self.endpoint.path));
        let first = if pattern == Pattern::Half { ask.half() } else { 0 };
        let mut random = self.random();
        let (stop, held) = (self.stop.subscribe(), self.held.subscribe());
        self.begin_scheduled(pattern, every, move |attempt| {
            let (exchange, ask, mut stop, mut held) =
                (Rc::clone(&exchange), Rc::clone(&ask), stop.clone(), held.clone());
            let pause = random.within(&PAUSE);
            async move {
                let clock = exchange.ledger.clock;
                let over = Ticker::new(clock, clock.now().plus(pause), Rhythm::Even(pause));
                let resume = async {
                    let ticked = async {
                        let mut over = over?;
                        let ticked = over.tick().await;
                        // An error means that nobody can hold it any more.
                        let _let_go = held.wait_for(|held| !held).await;
                        ticked
                    };
                    let ticked = tokio::select! { () = asked(&mut stop) => return, ticked = ticked => ticked };
                    if let Err(error) = ticked {
                        exchange.ledger.fault(LoadError::Timer(error));
                    }
                };
                exchange.hesitant(attempt, &ask, first, resume).await;
            }
        })
    }

    /// Each request of an even schedule in a task of its own. Its first instant is chance: upgrades that follow the beginning of a load
    /// by a constant time would all meet the schedule in the same phase, and a handoff be told to the period of it.
    fn begin_scheduled<Sent: Future<Output = ()> + 'static>(
        &mut self,
        pattern: Pattern,
        every: Duration,
        mut send: impl FnMut(Attempt) -> Sent + 'static,
    ) -> Result<(), LoadError> {
        let exchange = Rc::clone(&self.exchange);
        let clock = exchange.ledger.clock;
        let first = clock.now().plus(every.mul_f64(self.random().fraction()));
        let mut ticker = Ticker::new(clock, first, Rhythm::Even(every)).map_err(LoadError::Timer)?;
        let (crew, mut stop) = (self.crew.clone(), self.stop.subscribe());
        self.crew.spawn(async move {
            loop {
                let tick = tokio::select! {
                    biased;
                    () = asked(&mut stop) => return,
                    tick = ticker.tick() => tick,
                };
                match tick {
                    Ok(intended) => crew.spawn(send(exchange.ledger.schedule(pattern, intended, Nanos(0)))),
                    Err(error) => return exchange.ledger.fault(LoadError::Timer(error)),
                }
            }
        });
        Ok(())
    }

    /// Kept connections, each used about `every`, the first time within `spread`.
    fn begin_kept(
        &mut self,
        pattern: Pattern,
        connections: u32,
        every: Duration,
        spread: Duration,
    ) -> Result<(), LoadError> {
        let ask = Rc::new(Ask::kept(&self.endpoint, &self.endpoint.path));
        let clock = self.exchange.ledger.clock;
        let now = clock.now();
        for _ in 0..connections {
            let mut random = self.random();
            let first = now.plus(spread.mul_f64(random.fraction()));
            let rhythm = Rhythm::Jittered(every, random);
            let ticker = Ticker::new(clock, first, rhythm).map_err(LoadError::Timer)?;
            let kept = Kept::new(Rc::clone(&self.exchange), pattern, Rc::clone(&ask), ticker);
            self.crew.spawn(kept.run(self.stop.subscribe()));
        }
        Ok(())
    }

    /// HTTP/2 connections, each with streams side by side.
    fn begin_h2(&mut self) -> Result<(), LoadError> {
        let to = self.h2.ok_or(LoadError::NoH2)?;
        let wanted = Rc::new(Wanted::of(&self.endpoint, to));
        let clock = self.exchange.ledger.clock;
        for _ in 0..H2_PLACES {
            let mut random = self.random();
            let first = clock.now().plus(H2_EVERY.mul_f64(random.fraction()));
            let ticker = Ticker::new(clock, first, Rhythm::Jittered(H2_EVERY, random)).map_err(LoadError::Timer)?;
            let place = Multiplexed::new(Rc::clone(&self.exchange), Rc::clone(&wanted), self.crew.clone(), ticker);
            self.crew.spawn(place.run(self.stop.subscribe()));
        }
        Ok(())
    }

    /// Clients that speak TLS, each with one connection after the other.
    fn begin_tls(&mut self) -> Result<(), LoadError> {
        let to = self.tls.ok_or(LoadError::NoTls)?;
        let ask = Rc::new(Ask::once(&self.endpoint, &self.endpoint.path));
        let clock = self.exchange.ledger.clock;
        for _ in 0..SECURE_PLACES {
            let mut random = self.random();
            let first = clock.now().plus(SECURE_EVERY.mul_f64(random.fraction()));
            let ticker = Ticker::new(clock, first, Rhythm::Jittered(SECURE_EVERY, random)).map_err(LoadError::Timer)?;
            let secure = Secure::new(Rc::clone(&self.exchange), to, Rc::clone(&ask), ticker)?;
            self.crew.spawn(secure.run(self.stop.subscribe()));
        }
        Ok(())
    }

    /// WebSockets, each used about as often as a busy connection.
    fn begin_websockets(&mut self) -> Result<(), LoadError> {
        let pattern = Pattern::Websocket;
        let none = || LoadError::NoBody { pattern, endpoint: self.endpoint.name.clone() };
        let opening = Rc::new(Opening::of(&self.endpoint).ok_or_else(none)?);
        let clock = self.exchange.ledger.clock;
        for _ in 0..WEBSOCKETS {
            let (mut random, masks) = (self.random(), self.random());
            let first = clock.now().plus(BUSY_EVERY.mul_f64(random.fraction()));
            let ticker = Ticker::new(clock, first, Rhythm::Jittered(BUSY_EVERY, random)).map_err(LoadError::Timer)?;
            let talk = Talk::new(Rc::clone(&self.exchange), Rc::clone(&opening), ticker, masks);
            self.crew.spawn(talk.run(self.stop.subscribe()));
        }
        Ok(())
    }

    /// Flows, whose first datagrams are spread over the time between two of one flow.
    fn begin_flows(&mut self) -> Result<(), LoadError> {
        let to = self.datagrams.ok_or(LoadError::NoDatagrams)?;
        let clock = self.exchange.ledger.clock;
        for _ in 0..FLOWS {
            let mut random = self.random();
            let first = clock.now().plus(FLOW_EVERY.mul_f64(random.fraction()));
            let ticker = Ticker::new(clock, first, Rhythm::Jittered(FLOW_EVERY, random)).map_err(LoadError::Timer)?;
            self.crew.spawn(Flow::open(Rc::clone(&self.exchange), to, ticker)?.run(self.stop.subscribe()));
        }
        Ok(())
    }

    /// Places that read or send one long body after the other.
    fn begin_bodies(&self, pattern: Pattern, places: u32) -> Result<(), LoadError> {
        let clock = self.exchange.ledger.clock;
        let body = Rc::new(self.body(pattern)?);
        for _ in 0..places {
            let mut ticker = Ticker::new(clock, clock.now(), Rhythm::Even(BODY_EVERY)).map_err(LoadError::Timer)?;
            let (exchange, body) = (Rc::clone(&self.exchange), Rc::clone(&body));
            let (released, mut stop) = (self.release.subscribe(), self.stop.subscribe());
            self.crew.spawn(async move {
                let mut free = Nanos(0);
                loop {
                    let tick = tokio::select! {
                        biased;
                        () = asked(&mut stop) => return,
                        tick = ticker.tick() => tick,
                    };
                    let held = tick.and_then(|intended| {
                        let held = Held::new(clock, &released, &stop)?;
                        Ok((intended, held))
                    });
                    match held {
                        Ok((intended, held)) => {
                            let attempt = exchange.ledger.schedule(pattern, intended, free);
                            exchange.slowly(attempt, &body, held).await;
                            free = clock.now();
                            // Counted from the end: what began at once might be held by the generation that goes.
                            match Ticker::new(clock, free.plus(BODY_EVERY), Rhythm::Even(BODY_EVERY)) {
                                Ok(next) => ticker = next,
                                Err(error) => return exchange.ledger.fault(LoadError::Timer(error)),
                            }
                        }
                        Err(error) => return exchange.ledger.fault(LoadError::Timer(error)),
                    }
                }
            });
        }
        Ok(())
    }

    fn body(&self, pattern: Pattern) -> Result<Body, LoadError> {
        let TargetEndpoint { stream, upload, .. } = &self.endpoint;
        match (pattern, stream, upload) {
            (Pattern::Reader, Some(stream), _) => {
                Ok(Body::Answer(Ask::once(&self.endpoint, &stream.path), stream.clone()))
            }
            (Pattern::Upload, _, Some(upload)) => {
                Ok(Body::Request(Ask::post(&self.endpoint, &upload.path, UPLOAD_BYTES)))
            }
            _ => Err(LoadError::NoBody { pattern, endpoint: self.endpoint.name.clone() }),
        }
    }

    /// A random stream of its own.
    fn random(&mut self) -> Random {
        let random = Random::new(self.seed, self.places);
        self.places += 1;
        random
    }

    fn park(&self, connections: u32, done: Sender<Parked>) {
        let intended = self.exchange.ledger.clock.now();
        let ask = Rc::new(Ask::once(&self.endpoint, &self.endpoint.path));
        // The last one to be connected or to fail drops the last reference, and that tells the owner.
        let tally = Rc::new(Tally { parked: Cell::default(), done });
        for _ in 0..connections {
            let (exchange, ask, tally) = (Rc::clone(&self.exchange), Rc::clone(&ask), Rc::clone(&tally));
            let attempt = exchange.ledger.schedule(Pattern::Parked, intended, Nanos(0));
            self.crew.spawn(async move {
                // Moved in, so that the reference is dropped once the request was sent and not when it was answered.
                exchange.alone(attempt, &ask, move |connected| tally.add(connected)).await;
            });
        }
    }

    /// Connections that send nothing until they are told to, or until the load is to end.
    fn half_open(&self, connections: u32) {
        let intended = self.exchange.ledger.clock.now();
        let ask = Rc::new(Ask::once(&self.endpoint, &self.endpoint.path));
        for _ in 0..connections {
            let (exchange, ask) = (Rc::clone(&self.exchange), Rc::clone(&ask));
            let (mut completed, mut stop) = (self.completed.subscribe(), self.stop.subscribe());
            let attempt = exchange.ledger.schedule(Pattern::HalfOpen, intended, Nanos(0));
            self.crew.spawn(async move {
                let resume = async {
                    tokio::select! {
                        () = asked(&mut stop) => {}
                        // An error means that nobody can tell it any more.
                        _told = completed.changed() => {}
                    }
                };
                exchange.hesitant(attempt, &ask, 0, resume).await;
            });
        }
    }

    /// Stops the schedules and waits for what is in flight; each request ends by its deadline at the latest.
    async fn quiesce(&mut self) {
        self.stop.send_replace(true);
        self.crew.all_done().await;
        // Patterns may begin anew.
        self.stop = watch::channel(false).0;
    }
}

/// Counts parked connections; told to the owner when dropped.
#[derive(Debug)]
struct Tally {
    parked: Cell<Parked>,
    done: Sender<Parked>,
}

impl Tally {
    fn add(&self, connected: bool) {
        let mut parked = self.parked.get();
        if connected {
            parked.connected += 1;
        } else {
            parked.failed += 1;
        }
        self.parked.set(parked);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        // An owner that does not wait for the answer does not need it.
        let _ = self.done.send(self.parked.get());
    }
}

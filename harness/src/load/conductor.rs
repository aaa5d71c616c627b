//! The load thread's own loop: obeys commands, runs the schedules.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::Sender;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::crew::{Crew, asked};
use super::driver::{LoadError, LoadRecord, Parked};
use super::exchange::{Ask, Exchange};
use super::kept::Kept;
use super::schedule::{
    BUSY_CONNECTIONS, BUSY_EVERY, CANARY_EVERY, FRESH_EVERY, Random, Rhythm, SLOW_IN_FLIGHT, Ticker,
};
use crate::clock::Nanos;
use crate::request::Pattern;
use crate::target::TargetEndpoint;

/// What the owner of the load asks of its thread; each is answered when it is done.
#[derive(Debug)]
pub(super) enum Command {
    Begin(Vec<Pattern>, Sender<Result<(), LoadError>>),
    Park(u32, Sender<Parked>),
    Quiesce(Sender<()>),
    Finish(Sender<Result<LoadRecord, LoadError>>),
}

/// Runs patterns on the load thread.
#[derive(Debug)]
pub(super) struct Conductor {
    endpoint: TargetEndpoint,
    exchange: Rc<Exchange>,
    crew: Crew,
    seed: u64,
    /// Busy places made so far: each has a random stream of its own.
    places: u64,
    stop: watch::Sender<bool>,
}

impl Conductor {
    /// Nothing runs yet.
    pub(super) fn new(endpoint: TargetEndpoint, exchange: Exchange, seed: u64) -> Conductor {
        let (stop, _) = watch::channel(false);
        Conductor { endpoint, exchange: Rc::new(exchange), crew: Crew::default(), seed, places: 0, stop }
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
                let takes = std::time::Duration::from_millis(slow.takes_ms.max(1));
                self.begin_alone(pattern, &slow.path, takes / SLOW_IN_FLIGHT)
            }
            Pattern::Busy => self.begin_busy(&path),
            Pattern::Parked => Err(LoadError::NotScheduled(pattern)),
        }
    }

    fn no_slow(&self) -> LoadError {
        LoadError::NoSlow { endpoint: self.endpoint.name.clone() }
    }

    fn begin_alone(&self, pattern: Pattern, path: &str, every: std::time::Duration) -> Result<(), LoadError> {
        let exchange = Rc::clone(&self.exchange);
        let clock = exchange.ledger.clock;
        let mut ticker = Ticker::new(clock, clock.now(), Rhythm::Even(every)).map_err(LoadError::Timer)?;
        let ask = Rc::new(Ask::once(&self.endpoint, path));
        let (crew, mut stop) = (self.crew.clone(), self.stop.subscribe());
        self.crew.spawn(async move {
            loop {
                let tick = tokio::select! {
                    biased;
                    () = asked(&mut stop) => return,
                    tick = ticker.tick() => tick,
                };
                match tick {
                    Ok(intended) => {
                        let attempt = exchange.ledger.schedule(pattern, intended, Nanos(0));
                        let (exchange, ask) = (Rc::clone(&exchange), Rc::clone(&ask));
                        crew.spawn(async move { exchange.alone(attempt, &ask, |_| {}).await });
                    }
                    Err(error) => return exchange.ledger.fault(LoadError::Timer(error)),
                }
            }
        });
        Ok(())
    }

    fn begin_busy(&mut self, path: &str) -> Result<(), LoadError> {
        let ask = Rc::new(Ask::kept(&self.endpoint, path));
        let clock = self.exchange.ledger.clock;
        let now = clock.now();
        for _ in 0..BUSY_CONNECTIONS {
            let mut random = Random::new(self.seed, self.places);
            self.places += 1;
            let first = now.plus(BUSY_EVERY.mul_f64(random.fraction()));
            let rhythm = Rhythm::Jittered(BUSY_EVERY, random);
            let ticker = Ticker::new(clock, first, rhythm).map_err(LoadError::Timer)?;
            let kept = Kept::new(Rc::clone(&self.exchange), Rc::clone(&ask), ticker);
            self.crew.spawn(kept.run(self.stop.subscribe()));
        }
        Ok(())
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

//! A pool: a master holds the listener, and several workers accept from it; an upgrade replaces them one after the other.
//!
//! ```text
//!   old old old   ──▶   old old old NEW   ──▶   old old NEW   ──▶   …   ──▶   NEW NEW NEW
//!                       (starting)              (one old one drains)
//! ```
//!
//! Two rules make it safe. At no time do fewer workers accept than are wanted: an old one is told to finish only when a new one has said
//! that it is ready. And the first new one that fails ends the upgrade: what is broken replaces nobody.
//!
//! The readiness pipe of a worker says two things: a byte when it serves, and its end of file when it has given up the listener. Only when
//! the last old one has done so is the upgrade over: from then on every connection is a new one's.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::adoption::Adoption;
use crate::drain::Patience;
use crate::inherit;
use crate::listing::Listing;
use crate::log::Log;
use crate::master::MasterError;
use crate::notify::Notifier;
use crate::pidfile::Pidfile;
use crate::poll;
use crate::process::{Exit, Program};
use crate::signal::{Request, Signals};
use crate::slave::{Slave, Stage};
use crate::watch::Watch;

/// First and longest pause before a worker that died is replaced; doubled as long as they die before they are ready.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What the pool is to do.
#[derive(Debug)]
pub struct Settings {
    /// How many workers accept.
    pub workers: usize,
    /// A file that lists further listeners, read for each upgrade.
    pub also: Option<PathBuf>,
    /// Where to leave the master's pid.
    pub pidfile: Option<PathBuf>,
    /// What to execute for each worker.
    pub program: Program,
    /// The file whose change triggers an upgrade.
    pub watch: Option<Watch>,
    /// Whom to tell what goes on.
    pub notifier: Notifier,
    /// The orphans that pid 1 is given.
    pub adoption: Option<Adoption>,
    /// How long a worker may take to become ready.
    pub ready_timeout: Duration,
    /// How long workers drain.
    pub patience: Patience,
}

/// A worker, and which upgrade has brought it.
#[derive(Debug)]
struct Worker {
    slave: Slave,
    edition: u32,
    /// Its readiness pipe has not ended: it may accept.
    has_listener: bool,
}

impl Worker {
    /// It has still something to say on its readiness pipe.
    fn is_heard(&self) -> bool {
        self.slave.is_starting() || (self.slave.is_draining() && self.has_listener)
    }
}

/// How far an upgrade is: one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    None,
    /// Workers of the edition before serve.
    Rolling,
    /// They were told to go, and some have not given the listener up yet.
    Leaving,
}

/// The state of the master.
#[derive(Debug)]
struct Pool {
    settings: Settings,
    log: Log,
    signals: Signals,
    /// `None` from the stop on.
    listener: Option<TcpListener>,
    /// The listeners beside it.
    listing: Listing,
    /// Never written to: its end of file tells the workers that the master is gone. Read end, write end.
    life_line: (OwnedFd, OwnedFd),
    workers: Vec<Worker>,
    /// Counts the upgrades; workers of an older one are to be replaced while one is under way.
    edition: u32,
    /// An upgrade is asked for, and not begun.
    pending: bool,
    upgrade: Upgrade,
    pidfile: Option<Pidfile>,
    /// Before that nobody is started in the place of one that died.
    not_before: Option<Instant>,
    pause: Duration,
    /// All workers have served once.
    complete: bool,
}

/// Runs the pool until it has been stopped and its last worker has ended.
///
/// # Errors
/// [`MasterError`]; all workers have been ended then.
pub fn run(settings: Settings, listener: TcpListener, signals: Signals) -> Result<(), MasterError> {
    let log = Log::master();
    log.line(format_args!("listening on {}", listener.local_addr()?));
    let mut pool = Pool {
        listing: Listing::of(settings.also.as_deref()),
        settings,
        log,
        signals,
        listener: Some(listener),
        life_line: rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from)?,
        workers: Vec::new(),
        edition: 1,
        pending: false,
        upgrade: Upgrade::None,
        pidfile: None,
        not_before: None,
        pause: PAUSE.0,
        complete: false,
    };
    pool.listing.renew().map_err(|error| io::Error::other(format!("cannot {error}")))?;
    let result = pool.live();
    pool.listing.close();
    for worker in &mut pool.workers {
        worker.slave.kill();
        poll::until(&mut [poll::readable(&worker.slave.child)], None)?;
        worker.slave.child.reap()?;
    }
    if let Some(Err(error)) = pool.pidfile.take().map(Pidfile::remove) {
        pool.log.line(format_args!("cannot remove the pidfile: {error}"));
    }
    result
}

impl Pool {
    /// The loop.
    fn live(&mut self) -> Result<(), MasterError> {
        while self.listener.is_some() || !self.workers.is_empty() {
            self.tend()?;
            self.wait()?;
            while let Some(request) = self.signals.next()? {
                match request {
                    Request::Upgrade => self.request_upgrade("signal"),
                    Request::Stop => self.stop(),
                }
            }
            if let Some(watch) = &mut self.settings.watch
                && watch.changes()? > 0
            {
                self.request_upgrade("file changed");
            }
            // Exits before readiness: a worker that said "ready" and died replaces nobody.
            self.reap()?;
            self.hear()?;
            self.enforce_deadlines();
        }
        self.log.line("stopped");
        Ok(())
    }

    /// Starts whom it lacks, and takes the upgrade a step further: one worker at a time.
    fn tend(&mut self) -> Result<(), MasterError> {
        if self.listener.is_none() {
            return Ok(());
        }
        if self.pending && self.upgrade == Upgrade::None {
            self.edition += 1;
            (self.pending, self.upgrade) = (false, Upgrade::Rolling);
            self.settings.notifier.reloading();
            if let Err(error) = self.listing.renew() {
                return self.failed(&format_args!("cannot {error}"));
            }
        }
        let now = Instant::now();
        self.not_before = self.not_before.filter(|at| *at > now);
        while self.not_before.is_none() && self.count(|it| it.is_starting() || it.is_serving()) < self.settings.workers
        {
            self.start()?;
        }
        if self.upgrade == Upgrade::None || self.count(Slave::is_starting) > 0 {
            return Ok(());
        }
        let edition = self.edition;
        if self.workers.iter().any(|it| it.slave.is_serving() && it.edition < edition) {
            return self.start();
        }
        if self.upgrade == Upgrade::Rolling {
            self.upgrade = Upgrade::Leaving;
            self.log.line(format_args!("upgraded: {} workers are new", self.settings.workers));
            self.settings.notifier.ready_as(&self.serving());
        }
        if !self.workers.iter().any(|it| it.has_listener && it.edition < edition) {
            self.upgrade = Upgrade::None;
            self.listing.settle();
            if self.pending {
                // Nothing else may ever happen here that would begin it.
                return self.tend();
            }
        }
        Ok(())
    }

    fn count(&self, is: impl Fn(&Slave) -> bool) -> usize {
        self.workers.iter().filter(|it| is(&it.slave)).count()
    }

    /// For whoever asks the supervisor how the service is.
    fn serving(&self) -> String {
        format!("serving edition {} with {} workers", self.edition, self.settings.workers)
    }

    /// Starts a worker. One that cannot be started at all is a failed upgrade, or tried again later.
    fn start(&mut self) -> Result<(), MasterError> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let (ready, said) = match rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) {
            Ok(pipe) => pipe,
            // For want of descriptors: those that serve have theirs.
            Err(errno) => return self.failed(&format_args!("cannot start a worker: {errno}")),
        };
        let further = self.listing.sockets();
        let mut handed = vec![listener.as_fd(), said.as_fd(), self.life_line.0.as_fd()];
        handed.extend(further.iter().map(AsFd::as_fd));
        // Also when there are none: a stray number must not be believed.
        let program = self.settings.program.clone().with_variable(inherit::FURTHER, further.len().to_string())?;
        match program.spawn(&handed) {
            Ok(child) => {
                let deadline = Instant::now() + self.settings.ready_timeout;
                let slave = Slave { child, ready, stage: Stage::Starting { deadline, own_listener: None } };
                self.log.line(format_args!("started {}", slave.name()));
                self.workers.push(Worker { slave, edition: self.edition, has_listener: true });
                Ok(())
            }
            Err(error) => self.failed(&format_args!("cannot start a worker: {error}")),
        }
    }

    /// Waits for anything to do.
    fn wait(&self) -> io::Result<()> {
        let watch = self.settings.watch.as_ref();
        let others = [self.not_before, watch.and_then(Watch::deadline)];
        let deadlines = self.workers.iter().filter_map(|it| it.slave.deadline());
        let deadline = deadlines.chain(others.into_iter().flatten()).min();
        let mut entries = vec![poll::readable(&self.signals)];
        entries.extend(self.settings.adoption.as_ref().map(poll::readable));
        entries.extend(watch.map(poll::readable));
        entries.extend(self.workers.iter().map(|it| poll::readable(&it.slave.child)));
        let heard = self.workers.iter().filter(|it| it.is_heard());
        entries.extend(heard.map(|it| poll::readable(&it.slave.ready)));
        poll::until(&mut entries, deadline)?;
        Ok(())
    }

    /// Several requests during an upgrade are one more: it starts what is installed then, which is what each asked for.
    fn request_upgrade(&mut self, reason: &str) {
        self.log.line(format_args!("upgrade requested: {reason}"));
        self.pending = true;
    }

    /// Gives up the listener and drains everyone; asked again, cuts what is left.
    fn stop(&mut self) {
        let again = self.listener.take().is_none();
        self.listing.close();
        self.log.line(if again { "told to stop again, cutting what is left" } else { "told to stop" });
        if !again {
            self.settings.notifier.stopping();
        }
        for Worker { slave, .. } in &mut self.workers {
            if again || slave.is_starting() {
                slave.kill();
            } else if slave.is_serving() {
                slave.drain(self.settings.patience);
            }
        }
    }

    /// Reaps the workers that have ended, then the orphans that were left to this process.
    fn reap(&mut self) -> Result<(), MasterError> {
        let (mut alive, mut ended) = (Vec::new(), Vec::new());
        for worker in self.workers.drain(..) {
            match worker.slave.child.reap()? {
                Some(exit) => ended.push((worker, exit)),
                None => alive.push(worker),
            }
        }
        self.workers = alive;
        ended.into_iter().try_for_each(|(worker, exit)| self.bury(&worker, exit))?;
        if let Some(adoption) = &mut self.settings.adoption {
            let reaped = adoption.reap(|pid| self.workers.iter().any(|it| it.slave.child.pid() == pid))?;
            if reaped > 0 {
                self.log.line(format_args!("waited for {reaped} orphans"));
            }
        }
        Ok(())
    }

    /// What the end of a worker means, by the stage that it was in.
    fn bury(&mut self, worker: &Worker, exit: Exit) -> Result<(), MasterError> {
        let name = worker.slave.name();
        match worker.slave.stage {
            Stage::Draining { .. } => self.log.line(format_args!("{name} has drained: {exit}")),
            Stage::Killed { was_ready: true } => self.log.line(format_args!("{name} was cut: {exit}")),
            // Its place is empty: the next round starts another one, at once.
            Stage::Serving { .. } => self.log.line(format_args!("{name} ended unexpectedly: {exit}")),
            Stage::Starting { .. } | Stage::Killed { was_ready: false } => {
                return self.failed(&format_args!("{name} ended before it was ready: {exit}"));
            }
        }
        Ok(())
    }

    /// A worker could not be had: the end of an upgrade, or a reason to wait before the next one is started.
    fn failed(&mut self, what: &dyn std::fmt::Display) -> Result<(), MasterError> {
        self.log.line(what);
        if !self.complete && self.listener.is_some() {
            return Err(MasterError::NeverReady);
        }
        if self.upgrade == Upgrade::Rolling {
            self.upgrade = Upgrade::None;
            self.listing.abandon();
            let left = self.workers.iter().filter(|it| it.slave.is_serving() && it.edition < self.edition).count();
            self.log.line(format_args!("upgrade failed, {left} workers of the one before serve on"));
            self.settings.notifier.ready_as(&format!("upgrade failed, {}", self.serving()));
        }
        self.not_before = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE.1);
        Ok(())
    }

    /// Reads the readiness pipes: a byte, or their end.
    fn hear(&mut self) -> Result<(), MasterError> {
        for at in 0..self.workers.len() {
            let worker = &mut self.workers[at];
            let now = Some(Instant::now());
            if !worker.is_heard() || !poll::until(&mut [poll::readable(&worker.slave.ready)], now)? {
                continue;
            }
            match rustix::io::read(&worker.slave.ready, &mut [0_u8]) {
                Ok(1) if worker.slave.is_starting() => self.promote(at)?,
                _ if worker.slave.is_draining() => worker.has_listener = false,
                // It can never become ready any more, and waiting on the pipe again would spin.
                _ => worker.slave.kill(),
            }
        }
        Ok(())
    }

    /// A worker is ready: it accepts from now on, and where there is one more than is wanted, the oldest one finishes.
    fn promote(&mut self, at: usize) -> Result<(), MasterError> {
        self.workers[at].slave.stage = Stage::Serving { since: Instant::now() };
        self.log.line(format_args!("{} is ready", self.workers[at].slave.name()));
        self.pause = PAUSE.0;
        if self.count(Slave::is_serving) > self.settings.workers {
            let serving = self.workers.iter_mut().filter(|it| it.slave.is_serving());
            if let Some(oldest) = serving.min_by_key(|it| it.edition) {
                oldest.slave.drain(self.settings.patience);
            }
        }
        if !self.complete && self.count(Slave::is_serving) == self.settings.workers {
            self.complete = true;
            self.listing.settle();
            let path = self.settings.pidfile.as_deref();
            self.pidfile = path.map(Pidfile::create).transpose().map_err(MasterError::Pidfile)?;
            self.settings.notifier.ready_as(&self.serving());
        }
        Ok(())
    }

    /// Ends the workers that take too long.
    fn enforce_deadlines(&mut self) {
        let now = Instant::now();
        for Worker { slave, .. } in &mut self.workers {
            if slave.deadline().is_some_and(|deadline| deadline <= now) {
                self.log.line(format_args!("{} takes too long, killed", slave.name()));
                slave.kill();
            }
        }
    }
}

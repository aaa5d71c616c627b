//! The master: holds the listener, starts generations, never serves.
//!
//! One poll loop over signals, the watched file, and one `Stage` per child:
//!
//! ```text
//!   Starting ── ready ──▶ Serving ── successor ready, or stop ──▶ Draining ──▶ reaped
//!      │                                                              │
//!      └── too slow, or stop ──▶ Killed ──▶ reaped ◀── deadline ──────┘
//! ```
//!
//! Two rules make an upgrade safe. The old generation is told to drain only when the new one has said that it is ready: a
//! new version that crashes, hangs or cannot be executed changes nothing. And the master keeps its copy of the listener
//! open throughout, so that the socket exists without a gap whoever lives or dies.

mod error;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use error::MasterError;

use crate::adoption::Adoption;
use crate::defect::{Defect, Lowered, Succession};
use crate::drain::Patience;
use crate::inherit;
use crate::listener;
use crate::listing::Listing;
use crate::log::Log;
use crate::notify::{Newline, Notifier};
use crate::pidfile::{Pidfile, PidfileError};
use crate::poll;
use crate::process::{self, Exit, Program};
use crate::signal::{Request, Signals};
use crate::slave::{Slave, Stage};
use crate::watch::Watch;
use crate::watchdog::Watchdog;

/// In the defect of storms: a generation that began to serve this shortly before another was started is its twin, and is
/// not replaced by it. Far longer than a storm, so that no order of starts and readiness makes them successors.
const TOGETHER: Duration = Duration::from_millis(200);

/// The name of the listener that is left with a supervisor.
const STORED: &str = "listener";

/// First and longest pause before a generation that died is replaced; doubled as long as they die at once.
const RESPAWN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// In the defect of starts that hang: longer than anybody waits.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// In the defect of triggers at the start: many times what a trigger takes that follows on readiness.
const DEAF: Duration = Duration::from_secs(1);

/// In the defect of generations that stand still: how long the old one is left in peace. Less than an initialisation takes.
const IMPATIENT: Duration = Duration::from_millis(300);

/// In the defects of generations that are killed: nobody listens for this long. Many times what a client needs to notice.
const BEGINNING: Duration = Duration::from_millis(300);

/// A generation that has served for this long did not die at once.
const STABLE_AFTER: Duration = Duration::from_secs(1);

/// What the master holds between generations, and hands to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The listener: all generations share it.
    Listener,
    /// Its address: each generation listens there with a socket of its own.
    Address,
}

/// What the master is to do.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen.
    pub address: SocketAddr,
    /// The socket that listens there already, from a supervisor.
    pub activated: Option<TcpListener>,
    /// What is held there.
    pub held: Held,
    /// Where to leave the pid.
    pub pidfile: Option<PathBuf>,
    /// A file that lists further listeners, read for each generation.
    pub also: Option<PathBuf>,
    /// What to execute for each generation.
    pub program: Program,
    /// The file whose change triggers an upgrade.
    pub watch: Option<Watch>,
    /// Whom to tell what goes on.
    pub notifier: Notifier,
    /// The orphans that pid 1 is given.
    pub adoption: Option<Adoption>,
    /// When to tell it that the loop goes round.
    pub watchdog: Option<Watchdog>,
    /// Whether it keeps a copy of the listener for the next master, unless the listener is the supervisor's already.
    pub stores_listener: bool,
    /// Whom to tell once that it serves.
    pub newline: Option<Newline>,
    /// How long a generation may take to become ready.
    pub ready_timeout: Duration,
    /// How long generations drain.
    pub patience: Patience,
    /// The deliberate bug, if any.
    pub defect: Option<Defect>,
}

/// The state of the master.
#[derive(Debug)]
struct Master {
    settings: Settings,
    log: Log,
    signals: Signals,
    /// Where it really listens (port 0 has become a number).
    address: SocketAddr,
    listener: Option<TcpListener>,
    /// The listeners beside it.
    listing: Listing,
    /// Never written to: its end of file tells the children that the master is gone. Read end, write end.
    life_line: (OwnedFd, OwnedFd),
    slaves: Vec<Slave>,
    pidfile: Option<Pidfile>,
    /// Upgrades asked for and not begun.
    pending: u32,
    /// Upgrades that succeeded.
    upgrades: u32,
    /// What defects hold on to: a generation that never became ready, descriptors of those that are gone.
    failed_before: bool,
    kept: Vec<OwnedFd>,
    /// When to replace a generation that died, and the pause before that.
    respawn: Option<Instant>,
    respawn_pause: Duration,
    ever_ready: bool,
    /// An upgrade was announced, and its end was not.
    reloading: bool,
    stopping: bool,
    /// A defect of generations that are killed has struck.
    begun_anew: bool,
    /// When a defect takes the signals that it has not taken yet.
    deaf_until: Option<Instant>,
}

/// Runs the master until it has been stopped and its last child has ended.
///
/// # Errors
/// [`MasterError`]; all children have been ended then.
pub fn run(settings: Settings, signals: Signals) -> Result<(), MasterError> {
    let mut master = Master::new(settings, signals)?;
    let result = master.live();
    master.listing.close();
    for slave in &mut master.slaves {
        slave.kill();
    }
    while master.slaves.iter().any(|slave| matches!(slave.child.reap(), Ok(None))) {
        let mut entries: Vec<_> = master.slaves.iter().map(|slave| poll::readable(&slave.child)).collect();
        poll::until(&mut entries, None)?;
        drop(entries);
        master.slaves.retain(|slave| matches!(slave.child.reap(), Ok(None)));
    }
    if let Some(Err(error)) = master.pidfile.take().map(Pidfile::remove) {
        master.log.line(format_args!("cannot remove the pidfile: {error}"));
    }
    result
}

impl Master {
    fn new(mut settings: Settings, signals: Signals) -> Result<Self, MasterError> {
        let asked = settings.address;
        if settings.defect == Some(Defect::NotifyOnce) {
            settings.notifier.ready();
        }
        let listener = match settings.activated.take() {
            Some(activated) => {
                settings.stores_listener = false;
                activated
            }
            None => match settings.held {
                Held::Listener => listener::bind(asked, Succession::of(settings.defect).sharing()),
                Held::Address => listener::reserve(asked),
            }
            .map_err(|error| MasterError::Listen(asked, error))?,
        };
        let address = listener.local_addr()?;
        let log = Log::master();
        log.line(format_args!("listening on {address}"));
        Ok(Self {
            listing: Listing::of(settings.also.as_deref()),
            settings,
            log,
            signals,
            address,
            listener: Some(listener),
            life_line: rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from)?,
            slaves: Vec::new(),
            pidfile: None,
            pending: 0,
            upgrades: 0,
            failed_before: false,
            kept: Vec::new(),
            respawn: None,
            respawn_pause: RESPAWN.0,
            ever_ready: false,
            reloading: false,
            stopping: false,
            begun_anew: false,
            deaf_until: None,
        })
    }

    /// The loop.
    fn live(&mut self) -> Result<(), MasterError> {
        self.spawn(None)?;
        while !(self.stopping && self.slaves.is_empty()) {
            let readable = self.wait()?;
            self.take_late_signals()?;
            self.read_signals()?;
            self.read_watch()?;
            // Exits before readiness: a child that said "ready" and died is not a successor.
            self.reap(&readable)?;
            self.reap_orphans()?;
            self.hear_ready()?;
            self.enforce_deadlines()?;
            self.begin_upgrade_if_due();
            self.beat();
        }
        self.log.line("stopped");
        Ok(())
    }

    /// Waits for anything to do; tells which children have ended.
    fn wait(&self) -> io::Result<Vec<bool>> {
        let deadlines = self.slaves.iter().filter_map(Slave::deadline);
        let watch = self.settings.watch.as_ref();
        let others = [
            self.respawn.filter(|_| !self.is_starting()),
            watch.and_then(Watch::deadline),
            self.settings.watchdog.as_ref().map(Watchdog::deadline),
            self.deaf_until,
        ];
        let deadline = deadlines.chain(others.into_iter().flatten()).min();

        let mut entries: Vec<_> = self.slaves.iter().map(|slave| poll::readable(&slave.child)).collect();
        entries.push(poll::readable(&self.signals));
        entries.extend(self.settings.adoption.as_ref().map(poll::readable));
        entries.extend(watch.map(poll::readable));
        entries
            .extend(self.slaves.iter().filter(|slave| slave.is_starting()).map(|slave| poll::readable(&slave.ready)));
        poll::until(&mut entries, deadline)?;
        Ok(entries.iter().take(self.slaves.len()).map(poll::fired).collect())
    }

    /// Also while an upgrade is under way and while generations drain: a beat says that this loop goes round, no more. Whether
    /// somebody serves is this loop's business.
    fn beat(&mut self) {
        if self.settings.defect == Some(Defect::Watchdog) && self.upgrades > 0 {
            // Not due either, or the loop would spin.
            self.settings.watchdog = None;
        }
        if self.settings.watchdog.as_mut().is_some_and(Watchdog::is_due) {
            self.settings.notifier.alive();
        }
    }

    fn is_starting(&self) -> bool {
        self.slaves.iter().any(Slave::is_starting)
    }

    fn read_signals(&mut self) -> io::Result<()> {
        while let Some(request) = self.signals.next()? {
            match request {
                Request::Upgrade => self.request_upgrade(1, "signal"),
                Request::Stop => self.stop(),
            }
        }
        Ok(())
    }

    /// In the defect of triggers at the start.
    fn take_late_signals(&mut self) -> io::Result<()> {
        if self.deaf_until.is_some_and(|at| at <= Instant::now()) {
            self.deaf_until = None;
            self.signals = Signals::take()?;
        }
        Ok(())
    }

    fn read_watch(&mut self) -> io::Result<()> {
        if let Some(watch) = &mut self.settings.watch {
            let changes = watch.changes()?;
            if changes > 0 {
                self.request_upgrade(changes, "file changed");
            }
        }
        Ok(())
    }

    /// Several requests before or during an upgrade are one more upgrade: it starts what is installed then, which is what each of
    /// them asked for.
    fn request_upgrade(&mut self, count: u32, reason: &str) {
        self.log.line(format_args!("upgrade requested: {reason}"));
        self.pending = match self.settings.defect {
            Some(Defect::NotSticky) if self.failed_before => 0,
            Some(Defect::WatchTriggered | Defect::Storm) => self.pending + count,
            _ => 1,
        };
    }

    /// Gives up the listener and drains everyone; asked again, cuts what is left.
    fn stop(&mut self) {
        let again = std::mem::replace(&mut self.stopping, true);
        if !again && self.settings.defect != Some(Defect::NotifyReloadStopping) {
            self.settings.notifier.stopping();
        }
        if let (Some(Defect::SocketActivation), Some(listener)) = (self.settings.defect, &self.listener) {
            let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
        }
        self.log.line(if again { "told to stop again, cutting what is left" } else { "told to stop" });
        for slave in &mut self.slaves {
            if again || slave.is_starting() {
                slave.kill();
            } else if slave.is_serving() {
                slave.drain(self.settings.patience);
            }
        }
        self.listener = None;
        self.listing.close();
    }

    /// Reaps the children that have ended.
    fn reap(&mut self, ended: &[bool]) -> Result<(), MasterError> {
        let mut exits: Vec<(Slave, Exit)> = Vec::new();
        let mut alive = Vec::new();
        for (slave, ended) in self.slaves.drain(..).zip(ended) {
            let forgotten = match self.settings.defect {
                Some(Defect::Processes) => slave.is_draining(),
                Some(Defect::Reaped) => slave.is_unready(),
                _ => false,
            };
            if *ended && forgotten {
                // Not waited for.
                continue;
            }
            let exit = if *ended { slave.child.reap()? } else { None };
            match exit {
                Some(exit) => exits.push((slave, exit)),
                None => alive.push(slave),
            }
        }
        self.slaves = alive;
        exits.into_iter().try_for_each(|(slave, exit)| {
            self.bury(&slave, exit)?;
            if self.settings.defect == Some(Defect::Descriptors) {
                self.kept.push(slave.ready);
            }
            Ok(())
        })
    }

    /// Those of somebody else that were left to this process. One of its own that has ended since it was looked at stands in the
    /// way until the next round, which its pidfd begins at once.
    fn reap_orphans(&mut self) -> io::Result<()> {
        let Some(adoption) = &mut self.settings.adoption else { return Ok(()) };
        let reaped = adoption.reap(|pid| self.slaves.iter().any(|slave| slave.child.pid() == pid))?;
        if reaped > 0 {
            self.log.line(format_args!("waited for {reaped} orphans"));
        }
        Ok(())
    }

    /// What the end of a child means, by the stage that it was in.
    fn bury(&mut self, slave: &Slave, exit: Exit) -> Result<(), MasterError> {
        let name = slave.name();
        if exit == Exit::Signal(libc::SIGKILL) && self.panics_over(slave) {
            return Ok(self.begin_anew()?);
        }
        match slave.stage {
            Stage::Draining { .. } => self.log.line(format_args!("{name} has drained: {exit}")),
            Stage::Killed { was_ready: true } => {
                self.log.line(format_args!("{name} was cut: {exit}"));
            }
            Stage::Serving { since } => {
                self.log.line(format_args!("{name} ended unexpectedly: {exit}"));
                if self.settings.defect != Some(Defect::DiesAfterReady) {
                    self.schedule_respawn(since.elapsed() >= STABLE_AFTER);
                }
            }
            Stage::Starting { .. } | Stage::Killed { was_ready: false } => {
                self.log.line(format_args!("{name} ended before it was ready: {exit}"));
                self.listing.abandon();
                if !self.ever_ready && !self.stopping {
                    return Err(MasterError::NeverReady);
                }
                self.failed_before = true;
                if self.settings.defect == Some(Defect::Crashes) && is_crash(exit) {
                    self.drain_serving();
                }
                // What is served now is what was served before.
                self.announce_reloaded(false);
                if let Some(old) = self.slaves.iter().find(|slave| slave.is_serving()) {
                    self.log.line(format_args!("upgrade failed, {} serves on", old.name()));
                } else {
                    self.schedule_respawn(false);
                }
            }
        }
        Ok(())
    }

    /// In the defects of generations that are killed: whether it was one of that side, and the first one.
    fn panics_over(&self, slave: &Slave) -> bool {
        let is_new = match slave.stage {
            Stage::Starting { .. } | Stage::Killed { was_ready: false } => true,
            Stage::Serving { .. } => !self.is_starting(),
            Stage::Draining { .. } | Stage::Killed { was_ready: true } => false,
        };
        let side = match self.settings.defect {
            Some(Defect::KilledNew) => is_new,
            Some(Defect::KilledOld) => !is_new,
            _ => false,
        };
        side && !self.stopping && !self.begun_anew
    }

    /// What those defects do then.
    fn begin_anew(&mut self) -> io::Result<()> {
        self.begun_anew = true;
        for mut slave in self.slaves.drain(..) {
            slave.kill();
            poll::until(&mut [poll::readable(&slave.child)], None)?;
            slave.child.reap()?;
        }
        self.listener = None;
        listener::absent_for(BEGINNING);
        self.listener = Some(listener::bind(self.address, listener::Sharing::Exclusive)?);
        self.spawn(None)
    }

    /// Nobody serves: try again, at once if the last one had proved itself, else ever more slowly.
    fn schedule_respawn(&mut self, was_stable: bool) {
        if self.stopping || self.slaves.iter().any(Slave::is_serving) {
            return;
        }
        self.respawn_pause =
            if was_stable { Duration::ZERO } else { (self.respawn_pause * 2).clamp(RESPAWN.0, RESPAWN.1) };
        self.respawn = Some(Instant::now() + self.respawn_pause);
    }

    /// Reads the readiness pipes: a byte, or EOF from a child that has failed.
    fn hear_ready(&mut self) -> Result<(), MasterError> {
        for at in 0..self.slaves.len() {
            let slave = &mut self.slaves[at];
            if !slave.is_starting() || !poll::until(&mut [poll::readable(&slave.ready)], Some(Instant::now()))? {
                continue;
            }
            match rustix::io::read(&slave.ready, &mut [0_u8]) {
                Ok(1) => self.promote(at)?,
                // It can never become ready any more, and waiting on the pipe again would spin.
                _ => slave.kill(),
            }
        }
        Ok(())
    }

    /// A child is ready: it serves from now on, the ones before it drain.
    fn promote(&mut self, at: usize) -> Result<(), MasterError> {
        let stage = std::mem::replace(&mut self.slaves[at].stage, Stage::Serving { since: Instant::now() });
        // Those that it replaces: all, except in a defect.
        let before = match &stage {
            Stage::Starting { deadline, .. } if self.settings.defect == Some(Defect::Storm) => {
                deadline.checked_sub(self.settings.ready_timeout + TOGETHER)
            }
            _ => None,
        };
        let name = self.slaves[at].name();
        // Before the old one is told, so that its own lines follow this one.
        if self.ever_ready {
            self.log.line(format_args!("upgraded: {name} takes over"));
            self.upgrades += 1;
            if let (Some(Defect::BacklogSizeKept), Some(listener)) = (self.settings.defect, &self.listener) {
                rustix::net::listen(listener, listener::BACKLOG_OF_LIBRARIES).map_err(io::Error::from)?;
            }
        }
        if self.ever_ready && self.settings.defect == Some(Defect::NoGroupZombie) {
            self.kept.push(listener::bind(self.address, listener::Sharing::ReusePort)?.into());
        }
        if let Stage::Starting { own_listener: Some(own), .. } = stage {
            self.listener = Some(own);
        }
        for (other, slave) in self.slaves.iter_mut().enumerate() {
            if other != at && slave.is_serving() && before.is_none_or(|before| slave.serves_since(before)) {
                slave.drain(self.settings.patience);
            }
        }
        self.respawn = None;
        self.listing.settle();
        self.log.line(format_args!("{name} is ready"));
        self.write_pidfile().map_err(MasterError::Pidfile)?;
        if self.ever_ready {
            if self.settings.defect == Some(Defect::SystemdReload) {
                self.settings.notifier.main_pid(self.slaves[at].child.pid());
            }
            self.announce_reloaded(true);
        } else {
            self.announce_ready()?;
        }
        self.ever_ready = true;
        Ok(())
    }

    /// Somebody serves, for the first time.
    fn announce_ready(&mut self) -> io::Result<()> {
        match self.settings.newline.take() {
            Some(newline) if self.settings.defect == Some(Defect::NotifyFd) => newline.ready_and_forget(),
            Some(newline) => newline.ready(),
            None => {}
        }
        self.deaf_until = (self.settings.defect == Some(Defect::AtStart)).then(|| Instant::now() + DEAF);
        let notifier = &self.settings.notifier;
        if let (Some(listener), true) = (&self.listener, self.settings.stores_listener)
            && let Err(error) = notifier.store(STORED, &[listener.as_fd()])
        {
            self.log.line(format_args!("cannot leave its listener with its supervisor: {error}"));
        }
        match self.settings.defect {
            Some(Defect::NotifyOnce) => {}
            Some(Defect::NotifyOnceChild | Defect::SystemdNotify) => process::in_a_child(|| notifier.ready())?,
            _ => notifier.ready_as(&self.serving()),
        }
        Ok(())
    }

    /// An upgrade begins.
    fn announce_reloading(&mut self) {
        self.reloading = true;
        match self.settings.defect {
            Some(Defect::NotifyReload) => self.settings.notifier.send("RELOADING=1"),
            _ => self.settings.notifier.reloading(),
        }
    }

    /// An upgrade is over, well or not; one that was announced has to be.
    fn announce_reloaded(&mut self, succeeded: bool) {
        let serving = self.serving();
        let succeeds = succeeded || self.settings.defect == Some(Defect::Reported);
        let status = if succeeds { serving } else { format!("upgrade failed, {serving}") };
        if std::mem::take(&mut self.reloading) {
            self.settings.notifier.ready_as(&status);
        } else {
            self.settings.notifier.status(&status);
        }
    }

    /// For whoever asks the supervisor how the service is. The first generation is 1, each that takes over is the next.
    fn serving(&self) -> String {
        format!("serving generation {}", self.upgrades + 1)
    }

    /// Written once, when somebody serves. The master stays, so an upgrade has nothing to change in it.
    fn write_pidfile(&mut self) -> Result<(), PidfileError> {
        match (&mut self.pidfile, &self.settings.pidfile) {
            (None, Some(path)) => self.pidfile = Some(Pidfile::create(path)?),
            (Some(pidfile), _) if self.settings.defect == Some(Defect::UpgradeAlwaysValid) => {
                pidfile.unlink_and_create()?
            }
            (Some(pidfile), _) if self.settings.defect == Some(Defect::AfterFailedUpgradeFullDisk) => {
                pidfile.rewrite_unchecked()?
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the children that take too long.
    fn enforce_deadlines(&mut self) -> Result<(), MasterError> {
        let now = Instant::now();
        let is_late = |slave: &Slave| slave.is_starting() && slave.deadline().is_some_and(|deadline| deadline <= now);
        if let (Some(Defect::SuspendedNew), Some(late)) = (self.settings.defect, self.slaves.iter().position(is_late)) {
            self.promote(late)?;
        }
        for slave in &mut self.slaves {
            if slave.deadline().is_some_and(|deadline| deadline <= now) {
                self.log.line(format_args!("{} takes too long, killed", slave.name()));
                slave.kill();
            }
        }
        Ok(())
    }

    /// One upgrade at a time; a generation that cannot even be started is a failed upgrade, not the end.
    fn begin_upgrade_if_due(&mut self) {
        let respawn = self.respawn.is_some_and(|at| at <= Instant::now());
        let busy = self.is_starting() && self.settings.defect != Some(Defect::Storm);
        if self.stopping || busy || (self.pending == 0 && !respawn) {
            return;
        }
        self.respawn = None;
        self.pending = self.pending.saturating_sub(1);
        if self.settings.defect == Some(Defect::TookOver) && !respawn {
            self.log.line("upgraded");
            return;
        }
        if !respawn {
            self.announce_reloading();
        }
        if let Err(error) = self.start_successor() {
            self.log.line(format_args!("upgrade failed: {error}"));
            if self.settings.defect == Some(Defect::OutOfResources) {
                std::process::exit(1);
            }
            self.listing.abandon();
            self.announce_reloaded(false);
            self.schedule_respawn(false);
        }
        if let Some(Defect::Exits | Defect::BadConfig) = self.settings.defect {
            self.drain_serving();
        }
    }

    /// Tells whoever serves to finish.
    fn drain_serving(&mut self) {
        for slave in self.slaves.iter_mut().filter(|slave| slave.is_serving()) {
            slave.drain(self.settings.patience);
        }
    }

    /// Starts the next generation with the listener of the succession: the one there has always been, except in a defect.
    fn start_successor(&mut self) -> io::Result<()> {
        if self.settings.defect == Some(Defect::Limits(Lowered::Later)) {
            process::lower_open_files()?;
        }
        let crowded = self.settings.defect == Some(Defect::DuringDrain) && self.slaves.iter().any(Slave::is_draining);
        match Succession::after(if crowded { u32::MAX } else { self.upgrades }, self.settings.defect) {
            Succession::Shared => self.spawn(None),
            Succession::Overlap => {
                let own = listener::bind(self.address, listener::Sharing::ReusePort)?;
                self.spawn(Some(own))
            }
            Succession::Rebind { gap, sharing } => {
                self.silence_old_generation()?;
                self.listener = None;
                listener::absent_for(gap);
                self.listener = Some(listener::bind(self.address, sharing)?);
                self.spawn(None)
            }
        }
    }

    /// Drains the serving generation and waits until it has closed its copy of the listener (its readiness pipe closes then).
    fn silence_old_generation(&mut self) -> io::Result<()> {
        for slave in self.slaves.iter_mut().filter(|slave| slave.is_serving()) {
            slave.drain(self.settings.patience);
            poll::until(&mut [poll::readable(&slave.ready)], slave.deadline())?;
        }
        Ok(())
    }

    /// Starts a generation.
    fn spawn(&mut self, own_listener: Option<TcpListener>) -> io::Result<()> {
        let listener = own_listener.as_ref().or(self.listener.as_ref()).ok_or(io::ErrorKind::NotConnected)?;
        if self.settings.defect == Some(Defect::EnvironmentGrows) {
            let name = format!("GENERATION_{}", self.upgrades + 1);
            self.settings.program = self.settings.program.clone().with_variable(&name, "begun")?;
        }
        self.listing.renew().map_err(io::Error::other)?;
        let (ready, said) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let further = self.listing.sockets();
        let mut handed = vec![listener.as_fd(), said.as_fd(), self.life_line.0.as_fd()];
        handed.extend(further.iter().map(AsFd::as_fd));
        // Also when there are none: a stray number must not be believed.
        let program = self.settings.program.clone().with_variable(inherit::FURTHER, further.len().to_string())?;
        let child = program.spawn(&handed)?;
        let patience = match self.settings.defect {
            Some(Defect::Hangs) => NEVER,
            Some(Defect::SuspendedNew) if self.ever_ready => IMPATIENT,
            _ => self.settings.ready_timeout,
        };
        let deadline = Instant::now() + patience;
        let slave = Slave { child, ready, stage: Stage::Starting { deadline, own_listener } };
        self.log.line(format_args!("started {}", slave.name()));
        if let (Some(Defect::AfterFailedUpgrade), Some(pidfile)) = (self.settings.defect, &self.pidfile) {
            std::fs::write(pidfile.path(), format!("{}\n", slave.child.pid()))?;
        }
        self.slaves.push(slave);
        Ok(())
    }
}

/// Killed, and not by the master, which kills with SIGKILL.
fn is_crash(exit: Exit) -> bool {
    matches!(exit, Exit::Signal(signal) if signal != libc::SIGKILL)
}

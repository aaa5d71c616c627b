//! What the main process does beside serving: it hears its predecessor, watches the file, and starts, judges and installs its
//! successor.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFd;

use crate::further::{self, Further};
use crate::generation::Beside;
use crate::handover::{Heard, Order, Predecessor, Readiness, Successor};
use crate::log::Log;
use crate::notify::Notifier;
use crate::pidfile::Pidfile;
use crate::poll;
use crate::process::Program;
use crate::watch::Watch;
use crate::watchdog::Watchdog;

/// What the main process does beside serving.
pub(super) struct Steward {
    pub(super) log: Log,
    pub(super) program: Program,
    /// To be handed on; `None` from the stop or the handover on.
    pub(super) listener: Option<TcpListener>,
    /// The same, beside it.
    pub(super) further: Option<Arc<Further>>,
    /// The files of these, which whoever listens last removes.
    pub(super) files: Vec<PathBuf>,
    pub(super) watch: Option<Watch>,
    pub(super) notifier: Notifier,
    pub(super) watchdog: Option<Watchdog>,
    pub(super) pidfile: Option<Pidfile>,
    /// As long as it lives.
    pub(super) predecessor: Option<Predecessor>,
    pub(super) successor: Option<Successor>,
    /// Upgrades asked for and not begun are one.
    pub(super) pending: bool,
    pub(super) version: u64,
    pub(super) ready_timeout: Duration,
}

impl Beside for Steward {
    fn waits(&self) -> Vec<PollFd<'_>> {
        let mut entries: Vec<PollFd<'_>> = self.successor.iter().flat_map(Successor::waits).collect();
        entries.extend(self.predecessor.as_ref().map(poll::readable));
        entries.extend(self.watch.as_ref().map(poll::readable));
        entries
    }

    fn deadline(&self) -> Option<Instant> {
        let watch = self.watch.as_ref().and_then(Watch::deadline);
        let others =
            [self.successor.as_ref().and_then(Successor::deadline), self.watchdog.as_ref().map(Watchdog::deadline)];
        others.into_iter().chain([watch]).flatten().min()
    }

    fn hung_up(&mut self) {
        match self.successor.as_ref().filter(|it| it.is_in_charge()) {
            // Whoever sent it has read the pidfile a moment too early.
            Some(successor) => successor.tell(Order::Upgrade),
            None => self.request("signal"),
        }
    }

    fn stopped(&mut self) {
        if self.listener.take().is_some() {
            self.notifier.stopping();
        }
        self.further = None;
        self.watch = None;
        if let Some(successor) = self.successor.as_mut().filter(|it| !it.is_in_charge()) {
            successor.kill();
        }
    }

    fn turn(&mut self) -> io::Result<Option<&'static str>> {
        self.hear_predecessor()?;
        if self.watch.as_mut().map_or(Ok(0), Watch::changes)? > 0 {
            self.request("file changed");
        }
        let handed_over = self.attend_successor()?;
        self.begin_upgrade_if_due();
        if self.watchdog.as_mut().is_some_and(Watchdog::is_due) {
            self.notifier.alive();
        }
        Ok(handed_over.then_some("has handed over"))
    }

    /// Not before the predecessor has gone, who is cut by its own deadline: whoever stops the main process wants all to have ended
    /// with it.
    fn is_busy(&self) -> bool {
        self.predecessor.is_some() || self.successor.as_ref().is_some_and(Successor::is_killed)
    }
}

impl Steward {
    /// For whoever asks the supervisor how the service is.
    pub(super) fn serving(&self) -> String {
        format!("serving version {}", self.version)
    }

    fn request(&mut self, reason: &str) {
        self.log.line(format_args!("upgrade requested: {reason}"));
        self.pending = true;
    }

    fn hear_predecessor(&mut self) -> io::Result<()> {
        let Some(predecessor) = &self.predecessor else { return Ok(()) };
        match predecessor.hear()? {
            Heard::Gone => {
                self.log.line("its predecessor has gone");
                self.predecessor = None;
            }
            Heard::Orders(orders) if orders.contains(&Order::Upgrade) => self.request("passed on"),
            Heard::Orders(_) => {}
        }
        Ok(())
    }

    /// Looks after the one that is being started, or that has been; whether it took over just now.
    fn attend_successor(&mut self) -> io::Result<bool> {
        let Some(successor) = &mut self.successor else { return Ok(false) };
        let name = format!("main-{}", successor.pid());
        if let Some(exit) = successor.ended()? {
            let was_in_charge = successor.is_in_charge();
            self.successor = None;
            if was_in_charge {
                self.log.line(format_args!("{name}, its successor, has ended: {exit}"));
            } else {
                self.log.line(format_args!("{name} ended before it took over: {exit}"));
                self.give_up();
            }
            return Ok(false);
        }
        match successor.readiness()? {
            Readiness::Unknown => Ok(false),
            Readiness::Failed => {
                self.log.line(format_args!("{name} has failed or takes too long, killed"));
                successor.kill();
                Ok(false)
            }
            Readiness::Ready => Ok(self.hand_over(&name)),
        }
    }

    /// The upgrade has failed; what is served is what was served before.
    fn give_up(&self) {
        if self.listener.is_some() {
            self.log.line(format_args!("upgrade failed, serves on version {}", self.version));
            self.notifier.ready_as(&format!("upgrade failed, {}", self.serving()));
        }
    }

    /// The pidfile, then the supervisor, then the successor itself: when it serves, everybody knows it. Whether it does.
    fn hand_over(&mut self, name: &str) -> bool {
        let Some(successor) = &mut self.successor else { return false };
        if let Err(error) = successor.sign() {
            self.log.line(format_args!("cannot hand over to {name}: failed to {error}"));
            successor.kill();
            return false;
        }
        self.notifier.main_pid(successor.pid());
        let changed = self.watch.as_ref().is_some_and(|watch| watch.deadline().is_some());
        let orders = [(self.pending, Order::Upgrade), (changed, Order::Changed)];
        let orders: Vec<Order> = orders.into_iter().filter_map(|(is_due, order)| is_due.then_some(order)).collect();
        if let Err(error) = successor.put_in_charge(&orders) {
            self.log.line(format_args!("cannot hand over to {name}: {error}"));
            successor.kill();
            self.take_back();
            return false;
        }
        self.log.line(format_args!("upgraded: {name} takes over"));
        (self.listener, self.pidfile, self.watch, self.watchdog) = (None, None, None, None);
        self.further = None;
        self.files.clear();
        self.pending = false;
        true
    }

    /// The successor died in the instant in which it was announced.
    fn take_back(&mut self) {
        self.notifier.main_pid(std::process::id());
        if let Some(path) = self.pidfile.take().map(|pidfile| pidfile.path().to_owned()) {
            match Pidfile::create(&path) {
                Ok(pidfile) => self.pidfile = Some(pidfile),
                Err(error) => self.log.line(format_args!("failed to {error}")),
            }
        }
    }

    /// One at a time, and none before the last one is over.
    fn begin_upgrade_if_due(&mut self) {
        let (true, None, None) = (self.pending, &self.predecessor, &self.successor) else { return };
        let Some(listener) = &self.listener else { return };
        let further = self.further.as_deref().map_or(&[][..], Further::sockets);
        self.pending = false;
        self.notifier.reloading();
        match Successor::start(&self.program, listener, further, self.pidfile.as_ref(), self.ready_timeout) {
            Ok(successor) => {
                self.log.line(format_args!("started main-{}", successor.pid()));
                self.successor = Some(successor);
            }
            Err(error) => {
                self.log.line(format_args!("failed to {error}"));
                self.give_up();
            }
        }
    }

    /// Everything served has ended.
    pub(super) fn end(self) -> io::Result<()> {
        if let Some(killed) = self.successor.filter(Successor::is_killed) {
            killed.wait()?;
        }
        self.pidfile.map_or(Ok(()), Pidfile::remove)?;
        further::remove(&self.files);
        self.log.line("stopped");
        Ok(())
    }
}

//! Stalling the target's accepting, so that connections wait in the accept queue during the takeover.

use std::time::Duration;

use crate::clock::Interval;
use crate::event::What;
use crate::id::Image;
use crate::manifest::Stall;
use crate::run::census::Main;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::target::Signal;

impl Stage<'_> {
    /// Keeps the target from accepting, as the manifest says.
    pub(super) fn stall(&mut self) -> Result<(), RunError> {
        match self.plan.target.stall {
            None => Ok(()),
            Some(Stall::StopWorkers) => self.stop_workers(),
            Some(Stall::Connections(limit)) => {
                let (opened, _accepted) = self.half_requests("stall", limit.get())?;
                self.filling = opened;
                self.sink.put_at(self.clock.now(), What::Stalled { pids: Vec::new() });
                Ok(())
            }
        }
    }

    /// Stops the accepting processes, and waits until each stands still.
    fn stop_workers(&mut self) -> Result<(), RunError> {
        let keeper = self.main.as_ref().map(|main| main.image);
        if let Some(last) = &self.last_upgrade {
            // Whoever is about to give the listener up is no worker any more, and drains.
            let is_old = |image: &Image| Some(*image) != keeper && last.holders.contains(image);
            let given_up = || yes(self.holders().is_ok_and(|holders| !holders.iter().any(is_old)));
            let _given_up = self.within(self.plan.target.deadlines.drain, given_up)?;
        }
        let workers = self.holders()?.into_iter().filter(|image| Some(*image) != keeper);
        let workers: Vec<Main> = workers.filter_map(|image| self.identify(image.pid)).collect();
        let limit = self.plan.target.deadlines.start;
        if !self.stop_each(&workers, limit)? {
            self.deadline_passed("stall", limit);
        }
        let pids = workers.iter().map(|worker| worker.image.pid).collect();
        self.sink.put_at(self.clock.now(), What::Stalled { pids });
        self.stalled = workers.into_iter().map(|worker| worker.pidfd).collect();
        Ok(())
    }

    /// Stops them with SIGSTOP, and waits until each that has not ended stands still; false when `limit` passed first.
    pub(super) fn stop_each(&self, processes: &[Main], limit: Duration) -> Result<bool, RunError> {
        let told: Vec<&Main> = processes.iter().filter(|it| it.pidfd.send_signal(STOP).is_ok()).collect();
        let stands = |it: &&Main| self.state(it.image).is_none_or(|state| state == 'T');
        self.within(limit, || yes(told.iter().all(stands)))
    }

    /// Lets the stalled processes run again, and the held connections go.
    pub(super) fn unstall(&mut self) {
        self.filling.clear();
        for pidfd in self.stalled.drain(..) {
            // A stalled process that was killed meanwhile needs no signal.
            let _gone = pidfd.send_signal(CONT);
        }
        self.sink.put_at(self.clock.now(), What::Unstalled);
    }

    /// Completes connections into the accept queue, each with its request sent.
    pub(super) fn park(&mut self, connections: u32) -> Result<(), RunError> {
        self.ensure_load()?;
        let Some(load) = &self.load else { return Ok(()) };
        let parked = load.park(connections)?;
        if parked.failed > 0 {
            let reason = format!("{} of {connections} connections did not complete", parked.failed);
            self.action_failed("park", &reason);
        }
        // How full the queue is before the trigger is what a pass rests on: looked at here, because the observer's next look
        // may come after the takeover on a busy machine.
        let before = self.clock.now();
        let rows = self.listeners()?;
        self.sink.put(Interval::new(before, self.clock.now()), What::Listeners { rows });
        Ok(())
    }
}

/// SIGSTOP cannot be caught: the process stands still whatever it is doing.
const STOP: Signal = Signal(libc::SIGSTOP);
pub(super) const CONT: Signal = Signal(libc::SIGCONT);

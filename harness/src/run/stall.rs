//! Stalling the target's accepting, so that connections wait in the accept queue during the takeover.

use crate::clock::Interval;
use crate::event::What;
use crate::id::Image;
use crate::kernel::pidfd::Pidfd;
use crate::manifest::Stall;
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
        let workers: Vec<Image> = self.holders()?.into_iter().filter(|image| Some(*image) != keeper).collect();
        let mut pidfds: Vec<Pidfd> = Vec::new();
        for worker in &workers {
            match self.sandbox.open_pid(worker.pid) {
                Ok(pidfd) => pidfds.push(pidfd),
                Err(error) => self.action_failed("stall", &error.to_string()),
            }
        }
        for pidfd in &pidfds {
            if let Err(error) = pidfd.send_signal(STOP) {
                self.action_failed("stall", &error.to_string());
            }
        }
        let limit = self.plan.target.deadlines.start;
        let stopped =
            self.within(limit, || yes(workers.iter().all(|image| self.state(*image).is_none_or(|it| it == 'T'))))?;
        if !stopped {
            self.deadline_passed("stall", limit);
        }
        let pids = workers.iter().map(|image| image.pid).collect();
        self.sink.put_at(self.clock.now(), What::Stalled { pids });
        self.stalled = pidfds;
        Ok(())
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
pub(super) const STOP: Signal = Signal(libc::SIGSTOP);
pub(super) const CONT: Signal = Signal(libc::SIGCONT);

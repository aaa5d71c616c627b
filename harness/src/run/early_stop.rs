//! A stop while the target still starts: it is held in its listen(2) until it was told.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::event::What;
use crate::id::{Image, Pid};
use crate::observe::{Concern, HeldCall, StartupCalls};
use crate::ready::Probe;
use crate::run::daemon::REST;
use crate::run::observers::{HookedCalls, OutputWritten};
use crate::run::start::Launched;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::target::{Signal, TargetStop};
use crate::wait::ready_within;

/// How often a target whose launcher has returned is asked whether it serves already, and was never held.
const ASK_EVERY: Duration = Duration::from_millis(20);

impl Stage<'_> {
    /// Launches the target, and sends its stop signal to the process that stands in listen(2). Nothing where the target
    /// stops by a command, which needs what a whole start leaves, nor where the kernel does not hold calls.
    pub(super) fn early_stop(&mut self) -> Result<(), RunError> {
        let TargetStop::Signal(signal) = self.plan.target.stop else { return Ok(()) };
        if !self.plan.machine.listen_hook {
            return Ok(());
        }
        let (launched, hook) = self.launch_held()?;
        let mut calls = HookedCalls::new(hook.expect("a held launch has a hook"));
        let Some(call) = self.until_listening(&mut calls, &launched)? else {
            self.observers.hook_listen(calls)?;
            return self.stop_started(launched);
        };
        let main = self.stop_held(call.pid, signal)?;
        StartupCalls::answer_continue(&mut calls, call.id)?;
        self.observers.hook_listen(calls)?;
        if let Some(main) = main {
            self.await_end(main)?;
        }
        // A launcher that waits for its daemon learns of its end a little later.
        self.within(self.plan.target.deadlines.start, || yes(launched.pidfd.has_exited())).map(|_| ())
    }

    /// Nothing could be held: it is stopped once it is ready, as ever.
    fn stop_started(&mut self, launched: Launched) -> Result<(), RunError> {
        self.launched = Some(launched);
        if self.await_ready(self.plan.target.launch.returns, OutputWritten::default())? {
            self.find_main()?;
            self.stop_target()?;
        }
        Ok(())
    }

    /// Sends the stop signal to a process that is held.
    fn stop_held(&mut self, pid: Pid, signal: Signal) -> Result<Option<Image>, RunError> {
        // Whoever the pidfile names already, above the process that is held, is whom a stop is for.
        let above = || self.named_above(pid).ok().flatten().unwrap_or(pid);
        // Only init tells how its children end: first whatever is between is to be gone.
        let (init, procfs) = (self.sandbox.init_pid(), self.sandbox.procfs());
        let adopted = |pid| procfs.stat(pid).is_ok_and(|stat| stat.is_some_and(|stat| stat.ppid == init));
        let _adopted = self.within(REST, || yes(adopted(above())))?;
        self.main = self.identify(above());
        let Some(main) = &self.main else { return Ok(None) };
        self.tell_main(main)?;
        let action = format!("signal {signal} to pid {}, with pid {pid} in its listen(2)", main.image.pid);
        self.sink.put_at(self.clock.now(), What::StopAsked { action: action.clone() });
        if let Err(error) = main.pidfd.send_signal(signal) {
            self.action_failed(&action, &error.to_string());
        }
        Ok(Some(main.image))
    }

    /// The held listen(2) of the process that starts. `None`: it served before anything could be held (a launcher may
    /// listen for its daemon, and is never held), or it is gone.
    pub(super) fn until_listening(
        &self,
        calls: &mut HookedCalls,
        launched: &Launched,
    ) -> Result<Option<HeldCall>, RunError> {
        let returns = self.plan.target.launch.returns;
        let deadline = Instant::now() + self.plan.target.deadlines.start;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = launched.pidfd.has_exited();
            let limit = if ended { left.min(ASK_EVERY) } else { left };
            // The end of what was launched wakes once; afterwards its pidfd stays readable for ever.
            let launcher = (!ended).then(|| launched.pidfd.as_fd());
            let fds: Vec<_> = [StartupCalls::as_fd(calls), self.stop.as_fd()].into_iter().chain(launcher).collect();
            let ready = ready_within(&fds, limit);
            if ready[1].any() {
                return Err(RunError::Interrupted);
            }
            let serves = || matches!(self.probe(0, ASK_EVERY), Ok(Probe::Answered { .. }));
            if ready[0].readable {
                match StartupCalls::receive(calls)? {
                    Some((call, Some(Concern::Listen(address))))
                        if self.observers.endpoints().have_port(address.port())
                            && !(returns && call.pid == launched.pid) =>
                    {
                        return Ok(Some(call));
                    }
                    Some((call, _)) => StartupCalls::answer_continue(calls, call.id)?,
                    None => {}
                }
            } else if ready[0].hung_up || left.is_zero() || (ended && (!returns || serves())) {
                return Ok(None);
            }
        }
    }
}

//! What is done to the target while it is a unit of systemd.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::clock::Interval;
use crate::event::{Absence, Answer, ComeBack, LimitsSeen, Phase, ProcessLimits, QueuedRequest, UnitMoment, What};
use crate::id::Image;
use crate::manifest::Done;
use crate::observe::StartupCalls;
use crate::process::limits;
use crate::run::daemon::REST;
use crate::run::supervised::KILL;
use crate::run::systemd::of;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::scenario::Step;
use crate::systemd::{LIMITS, SERVICE};
use crate::target::{Signal, TargetStop};

/// Three times the pause before a restart (systemd.service(5), RestartSec=): by then it has begun, or never will.
const RESTART: Duration = Duration::from_millis(300);

/// Above any StartLimitBurst= that a scenario sets.
const KILLS_MAX: u32 = 10;

/// What a start may take that is to take too long. As short as it is long enough to come to listen(2).
const IMPATIENT: &str = "[Service]\nTimeoutStartSec=300ms\nRestart=no\n";

impl Stage<'_> {
    /// A step that only a unit of systemd can be put through.
    pub(super) fn unit_step(&mut self, step: &Step) -> Result<(), RunError> {
        match step {
            Step::StartTimedOut => self.start_timed_out(),
            Step::KillOut => self.kill_out(),
            Step::EndMain => self.end_main(),
            Step::AskStopped => self.ask_stopped(),
            Step::Limits => self.limits(),
            Step::UnitReload => self.unit_reload(),
            Step::AwaitWatchdog => self.await_watchdog(),
            other => unreachable!("`{}` is no step of units", other.word()),
        }
    }

    /// Kills the main process, and waits until systemd has started another one, or has given up.
    pub(super) fn kill_main_under_systemd(&mut self) -> Result<(), RunError> {
        let Some(main) = self.main.take() else { return Ok(()) };
        let before: Vec<Image> = self.unit_processes()?.into_iter().filter(|it| *it != main.image).collect();
        let restarts = times_restarted(&self.show()?);
        let began = self.clock.now();
        main.pidfd.send_signal(KILL).map_err(|error| RunError::Environment(error.to_string()))?;
        if self.plan.scenario.script().socket {
            self.ask_queued(Absence::Killed)?;
        }
        self.await_restart(restarts)?;
        let shown = self.show()?;
        let back = self.main_pid(&shown)?;
        self.take_main(back);
        let of_before = |stage: &Self| -> Vec<Image> { before.iter().copied().filter(|it| stage.lives(*it)).collect() };
        let _gone = self.within(REST, || yes(of_before(self).is_empty()))?;
        let back = ComeBack {
            killed: main.image.pid,
            main: back,
            starts: usize::try_from(times_restarted(&shown).saturating_sub(restarts)).unwrap_or(usize::MAX),
            running: of(&shown, "ActiveState") == "active",
            answer: self.ask()?,
            survivors: of_before(self),
        };
        self.sink.put(Interval::new(began, self.clock.now()), What::CameBack(back));
        Ok(())
    }

    /// Until there has been another restart that went well, or there will be none.
    fn await_restart(&self, restarts: u64) -> Result<bool, RunError> {
        let decided = |shown: &BTreeMap<String, String>| {
            let again = times_restarted(shown) > restarts && of(shown, "ActiveState") == "active";
            again || of(shown, "ActiveState") == "failed"
        };
        self.within(self.plan.target.deadlines.start, || yes(self.show().is_ok_and(|shown| decided(&shown))))
    }

    /// Kills the main process until there is none any more.
    fn kill_out(&mut self) -> Result<(), RunError> {
        for _ in 0..KILLS_MAX {
            let Some(main) = self.main.take() else { break };
            let restarts = times_restarted(&self.show()?);
            main.pidfd.send_signal(KILL).map_err(|error| RunError::Environment(error.to_string()))?;
            self.await_restart(restarts)?;
            let back = self.main_pid(&self.show()?)?;
            self.take_main(back);
        }
        self.tell_unit(UnitMoment::GivenUp)?;
        Ok(())
    }

    /// Has the main process stop as it would for systemd, without systemd's knowledge.
    fn end_main(&mut self) -> Result<(), RunError> {
        let Some(main) = self.main.take() else { return Ok(()) };
        let signal = match self.plan.target.stop {
            TargetStop::Signal(signal) => signal,
            TargetStop::Command(_) => Signal(libc::SIGTERM),
        };
        main.pidfd.send_signal(signal).map_err(|error| RunError::Environment(error.to_string()))?;
        self.await_gone(main.image)?;
        if self.stop.pause(RESTART) {
            return Err(RunError::Interrupted);
        }
        let main = self.tell_unit(UnitMoment::Ended)?;
        self.take_main(main);
        Ok(())
    }

    /// Stops the service alone, and sends a request to the socket.
    fn ask_stopped(&mut self) -> Result<(), RunError> {
        let _said = self.systemctl(&["stop", SERVICE])?;
        self.ask_queued(Absence::Stopped)?;
        self.await_state(self.plan.target.deadlines.start, |state| state == "active" || state == "failed")?;
        let main = self.main_pid(&self.show()?)?;
        self.take_main(main);
        Ok(())
    }

    fn ask_queued(&self, absence: Absence) -> Result<Answer, RunError> {
        let began = self.clock.now();
        let answer = self.ask()?;
        let request = QueuedRequest { absence, answer: answer.clone() };
        self.sink.put(Interval::new(began, self.clock.now()), What::QueuedRequest(request));
        Ok(answer)
    }

    /// Reads the limits of whoever serves, and those of a process of systemd's that changes none.
    fn limits(&self) -> Result<(), RunError> {
        let _said = self.systemctl(&["start", LIMITS])?;
        let given = limits(&fs::read_to_string(self.limits_path())?);
        let main = self.main.as_ref().map(|main| main.image);
        let mut serving: Vec<Image> = main.into_iter().chain(self.unit_holders()?).collect();
        serving.sort_unstable_by_key(|image| image.pid);
        serving.dedup();
        let mut processes = Vec::new();
        for image in serving {
            // One that has gone meanwhile does not serve.
            if let Some(text) = self.sandbox.procfs().read(&format!("{}/limits", image.pid))? {
                processes.push(ProcessLimits { image, limits: limits(&String::from_utf8_lossy(&text)) });
            }
        }
        self.sink.put_at(self.clock.now(), What::Limits(LimitsSeen { given, processes }));
        Ok(())
    }

    /// One upgrade through systemd.
    fn unit_reload(&mut self) -> Result<(), RunError> {
        let Some(restart) = self.plan.target.restart.clone() else { return Ok(()) };
        let before = self.before_upgrade()?;
        self.phase(Phase::Trigger);
        self.deploy(before.version)?;
        before.deployed(self.plan.target.deadlines.upgrade);
        let began = self.clock.now();
        // One that announces a reload and never its end would be waited for.
        let _said = self.systemctl(&["reload", "--no-block", SERVICE])?;
        let action = format!("run systemctl reload {SERVICE}");
        let what = What::Triggered { upgrade: before.id, version: before.version, action };
        self.sink.put(Interval::new(began, self.clock.now()), what);
        // What a unit writes goes to systemd's journal: where an answer tells the version, that is the sign.
        let done = if self.plan.target.tells_versions() { Done::NewVersion } else { restart.done };
        let done = self.await_done(&done, &before)?;
        self.await_state(self.plan.target.deadlines.upgrade, |state| state != "reloading")?;
        let main = self.tell_unit(UnitMoment::Reloaded)?;
        if main != self.main.as_ref().map(|main| main.image.pid) {
            self.take_main(main);
        }
        self.follow_exec();
        if done {
            self.last_upgrade = Some(before);
        }
        Ok(())
    }

    /// Two intervals of the watchdog: in one of them it would have lost patience.
    fn await_watchdog(&mut self) -> Result<(), RunError> {
        let shown = self.show()?;
        let Some(interval) = time_span(of(&shown, "WatchdogUSec")) else {
            let what = of(&shown, "WatchdogUSec");
            return Err(RunError::Environment(format!(
                "failed to know the watchdog's interval: systemd shows {what:?}"
            )));
        };
        if self.stop.pause(2 * interval) {
            return Err(RunError::Interrupted);
        }
        let main = self.tell_unit(UnitMoment::Watched)?;
        if main != self.main.as_ref().map(|main| main.image.pid) {
            self.take_main(main);
        }
        Ok(())
    }

    /// Starts the unit with little patience, and holds it until that is over.
    fn start_timed_out(&mut self) -> Result<(), RunError> {
        let Some((mut calls, watch)) = self.systemd.as_mut().and_then(|it| it.calls.take()) else { return Ok(()) };
        let place = self.unit_directory().join(format!("{SERVICE}.d"));
        fs::create_dir_all(&place)?;
        fs::write(place.join("impatient.conf"), IMPATIENT)?;
        let _said = self.systemctl(&["daemon-reload"])?;
        // From here on its calls are ours to answer.
        drop(watch);
        let _said = self.systemctl(&["start", "--no-block", SERVICE])?;
        let limit = self.plan.target.deadlines.start;
        let held = match &self.systemd {
            Some(systemd) => self.until_listening(&mut calls, &systemd.boot)?,
            None => None,
        };
        let decided = self.await_state(limit, |state| state != "activating");
        if let Some(call) = held {
            StartupCalls::answer_continue(&mut calls, call.id)?;
        }
        decided?;
        self.observers.hook_listen(calls)?;
        self.await_state(limit, |state| state != "activating" && state != "deactivating")?;
        self.tell_unit(UnitMoment::TimedOut)?;
        Ok(())
    }
}

/// How often systemd has started it again.
fn times_restarted(shown: &BTreeMap<String, String>) -> u64 {
    of(shown, "NRestarts").parse().unwrap_or(0)
}

/// A time as systemd shows short ones: "500ms", "1s" (systemd.time(7)). `None` for none, and for longer ones, which no scenario
/// waits for.
fn time_span(shown: &str) -> Option<Duration> {
    let digits = shown.find(|it: char| !it.is_ascii_digit())?;
    let number: u64 = shown[..digits].parse().ok()?;
    match &shown[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_time_is_read_as_it_is_shown() {
        assert_eq!(time_span("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(time_span("2s"), Some(Duration::from_secs(2)));
        assert_eq!(time_span("infinity"), None);
        assert_eq!(time_span("0"), None);
    }
}

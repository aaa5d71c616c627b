//! One upgrade by the manifest's restart steps: from the trigger to the done event, and on to the old generation's end.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::clock::{Interval, Nanos};
use crate::event::{ExitStatus, Phase, What};
use crate::id::{Image, UpgradeId, Version};
use crate::manifest::{Done, MainProcess};
use crate::ready::Probe;
use crate::request::Pattern;
use crate::run::observers::OutputWritten;
use crate::run::start::CommandLine;
use crate::run::{CommandKey, RunError, Stage};
use crate::target::{Signal, TargetAwait, TargetRecipient, TargetRestartStep, Template};
use crate::wait::{Look, Stop, WaitError, until};

/// How often a condition of an upgrade that no event announces is looked at, at first ([`until`]): below the millisecond, so that the
/// time of the done event is exact to about that, or to 3 % of a long wait.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// The pause between two acts beside an upgrade: hundreds of short ones in the tenths of a second that it takes.
const PACE: Duration = Duration::from_millis(1);

/// Kept connections before a trigger: all but a few that are being opened again (the floor is 12 of 16).
const BUSY_STEADY: u32 = 14;

/// Slow requests before a trigger: above the floor of 10 by those that may end before the trigger is pulled.
const SLOW_STEADY: u32 = 13;

/// HTTP/2 streams before a trigger: twice the floor of 10, as most of them end within a millisecond; some 60 are usual.
const H2_STEADY: u32 = 20;

/// Idle kept connections before a trigger: all but a few of 24; some of them are being used, and the floor is 16.
const IDLE_STEADY: u32 = 20;

/// Silent connections before a trigger, and half heads: above the floors of 8 and 6 by those that may go on before it, where the load is
/// late just then; 15 and 12 are usual.
const SILENT_STEADY: u32 = 12;
const HALF_STEADY: u32 = 9;

/// What the kernel may take for an exit(2). It takes milliseconds; on a busy disk it has taken seconds.
const LEAVING: Duration = Duration::from_secs(60);

/// A probe that takes longer than this is given up and another one sent: it may wait in the queue of a stalled old
/// listener, and a deadline or an interrupt must not be held up by it.
const PROBE_LIMIT: Duration = Duration::from_millis(250);

/// What an upgrade remembers of the time before its trigger.
pub(super) struct Before {
    pub(super) id: UpgradeId,
    pub(super) version: Version,
    /// When the trigger was pulled; `None` before, and where a step of its own does it.
    pub(super) triggered: Option<Nanos>,
    pub(super) main: Option<Image>,
    /// The images that held the listener.
    pub(super) holders: Vec<Image>,
    /// What it had written.
    written: OutputWritten,
    /// The end of the upgrade's deadline.
    until: Cell<Instant>,
}

impl Before {
    /// The target has what it needs: its time begins. A slow disk at our own copying is not its business.
    pub(super) fn deployed(&self, limit: Duration) {
        self.until.set(Instant::now() + limit);
    }
}

impl Stage<'_> {
    /// Runs one upgrade until its done event, or until its deadline passed (which is evidence, not an error).
    pub(super) fn upgrade(&mut self) -> Result<(), RunError> {
        self.upgrade_when(|_, _| Ok(()))
    }

    /// The same, and this right before its trigger.
    pub(super) fn upgrade_when(
        &mut self,
        prepare: impl FnOnce(&Self, UpgradeId) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let Some(restart) = self.plan.target.restart.clone() else { return Ok(()) };
        self.await_steady_load()?;
        let mut before = self.before_upgrade()?;
        self.phase(Phase::Trigger);
        let (trigger, mut prepare) = (restart.trigger(), Some(prepare));
        let mut completed = true;
        for (index, step) in restart.steps.iter().enumerate() {
            if index == trigger {
                // Again: the steps before it take their time, in which those that wait go on.
                self.hold_steady_load()?;
                self.note_half_open(before.id)?;
                prepare.take().map_or(Ok(()), |prepare| prepare(self, before.id))?;
            }
            let began = self.clock.now();
            let outcome = self.restart_step(step, &before)?;
            if index == trigger {
                self.hold_pauses(false)?;
                before.triggered = Some(began);
                let action = describe(step);
                let what = What::Triggered { upgrade: before.id, version: before.version, action };
                self.sink.put(Interval::new(began, self.clock.now()), what);
                self.note_unread(before.id);
            }
            if let Err(reason) = outcome {
                self.action_failed(&describe(step), &reason);
                completed = false;
                break;
            }
        }
        let done = completed && self.await_done(&restart.done, &before)?;
        // Done or not: what spans the upgrade need be held no longer.
        if let Some(load) = &self.load {
            load.release()?;
        }
        if done {
            if self.plan.target.main == MainProcess::Pidfile {
                self.find_main()?;
            }
            // Without a done event the old generation has no reason to go: nothing to settle.
            self.last_upgrade = Some(before);
        }
        Ok(())
    }

    /// One upgrade until the old generation is gone, and this act again and again meanwhile.
    pub(super) fn upgrade_while(
        &mut self,
        mut act: impl FnMut() -> Result<(), RunError> + Send,
    ) -> Result<(), RunError> {
        let over = Stop::new()?;
        std::thread::scope(|scope| {
            let acting = scope.spawn(|| {
                while !over.pause(PACE) {
                    act()?;
                }
                Ok(())
            });
            let upgraded = self.upgrade().and_then(|()| self.settle());
            over.ask();
            let acted = acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            upgraded.and(acted)
        })
    }

    /// Waits until the load is at its floors again: the last upgrade may have cut it, and slow requests need their time
    /// to become many. False when they do not; the witnesses will say so.
    pub(super) fn await_steady_load(&self) -> Result<bool, RunError> {
        self.within(self.plan.target.deadlines.start, || yes(self.is_load_steady() || self.nobody_is_left()))
    }

    /// The same, and no pause ends from then on until they are let go. A trigger that is a command may last: who went on meanwhile would
    /// have been open neither before it nor after. And a load that is late ends many pauses at once: of 12 that were seen six were
    /// left at the trigger, beside two busy processes and a build. Once they are held, what is seen stays.
    fn hold_steady_load(&self) -> Result<(), RunError> {
        let until = self.clock.now().plus(self.plan.target.deadlines.start);
        loop {
            let steady = self.await_steady_load()?;
            self.hold_pauses(true)?;
            if !steady || self.is_load_steady() || self.nobody_is_left() || self.clock.now() > until {
                return Ok(());
            }
            self.hold_pauses(false)?;
        }
    }

    fn is_load_steady(&self) -> bool {
        let Some(load) = &self.load else { return true };
        self.patterns.iter().all(|pattern| match pattern {
            Pattern::Busy => load.busy_connections() >= BUSY_STEADY,
            Pattern::Websocket => load.open_connections(*pattern) >= BUSY_STEADY,
            Pattern::Slow => load.slow_in_flight() >= SLOW_STEADY,
            Pattern::H2 => load.open_connections(*pattern) >= H2_STEADY,
            Pattern::Idle => load.open_connections(*pattern) >= IDLE_STEADY,
            Pattern::Silent => load.open_connections(*pattern) >= SILENT_STEADY,
            Pattern::Half => load.open_connections(*pattern) >= HALF_STEADY,
            Pattern::Reader => !load.unread().is_empty(),
            Pattern::Upload => load.open_connections(*pattern) > 0,
            Pattern::Fresh | Pattern::Parked | Pattern::HalfOpen | Pattern::Tls | Pattern::Flow | Pattern::Canary => {
                true
            }
        })
    }

    fn hold_pauses(&self, held: bool) -> Result<(), RunError> {
        if let Some(load) = &self.load {
            load.hold_pauses(held)?;
        }
        Ok(())
    }

    /// The main process has ended, and nobody else listens: no load will come to anything.
    fn nobody_is_left(&self) -> bool {
        let ended = self.main.as_ref().is_some_and(|main| main.pidfd.has_exited());
        ended && self.holders().is_ok_and(|holders| holders.is_empty())
    }

    /// Tells how much of their answers slow readers have not read, right after the trigger: at it, that was no less.
    fn note_unread(&self, upgrade: UpgradeId) {
        let Some(load) = self.load.as_ref().filter(|_| self.patterns.contains(&Pattern::Reader)) else { return };
        self.sink.put_at(self.clock.now(), What::StreamsUnread { upgrade, bytes: load.unread() });
    }

    /// What is to be known before a trigger, and the counters before it.
    pub(super) fn before_upgrade(&mut self) -> Result<Before, RunError> {
        self.upgrades += 1;
        let id = UpgradeId(self.upgrades);
        self.observers.read_counters(&format!("before upgrade {id}"))?;
        self.begun = self.observers.output_written();
        Ok(Before {
            id,
            version: Version(self.version.0 + 1),
            triggered: None,
            main: self.main.as_ref().map(|main| main.image),
            holders: self.unit_holders()?,
            written: self.begun,
            until: Cell::new(Instant::now() + self.plan.target.deadlines.upgrade),
        })
    }

    /// Carries one step out. The outer error is ours, the inner one the target's.
    pub(super) fn restart_step(
        &mut self,
        step: &TargetRestartStep,
        before: &Before,
    ) -> Result<Result<(), String>, RunError> {
        let with = self.placeholders();
        Ok(match step {
            TargetRestartStep::Deploy => {
                self.deploy(before.version)?;
                before.deployed(self.plan.target.deadlines.upgrade);
                Ok(())
            }
            TargetRestartStep::Signal { signal, to } => self.signal(*signal, to, before),
            TargetRestartStep::Run(command) => {
                let command = command.iter().map(|word| word.fill(&with)).collect();
                self.run_command(command, before)?
            }
            TargetRestartStep::Launch => self.relaunch()?,
            TargetRestartStep::Touch(path) => {
                self.touch(Path::new(&path.fill(&with)))?;
                Ok(())
            }
            TargetRestartStep::Replace(path) => {
                self.replace_by_copy(Path::new(&path.fill(&with)))?;
                Ok(())
            }
            TargetRestartStep::Rewrite(path) => {
                self.rewrite_in_place(Path::new(&path.fill(&with)))?;
                Ok(())
            }
            TargetRestartStep::Wait(what) => self.wait_for(what, before)?,
        })
    }

    fn signal(&mut self, signal: Signal, to: &TargetRecipient, before: &Before) -> Result<(), String> {
        let pid = match to {
            TargetRecipient::Main | TargetRecipient::NewMain => {
                self.main.as_ref().map(|main| main.image.pid).ok_or("no main process is known")?
            }
            TargetRecipient::OldMain => before.main.map(|image| image.pid).ok_or("no old main process is known")?,
            TargetRecipient::PidIn(path) => {
                let path = path.fill(&self.placeholders());
                self.pid_in(Path::new(&path)).ok_or_else(|| format!("{path} holds no process id"))?
            }
        };
        let pidfd = self.sandbox.open_pid(pid).map_err(|error| error.to_string())?;
        pidfd.send_signal(signal).map_err(|error| error.to_string())
    }

    fn run_command(&mut self, command: Vec<String>, before: &Before) -> Result<Result<(), String>, RunError> {
        let name = command.join(" ");
        let (directory, environment) = (self.target_dir.clone(), self.clean_environment());
        let launched =
            self.spawn(CommandKey::Restart, CommandLine { program: None, words: command, directory, environment })?;
        let mut ended = None;
        self.until_deadline(before, || {
            ended = self.observers.exit_status(launched.pid);
            yes(ended.is_some())
        })?;
        Ok(match ended {
            Some(ExitStatus::Code(0)) => Ok(()),
            Some(status) => Err(format!("{name} ended with {status:?}")),
            None => Err(format!("{name} did not end in time")),
        })
    }

    fn relaunch(&mut self) -> Result<Result<(), String>, RunError> {
        let launched = self.launch()?;
        if self.plan.target.launch.returns && !self.launcher_returned(&launched)? {
            return Ok(Err("the launcher did not return with 0".to_owned()));
        }
        self.launched = Some(launched);
        if self.plan.target.main == MainProcess::Launched {
            self.find_main()?;
        }
        Ok(Ok(()))
    }

    /// Whether it comes within so long, in an upgrade that may fail.
    pub(super) fn comes(&mut self, what: &TargetAwait, before: &Before, limit: Duration) -> Result<bool, RunError> {
        before.until.set(Instant::now() + limit);
        Ok(self.wait_for(what, before)?.is_ok())
    }

    fn wait_for(&mut self, what: &TargetAwait, before: &Before) -> Result<Result<(), String>, RunError> {
        let with = self.placeholders();
        let there = |path: &Template| Path::new(&path.fill(&with)).exists();
        let seen = match what {
            TargetAwait::File(path) => self.until_deadline(before, || yes(there(path)))?,
            TargetAwait::FileGone(path) => self.until_deadline(before, || yes(!there(path)))?,
            TargetAwait::NewMain => self.wait_new_main(before)?,
            TargetAwait::OldMainExit => self.wait_gone(before, before.main.as_slice())?,
            TargetAwait::OldWorkersExit => {
                let workers: Vec<Image> =
                    before.holders.iter().copied().filter(|image| Some(*image) != before.main).collect();
                self.wait_gone(before, &workers)?
            }
            TargetAwait::NewVersion => self.await_version(before)?,
        };
        Ok(if seen { Ok(()) } else { Err(format!("{what:?} did not happen within the upgrade's deadline")) })
    }

    fn wait_new_main(&mut self, before: &Before) -> Result<bool, RunError> {
        let old = before.main;
        let mut found = None;
        let seen = self.until_deadline(before, || {
            found = self.main_by_pidfile().filter(|main| Some(main.image) != old);
            yes(found.is_some())
        })?;
        if let Some(main) = found {
            self.sink.put_at(self.clock.now(), What::Main { image: main.image });
            self.main = Some(main);
        }
        Ok(seen)
    }

    fn wait_gone(&mut self, before: &Before, images: &[Image]) -> Result<bool, RunError> {
        self.until_deadline(before, || yes(!images.iter().any(|image| self.lives(*image))))
    }

    pub(super) fn await_done(&mut self, done: &Done, before: &Before) -> Result<bool, RunError> {
        let by = match done {
            Done::Steps => Some("the restart steps returned".to_owned()),
            Done::OldMainExit => {
                self.wait_gone(before, before.main.as_slice())?.then(|| "the old main process exited".to_owned())
            }
            Done::NewVersion => self.await_version(before)?.then(|| format!("version {} answered", before.version)),
            Done::Output(text) => {
                let written = || yes(self.observers.output_contains(text, before.written));
                self.until_deadline(before, written)?.then(|| format!("output {text:?}"))
            }
        };
        match by {
            Some(by) => {
                self.sink.put_at(self.clock.now(), What::UpgradeDone { upgrade: before.id, by });
                // Nobody's word for it is an answer; without load nobody has asked yet. As long as connections are held to stall
                // it, the old generation may have to finish these first: then the answer is waited for when they are let go.
                let unasked = self.patterns.is_empty() && self.filling.is_empty();
                if self.plan.target.tells_versions() && unasked && *done != Done::NewVersion {
                    self.await_version(before)?;
                }
                Ok(true)
            }
            None => {
                self.deadline_passed("upgrade", self.plan.target.deadlines.upgrade);
                Ok(false)
            }
        }
    }

    /// Waits until an answer carries the new version: of the load, or of a probe where no schedule sends requests.
    fn await_version(&mut self, before: &Before) -> Result<bool, RunError> {
        self.until_deadline(before, || yes(self.answers(before.version)))
    }

    /// Whether this version, or a later one, has answered by now.
    pub(super) fn answers(&self, wanted: Version) -> bool {
        let newest = self.load.as_ref().and_then(crate::load::Load::newest_version);
        let seen = newest.is_some_and(|(version, _)| version >= wanted);
        seen || (self.patterns.is_empty() && self.probed_version() >= Some(wanted))
    }

    /// The version that answers a probe now; it is told in the history.
    fn probed_version(&self) -> Option<Version> {
        let asked = self.clock.now();
        let Ok(Probe::Answered { version: Some(version) }) = self.probe(0, PROBE_LIMIT) else { return None };
        self.sink.put(Interval::new(asked, self.clock.now()), What::Probed { version });
        Some(version)
    }

    fn until_deadline(&self, before: &Before, look: impl FnMut() -> Look<(), ()>) -> Result<bool, RunError> {
        let left = before.until.get().saturating_duration_since(Instant::now());
        self.within(left, look)
    }

    /// Waits for a condition, at most `limit` and what [`Stage::lengthened`] adds; false when that passed first.
    pub(super) fn within(&self, limit: Duration, mut look: impl FnMut() -> Look<(), ()>) -> Result<bool, RunError> {
        self.lengthened(limit, |left| match until(left, LOOK_EVERY, &self.stop, &mut look) {
            Ok(()) => Ok(Some(true)),
            Err(WaitError::Never(())) => Ok(Some(false)),
            Err(WaitError::Stopped) => Err(RunError::Interrupted),
            Err(WaitError::Deadline(_)) => Ok(None),
        })
    }

    /// Waits once, and for as long as the target lacked a processor meanwhile again, once more the limit at most: what still
    /// has not come then did not lack the time. `wait` tells `None` when what it was given had passed.
    pub(super) fn lengthened(
        &self,
        limit: Duration,
        mut wait: impl FnMut(Duration) -> Result<Option<bool>, RunError>,
    ) -> Result<bool, RunError> {
        let (began, lacked_before) = (self.clock.now(), self.sink.starved());
        let (mut left, mut added) = (limit, Duration::ZERO);
        let seen = loop {
            if let Some(seen) = wait(left)? {
                break seen;
            }
            left = (self.sink.starved() - lacked_before).min(limit).saturating_sub(added);
            if left.is_zero() {
                break false;
            }
            added += left;
        };
        if !added.is_zero() {
            let by_ms = u64::try_from(added.as_millis()).unwrap_or(u64::MAX);
            self.sink.put(Interval::new(began, self.clock.now()), What::WaitLengthened { by_ms });
        }
        Ok(seen)
    }

    /// Waits until the generation before the last upgrade is gone: every image that held the listener at the trigger,
    /// the keeper (a main process that outlives it) spared.
    pub(super) fn settle(&mut self) -> Result<(), RunError> {
        self.phase(Phase::Drain);
        let Some(before) = self.last_upgrade.take() else { return Ok(()) };
        let keeper = self.main.as_ref().map(|main| main.image);
        self.main_moved = before.main.zip(keeper).is_some_and(|(before, now)| before.pid != now.pid);
        let old: Vec<Image> = before.holders.iter().copied().filter(|image| Some(*image) != keeper).collect();
        // Nobody but the main process serves: its old generation is gone when the new one answers from the same process, be
        // it the same program with another configuration, or another program.
        let is_alone = self.plan.target.tells_versions() && before.holders.as_slice() == keeper.as_slice();
        let limit = self.plan.target.deadlines.drain;
        let gone = || old.iter().all(|image| !self.runs(*image)) && (!is_alone || self.answers(before.version));
        let settled = self.within(limit, || yes(gone()))?;
        self.follow_exec();
        if settled {
            // Who is in exit(2) has done his part. The kernel may have more to do: the last process of a replaced executable
            // takes its file along.
            let _gone = self.within(LEAVING, || yes(old.iter().all(|image| !self.lives(*image))))?;
            self.sink.put_at(self.clock.now(), What::UpgradeSettled { upgrade: before.id });
            self.await_first_answer()?;
        } else {
            self.deadline_passed("drain", limit);
        }
        self.observers.read_counters(&format!("after upgrade {}", before.id))?;
        Ok(())
    }

    /// A generation that goes at once may be gone before any client has asked the next one. What follows may end the load, and then none would.
    fn await_first_answer(&self) -> Result<(), RunError> {
        if self.plan.target.tells_versions() && !self.patterns.is_empty() {
            // When it does not come, what it lacks is for the checks to say.
            let _came = self.within(self.plan.target.deadlines.request, || yes(self.answers(self.version)))?;
        }
        Ok(())
    }
}

pub(super) fn yes(condition: bool) -> Look<(), ()> {
    if condition { Look::Yes(()) } else { Look::NotYet }
}

pub(super) fn describe(step: &TargetRestartStep) -> String {
    match step {
        TargetRestartStep::Deploy => "deploy".to_owned(),
        TargetRestartStep::Signal { signal, to } => format!("signal {signal} to {}", recipient(to)),
        TargetRestartStep::Run(command) => {
            format!("run {}", command.iter().map(Template::as_written).collect::<Vec<_>>().join(" "))
        }
        TargetRestartStep::Launch => "launch".to_owned(),
        TargetRestartStep::Touch(path) => format!("touch {}", path.as_written()),
        TargetRestartStep::Replace(path) => format!("replace {}", path.as_written()),
        TargetRestartStep::Rewrite(path) => format!("rewrite {}", path.as_written()),
        TargetRestartStep::Wait(what) => format!("wait for {what:?}"),
    }
}

fn recipient(to: &TargetRecipient) -> String {
    match to {
        TargetRecipient::Main => "main".to_owned(),
        TargetRecipient::OldMain => "old main".to_owned(),
        TargetRecipient::NewMain => "new main".to_owned(),
        TargetRecipient::PidIn(path) => format!("the pid in {}", path.as_written()),
    }
}

//! The target as a unit of a real systemd.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::event::{UnitMoment, What};
use crate::id::Pid;
use crate::kernel::seccomp::Hold;
use crate::observe::StartupCalls;
use crate::run::observers::{HookedCalls, OutputWritten};
use crate::run::start::{CommandLine, Launched};
use crate::run::upgrade::yes;
use crate::run::{CommandKey, RunError, Stage};
use crate::sandbox::{SYSTEMD, SpawnRequest};
use crate::systemd::{self, PROPERTIES, SERVICE, Service};
use crate::target::{Signal, TargetStop};

/// How long systemd may take to boot, and to answer; both take a fraction of a second.
const BOOT: Duration = Duration::from_secs(30);

/// For how long the service is held in its listen(2): above any time that systemd needs to believe a notification.
const HELD: Duration = Duration::from_secs(1);

/// A systemd that runs.
#[derive(Debug)]
pub(super) struct Systemd {
    /// Its pid 1, as the target's world sees it.
    leader: Pid,
    /// The process that made its namespaces, and ends with it.
    boot: Launched,
}

impl Stage<'_> {
    /// Boots systemd with the target as a unit of type notify, holds it in its listen(2) to see what systemd thinks of it then,
    /// and waits until it is active.
    pub(super) fn start_under_systemd(&mut self) -> Result<(), RunError> {
        self.main = None;
        let (boot, hook) = self.boot()?;
        let mut calls = HookedCalls::new(hook);
        let held = self.until_listening(&mut calls, &boot)?;
        self.systemd = Some(Systemd { leader: self.leader_of(boot.pid)?, boot });
        if let Some(call) = held {
            // What systemd has been told by now it has been told too early.
            if self.stop.pause(HELD) {
                return Err(RunError::Interrupted);
            }
            let told = self.tell_unit(UnitMoment::Held);
            StartupCalls::answer_continue(&mut calls, call.id)?;
            told?;
        }
        self.observers.hook_listen(calls)?;
        // It is no child of the init's: whether it has ended is systemd's to know.
        let _serves = self.await_ready(true, OutputWritten::default())?;
        let limit = self.plan.target.deadlines.start;
        let _active = self.within(limit, || yes(self.show().is_ok_and(|it| it["ActiveState"] != "activating")))?;
        let main = self.tell_unit(UnitMoment::Started)?;
        self.take_main(main);
        Ok(())
    }

    /// Kills the main process, and waits until systemd has started another one, or has given up.
    pub(super) fn kill_main_under_systemd(&mut self) -> Result<(), RunError> {
        let Some(main) = self.main.take() else { return Ok(()) };
        main.pidfd.send_signal(Signal(libc::SIGKILL)).map_err(|error| RunError::Environment(error.to_string()))?;
        let again = |shown: &BTreeMap<String, String>| shown["NRestarts"] != "0" && shown["ActiveState"] == "active";
        let _back = self.within(self.plan.target.deadlines.start, || {
            yes(self.show().is_ok_and(|shown| again(&shown) || shown["ActiveState"] == "failed"))
        })?;
        let main = self.tell_unit(UnitMoment::CameBack)?;
        self.take_main(main);
        Ok(())
    }

    /// Stops the unit, tells how that went, and ends systemd.
    pub(super) fn stop_under_systemd(&mut self) -> Result<(), RunError> {
        let Some(leader) = self.systemd.as_ref().map(|it| it.leader) else { return Ok(()) };
        self.sink.put_at(self.clock.now(), What::StopAsked { action: format!("run systemctl stop {SERVICE}") });
        let _said = self.systemctl(&["stop", SERVICE])?;
        if let Some(main) = self.main.as_ref().map(|main| main.image) {
            self.await_end(main)?;
        }
        self.tell_unit(UnitMoment::Stopped)?;
        let Some(Systemd { boot, .. }) = self.systemd.take() else { return Ok(()) };
        // It has nothing to lose: with pid 1 the kernel ends the rest of its namespace.
        let killed = self.sandbox.open_pid(leader)?.send_signal(Signal(libc::SIGKILL));
        killed.map_err(|error| RunError::Environment(error.to_string()))?;
        if !self.within(BOOT, || yes(boot.pidfd.has_exited()))? {
            return Err(RunError::Environment("failed to end systemd".to_owned()));
        }
        Ok(())
    }

    fn boot(&mut self) -> Result<(Launched, OwnedFd), RunError> {
        let (state, units) = (self.target_dir.join("systemd"), self.target_dir.join("systemd/units"));
        fs::create_dir_all(&units)?;
        for (name, text) in self.units() {
            fs::write(units.join(name), text)?;
        }
        let group = self.sandbox.own_group()?;
        let name = SYSTEMD.to_string_lossy().into_owned();
        let paths = [&state, &self.target_dir, &units, &group].map(|path| path.display().to_string());
        let words = std::iter::once(name).chain(paths).collect();
        let (directory, environment) = (self.target_dir.clone(), self.clean_environment());
        // The init is this executable, and so is what it forks.
        let command = CommandLine { program: Some("/proc/self/exe"), words, directory, environment };
        let (boot, hook) = self.execute(CommandKey::Launch, command, Some(Hold::Listen))?;
        Ok((boot, hook.expect("a held launch has a hook")))
    }

    fn units(&self) -> BTreeMap<String, String> {
        let launch = self.launch_command(&[]);
        let stop_wait = format!("TimeoutStopSec={}ms", self.plan.target.deadlines.stop.as_millis());
        let pidfile = self.pidfile_path().map(|path| path.display().to_string()).unwrap_or_default();
        let written = self.plan.scenario.script().unit.iter().map(|line| line.replace("{pidfile}", &pidfile));
        let settings: Vec<String> = written.chain([stop_wait]).collect();
        systemd::units(&Service {
            command: &launch.words,
            directory: &launch.directory,
            environment: &launch.environment,
            umask: self.plan.target.launch.umask,
            stop: match self.plan.target.stop {
                TargetStop::Signal(signal) => signal,
                // A supervisor stops by signals alone.
                TargetStop::Command(_) => Signal(libc::SIGTERM),
            },
            output: &self.target_dir.join("unit.log"),
            settings: &settings,
        })
    }

    /// The child of the process that made the namespaces.
    fn leader_of(&self, boot: Pid) -> Result<Pid, RunError> {
        let stats = self.sandbox.procfs().scan()?;
        let child = stats.iter().find(|stat| stat.ppid == boot).map(|stat| stat.image.pid);
        child.ok_or_else(|| RunError::Environment("failed to boot systemd: see stderr.log of the run".to_owned()))
    }

    /// What systemd shows of the unit now, as an event; gives its main process.
    fn tell_unit(&self, moment: UnitMoment) -> Result<Option<Pid>, RunError> {
        let properties = self.show()?;
        let main = self.main_pid(&properties)?;
        let server = self.main_by_service()?.map(|it| it.image.pid);
        self.sink.put_at(self.clock.now(), What::Unit { moment, properties, main, server });
        Ok(main)
    }

    fn show(&self) -> Result<BTreeMap<String, String>, RunError> {
        let properties = format!("--property={}", PROPERTIES.join(","));
        Ok(systemd::properties(&self.systemctl(&["show", properties.as_str(), SERVICE])?))
    }

    /// Runs systemctl inside, and gives what it prints.
    fn systemctl(&self, words: &[&str]) -> Result<String, RunError> {
        let Some(Systemd { leader, .. }) = &self.systemd else {
            return Err(RunError::Environment("failed to run systemctl: systemd does not run".to_owned()));
        };
        let inside = [
            "nsenter",
            "--target",
            &leader.to_string(),
            "--mount",
            "--pid",
            "--cgroup",
            "--uts",
            "--ipc",
            "--",
            "systemctl",
        ]
        .map(str::to_owned);
        let path = self.target_dir.join("systemctl.out");
        let (null, out) = (File::options().read(true).write(true).open("/dev/null")?, File::create(&path)?);
        let argv: Vec<String> = inside.into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect();
        let request = SpawnRequest {
            program: argv[0].clone(),
            argv,
            environment: self.clean_environment(),
            umask: 0o22,
            ..Default::default()
        };
        let stdio = [null.try_clone()?.into(), out.into(), null.into()];
        let spawned = self.sandbox.spawn(&request, stdio)?;
        if !self.within(BOOT, || yes(spawned.pidfd.has_exited()))? {
            return Err(RunError::Environment("failed to hear from systemctl".to_owned()));
        }
        Ok(fs::read_to_string(&path)?)
    }

    /// The process that systemd calls MainPID, in the target's world.
    fn main_pid(&self, shown: &BTreeMap<String, String>) -> Result<Option<Pid>, RunError> {
        let procfs = self.sandbox.procfs();
        for stat in procfs.scan()?.into_iter().filter(|stat| !stat.is_dead()) {
            let status = procfs.read(&format!("{}/status", stat.image.pid))?.unwrap_or_default();
            if innermost(&String::from_utf8_lossy(&status)) == shown.get("MainPID").map(String::as_str) {
                return Ok(Some(stat.image.pid));
            }
        }
        Ok(None)
    }

    fn take_main(&mut self, pid: Option<Pid>) {
        self.main = pid.and_then(|pid| self.identify(pid));
        if let Some(main) = &self.main {
            self.sink.put_at(self.clock.now(), What::Main { image: main.image });
        }
    }
}

/// The pid in the innermost of its namespaces, where there is more than ours (proc_pid_status(5), NSpid).
fn innermost(status: &str) -> Option<&str> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().skip(1).last()
}

#[cfg(test)]
mod tests {
    use super::innermost;

    #[test]
    fn a_process_is_known_by_its_innermost_pid_unless_it_is_in_our_own_namespace() {
        assert_eq!(innermost("Name:\tx\nNSpid:\t12\t3\nNSpgid:\t12\t3\n"), Some("3"));
        assert_eq!(innermost("NSpid:\t12\n"), None);
        assert_eq!(innermost(""), None);
    }
}

//! The target as a unit of a real systemd.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::event::{UnitMoment, What};
use crate::id::{Image, Pid};
use crate::kernel::seccomp::Hold;
use crate::observe::StartupCalls;
use crate::run::observers::{HookedCalls, ListenWatch, OutputWritten};
use crate::run::start::{CommandLine, Launched};
use crate::run::upgrade::yes;
use crate::run::{CommandKey, RunError, Stage};
use crate::sandbox::{SYSTEMD, SpawnRequest};
use crate::scenario::Step;
use crate::systemd::{self, PROPERTIES, SERVICE, SOCKET, Service};
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
    pub(super) boot: Launched,
    /// The listen(2) calls below it, where one is to be held once more, and who lets them go on until then.
    pub(super) calls: Option<(HookedCalls, ListenWatch)>,
}

impl Stage<'_> {
    /// Boots systemd with the target as a unit, and waits until it serves and systemd has made up its mind.
    pub(super) fn start_under_systemd(&mut self) -> Result<(), RunError> {
        self.main = None;
        let (boot, _) = self.boot(None)?;
        // Once there is a child of it, it is systemd; before, there is nobody to ask.
        let forked = || yes(self.leader_of(boot.pid).is_ok());
        let _forked = self.within(BOOT, forked)?;
        self.systemd = Some(Systemd { leader: self.leader_of(boot.pid)?, boot, calls: None });
        // Its own boot is not the target's time.
        if !self.await_state(BOOT, |state| !state.is_empty())? {
            return Err(RunError::Environment("failed to boot systemd: it does not answer".to_owned()));
        }
        self.await_unit()
    }

    /// The same, and holds it in its listen(2) to see what systemd thinks of it then.
    pub(super) fn start_held_under_systemd(&mut self) -> Result<(), RunError> {
        self.main = None;
        let (boot, hook) = self.boot(Some(Hold::Listen))?;
        let hook = hook.expect("a held launch has a hook");
        let copy = hook.try_clone()?;
        let mut calls = HookedCalls::new(hook);
        let held = self.until_listening(&mut calls, &boot)?;
        self.systemd = Some(Systemd { leader: self.leader_of(boot.pid)?, boot, calls: None });
        if let Some(call) = held {
            // What systemd has been told by now it has been told too early.
            if self.stop.pause(HELD) {
                return Err(RunError::Interrupted);
            }
            let told = self.tell_unit(UnitMoment::Held);
            StartupCalls::answer_continue(&mut calls, call.id)?;
            told?;
        }
        let again = self.plan.scenario.script().steps.contains(&Step::StartTimedOut);
        if !again {
            self.observers.hook_listen(calls)?;
        } else if let Some(systemd) = &mut self.systemd {
            systemd.calls = Some((HookedCalls::new(copy), self.observers.hook_listen_meanwhile(calls)?));
        }
        self.await_unit()
    }

    /// Waits until the unit serves, and is no longer activating.
    fn await_unit(&mut self) -> Result<(), RunError> {
        // It is no child of the init's: whether it has ended is systemd's to know.
        let _serves = self.await_ready(true, OutputWritten::default())?;
        self.await_state(self.plan.target.deadlines.start, |state| !state.is_empty() && state != "activating")?;
        let main = self.tell_unit(UnitMoment::Started)?;
        self.take_main(main);
        Ok(())
    }

    /// Waits until the unit's ActiveState is such; it is empty while systemd does not answer.
    pub(super) fn await_state(&self, limit: Duration, such: impl Fn(&str) -> bool) -> Result<bool, RunError> {
        self.within(limit, || yes(self.show().is_ok_and(|shown| such(of(&shown, "ActiveState")))))
    }

    /// Stops the unit, and tells how that went.
    pub(super) fn stop_under_systemd(&mut self) -> Result<(), RunError> {
        if self.systemd.is_none() {
            return Ok(());
        }
        self.sink.put_at(self.clock.now(), What::StopAsked { action: format!("run systemctl stop {SERVICE}") });
        // First the socket, which would start it again.
        let socket = self.plan.scenario.script().socket.then_some(SOCKET);
        let words: Vec<&str> = ["stop"].into_iter().chain(socket).chain([SERVICE]).collect();
        let _said = self.systemctl(&words)?;
        if let Some(main) = self.main.as_ref().map(|main| main.image) {
            self.await_gone(main)?;
        }
        self.tell_unit(UnitMoment::Stopped)?;
        Ok(())
    }

    /// Waits until a main process that was told to stop is gone; how it ended is systemd's to know.
    pub(super) fn await_gone(&self, main: Image) -> Result<(), RunError> {
        let limit = self.plan.target.deadlines.stop;
        if !self.within(limit, || yes(!self.lives(main)))? {
            self.deadline_passed("stop", limit);
        }
        Ok(())
    }

    /// Ends systemd itself, if it runs.
    pub(super) fn end_systemd(&mut self) -> Result<(), RunError> {
        let Some(Systemd { leader, boot, .. }) = self.systemd.take() else { return Ok(()) };
        // It has nothing to lose: with pid 1 the kernel ends the rest of its namespace.
        let killed = self.sandbox.open_pid(leader)?.send_signal(Signal(libc::SIGKILL));
        killed.map_err(|error| RunError::Environment(error.to_string()))?;
        if !self.within(BOOT, || yes(boot.pidfd.has_exited()))? {
            return Err(RunError::Environment("failed to end systemd".to_owned()));
        }
        Ok(())
    }

    /// Whether this process is one of the target's, and not systemd's own. Everybody is, where systemd does not run.
    pub(super) fn is_of_target(&self, pid: Pid) -> Result<bool, RunError> {
        if self.systemd.is_none() {
            return Ok(true);
        }
        let group = self.sandbox.procfs().read(&format!("{pid}/cgroup"))?.unwrap_or_default();
        Ok(in_unit(&String::from_utf8_lossy(&group)))
    }

    /// The live processes of the unit.
    pub(super) fn unit_processes(&self) -> Result<Vec<Image>, RunError> {
        let mut processes = Vec::new();
        for image in self.living()? {
            if self.is_of_target(image.pid)? {
                processes.push(image);
            }
        }
        Ok(processes)
    }

    /// Those of the target that hold a listener: systemd may hold it too.
    pub(super) fn unit_holders(&self) -> Result<Vec<Image>, RunError> {
        let own = self.unit_processes()?;
        Ok(self.holders()?.into_iter().filter(|image| own.contains(image)).collect())
    }

    fn boot(&mut self, hold: Option<Hold>) -> Result<(Launched, Option<OwnedFd>), RunError> {
        let (state, units) = (self.target_dir.join("systemd"), self.unit_directory());
        fs::create_dir_all(&units)?;
        self.write_units(&units)?;
        let group = self.sandbox.own_group()?;
        let name = SYSTEMD.to_string_lossy().into_owned();
        let paths = [&state, &self.target_dir, &units, &group].map(|path| path.display().to_string());
        let words = std::iter::once(name).chain(paths).collect();
        let (directory, environment) = (self.target_dir.clone(), self.clean_environment());
        // The init is this executable, and so is what it forks.
        let command = CommandLine { program: Some("/proc/self/exe"), words, directory, environment };
        self.execute(CommandKey::Launch, command, hold)
    }

    pub(super) fn unit_directory(&self) -> PathBuf {
        self.target_dir.join("systemd/units")
    }

    pub(super) fn limits_path(&self) -> PathBuf {
        self.target_dir.join("limits.given")
    }

    /// All units, and the service enabled as `systemctl enable` does it.
    fn write_units(&self, place: &Path) -> Result<(), RunError> {
        let launch = self.launch_command(&[]);
        let stop_wait = format!("TimeoutStopSec={}ms", self.plan.target.deadlines.stop.as_millis());
        let pidfile = self.pidfile_path().map(|path| path.display().to_string()).unwrap_or_default();
        let written = self.plan.scenario.script().unit.iter().map(|line| line.replace("{pidfile}", &pidfile));
        let settings: Vec<String> = written.chain([stop_wait]).collect();
        let (output, limits) = (self.target_dir.join("unit.log"), self.limits_path());
        let service = Service {
            command: &launch.words,
            directory: &launch.directory,
            environment: &launch.environment,
            umask: self.plan.target.launch.umask,
            stop: match self.plan.target.stop {
                TargetStop::Signal(signal) => signal,
                // A supervisor stops by signals alone.
                TargetStop::Command(_) => Signal(libc::SIGTERM),
            },
            output: &output,
            settings: &settings,
            socket: self.plan.scenario.script().socket.then(|| self.plan.target.endpoints[0].address),
            limits: &limits,
        };
        for (name, text) in systemd::units(&service) {
            fs::write(place.join(name), text)?;
        }
        for target in systemd::wanted_by(&service) {
            let wants = place.join(format!("{target}.wants"));
            fs::create_dir_all(&wants)?;
            symlink(Path::new("..").join(SERVICE), wants.join(SERVICE))?;
        }
        Ok(())
    }

    /// The child of the process that made the namespaces.
    fn leader_of(&self, boot: Pid) -> Result<Pid, RunError> {
        let stats = self.sandbox.procfs().scan()?;
        let child = stats.iter().find(|stat| stat.ppid == boot).map(|stat| stat.image.pid);
        child.ok_or_else(|| RunError::Environment("failed to boot systemd: see stderr.log of the run".to_owned()))
    }

    /// What systemd shows of the unit now, as an event; gives its main process.
    pub(super) fn tell_unit(&self, moment: UnitMoment) -> Result<Option<Pid>, RunError> {
        let properties = self.show()?;
        let main = self.main_pid(&properties)?;
        let server = self.main_of(&self.unit_holders()?)?.map(|it| it.image.pid);
        self.sink.put_at(self.clock.now(), What::Unit { moment, properties, main, server });
        Ok(main)
    }

    pub(super) fn show(&self) -> Result<BTreeMap<String, String>, RunError> {
        let properties = format!("--property={}", PROPERTIES.join(","));
        Ok(systemd::properties(&self.systemctl(&["show", properties.as_str(), SERVICE])?))
    }

    /// Runs systemctl inside, and gives what it prints.
    pub(super) fn systemctl(&self, words: &[&str]) -> Result<String, RunError> {
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
        // A stop takes as long as the target.
        if !self.within(BOOT + self.plan.target.deadlines.stop, || yes(spawned.pidfd.has_exited()))? {
            return Err(RunError::Environment("failed to hear from systemctl".to_owned()));
        }
        Ok(fs::read_to_string(&path)?)
    }

    /// The process that systemd calls MainPID, in the target's world.
    pub(super) fn main_pid(&self, shown: &BTreeMap<String, String>) -> Result<Option<Pid>, RunError> {
        // A systemd that does not answer shows nothing.
        let Some(wanted) = shown.get("MainPID") else { return Ok(None) };
        let procfs = self.sandbox.procfs();
        for stat in procfs.scan()?.into_iter().filter(|stat| !stat.is_dead()) {
            let status = procfs.read(&format!("{}/status", stat.image.pid))?.unwrap_or_default();
            if innermost(&String::from_utf8_lossy(&status)) == Some(wanted.as_str()) {
                return Ok(Some(stat.image.pid));
            }
        }
        Ok(None)
    }

    pub(super) fn take_main(&mut self, pid: Option<Pid>) {
        self.main = pid.and_then(|pid| self.identify(pid));
        if let Some(main) = &self.main {
            self.sink.put_at(self.clock.now(), What::Main { image: main.image });
        }
    }
}

/// A property; empty where there is none.
pub(super) fn of<'a>(shown: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    shown.get(name).map_or("", String::as_str)
}

/// Whether `/proc/PID/cgroup` names the unit's group, or one below it.
fn in_unit(groups: &str) -> bool {
    groups.lines().filter_map(|line| line.strip_prefix("0::")).any(|path| path.split('/').any(|name| name == SERVICE))
}

/// The pid in the innermost of its namespaces, where there is more than ours (proc_pid_status(5), NSpid).
pub(super) fn innermost(status: &str) -> Option<&str> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().skip(1).last()
}

#[cfg(test)]
mod tests {
    use super::{in_unit, innermost};

    #[test]
    fn a_process_of_the_unit_is_known_by_its_control_group() {
        assert!(in_unit("3:cpu:/\n0::/unbroken-1-0/system.slice/target.service\n"));
        assert!(in_unit("0::/system.slice/target.service/own\n"));
        assert!(!in_unit("0::/unbroken-1-0/init.scope\n1:x:/target.service\n"));
    }

    #[test]
    fn a_process_is_known_by_its_innermost_pid_unless_it_is_in_our_own_namespace() {
        assert_eq!(innermost("Name:\tx\nNSpid:\t12\t3\nNSpgid:\t12\t3\n"), Some("3"));
        assert_eq!(innermost("NSpid:\t12\n"), None);
        assert_eq!(innermost(""), None);
    }
}

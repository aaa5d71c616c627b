//! The launch: from a clean state to ready.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::clock::Interval;
use crate::event::{ExitStatus, LauncherTies, Occasion, What};
use crate::id::Pid;
use crate::kernel::pidfd::Pidfd;
use crate::kernel::seccomp::Hold;
use crate::manifest::Capability;
use crate::observe::{Notified, Term, Waiter};
use crate::ready::{self, Probe, ProbeError};
use crate::run::daemon::{self, PLANTED, link_of};
use crate::run::deploy::COPY;
use crate::run::observers::{HookedCalls, OutputWritten};
use crate::run::upgrade::yes;
use crate::run::{CommandKey, RunError, Stage};
use crate::sandbox::SpawnRequest;
use crate::scenario::{Launcher, NotifyAddress, Supervisor};
use crate::target::{Signal, TargetReady, Template};
use crate::wait::{Look, WaitError, until};

/// The descriptor by which a listener is handed on: of the article's server, and SD_LISTEN_FDS_START.
const FIRST_INHERITED: i32 = 3;

/// Where a target starts that is to lose its starting directory, in its directory.
const STARTING_DIRECTORY: &str = "start";

/// How often a readiness condition that no event announces is looked at: a fraction of the start-up of the fastest
/// servers (some 5 ms).
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A probe that takes longer than this is asked again, so that the target's exit or an interrupt is not missed for long.
pub(super) const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// How long a descriptor may stay open after its newline: closing it is the next thing to do.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// How long the reaper may take to tell how a process ended; without its word only the status is missing in a sentence.
const REAPER_LIMIT: Duration = Duration::from_secs(5);

/// A command as it is executed.
#[derive(Debug)]
pub(super) struct CommandLine {
    /// What is executed, where that is not the first word.
    pub(super) program: Option<&'static str>,
    pub(super) words: Vec<String>,
    pub(super) directory: PathBuf,
    pub(super) environment: BTreeMap<String, String>,
}

/// A process that we launched.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) pid: Pid,
    pub(super) pidfd: Pidfd,
}

impl Stage<'_> {
    /// Launches the target and waits until it is ready. A target that does not start is told in the history (the judge
    /// calls its baseline broken); only a command that cannot be executed at all is an error.
    pub(super) fn start(&mut self) -> Result<(), RunError> {
        self.addresses_are_free()?;
        self.start_beside()
    }

    /// The same beside processes that may hold the address.
    pub(super) fn start_beside(&mut self) -> Result<(), RunError> {
        // Nothing of an earlier start counts.
        self.main = None;
        let (began, written) = (self.clock.now(), self.observers.output_written());
        self.begun = written;
        let notified = self.observers.notified().map(|it| (it.count(), it));
        let launched = self.launch()?;
        let returns = self.plan.target.launch.returns;
        if returns && !self.launcher_returned(&launched)? {
            return Ok(());
        }
        self.launched = Some(launched);
        if self.await_ready(returns, written)? {
            self.start_took = self.clock.now().since(began);
            self.find_main()?;
            self.await_notified(notified)?;
            if returns {
                self.portray_daemon()?;
            } else {
                self.portray_service()?;
            }
        }
        Ok(())
    }

    /// Waits until the newest generation has said that its initialisation is complete, whether it serves or not.
    pub(super) fn await_initialised(&self) -> Result<(), RunError> {
        let Some(slow) = &self.plan.target.slow_init else { return Ok(()) };
        let limit = self.plan.target.deadlines.start;
        if !self.within(limit, || yes(self.observers.output_contains(&slow.output, self.begun)))? {
            self.deadline_passed("initialised", limit);
        }
        Ok(())
    }

    /// Waits for the target's own word, where it has somebody to tell: it may come a moment after the first answer.
    fn await_notified(&self, notified: Option<(usize, Notified)>) -> Result<(), RunError> {
        let Some((before, notified)) = notified else { return Ok(()) };
        let limit = self.plan.target.deadlines.start;
        let by_fd = self.plan.scenario.script().notify == Some(NotifyAddress::Fd);
        let (name, said) = if by_fd { ("newline", "\n") } else { ("READY=1", "READY=1") };
        if !self.within(limit, || yes(notified.said(said, before).is_some()))? {
            self.deadline_passed(name, limit);
        } else if by_fd && !self.within(CLOSE_LIMIT, || yes(notified.ended(before)))? {
            self.deadline_passed("close", CLOSE_LIMIT);
        }
        Ok(())
    }

    /// The same by a relative path, from a directory that is gone once the target is ready.
    pub(super) fn start_relative(&mut self) -> Result<(), RunError> {
        let directory = self.target_dir.join(STARTING_DIRECTORY);
        fs::create_dir_all(&directory)?;
        self.relative_from = Some(directory.clone());
        let started = self.start();
        self.relative_from = None;
        started?;
        fs::remove_dir_all(&directory)?;
        self.sink.put_at(self.clock.now(), What::DirectoryRemoved { path: directory.display().to_string() });
        Ok(())
    }

    /// The same from a launcher whose umask is 0.
    pub(super) fn start_unmasked(&mut self) -> Result<(), RunError> {
        let usual = std::mem::replace(&mut self.ties.from, Launcher::OpenUmask);
        let started = self.start();
        self.ties.from = usual;
        started
    }

    /// The same with standard input, output and error closed.
    pub(super) fn start_closed(&mut self) -> Result<(), RunError> {
        self.ties.closed = true;
        let started = self.start();
        self.ties.closed = false;
        started
    }

    /// Executes the launch command in the sandbox.
    pub(super) fn launch(&mut self) -> Result<Launched, RunError> {
        self.launch_with(&[])
    }

    /// The same with more variables in its environment.
    pub(super) fn launch_with(&mut self, variables: &[(&str, &str)]) -> Result<Launched, RunError> {
        let command = self.launch_command(variables);
        self.spawn(CommandKey::Launch, command)
    }

    /// The launch, and the hook that holds its listen(2): whoever asks for that has to let it go on.
    pub(super) fn launch_held(&mut self) -> Result<(Launched, Option<OwnedFd>), RunError> {
        let command = self.launch_command(&[]);
        self.execute(CommandKey::Launch, command, Some(Hold::Listen))
    }

    pub(super) fn launch_command(&self, variables: &[(&str, &str)]) -> CommandLine {
        let launch = &self.plan.target.launch;
        let with = self.placeholders();
        // A word that was validated stays as good with another path in it.
        let word = |word: &Template| match self.plan.target.relative_pidfile().zip(self.relative_pidfile.as_ref()) {
            Some(((whole, _), given)) => word.with(whole, given).fill(&with),
            None => word.fill(&with),
        };
        let mut command: Vec<String> = launch.command.iter().map(word).collect();
        command.extend(self.extra_arguments().iter().map(|word| word.fill(&with)));
        let mut directory =
            launch.directory.as_ref().map_or_else(|| self.target_dir.clone(), |it| it.fill(&with).into());
        if let Some(from) = &self.relative_from {
            directory = from.clone();
            command[0] = Path::new("..").join(COPY).display().to_string();
        }
        if self.plan.scenario.script().supervisor == Some(Supervisor::Nohup) {
            command.insert(0, "nohup".to_owned());
        }
        let mut environment = environment(&launch.environment, |it| it.fill(&with));
        environment.extend(self.observers.notify_socket().map(|it| ("NOTIFY_SOCKET".to_owned(), it.to_owned())));
        if self.ties.addressed {
            environment.extend(self.addressed());
        }
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        CommandLine { program: None, words: command, directory, environment }
    }

    /// What the manifest adds to the launch command for what this scenario is about.
    fn extra_arguments(&self) -> Vec<Template> {
        let (target, scenario) = (&self.plan.target, &self.plan.scenario);
        let drops = scenario.script().needs.contains(&Capability::Privileges);
        let dropping = target.privileges.as_ref().filter(|_| drops);
        let slow = target.slow_init.as_ref().filter(|_| scenario.slows_initialisation());
        dropping.map(|it| &it.arguments).into_iter().chain(slow.map(|it| &it.arguments)).flatten().cloned().collect()
    }

    /// Where the host's network is shared, a stranger's listener would be taken for the target's.
    fn addresses_are_free(&self) -> Result<(), RunError> {
        if self.plan.machine.tier.isolates_network() {
            return Ok(());
        }
        match self.plan.target.endpoints.iter().map(|endpoint| endpoint.address).find(is_taken) {
            Some(taken) => Err(RunError::AddressTaken(taken)),
            None => Ok(()),
        }
    }

    /// Executes a command of the manifest from the same clean state.
    pub(super) fn spawn(&mut self, key: CommandKey, command: CommandLine) -> Result<Launched, RunError> {
        let hold = self.held_calls(key);
        let (launched, hook) = self.execute(key, command, hold)?;
        match (hook, hold) {
            (Some(hook), Some(Hold::Startup)) => {
                let pidfd = launched.pidfd.as_fd().try_clone_to_owned()?;
                let pidfile = self.plan.target.pidfile.as_ref().map(|path| path.fill(&self.placeholders()).into());
                let waiter = Waiter { pid: launched.pid, pidfd, since: self.clock.now(), term: self.term_of_hold() };
                self.observers.hold_startup(HookedCalls::new(hook), waiter, pidfile)?;
            }
            (Some(hook), _) => self.observers.hook_listen(HookedCalls::new(hook))?,
            (None, _) => {}
        }
        Ok(launched)
    }

    /// Executes a command; what it calls of `hold` waits for the hook's owner.
    pub(super) fn execute(
        &mut self,
        key: CommandKey,
        command: CommandLine,
        hold: Option<Hold>,
    ) -> Result<(Launched, Option<OwnedFd>), RunError> {
        let (mut stdio, readers) = self.observers.stdio(&self.ties.occasion.prefix())?;
        let mut pipes = vec![link_of("pipe", &stdio[1])?, link_of("pipe", &stdio[2])?];
        let closed = self.ties.closed && key == CommandKey::Launch;
        if closed {
            pipes.clear();
        }
        let launch = &self.plan.target.launch;
        // Only the launch comes from such a launcher; what stops or restarts a service may come from anywhere.
        let from = if key == CommandKey::Launch { self.ties.from } else { Launcher::Clean };
        let terminal = from == Launcher::Terminal;
        let removes_directory = from == Launcher::RemovedDirectory;
        let directory = if removes_directory { self.directory_to_remove()? } else { command.directory };
        let (mut planted, planted_links) = if terminal { daemon::planted()? } else { Default::default() };
        let mut numbers = if terminal { PLANTED.to_vec() } else { Vec::new() };
        if let (CommandKey::Launch, Some(lent)) = (key, &self.lent) {
            planted.push(lent.try_clone()?);
            numbers.push(FIRST_INHERITED);
        }
        if key == CommandKey::Launch
            && let Some(number) = self.plan.target.notify_fd
            && let Some(descriptor) = self.observers.notify_fd()?
        {
            planted.push(descriptor);
            numbers.push(number);
        }
        if terminal {
            stdio[0] = self.terminal()?;
        }
        let variables = command.environment.keys().cloned().collect();
        let request = SpawnRequest {
            program: command.program.map_or_else(|| command.words[0].clone(), str::to_owned),
            argv: command.words.clone(),
            environment: command.environment,
            directory: Some(directory),
            umask: from.umask().unwrap_or(launch.umask),
            hold,
            standing: from.standing(),
            // Whoever launches a daemon is no init: it would adopt what it had launched itself.
            between: key == CommandKey::Launch && launch.returns && from != Launcher::ChildOfInit,
            first: from == Launcher::Container,
            closed,
            planted: numbers,
            blocked: from.blocked().to_vec(),
            ignored: from.ignored().to_vec(),
            groups: from.groups().to_vec(),
            removes_directory,
        };
        let began = self.clock.now();
        let spawned = self
            .sandbox
            .spawn_with(&request, stdio, &planted)
            .map_err(|source| RunError::of_launch(key, &command.words[0], source))?;
        // It may have begun to run long before this process knows of it.
        let launched = What::Launched { pid: spawned.pid, command: command.words };
        self.sink.put(Interval::new(began, self.clock.now()), launched);
        if key == CommandKey::Launch {
            let (pid, session) = (Some(spawned.pid), Some(spawned.session));
            let (umask, planted) = (request.umask, planted_links);
            self.ties.launcher =
                LauncherTies { from, pid, session, terminal, umask, variables, closed, pipes, planted };
            self.ties.readers = readers;
        }
        Ok((Launched { pid: spawned.pid, pidfd: spawned.pidfd }, spawned.hook))
    }

    /// A start that is to succeed must not be held until its launcher gives up: its listen(2), its pidfile, and the rest of
    /// the start have a share each of the launcher's patience, and one is left over.
    fn term_of_hold(&self) -> Term {
        let deadlines = &self.plan.target.deadlines;
        match self.ties.occasion {
            Occasion::Hung => Term::Returned,
            _ => Term::Shown(deadlines.give_up.unwrap_or(deadlines.start) / 4),
        }
    }

    /// Which calls of a command are held: those of the launch alone by the adversary.
    fn held_calls(&self, key: CommandKey) -> Option<Hold> {
        let script = self.plan.scenario.script();
        match key {
            _ if !self.plan.machine.listen_hook => None,
            CommandKey::Launch if script.adversary || self.ties.occasion == Occasion::Hung => Some(Hold::Startup),
            _ => script.listen_hook.then_some(Hold::Listen),
        }
    }

    /// A launcher that puts its daemon into the background has to return, with 0.
    pub(super) fn launcher_returned(&self, launched: &Launched) -> Result<bool, RunError> {
        match self.await_return(launched)? {
            Some(ExitStatus::Code(0)) => Ok(true),
            Some(_) => {
                let status = self.status_of(launched).unwrap_or_default();
                self.action_failed("start", &format!("the launcher did not end with 0{status}"));
                Ok(false)
            }
            None => Ok(false),
        }
    }

    pub(super) fn await_ready(&mut self, returns: bool, written: OutputWritten) -> Result<bool, RunError> {
        let limit = self.plan.target.deadlines.start;
        let with = self.placeholders();
        let stop = self.stop.clone();
        let mut last = String::new();
        let seen = until(limit, LOOK_EVERY, &stop, || {
            if !returns && self.launched.as_ref().is_some_and(|it| it.pidfd.has_exited()) {
                return Look::Never("the launched process ended before it was ready".to_owned());
            }
            if returns && self.living().is_ok_and(|living| living.is_empty()) {
                return Look::Never("the launcher has returned, and no process is left".to_owned());
            }
            match &self.plan.target.ready {
                TargetReady::Answers(index) => match self.probe(*index, PROBE_LIMIT) {
                    Ok(Probe::Answered { .. }) => {
                        Look::Yes(format!("answers on {}", self.plan.target.endpoints[*index].name))
                    }
                    Ok(Probe::Refused) => not_yet(&mut last, "refused"),
                    Ok(Probe::Silent { reason }) => not_yet(&mut last, &reason),
                    Ok(Probe::Wrong { what }) => not_yet(&mut last, &what),
                    Err(error) => Look::Never(error.to_string()),
                },
                TargetReady::File(path) => exists(path, &with),
                TargetReady::Output(text) => {
                    if self.observers.output_contains(text, written) {
                        Look::Yes(format!("output {text:?}"))
                    } else {
                        Look::NotYet
                    }
                }
            }
        });
        match seen {
            Ok(by) => {
                self.sink.put_at(self.clock.now(), What::Ready { by });
                Ok(true)
            }
            Err(WaitError::Stopped) => Err(RunError::Interrupted),
            Err(WaitError::Never(reason)) => {
                let status = self.launched.as_ref().and_then(|it| self.status_of(it)).unwrap_or_default();
                self.action_failed("start", &format!("{reason}{status}"));
                Ok(false)
            }
            Err(WaitError::Deadline(_)) => {
                self.deadline_passed("ready", limit);
                self.explain_unready(&last);
                Ok(false)
            }
        }
    }

    /// How a process that has ended did so, in brackets behind a sentence; its reaper tells within milliseconds.
    fn status_of(&self, ended: &Launched) -> Option<String> {
        if !ended.pidfd.has_exited() {
            return None;
        }
        match self.exit_status_of(ended)? {
            ExitStatus::Code(code) => Some(format!(" (exit status {code})")),
            ExitStatus::Signal(signal) => Some(format!(" (killed by SIG{})", Signal(signal))),
            ExitStatus::Unknown => None,
        }
    }

    /// How a process that has ended did so, once its reaper has told.
    pub(super) fn exit_status_of(&self, ended: &Launched) -> Option<ExitStatus> {
        let told = until(REAPER_LIMIT, LOOK_EVERY, &self.stop, || match self.observers.exit_status(ended.pid) {
            Some(status) => Look::<_, ()>::Yes(status),
            None => Look::NotYet,
        });
        told.ok()
    }

    /// One request on a fresh connection to an endpoint.
    pub(super) fn probe(&self, endpoint: usize, limit: Duration) -> Result<Probe, ProbeError> {
        ready::answers(self.sandbox.netns(), &self.plan.target.endpoints[endpoint], limit)
    }

    /// A target that never became ready: says where it does listen, the usual mistake.
    fn explain_unready(&mut self, last: &str) {
        let missed = match &self.plan.target.ready {
            TargetReady::Answers(index) => {
                let wanted = self.plan.target.endpoints[*index].address;
                let why = if last.is_empty() { String::new() } else { format!(" ({last})") };
                format!("no answer on {wanted}{why}")
            }
            TargetReady::File(path) => format!("the file {} did not appear", path.fill(&self.placeholders())),
            TargetReady::Output(text) => format!("no line of its output contains {text:?}"),
        };
        let told = match self.own_listeners() {
            Ok(listening) if listening.is_empty() => "it listens nowhere".to_owned(),
            Ok(listening) => format!("it listens on {}", listening.join(", ")),
            Err(_) => "where it listens could not be seen".to_owned(),
        };
        self.action_failed("start", &format!("{missed}; {told}"));
    }

    /// The addresses of all sockets on which a process of the target listens.
    fn own_listeners(&self) -> Result<Vec<String>, RunError> {
        let procfs = self.sandbox.procfs();
        let mut held = Vec::new();
        for stat in procfs.scan()?.into_iter().filter(|stat| !stat.is_dead()) {
            held.extend(procfs.fds_of(stat.image.pid)?);
        }
        let own = self.all_listeners()?.into_iter().filter(|row| held.contains(&row.inode));
        Ok(own.map(|row| row.address).collect())
    }
}

/// Whether somebody listens there: only a listening socket keeps an address from one that sets SO_REUSEADDR. Bound and not
/// listening, ours takes no connection away. Any other refusal (a privileged port, a foreign address) is the target's to
/// meet.
fn is_taken(address: &SocketAddr) -> bool {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let Ok(socket) = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None) else {
        return false;
    };
    let _same_without = set_socket_reuseaddr(&socket, true);
    bind(&socket, address) == Err(Errno::ADDRINUSE)
}

fn not_yet(last: &mut String, why: &str) -> Look<String, String> {
    why.clone_into(last);
    Look::NotYet
}

fn exists(path: &Template, with: &crate::target::Placeholders) -> Look<String, String> {
    let path = path.fill(with);
    if Path::new(&path).exists() { Look::Yes(format!("file {path}")) } else { Look::NotYet }
}

/// `PATH` of every process that we start.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment of a command without declared variables.
pub(super) fn clean_environment() -> BTreeMap<String, String> {
    BTreeMap::from([("PATH".to_owned(), PATH.to_owned())])
}

pub(super) fn environment(
    declared: &BTreeMap<String, Template>,
    fill: impl Fn(&Template) -> String,
) -> BTreeMap<String, String> {
    let mut environment = clean_environment();
    environment.extend(declared.iter().map(|(name, value)| (name.clone(), fill(value))));
    environment
}

/// The file that a program's name means: the first on the [`PATH`] of the processes that we start.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|place| Path::new(place).join(name)).find(|path| path.is_file())
}

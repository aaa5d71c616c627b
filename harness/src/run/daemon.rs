//! Daemons: what they are launched from, what their launcher left when it returned, and what still ties them to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::fs::fstat;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::event::{
    Answer, Artefact, DaemonPortrait, ExitStatus, LauncherReturn, LauncherTies, Occasion, OpenDescriptor,
    ProcessPortrait, ThreadPortrait, What,
};
use crate::id::{Image, Pid};
use crate::kernel::namespace::enter_netns;
use crate::process::{Descriptor, Procfs, Stat, Status};
use crate::ready::Probe;
use crate::run::census::Main;
use crate::run::obstructed::clear;
use crate::run::start::Launched;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::scenario::{Launcher, Supervisor};
use crate::target::{Signal, TargetReady};
use crate::wait::{readable_within, ready_within};

/// Numbers of the planted descriptors: one of a digit, as a script's `exec 9>file` leaves, and one beyond what a loop up
/// to 64 or 128 closes.
pub(super) const PLANTED: [i32; 2] = [9, 200];

/// A daemon that is up comes to rest at once: intermediates end, the launcher's pipes are closed. What takes longer than
/// this after readiness is not on its way.
pub(super) const REST: Duration = Duration::from_millis(500);

/// A hangup kills at once; whoever still lives after this was not killed by it.
const HANGUP_WINDOW: Duration = Duration::from_millis(200);

/// How long the kernel may take to echo a typed character.
const ECHO_LIMIT: Duration = Duration::from_secs(10);

/// How long a start hangs where the manifest does not say when it is given up: whoever returns at once has returned by then,
/// and of anybody else nothing can be said.
const UNDECLARED: Duration = Duration::from_secs(10);

/// How long SIGKILL may take.
pub(super) const KILL_LIMIT: Duration = Duration::from_secs(10);

/// What ties the last launcher to the harness.
#[derive(Debug, Default)]
pub(super) struct Ties {
    pub(super) occasion: Occasion,
    /// What the next launcher is to be.
    pub(super) from: Launcher,
    /// Its environment is to hold what was meant for another process.
    pub(super) addressed: bool,
    pub(super) launcher: LauncherTies,
    /// It is to be launched with its standard streams closed.
    pub(super) closed: bool,
    /// Read ends of its standard output and error.
    pub(super) readers: Vec<OwnedFd>,
    /// Its terminal: the master side, and the other one, which somebody has to hold open as a shell does.
    terminal: Option<(OwnedFd, OwnedFd)>,
}

impl Ties {
    /// Before the first launch.
    pub(super) fn to(from: Launcher) -> Ties {
        Ties { from, ..Ties::default() }
    }
}

impl Stage<'_> {
    /// A terminal for standard input: the same one for every launch, as from one shell.
    pub(super) fn terminal(&mut self) -> Result<OwnedFd, RunError> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let failed = |errno: rustix::io::Errno| RunError::Environment(format!("failed to make a terminal: {errno}"));
        if self.ties.terminal.is_none() {
            let master = openpt(flags).map_err(failed)?;
            grantpt(&master).map_err(failed)?;
            unlockpt(&master).map_err(failed)?;
            let slave = ioctl_tiocgptpeer(&master, flags).map_err(failed)?;
            self.ties.terminal = Some((master, slave));
        }
        let (_, slave) = self.ties.terminal.as_ref().expect("it was made above");
        Ok(slave.try_clone()?)
    }

    /// Waits for the end of a launcher, and tells what was there at that instant. `None` when it does not end.
    pub(super) fn await_return(&self, launched: &Launched) -> Result<Option<ExitStatus>, RunError> {
        self.await_return_within(launched, self.plan.target.deadlines.start)
    }

    fn await_return_within(&self, launched: &Launched, limit: Duration) -> Result<Option<ExitStatus>, RunError> {
        // Woken by the kernel: what is looked at next is as near to the exit as it can be.
        let ended = self.lengthened(limit, |left| {
            let ready = ready_within(&[launched.pidfd.as_fd(), self.stop.as_fd()], left);
            let [ended, stopped] = <[_; 2]>::try_from(ready).expect("as many answers as descriptors");
            if stopped.any() { Err(RunError::Interrupted) } else { Ok(ended.any().then_some(true)) }
        })?;
        let at = self.clock.now();
        if !ended {
            self.deadline_passed(self.ties.occasion.deadline(), limit);
            return Ok(None);
        }
        let pidfile = self.pidfile_content();
        let answer = match self.ties.occasion {
            // Of a start that was never held this tells whether its launcher does everything itself.
            Occasion::Hung
            | Occasion::Start
            | Occasion::PidfileBlocked
            | Occasion::AlreadyRunning
            | Occasion::Racing
            | Occasion::Obstructed(_) => self.ask()?,
            Occasion::AddressBusy => Answer::Missing("the harness listens there".to_owned()),
        };
        let status = self.exit_status_of(launched).unwrap_or(ExitStatus::Unknown);
        let (occasion, from, closed) = (self.ties.occasion, self.ties.from, self.ties.closed);
        let what = LauncherReturn { occasion, from, closed, pid: launched.pid, status, pidfile, answer };
        self.sink.put_at(at, What::LauncherReturned(what));
        Ok(Some(status))
    }

    /// Launches for another purpose than to serve and waits for the launcher's return; what ties the daemon to the launcher
    /// before stays known.
    pub(super) fn launch_for(&mut self, occasion: Occasion) -> Result<Option<ExitStatus>, RunError> {
        let deadlines = self.plan.target.deadlines;
        let limit = match occasion {
            Occasion::Hung => deadlines.give_up.unwrap_or(UNDECLARED.min(deadlines.start)),
            _ => deadlines.start,
        };
        self.launch_for_within(occasion, limit)
    }

    /// The same with a limit of its own.
    pub(super) fn launch_for_within(
        &mut self,
        occasion: Occasion,
        limit: Duration,
    ) -> Result<Option<ExitStatus>, RunError> {
        let kept = (self.ties.launcher.clone(), std::mem::take(&mut self.ties.readers));
        self.ties.occasion = occasion;
        let launched = self.launch()?;
        let status = self.await_return_within(&launched, limit)?;
        self.ties.occasion = Occasion::Start;
        (self.ties.launcher, self.ties.readers) = kept;
        Ok(status)
    }

    /// One request to the endpoint that tells readiness.
    pub(super) fn ask(&self) -> Result<Answer, RunError> {
        let endpoint = match self.plan.target.ready {
            TargetReady::Answers(index) => index,
            TargetReady::File(_) | TargetReady::Output(_) => 0,
        };
        let probe = self.probe(endpoint, self.plan.target.deadlines.request);
        probe.map(answer).map_err(|error| RunError::Environment(format!("failed to {error}")))
    }

    /// One request after the other, until one is not answered.
    pub(super) fn ask_often(&self, requests: u32) -> Result<(), RunError> {
        let mut answers = Vec::new();
        for _ in 0..requests {
            let answer = self.ask()?;
            let answered = answer == Answer::Answered;
            answers.push(answer);
            if !answered {
                break;
            }
        }
        self.sink.put_at(self.clock.now(), What::Asked { answers });
        Ok(())
    }

    fn pidfile_content(&self) -> Option<String> {
        let path = self.pidfile_path()?;
        // Opening a FIFO would wait for its writer.
        path.is_file().then(|| fs::read(path).ok()).flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The pidfile's path, where the target has one.
    pub(super) fn pidfile_path(&self) -> Option<PathBuf> {
        Some(self.plan.target.pidfile.as_ref()?.fill(&self.placeholders()).into())
    }

    /// The process that serves, whatever the pidfile says: the nearest one that is, or is an ancestor of, every process
    /// that holds a listener of the endpoints. Or the one of its ancestors that the pidfile names: who supervises the
    /// service is whom a stop is for.
    pub(super) fn main_by_service(&self) -> Result<Option<Main>, RunError> {
        self.main_of(&self.holders()?)
    }

    /// The same of a daemon that has just become ready. One that listens before it forks leaves the listener to its intermediates until these
    /// end, which may take a busy machine some time: until then the nearest one is another than the one that the pidfile names.
    pub(super) fn settled_main_by_service(&self) -> Result<Option<Main>, RunError> {
        let mut found = Ok(None);
        let _agreed = self.within(REST, || {
            found = self.main_by_service();
            let named = self.pidfile_path().and_then(|path| self.pid_in(&path));
            let serving = found.as_ref().ok().and_then(Option::as_ref).map(|main| main.image.pid);
            yes(found.is_err() || serving.is_some() && serving == named)
        })?;
        found
    }

    /// The nearest process that is, or is an ancestor of, all of these; where the pidfile names one above, that one.
    pub(super) fn main_of(&self, holders: &[Image]) -> Result<Option<Main>, RunError> {
        let holders: Vec<Pid> = holders.iter().map(|image| image.pid).collect();
        let stats = self.sandbox.procfs().scan()?;
        let parents: BTreeMap<Pid, Pid> = stats.iter().map(|stat| (stat.image.pid, stat.ppid)).collect();
        let Some(nearest) = nearest_ancestor(&holders, &parents) else { return Ok(None) };
        Ok(self.identify(self.named_above(nearest)?.unwrap_or(nearest)))
    }

    /// The ancestor of a process that the pidfile names.
    pub(super) fn named_above(&self, pid: Pid) -> Result<Option<Pid>, RunError> {
        let stats = self.sandbox.procfs().scan()?;
        let parents: BTreeMap<Pid, Pid> = stats.iter().map(|stat| (stat.image.pid, stat.ppid)).collect();
        let named = self.pidfile_path().and_then(|path| self.pid_in(&path));
        Ok(named.filter(|elder| *elder != self.sandbox.init_pid() && is_above(*elder, pid, &parents)))
    }

    /// Tells what a daemon at rest looks like.
    pub(super) fn portray_daemon(&self) -> Result<(), RunError> {
        let Some(main) = self.main.as_ref().map(|main| main.image) else { return Ok(()) };
        let mut last = Ok((Vec::new(), false));
        // One that does not come to rest is portrayed as it was last seen.
        let _at_rest = self.within(REST, || {
            last = self.portray_processes();
            yes(last.as_ref().is_ok_and(|(_, asleep)| *asleep) && self.is_at_rest(main))
        })?;
        let (processes, _) = last?;
        let pidfile = self.pidfile_path().and_then(|path| path.metadata().ok());
        let portrait = DaemonPortrait {
            launcher: self.ties.launcher.clone(),
            reaper: self.sandbox.init_pid(),
            declared_directory: self.declared_directory(),
            main,
            processes,
            pidfile: self.pidfile_content(),
            artefacts: self.artefacts()?,
            pidfile_mode: pidfile.as_ref().map(|it| it.mode() & 0o7777),
            pidfile_inode: pidfile.as_ref().map(MetadataExt::ino),
            end_of_output: self.end_of_output(),
        };
        self.sink.put_at(self.clock.now(), What::Daemonised(portrait));
        Ok(())
    }

    /// Every living process of the target, and whether all their threads sleep: one that is just beginning or ending
    /// blocks all signals for a moment (pthread_create(3)).
    fn portray_processes(&self) -> Result<(Vec<ProcessPortrait>, bool), RunError> {
        let procfs = self.sandbox.procfs();
        let (mut processes, mut all_asleep) = (Vec::new(), true);
        for stat in procfs.scan()?.into_iter().filter(|stat| !stat.is_dead()) {
            let (portrait, asleep) = portray(procfs, &stat)?;
            processes.push(portrait);
            all_asleep &= asleep;
        }
        Ok((processes, all_asleep))
    }

    /// What the target has put into its directory: everything there that the harness has not.
    fn artefacts(&self) -> Result<Vec<Artefact>, RunError> {
        let with = self.placeholders();
        let mut ours: BTreeSet<PathBuf> =
            self.plan.target.files.iter().map(|file| file.path.fill(&with).into()).collect();
        ours.insert(self.deployer.self_path());
        ours.extend(self.observers.files());
        let mut found = Vec::new();
        let mut open = vec![self.target_dir.clone()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                // Whatever vanishes meanwhile is no artefact.
                let Ok(about) = path.symlink_metadata() else { continue };
                if about.is_dir() {
                    open.push(path.clone());
                }
                // A link has no mode of its own; a directory that holds a file of ours was made for it.
                if about.is_symlink() || ours.iter().any(|file| file.starts_with(&path)) {
                    continue;
                }
                let below = path.strip_prefix(&self.target_dir).unwrap_or(&path).display().to_string();
                found.push(Artefact { path: below, mode: about.mode() & 0o7777 });
            }
        }
        found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    /// As `/proc/PID/cwd` would show it: without symlinks.
    fn declared_directory(&self) -> Option<String> {
        let declared = self.plan.target.launch.directory.as_ref()?.fill(&self.placeholders());
        let real = fs::canonicalize(&declared).map(|path| path.display().to_string());
        Some(real.unwrap_or(declared))
    }

    fn is_at_rest(&self, main: Image) -> bool {
        let adopted = self
            .sandbox
            .procfs()
            .stat(main.pid)
            .is_ok_and(|stat| stat.is_some_and(|stat| stat.image == main && stat.ppid == self.sandbox.init_pid()));
        let signed = self.plan.target.pidfile.is_none() || self.pidfile_content().is_some_and(|it| !it.is_empty());
        adopted && signed && self.end_of_output()
    }

    /// No process holds a write end of the launcher's standard output or error any more.
    fn end_of_output(&self) -> bool {
        let readers: Vec<BorrowedFd<'_>> = self.ties.readers.iter().map(AsFd::as_fd).collect();
        ready_within(&readers, Duration::ZERO).iter().all(|reader| reader.hung_up)
    }

    /// Launches while the harness listens on the address, and clears away whatever of the target is left: what comes next
    /// begins anew.
    pub(super) fn start_busy(&mut self) -> Result<(), RunError> {
        let address = self.plan.target.endpoints[0].address;
        let held = listen(self.sandbox.netns(), address)?;
        let failed = self.fail_start(Occasion::AddressBusy);
        drop(held);
        failed
    }

    /// The same with a directory where its pidfile belongs: no permission stops root, but nobody writes into a directory.
    pub(super) fn start_blocked(&mut self) -> Result<(), RunError> {
        let Some(path) = self.pidfile_path() else { return Ok(()) };
        // What an earlier start left there, as nobody stopped it.
        clear(&path)?;
        // Not empty: else a daemon that replaces its pidfile by rename(2) would replace this too.
        fs::create_dir_all(path.join("occupied"))?;
        let failed = self.fail_start(Occasion::PidfileBlocked);
        clear(&path)?;
        failed
    }

    /// One launch that cannot succeed.
    fn fail_start(&mut self, occasion: Occasion) -> Result<(), RunError> {
        let _status = self.launch_for(occasion)?;
        self.kill_all_but(&[])
    }

    /// Launches and holds the start for as long as the launcher waits; then looks whether what hung ends too, and clears
    /// away whatever is left.
    pub(super) fn start_hung(&mut self) -> Result<(), RunError> {
        let status = self.launch_for(Occasion::Hung)?;
        let living = || self.living().unwrap_or_default();
        if status.is_some_and(|status| status != ExitStatus::Code(0)) {
            // Let go, it finds that nobody waits any more: it must not serve after all.
            let _ended = self.within(self.plan.target.deadlines.stop, || yes(living().is_empty()))?;
        }
        self.sink.put_at(self.clock.now(), What::HungStartOver { living: self.living()? });
        self.begin_anew()
    }

    /// Kills whatever of the target is left, and removes the pidfile of whoever had no chance to: a daemon that takes that for a
    /// held lock has failed where that is asked (pidfile/stale-replaced), and shall not fail everywhere else for it.
    pub(super) fn begin_anew(&self) -> Result<(), RunError> {
        if self.living()?.is_empty() {
            return Ok(());
        }
        self.kill_all_but(&[])?;
        Ok(self.pidfile_path().map_or(Ok(()), |path| clear(&path))?)
    }

    /// Kills every process of the target but these and their children, and waits until they are gone: what comes next begins
    /// anew.
    pub(super) fn kill_all_but(&self, spared: &[Image]) -> Result<(), RunError> {
        let is_spared = |stat: &Stat| spared.iter().any(|it| it.is_still(&stat.image) || it.pid == stat.ppid);
        let gone = self.within(KILL_LIMIT, || {
            let Ok(stats) = self.sandbox.procfs().scan() else { return yes(false) };
            let doomed: Vec<Stat> = stats.into_iter().filter(|it| !it.is_dead() && !is_spared(it)).collect();
            for stat in &doomed {
                // One that has ended meanwhile is what was wanted.
                let _gone = self.sandbox.open_pid(stat.image.pid).map(|it| it.send_signal(Signal(libc::SIGKILL)));
            }
            yes(doomed.is_empty())
        })?;
        if gone { Ok(()) } else { Err(RunError::Environment("failed to end what a start left".to_owned())) }
    }

    /// Every living process of the target.
    pub(super) fn living(&self) -> Result<Vec<Image>, RunError> {
        let stats = self.sandbox.procfs().scan()?.into_iter();
        Ok(stats.filter(|stat| !stat.is_dead()).map(|stat| stat.image).collect())
    }

    /// ^C and then the end of the terminal that the launcher was started from. Under nohup(1), which does not keep ^C away: the
    /// end of the terminal, and what a shell then does to its jobs (bash(1), "Signals").
    pub(super) fn hangup(&mut self) -> Result<(), RunError> {
        let Some((master, _slave)) = self.ties.terminal.take() else {
            return Err(RunError::Environment("failed to close the launcher's terminal: there is none".to_owned()));
        };
        let is_job = self.plan.scenario.script().supervisor == Some(Supervisor::Nohup);
        if !is_job {
            interrupt(&master)?;
        }
        drop(master);
        for image in self.living()?.iter().filter(|_| is_job) {
            // One that has ended meanwhile needs no signal.
            let _gone = self.sandbox.open_pid(image.pid).map(|it| it.send_signal(Signal(libc::SIGHUP)));
        }
        let Some(main) = &self.main else { return Ok(()) };
        let lives = !main.pidfd.wait(HANGUP_WINDOW);
        let answer = self.ask()?;
        self.sink.put_at(self.clock.now(), What::HungUp { lives, answer });
        Ok(())
    }
}

/// Types ^C, and waits for its effect.
fn interrupt(master: &OwnedFd) -> Result<(), RunError> {
    let failed = |what: &str| RunError::Environment(format!("failed to type ^C on the launcher's terminal: {what}"));
    rustix::io::write(master, b"\x03").map_err(|errno| failed(&errno.to_string()))?;
    // The echo comes after the signal (n_tty): closed before, the terminal would forget the character.
    let mut echo = Vec::new();
    while !echo.windows(2).any(|pair| pair == b"^C") {
        if !readable_within(master.as_fd(), ECHO_LIMIT) {
            return Err(failed("it is not echoed"));
        }
        let mut piece = [0; 256];
        let length = rustix::io::read(master, &mut piece).map_err(|errno| failed(&errno.to_string()))?;
        echo.extend_from_slice(&piece[..length]);
    }
    Ok(())
}

/// A process, looked at closely, and whether all its threads sleep.
fn portray(procfs: &Procfs, stat: &Stat) -> Result<(ProcessPortrait, bool), RunError> {
    let pid = stat.image.pid;
    let (mut threads, mut asleep) = (Vec::new(), true);
    for tid in procfs.threads(pid)? {
        // One that has ended meanwhile has no mask any more.
        let Some(text) = procfs.read(&format!("{pid}/task/{tid}/status"))? else { continue };
        let status = Status::parse(&text);
        asleep &= status.sleeps;
        threads.push(ThreadPortrait { tid, blocked: status.blocked });
    }
    threads.sort_unstable_by_key(|thread| thread.tid);
    let status = procfs.read(&format!("{pid}/status"))?.map(|text| Status::parse(&text)).unwrap_or_default();
    let portrait = ProcessPortrait {
        image: stat.image,
        ppid: stat.ppid,
        session: stat.session,
        tty: stat.tty,
        directory: procfs.link(&format!("{pid}/cwd"))?,
        root: procfs.link(&format!("{pid}/root"))?,
        umask: status.umask,
        identity: status.identity,
        ignored: status.ignored,
        caught: status.caught,
        variables: procfs.variables(pid)?,
        threads,
        descriptors: open_descriptors(procfs, pid)?,
    };
    Ok((portrait, asleep))
}

/// Its open descriptors, and how they are open.
fn open_descriptors(procfs: &Procfs, pid: Pid) -> Result<Vec<OpenDescriptor>, RunError> {
    let mut open = Vec::new();
    for Descriptor { number, link } in procfs.descriptors(pid)? {
        // One that was closed meanwhile is none.
        if let (Some(flags), Some(inode)) = (procfs.open_flags(pid, number)?, procfs.open_inode(pid, number)?) {
            open.push(OpenDescriptor { number, link, flags, inode });
        }
    }
    Ok(open)
}

/// A pipe's write end and a socket, and how `/proc/PID/fd` shows them. Their other ends are closed: nobody is to wait.
pub(super) fn planted() -> Result<(Vec<OwnedFd>, Vec<String>), RunError> {
    let (_reader, pipe) = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from)?;
    let (_peer, socket) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(std::io::Error::from)?;
    let links = vec![link_of("pipe", &pipe)?, link_of("socket", &socket)?];
    Ok((vec![pipe, socket], links))
}

/// How `/proc/PID/fd` shows a descriptor without a path (proc(5)).
pub(super) fn link_of(kind: &str, fd: &OwnedFd) -> Result<String, RunError> {
    Ok(format!("{kind}:[{}]", fstat(fd).map_err(std::io::Error::from)?.st_ino))
}

/// A listener of the harness's own in the target's network: a socket stays in the namespace in which it was made.
pub(super) fn listen(netns: Option<BorrowedFd<'_>>, address: SocketAddr) -> Result<TcpListener, RunError> {
    let failed =
        |why: String| RunError::Environment(format!("failed to listen on {address} in the target's place: {why}"));
    let bound = thread::scope(|scope| {
        let bind = || {
            if let Some(netns) = netns {
                enter_netns(netns).map_err(|error| error.to_string())?;
            }
            TcpListener::bind(address).map_err(|error| error.to_string())
        };
        scope.spawn(bind).join()
    });
    bound.unwrap_or_else(|_| Err("its thread panicked".to_owned())).map_err(failed)
}

/// The nearest process that is, or is an ancestor of, all of these; `None` without any.
fn nearest_ancestor(all: &[Pid], parents: &BTreeMap<Pid, Pid>) -> Option<Pid> {
    let lineage = |pid: Pid| std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
    let known = |pid: &Pid| parents.contains_key(pid);
    lineage(*all.first()?).filter(known).find(|elder| all.iter().all(|pid| lineage(*pid).any(|it| it == *elder)))
}

/// Whether a process is an ancestor of another.
fn is_above(elder: Pid, of: Pid, parents: &BTreeMap<Pid, Pid>) -> bool {
    std::iter::successors(parents.get(&of), |pid| parents.get(pid)).any(|pid| *pid == elder)
}

/// What a request met, in the words of a history.
pub(super) fn answer(probe: Probe) -> Answer {
    match probe {
        Probe::Answered { .. } => Answer::Answered,
        Probe::Refused => Answer::Refused,
        Probe::Silent { reason } => Answer::Missing(reason),
        Probe::Wrong { what } => Answer::Missing(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 ── 5 ── 6, 7;  1 ── 8
    fn parents() -> BTreeMap<Pid, Pid> {
        BTreeMap::from([(5, 1), (6, 5), (7, 5), (8, 1)].map(|(pid, parent)| (Pid(pid), Pid(parent))))
    }

    fn check(holders: &[i32], want: Option<i32>) {
        let holders: Vec<Pid> = holders.iter().copied().map(Pid).collect();
        assert_eq!(nearest_ancestor(&holders, &parents()), want.map(Pid), "{holders:?}");
    }

    #[test]
    fn a_supervisor_is_above_its_service_and_nobody_above_itself() {
        assert!(is_above(Pid(5), Pid(7), &parents()));
        for elder in [Pid(6), Pid(7), Pid(8)] {
            assert!(!is_above(elder, Pid(7), &parents()), "{elder}");
        }
    }

    #[test]
    fn the_main_process_is_the_nearest_ancestor_of_all_that_serve() {
        check(&[6], Some(6));
        check(&[6, 7], Some(5));
        check(&[5, 6], Some(5));
        check(&[6, 8], None);
        check(&[], None);
    }
}

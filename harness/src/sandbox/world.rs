//! One target's world, from its first process to the proof that none is left.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use thiserror::Error;

use super::channel::{Channel, ChannelError};
use super::init::ISOLATED;
use super::message::{Owned, Reaped, Reply, Request, SpawnRequest, Step};
use super::role::{GUARDIAN, INIT};
use crate::clock::Nanos;
use crate::event::ExitStatus;
use crate::id::Pid;
use crate::kernel::cgroup::{self, tasks};
use crate::kernel::clock::{Clock, monotonic};
use crate::kernel::clone::{CloneError, Namespaces, Role, execute_self};
use crate::kernel::pidfd::{Pidfd, PidfdError};
use crate::machine::Tier;
use crate::process::{Procfs, ProcfsError};
use crate::target::Signal;
use crate::wait;

/// Why a sandbox could not be made, used or ended.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// Talking to the init.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// Making its first process.
    #[error(transparent)]
    Clone(#[from] CloneError),
    /// A pipe or a thread.
    #[error("{action}")]
    Resource {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The init could not set the world up.
    #[error("{step} in the sandbox")]
    SetUp {
        /// What it was doing.
        step: Step,
        /// What the kernel said.
        source: io::Error,
    },
    /// The init ended, and with it the world.
    #[error("reach the sandbox's init: it has ended")]
    Ended,
    /// The init does not answer.
    #[error("hear from the sandbox's init within {0:?}")]
    Silent(Duration),
    /// The target could not be launched; no process of it is left. For [`Step::Exec`]: ENOENT, not found; EACCES, not
    /// executable.
    #[error("launch {program}: {step}")]
    Launch {
        /// As asked for.
        program: String,
        /// What was being done.
        step: Step,
        /// What the kernel said.
        source: io::Error,
    },
    /// No process has that pid.
    #[error("open pid {0} of the sandbox: no such process")]
    NoSuchProcess(Pid),
    /// A pidfd for another reason.
    #[error("open pid {pid} of the sandbox")]
    OpenPid {
        /// Which.
        pid: Pid,
        /// What the kernel said.
        source: io::Error,
    },
    /// A call on the init or guardian.
    #[error(transparent)]
    Process(#[from] PidfdError),
    /// The proof that nothing is left could not be had.
    #[error(transparent)]
    Procfs(#[from] ProcfsError),
    /// Processes are left that SIGKILL did not end in time.
    #[error("end the sandbox within {0:?}")]
    Teardown(Duration),
    /// The guardian ended without having cleaned up.
    #[error("clean up: the guardian ended with {0:?}")]
    Guardian(ExitStatus),
}

/// A launched process.
#[derive(Debug)]
pub struct Spawned {
    /// As the target sees it.
    pub pid: Pid,
    /// Its session.
    pub session: Pid,
    /// Its identity.
    pub pidfd: Pidfd,
    /// The hook on listen(2), when it was asked for: for [`crate::kernel::seccomp::ListenHook`]. To be kept as long as
    /// the target lives.
    pub hook: Option<OwnedFd>,
}

/// A process ended and the init reaped it: one that it had launched, or an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// As the target sees it.
    pub pid: Pid,
    /// How.
    pub status: ExitStatus,
    /// When waitid(2) returned in the init.
    pub at: Nanos,
}

/// How long the init may take to answer. It does one thing at a time and each takes milliseconds; a machine that
/// swaps, or an executable on a slow network, takes longer.
const ANSWER: Duration = Duration::from_secs(60);

/// How long the kernel may take to end every process of a world after SIGKILL.
const END: Duration = Duration::from_secs(30);

/// Numbers of what worlds own: each has its own.
static OWNED: AtomicU32 = AtomicU32::new(0);

/// One target's world. Dropping it takes it down: kills, and waits for the kernel to have ended every process of it.
#[derive(Debug)]
pub struct Sandbox {
    control: Mutex<Channel>,
    root: Root,
    reader: Option<JoinHandle<Result<(), ChannelError>>>,
    exits: Mutex<Option<Receiver<Exit>>>,
    procfs: Arc<Procfs>,
    netns: Option<OwnedFd>,
    init: Pid,
    /// What else it owns, to be removed once no process of it is left.
    owned: Mutex<Vec<Owned>>,
}

impl Sandbox {
    /// Makes a world of this tier; for tier B the process has to have [entered](super::enter) before. Times are told on
    /// `clock`.
    ///
    /// # Errors
    /// EPERM where the tier is not permitted.
    pub fn create(tier: Tier, clock: Clock) -> Result<Sandbox, SandboxError> {
        let (mut control, control_far) = Channel::pair()?;
        let (exits, exits_far) = Channel::pair()?;
        let root = Root::start(tier, &control_far, &exits_far)?;
        // Otherwise the end of the init would not show on ours.
        drop((control_far, exits_far));
        let (reply, descriptors) = receive(&mut control)?;
        let mut descriptors = descriptors.into_iter();
        let (init, procfs) = match (reply, descriptors.next()) {
            (Reply::Ready { init }, Some(procfs)) => (init, procfs),
            (Reply::NotReady { step, errno }, _) => {
                return Err(SandboxError::SetUp { step, source: io::Error::from_raw_os_error(errno) });
            }
            (reply, _) => return Err(unexpected(&reply).into()),
        };
        let netns = descriptors.next();
        let procfs = match tier {
            Tier::A | Tier::B => Procfs::isolated(procfs, init),
            Tier::C => Procfs::shared(procfs, init),
        };
        let (sender, receiver) = channel();
        let reader = std::thread::Builder::new()
            .name("exits".to_owned())
            .spawn(move || read_exits(exits, clock, &sender))
            .map_err(|source| SandboxError::Resource { action: "start a thread for exits", source })?;
        let (control, exits) = (Mutex::new(control), Mutex::new(Some(receiver)));
        Ok(Sandbox {
            control,
            root,
            reader: Some(reader),
            exits,
            procfs: Arc::new(procfs),
            netns,
            init,
            owned: Mutex::new(Vec::new()),
        })
    }

    /// Launches from a clean state with these as standard input, output and error.
    ///
    /// # Errors
    /// [`SandboxError::Launch`] says at which step; [`SandboxError::Ended`] when the init is gone.
    pub fn spawn(&self, launch: &SpawnRequest, stdio: [OwnedFd; 3]) -> Result<Spawned, SandboxError> {
        self.spawn_with(launch, stdio, &[])
    }

    /// The same with these descriptors planted, one for each number in the request.
    ///
    /// # Errors
    /// As [`Sandbox::spawn`].
    pub fn spawn_with(
        &self,
        launch: &SpawnRequest,
        stdio: [OwnedFd; 3],
        planted: &[OwnedFd],
    ) -> Result<Spawned, SandboxError> {
        let lent: Vec<BorrowedFd<'_>> = stdio.iter().chain(planted).map(AsFd::as_fd).collect();
        let (reply, descriptors) = self.ask(&Request::Spawn(launch.clone()), &lent)?;
        let mut descriptors = descriptors.into_iter();
        match (reply, descriptors.next()) {
            (Reply::Spawned { pid, session }, Some(pidfd)) => {
                Ok(Spawned { pid, session, pidfd: Pidfd::from(pidfd), hook: descriptors.next() })
            }
            (Reply::SpawnFailed { step, errno }, _) => {
                let source = io::Error::from_raw_os_error(errno);
                Err(SandboxError::Launch { program: launch.program.clone(), step, source })
            }
            (reply, _) => Err(unexpected(&reply).into()),
        }
    }

    /// The process that has this pid now in the target's eyes, by identity.
    ///
    /// # Errors
    /// [`SandboxError::NoSuchProcess`] when there is none.
    pub fn open_pid(&self, pid: Pid) -> Result<Pidfd, SandboxError> {
        let (reply, descriptors) = self.ask(&Request::OpenPid(pid), &[])?;
        match (reply, descriptors.into_iter().next()) {
            (Reply::Opened, Some(pidfd)) => Ok(Pidfd::from(pidfd)),
            // What is a thread of a process and not a process is EINVAL or, before Linux 6.9, ENOENT.
            (Reply::NotOpened { errno: libc::ESRCH }, _) => Err(SandboxError::NoSuchProcess(pid)),
            (Reply::NotOpened { errno }, _) => {
                Err(SandboxError::OpenPid { pid, source: io::Error::from_raw_os_error(errno) })
            }
            (reply, _) => Err(unexpected(&reply).into()),
        }
    }

    /// A control group of the world's own, which ends with it. Asked again it is the same.
    ///
    /// # Errors
    /// [`SandboxError::Resource`] where control groups cannot be made.
    pub fn own_group(&self) -> Result<PathBuf, SandboxError> {
        let failed = |source| SandboxError::Resource { action: "make a control group", source };
        let known = |it: &Owned| matches!(it, Owned::Group(_));
        self.own(known, failed, || Ok(Owned::Group(cgroup::place(&fresh_name())?)))
    }

    /// A control group of the world's own that can bound how many tasks are in it; else as [`Sandbox::own_group`].
    ///
    /// # Errors
    /// [`SandboxError::Resource`] where such groups cannot be made.
    pub fn own_task_group(&self) -> Result<PathBuf, SandboxError> {
        let failed = |source| SandboxError::Resource { action: "make a control group that bounds its tasks", source };
        let known = |it: &Owned| matches!(it, Owned::TaskGroup(_));
        self.own(known, failed, || Ok(Owned::TaskGroup(tasks::place(&fresh_name())?)))
    }

    /// A directory of the world's own among the temporary ones, which ends with it. Asked again it is the same. Its name is
    /// short, as those of sockets have to be (unix(7): 107 bytes), and as a run's directory need not be.
    ///
    /// # Errors
    /// [`SandboxError::Resource`] where it cannot be made.
    pub fn own_directory(&self) -> Result<PathBuf, SandboxError> {
        let failed = |source| SandboxError::Resource { action: "make a directory", source };
        let known = |it: &Owned| matches!(it, Owned::Directory(_));
        self.own(known, failed, || Ok(Owned::Directory(std::env::temp_dir().join(fresh_name()))))
    }

    fn own(
        &self,
        known: impl Fn(&Owned) -> bool,
        failed: impl Fn(io::Error) -> SandboxError,
        new: impl FnOnce() -> io::Result<Owned>,
    ) -> Result<PathBuf, SandboxError> {
        let mut all = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owned) = all.iter().find(|it| known(it)) {
            return Ok(owned.place().to_owned());
        }
        let owned = new().map_err(&failed)?;
        // Known to the init before it is made: whatever happens now, somebody removes it.
        match self.ask(&Request::Own(owned.clone()), &[])? {
            (Reply::Owned, _) => {}
            (reply, _) => return Err(unexpected(&reply).into()),
        }
        all.push(owned.clone());
        owned.make().map_err(failed)?;
        Ok(owned.place().to_owned())
    }

    /// The world's `/proc`.
    #[must_use]
    pub fn procfs(&self) -> &Arc<Procfs> {
        &self.procfs
    }

    /// The world's network namespace, for [`crate::kernel::namespace::enter_netns`]; `None` in tier C.
    #[must_use]
    pub fn netns(&self) -> Option<BorrowedFd<'_>> {
        self.netns.as_ref().map(AsFd::as_fd)
    }

    /// Every exit since the beginning, as the init reaps. It ends when the world does.
    ///
    /// # Panics
    /// When it was taken before: there is one account of a world's exits.
    #[must_use]
    pub fn take_exits(&self) -> Receiver<Exit> {
        self.exits.lock().unwrap_or_else(PoisonError::into_inner).take().expect("the exits are taken once")
    }

    /// The expected reaper as the target sees it: 1 in tiers A and B.
    #[must_use]
    pub fn init_pid(&self) -> Pid {
        self.init
    }

    /// Takes the world down and proves it: every process is dead and reaped, the pid namespace ended.
    ///
    /// # Errors
    /// [`SandboxError::Teardown`] when something outlived SIGKILL by 30 s; and when the exits were not all read.
    pub fn teardown(mut self) -> Result<(), SandboxError> {
        // While the init lives: were we killed in between, it would find them gone, or remove them.
        let removed = self.end_owned();
        self.end_root()?;
        removed.map_err(|source| SandboxError::Resource { action: "remove what it owned", source })?;
        if self.init == Pid(1) && self.procfs.stat(self.init)?.is_some() {
            return Err(SandboxError::Teardown(END));
        }
        self.join()
    }

    fn end_root(&mut self) -> Result<(), SandboxError> {
        if self.root.tier == Tier::C {
            // For the guardian waits until the init, who looks at this socket alone, has ended by itself.
            let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = rustix::net::shutdown(&*control, rustix::net::Shutdown::Both);
        }
        self.root.end()
    }

    fn end_owned(&self) -> io::Result<()> {
        let owned = std::mem::take(&mut *self.owned.lock().unwrap_or_else(PoisonError::into_inner));
        // All of them are tried, before one of them may have failed.
        let ended: Vec<io::Result<()>> = owned.iter().map(Owned::end).collect();
        ended.into_iter().collect()
    }

    /// Collects the thread, which ends with the init.
    fn join(&mut self) -> Result<(), SandboxError> {
        match self.reader.take().map(JoinHandle::join) {
            Some(Ok(result)) => Ok(result?),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }

    fn ask(&self, request: &Request, lent: &[BorrowedFd<'_>]) -> Result<(Reply, Vec<OwnedFd>), SandboxError> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        match control.send(request, lent) {
            Err(ChannelError::Send(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Err(SandboxError::Ended);
            }
            result => result?,
        }
        let reply = receive(&mut control);
        if matches!(reply, Err(SandboxError::Silent(_))) {
            // A late answer would be taken for that to the next question: no more questions.
            let _ = rustix::net::shutdown(&*control, rustix::net::Shutdown::Both);
        }
        reply
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Nobody can be told here; `teardown` tells. What the kernel was asked to kill it kills even if late.
        let _ = self.end_owned();
        if self.end_root().is_ok() {
            let _ = self.reader.take().map(JoinHandle::join);
        }
    }
}

/// A name that nobody else has: not another world of this process, nor a process of this number in another namespace.
fn fresh_name() -> String {
    let number = OWNED.fetch_add(1, Ordering::Relaxed);
    format!("unbroken-{}-{number}-{:x}", std::process::id(), monotonic())
}

fn receive(control: &mut Channel) -> Result<(Reply, Vec<OwnedFd>), SandboxError> {
    if !wait::readable_within(control.as_fd(), ANSWER) {
        return Err(SandboxError::Silent(ANSWER));
    }
    control.receive()?.ok_or(SandboxError::Ended)
}

fn unexpected(reply: &Reply) -> ChannelError {
    ChannelError::Message(format!("{reply:?} was not asked for"))
}

fn read_exits(mut exits: Channel, clock: Clock, sender: &Sender<Exit>) -> Result<(), ChannelError> {
    while let Some((Reaped { pid, status, monotonic }, _)) = exits.receive()? {
        // Without a receiver it reads on: an init that cannot write would stop reaping.
        let _ = sender.send(Exit { pid, status, at: clock.at(monotonic) });
    }
    Ok(())
}

/// The world's first process, the harness's child: the init, in tier C the guardian.
#[derive(Debug)]
struct Root {
    process: Pidfd,
    /// Tier C: the write end whose closing sets the guardian to work.
    liveness: Option<OwnedFd>,
    tier: Tier,
    ended: bool,
}

impl Root {
    fn start(tier: Tier, control: &OwnedFd, exits: &OwnedFd) -> Result<Root, SandboxError> {
        if tier != Tier::C {
            let descriptors = [control.as_fd(), exits.as_fd()];
            let namespaces = Namespaces::SANDBOX;
            let role = Role { name: INIT, argument: Some(ISOLATED), namespaces, descriptors: &descriptors };
            return Ok(Root { process: execute_self(&role)?.pidfd, liveness: None, tier, ended: false });
        }
        let (watched, liveness) = pipe_with(PipeFlags::CLOEXEC)
            .map_err(|errno| SandboxError::Resource { action: "make a pipe", source: errno.into() })?;
        let descriptors = [control.as_fd(), exits.as_fd(), watched.as_fd()];
        let role = Role { name: GUARDIAN, argument: None, namespaces: Namespaces::NONE, descriptors: &descriptors };
        Ok(Root { process: execute_self(&role)?.pidfd, liveness: Some(liveness), tier, ended: false })
    }

    /// Ends the world and reaps its root. In A and B pid 1 becomes a zombie only after the kernel has ended and reaped
    /// everything else in its pid namespace; in C the guardian exits only when it has no child left.
    fn end(&mut self) -> Result<(), SandboxError> {
        if self.ended {
            return Ok(());
        }
        match self.liveness.take() {
            Some(liveness) => drop(liveness),
            None if self.tier == Tier::C => {}
            None => match self.process.send_signal(Signal(libc::SIGKILL)) {
                Ok(()) | Err(PidfdError::NoSuchProcess) => {}
                Err(error) => return Err(error.into()),
            },
        }
        if !self.process.wait(END) {
            return Err(SandboxError::Teardown(END));
        }
        let status = self.process.reap()?;
        self.ended = true;
        match (self.tier, status) {
            // Unknown: this process ignores SIGCHLD, so the kernel reaped it.
            (Tier::A | Tier::B, _) | (Tier::C, ExitStatus::Code(0) | ExitStatus::Unknown) => Ok(()),
            (Tier::C, status) => Err(SandboxError::Guardian(status)),
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // For a world that was never finished; as in `Sandbox`, nobody can be told here.
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_may_be_used_from_several_threads() {
        fn shareable<T: Send + Sync>() {}
        shareable::<Sandbox>();
    }
}

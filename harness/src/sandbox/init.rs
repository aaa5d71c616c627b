//! The tiny init: pid 1 of the target's world (in tier C: its nearest subreaper). It launches, it reaps everything,
//! and it ends when the harness does.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::channel::{Channel, ChannelError};
use super::launch::{self, reset_signals};
use super::message::{Owned, Reaped, Reply, Request, Step};
use super::role::{EXIT_BUG, handed};
use crate::event::ExitStatus;
use crate::id::Pid;
use crate::kernel::clock::monotonic;
use crate::kernel::namespace::loopback_up;

/// argv[1] in tiers A and B.
pub(super) const ISOLATED: &std::ffi::CStr = c"isolated";
/// argv[1] in tier C.
pub(super) const BARE: &std::ffi::CStr = c"bare";

/// A step and the errno with which it failed.
pub(super) type Failure = (Step, i32);

/// Plays the role: descriptors control socket and exits socket, argv[1] the kind of world.
pub(super) fn run() {
    let (control, exits) = (Channel::from(handed(0)), Channel::from(handed(1)));
    let isolated = std::env::args_os().nth(1) == Some(OsString::from("isolated"));
    match World::set_up(isolated) {
        // An error here is the harness's end, or a bug: either way this world ends with its init.
        Ok(world) => {
            let mut owned = Vec::new();
            let served = world.serve(control, &exits, &mut owned);
            // Nobody else would. What cannot be ended stays, and nobody is there to tell.
            owned.iter().for_each(|owned: &Owned| drop(owned.end()));
            match served {
                Ok(()) | Err(ChannelError::Send(_)) => std::process::exit(0),
                Err(error) => panic!("{error}"),
            }
        }
        Err((step, errno)) => {
            // Nobody to tell is nobody to care.
            let _ = control.send(&Reply::NotReady { step, errno }, &[]);
            std::process::exit(EXIT_BUG);
        }
    }
}

/// Leaves the harness's session and directory, takes no signal but SIGCHLD, and that by descriptor.
pub(super) fn stand_alone() -> Result<SignalFd, Failure> {
    let failed = |errno: Errno| (Step::Init, errno.raw_os_error());
    rustix::process::setsid().map_err(failed)?;
    rustix::process::chdir("/").map_err(failed)?;
    // A harness started with SIGCHLD ignored hands that down; nothing could be reaped then.
    reset_signals().map_err(failed)?;
    let mut children = SigSet::empty();
    children.add(nix::sys::signal::Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).map_err(|errno| (Step::Init, errno as i32))?;
    SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|errno| (Step::Init, errno as i32))
}

/// Forgets the SIGCHLDs so far; their senders are found by waiting.
pub(super) fn drain(signals: &SignalFd) {
    // Nonblocking: ends at EAGAIN. One signal stands for any number of ended children.
    while let Ok(Some(_)) = signals.read_signal() {}
}

/// Reaps one child that has ended, whoever it is. `None` when none has; ECHILD when there is no child at all.
pub(super) fn reap_one() -> io::Result<Option<(Pid, ExitStatus)>> {
    loop {
        // SAFETY: all-zero is a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG | libc::__WALL;
        // SAFETY: the structure outlives the call.
        if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) } != 0 {
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => continue,
                error => return Err(error),
            }
        }
        // SAFETY: waitid(2) fills these for a child; with none it leaves the zero.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        return Ok(match (pid, info.si_code) {
            (0, _) => None,
            (pid, libc::CLD_EXITED) => Some((Pid(pid), ExitStatus::Code(status))),
            (pid, _) => Some((Pid(pid), ExitStatus::Signal(status))),
        });
    }
}

struct World {
    signals: SignalFd,
    procfs: OwnedFd,
    netns: Option<OwnedFd>,
}

impl World {
    fn set_up(isolated: bool) -> Result<World, Failure> {
        let failed = |step| move |errno: Errno| (step, errno.raw_os_error());
        let signals = stand_alone()?;
        if isolated {
            // Before anything is mounted: on a shared mount it would show outside.
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
                .map_err(failed(Step::Propagation))?;
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount("proc", "/proc", "proc", flags, None).map_err(failed(Step::Proc))?;
            loopback_up().map_err(|error| (Step::Loopback, errno_below(&error)))?;
            nix::unistd::sethostname("unbroken").map_err(|errno| (Step::Hostname, errno as i32))?;
        } else {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(failed(Step::Init))?;
        }
        let open = |path, flags| rustix::fs::open(path, flags | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let procfs = open("/proc", OFlags::DIRECTORY).map_err(failed(Step::Proc))?;
        let netns = isolated.then(|| open("/proc/self/ns/net", OFlags::empty()));
        Ok(World { signals, procfs, netns: netns.transpose().map_err(failed(Step::Proc))? })
    }

    /// Until the harness's end of the control socket closes.
    fn serve(self, mut control: Channel, exits: &Channel, owned: &mut Vec<Owned>) -> Result<(), ChannelError> {
        let World { signals, procfs, netns } = self;
        let init = Pid(rustix::process::getpid().as_raw_nonzero().get());
        let world: Vec<_> = std::iter::once(procfs.as_fd()).chain(netns.as_ref().map(AsFd::as_fd)).collect();
        control.send(&Reply::Ready { init }, &world)?;
        drop((procfs, netns));
        let mut between = BTreeSet::new();
        loop {
            let mut ready = [PollFd::new(&signals, PollFlags::IN), PollFd::new(&control, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => panic!("poll on two open descriptors: {errno}"),
            }
            let [children, mail] = ready.map(|fd| !fd.revents().is_empty());
            if children {
                drain(&signals);
                // Having no child at all is as good as having none that ended.
                while let Ok(Some((pid, status))) = reap_one() {
                    // The end of one that stood between is nobody's business: it was ours.
                    if between.remove(&pid) {
                        continue;
                    }
                    exits.send(&Reaped { pid, status, monotonic: monotonic() }, &[])?;
                }
            }
            if mail {
                match control.receive()? {
                    Some((Request::Own(one), _)) => {
                        owned.push(one);
                        control.send(&Reply::Owned, &[])?;
                    }
                    Some((request, descriptors)) => between.extend(answer(&control, request, descriptors)?),
                    // The harness is gone.
                    None => return Ok(()),
                }
            }
        }
    }
}

/// Does what was asked for, and tells. Gives the process that stands between us and a launched one.
fn answer(control: &Channel, request: Request, descriptors: Vec<OwnedFd>) -> Result<Option<Pid>, ChannelError> {
    match request {
        Request::Spawn(request) => {
            if descriptors.len() != 3 + request.planted.len() {
                return Err(ChannelError::Message(format!("{} descriptors to launch with", descriptors.len())));
            }
            match launch::launch(&request, &descriptors) {
                Ok(launched) => {
                    let pidfd = launched.pidfd.as_fd();
                    let handed: Vec<_> =
                        std::iter::once(pidfd).chain(launched.hook.as_ref().map(AsFd::as_fd)).collect();
                    control.send(&Reply::Spawned { pid: launched.pid, session: launched.session }, &handed)?;
                    return Ok(launched.between);
                }
                Err((step, errno)) => control.send(&Reply::SpawnFailed { step, errno }, &[])?,
            }
        }
        Request::Own(_) => unreachable!("whoever serves keeps it"),
        Request::OpenPid(Pid(pid)) => {
            let pid = rustix::process::Pid::from_raw(pid).ok_or(Errno::SRCH);
            match pid.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())) {
                Ok(pidfd) => control.send(&Reply::Opened, &[pidfd.as_fd()])?,
                Err(errno) => control.send(&Reply::NotOpened { errno: errno.raw_os_error() }, &[])?,
            }
        }
    }
    Ok(None)
}

/// The errno at the bottom of an error's sources.
pub(super) fn errno_below(error: &(dyn std::error::Error + 'static)) -> i32 {
    let mut error = error;
    loop {
        if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return errno;
        }
        match error.source() {
            Some(source) => error = source,
            None => return libc::EIO,
        }
    }
}

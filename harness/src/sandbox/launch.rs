//! The launch of a target from a clean state, as the tiny init does it: no shell, and between fork and exec nothing but
//! system calls.

use std::ffi::{CString, c_char};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::init::{Failure, errno_below};
use super::message::{SpawnRequest, Standing, Step};
use crate::id::Pid;
use crate::kernel::clone::{Forked, Namespaces, fork, fork_again};
use crate::kernel::pidfd::{HostPid, Pidfd};
use crate::kernel::seccomp::{Hold, hold_calls};
use crate::target::Signal;

/// A process that executes what was asked for.
pub(super) struct Launched {
    pub(super) pid: Pid,
    pub(super) session: Pid,
    pub(super) pidfd: Pidfd,
    pub(super) hook: Option<OwnedFd>,
    /// The process between it and the init.
    pub(super) between: Option<Pid>,
}

/// Everything the child needs, allocated before the fork.
struct Prepared {
    /// Paths to try in turn, as execvp(3) does.
    candidates: Vec<CString>,
    argv: Vector,
    environment: Vector,
    directory: CString,
    umask: u32,
    hold: Option<Hold>,
    standing: Standing,
    first: bool,
    closed: bool,
    blocked: Vec<Signal>,
    ignored: Vec<Signal>,
    groups: Vec<u32>,
    removes_directory: bool,
    /// What stays open beside standard input, output and error, and under which number.
    planted: Vec<(OwnedFd, RawFd)>,
}

/// A null-terminated array of strings, and what it points to.
struct Vector {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl Vector {
    fn new(words: impl Iterator<Item = String>) -> Result<Vector, Failure> {
        let strings: Vec<CString> = words.map(|word| c_string(word.as_bytes())).collect::<Result<_, _>>()?;
        let pointers = strings.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Vector { pointers, _strings: strings })
    }
}

fn c_string(bytes: &[u8]) -> Result<CString, Failure> {
    CString::new(bytes).map_err(|_| (Step::Arguments, libc::EINVAL))
}

impl Prepared {
    fn new(request: &SpawnRequest, planted: &[OwnedFd]) -> Result<Prepared, Failure> {
        let directory = request.directory.as_ref().map_or(&b"/"[..], |path| path.as_os_str().as_bytes());
        let variables = request.environment.iter().map(|(name, value)| format!("{name}={value}"));
        let lifted = planted.iter().map(lift).collect::<Result<Vec<_>, _>>()?;
        Ok(Prepared {
            candidates: candidates(request)?,
            argv: Vector::new(request.argv.iter().cloned())?,
            environment: Vector::new(variables)?,
            directory: c_string(directory)?,
            umask: request.umask,
            hold: request.hold,
            standing: request.standing,
            first: request.first,
            closed: request.closed,
            blocked: request.blocked.clone(),
            ignored: request.ignored.clone(),
            groups: request.groups.clone(),
            removes_directory: request.removes_directory,
            planted: lifted.into_iter().zip(request.planted.iter().copied()).collect(),
        })
    }
}

/// A program with a slash is itself; any other is looked for in the launched environment's PATH.
fn candidates(request: &SpawnRequest) -> Result<Vec<CString>, Failure> {
    if request.program.contains('/') || request.program.is_empty() {
        return Ok(vec![c_string(request.program.as_bytes())?]);
    }
    // Without PATH, glibc's execvp looks there.
    let path = request.environment.get("PATH").map_or("/bin:/usr/bin", String::as_str);
    path.split(':')
        .map(|directory| match directory {
            "" => c_string(request.program.as_bytes()),
            directory => c_string(format!("{directory}/{}", request.program).as_bytes()),
        })
        .collect()
}

/// Above every number under which a descriptor is planted: what is to be copied there, and the report, must not be
/// overwritten before.
const ABOVE_PLANTED: RawFd = 256;

fn lift(fd: &OwnedFd) -> Result<OwnedFd, Failure> {
    rustix::io::fcntl_dupfd_cloexec(fd, ABOVE_PLANTED).map_err(|errno| (Step::Stdio, errno.raw_os_error()))
}

/// Launches with standard input, output and error, then the planted ones. On failure nothing of it is left, not even a
/// zombie.
pub(super) fn launch(request: &SpawnRequest, descriptors: &[OwnedFd]) -> Result<Launched, Failure> {
    let (stdio, planted) = descriptors.split_at(3);
    let prepared = Prepared::new(request, planted)?;
    let failed = |step| move |errno: Errno| (step, errno.raw_os_error());
    // Close-on-exec: that the child's end closes without a word is how an exec that worked shows.
    let (near, low) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(failed(Step::Clone))?;
    let far = lift(&low)?;
    // A copy that the init kept would keep the end of file from it.
    drop(low);
    if request.standing == Standing::Terminal {
        // The init leads the session that the launched process is part of, as a shell does: it outlives its launcher.
        rustix::process::ioctl_tiocsctty(&stdio[0]).map_err(failed(Step::Session))?;
    }
    let stdio = [stdio[0].as_raw_fd(), stdio[1].as_raw_fd(), stdio[2].as_raw_fd()];
    let namespaces = if request.first { Namespaces::CONTAINER } else { Namespaces::NONE };
    // SAFETY: the child goes straight into one of these two, which make system calls only.
    let forked = unsafe { fork(namespaces) }.map_err(|error| (Step::Clone, errno_below(&error)))?;
    let (HostPid(first), pidfd) = match forked {
        Forked::Child if request.between => stand_between(&prepared, stdio, far.as_fd()),
        Forked::Child => become_target(&prepared, stdio, far.as_fd()),
        Forked::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(far);
    let Heard { hook, launcher, failure } = hear(&near);
    let lost = (request.between && launcher.is_none()).then_some((Step::Clone, libc::EIO));
    if let Some(failure) = failure.or(lost) {
        // It is about to exit, if it has not yet; whom it leaves then is ours.
        for process in std::iter::once(&pidfd).chain(launcher.as_ref().map(|(_, pidfd)| pidfd)) {
            process.reap().map_err(|error| (Step::Clone, errno_below(&error)))?;
        }
        return Err(failure);
    }
    let between = launcher.is_some().then_some(Pid(first));
    let (pid, pidfd) = launcher.unwrap_or((Pid(first), pidfd));
    let session = match request.standing {
        Standing::LeadsSession => pid,
        Standing::Terminal => own_pid(),
        Standing::LeadsGroup | Standing::LeadsNothing => between.unwrap_or_else(own_pid),
    };
    Ok(Launched { pid, session, pidfd, hook, between })
}

fn own_pid() -> Pid {
    Pid(rustix::process::getpid().as_raw_nonzero().get())
}

/// What the child has to say before it is another program.
#[derive(Default)]
struct Heard {
    hook: Option<OwnedFd>,
    /// The launched process, where it is not the child itself.
    launcher: Option<(Pid, Pidfd)>,
    failure: Option<Failure>,
}

/// Until the end: who has become another program says nothing more.
fn hear(near: &OwnedFd) -> Heard {
    let mut heard = Heard::default();
    loop {
        let mut report = [0; 8];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let length = match recvmsg(near, &mut [IoSliceMut::new(&mut report)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => received.bytes,
            Err(Errno::INTR) => continue,
            Err(errno) => {
                heard.failure.get_or_insert((Step::Clone, errno.raw_os_error()));
                return heard;
            }
        };
        let mut handed = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                handed = rights.last();
            }
        }
        let [kind, a, b, c, d, ..] = report;
        let number = i32::from_ne_bytes([a, b, c, d]);
        match kind {
            _ if length == 0 => return heard,
            HOOKED => heard.hook = handed,
            FORKED => heard.launcher = handed.map(|pidfd| (Pid(number), Pidfd::from(pidfd))),
            step => heard.failure = Some((Step::ALL[usize::from(step)], number)),
        }
    }
}

/// First byte of the message that carries the hook; no [`Step`] has this number.
const HOOKED: u8 = 255;

/// First byte of the message of the process between: the launched one's pid, and its pidfd.
const FORKED: u8 = 254;

/// One message: kind, number, at most one descriptor. System calls only.
fn tell(report: BorrowedFd<'_>, kind: u8, number: i32, handed: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let [a, b, c, d] = number.to_ne_bytes();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights = handed.map(|fd| [fd]);
    if let Some(rights) = &rights {
        control.push(SendAncillaryMessage::ScmRights(rights));
    }
    sendmsg(report, &[IoSlice::new(&[kind, a, b, c, d])], &mut control, SendFlags::NOSIGNAL).map(|_| ())
}

/// The part of the process between the init and the launched one. It leaves that one's end to the init: it waits without
/// reaping and ends, and the init, who adopts the zombie, tells its status like everybody's. Runs between two forks: system
/// calls only.
fn stand_between(prepared: &Prepared, stdio: [RawFd; 3], report: BorrowedFd<'_>) -> ! {
    let forked = match prepared.standing {
        Standing::Terminal => Ok(()),
        Standing::LeadsSession | Standing::LeadsGroup | Standing::LeadsNothing => rustix::process::setsid().map(|_| ()),
    };
    // SAFETY: we are such a child; the new one goes straight into `become_target`.
    let forked = forked.and_then(|()| unsafe { fork_again() }.map_err(|_| last_errno()));
    match forked {
        Ok(Forked::Child) => become_target(prepared, stdio, report),
        Ok(Forked::Parent { pid: HostPid(pid), pidfd }) => {
            // Without a reader there is no init, and soon no world.
            let _ = tell(report, FORKED, pid, Some(pidfd.as_fd()));
            wait_and_end(pid)
        }
        Err(errno) => {
            let _ = tell(report, Step::Clone as u8, errno.raw_os_error(), None);
            // SAFETY: as in `become_target`.
            unsafe { libc::_exit(127) }
        }
    }
}

fn wait_and_end(pid: libc::pid_t) -> ! {
    // SAFETY: system calls; all-zero is a valid siginfo_t, and no descriptor is used any more.
    unsafe {
        // The launched process's pipes must end with it, and the init's sockets with the init.
        libc::close_range(0, libc::c_uint::MAX, 0);
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let id = libc::id_t::try_from(pid).unwrap_or(0);
        while libc::waitid(libc::P_PID, id, &raw mut info, libc::WEXITED | libc::WNOWAIT) != 0
            && last_errno() == Errno::INTR
        {}
        libc::_exit(0)
    }
}

/// The child's part. Runs between fork and exec: no allocation, no lock, system calls only.
fn become_target(prepared: &Prepared, stdio: [RawFd; 3], report: BorrowedFd<'_>) -> ! {
    let Err((step, errno)) = attempt(prepared, stdio, report);
    // When even this fails, the exit status is what is left to see.
    let _ = tell(report, step as u8, errno.raw_os_error(), None);
    // SAFETY: ends the process without running anything of ours.
    unsafe { libc::_exit(127) }
}

fn attempt(
    prepared: &Prepared,
    stdio: [RawFd; 3],
    report: BorrowedFd<'_>,
) -> Result<std::convert::Infallible, (Step, Errno)> {
    let failed = |step| move |errno: Errno| (step, errno);
    if prepared.first {
        show_own_processes().map_err(failed(Step::Proc))?;
    }
    match prepared.standing {
        Standing::LeadsSession => drop(rustix::process::setsid().map_err(failed(Step::Session))?),
        Standing::LeadsGroup => rustix::process::setpgid(None, None).map_err(failed(Step::Session))?,
        Standing::LeadsNothing | Standing::Terminal => {}
    }
    for (number, source) in (0..).zip(stdio) {
        // The init's own 0 to 2 are open, so what it was handed has higher numbers: none is overwritten.
        // SAFETY: dup2(2) on open descriptors.
        if unsafe { libc::dup2(source, number) } < 0 {
            return Err((Step::Stdio, last_errno()));
        }
    }
    // SAFETY: marks descriptors; `report` has to stay until exec.
    if unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) } != 0 {
        return Err((Step::Stdio, last_errno()));
    }
    if prepared.standing == Standing::Terminal {
        take_foreground().map_err(failed(Step::Session))?;
    }
    for (planted, number) in &prepared.planted {
        // SAFETY: dup2(2) onto a number that nothing of ours has; it clears close-on-exec.
        if unsafe { libc::dup2(planted.as_raw_fd(), *number) } < 0 {
            return Err((Step::Stdio, last_errno()));
        }
    }
    // SAFETY: umask(2) cannot fail.
    unsafe { libc::umask(prepared.umask & 0o777) };
    // SAFETY: a NUL-terminated path that outlives the call.
    if unsafe { libc::chdir(prepared.directory.as_ptr()) } != 0 {
        return Err((Step::Directory, last_errno()));
    }
    // SAFETY: the same path.
    if prepared.removes_directory && unsafe { libc::rmdir(prepared.directory.as_ptr()) } != 0 {
        return Err((Step::Directory, last_errno()));
    }
    reset_signals().map_err(failed(Step::Signals))?;
    soil_signals(prepared).map_err(failed(Step::Signals))?;
    join_groups(&prepared.groups).map_err(failed(Step::Groups))?;
    if let Some(hold) = prepared.hold {
        let hook = hold_calls(hold).map_err(|_| (Step::ListenHook, last_errno()))?;
        tell(report, HOOKED, 0, Some(hook.as_fd())).map_err(failed(Step::ListenHook))?;
    }
    if prepared.closed {
        // SAFETY: closes descriptors that nothing of ours uses any more.
        unsafe { libc::close_range(0, 2, 0) };
    }
    Err((Step::Exec, execute(prepared)))
}

/// Blocks and ignores what is to be. Both survive execve(2).
fn soil_signals(prepared: &Prepared) -> Result<(), Errno> {
    // SAFETY: all-zero is a valid set; SIG_IGN installs no function; the set outlives the calls.
    unsafe {
        for Signal(number) in &prepared.ignored {
            if libc::signal(*number, libc::SIG_IGN) == libc::SIG_ERR {
                return Err(last_errno());
            }
        }
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut blocked);
        for Signal(number) in &prepared.blocked {
            libc::sigaddset(&raw mut blocked, *number);
        }
        match libc::sigprocmask(libc::SIG_SETMASK, &raw const blocked, std::ptr::null_mut()) {
            0 => Ok(()),
            _ => Err(last_errno()),
        }
    }
}

/// A `/proc` of the pid namespace that this process is the first of.
fn show_own_processes() -> Result<(), Errno> {
    // Before anything is mounted: on a shared mount it would show outside.
    mount_change(c"/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(c"proc", c"/proc", c"proc", flags, None)
}

/// By the raw call: the C library would have every thread do it that it knows of, and those are the parent's.
fn join_groups(groups: &[u32]) -> Result<(), Errno> {
    if groups.is_empty() {
        return Ok(());
    }
    // SAFETY: a list of this length that outlives the call.
    match unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// A process group of its own, the foreground one of the terminal on standard input. SIGTTOU is still blocked here.
fn take_foreground() -> Result<(), Errno> {
    rustix::process::setpgid(None, None)?;
    let group = rustix::process::getpgrp();
    // SAFETY: standard input was placed before.
    rustix::termios::tcsetpgrp(unsafe { BorrowedFd::borrow_raw(0) }, group)
}

/// Tries the candidates in turn; a missing one is skipped, one that may not be executed is remembered (execvp(3)).
fn execute(prepared: &Prepared) -> Errno {
    let mut refused = None;
    for candidate in &prepared.candidates {
        // SAFETY: null-terminated arrays of strings that outlive the call.
        unsafe {
            libc::execve(candidate.as_ptr(), prepared.argv.pointers.as_ptr(), prepared.environment.pointers.as_ptr())
        };
        match last_errno() {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => refused = Some(Errno::ACCESS),
            errno => return errno,
        }
    }
    refused.unwrap_or(Errno::NOENT)
}

fn last_errno() -> Errno {
    // Reads errno without allocating.
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Every signal at its default action (Rust ignores SIGPIPE, nohup ignores SIGHUP) and none blocked. By the raw calls:
/// the C library refuses to touch the two signals that it keeps for itself. Async-signal-safe.
pub(super) fn reset_signals() -> Result<(), Errno> {
    /// SIGRTMAX of the kernel; its signal sets have this many bits.
    const SIGNALS: libc::c_int = 64;
    const SET_BYTES: usize = 8;
    // `struct sigaction` of the kernel is handler, flags, restorer, mask, on some architectures less: all zero is the
    // default action.
    let default = [0u64; 4];
    let unblocked = 0u64;
    let no_old: *mut libc::c_void = std::ptr::null_mut();
    for signal in (1..=SIGNALS).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        // SAFETY: the structure is at least as long as the kernel's and outlives the call.
        let set = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), no_old, SET_BYTES) };
        if set != 0 {
            return Err(last_errno());
        }
    }
    // SAFETY: the set is 64 bits and outlives the call.
    match unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const unblocked, no_old, SET_BYTES) }
    {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

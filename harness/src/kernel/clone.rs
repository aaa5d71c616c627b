//! clone3(2) into fresh namespaces, with a pidfd; and this very executable run again under another name.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{SigSet, SigmaskHow};
use thiserror::Error;

use super::pidfd::{HostPid, Pidfd};

/// Which namespaces a new process gets of its own (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// None: everything is shared with the parent.
    pub const NONE: Namespaces = Namespaces(0);
    /// pid and mount: the new process is pid 1, and may mount a `/proc` that says so.
    pub const CONTAINER: Namespaces = Namespaces((libc::CLONE_NEWPID | libc::CLONE_NEWNS) as u64);
    /// A network namespace only.
    pub const NETWORK: Namespaces = Namespaces(libc::CLONE_NEWNET as u64);
    /// pid, mount, net, ipc, uts and cgroup.
    pub const SANDBOX: Namespaces = Namespaces(
        (libc::CLONE_NEWPID
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP) as u64,
    );
}

/// The two sides of a [`fork`].
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The old one, with the new one's identity.
    Parent {
        /// In the caller's pid namespace.
        pid: HostPid,
        /// The same process by identity.
        pidfd: Pidfd,
    },
}

/// Why this executable could not be run again.
#[derive(Debug, Error)]
pub enum CloneError {
    /// clone3(2) itself.
    #[error("make a process (clone3)")]
    Clone(#[source] io::Error),
    /// `/dev/null` for its standard input and output.
    #[error("open /dev/null")]
    Null(#[source] io::Error),
    /// More descriptors than a role ever takes.
    #[error("pass {0} descriptors: at most {MOST} can be")]
    TooMany(usize),
}

/// The most descriptors a role is handed: the child has no allocator, so its list has a fixed length.
const MOST: usize = 8;

/// The first descriptor number of those handed over; they follow each other from here.
pub const FIRST_DESCRIPTOR: RawFd = 3;

/// This executable, to be run again as something else.
#[derive(Debug, Clone, Copy)]
pub struct Role<'a> {
    /// `argv[0]`, by which the new process knows its role.
    pub name: &'a CStr,
    /// `argv[1]`.
    pub argument: Option<&'a CStr>,
    /// Namespaces of its own.
    pub namespaces: Namespaces,
    /// Handed over as [`FIRST_DESCRIPTOR`] and the following, close-on-exec cleared. It gets nothing else but
    /// standard error, so that a panic of it is seen.
    pub descriptors: &'a [BorrowedFd<'a>],
}

/// A process that runs this executable in a role.
#[derive(Debug)]
pub struct Offspring {
    /// Its pid as the caller sees it.
    pub pid: HostPid,
    /// Its identity.
    pub pidfd: Pidfd,
}

static FORKS: Mutex<()> = Mutex::new(());

/// While this is held, no child of this process begins. To be held while an executable is open for writing: a child
/// has that descriptor too until it executes, and whoever executes the finished file meanwhile gets ETXTBSY.
pub fn no_forks() -> MutexGuard<'static, ()> {
    FORKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// fork(2) with namespaces and a pidfd. The caller is the parent and has to reap it.
///
/// # Errors
/// Those of clone3(2): EPERM without the privilege for the namespaces.
///
/// # Safety
/// As after fork(2) in a program with threads, the child may only call async-signal-safe functions (no allocation,
/// no lock) until it executes or exits.
pub unsafe fn fork(namespaces: Namespaces) -> io::Result<Forked> {
    let no_file_is_being_written = no_forks();
    // SAFETY: the caller's promise is the same.
    let forked = unsafe { clone3(namespaces) };
    if let Ok(Forked::Child) = forked {
        // The lock is the parent's, and held in this copy of its memory for ever: here, `fork_again` forks.
        std::mem::forget(no_file_is_being_written);
    }
    forked
}

/// The same in a child of [`fork`], which may not take a lock.
///
/// # Errors
/// Those of clone3(2).
///
/// # Safety
/// As [`fork`]; and only in such a child.
pub unsafe fn fork_again() -> io::Result<Forked> {
    // SAFETY: the caller's promise is the same.
    unsafe { clone3(Namespaces::NONE) }
}

unsafe fn clone3(namespaces: Namespaces) -> io::Result<Forked> {
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero is a valid clone_args: no flags, no pointers.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = libc::CLONE_PIDFD as u64 | namespaces.0;
    arguments.pidfd = &raw mut pidfd as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM this is fork: the child has its own copy of the stack and goes on from here.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    match pid {
        0 => Ok(Forked::Child),
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Forked::Parent {
            pid: HostPid(i32::try_from(pid).expect("pids fit an i32: PID_MAX_LIMIT is 2^22")),
            // SAFETY: the kernel has just stored a fresh descriptor (close-on-exec) there for us alone.
            pidfd: Pidfd::from(unsafe { OwnedFd::from_raw_fd(pidfd) }),
        }),
    }
}

/// Runs this executable (`/proc/self/exe`, so that it is the same inode even when the file was replaced) in a role,
/// with an empty environment. When it cannot be executed, the new process ends with status 127. Returns once it is executed.
///
/// As in vfork(2), the child runs in this process's memory until then, and this thread waits for it: a copy of a large process's page
/// tables takes longer than all that the child does.
///
/// # Errors
/// When the process cannot be made.
pub fn execute_self(role: &Role<'_>) -> Result<Offspring, CloneError> {
    if role.descriptors.len() > MOST {
        return Err(CloneError::TooMany(role.descriptors.len()));
    }
    let null = std::fs::File::options().read(true).write(true).open("/dev/null").map_err(CloneError::Null)?;
    let argument = role.argument.map_or(std::ptr::null(), CStr::as_ptr);
    // A handler of this process must not run in the child, where it would act on this process's memory.
    let mask =
        SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(|errno| CloneError::Clone(errno.into()))?;
    let part = Part {
        arguments: [role.name.as_ptr(), argument, std::ptr::null()],
        null: null.as_raw_fd(),
        descriptors: role.descriptors,
        mask: *mask.as_ref(),
    };
    let executed = execute(role.namespaces, &part);
    mask.thread_set_mask().expect("a mask that was read can be set");
    executed.map_err(CloneError::Clone)
}

/// What the child needs.
struct Part<'a> {
    arguments: [*const libc::c_char; 3],
    null: RawFd,
    descriptors: &'a [BorrowedFd<'a>],
    /// The signals that its program finds blocked.
    mask: libc::sigset_t,
}

fn execute(namespaces: Namespaces, part: &Part<'_>) -> io::Result<Offspring> {
    // The child makes a few system calls: it needs some hundred bytes, and a page for what the kernel's ABI wants beyond.
    let mut stack = vec![0_u128; 2048];
    let mut pidfd: RawFd = -1;
    let own = i32::try_from(namespaces.0).expect("each flag of a namespace that we use is one of clone(2)");
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | own;
    let no_file_is_being_written = no_forks();
    // SAFETY: the stack grows down from its end, which is aligned to 16; it, `part` and `pidfd` outlive the child's use of them,
    // for CLONE_VFORK holds this thread until the child has executed or ended. The child makes system calls only.
    let pid = unsafe {
        let top = stack.as_mut_ptr_range().end;
        libc::clone(become_role, top.cast(), flags, std::ptr::from_ref(part).cast_mut().cast(), &raw mut pidfd)
    };
    let error = io::Error::last_os_error();
    drop(no_file_is_being_written);
    if pid == -1 {
        return Err(error);
    }
    // SAFETY: the kernel has just stored a fresh descriptor (close-on-exec) there for us alone.
    Ok(Offspring { pid: HostPid(pid), pidfd: Pidfd::from(unsafe { OwnedFd::from_raw_fd(pidfd) }) })
}

/// The child's part, a [`Part`]: dup2, close_range, sigaction, sigprocmask, execve, nothing else.
extern "C" fn become_role(part: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `execute` gave it, and waits.
    let Part { arguments, null, descriptors, mask } = unsafe { &*part.cast::<Part<'_>>() };
    let environment: [*const libc::c_char; 1] = [std::ptr::null()];
    let end = FIRST_DESCRIPTOR + descriptors.len() as RawFd;
    let mut lifted = [-1; MOST];
    // SAFETY: system calls on our own descriptors; the pointers outlive the calls and end with a null.
    unsafe {
        // First out of the way: a source may sit on a number that is another one's destination.
        for (slot, source) in lifted.iter_mut().zip(*descriptors) {
            *slot = libc::fcntl(source.as_raw_fd(), libc::F_DUPFD_CLOEXEC, end);
        }
        let null = libc::fcntl(*null, libc::F_DUPFD_CLOEXEC, end);
        for (destination, source) in (FIRST_DESCRIPTOR..end).zip(lifted) {
            libc::dup2(source, destination);
        }
        libc::dup2(null, 0);
        libc::dup2(null, 1);
        libc::close_range(end as libc::c_uint, libc::c_uint::MAX, 0);
        let mut action: libc::sigaction = std::mem::zeroed();
        for signal in 1..=libc::SIGRTMAX() {
            let is_known = libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0;
            if is_known && ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction) {
                // What execve(2) does with a handler, before a signal can find it.
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        libc::sigprocmask(libc::SIG_SETMASK, mask, std::ptr::null_mut());
        libc::execve(c"/proc/self/exe".as_ptr(), arguments.as_ptr(), environment.as_ptr());
        libc::_exit(127)
    }
}

/// A descriptor that this process was handed by number at its start; `None` when that number is not open.
///
/// # Safety
/// Nothing else in this process may own that number.
#[must_use]
pub unsafe fn inherited(number: RawFd) -> Option<OwnedFd> {
    // Handed over without close-on-exec, of necessity; from here on it has it, like every other.
    // SAFETY: fcntl(2) on a number, open or not.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return None;
    }
    // SAFETY: it is open, and the caller promises that nobody else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

//! Making a child that becomes a program, without a copy of this process.
//!
//! fork(2) copies the page tables of a server, and parent and child copy each page that one of them writes to next. A child that only
//! becomes another program needs none of them: it runs in this process's memory, on a stack of its own, while the thread that made it
//! waits, as with vfork(2) and posix_spawn(3). The latter cannot tell a child its own pid.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::process::Pid;

use super::FIRST_HANDED;

/// As many digits as a pid has at most (PID_MAX_LIMIT is 2^22), and the NUL behind them.
const PID_ROOM: usize = 11;

/// Stack of a child until it is the program, which needs some hundred bytes of it: no handler runs there.
const STACK: usize = 32 * 1024;

/// What a child needs until it is the program.
pub(super) struct Start<'a> {
    pub(super) path: &'a CString,
    pub(super) arguments: &'a [*const libc::c_char],
    pub(super) environment: &'a [*const libc::c_char],
    /// Its descriptors 3, 4, 5 …, which have higher numbers here.
    pub(super) handed: &'a [RawFd],
    /// Where it writes its own pid ([`room_for_pid`]).
    pub(super) own_pid: Option<&'a mut [u8]>,
    pub(super) ignores_sigpipe: bool,
}

impl Start<'_> {
    /// The child, when it has been executed or has ended.
    pub(super) fn child(&mut self) -> io::Result<Pid> {
        let mut stack = vec![0_u128; STACK / size_of::<u128>()];
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let start: *mut Self = self;
        // A handler that ran in the child would write to this process's memory.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        // SAFETY: the call returns when the child no longer uses `start` and the stack, which grows down from its end, aligned to 16
        // bytes. The child calls nothing but async-signal-safe functions (signal-safety(7)): other threads may hold locks.
        let pid = unsafe { libc::clone(become_program, stack.as_mut_ptr_range().end.cast(), flags, start.cast()) };
        let made = if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) };
        mask.thread_set_mask()?;
        // Asked of a number that is none, this would panic.
        Ok(Pid::from_raw(made?).expect("a child has a number"))
    }
}

/// The child's side, in its parent's memory: no allocation, no lock, no return.
extern "C" fn become_program(start: *mut libc::c_void) -> libc::c_int {
    // SAFETY: only async-signal-safe calls on what the parent has prepared, which waits until execve.
    unsafe {
        let start = &mut *start.cast::<Start<'_>>();
        if let Some(room) = start.own_pid.as_deref_mut() {
            write_pid(room);
        }
        for number in 1..=libc::SIGRTMAX() {
            // Ignored signals would survive execve; Rust's runtime ignores SIGPIPE. KILL and STOP refuse, which is fine.
            libc::signal(number, libc::SIG_DFL);
        }
        if start.ignores_sigpipe {
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        }
        for (target, &fd) in (FIRST_HANDED..).zip(start.handed) {
            // dup2 clears close-on-exec: these are the ones handed on deliberately.
            if libc::dup2(fd, target) < 0 {
                libc::_exit(126);
            }
        }
        let first_foreign = libc::c_uint::try_from(FIRST_HANDED).unwrap_or(3) + start.handed.len() as libc::c_uint;
        // What a launcher leaked to the master ends here. Failure (Linux before 5.9) leaves only close-on-exec to protect us.
        libc::syscall(libc::SYS_close_range, first_foreign, libc::c_uint::MAX, 0);
        let mut empty: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut empty);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut());
        libc::execve(start.path.as_ptr(), start.arguments.as_ptr(), start.environment.as_ptr());
        libc::_exit(127)
    }
}

/// `NAME=` and room for a pid.
pub(super) fn room_for_pid(name: &str) -> Vec<u8> {
    let mut entry = format!("{name}=").into_bytes();
    entry.resize(entry.len() + PID_ROOM, 0);
    entry
}

/// Writes this process's pid into that room, without allocating anything.
fn write_pid(entry: &mut [u8]) {
    let mut digits = [0_u8; PID_ROOM];
    let (mut left, mut count) = (std::process::id(), 0);
    while left > 0 {
        digits[count] = b"0123456789"[(left % 10) as usize];
        (left, count) = (left / 10, count + 1);
    }
    let room = entry.len() - PID_ROOM;
    for (at, digit) in digits[..count].iter().rev().enumerate() {
        entry[room + at] = *digit;
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::io::Read;
    use std::os::fd::AsFd;

    use nix::sys::signal::Signal;

    use super::super::{Exit, Program};
    use super::*;

    #[test]
    fn what_is_blocked_here_is_not_blocked_there_and_still_is_here() {
        let blocked = SigSet::from(Signal::SIGUSR2);
        blocked.thread_block().expect("block");
        let before = SigSet::thread_get_mask().expect("mask");
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let script = ["/bin/sh", "-c", "grep SigBlk /proc/self/status >&3"].map(OsString::from);
        let child = Program::other(&script).expect("a program").spawn(&[writer.as_fd()]).expect("spawn");
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said).expect("read");
        assert_eq!(said, "SigBlk:\t0000000000000000\n");
        assert_eq!(SigSet::thread_get_mask().expect("mask"), before);
        crate::poll::until(&mut [crate::poll::readable(&child)], None).expect("poll");
        assert_eq!(child.reap().expect("reap"), Some(Exit::Status(0)));
    }
}

//! seccomp user notification on listen(2): the target stands still in the call until the harness lets it go on
//! (seccomp_unotify(2)).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::net::sockopt::{socket_acceptconn, socket_cookie, socket_reuseport};
use thiserror::Error;

use super::pidfd::{HostPid, Pidfd, PidfdError};
use crate::id::{Cookie, Pid};
use crate::wait;

/// Why a held call could not be looked at or let go.
#[derive(Debug, Error)]
pub enum SeccompError {
    /// The caller died, or a signal took it out of the call: there is nothing to answer any more.
    #[error("answer a held call: its caller has left it")]
    Gone,
    /// The caller's identity (`/proc/TID/status`).
    #[error("learn who called listen: {0}")]
    Caller(String),
    /// Fetching the caller's socket.
    #[error("fetch the listening socket")]
    Socket(#[source] PidfdError),
    /// Anything else.
    #[error("{action}")]
    Call {
        /// What was tried, with its system call.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

fn call_failed(action: &'static str, source: io::Error) -> SeccompError {
    match source.raw_os_error() {
        Some(libc::ENOENT) => SeccompError::Gone,
        _ => SeccompError::Call { action, source },
    }
}

/// The architecture whose system call numbers the filter knows (AUDIT_ARCH_*, <linux/audit.h>).
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xC000_00F3;

/// Holds every listen(2) of the calling thread, and of what it will fork and execute, until the returned descriptor
/// (close-on-exec) is answered through. When that descriptor is closed, held and later calls fail with ENOSYS. For the
/// child between fork and exec: system calls only. NO_NEW_PRIVS is set only where the kernel insists, which is without
/// CAP_SYS_ADMIN. A second such filter on a task is EBUSY.
///
/// # Errors
/// Those of seccomp(2).
pub fn hold_listen_calls() -> io::Result<OwnedFd> {
    // Waiting killably keeps a held call from being torn up and begun again by every signal (Go's preemption); an
    // older kernel does not know that flag (EINVAL).
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let with_all = |flags| match install(flags) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER),
        result => result,
    };
    match with_all(flags) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            // SAFETY: this prctl takes no pointers.
            if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
            with_all(flags)
        }
        result => result,
    }
}

fn install(flags: libc::c_ulong) -> io::Result<OwnedFd> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD, 0, 0, std::mem::offset_of!(libc::seccomp_data, arch) as u32),
        step(EQUAL, 0, 3, ARCHITECTURE),
        step(LOAD, 0, 0, std::mem::offset_of!(libc::seccomp_data, nr) as u32),
        step(EQUAL, 0, 1, libc::SYS_listen as u32),
        step(ANSWER, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        step(ANSWER, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program outlives the call; the kernel copies it.
    let fd =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&program)) };
    match fd {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: with NEW_LISTENER the result is a fresh descriptor for us alone.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }),
    }
}

/// The harness's end of the hook. Keep it as long as the target lives: without it, every listen(2) fails with ENOSYS.
#[derive(Debug)]
pub struct ListenHook {
    fd: OwnedFd,
}

/// A call that stands still until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The calling thread, in the pid namespace of whoever received this.
    pub thread: HostPid,
    /// First argument of listen(2): the socket, as a descriptor of the caller.
    pub fd_argument: RawFd,
    /// The kernel's number of this call, for the answer.
    pub id: u64,
}

/// The process behind a held call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// As the harness sees it.
    pub outer: HostPid,
    /// As the target sees it.
    pub inner: Pid,
}

impl From<OwnedFd> for ListenHook {
    /// Takes the descriptor that [`hold_listen_calls`] returned in the target.
    fn from(fd: OwnedFd) -> ListenHook {
        ListenHook { fd }
    }
}

impl AsFd for ListenHook {
    /// Readable when a call is held; hung up (POLLHUP) when no process with the filter is left.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl ListenHook {
    /// The next held call, `None` when none is. Does not block.
    ///
    /// # Errors
    /// Those of SECCOMP_IOCTL_NOTIF_RECV.
    pub fn receive(&self) -> Result<Option<Held>, SeccompError> {
        loop {
            // The ioctl would block: ask first. A caller killed in between gives ENOENT.
            if !wait::readable_within(self.fd.as_fd(), Duration::ZERO) {
                return Ok(None);
            }
            // SAFETY: all-zero is a valid notification, and the kernel insists on it.
            let mut held: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: the request's size is that of the structure, which outlives the call.
            if unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut held) } == 0 {
                return Ok(Some(Held {
                    thread: HostPid(held.pid as i32),
                    fd_argument: held.data.args[0] as RawFd,
                    id: held.id,
                }));
            }
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
                error => return Err(call_failed("receive a held call (SECCOMP_IOCTL_NOTIF_RECV)", error)),
            }
        }
    }

    /// Lets the call go on as if nothing had happened.
    ///
    /// # Errors
    /// [`SeccompError::Gone`] when its caller has left it.
    pub fn answer_continue(&self, id: u64) -> Result<(), SeccompError> {
        let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        let mut answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
        // SAFETY: the request's size is that of the structure, which outlives the call.
        match unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) } {
            0 => Ok(()),
            _ => Err(call_failed("let a held call go on (SECCOMP_IOCTL_NOTIF_SEND)", io::Error::last_os_error())),
        }
    }

    /// The caller still stands in the call: what was learnt by its pid is about the right process.
    #[must_use]
    pub fn still_valid(&self, id: u64) -> bool {
        // SAFETY: the request reads one u64, which outlives the call.
        unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0 }
    }

    /// Who calls.
    ///
    /// # Errors
    /// [`SeccompError::Gone`] when the caller has left the call.
    pub fn caller(&self, held: &Held) -> Result<Caller, SeccompError> {
        let path = format!("/proc/{}/status", held.thread);
        let status = std::fs::read_to_string(&path);
        if !self.still_valid(held.id) {
            return Err(SeccompError::Gone);
        }
        let status = status.map_err(|source| SeccompError::Caller(format!("{path}: {source}")))?;
        let last = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            line.and_then(|line| line.split_ascii_whitespace().last()?.parse().ok())
        };
        match (last("Tgid:"), last("NStgid:")) {
            (Some(outer), Some(inner)) => Ok(Caller { outer: HostPid(outer), inner: Pid(inner) }),
            _ => Err(SeccompError::Caller(format!("{path} has no Tgid or NStgid"))),
        }
    }

    /// A copy of the socket that the call is about.
    ///
    /// # Errors
    /// [`SeccompError::Gone`] when the caller has left the call; EBADF when the argument is no descriptor.
    pub fn socket(&self, held: &Held, caller: Caller) -> Result<HeldSocket, SeccompError> {
        let copy = Pidfd::open(caller.outer).and_then(|process| process.getfd(held.fd_argument));
        if !self.still_valid(held.id) {
            return Err(SeccompError::Gone);
        }
        Ok(HeldSocket { fd: copy.map_err(SeccompError::Socket)? })
    }
}

/// A copy of a socket on which listen(2) is being held. Drop it before answering: it keeps the socket open.
#[derive(Debug)]
pub struct HeldSocket {
    fd: OwnedFd,
}

impl HeldSocket {
    /// SO_COOKIE.
    ///
    /// # Errors
    /// ENOTSOCK.
    pub fn cookie(&self) -> Result<Cookie, SeccompError> {
        let cookie = socket_cookie(&self.fd).map_err(|errno| call_failed("read SO_COOKIE", errno.into()))?;
        Ok(Cookie(cookie))
    }

    /// SO_REUSEPORT.
    ///
    /// # Errors
    /// ENOTSOCK.
    pub fn reuseport(&self) -> Result<bool, SeccompError> {
        socket_reuseport(&self.fd).map_err(|errno| call_failed("read SO_REUSEPORT", errno.into()))
    }

    /// SO_ACCEPTCONN: it listens already; this call only changes its backlog.
    ///
    /// # Errors
    /// ENOTSOCK.
    pub fn listening(&self) -> Result<bool, SeccompError> {
        socket_acceptconn(&self.fd).map_err(|errno| call_failed("read SO_ACCEPTCONN", errno.into()))
    }

    /// Where it is bound; `None` for a family other than IPv4 and IPv6.
    ///
    /// # Errors
    /// ENOTSOCK.
    pub fn address(&self) -> Result<Option<SocketAddr>, SeccompError> {
        let name = rustix::net::getsockname(&self.fd)
            .map_err(|errno| call_failed("read a socket's name (getsockname)", errno.into()))?;
        Ok(SocketAddr::try_from(name).ok())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_call_of_listen_stands_still_until_it_is_answered() {
        let (hook_out, hook_in) = mpsc::channel();
        let (address_out, address_in) = mpsc::channel();
        // The filter stays with the thread that installs it, so it needs one of its own.
        let target = std::thread::spawn(move || {
            let hook = hold_listen_calls();
            let installed = hook.is_ok();
            hook_out.send(hook).expect("the test waits");
            if installed {
                let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port to spare");
                address_out.send(listener.local_addr().expect("it is bound")).expect("the test waits");
            }
        });
        let hook = match hook_in.recv().expect("the thread sends it first") {
            Ok(fd) => ListenHook::from(fd),
            Err(error) => return drop(writeln!(io::stderr(), "unavailable: seccomp notification ({error})")),
        };
        assert!(wait::readable_within(hook.as_fd(), Duration::from_secs(10)));
        let held = hook.receive().expect("it is readable").expect("a call is held");
        assert_eq!(hook.receive().expect("asking does not block"), None);
        let caller = hook.caller(&held).expect("the caller stands still");
        assert_eq!(caller.inner, Pid(std::process::id() as i32));
        let socket = hook.socket(&held, caller).expect("it is our own process");
        assert!(!socket.listening().expect("it is a socket"));
        assert!(!socket.reuseport().expect("it is a socket"));
        assert_ne!(socket.cookie().expect("it is a socket"), Cookie(0));
        let bound = socket.address().expect("it is a socket").expect("it is IPv4");
        assert!(address_in.try_recv().is_err(), "listen has returned before the answer");
        hook.answer_continue(held.id).expect("the caller stands still");
        assert_eq!(address_in.recv().expect("the thread goes on"), bound);
        assert!(!hook.still_valid(held.id));
        target.join().expect("the thread does not panic");
    }
}

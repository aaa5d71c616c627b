//! seccomp user notification: the target stands still in listen(2), or in a call that makes a file, until the harness
//! lets it go on (seccomp_unotify(2)).

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::sockopt::{socket_acceptconn, socket_cookie, socket_reuseport};
use serde::{Deserialize, Serialize};
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

/// Calls that a hook holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// listen(2).
    Listen,
    /// listen(2), and every call by which a file can get its name or its content: what a daemon does last before it is
    /// ready.
    Startup,
}

impl Hold {
    fn numbers(self) -> &'static [libc::c_long] {
        match self {
            Hold::Listen => &[libc::SYS_listen],
            Hold::Startup => STARTUP,
        }
    }
}

/// The calls of [`Hold::Startup`]; [`named_file`] knows the arguments of those that name a file.
const STARTUP: &[libc::c_long] = &[
    libc::SYS_listen,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    libc::SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_writev,
];

/// Room for the longest filter: the head, one step a call, two answers.
const FILTER_MAX: usize = 3 + STARTUP.len() + 2;

/// Holds such calls of the calling thread, and of what it will fork and execute, until the returned descriptor
/// (close-on-exec) is answered through. When that descriptor is closed, held and later calls fail with ENOSYS. For the
/// child between fork and exec: system calls only. NO_NEW_PRIVS is set only where the kernel insists, which is without
/// CAP_SYS_ADMIN. A second such filter on a task is EBUSY.
///
/// # Errors
/// Those of seccomp(2).
pub fn hold_calls(hold: Hold) -> io::Result<OwnedFd> {
    // Waiting killably keeps a held call from being torn up and begun again by every signal (Go's preemption); an
    // older kernel does not know that flag (EINVAL).
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let numbers = hold.numbers();
    let with_all = |flags| match install(numbers, flags) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            install(numbers, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)
        }
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

fn install(numbers: &[libc::c_long], flags: libc::c_ulong) -> io::Result<OwnedFd> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let (calls, allow) = (numbers.len() as u8, step(ANSWER, 0, 0, libc::SECCOMP_RET_ALLOW));
    // On the stack: between fork and exec nothing may be allocated.
    let mut program = [allow; FILTER_MAX];
    program[0] = step(LOAD, 0, 0, std::mem::offset_of!(libc::seccomp_data, arch) as u32);
    // Of another architecture nothing is held: to the answer before the last.
    program[1] = step(EQUAL, 0, calls + 1, ARCHITECTURE);
    program[2] = step(LOAD, 0, 0, std::mem::offset_of!(libc::seccomp_data, nr) as u32);
    for (n, number) in (0..calls).zip(numbers) {
        // One of them: over the rest of the list and over the first answer.
        program[3 + usize::from(n)] = step(EQUAL, calls - n, 0, *number as u32);
    }
    let length = 3 + numbers.len() + 2;
    program[length - 2] = allow;
    program[length - 1] = step(ANSWER, 0, 0, libc::SECCOMP_RET_USER_NOTIF);
    let program = libc::sock_fprog { len: length as u16, filter: program.as_mut_ptr() };
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
    /// The system call's number.
    pub number: libc::c_long,
    /// Its arguments: those of listen(2) begin with the socket, as a descriptor of the caller.
    pub arguments: [u64; 6],
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
    /// Takes the descriptor that [`hold_calls`] returned in the target.
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
                    number: held.data.nr.into(),
                    arguments: held.data.args,
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
        let copy = Pidfd::open(caller.outer).and_then(|process| process.getfd(held.arguments[0] as RawFd));
        if !self.still_valid(held.id) {
            return Err(SeccompError::Gone);
        }
        Ok(HeldSocket { fd: copy.map_err(SeccompError::Socket)? })
    }
}

/// Which file a call would make, name or open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NamedFile {
    /// Argument with the directory that a relative path begins at; absent where that is the working directory.
    directory: Option<usize>,
    /// Argument with the path's address.
    path: usize,
    /// How it is opened; absent where the call always makes or names a file.
    flags: Option<OpenFlags>,
}

/// Where the flags of an open(2) stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenFlags {
    /// In this argument.
    Argument(usize),
    /// First in the structure that this argument points to (openat2(2)).
    Structure(usize),
}

/// The file that a call of this number is about; `None` for a call that is about none.
fn named_file(number: libc::c_long) -> Option<NamedFile> {
    let opens = |directory, path, flags| Some(NamedFile { directory, path, flags: Some(flags) });
    let names = |directory, path| Some(NamedFile { directory, path, flags: None });
    match number {
        libc::SYS_openat => opens(Some(0), 1, OpenFlags::Argument(2)),
        libc::SYS_openat2 => opens(Some(0), 1, OpenFlags::Structure(2)),
        libc::SYS_renameat2 | libc::SYS_linkat => names(Some(2), 3),
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        libc::SYS_renameat => names(Some(2), 3),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => opens(None, 0, OpenFlags::Argument(1)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_creat => names(None, 0),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rename | libc::SYS_link => names(None, 1),
        _ => None,
    }
}

impl ListenHook {
    /// The file that a held call would make, name, or open for writing; `None` for any other call, for a file that is
    /// only read, and for what cannot be read of the caller (the call itself will fail then, EFAULT).
    ///
    /// # Errors
    /// [`SeccompError::Gone`] when the caller has left the call.
    pub fn written_file(&self, held: &Held) -> Result<Option<PathBuf>, SeccompError> {
        let path = named_file(held.number).and_then(|file| self.path_of(held, file));
        if self.still_valid(held.id) { Ok(path) } else { Err(SeccompError::Gone) }
    }

    /// The open file that a held call would write to; `None` for any other call, and for what is no file of a name.
    ///
    /// # Errors
    /// [`SeccompError::Gone`] when the caller has left the call.
    pub fn filled_file(&self, held: &Held) -> Result<Option<PathBuf>, SeccompError> {
        let fills = matches!(held.number, libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev);
        let link = || format!("/proc/{}/fd/{}", held.thread, held.arguments[0] as i32);
        // A pipe's or a socket's link is no path: "pipe:[5]".
        let path = fills.then(|| std::fs::read_link(link()).ok()).flatten().filter(|path| path.is_absolute());
        if self.still_valid(held.id) { Ok(path) } else { Err(SeccompError::Gone) }
    }

    fn path_of(&self, held: &Held, file: NamedFile) -> Option<PathBuf> {
        let memory = File::open(format!("/proc/{}/mem", held.thread)).ok()?;
        let flags = match file.flags {
            None => libc::O_CREAT,
            // The upper half of an int argument is not defined.
            Some(OpenFlags::Argument(n)) => held.arguments[n] as i32,
            Some(OpenFlags::Structure(n)) => {
                let mut flags = [0; 8];
                memory.read_exact_at(&mut flags, held.arguments[n]).ok()?;
                u64::from_ne_bytes(flags) as i32
            }
        };
        if flags & libc::O_ACCMODE == libc::O_RDONLY && flags & libc::O_CREAT == 0 {
            return None;
        }
        let path = text_at(&memory, held.arguments[file.path])?;
        if path.is_absolute() {
            return Some(path);
        }
        let beginning = match file.directory.map(|n| held.arguments[n] as i32) {
            None | Some(libc::AT_FDCWD) => format!("/proc/{}/cwd", held.thread),
            Some(fd) => format!("/proc/{}/fd/{fd}", held.thread),
        };
        Some(std::fs::read_link(beginning).ok()?.join(path))
    }
}

/// A NUL-terminated path in another process's memory. Read by halves of a page: the next page may not be there.
fn text_at(memory: &File, mut address: u64) -> Option<PathBuf> {
    const HALF_PAGE: u64 = 2048;
    let mut text = Vec::new();
    while text.len() < libc::PATH_MAX as usize {
        let mut piece = [0; HALF_PAGE as usize];
        let wanted = (HALF_PAGE - address % HALF_PAGE) as usize;
        let read = memory.read_at(&mut piece[..wanted], address).ok().filter(|read| *read > 0)?;
        match piece[..read].iter().position(|byte| *byte == 0) {
            Some(end) => {
                text.extend_from_slice(&piece[..end]);
                return Some(PathBuf::from(std::ffi::OsString::from_vec(text)));
            }
            None => text.extend_from_slice(&piece[..read]),
        }
        address += read as u64;
    }
    None
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
            let hook = hold_calls(Hold::Listen);
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

    #[test]
    fn a_file_is_held_when_it_is_made_written_or_renamed_and_not_when_it_is_read() {
        let place = std::env::temp_dir().join(format!("unbroken-held-{}", std::process::id()));
        std::fs::create_dir_all(&place).expect("a scratch directory");
        let (hook_out, hook_in) = mpsc::channel();
        let at = place.clone();
        let target = std::thread::spawn(move || {
            let hook = hold_calls(Hold::Startup);
            let installed = hook.is_ok();
            hook_out.send(hook).expect("the test waits");
            if installed {
                File::open("/proc/self/stat").expect("it can be read");
                let mut file = File::create(at.join("new")).expect("it can be made");
                file.write_all(b"5").expect("it can be written");
                std::fs::rename(at.join("new"), at.join("pid")).expect("it can be renamed");
            }
        });
        let hook = match hook_in.recv().expect("the thread sends it first") {
            Ok(fd) => ListenHook::from(fd),
            Err(error) => return drop(writeln!(io::stderr(), "unavailable: seccomp notification ({error})")),
        };
        let mut seen = Vec::new();
        while wait::readable_within(hook.as_fd(), Duration::from_secs(10)) {
            let Some(held) = hook.receive().expect("it is readable") else { break };
            let named = hook.written_file(&held).expect("the caller stands still");
            seen.push((named, hook.filled_file(&held).expect("the caller stands still")));
            hook.answer_continue(held.id).expect("the caller stands still");
        }
        target.join().expect("the thread does not panic");
        std::fs::remove_dir_all(&place).expect("it is ours");
        let (new, pid) = (Some(place.join("new")), Some(place.join("pid")));
        assert_eq!(seen, [(None, None), (new.clone(), None), (None, new), (pid, None)]);
    }
}

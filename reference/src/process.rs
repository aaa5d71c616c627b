//! Starting a program again, and following it without ever confusing it with another process.
//!
//! A pid is a number that the kernel gives away again; a pidfd is a process (pidfd_open(2)). A child is signalled and reaped
//! through its pidfd only, never with waitpid(-1), which would take away the exit status of somebody else's child.

mod start;

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitIdStatus};

/// Number of the first descriptor handed on; 0, 1 and 2 are shared with the child as they are.
pub const FIRST_HANDED: RawFd = 3;

/// A program to execute: path, arguments and environment, ready for execve(2), so that a child allocates nothing.
#[derive(Clone, Debug)]
pub struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    /// The variable in which a child finds its own pid.
    pid_variable: Option<String>,
    /// SIGPIPE stays ignored; only a defect wants that.
    ignores_sigpipe: bool,
}

impl Program {
    /// This program as it was started: its own path, the same arguments, the same environment.
    ///
    /// Ask once at start, while the working directory still exists and before the file is replaced: the *path* is executed
    /// later, and finds whatever has been installed there. `/proc/self/exe` would be the old inode for ever.
    ///
    /// # Errors
    /// When the path cannot be found out (see [`own_path`]) or an argument holds a NUL byte.
    pub fn own() -> io::Result<Self> {
        let arguments = std::env::args_os().map(c_string).collect::<io::Result<_>>()?;
        let (path, environment) = (c_string(own_path()?.into_os_string())?, own_environment()?);
        Ok(Self { path, arguments, environment, pid_variable: None, ignores_sigpipe: false })
    }

    /// Another program: its path and its arguments, and the environment that this process has now.
    ///
    /// # Errors
    /// When there is no path, or a word holds a NUL byte.
    pub fn other(words: &[OsString]) -> io::Result<Self> {
        let arguments = words.iter().cloned().map(c_string).collect::<io::Result<Vec<CString>>>()?;
        let path = arguments.first().cloned().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { path, arguments, environment: own_environment()?, pid_variable: None, ignores_sigpipe: false })
    }

    /// Lets it ignore SIGPIPE: the mistake of [`crate::defect::Defect::Sigpipe`].
    #[must_use]
    pub fn ignoring_sigpipe(self) -> Self {
        Self { ignores_sigpipe: true, ..self }
    }

    /// Adds a variable in which each child finds its own pid: only the child knows it, and it must know it before it is executed
    /// (LISTEN_PID, sd_listen_fds(3)).
    #[must_use]
    pub fn told_its_pid(self, name: &str) -> Self {
        Self { pid_variable: Some(name.to_owned()), ..self }
    }

    /// Adds or replaces one variable of the environment.
    ///
    /// # Errors
    /// When it holds a NUL byte.
    pub fn with_variable(mut self, name: &str, value: impl AsRef<OsStr>) -> io::Result<Self> {
        let prefix = format!("{name}=");
        self.environment.retain(|entry| !entry.as_bytes().starts_with(prefix.as_bytes()));
        self.environment.push(c_string([OsStr::new(name), value.as_ref()].join(OsStr::new("=")))?);
        Ok(self)
    }

    /// Executes another file; the arguments, the zeroth included, stay.
    ///
    /// # Errors
    /// When the path holds a NUL byte.
    pub fn with_path(mut self, path: &Path) -> io::Result<Self> {
        self.path = c_string(path.as_os_str().to_owned())?;
        Ok(self)
    }

    /// The file that is executed.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        OsString::from_vec(self.path.as_bytes().to_vec()).into()
    }

    /// Starts the program with `handed` as its descriptors 3, 4, 5 …; every other one above 2 is closed there.
    ///
    /// The child begins with an empty signal mask and default dispositions. An execve(2) that fails ends the child with 127:
    /// the caller learns it from the exit, like every other failed start. This thread waits until it is executed, other threads do not.
    ///
    /// # Errors
    /// What fcntl(2), clone(2) or pidfd_open(2) report.
    pub fn spawn(&self, handed: &[BorrowedFd<'_>]) -> io::Result<Child> {
        let end = FIRST_HANDED + RawFd::try_from(handed.len()).expect("a handful of descriptors");
        // Lifted above the target numbers first: dup2(2) onto 3 must not destroy one that is still to be copied to 4.
        let lifted =
            handed.iter().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, end)).collect::<Result<Vec<OwnedFd>, _>>()?;
        let numbers: Vec<RawFd> = lifted.iter().map(AsRawFd::as_raw_fd).collect();
        let arguments = null_terminated(&self.arguments);
        let mut environment = null_terminated(&self.environment);
        let mut own_pid = self.pid_variable.as_deref().map(start::room_for_pid);
        if let Some(entry) = &own_pid {
            // Before the null pointer.
            environment.insert(environment.len() - 1, entry.as_ptr().cast());
        }
        let mut start = start::Start {
            path: &self.path,
            arguments: &arguments,
            environment: &environment,
            handed: &numbers,
            own_pid: own_pid.as_deref_mut(),
            ignores_sigpipe: self.ignores_sigpipe,
        };
        Child::adopt(start.child()?)
    }

    /// Becomes the program: the same process, with `handed` as its descriptors 3, 4, 5 …; what else is not close-on-exec stays.
    /// Returns only if execve(2) fails, and everything is as it was then.
    ///
    /// Signals that are blocked stay so, and those that wait go on waiting: the next image reads them. All other threads end.
    pub fn become_it(&self, handed: &[BorrowedFd<'_>]) -> io::Error {
        let end = FIRST_HANDED + RawFd::try_from(handed.len()).expect("a handful of descriptors");
        // Copies above the target numbers, as in `spawn`.
        let lifted = handed.iter().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, end)).collect::<Result<Vec<_>, _>>();
        let lifted: Vec<OwnedFd> = match lifted {
            Ok(lifted) => lifted,
            Err(errno) => return errno.into(),
        };
        let (arguments, environment) = (null_terminated(&self.arguments), null_terminated(&self.environment));
        let mut displaced = Vec::new();
        let placed = (FIRST_HANDED..).zip(&lifted).try_for_each(|(number, fd)| {
            displaced.push((number, place(fd, number, end)?));
            Ok(())
        });
        let failed = placed.err().unwrap_or_else(|| {
            // SAFETY: the pointers are to strings of this program, which live until the call returns, if it does.
            unsafe { libc::execve(self.path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
            io::Error::last_os_error()
        });
        for (number, saved) in displaced {
            displace(number, saved);
        }
        failed
    }
}

/// Whether there is a file at this path that this process may execute (faccessat(2)); what comes of it nobody knows before.
///
/// # Errors
/// Why not.
pub fn is_executable(path: &Path) -> io::Result<()> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(rustix::fs::access(path, rustix::fs::Access::EXEC_OK)?)
}

/// Puts a copy of a descriptor at this number, open in the next program; what had the number lies from `beyond` on then.
fn place(fd: &OwnedFd, number: RawFd, beyond: RawFd) -> io::Result<Option<OwnedFd>> {
    // SAFETY: asked to be copied only; where nothing is open the kernel answers EBADF.
    let there = unsafe { BorrowedFd::borrow_raw(number) };
    let saved = match rustix::io::fcntl_dupfd_cloexec(there, beyond) {
        Ok(saved) => Some(saved),
        Err(rustix::io::Errno::BADF) => None,
        Err(errno) => return Err(errno.into()),
    };
    // SAFETY: what is closed by this has just been copied, and is put back by `displace`.
    if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 { Err(io::Error::last_os_error()) } else { Ok(saved) }
}

/// Puts back what had this number before [`place`].
fn displace(number: RawFd, saved: Option<OwnedFd>) {
    // SAFETY: the number holds the copy that `place` made, which nobody else owns; whoever owned the number gets it back as it was.
    unsafe {
        match saved {
            Some(saved) => libc::dup3(saved.as_raw_fd(), number, libc::O_CLOEXEC),
            None => libc::close(number),
        };
    }
}

/// A started process that this one must reap.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Child {
    /// Follows a child by its pid. Safe from reuse because a child keeps its pid until it is reaped.
    fn adopt(pid: Pid) -> io::Result<Self> {
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { pid, pidfd }),
            Err(error) => {
                // Nobody could follow it: do not leave it behind.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                let _ = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
                Err(error.into())
            }
        }
    }

    /// Its number, for logs and pidfiles.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal; one that has ended already is not an error.
    pub fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }

    /// Takes its exit status if it has ended (waitid(2) with P_PIDFD), else `None`. The pidfd is readable from the end on.
    ///
    /// # Errors
    /// What waitid(2) reports.
    pub fn reap(&self) -> io::Result<Option<Exit>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        Ok(rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options)?.map(|status| Exit::from(&status)))
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// exit(3) with this status.
    Status(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl From<&WaitIdStatus> for Exit {
    fn from(status: &WaitIdStatus) -> Self {
        match status.exit_status() {
            Some(code) => Self::Status(code),
            None => Self::Signal(status.terminating_signal().unwrap_or(0)),
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(code) => write!(out, "exit status {code}"),
            Self::Signal(number) => write!(out, "signal {number}"),
        }
    }
}

/// Makes every descriptor above 2 close-on-exec (close_range(2)): what a launcher leaked goes no further.
pub fn seal_descriptors() {
    let first = libc::c_uint::try_from(FIRST_HANDED).unwrap_or(3);
    // SAFETY: changes a flag of descriptors, closes none; an old kernel answers ENOSYS and nothing changes.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Where this program lies, as an absolute path that names the running image at this moment.
///
/// The zeroth argument is tried first, with the working directory or `PATH`, because symbolic links in it are wanted: switching
/// one deploys a new version. It may lie, so it counts only if it is the very file that runs; else the kernel's own name is used.
///
/// # Errors
/// When `/proc` is not mounted, or the file is gone already.
pub fn own_path() -> io::Result<PathBuf> {
    let running = std::fs::metadata("/proc/self/exe")?;
    let is_running =
        |path: &PathBuf| std::fs::metadata(path).is_ok_and(|at| (at.dev(), at.ino()) == (running.dev(), running.ino()));
    let named = std::env::args_os().next().unwrap_or_default();
    let candidates: Vec<PathBuf> = if named.as_bytes().contains(&b'/') {
        std::env::current_dir().map(|from| joined(&from, Path::new(&named))).into_iter().collect()
    } else {
        let search = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&search).filter_map(|dir| std::path::absolute(dir.join(&named)).ok()).collect()
    };
    match candidates.into_iter().find(is_running) {
        Some(path) => Ok(path),
        None => std::fs::read_link("/proc/self/exe").map(installed_at),
    }
}

/// Where a file lay, of which the kernel says that it was replaced there since (proc(5)): the next one lies in the same place.
/// Between the start of a program and its question, a faster deploy is possible.
fn installed_at(link: PathBuf) -> PathBuf {
    match link.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(path) if !link.exists() => PathBuf::from(OsStr::from_bytes(path)),
        _ => link,
    }
}

/// A path from a directory, without the `..` that it begins with: those would have to be walked through that directory, which may
/// be gone when the path is used. Later ones stay: only the kernel knows where a link in between leads.
fn joined(from: &Path, path: &Path) -> PathBuf {
    let mut base = from.to_owned();
    let mut parts = path.components().peekable();
    while let Some(part @ (Component::ParentDir | Component::CurDir)) = parts.peek() {
        // getcwd(2) names no links, so that the parent of its path is the parent directory.
        if *part == Component::ParentDir {
            base.pop();
        }
        parts.next();
    }
    base.join(parts.collect::<PathBuf>())
}

/// Starts a process in a session of its own that outlives this one: the mistake of [`crate::defect::Defect::NothingLeft`].
///
/// It holds none of our descriptors above 2 and none of our standard streams, and waits for ever.
///
/// # Errors
/// What fork(2) reports.
pub fn leave_helper_behind() -> io::Result<()> {
    // SAFETY: the child calls only async-signal-safe functions and never returns.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => become_helper(),
        _ => Ok(()),
    }
}

/// Goes on in an orphan, in a session of its own, while the process that was started only waits: the mistake of
/// [`crate::defect::Defect::ForegroundStays`]. Call it before the first thread.
///
/// # Errors
/// What fork(2) or setsid(2) report.
pub fn fork_away() -> io::Result<()> {
    // SAFETY: there is no other thread, so no lock is held by anybody in the children; whoever does not go on calls only
    // async-signal-safe functions and never returns.
    unsafe {
        match libc::fork() {
            -1 => return Err(io::Error::last_os_error()),
            0 => {}
            child => {
                libc::waitpid(child, std::ptr::null_mut(), 0);
                // Nothing but the stop is its business.
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                loop {
                    libc::pause();
                }
            }
        }
        rustix::process::setsid()?;
        match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => Ok(()),
            _ => libc::_exit(0),
        }
    }
}

/// Goes on in an orphan, in a session of its own, while the process that was started ends at once: the mistake of
/// [`crate::defect::Defect::Supervisord`]. Call it before the first thread.
///
/// # Errors
/// What fork(2) or setsid(2) report.
pub fn leave() -> io::Result<()> {
    // SAFETY: there is no other thread, so no lock is held by anybody in the child; the parent ends without running anything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(rustix::process::setsid().map(|_session| ())?),
        // SAFETY: ends the process without running anything that it is still to run.
        _ => unsafe { libc::_exit(0) },
    }
}

/// Acts in a child and waits for its end: the mistake of [`crate::defect::Defect::NotifyOnceChild`]. Only for what is
/// async-signal-safe, such as one system call.
///
/// # Errors
/// What fork(2) reports.
pub fn in_a_child(act: impl FnOnce()) -> io::Result<()> {
    // SAFETY: the child does what is async-signal-safe (documented above) and ends.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            act();
            // SAFETY: ends the process without running anything that is its parent's.
            unsafe { libc::_exit(0) }
        }
        child => {
            // SAFETY: waits for our own child; the status is not wanted.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            Ok(())
        }
    }
}

/// Starts a child that ends at once, and never waits for it: the mistake of [`crate::defect::Defect::NoZombies`].
///
/// # Errors
/// What fork(2) reports.
pub fn forget_a_child() -> io::Result<()> {
    // SAFETY: the child calls only an async-signal-safe function and never returns.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: ends the process without running anything that is its parent's.
        0 => unsafe { libc::_exit(0) },
        _ => Ok(()),
    }
}

/// Starts an orphan in a session of its own that keeps `lent` open until the returned descriptor is closed: the mistake of
/// [`crate::defect::Defect::ListenerElsewhere`].
///
/// # Errors
/// What pipe(2) or fork(2) report.
pub fn lend_to_helper(lent: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let (alive, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (lent, watched) = (lent.as_raw_fd(), alive.as_raw_fd());
    in_a_child(|| {
        // SAFETY: async-signal-safe functions only; the grandchild never returns, the child ends at once.
        unsafe {
            libc::setsid();
            if libc::fork() == 0 {
                become_borrower(lent, watched);
            }
        }
    })?;
    Ok(end)
}

/// How many open files the mistake of [`crate::defect::Defect::Limits`] thinks to be enough.
const ENOUGH_FILES: u64 = 256;

/// Lowers the limit on open files for this process and all that it starts: the mistake of [`crate::defect::Defect::Limits`].
///
/// # Errors
/// What setrlimit(2) reports.
pub fn lower_open_files() -> io::Result<()> {
    let enough = Rlimit { current: Some(ENOUGH_FILES), maximum: Some(ENOUGH_FILES) };
    Ok(rustix::process::setrlimit(Resource::Nofile, enough)?)
}

/// The child's side of [`leave_helper_behind`].
fn become_helper() -> ! {
    // SAFETY: async-signal-safe calls only, no memory is touched.
    unsafe {
        libc::setsid();
        libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
        loop {
            libc::pause();
        }
    }
}

/// The grandchild's side of [`lend_to_helper`].
fn become_borrower(lent: RawFd, alive: RawFd) -> ! {
    // SAFETY: async-signal-safe calls only; the one structure is on this stack.
    unsafe {
        libc::dup2(lent, libc::STDIN_FILENO);
        libc::dup2(alive, libc::STDOUT_FILENO);
        // The other end of the life line too, or it would never see its end.
        libc::syscall(libc::SYS_close_range, libc::STDERR_FILENO, libc::c_uint::MAX, 0);
        let mut end = libc::pollfd { fd: libc::STDOUT_FILENO, events: libc::POLLIN, revents: 0 };
        while libc::poll(&raw mut end, 1, -1) < 1 {}
        libc::_exit(0)
    }
}

/// NAME=VALUE of all that this process's environment holds.
fn own_environment() -> io::Result<Vec<CString>> {
    std::env::vars_os().map(|(name, value)| c_string([name, value].join(OsStr::new("=")))).collect()
}

/// Pointers for execve(2), ended by a null pointer.
fn null_terminated(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Bytes for execve(2).
fn c_string(text: OsString) -> io::Result<CString> {
    CString::new(text.into_vec()).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handed_descriptors_arrive_in_order_and_nothing_else_does() {
        let (reader, writer) = std::io::pipe().expect("pipe");
        let stray = rustix::io::fcntl_dupfd_cloexec(&writer, 50).expect("dup");
        rustix::io::fcntl_setfd(&stray, rustix::io::FdFlags::empty()).expect("leak it");
        let script = "[ -e /proc/self/fd/50 ] || [ -e /proc/self/fd/5 ] || echo \"$is_slave\" >&4";
        let program = Program {
            path: c"/bin/sh".to_owned(),
            arguments: [c"sh", c"-c"]
                .into_iter()
                .map(ToOwned::to_owned)
                .chain([CString::new(script).expect("text")])
                .collect(),
            environment: vec![c"is_slave=no".to_owned()],
            pid_variable: None,
            ignores_sigpipe: false,
        };
        let program = program.with_variable("is_slave", "true").expect("variable");
        let child = program.spawn(&[reader.as_fd(), writer.as_fd()]).expect("spawn");
        drop((writer, stray));
        let mut said = String::new();
        std::io::Read::read_to_string(&mut &reader, &mut said).expect("read");
        assert_eq!(said, "true\n");
        crate::poll::until(&mut [crate::poll::readable(&child)], None).expect("poll");
        assert_eq!(child.reap().expect("reap"), Some(Exit::Status(0)));
    }

    #[test]
    fn a_child_is_told_its_own_pid() {
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let script = ["/bin/sh", "-c", "[ \"$OWN\" = $$ ] && echo $OWN >&3"].map(OsString::from);
        let program = Program::other(&script).expect("a program").told_its_pid("OWN");
        let child = program.spawn(&[writer.as_fd()]).expect("spawn");
        drop(writer);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut reader, &mut said).expect("read");
        assert_eq!(said, format!("{}\n", child.pid()));
        crate::poll::until(&mut [crate::poll::readable(&child)], None).expect("poll");
        assert_eq!(child.reap().expect("reap"), Some(Exit::Status(0)));
    }

    #[test]
    fn a_file_that_cannot_be_executed_is_an_exit() {
        let program = Program::other(&["/nonexistent".into()]).expect("a program");
        let child = program.spawn(&[]).expect("spawn");
        crate::poll::until(&mut [crate::poll::readable(&child)], None).expect("poll");
        assert_eq!(child.reap().expect("reap"), Some(Exit::Status(127)));
    }

    #[test]
    fn what_cannot_be_become_leaves_every_descriptor_where_it_was() {
        // A process of its own: the numbers belong to whoever runs these tests.
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let program = Program::other(&["/nonexistent".into()]).expect("a program");
        // SAFETY: the child asks the kernel only, and ends without running anything of its parent's.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let at = |number: RawFd| std::fs::read_link(format!("/proc/self/fd/{number}")).ok();
            let before = [3, 4, 5].map(at);
            let error = program.become_it(&[writer.as_fd(), writer.as_fd()]);
            let same = [3, 4, 5].map(at) == before;
            let _ = rustix::io::write(&writer, if same { error.kind().to_string() } else { String::new() }.as_bytes());
            // SAFETY: as above.
            unsafe { libc::_exit(0) }
        }
        drop(writer);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut reader, &mut said).expect("read");
        assert_eq!(said, io::ErrorKind::NotFound.to_string());
        // SAFETY: waits for our own child; its status is not wanted.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }

    #[test]
    fn a_file_that_was_replaced_is_looked_for_where_it_lay() {
        assert_eq!(installed_at("/opt/server (deleted)".into()), Path::new("/opt/server"));
        assert_eq!(installed_at("/opt/server".into()), Path::new("/opt/server"));
    }

    #[test]
    fn a_relative_path_does_not_lead_through_the_starting_directory() {
        let check =
            |path: &str, want: &str| assert_eq!(joined(Path::new("/run/start"), Path::new(path)), Path::new(want));
        check("../server", "/run/server");
        check("./server", "/run/start/server");
        check("bin/../server", "/run/start/bin/../server");
        check("/opt/server", "/opt/server");
    }

    #[test]
    fn own_path_names_the_running_file() {
        let path = own_path().expect("path");
        assert!(path.is_absolute());
        let (own, running) = (std::fs::metadata(path), std::fs::metadata("/proc/self/exe"));
        assert_eq!(own.expect("own").ino(), running.expect("running").ino());
    }
}

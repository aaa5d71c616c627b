//! Becoming a daemon (daemon(7), "SysV Daemons"): double fork, new session, nothing kept of whoever launched it.
//!
//! ```text
//!   launcher ── fork ──▶ intermediate ── setsid, fork ──▶ daemon
//!      │                      └── ends at once                │ listens, writes its pidfile, takes its signals
//!      │◀──────────────────── readiness pipe ────────────────┘ "ready", or the reason why not
//!      └── ends with 0, or with 1 and the reason on standard error
//! ```
//!
//! The launcher returns only when the service is there: whoever runs `launcher && use-it` is right to. The pipe has three
//! ends that matter: a word of the daemon, its end of file (the daemon died first), and the launcher's own end (the daemon
//! meets EPIPE and gives up, because nobody will believe that it runs). Nothing tells a daemon from a launcher but the
//! return value of fork(2): no argument and no variable of the environment, which anybody could leave lying about.
//!
//! That is why there is no list of arguments for the daemon here, as libraries have that execute the program again in its
//! place: the daemon goes on where `become_daemon` was called, with all that the launcher has parsed. What such a list would
//! change is what `ps` shows.
//!
//! All of it, in the order that matters:
//!
//! ```no_run
//! use std::{fmt::Display, net::TcpListener, path::Path};
//! use unbroken_reference::{confine::{Confinement, Credentials}, daemon::{self, Manner}, pidfile::{Claim, Pidfile}};
//!
//! fn main() -> Result<(), String> {
//!     // What the launcher was given is no business of the daemon's. Names become numbers while /etc/passwd is there.
//!     daemon::close_inherited();
//!     let credentials = Credentials::of(Some("www-data"), None).map_err(failed)?;
//!     let mut manner = Manner::logging_to(Path::new("/var/log/web.log"));
//!     manner.confinement = Confinement::new(None, credentials).map_err(failed)?;
//!     manner.log.owner = manner.confinement.owner();
//!     // Whoever finds a running daemon has nothing to undo.
//!     let claim = Claim::take(Path::new("/run/web.pid")).map_err(failed)?;
//!     let launcher = match daemon::become_daemon(&manner) {
//!         Ok(launcher) => launcher,
//!         // In the launcher, which exits inside where all is well.
//!         Err(reason) => return claim.withdraw().map_err(failed).and(Err(reason)),
//!     };
//!     let (listener, pidfile) = match begin(claim, &manner) {
//!         Ok(begun) => begun,
//!         Err(reason) => {
//!             launcher.failed(&reason);
//!             return Err(reason);
//!         }
//!     };
//!     // Without a launcher nobody believes that it runs: then it must not.
//!     if let Err(error) = launcher.ready() {
//!         return pidfile.remove().map_err(failed).and(Err(failed(error)));
//!     }
//!     serve(listener);
//!     pidfile.remove().map_err(failed)
//! }
//!
//! /// All that can fail: first what needs privileges, the pidfile last of that, because it is to name nobody who fails.
//! fn begin(claim: Claim, manner: &Manner) -> Result<(TcpListener, Pidfile), String> {
//!     let listener = TcpListener::bind("0.0.0.0:80").map_err(failed)?;
//!     let pidfile = claim.sign().map_err(failed)?;
//!     manner.confinement.enter(&manner.directory).map_err(failed)?;
//!     Ok((listener, pidfile))
//! }
//!
//! fn failed(error: impl Display) -> String {
//!     format!("web: {error}")
//! }
//! # fn serve(_: TcpListener) {}
//! ```

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::confine::Confinement;
use crate::defect::Defect;
use crate::environment::Environment;
use crate::logfile::LogFile;
use crate::poll;

/// First byte on the readiness pipe: the service is there. Anything else is a reason.
const READY: u8 = b'+';

/// How to become one.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Working directory: `/` keeps no file system busy. With another root it is one inside.
    pub directory: PathBuf,
    /// File mode creation mask of the daemon, whatever the launcher's was; 0 is one, too.
    pub umask: u32,
    /// Where standard output and error go.
    pub log: LogFile,
    /// What the programs get that the daemon executes.
    pub environment: Environment,
    /// What the daemon is left with once it has begun. Entering it is the daemon's part, when it has what needs privileges, and
    /// before its word to the launcher.
    pub confinement: Confinement,
    /// How long the launcher waits for the daemon's word.
    pub patience: Duration,
    /// The deliberate bug, if any.
    pub defect: Option<Defect>,
}

impl Manner {
    /// As daemon(7) has it: the root directory, mask 027, the launcher's environment and privileges, five seconds.
    #[must_use]
    pub fn logging_to(path: &Path) -> Self {
        Self {
            directory: PathBuf::from("/"),
            umask: 0o27,
            log: LogFile { path: path.to_owned(), mode: None, owner: None, defect: None },
            environment: Environment::inherited(),
            confinement: Confinement::default(),
            patience: Duration::from_secs(5),
            defect: None,
        }
    }
}

/// The daemon's word to its launcher. Dropped without one, the launcher says that the daemon died.
#[derive(Debug)]
pub struct Launcher {
    pipe: File,
}

impl Launcher {
    /// The service is there: the launcher ends with 0.
    ///
    /// # Errors
    /// EPIPE when the launcher is gone: it was killed, or has lost patience and reported a failure.
    pub fn ready(mut self) -> io::Result<()> {
        self.pipe.write_all(&[READY])
    }

    /// It will not be: the launcher ends with 1 and this on standard error.
    pub fn failed(mut self, reason: &str) {
        // Without a launcher there is nobody to tell.
        let _ = self.pipe.write_all(reason.as_bytes());
    }
}

/// Returns in the daemon alone; the launcher waits for its word, and exits here with 0 when that is good.
///
/// Call it before the first thread: of a process with threads, fork(2) copies only one. What the launcher has opened since
/// [`close_inherited`] is the daemon's too.
///
/// # Errors
/// In the launcher: what could not even be begun, or why the daemon failed, the reason complete. What was prepared for the
/// daemon is then the launcher's to undo.
pub fn become_daemon(manner: &Manner) -> Result<Launcher, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("daemon failed to {what}: {error}");
    if std::fs::read_dir("/proc/self/task").map_err(failed("count its threads"))?.count() != 1 {
        return Err("daemon failed to fork: it has threads already".to_owned());
    }
    let umask = rustix::fs::Mode::from_raw_mode(manner.umask);
    // Before the first file is made: its mode must not depend on the launcher's umask.
    if !matches!(manner.defect, Some(Defect::Umask | Defect::UmaskLog)) {
        rustix::process::umask(umask);
    }
    let log = manner.log.open().map_err(failed("open its log"))?;
    if manner.defect == Some(Defect::UmaskLog) {
        rustix::process::umask(umask);
    }
    let (heard, told) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| failed("make a pipe")(errno.into()))?;
    match fork().map_err(failed("fork"))? {
        Side::Parent(intermediate) => {
            drop(told);
            launch(heard, intermediate, manner)?;
            std::process::exit(0);
        }
        Side::Child => {
            drop(heard);
            let launcher = Launcher { pipe: File::from(told) };
            match settle(manner, &log) {
                Ok(()) => Ok(launcher),
                Err(error) => {
                    launcher.failed(&format!("daemon failed to leave its launcher: {error}"));
                    std::process::exit(1);
                }
            }
        }
    }
}

/// The launcher's part.
fn launch(heard: OwnedFd, intermediate: libc::pid_t, manner: &Manner) -> Result<(), String> {
    let mut reaped = true;
    // With these there is none that ends at once: it waits, or it is the daemon.
    if !matches!(manner.defect, Some(Defect::Orphaned | Defect::NoTty | Defect::CannotAcquireTty)) {
        // Reaped here, so that no zombie is the launcher's last trace. Where SIGCHLD is ignored the kernel has done it, and
        // this fails: neither the status nor the failure says anything of the daemon.
        // SAFETY: waits for our own child.
        reaped = unsafe { libc::waitpid(intermediate, std::ptr::null_mut(), 0) } == intermediate;
    }
    if manner.defect == Some(Defect::FailureReported) {
        // Returns as soon as there is a child, and believes in it.
        return Ok(());
    }
    let patience = match manner.defect {
        Some(Defect::Bounded) => Duration::from_secs(3600),
        _ => manner.patience,
    };
    hear(heard, patience)?;
    if manner.defect == Some(Defect::ExitCodeUnderSigchldIgnore) && !reaped {
        return Err("daemon is not known to run: its launcher failed to wait for its child".to_owned());
    }
    Ok(())
}

/// Waits for the daemon's word.
fn hear(pipe: OwnedFd, patience: Duration) -> Result<(), String> {
    let lost = |error: io::Error| format!("daemon is not heard: {error}");
    let deadline = Instant::now() + patience;
    let mut pipe = File::from(pipe);
    let mut said = Vec::new();
    let mut piece = [0; 512];
    loop {
        if !poll::until(&mut [poll::readable(&pipe)], Some(deadline)).map_err(lost)? {
            return Err(format!("daemon failed to start within {} ms", patience.as_millis()));
        }
        match pipe.read(&mut piece).map_err(lost)? {
            0 => break,
            length => said.extend_from_slice(&piece[..length]),
        }
        if said.first() == Some(&READY) {
            return Ok(());
        }
    }
    if said.is_empty() {
        return Err("daemon ended before it was ready".to_owned());
    }
    Err(String::from_utf8_lossy(&said).into_owned())
}

/// From the launcher's child to the daemon: everything that a launcher may have spoilt is set, not adjusted.
fn settle(manner: &Manner, log: &File) -> io::Result<()> {
    let keeps_session = matches!(manner.defect, Some(Defect::NewSession | Defect::SurvivesHangup));
    if !keeps_session {
        rustix::process::setsid()?;
    }
    // A second fork: a session leader gets a controlling terminal by opening one, its child never does.
    if !matches!(manner.defect, Some(Defect::NoTty | Defect::CannotAcquireTty)) {
        match fork()? {
            Side::Parent(daemon) if manner.defect == Some(Defect::Orphaned) => wait_and_end(daemon),
            // SAFETY: ends the process without running anything that the launcher is still to run.
            Side::Parent(_) => unsafe { libc::_exit(0) },
            Side::Child => {}
        }
    }
    reset_signals(manner.defect);
    if manner.defect != Some(Defect::Cwd) {
        // The one inside another root is not there yet; until then no file system is kept busy.
        let outside = if manner.confinement.has_root() { Path::new("/") } else { &manner.directory };
        rustix::process::chdir(outside)?;
    }
    if manner.defect != Some(Defect::Environment) {
        manner.environment.apply();
    }
    if manner.defect == Some(Defect::NoTty) {
        open_terminal()?;
    }
    if manner.defect == Some(Defect::LauncherEof) {
        // A copy of standard output that nobody remembers; it stays open for as long as the daemon lives.
        std::mem::forget(io::stdout().as_fd().try_clone_to_owned()?);
    }
    if manner.defect == Some(Defect::ClosedStdioStart) {
        // SAFETY: as if std had not opened /dev/null in place of closed streams; nothing of ours owns them.
        unsafe { libc::syscall(libc::SYS_close_range, 0, 2, 0) };
        return Ok(());
    }
    if manner.defect != Some(Defect::StdioDetached) {
        redirect(&File::open("/dev/null")?, 0)?;
    }
    let read_only = if manner.defect == Some(Defect::StdioUsable) { Some(File::open("/dev/null")?) } else { None };
    let output = read_only.as_ref().unwrap_or(log);
    redirect(output, 1)?;
    redirect(output, 2)
}

/// Which process this is after fork(2).
enum Side {
    Parent(libc::pid_t),
    Child,
}

/// fork(2) of a process with one thread, after which both go on as before.
fn fork() -> io::Result<Side> {
    // SAFETY: there is no other thread (`become_daemon` counts them), so no lock is held by anybody in the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(pid)),
    }
}

/// The mistake of [`Defect::Orphaned`]: the process between stays for as long as its child lives.
fn wait_and_end(daemon: libc::pid_t) -> ! {
    // Like the daemon it must hold neither the launcher's streams nor its directory, or that would be a second mistake.
    close_inherited();
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = (0..=2).try_for_each(|number| redirect(&null, number));
    }
    let _ = rustix::process::chdir("/");
    // SAFETY: waits for our own child, then ends without running anything else.
    unsafe {
        libc::waitpid(daemon, std::ptr::null_mut(), 0);
        libc::_exit(0)
    }
}

/// Opens a terminal without O_NOCTTY and keeps it. A session leader has a controlling terminal from then on, which is the
/// mistake of [`Defect::NoTty`]; anybody else has none, which is what the second fork is for.
///
/// # Errors
/// What making or opening it reports.
pub fn open_terminal() -> io::Result<()> {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let name = ptsname(&terminal, Vec::new())?;
    // std opens without O_NOCTTY.
    let slave = File::options().read(true).write(true).open(path_of(&name))?;
    // Kept open for ever: closing the master would hang the terminal up, and the daemon with it.
    std::mem::forget((terminal, slave));
    Ok(())
}

fn path_of(name: &CString) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(name.as_bytes()))
}

/// Every disposition at its default and no signal blocked. SIGPIPE stays ignored: a client that goes away must not end the
/// service, and std relies on it.
fn reset_signals(defect: Option<Defect>) {
    // SAFETY: no handler function is installed; the numbers that refuse (KILL, STOP) refuse.
    unsafe {
        let keeps = defect == Some(Defect::SignalDispositions);
        for number in (1..=libc::SIGRTMAX()).filter(|number| *number != libc::SIGPIPE && !keeps) {
            libc::signal(number, libc::SIG_DFL);
        }
        if defect == Some(Defect::SignalMask) {
            return;
        }
        let mut empty: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut empty);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut());
    }
}

/// SIGHUP kills again: the mistake of [`Defect::HupSurvives`], and the second half of [`Defect::SurvivesHangup`]'s.
pub fn let_hangup_kill() {
    // SAFETY: as in `reset_signals`.
    unsafe {
        let mut hangup: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut hangup);
        libc::sigaddset(&raw mut hangup, libc::SIGHUP);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const hangup, std::ptr::null_mut());
    }
}

/// The mistake of [`Defect::TermCleanEarly`]: a pending SIGTERM is gone once it is ignored, blocked or not (sigaction(2)).
pub fn forget_stop() {
    // SAFETY: no handler function is installed, only the two built-in dispositions.
    unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
        libc::signal(libc::SIGTERM, libc::SIG_DFL);
    }
}

/// Closes what lies above 2, which is of whoever started this process: a pipe among it would keep its reader waiting, a lock
/// would stay locked. Call it first of all: whatever is open above 2 is closed.
///
/// Of 0, 1 and 2 those that were closed are `/dev/null` by now: std sees to that before `main`. In another language do it
/// here, or the next three files that are opened become the standard streams.
pub fn close_inherited() {
    // SAFETY: for a process that has not opened anything, or uses nothing of it any more.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// dup2(2), which clears close-on-exec: standard streams are for whoever is executed.
pub(crate) fn redirect(file: &File, number: RawFd) -> io::Result<()> {
    // SAFETY: the target is a standard stream, which nothing of ours owns.
    if unsafe { libc::dup2(file.as_raw_fd(), number) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(words: &[&[u8]]) -> Result<(), String> {
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        for word in words {
            rustix::io::write(&writer, word).expect("write");
        }
        drop(writer);
        hear(reader, Duration::from_secs(20))
    }

    #[test]
    fn the_launcher_believes_a_word_and_nothing_else() {
        assert_eq!(heard(&[b"+"]), Ok(()));
        assert_eq!(heard(&[b"address in", b" use"]), Err("address in use".to_owned()));
        assert_eq!(heard(&[]), Err("daemon ended before it was ready".to_owned()));
    }

    #[test]
    fn a_silent_daemon_is_given_up() {
        let (reader, _writer) = rustix::pipe::pipe().expect("pipe");
        let reason = hear(reader, Duration::from_millis(5)).expect_err("nobody writes");
        assert_eq!(reason, "daemon failed to start within 5 ms");
    }
}

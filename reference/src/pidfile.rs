//! The pidfile: atomic, locked, mode 0644 whatever the umask, and removed only by its owner.
//!
//! - A reader sees the old content or the new, never an empty file: written beside and renamed over (rename(2)).
//! - Of several starts one wins: the file is locked (flock(2)) for the life of the process, and a start that finds a locked file
//!   refuses. The lock, not the number in it, says whether the server lives, so a stale file with a reused pid is no obstacle.
//! - Anything but a regular file in its place is refused: following a symbolic link would overwrite the victim behind it
//!   (CVE-2020-14367, CVE-2020-28935).
//!
//! A daemon does not know its pid before it is one, and whoever launches it wants to know before that whether there is one
//! already. So it goes in two steps: a [`Claim`] before the fork, signed after it. Both processes have the same open file
//! descriptions, to which the locks belong: there is no instant at which nobody holds them.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::process::{Pid, test_kill_process};

/// Readable by everyone, writable by the owner only (FHS 3.0 §3.15, daemon(7)).
pub const MODE: u32 = 0o644;

/// Why a pidfile could not be had.
#[derive(Debug)]
pub enum PidfileError {
    /// A living process is named in it, and it is held.
    Running(PathBuf, Pid),
    /// It is held, and names nobody who lives: another start has claimed it.
    Claimed(PathBuf),
    /// A symbolic link, FIFO, directory or device lies there.
    NotRegular(PathBuf),
    /// A system call failed.
    Io(PathBuf, io::Error),
}

impl fmt::Display for PidfileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(path, pid) => write!(out, "write pidfile {}: already running, pid {pid}", path.display()),
            Self::Claimed(path) => write!(out, "write pidfile {}: another start is under way", path.display()),
            Self::NotRegular(path) => {
                write!(out, "write pidfile {}: not a regular file", path.display())
            }
            Self::Io(path, error) => write!(out, "write pidfile {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for PidfileError {}

/// The right to a pidfile, before there is a process that it could name. Dropped, it leaves everything as it was.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    /// What lies there and is to be replaced; locked, so that it is nobody else's to replace.
    stale: Option<File>,
    /// What will lie there: empty and locked, under a name of its own.
    next: File,
    temporary: Temporary,
}

impl Claim {
    /// Claims the path, which is resolved against the current directory now.
    ///
    /// # Errors
    /// [`PidfileError`]; whatever lay there is untouched then.
    pub fn take(path: &Path) -> Result<Self, PidfileError> {
        Self::take_with(path, MODE)
    }

    /// The same for a file of this mode, whatever the umask. Others can write to it only if this says so, and should never:
    /// whoever can, names the process that the next stop signals. Whoever can *read* it can lock it, too, and keep a daemon from
    /// starting: where local users are not trusted, use 0600.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_with(path: &Path, mode: u32) -> Result<Self, PidfileError> {
        let path = std::path::absolute(path).map_err(|error| PidfileError::Io(path.to_owned(), error))?;
        let stale = lock_existing(&path)?;
        let (temporary, next) = create_beside(&path, mode).map_err(|error| PidfileError::Io(path.clone(), error))?;
        Ok(Self { path, stale, next, temporary })
    }

    /// What will lie there: whoever has this description has the lock, too ([`Pidfile::adopt`]).
    #[must_use]
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.next.as_fd()
    }

    /// Takes it all back, where another process has signed: the launcher of a daemon that failed after that, and that may be
    /// unable to remove it (it was killed; it has given up the privilege).
    ///
    /// # Errors
    /// What unlink(2) reports.
    pub fn withdraw(self) -> io::Result<()> {
        if is_at(&self.next, &self.path) { std::fs::remove_file(&self.path) } else { Ok(()) }
    }

    /// Leaves the mode to the umask: the mistake of [`crate::defect::Defect::Mode`].
    ///
    /// # Errors
    /// What chmod(2) reports.
    pub fn trust_umask(&self) -> io::Result<()> {
        let umask = rustix::process::umask(Mode::empty());
        rustix::process::umask(umask);
        self.next.set_permissions(std::fs::Permissions::from_mode(0o666 & !umask.bits()))
    }

    /// Writes this process's pid and gives the file its name.
    ///
    /// # Errors
    /// [`PidfileError`], also when another start was faster: until then, a free name is claimed by whoever comes.
    pub fn sign(self) -> Result<Pidfile, PidfileError> {
        self.sign_for(std::process::id())
    }

    /// Writes the pid of a successor, which has the lock already, and gives the file its name. Once the result is dropped, the file
    /// is the successor's alone.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub fn sign_for(mut self, pid: u32) -> Result<Pidfile, PidfileError> {
        let failed = |error| PidfileError::Io(self.path.clone(), error);
        self.next.write_all(format!("{pid}\n").as_bytes()).map_err(failed)?;
        while !self.place().map_err(|error| PidfileError::Io(self.path.clone(), error))? {
            self.stale = lock_existing(&self.path)?;
        }
        Ok(Pidfile { path: self.path, file: self.next })
    }

    /// Gives the file its name; false when a file that is not the stale one has it.
    fn place(&self) -> io::Result<bool> {
        match &self.stale {
            Some(stale) if is_at(stale, &self.path) => self.temporary.rename_over(&self.path).map(|()| true),
            // link(2), unlike rename(2), never replaces.
            _ => match std::fs::hard_link(&self.temporary.path, &self.path) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            },
        }
    }
}

/// What [`Pidfile::overwrite`] does not care about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Careless {
    /// Who holds it.
    Unlocked,
    /// Nor how long it is: what is longer keeps its end.
    Untruncated,
    /// Nor where a symbolic link leads.
    Following,
}

/// A pidfile that this process owns.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    /// Keeps the lock; close-on-exec, so that no helper keeps it for us.
    file: File,
}

impl Pidfile {
    /// Writes this process's pid to the path, which is resolved against the current directory now.
    ///
    /// # Errors
    /// [`PidfileError`]; whatever lay there is untouched then.
    pub fn create(path: &Path) -> Result<Self, PidfileError> {
        Claim::take(path)?.sign()
    }

    /// Claims its own place for a successor: what is signed then replaces this file by rename, and is locked by then.
    ///
    /// # Errors
    /// [`PidfileError::Io`]; this file stays what it is.
    pub fn claim_for_successor(&self) -> Result<Claim, PidfileError> {
        let claimed = || -> io::Result<Claim> {
            let mode = self.file.metadata()?.mode() & 0o7777;
            let (temporary, next) = create_beside(&self.path, mode)?;
            Ok(Claim { path: self.path.clone(), stale: Some(self.file.try_clone()?), next, temporary })
        };
        claimed().map_err(|error| PidfileError::Io(self.path.clone(), error))
    }

    /// What a predecessor has signed for this process, or this process itself before it executed another program: `file` is the
    /// description that has the lock.
    ///
    /// # Errors
    /// [`PidfileError`]: the path leads to another file, or to one that does not name this process.
    pub fn adopt(path: &Path, file: File) -> Result<Self, PidfileError> {
        let failed = |error| PidfileError::Io(path.to_owned(), error);
        let path = std::path::absolute(path).map_err(failed)?;
        let content = std::fs::read_to_string(&path).unwrap_or_default();
        if is_at(&file, &path) && content == own_line() {
            Ok(Self { path, file })
        } else {
            Err(PidfileError::Claimed(path))
        }
    }

    /// Replaces the file of the process that this one takes over from, which knows of it and holds it: only where that has agreed.
    /// Readers see the old pid, then the new one; the old one's [`Pidfile::remove`] leaves the new file alone.
    ///
    /// # Errors
    /// [`PidfileError`]; the old file stays then.
    pub fn succeed(path: &Path) -> Result<Self, PidfileError> {
        let failed = |error| PidfileError::Io(path.to_owned(), error);
        let (temporary, mut file) = create_beside(path, MODE).map_err(failed)?;
        file.write_all(own_line().as_bytes()).map_err(failed)?;
        temporary.rename_over(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Where it lies, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the same content anew, atomically.
    ///
    /// # Errors
    /// [`PidfileError`]; the old file stays then.
    pub fn rewrite(&mut self) -> Result<(), PidfileError> {
        self.rewrite_by(|file| file.write_all(own_line().as_bytes()))
    }

    /// The same whether or not it could be written: the mistake of [`crate::defect::Defect::AfterFailedUpgradeFullDisk`].
    ///
    /// # Errors
    /// As [`rewrite`](Self::rewrite), but for those of write(2).
    pub fn rewrite_unchecked(&mut self) -> Result<(), PidfileError> {
        self.rewrite_by(|file| {
            let _ = file.write_all(own_line().as_bytes());
            Ok(())
        })
    }

    fn rewrite_by(&mut self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), PidfileError> {
        let replaced = || -> io::Result<File> {
            let mode = self.file.metadata()?.mode() & 0o7777;
            let (temporary, mut file) = create_beside(&self.path, mode)?;
            write(&mut file)?;
            temporary.rename_over(&self.path)?;
            Ok(file)
        };
        self.file = replaced().map_err(|error| PidfileError::Io(self.path.clone(), error))?;
        Ok(())
    }

    /// Unlinks the file and creates it anew: the mistake of [`crate::defect::Defect::UpgradeAlwaysValid`].
    ///
    /// # Errors
    /// [`PidfileError`].
    pub fn unlink_and_create(&mut self) -> Result<(), PidfileError> {
        let _ = std::fs::remove_file(&self.path);
        *self = Self::create(&self.path)?;
        Ok(())
    }

    /// Writes into whatever lies there without a claim: the mistake of several defects.
    ///
    /// # Errors
    /// [`PidfileError::Io`].
    pub fn overwrite(path: &Path, carelessness: Careless) -> Result<Self, PidfileError> {
        let written = || -> io::Result<File> {
            // Nonblocking, so that a FIFO without a reader is an error and not the end of everything.
            let follow = if carelessness == Careless::Following { OFlags::empty() } else { OFlags::NOFOLLOW };
            let flags = i32::try_from((follow | OFlags::NONBLOCK).bits()).expect("open flags fit an int");
            let mut options = File::options();
            options.write(true).create(true).truncate(carelessness != Careless::Untruncated).custom_flags(flags);
            let mut file = options.open(path)?;
            file.write_all(own_line().as_bytes())?;
            Ok(file)
        };
        let file = written().map_err(|error| PidfileError::Io(path.to_owned(), error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Hands the descriptor on to every program that is executed: the mistake of [`crate::defect::Defect::CloseOnExec`].
    ///
    /// # Errors
    /// What fcntl(2) reports.
    pub fn hand_on(&self) -> io::Result<()> {
        Ok(rustix::io::fcntl_setfd(&self.file, FdFlags::empty())?)
    }

    /// The open file that has the lock.
    #[must_use]
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// It is called otherwise from now on, or by no name at all: the process has another root.
    pub fn moved_to(&mut self, path: Option<PathBuf>) {
        // What lies at no path is never found, and so never removed by name.
        self.path = path.unwrap_or_default();
    }

    /// Removes the file if it is still the one that was written: a successor's file at the same path stays.
    ///
    /// One that this process may not remove any more (it has dropped its privileges, or has another root) is emptied through the
    /// descriptor that it has held since it could: a pid that somebody else has soon is then not to be read there, and with the lock
    /// gone the file is free for the next start to replace.
    ///
    /// # Errors
    /// What unlink(2), and then ftruncate(2), report.
    pub fn remove(self) -> io::Result<()> {
        if is_at(&self.file, &self.path) && std::fs::remove_file(&self.path).is_ok() {
            return Ok(());
        }
        // A file that a successor's was renamed over has no name any more, and inotify would call this a change of the successor's.
        if self.file.metadata()?.nlink() == 0 { Ok(()) } else { self.file.set_len(0) }
    }
}

fn own_line() -> String {
    format!("{}\n", std::process::id())
}

/// The living process that a pidfile's content names, whoever that is: what a start that knows no lock goes by.
#[must_use]
pub fn living(content: &str) -> Option<Pid> {
    let pid = content.trim().parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)?;
    // Without the right to signal it (EPERM) it is there all the same.
    (test_kill_process(pid) != Err(Errno::SRCH)).then_some(pid)
}

/// Locks the file at the path; `None` when there is none.
fn lock_existing(path: &Path) -> Result<Option<File>, PidfileError> {
    while let Some(file) = open_existing(path)? {
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut content = String::new();
            let _ = file.take(32).read_to_string(&mut content);
            let claimed = PidfileError::Claimed(path.to_owned());
            return Err(living(&content).map_or(claimed, |pid| PidfileError::Running(path.to_owned(), pid)));
        }
        if is_at(&file, path) {
            return Ok(Some(file));
        }
        // Removed or replaced before it was locked: what counts is what lies there now.
    }
    Ok(None)
}

/// Opens what lies at the path without following a link, waiting for a FIFO's writer, or touching a device.
pub(crate) fn open_existing(path: &Path) -> Result<Option<File>, PidfileError> {
    let failed = |error| PidfileError::Io(path.to_owned(), error);
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let flags = i32::try_from(flags).expect("open flags fit an int");
    match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) if file.metadata().map_err(failed)?.is_file() => Ok(Some(file)),
        Ok(_) => Err(PidfileError::NotRegular(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Err(PidfileError::NotRegular(path.to_owned())),
        Err(error) => Err(failed(error)),
    }
}

/// Whether the path still leads to this very file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), path.symlink_metadata()) else {
        return false;
    };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

/// A file's second name, gone when dropped.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn rename_over(&self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename the name is free already.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Makes and locks an empty file in the same directory: rename(2) and link(2) do not cross file systems.
fn create_beside(path: &Path, mode: u32) -> io::Result<(Temporary, File)> {
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?);
    name.push(format!(".{}", std::process::id()));
    let path = path.with_file_name(name);
    // Only a crashed process with our pid can have left one.
    let _ = std::fs::remove_file(&path);
    let file = File::options().write(true).create_new(true).mode(mode).open(&path)?;
    let temporary = Temporary { path };
    // The umask may have taken bits away.
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok((temporary, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn stale_content_is_replaced_exactly_and_no_temporary_stays() {
        for stale in [None, Some(""), Some("garbage"), Some("1\n"), Some("99999999999999 and a tail\n")] {
            let scratch = Scratch::new("pidfile-stale");
            let path = scratch.path().join("pid");
            if let Some(text) = stale {
                std::fs::write(&path, text).expect("write");
            }
            let pidfile = Pidfile::create(&path).expect("create");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), own_line(), "{stale:?}");
            assert_eq!(path.metadata().expect("stat").mode() & 0o7777, MODE);
            assert_eq!(std::fs::read_dir(scratch.path()).expect("list").count(), 1);
            pidfile.remove().expect("remove");
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_held_file_is_refused_and_left_intact() {
        let scratch = Scratch::new("pidfile-held");
        let path = scratch.path().join("pid");
        let mut first = Pidfile::create(&path).expect("create");
        let error = Pidfile::create(&path).expect_err("held");
        assert!(error.to_string().contains(&format!("already running, pid {}", std::process::id())), "{error}");
        first.rewrite().expect("rewrite");
        assert!(matches!(Pidfile::create(&path), Err(PidfileError::Running(..))));
        assert_eq!(std::fs::read_to_string(&path).expect("read"), own_line());
    }

    #[test]
    fn a_successor_replaces_a_held_file_which_its_owner_then_leaves_alone() {
        let scratch = Scratch::new("pidfile-succeed");
        let path = scratch.path().join("pid");
        let old = Pidfile::create(&path).expect("create");
        let new = Pidfile::succeed(&path).expect("succeed");
        old.remove().expect("it is not there");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), own_line());
        assert!(matches!(Pidfile::create(&path), Err(PidfileError::Running(..))));
        new.remove().expect("remove");
        assert_eq!(std::fs::read_dir(scratch.path()).expect("list").count(), 0);
    }

    #[test]
    fn a_claim_excludes_others_and_leaves_everything_as_it_was() {
        let scratch = Scratch::new("pidfile-claim");
        let path = scratch.path().join("pid");
        std::fs::write(&path, "99999999\n").expect("write");
        let claim = Claim::take(&path).expect("nobody holds it");
        assert!(matches!(Claim::take(&path), Err(PidfileError::Claimed(_))), "a pid that nobody has runs nowhere");
        drop(claim);
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "99999999\n");
        assert_eq!(std::fs::read_dir(scratch.path()).expect("list").count(), 1);
    }

    #[test]
    fn of_two_claims_of_a_free_name_the_first_to_sign_wins() {
        let scratch = Scratch::new("pidfile-race");
        let path = scratch.path().join("pid");
        let faster = Claim::take(&path).expect("the name is free");
        // As of another process, whose temporary file has another name.
        std::fs::rename(&faster.temporary.path, scratch.path().join("faster")).expect("rename");
        let slower = Claim::take(&path).expect("the name is still free");
        let renamed = Temporary { path: scratch.path().join("faster") };
        let pidfile = Claim { temporary: renamed, ..faster }.sign().expect("it is the first");
        assert!(matches!(slower.sign(), Err(PidfileError::Running(..))));
        assert_eq!(std::fs::read_to_string(&path).expect("read"), own_line());
        pidfile.remove().expect("remove");
        assert_eq!(std::fs::read_dir(scratch.path()).expect("list").count(), 0);
    }

    #[test]
    fn a_lock_outlives_the_process_that_took_it_where_another_has_its_description() {
        let scratch = Scratch::new("pidfile-handed-on");
        let path = scratch.path().join("pid");
        let pidfile = Pidfile::create(&path).expect("create");
        let inherited = pidfile.file.try_clone().expect("as fork(2) does");
        drop(pidfile);
        assert!(matches!(Claim::take(&path), Err(PidfileError::Running(..))));
        drop(inherited);
        Claim::take(&path).expect("nobody holds it any more");
    }

    #[test]
    fn a_successor_has_the_lock_before_the_file_has_its_name_and_its_predecessor_removes_nothing() {
        let scratch = Scratch::new("pidfile-taken-over");
        let path = scratch.path().join("pid");
        let first = Pidfile::create(&path).expect("create");
        let refused = first.claim_for_successor().expect("claim");
        drop(refused);
        assert_eq!(std::fs::read_to_string(&path).expect("read"), own_line(), "an upgrade that failed changes nothing");
        let claim = first.claim_for_successor().expect("claim");
        let inherited = File::from(claim.lock().try_clone_to_owned().expect("as fork(2) does"));
        assert!(Pidfile::adopt(&path, inherited.try_clone().expect("copy")).is_err(), "not signed yet");
        drop(claim.sign_for(std::process::id()).expect("sign"));
        let second = Pidfile::adopt(&path, inherited).expect("signed");
        first.remove().expect("nothing to do");
        assert!(matches!(Claim::take(&path), Err(PidfileError::Running(..))));
        assert_eq!(std::fs::read_dir(scratch.path()).expect("list").count(), 1);
        second.remove().expect("remove");
        assert!(!path.exists());
    }

    #[test]
    fn a_mode_is_exact_and_kept_when_it_is_rewritten() {
        let scratch = Scratch::new("pidfile-mode");
        let path = scratch.path().join("pid");
        let mut pidfile = Claim::take_with(&path, 0o664).expect("claim").sign().expect("sign");
        assert_eq!(path.metadata().expect("stat").mode() & 0o7777, 0o664, "whatever the umask");
        pidfile.rewrite().expect("rewrite");
        assert_eq!(path.metadata().expect("stat").mode() & 0o7777, 0o664);
    }

    #[test]
    fn a_launcher_takes_back_what_its_daemon_has_signed_and_nothing_else() {
        let scratch = Scratch::new("pidfile-withdrawn");
        let path = scratch.path().join("pid");
        for signed in [true, false] {
            let claim = Claim::take(&path).expect("claim");
            if signed {
                // As the daemon does, whose descriptions are the same.
                std::fs::rename(&claim.temporary.path, &path).expect("rename");
            } else {
                std::fs::write(&path, "4711\n").expect("write");
            }
            claim.withdraw().expect("withdraw");
            assert_eq!(path.exists(), !signed);
            assert_eq!(std::fs::read_dir(scratch.path()).expect("list").count(), usize::from(!signed));
        }
    }

    #[test]
    fn what_cannot_be_removed_is_emptied_and_free_for_the_next() {
        let scratch = Scratch::new("pidfile-emptied");
        let path = scratch.path().join("pid");
        let mut pidfile = Pidfile::create(&path).expect("create");
        pidfile.moved_to(None);
        pidfile.remove().expect("it is open");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "");
        Pidfile::create(&path).expect("nobody holds it").remove().expect("remove");
        assert!(!path.exists());
    }

    #[test]
    fn a_successors_file_is_not_removed() {
        let scratch = Scratch::new("pidfile-successor");
        let path = scratch.path().join("pid");
        let pidfile = Pidfile::create(&path).expect("create");
        std::fs::remove_file(&path).expect("unlink");
        std::fs::write(&path, "4711\n").expect("write");
        pidfile.remove().expect("nothing to do");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "4711\n");
    }

    #[test]
    fn links_fifos_and_directories_are_refused() {
        let scratch = Scratch::new("pidfile-irregular");
        let victim = scratch.path().join("victim");
        std::fs::write(&victim, "precious").expect("write");
        let (link, dir, fifo) = (scratch.path().join("l"), scratch.path().join("d"), scratch.path().join("f"));
        std::os::unix::fs::symlink(&victim, &link).expect("symlink");
        std::fs::create_dir(&dir).expect("mkdir");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        for path in [&link, &dir, &fifo] {
            assert!(matches!(Pidfile::create(path), Err(PidfileError::NotRegular(_))), "{}", path.display());
        }
        assert_eq!(std::fs::read_to_string(&victim).expect("read"), "precious");
    }
}

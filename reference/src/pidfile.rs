//! The pidfile: atomic, locked, mode 0644 whatever the umask, and removed only by its owner.
//!
//! - A reader sees the old content or the new, never an empty file: written beside and renamed over (rename(2)).
//! - Of several starts one wins: the file is locked (flock(2)) for the life of the process, and a start that finds a locked file
//!   refuses. The lock, not the number in it, says whether the server lives, so a stale file with a reused pid is no obstacle.
//! - Anything but a regular file in its place is refused: following a symbolic link would overwrite the victim behind it
//!   (CVE-2020-14367, CVE-2020-28935).

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};

/// Readable by everyone, writable by the owner only (FHS 3.0 §3.15, daemon(7)).
pub const MODE: u32 = 0o644;

/// Why a pidfile could not be had.
#[derive(Debug)]
pub enum PidfileError {
    /// Another process holds it; its content as far as it can be read.
    Running(PathBuf, String),
    /// A symbolic link, FIFO, directory or device lies there.
    NotRegular(PathBuf),
    /// A system call failed.
    Io(PathBuf, io::Error),
}

impl fmt::Display for PidfileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(path, pid) => write!(out, "write pidfile {}: already running, pid {pid}", path.display()),
            Self::NotRegular(path) => {
                write!(out, "write pidfile {}: not a regular file", path.display())
            }
            Self::Io(path, error) => write!(out, "write pidfile {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for PidfileError {}

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
        let path = std::path::absolute(path).map_err(|error| PidfileError::Io(path.to_owned(), error))?;
        loop {
            let placed = match open_existing(&path)? {
                Some(stale) => replace(&path, &stale)?,
                None => place_new(&path)?,
            };
            // `None`: another start was faster somewhere; look again at what lies there now.
            if let Some(file) = placed {
                return Ok(Self { path, file });
            }
        }
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
        let (temporary, file) = write_beside(&self.path).map_err(|error| PidfileError::Io(self.path.clone(), error))?;
        temporary.rename_over(&self.path).map_err(|error| PidfileError::Io(self.path.clone(), error))?;
        self.file = file;
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

    /// Removes the file if it is still the one that was written: a successor's file at the same path stays.
    ///
    /// # Errors
    /// What unlink(2) reports.
    pub fn remove(self) -> io::Result<()> {
        if is_at(&self.file, &self.path) { std::fs::remove_file(&self.path) } else { Ok(()) }
    }
}

/// Opens what lies at the path without following a link, waiting for a FIFO's writer, or touching a device.
fn open_existing(path: &Path) -> Result<Option<File>, PidfileError> {
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

/// Replaces a file that nobody holds; `None` when it has been replaced by somebody else meanwhile.
fn replace(path: &Path, stale: &File) -> Result<Option<File>, PidfileError> {
    if rustix::fs::flock(stale, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = stale.take(32).read_to_string(&mut pid);
        return Err(PidfileError::Running(path.to_owned(), pid.trim().to_owned()));
    }
    // Locked, but perhaps no longer the file at the path: then its replacement is somebody's.
    if !is_at(stale, path) {
        return Ok(None);
    }
    let failed = |error| PidfileError::Io(path.to_owned(), error);
    let (temporary, file) = write_beside(path).map_err(failed)?;
    temporary.rename_over(path).map_err(failed)?;
    Ok(Some(file))
}

/// Places a file where none is; `None` when another start placed one first: link(2), unlike rename(2), never replaces.
fn place_new(path: &Path) -> Result<Option<File>, PidfileError> {
    let failed = |error| PidfileError::Io(path.to_owned(), error);
    let (temporary, file) = write_beside(path).map_err(failed)?;
    match std::fs::hard_link(&temporary.path, path) {
        Ok(()) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
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

/// A complete file under a name of its own, gone when dropped.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn rename_over(self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename the name is free already.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Writes and locks a complete pidfile in the same directory: rename(2) and link(2) do not cross file systems.
fn write_beside(path: &Path) -> io::Result<(Temporary, File)> {
    let pid = std::process::id();
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?);
    name.push(format!(".{pid}"));
    let path = path.with_file_name(name);
    // Only a crashed process with our pid can have left one.
    let _ = std::fs::remove_file(&path);
    let mut file = File::options().write(true).create_new(true).mode(MODE).open(&path)?;
    let temporary = Temporary { path };
    // The umask may have taken bits away.
    file.set_permissions(std::fs::Permissions::from_mode(MODE))?;
    file.write_all(format!("{pid}\n").as_bytes())?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok((temporary, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn own_line() -> String {
        format!("{}\n", std::process::id())
    }

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

//! The log of a daemon: a file that its standard output and error are appended to, and that can be opened anew.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use nix::unistd::{Gid, Uid};

use crate::daemon;
use crate::defect::Defect;

/// For everyone to read and for its owner to write, less what the umask takes: 0640 under the usual 027.
const MODE: u32 = 0o644;

/// Where a log lies, and how it is made.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// Absolute: the daemon changes its directory.
    pub path: PathBuf,
    /// Mode of a file that is made, exactly this whatever the umask; `None`: 0644 less the umask. Others can write to it only if
    /// this says so. A file that is there keeps its own.
    pub mode: Option<u32>,
    /// Who owns a file that is made: whom the daemon is to become, so that it can open it again. Whoever that is may write to the
    /// directory as well, so a link in the file's place is refused then: it could lead to anything that only root can write.
    pub owner: Option<(Uid, Gid)>,
    /// The deliberate bug, if any.
    pub defect: Option<Defect>,
}

impl LogFile {
    /// Opens it for appending, so that a rotation by truncation leaves no hole, and close-on-exec.
    ///
    /// # Errors
    /// What open(2), fchmod(2) or fchown(2) report.
    pub fn open(&self) -> io::Result<File> {
        let mut options = File::options();
        let mut mode = MODE;
        match self.defect {
            Some(Defect::LogAppend) => options.write(true),
            _ => options.append(true),
        };
        if self.defect == Some(Defect::LogMode) {
            rustix::process::umask(rustix::fs::Mode::empty());
            mode = 0o666;
        }
        if self.defect == Some(Defect::UmaskLog) {
            mode = 0o666;
        }
        if self.owner.is_some() {
            options.custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY);
        }
        // std opens close-on-exec.
        options.truncate(false).mode(mode);
        if let Some(made) = self.make(&options)? {
            return Ok(made);
        }
        options.create(true).open(&self.path)
    }

    /// Makes it as it is to be; `None` where that asks for nothing special, or something lies there already.
    fn make(&self, options: &OpenOptions) -> io::Result<Option<File>> {
        if self.mode.is_none() && self.owner.is_none() {
            return Ok(None);
        }
        // Without any rights for others until it is as it is to be.
        let file = match options.clone().create_new(true).mode(0o600).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            opened => opened?,
        };
        let mode = self.mode.unwrap_or_else(|| MODE & !current_umask());
        // The owner first: chown(2) clears the bits of set-user-ID programs, and whoever owns it may set what it likes.
        if let Some((user, group)) = self.owner {
            std::os::unix::fs::fchown(&file, Some(user.as_raw()), Some(group.as_raw()))?;
        }
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        Ok(Some(file))
    }

    /// Opens it anew at its path and moves standard output and error there: after a rotation by rename.
    ///
    /// # Errors
    /// What open(2) or dup2(2) report; the old log stays then.
    pub fn reopen(&self) -> io::Result<()> {
        let log = self.open()?;
        daemon::redirect(&log, 1)?;
        daemon::redirect(&log, 2)
    }
}

/// umask(2) can only be set, so it is set twice.
fn current_umask() -> u32 {
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::umask(umask);
    umask.bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::io::Write;

    fn log(path: PathBuf) -> LogFile {
        LogFile { path, mode: None, owner: None, defect: None }
    }

    fn mode_of(log: &LogFile) -> u32 {
        log.path.metadata().expect("it is there").permissions().mode() & 0o7777
    }

    #[test]
    fn a_mode_is_exact_for_a_new_file_and_leaves_an_old_one_alone() {
        let scratch = Scratch::new("logfile-mode");
        let exact = LogFile { mode: Some(0o664), ..log(scratch.path().join("exact")) };
        exact.open().expect("open").write_all(b"first\n").expect("write");
        assert_eq!(mode_of(&exact), 0o664, "whatever the umask");
        let other = LogFile { mode: Some(0o600), ..exact.clone() };
        other.open().expect("open").write_all(b"second\n").expect("write");
        assert_eq!(mode_of(&other), 0o664, "its administrator's");
        assert_eq!(std::fs::read_to_string(&other.path).expect("read"), "first\nsecond\n");
        let usual = log(scratch.path().join("usual"));
        usual.open().expect("open");
        assert_eq!(mode_of(&usual), 0o644 & !current_umask());
    }

    #[test]
    fn a_link_is_refused_where_somebody_else_is_to_own_the_log() {
        let scratch = Scratch::new("logfile-link");
        let (victim, link) = (scratch.path().join("victim"), scratch.path().join("log"));
        std::fs::write(&victim, "precious").expect("write");
        std::os::unix::fs::symlink(&victim, &link).expect("symlink");
        log(link.clone()).open().expect("a link of one's own is followed");
        let owned = LogFile { owner: Some((Uid::current(), Gid::current())), ..log(link) };
        assert_eq!(owned.open().expect_err("refused").raw_os_error(), Some(libc::ELOOP));
        assert_eq!(std::fs::read_to_string(&victim).expect("read"), "precious");
    }
}

//! A start while the daemon runs.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use crate::clock::Interval;
use crate::event::{FileKind, FileLook, Occasion, SecondStart, What};
use crate::run::daemon::REST;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};

impl Stage<'_> {
    /// Launches the target once more, and looks at the one that runs and at its pidfile before and after.
    pub(super) fn start_again(&mut self) -> Result<(), RunError> {
        let Some(main) = self.main.as_ref().map(|main| main.image) else { return Ok(()) };
        let began = self.clock.now();
        let (before, living) = (self.pidfile_look(), self.living()?);
        let status = self.launch_for(Occasion::AlreadyRunning)?;
        // One that returns before its daemon has failed is judged when that has.
        let _alone = self.within(REST, || yes(self.living().is_ok_and(|now| now == living)))?;
        let second = SecondStart {
            status,
            daemon: main.pid,
            lives: self.lives(main),
            answer: self.ask()?,
            before,
            after: self.pidfile_look(),
        };
        self.sink.put(Interval::new(began, self.clock.now()), What::StartedAgain(second));
        self.kill_all_but(&living)
    }

    /// What lies at the pidfile's name now.
    pub(super) fn pidfile_look(&self) -> FileLook {
        self.pidfile_path().map_or_else(absent, |path| look_at(&path))
    }
}

/// What lies at a name. A regular file alone is read: opening a FIFO would wait.
pub(super) fn look_at(path: &Path) -> FileLook {
    let Ok(metadata) = path.symlink_metadata() else { return absent() };
    let kind = kind_of(&metadata);
    let bytes = if kind == FileKind::Regular { fs::read(path).ok() } else { None };
    FileLook {
        kind,
        inode: metadata.ino(),
        mode: metadata.permissions().mode() & 0o7777,
        content: bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn absent() -> FileLook {
    FileLook { kind: FileKind::Absent, inode: 0, mode: 0, content: None }
}

fn kind_of(metadata: &Metadata) -> FileKind {
    match metadata.file_type() {
        it if it.is_file() => FileKind::Regular,
        it if it.is_symlink() => FileKind::Symlink,
        it if it.is_fifo() => FileKind::Fifo,
        it if it.is_dir() => FileKind::Directory,
        _ => FileKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_at_a_name_is_told_and_never_followed() {
        let directory = std::env::temp_dir().join(format!("unbroken-look-{}", std::process::id()));
        fs::create_dir(&directory).expect("a scratch directory");
        let at = |name: &str| directory.join(name);
        fs::write(at("file"), "7\n").expect("write");
        fs::create_dir(at("directory")).expect("mkdir");
        std::os::unix::fs::symlink(at("file"), at("link")).expect("symlink");
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRUSR).expect("mkfifo");
        for (name, kind, content) in [
            ("file", FileKind::Regular, Some("7\n")),
            ("directory", FileKind::Directory, None),
            ("link", FileKind::Symlink, None),
            ("fifo", FileKind::Fifo, None),
            ("nothing", FileKind::Absent, None),
        ] {
            let look = look_at(&at(name));
            assert_eq!((look.kind, look.content.as_deref()), (kind, content), "{name}");
        }
        fs::remove_dir_all(directory).expect("remove");
    }
}

//! What is deployed so that an upgrade fails, and how it is seen that the target took it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::event::Broken;
use crate::kernel::inotify::{NameEvent, NameWatch};
use crate::run::deploy::{Deployer, replace};
use crate::run::{RunError, Stage};

/// The file that the broken executable leaves, in the target's directory.
const MARK: &str = "broken-executable-ran";

/// Something that no upgrade succeeds with.
pub(super) enum Bait {
    /// An executable that fails, once it has left its mark.
    Executable {
        fault: Broken,
        /// Made first and written to then; it holds the process id.
        mark: PathBuf,
    },
    /// A configuration file that is invalid.
    Configuration(Spoilt),
}

/// A file in whose place something else is put for a while.
pub(super) struct Spoilt {
    path: PathBuf,
    mode: u32,
    good: Vec<u8>,
    invalid: String,
    watch: NameWatch,
    /// The watch has told of it; who opens the file from then on finds the invalid one.
    is_in_place: bool,
    was_opened: bool,
}

impl Stage<'_> {
    /// Gets it ready; `None` where the target has no such file, which is told.
    pub(super) fn bait(&mut self, fault: Broken) -> Result<Option<Bait>, RunError> {
        if fault != Broken::Misconfigured {
            let mark = self.target_dir.join(MARK);
            return match fs::remove_file(&mark) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                Ok(()) | Err(_) => Ok(Some(Bait::Executable { fault, mark })),
            };
        }
        let Some(file) = self.plan.target.config_file.clone() else { return Ok(None) };
        let path = PathBuf::from(file.path.fill(&self.placeholders()));
        match Spoilt::of(&path, file.invalid) {
            Ok(spoilt) => Ok(Some(Bait::Configuration(spoilt))),
            Err(error) => {
                self.action_failed(&format!("read {} (`config_file.path`)", path.display()), &error.to_string());
                Ok(None)
            }
        }
    }
}

impl Bait {
    /// Puts it where the target looks.
    pub(super) fn place(&self, deployer: &Deployer) -> Result<(), RunError> {
        match self {
            Bait::Executable { fault, mark } => deployer.break_self(mark, *fault)?,
            Bait::Configuration(it) => replace(&it.path, it.mode, |out| out.write_all(it.invalid.as_bytes()))?,
        }
        Ok(())
    }

    /// The target has taken it up to now.
    pub(super) fn is_taken(&mut self) -> bool {
        match self {
            Bait::Executable { mark, .. } => fs::metadata(mark).is_ok_and(|file| file.len() > 0),
            Bait::Configuration(it) => it.was_opened(),
        }
    }

    /// Where an executable that runs leaves its process id.
    pub(super) fn mark(&self) -> Option<&Path> {
        match self {
            Bait::Executable { mark, .. } => Some(mark),
            Bait::Configuration(_) => None,
        }
    }

    /// Puts back what lay there, where the next deploy does not.
    pub(super) fn take_away(self) -> Result<(), RunError> {
        if let Bait::Configuration(it) = self {
            replace(&it.path, it.mode, |out| out.write_all(&it.good))?;
        }
        Ok(())
    }
}

impl Spoilt {
    fn of(path: &Path, invalid: String) -> io::Result<Spoilt> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let (good, mode) = (fs::read(path)?, fs::metadata(path)?.permissions().mode() & 0o7777);
        // Now: what is opened before the invalid one lies there is told apart by the order of the events.
        let watch = NameWatch::of_readers(directory, name)?;
        Ok(Spoilt { path: path.to_owned(), mode, good, invalid, watch, is_in_place: false, was_opened: false })
    }

    fn was_opened(&mut self) -> bool {
        while let Ok(Some(events)) = self.watch.read() {
            for event in events {
                self.is_in_place |= event == NameEvent::MovedTo;
                self.was_opened |= self.is_in_place && event == NameEvent::Opened;
            }
        }
        self.was_opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_opens_the_invalid_file_has_taken_it() {
        let directory = std::env::temp_dir().join(format!("unbroken-bait-{}", std::process::id()));
        fs::create_dir(&directory).expect("mkdir");
        let path = directory.join("server.conf");
        fs::write(&path, "good\n").expect("write");
        let mut spoilt = Spoilt::of(&path, "bad\n".to_owned()).expect("watch");
        assert_eq!(fs::read_to_string(&path).expect("read"), "good\n");
        assert!(!spoilt.was_opened(), "that was the good one");
        replace(&path, spoilt.mode, |out| out.write_all(b"bad\n")).expect("replace");
        assert!(!spoilt.was_opened());
        assert_eq!(fs::read_to_string(&path).expect("read"), "bad\n");
        assert!(spoilt.was_opened());
        Bait::Configuration(spoilt).take_away().expect("put back");
        assert_eq!(fs::read_to_string(&path).expect("read"), "good\n");
        fs::remove_dir_all(&directory).expect("remove");
    }
}

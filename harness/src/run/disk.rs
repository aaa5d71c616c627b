//! A disk of the target's own: its directory lies on a file system that can be full.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::event::Resource;
use crate::kernel::namespace::enter_mount_namespace;
use crate::kernel::tmpfs::Tmpfs;
use crate::plan::Plan;
use crate::run::RunError;
use crate::run::deploy::COPY;
use crate::scenario::Step;

/// It is seen by the thread that has made it, by whatever that begins, and by nobody else; it ends with them, however they end.
#[derive(Debug)]
pub(super) struct Disk {
    /// The target's directory.
    place: PathBuf,
    /// What lies there for everybody else.
    beneath: File,
    pub(super) tmpfs: Tmpfs,
}

/// Whether this plan's target gets one.
pub(super) fn is_needed(plan: &Plan) -> bool {
    let fills = |step: &Step| matches!(step, Step::UpgradeWithout { resource: Resource::Disk, .. });
    plan.scenario.script().steps.iter().any(fills)
}

impl Disk {
    /// Moves the calling thread into a mount namespace of its own, and mounts an empty one over the target's directory there.
    pub(super) fn mount(place: &Path) -> Result<Disk, RunError> {
        let failed = |error: &dyn std::error::Error| RunError::Environment(format!("mount the target's disk: {error}"));
        fs::create_dir_all(place)?;
        let beneath = File::open(place)?;
        enter_mount_namespace().map_err(|error| failed(&error))?;
        let tmpfs = Tmpfs::mount(place).map_err(|error| failed(&error))?;
        Ok(Disk { place: place.to_owned(), beneath, tmpfs })
    }

    /// Copies what is evidence to the directory beneath, where it is found when this has ended: the files that lie there, but
    /// for the executables.
    pub(super) fn keep(&self) -> io::Result<()> {
        let beneath = PathBuf::from(format!("/proc/thread-self/fd/{}", self.beneath.as_raw_fd()));
        for entry in fs::read_dir(&self.place)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_file() && !name.to_string_lossy().starts_with(COPY) {
                fs::copy(entry.path(), beneath.join(name))?;
            }
        }
        Ok(())
    }
}

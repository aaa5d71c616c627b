//! The open `/proc/PID/stat` of each process, kept from one scan to the next: reading one again costs a tenth of opening it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, pread};

use crate::id::Pid;

/// The most files kept open: a target with more processes must not eat the harness's descriptors.
const MOST: usize = 64;

/// The file of each process.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// By pid, and whether this scan has seen it.
    files: BTreeMap<Pid, (OwnedFd, bool)>,
}

impl Kept {
    /// The process's line as it is now. A kept file belongs to the process, not to the pid: once that was reaped it reads
    /// ESRCH for ever, and the file of the pid's present owner is opened.
    pub(super) fn read<'b>(&mut self, root: &OwnedFd, pid: Pid, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        if let Some((file, seen)) = self.files.get_mut(&pid) {
            *seen = true;
            match whole(&*file, buffer) {
                Err(Errno::SRCH) => {}
                result => return result.map(|length| &buffer[..length]),
            }
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(root, format!("{pid}/stat"), flags, Mode::empty())?;
        let length = whole(&file, buffer)?;
        if self.files.len() < MOST || self.files.contains_key(&pid) {
            self.files.insert(pid, (file, true));
        }
        Ok(&buffer[..length])
    }

    /// Ends a scan: closes the files of processes that it did not meet.
    pub(super) fn retain_seen(&mut self) {
        self.files.retain(|_, (_, seen)| std::mem::take(seen));
    }
}

/// Reads a file that one read gives whole.
fn whole(file: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match pread(&file, &mut *buffer, 0) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

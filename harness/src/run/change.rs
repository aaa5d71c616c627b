//! Changing the watched file in each of the ways in which files are changed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::clock::Interval;
use crate::event::{Phase, What};
use crate::id::{Image, Version};
use crate::kernel::clone::no_forks;
use crate::manifest::WatchKind;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage, deploy};
use crate::scenario::Way;

/// How long a file stays half-written: long enough for a target that reacts to the first half to have started a
/// generation from it (measured: some 10 ms), and several times the usual debounce.
const HALF_WRITTEN: Duration = Duration::from_millis(200);

/// An upgrade is over when nothing has changed on the listener for this long: eight times the reference's debounce,
/// so a second upgrade for the same change would have begun.
const QUIET: Duration = Duration::from_millis(400);

impl Stage<'_> {
    /// Changes the watched file in this way, and waits for the upgrade and then until nothing more happens.
    pub(super) fn change(&mut self, way: Way) -> Result<(), RunError> {
        let Some(watch) = self.plan.target.restart.as_ref().and_then(|restart| restart.watch.clone()) else {
            return Ok(());
        };
        let before = self.before_upgrade()?;
        self.tell_holders(before.holders.clone())?;
        self.phase(Phase::Trigger);
        let path = PathBuf::from(watch.path.fill(&self.placeholders()));
        let content = self.next_content(watch.kind, &path, before.version)?;
        let began = self.clock.now();
        self.write(way, &path, &content)?;
        self.version = before.version;
        let what =
            What::FileChanged { upgrade: before.id, how: way.word().to_owned(), path: path.display().to_string() };
        self.sink.put(Interval::new(began, self.clock.now()), what);
        let limit = self.plan.target.deadlines.upgrade;
        let known = before.holders;
        if !self.within(limit, || yes(self.holders().is_ok_and(|now| now.iter().any(|it| !known.contains(it)))))? {
            self.deadline_passed("upgrade", limit);
            return Ok(());
        }
        self.phase(Phase::Drain);
        self.await_quiet()
    }

    /// Waits until the set of holders has stayed the same for [`QUIET`].
    pub(super) fn await_quiet(&mut self) -> Result<(), RunError> {
        let limit = self.plan.target.deadlines.drain;
        let mut last: Vec<Image> = self.holders()?;
        let mut since = self.clock.now();
        let quiet = self.within(limit, || {
            let now = self.holders().unwrap_or_default();
            if now != last {
                last = now;
                since = self.clock.now();
            }
            yes(self.clock.now().since(since) >= QUIET)
        })?;
        if !quiet {
            self.deadline_passed("quiet after a file change", limit);
        }
        self.tell_holders(last)
    }

    /// Told before the next change begins, so that the order of the two is certain: the observer's own sample may come
    /// after it.
    fn tell_holders(&self, images: Vec<Image>) -> Result<(), RunError> {
        let inode = self.listeners()?.first().map_or(0, |row| row.inode);
        self.sink.put_at(self.clock.now(), What::Holders { inode, images });
        Ok(())
    }

    fn next_content(&self, kind: WatchKind, path: &Path, version: Version) -> Result<Vec<u8>, RunError> {
        match kind {
            WatchKind::Executable => Ok(deploy::stamped_bytes(version)?),
            WatchKind::Data => {
                let with = self.deployer.placeholders(&self.plan.target, version);
                let file = self.plan.target.files.iter().find(|file| Path::new(&file.path.fill(&with)) == path);
                let content = file.map(|file| file.content.fill(&with).into_bytes());
                content.map_or_else(|| fs::read(path).map_err(|source| failed("read", path, &source)), Ok)
            }
        }
    }

    fn write(&self, way: Way, path: &Path, content: &[u8]) -> Result<(), RunError> {
        let written = match way {
            Way::Rename => return Ok(deploy::replace(path, mode_of(path), |out| out.write_all(content))?),
            Way::Touch => return self.touch(path),
            Way::Symlink => switch_symlink(path, content),
            Way::HalfWritten => self.write_in_halves(path, content),
            Way::InPlace => {
                File::options().write(true).truncate(true).open(path).and_then(|mut it| it.write_all(content))
            }
        };
        written.map_err(|source| failed(way.word(), path, &source))
    }

    fn write_in_halves(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let _no_forks = no_forks();
        let mode = mode_of(path);
        let (first, second) = content.split_at(content.len() / 2);
        fs::remove_file(path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(first)?;
        let _interrupted = self.stop.pause(HALF_WRITTEN);
        file.write_all(second)
    }

    /// Sets a file's times to now.
    pub(super) fn touch(&self, path: &Path) -> Result<(), RunError> {
        let now = fs::FileTimes::new().set_accessed(SystemTime::now()).set_modified(SystemTime::now());
        // Opened for reading: a running executable cannot be opened for writing (ETXTBSY), its owner may set its times.
        File::open(path).and_then(|file| file.set_times(now)).map_err(|source| failed("touch", path, &source))
    }

    /// Replaces a file by a copy of itself, by rename.
    pub(super) fn replace_by_copy(&self, path: &Path) -> Result<(), RunError> {
        let content = fs::read(path).map_err(|source| failed("read", path, &source))?;
        Ok(deploy::replace(path, mode_of(path), |out| out.write_all(&content))?)
    }

    /// Writes a file's content again, in place.
    pub(super) fn rewrite_in_place(&self, path: &Path) -> Result<(), RunError> {
        let content = fs::read(path).map_err(|source| failed("read", path, &source))?;
        fs::write(path, content).map_err(|source| failed("rewrite", path, &source))
    }
}

/// Puts a symlink to a new file in the path's place, atomically.
fn switch_symlink(path: &Path, content: &[u8]) -> io::Result<()> {
    let sibling = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let (file, link) = (sibling(".switched"), sibling(".link"));
    let _no_forks = no_forks();
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(mode_of(path)).open(&file)?;
    out.write_all(content)?;
    drop(out);
    symlink(&file, &link)?;
    fs::rename(&link, path)
}

fn mode_of(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).map_or(0o755, |metadata| metadata.permissions().mode() & 0o7777)
}

fn failed(action: &str, path: &Path, source: &io::Error) -> RunError {
    RunError::Environment(format!("failed to {action} {}: {source}", path.display()))
}

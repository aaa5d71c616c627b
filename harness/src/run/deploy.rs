//! Deploying: the target's files with the next version in them, and a stamped copy of this program as `{self}`.
//!
//! The copy is an inode of its own (never a hard link: file watching and replacement need one), and carries its version
//! as a trailer, so that an answer proves which image gave it. Everything is put in place by rename.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::event::Broken;
use crate::id::Version;
use crate::kernel::clone::no_forks;
use crate::target::{Placeholders, Target};

/// Why a deploy failed.
#[derive(Debug, Error)]
#[error("write {path}")]
pub struct DeployError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The file name of the copy: its last part is what the reference server looks for in its `argv[0]`.
pub(super) const COPY: &str = "unbroken-reference";

/// Deploys versions of one target into one directory.
#[derive(Debug)]
pub(super) struct Deployer {
    directory: PathBuf,
    needs_self: bool,
}

impl Deployer {
    /// For a target whose `{dir}` is `directory`.
    pub(super) fn new(target: &Target, directory: &Path) -> Deployer {
        let launch = &target.launch;
        let needs_self = launch.command.iter().any(crate::target::Template::names_self);
        Deployer { directory: directory.to_owned(), needs_self }
    }

    /// What the templates are filled with at this version.
    pub(super) fn placeholders(&self, target: &Target, version: Version) -> Placeholders {
        Placeholders {
            self_path: self.self_path().display().to_string(),
            dir: self.directory.display().to_string(),
            version,
            address: target.endpoints[0].address,
        }
    }

    /// `{dir}`.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Path of the stamped copy.
    pub(super) fn self_path(&self) -> PathBuf {
        self.directory.join(COPY)
    }

    /// Renders the files (all of them at version 1, later the ones that hold the version) and stamps the copy.
    pub(super) fn deploy(&self, target: &Target, version: Version) -> Result<(), DeployError> {
        let with = self.placeholders(target, version);
        for file in &target.files {
            if version > Version(1) && !file.content.is_versioned() {
                continue;
            }
            let path = PathBuf::from(file.path.fill(&with));
            let mut content = file.content.fill(&with).into_bytes();
            if let Some(bytes) = file.bytes {
                content = repeat(&content, usize::try_from(bytes).expect("a file's size fits the address space"));
            }
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|source| DeployError { path: parent.to_owned(), source })?;
            }
            replace(&path, file.mode, |out| out.write_all(&content))?;
        }
        if self.needs_self {
            let path = self.self_path();
            match fs::rename(self.prepared(version), &path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.stamp(&path, version)?,
                put => put.map_err(|source| DeployError { path, source })?,
            }
        }
        Ok(())
    }

    /// Puts the program that was built in its place: a copy, for what one run does to it must not show in another.
    pub(super) fn install(&self, target: &Target, product: &Path) -> Result<(), DeployError> {
        let Some(build) = &target.build else { return Ok(()) };
        let path = PathBuf::from(build.product.fill(&self.placeholders(target, Version(1))));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|source| DeployError { path: parent.to_owned(), source })?;
        }
        replace(&path, 0o755, |out| io::copy(&mut File::open(product)?, out).map(drop))
    }

    /// Makes the copy that a later deploy of this version puts in place.
    pub(super) fn prepare(&self, version: Version) -> Result<(), DeployError> {
        if self.needs_self { self.stamp(&self.prepared(version), version) } else { Ok(()) }
    }

    /// Where a copy waits for its deploy.
    fn prepared(&self, version: Version) -> PathBuf {
        self.directory.join(format!("{COPY}.{version}"))
    }

    /// Puts an executable in the copy's place that leaves `mark`, its process id in it, and fails.
    pub(super) fn break_self(&self, mark: &Path, executable: Broken) -> Result<(), DeployError> {
        replace(&self.self_path(), 0o755, |out| out.write_all(broken(mark, executable).as_bytes()))
    }

    /// Puts a copy of this program, stamped with `version`, at `path` by rename.
    pub(super) fn stamp(&self, path: &Path, version: Version) -> Result<(), DeployError> {
        replace(path, 0o755, |out| copy_stamped(out, version))
    }
}

/// The bytes of a stamped copy, for the ways of writing that are not by rename.
pub(super) fn stamped_bytes(version: Version) -> Result<Vec<u8>, DeployError> {
    let path = PathBuf::from("/proc/self/exe");
    let mut bytes = fs::read(&path).map_err(|source| DeployError { path, source })?;
    bytes.extend_from_slice(trailer(version).as_bytes());
    Ok(bytes)
}

fn copy_stamped(out: &mut File, version: Version) -> io::Result<()> {
    // Between two files std copies with copy_file_range(2): a reflink where the file system has it.
    io::copy(&mut File::open("/proc/self/exe")?, out)?;
    out.write_all(trailer(version).as_bytes())
}

/// A script, because the kernel executes one like any program, and it can leave a file as proof that it ran.
fn broken(mark: &Path, executable: Broken) -> String {
    let quoted = mark.display().to_string().replace('\'', r"'\''");
    let end = match executable {
        Broken::Exits => "exit 1",
        // Without a core file, which would lie in the target's directory.
        Broken::Crashes => "ulimit -c 0\nkill -SEGV $$",
        // Longer than any deadline; the same process, with all that it was given.
        Broken::Hangs => "exec sleep 3600",
        Broken::Misconfigured => unreachable!("its executable is whole"),
    };
    format!("#!/bin/sh\necho $$ > '{quoted}'\necho 'broken executable: {}' >&2\n{end}\n", executable.word())
}

/// ELF ignores what follows its last section.
fn trailer(version: Version) -> String {
    format!("\nunbroken-version={version}\n")
}

/// Writes a new file beside `path` and renames it over.
pub(super) fn replace(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), DeployError> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = PathBuf::from(next);
    // Another run of this process may be making its sandbox just now.
    let _no_forks = no_forks();
    let put = || -> io::Result<()> {
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&next)?;
        write(&mut out)?;
        // The mode of open(2) passes through our umask; this one does not.
        out.set_permissions(Permissions::from_mode(mode))?;
        drop(out);
        fs::rename(&next, path)
    };
    put().map_err(|source| DeployError { path: path.to_owned(), source })
}

fn repeat(content: &[u8], bytes: usize) -> Vec<u8> {
    if content.is_empty() {
        return vec![b'x'; bytes];
    }
    content.iter().copied().cycle().take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn content_is_repeated_up_to_the_size() {
        assert_eq!(repeat(b"abc", 7), b"abcabca");
        assert_eq!(repeat(b"", 2), b"xx");
    }

    #[test]
    fn a_broken_executable_leaves_its_mark_at_any_path_and_fails() {
        for (executable, code, signal) in [(Broken::Exits, Some(1), None), (Broken::Crashes, None, Some(libc::SIGSEGV))]
        {
            let mark = std::env::temp_dir().join(format!("unbroken's mark {}", std::process::id()));
            let script = broken(&mark, executable);
            let mut shell = std::process::Command::new("/bin/sh");
            let mut child = shell.args(["-c", &script]).stderr(std::process::Stdio::null()).spawn().expect("a shell");
            let status = child.wait().expect("it ends");
            assert_eq!((status.code(), status.signal()), (code, signal));
            let left = fs::read_to_string(&mark).expect("the mark is there");
            assert_eq!(left, format!("{}\n", child.id()));
            fs::remove_file(&mark).expect("and can be removed");
        }
    }

    #[test]
    fn a_hung_executable_leaves_its_mark_and_lives_on() {
        let mark = std::env::temp_dir().join(format!("unbroken's hung mark {}", std::process::id()));
        let mut shell = std::process::Command::new("/bin/sh");
        let script = broken(&mark, Broken::Hangs);
        let mut child = shell.args(["-c", &script]).stderr(std::process::Stdio::null()).spawn().expect("a shell");
        while fs::read_to_string(&mark).is_ok_and(|left| left.is_empty()) || !mark.exists() {
            std::thread::yield_now();
        }
        assert!(child.try_wait().expect("it can be asked").is_none());
        child.kill().expect("it lives");
        child.wait().expect("it ends");
        fs::remove_file(&mark).expect("the mark is there");
    }
}

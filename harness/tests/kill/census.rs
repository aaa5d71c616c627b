//! Everything there is in a cell: full lists, compared whole.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use unbroken::kernel::inet_diag::Diag;

use super::walls::EMPTIED;

/// The lists, by what they list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Census(Vec<(&'static str, BTreeSet<String>)>);

impl Census {
    /// Takes all lists; files below `run_directory` are the run's own.
    pub(crate) fn take(run_directory: &Path) -> Census {
        let mut files = BTreeSet::new();
        EMPTIED.iter().for_each(|directory| walk(Path::new(directory), run_directory, &mut files));
        let mut cgroups = BTreeSet::new();
        directories(Path::new("/sys/fs/cgroup"), &mut cgroups);
        Census(vec![
            ("process", processes().iter().filter_map(|it| describe(it)).collect()),
            ("namespace", processes().iter().flat_map(|it| namespaces(it)).collect()),
            ("mount", read("/proc/self/mountinfo").lines().map(str::to_owned).collect()),
            ("cgroup", cgroups),
            ("file", files),
            ("listener", listeners()),
        ])
    }

    /// What another list has more or less, one text each; empty when they are equal.
    pub(crate) fn differences(&self, now: &Census) -> Vec<String> {
        let both = self.0.iter().zip(&now.0);
        both.flat_map(|((kind, before), (_, now))| {
            let more = now.difference(before).map(move |it| format!("+ {kind} {it}"));
            more.chain(before.difference(now).map(move |it| format!("- {kind} {it}")))
        })
        .collect()
    }
}

fn read(path: impl AsRef<Path>) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn processes() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let numbered = entries.filter(|it| it.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
    numbered.map(|it| it.path()).collect()
}

/// pid, start time, executable, command line; `None` when it has gone meanwhile.
fn describe(process: &Path) -> Option<String> {
    let stat = read(process.join("stat"));
    // Field 22 of proc_pid_stat(5); the name in field 2 may hold spaces and parentheses.
    let (name, rest) = stat.rsplit_once(')')?;
    let started = rest.split_ascii_whitespace().nth(19)?;
    let executable = fs::read_link(process.join("exe")).unwrap_or_default();
    let command = read(process.join("cmdline")).replace('\0', " ");
    Some(format!("{name}) {started} {} {}", executable.display(), command.trim_end()))
}

fn namespaces(process: &Path) -> Vec<String> {
    let links = fs::read_dir(process.join("ns")).into_iter().flatten().flatten();
    links.filter_map(|it| Some(fs::read_link(it.path()).ok()?.to_string_lossy().into_owned())).collect()
}

fn directories(below: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            into.insert(entry.path().display().to_string());
            directories(&entry.path(), into);
        }
    }
}

fn walk(below: &Path, except: &Path, into: &mut BTreeSet<String>) {
    for path in fs::read_dir(below).into_iter().flatten().flatten().map(|it| it.path()).filter(|it| it != except) {
        let Ok(it) = fs::symlink_metadata(&path) else { continue };
        let size = if it.is_file() { it.size() } else { 0 };
        into.insert(format!(
            "{} inode {} mode {:o} owner {} size {size}",
            path.display(),
            it.ino(),
            it.mode(),
            it.uid()
        ));
        if it.is_dir() {
            walk(&path, except, into);
        }
    }
}

fn listeners() -> BTreeSet<String> {
    let rows = Diag::open().and_then(|mut diag| diag.listeners()).expect("inet_diag works where the command works");
    rows.into_iter().map(|row| row.address).collect()
}

//! Who is there: every process of `/proc` with its executable and its namespaces.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

/// A process that is ours.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) pid: i32,
    pub(crate) command: String,
    pub(crate) namespaces: BTreeSet<String>,
}

/// Every process but this one that runs this executable or lives in one of these namespaces. Another harness on the same
/// machine is nobody's business here; zombies have no executable, and are the parent's to count.
pub(crate) fn take(namespaces: &Namespaces) -> Vec<Entry> {
    let own = std::env::current_exe().expect("it has a path");
    let pids = std::fs::read_dir("/proc").expect("/proc is mounted").filter_map(|entry| {
        entry.ok()?.file_name().to_str()?.parse::<i32>().ok().filter(|pid| *pid != std::process::id() as i32)
    });
    let ours = pids.filter_map(|pid| {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let entry = Entry { pid, command: command(&directory), namespaces: namespaces_of(&directory) };
        let runs_us = std::fs::read_link(directory.join("exe")).is_ok_and(|executable| executable == own);
        let inside = entry.namespaces.intersection(&namespaces.names).next().is_some();
        (runs_us || inside).then_some(entry)
    });
    ours.collect()
}

/// Namespaces by their names ("net:[4026532008]"), held open: the kernel gives the number of one that is gone to the next that
/// anybody makes.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    names: BTreeSet<String>,
    _held: Vec<File>,
}

/// The namespaces of these, which live, that are not this process's own.
pub(crate) fn made_by(entries: &[Entry]) -> Namespaces {
    let own = namespaces_of(&PathBuf::from("/proc/self"));
    let mut made = Namespaces::default();
    for entry in entries {
        for name in entry.namespaces.difference(&own) {
            let kind = name.split(':').next().unwrap_or_default();
            made._held.extend(File::open(format!("/proc/{}/ns/{kind}", entry.pid)));
            made.names.insert(name.clone());
        }
    }
    made
}

fn namespaces_of(directory: &std::path::Path) -> BTreeSet<String> {
    let links = std::fs::read_dir(directory.join("ns")).into_iter().flatten();
    let targets = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
    targets.map(|target| target.to_string_lossy().into_owned()).collect()
}

fn command(directory: &std::path::Path) -> String {
    let line = std::fs::read(directory.join("cmdline")).unwrap_or_default();
    let line = if line.is_empty() { std::fs::read(directory.join("comm")).unwrap_or_default() } else { line };
    String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned()
}

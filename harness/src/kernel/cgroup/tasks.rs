//! A control group that bounds how many tasks (processes and threads) are in it: the pids controller.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{hierarchy, version_2};
use crate::kernel::pidfd::HostPid;

/// Where such a group of this name would be: below our own in the version 1 hierarchy of that controller; else below the nearest
/// of our own and those above it in the version 2 hierarchy that gives it on. mkdir(2) makes it.
///
/// # Errors
/// Where there is neither.
pub fn place(name: &str) -> io::Result<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let missing = || io::Error::new(io::ErrorKind::NotFound, "no group here may bound its tasks");
    let above = version_1(&own, &mounts).or_else(|| giving(&own, &mounts)).ok_or_else(missing)?;
    Ok(above.join(name))
}

/// Our own group of the version 1 hierarchy.
fn version_1(own: &str, mounts: &str) -> Option<PathBuf> {
    let within = own.lines().find_map(|line| {
        let (controllers, within) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|it| it == "pids").then_some(within)
    })?;
    let is_it = |options: &str| options.split(',').any(|it| it == "pids");
    hierarchy(mounts, |kind, options| kind == "cgroup" && is_it(options), within)
}

/// The nearest group of the version 2 hierarchy whose children have the controller: a group with processes in it, as our own
/// is, can give it to none, but the root.
fn giving(own: &str, mounts: &str) -> Option<PathBuf> {
    let own = version_2(own, mounts)?;
    let gives = |group: &&Path| {
        let control = fs::read_to_string(group.join("cgroup.subtree_control"));
        control.is_ok_and(|control| control.split_ascii_whitespace().any(|it| it == "pids"))
    };
    own.ancestors().find(gives).map(Path::to_owned)
}

/// Moves a process into a group, with all its threads; what it begins from then on begins there.
///
/// # Errors
/// Those of writing `cgroup.procs`.
pub fn admit(group: &Path, pid: HostPid) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), pid.to_string())
}

/// Bounds the tasks of a group, or does so no more. Those that are in it stay; whoever would make one more gets EAGAIN.
///
/// # Errors
/// Those of writing `pids.max`.
pub fn bound(group: &Path, most: Option<u64>) -> io::Result<()> {
    fs::write(group.join("pids.max"), most.map_or_else(|| "max".to_owned(), |most| most.to_string()))
}

/// How many tasks are in a group.
///
/// # Errors
/// Those of reading `pids.current`.
pub fn count(group: &Path) -> io::Result<u64> {
    number(&fs::read_to_string(group.join("pids.current"))?)
}

/// How often somebody was refused another task in this group since it was made.
///
/// # Errors
/// Those of reading `pids.events`.
pub fn refused(group: &Path) -> io::Result<u64> {
    let events = fs::read_to_string(group.join("pids.events"))?;
    number(events.lines().find_map(|line| line.strip_prefix("max ")).unwrap_or_default())
}

fn number(text: &str) -> io::Result<u64> {
    text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no number of tasks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_of_its_own_hierarchy_comes_first() {
        let mounts = "39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
                      41 30 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(version_1("8:pids:/a\n0::/\n", mounts), Some(PathBuf::from("/sys/fs/cgroup/pids/a")));
        assert_eq!(version_1("8:cpu,pids:/\n", mounts), Some(PathBuf::from("/sys/fs/cgroup/pids")));
        assert_eq!(version_1("0::/\n", mounts), None);
    }
}

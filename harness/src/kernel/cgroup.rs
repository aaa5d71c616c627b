//! A control group of our own: made below the one that we are in, ended and removed with everything in it (cgroups(7)).

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

/// How long the kernel may take to end every process of a group after SIGKILL.
const END: Duration = Duration::from_secs(30);

/// Where a group of this name below our own would be, in the version 2 hierarchy. mkdir(2) makes it.
///
/// # Errors
/// Where no such hierarchy is mounted.
pub fn place(name: &str) -> io::Result<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let missing = || io::Error::new(io::ErrorKind::NotFound, "no cgroup version 2 hierarchy is mounted");
    Ok(directory(&own, &mounts).ok_or_else(missing)?.join(name))
}

/// Where the group that we are in lies: `/proc/self/cgroup` names it, `/proc/self/mountinfo` the hierarchy's place.
fn directory(own: &str, mounts: &str) -> Option<PathBuf> {
    let within = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup2 ").then(|| before.split(' ').nth(4)).flatten()
    })?;
    Some(Path::new(mount).join(within.trim_start_matches('/')))
}

/// Moves the calling process into a group.
///
/// # Errors
/// Those of writing `cgroup.procs`.
pub fn enter(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
}

/// Kills whoever is in a group or below it, waits for their end, and removes all of it. A group that is not there is what
/// was wanted.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when somebody outlives SIGKILL by 30 s; and those of rmdir(2).
pub fn end(group: &Path) -> io::Result<()> {
    match fs::write(group.join("cgroup.kill"), "1") {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !group.exists() => return Ok(()),
        result => result?,
    }
    await_empty(group)?;
    remove(group)
}

fn await_empty(group: &Path) -> io::Result<()> {
    let deadline = Instant::now() + END;
    let events = group.join("cgroup.events");
    loop {
        // A change after this look makes the next poll return at once: the file is opened before it is read.
        let file = fs::File::open(&events)?;
        if io::read_to_string(&file)?.lines().any(|line| line == "populated 0") {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "a process outlives SIGKILL"));
        }
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// From the leaves up; what is in a group's directory beside groups is the kernel's.
fn remove(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    #[test]
    fn our_group_is_found_in_a_pure_and_in_a_hybrid_hierarchy() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      41 30 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        let found = |own| directory(own, mounts);
        assert_eq!(found("8:pids:/\n0::/\n"), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(found("0::/user.slice/a\n"), Some(PathBuf::from("/sys/fs/cgroup/unified/user.slice/a")));
        assert_eq!(found("8:pids:/\n"), None);
        assert_eq!(directory("0::/\n", "30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n"), None);
    }

    #[test]
    fn a_group_ends_with_everybody_in_it() {
        let group = place(&format!("unbroken-test-{}", std::process::id()));
        let group = match group.and_then(|group| fs::create_dir(&group).map(|()| group)) {
            Ok(group) => group,
            Err(error) => {
                let _told = writeln!(io::stderr(), "unavailable: control groups of one's own ({error})");
                return;
            }
        };
        let below = group.join("below");
        fs::create_dir(&below).expect("a group below");
        let mut sleeper = Command::new("sleep").arg("1000").spawn().expect("sleep");
        fs::write(below.join("cgroup.procs"), sleeper.id().to_string()).expect("move it");
        end(&group).expect("end");
        assert!(!group.exists());
        assert!(!sleeper.wait().expect("wait").success());
        end(&group).expect("one that is not there");
    }
}

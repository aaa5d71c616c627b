//! A control group of our own: made below the one that we are in, ended and removed with everything in it (cgroups(7)).

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::pidfd::{HostPid, Pidfd, PidfdError};
use crate::target::Signal;

pub mod tasks;

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
    Ok(version_2(&own, &mounts).ok_or_else(missing)?.join(name))
}

/// Where the group that we are in lies: `/proc/self/cgroup` names it, `/proc/self/mountinfo` the hierarchy's place.
fn version_2(own: &str, mounts: &str) -> Option<PathBuf> {
    let within = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    hierarchy(mounts, |kind, _options| kind == "cgroup2", within)
}

/// Where a group lies of the hierarchy that is known by the kind of its mount and the options of its superblock.
fn hierarchy(mounts: &str, is_it: impl Fn(&str, &str) -> bool, within: &str) -> Option<PathBuf> {
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut words = after.split(' ');
        let (kind, options) = (words.next()?, words.nth(1)?);
        is_it(kind, options).then(|| before.split(' ').nth(4)).flatten()
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
    // Opened only: a name that is not there cannot be made here, which is another error.
    match fs::File::options().write(true).open(group.join("cgroup.kill")) {
        Ok(mut kill) => {
            kill.write_all(b"1")?;
            await_empty(group)?;
            remove(group)
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) if group.exists() => end_each(group),
        Err(_) => Ok(()),
    }
}

/// The same in a version 1 hierarchy, which kills nobody: one after the other, until there is nobody left. It has no groups below.
fn end_each(group: &Path) -> io::Result<()> {
    let deadline = Instant::now() + END;
    while Instant::now() < deadline {
        let members = fs::read_to_string(group.join("cgroup.procs"))?;
        let mut members = members.lines().filter_map(|pid| pid.parse().ok()).peekable();
        if members.peek().is_none() {
            return fs::remove_dir(group);
        }
        for pid in members {
            let ended = Pidfd::open(HostPid(pid)).and_then(|process| {
                process.send_signal(Signal(libc::SIGKILL))?;
                Ok(process.wait(deadline.saturating_duration_since(Instant::now())))
            });
            match ended {
                Ok(_) | Err(PidfdError::NoSuchProcess) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "a process outlives SIGKILL"))
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
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn our_group_is_found_in_a_pure_and_in_a_hybrid_hierarchy() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      41 30 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        let found = |own| version_2(own, mounts);
        assert_eq!(found("8:pids:/\n0::/\n"), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(found("0::/user.slice/a\n"), Some(PathBuf::from("/sys/fs/cgroup/unified/user.slice/a")));
        assert_eq!(found("8:pids:/\n"), None);
        assert_eq!(version_2("0::/\n", "30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n"), None);
    }

    fn made(place: io::Result<PathBuf>) -> Option<PathBuf> {
        let made = place.and_then(|group| fs::create_dir(&group).map(|()| group));
        let told =
            |error: &io::Error| drop(writeln!(io::stderr(), "unavailable: control groups of one's own ({error})"));
        made.inspect_err(told).ok()
    }

    #[test]
    fn a_full_group_takes_no_task_more_and_ends_with_everybody_in_it() {
        let Some(group) = made(tasks::place(&format!("unbroken-tasks-{}", std::process::id()))) else { return };
        // What stands in parentheses is a process of its own.
        let script = "read go; (exit 0) || exit 7";
        let mut shell = Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::piped()).spawn().expect("a shell");
        tasks::admit(&group, HostPid(shell.id().cast_signed())).expect("move it");
        assert_eq!(tasks::count(&group).expect("count"), 1);
        tasks::bound(&group, Some(1)).expect("bound");
        shell.stdin.as_mut().expect("it is piped").write_all(b"\n").expect("it reads");
        // Without a process it gives up (dash: "Cannot fork").
        assert!(!shell.wait().expect("wait").success());
        assert_eq!(tasks::refused(&group).expect("count"), 1);
        tasks::bound(&group, None).expect("bound no more");
        let mut sleeper = Command::new("sleep").arg("1000").spawn().expect("sleep");
        tasks::admit(&group, HostPid(sleeper.id().cast_signed())).expect("move it");
        end(&group).expect("end");
        assert!(!group.exists());
        assert!(!sleeper.wait().expect("wait").success());
        end(&group).expect("one that is not there");
    }

    #[test]
    fn a_group_ends_with_everybody_in_it() {
        let Some(group) = made(place(&format!("unbroken-test-{}", std::process::id()))) else { return };
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

//! The walls of a cell: namespaces of its own, a `/proc` of its own, and empty directories where programs leave things.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, signal};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Signal, set_parent_process_death_signal};
use unbroken::kernel::cgroup::{self, tasks};
use unbroken::kernel::namespace::loopback_up;

use super::cell::{Assignment, Line, tell};

/// Whom `--tier B` becomes when it is root.
const NOBODY: u32 = 65534;

/// The command, copied to where every user can execute it.
pub(crate) const COMMAND: &str = "/tmp/command/unbroken";
/// The user's working directory.
pub(crate) const HOME: &str = "/tmp/home";
/// The directory above that of the runs.
pub(crate) const PLACE: &str = "/tmp/place";
/// Where programs leave things.
pub(crate) const EMPTIED: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run"];

/// Control groups for a cell, which the user of tier B may manage: where one can be made, and another one where those that bound
/// their tasks are a hierarchy of their own.
pub(crate) fn control_groups(assignment: &Assignment) -> Vec<PathBuf> {
    let name = format!("unbroken-cell-{}-{}", std::process::id(), assignment.name().replace("::", "-"));
    let mut groups: Vec<PathBuf> = cgroup::place(&name).into_iter().collect();
    // Below the first it would be the cell's anyway.
    groups.extend(tasks::place(&name).ok().filter(|it| it.parent().is_some_and(|above| !is_version_2(above))));
    groups.retain(|group| fs::create_dir(group).is_ok());
    if rustix::process::geteuid().is_root() && assignment.name().starts_with('B') {
        // As `--tier B` becomes that user; what has to be given away is in cgroups(7), "Delegation".
        let files = ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];
        let given = groups.iter().flat_map(|group| files.map(|file| group.join(file))).filter(|it| it.exists());
        given.for_each(|file| chown(file, Some(NOBODY), Some(NOBODY)).expect("root gives away what it owns"));
    }
    groups
}

fn is_version_2(group: &Path) -> bool {
    group.join("cgroup.controllers").exists()
}

/// Enters the namespaces and starts the first process in them; `uid` is the user's.
pub(crate) fn enter(assignment: &str, uid: &str, groups: &[&str]) -> ExitCode {
    // Before the namespace is made: its root are the groups that we are in.
    let entered = groups.iter().try_for_each(|group| cgroup::enter(Path::new(group)));
    let entered = entered.map_err(|error| format!("a control group of its own: {error}"));
    if let Err(reason) = entered.and_then(|()| unshare_all(uid)) {
        tell(&Line::Unavailable(reason));
        return ExitCode::SUCCESS;
    }
    let status =
        Command::new(std::env::current_exe().expect("it has a path")).args(["first", assignment, uid]).status();
    ExitCode::from(u8::from(!status.expect("this executable is executable").success()))
}

fn unshare_all(uid: &str) -> Result<(), String> {
    die_with_parent();
    let mut kinds = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP;
    if uid == "0" {
        return unshare(kinds).map_err(|errno| format!("namespaces of its own: {errno}"));
    }
    kinds |= CloneFlags::CLONE_NEWUSER;
    let gid = rustix::process::getegid().as_raw();
    unshare(kinds).map_err(|errno| format!("namespaces of its own: {errno}"))?;
    map_ids(&format!("0 {uid} 1"), &format!("0 {gid} 1"))
}

/// Builds the cell from within, as its first process. A user without privilege is himself again afterwards.
pub(crate) fn raise(uid: &str) -> Result<(), String> {
    die_with_parent();
    // A shell's background job is started with SIGINT ignored, and the command respects that: Ctrl-C would not end it.
    // SAFETY: the default disposition runs no code of ours.
    unsafe { signal(nix::sys::signal::Signal::SIGINT, SigHandler::SigDfl) }.map_err(|errno| errno.to_string())?;
    let gid = fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    let gid = gid.split_ascii_whitespace().nth(1).unwrap_or("0").to_owned();
    furnish().map_err(|error| format!("mounts of its own: {error}"))?;
    loopback_up().map_err(|error| error.to_string())?;
    if uid != "0" {
        unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| format!("a user namespace of its own: {errno}"))?;
        map_ids(&format!("{uid} 0 1"), &format!("{gid} 0 1"))?;
    }
    std::env::set_current_dir(HOME).map_err(|error| error.to_string())
}

fn furnish() -> io::Result<()> {
    let mut command = File::open(env!("CARGO_BIN_EXE_unbroken"))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    put("proc", "/proc", None)?;
    for directory in EMPTIED.iter().filter(|it| Path::new(it).is_dir()) {
        put("tmpfs", directory, Some(c"mode=1777"))?;
    }
    for (kind, directory, controllers) in cgroup_mounts(&fs::read_to_string("/proc/self/mountinfo")?) {
        let controllers = CString::new(controllers).expect("a line of mountinfo holds no NUL");
        // Mounted anew, its root is the cgroup of this namespace: strangers' are out of sight. The kernel refuses the same
        // hierarchy on top of itself (EBUSY), hence the layer between.
        put("tmpfs", &directory, None)?;
        put(kind, &directory, Some(&controllers).filter(|it| !it.is_empty()).map(CString::as_c_str))?;
    }
    for directory in [HOME, PLACE, "/tmp/command"] {
        fs::create_dir(directory)?;
    }
    io::copy(&mut command, &mut File::create(COMMAND)?)?;
    fs::set_permissions(COMMAND, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}

/// The cgroup hierarchies that are mounted: kind, place, and the controllers by which one of version 1 is mounted again
/// (mountinfo in proc(5): the place is the fifth field, the kind follows the lone hyphen, the super options come last).
fn cgroup_mounts(mountinfo: &str) -> Vec<(&'static str, String, String)> {
    let mounted = |line: &str| {
        let (place, filesystem) = line.split_once(" - ")?;
        let place = place.split(' ').nth(4)?.to_owned();
        let mut filesystem = filesystem.split(' ');
        match (filesystem.next()?, filesystem.next_back()?) {
            ("cgroup2", _) => Some(("cgroup2", place, String::new())),
            ("cgroup", options) => {
                let controllers: Vec<&str> = options.split(',').filter(|it| !["rw", "ro"].contains(it)).collect();
                Some(("cgroup", place, controllers.join(",")))
            }
            _ => None,
        }
    };
    mountinfo.lines().filter_map(mounted).collect()
}

fn put(kind: &str, directory: &str, data: Option<&CStr>) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount(kind, directory, kind, flags, data)
        .map_err(|errno| io::Error::other(format!("{kind} on {directory}: {}", io::Error::from(errno))))
}

fn map_ids(uid_map: &str, gid_map: &str) -> Result<(), String> {
    for (file, content) in [("setgroups", "deny"), ("uid_map", uid_map), ("gid_map", gid_map)] {
        fs::write(Path::new("/proc/self").join(file), content).map_err(|error| format!("write {file}: {error}"))?;
    }
    Ok(())
}

/// A runner that is killed takes its cells with it.
fn die_with_parent() {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

//! systemd as pid 1 of namespaces of its own, inside a target's world: a throw-away root, a control group, and no unit of the
//! machine's own.
//!
//! ```text
//!   unbroken-init ── spawn ──▶ unbroken-systemd ── fork ──▶ systemd, pid 1 of a pid namespace below the target's
//!                              waits, and ends with it        │
//!                                                             └── the unit's processes
//! ```
//!
//! The machine need not be booted with systemd, nor have a bus: systemd(1) in a container asks for writable control groups of
//! its own, a `/run` and a `/proc`. Everything that it starts is part of the target's world and is seen, and ended, like
//! every other process of it. Its network is the target's.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change, unmount,
};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};

use super::role::EXIT_BUG;
use crate::kernel::cgroup;
use crate::wait::ready_within;

/// Where distributions install it; the first that is there.
const PLACES: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];

/// Device files that a service may ask for.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Nothing is polled: this only bounds one wait.
const IDLE: Duration = Duration::from_secs(3600);

/// What went wrong, and while doing what.
type Failure = (&'static str, io::Error);

/// What it is booted with, from the command line.
struct Boot {
    /// Nothing is executed at the end.
    rehearsal: bool,
    /// A directory of our own on the machine, below the run's: the new root is made there.
    state: PathBuf,
    /// The run's directory: the only place of the machine that is shared and writable.
    shared: PathBuf,
    /// The directory of the units.
    units: PathBuf,
    /// Its control group.
    group: PathBuf,
}

/// Where a rehearsal sets its root up: on a tmpfs that only it can see.
const STAGE: &str = "/tmp";

/// Plays the role: arguments state, shared, units, control group. With the control group alone it is a rehearsal: everything
/// is set up, nothing is executed, and nothing of it remains.
pub(super) fn run() {
    let mut arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let Some(group) = arguments.pop() else { std::process::exit(EXIT_BUG) };
    let boot = match &arguments[..] {
        [state, shared, units] => {
            Boot { rehearsal: false, state: state.clone(), shared: shared.clone(), units: units.clone(), group }
        }
        [] => {
            let at = |name: &str| Path::new(STAGE).join(name);
            Boot { rehearsal: true, state: at("state"), shared: at("shared"), units: at("units"), group }
        }
        _ => std::process::exit(EXIT_BUG),
    };
    match boot.begin() {
        Ok(status) => std::process::exit(status),
        Err((action, error)) => {
            let text = format!("unbroken-systemd failed to {action}: {error}\n");
            // Nobody to tell is nobody to care.
            let _ = io::stderr().write_all(text.as_bytes());
            std::process::exit(EXIT_BUG);
        }
    }
}

fn failed<E: Into<io::Error>>(action: &'static str) -> impl Fn(E) -> Failure {
    move |error| (action, error.into())
}

impl Boot {
    /// Ends with the status of its pid 1.
    fn begin(&self) -> Result<i32, Failure> {
        // First the group, then its namespace: the namespace's root is the group that we are in.
        cgroup::enter(&self.group).map_err(failed("enter its control group"))?;
        let namespaces = CloneFlags::CLONE_NEWCGROUP
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS;
        unshare(namespaces).map_err(failed("make its namespaces"))?;
        let console = Console::open().map_err(failed("make its console"))?;
        // SAFETY: a role has one thread.
        match unsafe { fork() }.map_err(failed("fork"))? {
            ForkResult::Child if self.rehearsal => {
                self.set_the_stage()?;
                self.set_up(&console)?;
                std::process::exit(0);
            }
            ForkResult::Child => {
                self.set_up(&console)?;
                Err(execute())
            }
            ForkResult::Parent { child } => {
                let pidfd = rustix::process::pidfd_open(
                    rustix::process::Pid::from_raw(child.as_raw()).expect("a child has a pid"),
                    rustix::process::PidfdFlags::empty(),
                );
                console.copy_until_end_of(&pidfd.map_err(failed("open its pid 1"))?);
                match waitpid(child, None).map_err(failed("wait for its pid 1"))? {
                    WaitStatus::Exited(_, status) => Ok(status),
                    _ => Ok(EXIT_BUG),
                }
            }
        }
    }

    /// A place to set a root up that nobody else can see, and that ends with this process.
    fn set_the_stage(&self) -> Result<(), Failure> {
        private_mounts()?;
        mount("stage", STAGE, "tmpfs", MountFlags::empty(), c"mode=755").map_err(failed("mount a tmpfs"))?;
        for directory in [&self.shared, &self.units] {
            fs::create_dir(directory).map_err(failed("make a directory on a tmpfs"))?;
        }
        Ok(())
    }

    /// The new root, as pid 1 of the new namespaces.
    fn set_up(&self, console: &Console) -> Result<(), Failure> {
        let root = self.root()?;
        let at = |path: &str| root.join(path);
        let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let mounted = |what: &str, kind: &str, place: &Path, flags, options: &str| {
            mount(what, place, kind, flags, CString::new(options).expect("no NUL").as_c_str())
        };
        mounted("proc", "proc", &at("proc"), plain, "").map_err(failed("mount /proc"))?;
        mounted("sysfs", "sysfs", &at("sys"), plain | MountFlags::RDONLY, "").map_err(failed("mount /sys"))?;
        mounted("cgroup2", "cgroup2", &at("sys/fs/cgroup"), plain, "").map_err(failed("mount its control groups"))?;
        self.devices(&at("dev"), console)?;
        let shared = root.join(self.shared.strip_prefix("/").unwrap_or(&self.shared));
        fs::create_dir_all(&shared).map_err(failed("make the place of the run's directory"))?;
        mount_bind(&self.shared, &shared).map_err(failed("bind the run's directory"))?;
        // Where the old root goes is where the new /run will be.
        rustix::process::chdir(&root).map_err(failed("change to its root"))?;
        rustix::process::pivot_root(".", "run").map_err(failed("change its root"))?;
        rustix::process::chdir("/").map_err(failed("change to its root"))?;
        unmount("/run", UnmountFlags::DETACH).map_err(failed("leave the old root"))?;
        mounted("run", "tmpfs", Path::new("/run"), MountFlags::NOSUID | MountFlags::NODEV, "mode=755")
            .map_err(failed("mount /run"))?;
        fs::create_dir("/run/empty").map_err(failed("make an empty directory"))?;
        nix::unistd::sethostname("unbroken").map_err(failed("set the host name"))?;
        self.environment();
        Ok(())
    }

    /// An overlay of the machine's root, so that nothing of the machine is written to. Inside a user namespace the kernel
    /// refuses one over `/` (its mounts are locked together): there the machine's root is bound, which we may not write.
    fn root(&self) -> Result<PathBuf, Failure> {
        let (root, layers) = (self.state.join("root"), self.state.join("layers"));
        for directory in [&root, &layers] {
            fs::create_dir_all(directory).map_err(failed("make the place of its root"))?;
        }
        private_mounts()?;
        if in_user_namespace() {
            mount_bind_recursive("/", &root).map_err(failed("bind the machine's root"))?;
            return Ok(root);
        }
        mount("layers", &layers, "tmpfs", MountFlags::empty(), c"mode=755").map_err(failed("mount a tmpfs"))?;
        let (upper, work) = (layers.join("upper"), layers.join("work"));
        for directory in [&upper, &work] {
            fs::create_dir(directory).map_err(failed("make a layer of its root"))?;
        }
        let options = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
        let options = CString::new(options).map_err(failed("name its layers"))?;
        mount("overlay", &root, "overlay", MountFlags::empty(), options.as_c_str())
            .map_err(failed("mount an overlay of the machine's root"))?;
        Ok(root)
    }

    fn devices(&self, place: &Path, console: &Console) -> Result<(), Failure> {
        let at = |name: &str| place.join(name);
        let mounted = |kind: &str, place: &Path, flags, options| mount(kind, place, kind, flags, options);
        mounted("tmpfs", place, MountFlags::NOSUID, c"mode=755").map_err(failed("mount /dev"))?;
        for name in DEVICES {
            fs::write(at(name), "").map_err(failed("make a device file"))?;
            mount_bind(Path::new("/dev").join(name), at(name)).map_err(failed("bind a device file"))?;
        }
        for name in ["pts", "shm"] {
            fs::create_dir(at(name)).map_err(failed("make a directory below /dev"))?;
        }
        mounted("devpts", &at("pts"), MountFlags::NOSUID | MountFlags::NOEXEC, c"newinstance,mode=620,ptmxmode=666")
            .map_err(failed("mount /dev/pts"))?;
        mounted("tmpfs", &at("shm"), MountFlags::NOSUID | MountFlags::NODEV, c"mode=1777")
            .map_err(failed("mount /dev/shm"))?;
        let links =
            [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")];
        for (name, to) in links {
            symlink(to, at(name)).map_err(failed("make a link below /dev"))?;
        }
        fs::write(at("console"), "").map_err(failed("make a device file"))?;
        mount_bind(&console.name, at("console")).map_err(failed("bind its console"))?;
        Ok(())
    }

    /// Our units only, no generators, and no kernel command line (systemd(1), "Environment").
    fn environment(&self) {
        let clear: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).collect();
        // SAFETY: a role has one thread.
        unsafe {
            clear.iter().for_each(|name| std::env::remove_var(name));
            for (name, value) in [
                ("container", OsStr::new("unbroken")),
                ("PATH", OsStr::new("/usr/sbin:/usr/bin:/sbin:/bin")),
                ("SYSTEMD_LOG_COLOR", OsStr::new("0")),
                ("SYSTEMD_UNIT_PATH", self.units.as_os_str()),
                ("SYSTEMD_GENERATOR_PATH", OsStr::new("/run/empty")),
                ("SYSTEMD_ENVIRONMENT_GENERATOR_PATH", OsStr::new("/run/empty")),
            ] {
                std::env::set_var(name, value);
            }
        }
    }
}

/// systemd's console, to which it writes its log: a terminal of ours, as it insists on one.
struct Console {
    master: OwnedFd,
    /// Kept open, so that the master does not end whenever systemd has closed its own.
    _slave: OwnedFd,
    name: PathBuf,
}

impl Console {
    fn open() -> io::Result<Console> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        Ok(Console { master, _slave: slave, name: PathBuf::from(OsStr::from_bytes(name.to_bytes())) })
    }

    /// Copies what is written there to standard error, until that process has ended.
    fn copy_until_end_of(&self, process: &OwnedFd) {
        let mut piece = [0; 4096];
        loop {
            let ready = ready_within(&[self.master.as_fd(), process.as_fd()], IDLE);
            if ready[0].readable
                && let Ok(length) = rustix::io::read(&self.master, &mut piece)
            {
                // The terminal has made two characters of the end of a line.
                let text: Vec<u8> = piece[..length].iter().copied().filter(|byte| *byte != b'\r').collect();
                // Nobody to tell is nobody to care.
                let _ = io::stderr().write_all(&text);
            } else if ready[1].any() {
                return;
            }
        }
    }
}

fn private_mounts() -> Result<(), Failure> {
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(failed("make mounts private"))
}

/// The initial user namespace maps everybody to themselves (user_namespaces(7)).
fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().ne(["0", "0", "4294967295"])
}

/// Becomes systemd.
fn execute() -> Failure {
    let place = PLACES.into_iter().find(|place| Path::new(place).exists()).unwrap_or(PLACES[0]);
    let words = [place, "--system", "--unit=multi-user.target", "--log-target=console", "--show-status=no"];
    let words: Vec<CString> = words.iter().map(|word| CString::new(*word).expect("no NUL")).collect();
    let path = CString::new(OsStr::new(place).as_bytes()).expect("no NUL");
    match nix::unistd::execv(&path, &words) {
        Err(errno) => ("execute systemd", errno.into()),
        Ok(never) => match never {},
    }
}

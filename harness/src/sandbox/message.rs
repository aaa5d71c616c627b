//! What the harness and the tiny init say to each other.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::event::ExitStatus;
use crate::id::Pid;
use crate::kernel::cgroup;
use crate::kernel::seccomp::Hold;
use crate::target::Signal;

/// What to launch. The process starts from a clean state: its own session, every signal at its default and none
/// blocked, descriptors 0 to 2 only, exactly this environment. What is to be unclean is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpawnRequest {
    /// The executable; without a slash it is looked up in the PATH of `environment`, as execvp(3) does.
    pub program: String,
    /// Its arguments, `argv[0]` first.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// Its working directory; `None`: `/`.
    pub directory: Option<PathBuf>,
    /// Its file mode creation mask.
    pub umask: u32,
    /// Calls of it and its descendants to hold: see [`crate::kernel::seccomp::ListenHook`].
    pub hold: Option<Hold>,
    /// Its place among sessions and process groups.
    pub standing: Standing,
    /// It is no child of the init: a process stands between, as a shell does, for as long as it lives.
    pub between: bool,
    /// It is pid 1 of a pid namespace of its own, with a `/proc` that shows it.
    pub first: bool,
    /// Descriptors 0 to 2 are closed.
    pub closed: bool,
    /// Numbers of further descriptors that stay open in it.
    pub planted: Vec<i32>,
    /// Signals that are blocked in it.
    pub blocked: Vec<Signal>,
    /// Signals that it ignores.
    pub ignored: Vec<Signal>,
    /// Its supplementary groups; none: the init's.
    pub groups: Vec<u32>,
    /// Its working directory, which must be empty, is removed once it stands in it.
    pub removes_directory: bool,
}

/// The place of a launched process among sessions and process groups. One that leads no session is part of that of the
/// process between, or of the init's where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It leads a session, without a terminal.
    #[default]
    LeadsSession,
    /// It leads a process group, without a terminal.
    LeadsGroup,
    /// It leads nothing, without a terminal.
    LeadsNothing,
    /// As from an interactive shell: its standard input is a terminal, which becomes the controlling one of the init's
    /// session; it is launched into that session, in a process group of its own, the foreground one.
    Terminal,
}

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Setting the init up: session, signals, descriptors.
    Init,
    /// Making mounts private (mount(2)).
    Propagation,
    /// Mounting a fresh `/proc`.
    Proc,
    /// Bringing loopback up.
    Loopback,
    /// sethostname(2).
    Hostname,
    /// An argument, variable or path holds a NUL byte.
    Arguments,
    /// Making the process (clone3(2)).
    Clone,
    /// setsid(2); or taking the terminal (TIOCSCTTY, setpgid(2), tcsetpgrp(3)).
    Session,
    /// Placing descriptors 0 to 2.
    Stdio,
    /// chdir(2), or rmdir(2) where that was asked for.
    Directory,
    /// Resetting signals, or blocking and ignoring them as asked (rt_sigaction(2), rt_sigprocmask(2)).
    Signals,
    /// setgroups(2).
    Groups,
    /// Installing the hook on listen(2) (seccomp(2)) or handing it over.
    ListenHook,
    /// execve(2): ENOENT, no such file; EACCES, not executable; ENOEXEC, not a program.
    Exec,
}

impl Step {
    /// All, so that a number can be turned back.
    pub(super) const ALL: [Step; 14] = [
        Step::Init,
        Step::Propagation,
        Step::Proc,
        Step::Loopback,
        Step::Hostname,
        Step::Arguments,
        Step::Clone,
        Step::Session,
        Step::Stdio,
        Step::Directory,
        Step::Signals,
        Step::Groups,
        Step::ListenHook,
        Step::Exec,
    ];
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Init => "set the init up",
            Step::Propagation => "make mounts private",
            Step::Proc => "mount /proc",
            Step::Loopback => "bring loopback up",
            Step::Hostname => "set the host name",
            Step::Arguments => "pass arguments without NUL bytes",
            Step::Clone => "make a process",
            Step::Session => "make a session",
            Step::Stdio => "place descriptors 0 to 2",
            Step::Directory => "change to its directory",
            Step::Signals => "set signals",
            Step::Groups => "set its groups",
            Step::ListenHook => "install the hook on listen",
            Step::Exec => "execute it",
        })
    }
}

/// From the harness to the init, one at a time.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Launch; descriptors: standard input, output, error, then the planted ones.
    Spawn(SpawnRequest),
    /// A pidfd of this process, please.
    OpenPid(Pid),
    /// This is the world's: should the harness end without a word, it is to be ended too.
    Own(Owned),
}

/// What belongs to a world and is no process of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Owned {
    /// A control group, with everybody in it.
    Group(PathBuf),
    /// One that can bound its tasks.
    TaskGroup(PathBuf),
    /// A directory, with everything in it.
    Directory(PathBuf),
}

impl Owned {
    pub(super) fn place(&self) -> &Path {
        match self {
            Owned::Group(place) | Owned::TaskGroup(place) | Owned::Directory(place) => place,
        }
    }

    pub(super) fn make(&self) -> io::Result<()> {
        fs::create_dir(self.place())
    }

    /// Ends and removes it. One that is not there is what was wanted.
    pub(super) fn end(&self) -> io::Result<()> {
        match self {
            Owned::Group(place) | Owned::TaskGroup(place) => cgroup::end(place),
            Owned::Directory(place) => match fs::remove_dir_all(place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result,
            },
        }
    }
}

/// From the init to the harness.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The world stands. Descriptors: its `/proc`, and its network namespace when that is its own.
    Ready {
        /// The init's pid as the target sees it.
        init: Pid,
    },
    /// It does not.
    NotReady {
        /// What failed.
        step: Step,
        /// errno.
        errno: i32,
    },
    /// Launched. Descriptors: pidfd, and the hook when it was asked for.
    Spawned {
        /// Pid as the target sees it.
        pid: Pid,
        /// Its session.
        session: Pid,
    },
    /// Not launched, and nothing of it is left.
    SpawnFailed {
        /// What failed.
        step: Step,
        /// errno.
        errno: i32,
    },
    /// Descriptor: the pidfd.
    Opened,
    /// It will be.
    Owned,
    /// No pidfd.
    NotOpened {
        /// errno; ESRCH: no such process.
        errno: i32,
    },
}

/// From the init to the harness, on a socket of its own: it reaped a process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reaped {
    /// Pid as the target sees it.
    pub(super) pid: Pid,
    /// How it ended.
    pub(super) status: ExitStatus,
    /// Raw CLOCK_MONOTONIC in nanoseconds, when waitid(2) returned.
    pub(super) monotonic: u64,
}

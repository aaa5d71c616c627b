//! An orphan: a process in the pid namespace of a target that is pid 1 there, whose parent ends at once. The kernel gives it to
//! the target (pid_namespaces(7)).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use rustix::pipe::{PipeFlags, pipe_with};

use super::message::SpawnRequest;
use super::role::{EXIT_BUG, ORPHAN};
use super::world::{Sandbox, SandboxError};
use crate::id::Pid;
use crate::wait::ready_within;

/// Its name among the processes.
pub const ORPHAN_NAME: &str = "unbroken-orphan";

/// How long those may take who leave it behind: two forks.
const LEAVING: Duration = Duration::from_secs(10);

/// One that lives until it is dropped.
#[derive(Debug)]
pub struct Orphan {
    /// It waits for this pipe's end of file.
    _alive: OwnedFd,
}

impl Orphan {
    /// Leaves one to `first`, which is pid 1 of its namespace. When this returns it has been adopted.
    ///
    /// # Errors
    /// As [`Sandbox::spawn`]; or its parents did not end.
    pub fn leave(sandbox: &Sandbox, first: Pid) -> Result<Orphan, SandboxError> {
        let failed = |source: io::Error| SandboxError::Resource { action: "leave an orphan", source };
        let (far, alive) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let null = || File::options().write(true).open("/dev/null").map(OwnedFd::from).map_err(failed);
        // Inside the init this is our executable too.
        let request = SpawnRequest {
            program: "/proc/self/exe".to_owned(),
            argv: vec![ORPHAN_NAME.to_owned(), first.to_string()],
            ..SpawnRequest::default()
        };
        let spawned = sandbox.spawn(&request, [far, null()?, null()?])?;
        if !ready_within(&[spawned.pidfd.as_fd()], LEAVING)[0].any() {
            return Err(failed(io::ErrorKind::TimedOut.into()));
        }
        Ok(Orphan { _alive: alive })
    }
}

/// The role: argument pid. Its grandchild is the orphan, which waits for the end of standard input.
pub(super) fn run() {
    debug_assert_eq!(ORPHAN.to_bytes(), ORPHAN_NAME.as_bytes());
    let pid = std::env::args().nth(1).unwrap_or_default();
    let Ok(namespace) = File::open(format!("/proc/{pid}/ns/pid")) else { std::process::exit(EXIT_BUG) };
    // Only the children of this process are in it (setns(2)).
    if setns(namespace, CloneFlags::CLONE_NEWPID).is_err() {
        std::process::exit(EXIT_BUG);
    }
    // SAFETY: a role has one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {}
        // It has ended only when its child has another parent.
        Ok(ForkResult::Parent { child }) => std::process::exit(waitpid(child, None).map_or(EXIT_BUG, |_| 0)),
        Err(_) => std::process::exit(EXIT_BUG),
    }
    // SAFETY: the same.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => super::bystander::run(),
        Ok(ForkResult::Parent { .. }) => {}
        Err(_) => std::process::exit(EXIT_BUG),
    }
}

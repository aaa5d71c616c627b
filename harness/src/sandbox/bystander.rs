//! A bystander: a process in the target's world that has nothing to do with the target.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};

use super::message::SpawnRequest;
use super::role::BYSTANDER;
use super::world::{Sandbox, SandboxError};
use crate::id::Pid;

/// One that lives until it is dropped, unless somebody ends it.
#[derive(Debug)]
pub struct Bystander {
    pid: Pid,
    /// It waits for this pipe's end of file.
    _alive: OwnedFd,
}

impl Bystander {
    /// Starts it.
    ///
    /// # Errors
    /// As [`Sandbox::spawn`].
    pub fn start(sandbox: &Sandbox) -> Result<Bystander, SandboxError> {
        let failed = |source: io::Error| SandboxError::Resource { action: "prepare a bystander", source };
        let (far, alive) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let null = || File::options().write(true).open("/dev/null").map(OwnedFd::from).map_err(failed);
        // Inside the init this is our executable too.
        let request = SpawnRequest {
            program: "/proc/self/exe".to_owned(),
            argv: vec![BYSTANDER.to_string_lossy().into_owned()],
            ..SpawnRequest::default()
        };
        let spawned = sandbox.spawn(&request, [far, null()?, null()?])?;
        Ok(Bystander { pid: spawned.pid, _alive: alive })
    }

    /// As the target sees it.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

/// The role: waits for the end of standard input, as any program that has nothing to do.
pub(super) fn run() {
    let mut byte = [0];
    while let Err(rustix::io::Errno::INTR) = rustix::io::read(std::io::stdin(), &mut byte) {}
}

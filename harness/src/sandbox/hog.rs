//! A processor hog: one busy process per processor, so that no verdict can rest on a quiet machine.

use std::hint::spin_loop;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::pipe::{PipeFlags, pipe_with};

use super::role::{HOG, handed};
use crate::kernel::clone::{CloneError, Namespaces, Role, execute_self};
use crate::kernel::pidfd::Pidfd;
use crate::target::Signal;

/// Hogs every processor as long as it lives. Its processes also end with the harness, however that ends.
#[derive(Debug)]
pub struct Hog {
    /// The hogs wait for its end of file.
    _alive: OwnedFd,
    processes: Vec<Pidfd>,
}

impl Hog {
    /// Begins.
    ///
    /// # Errors
    /// When a process cannot be made.
    pub fn start() -> Result<Hog, CloneError> {
        let (far, alive) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| CloneError::Clone(errno.into()))?;
        let mut hog = Hog { _alive: alive, processes: Vec::new() };
        let descriptors = [far.as_fd()];
        let role = Role { name: HOG, argument: None, namespaces: Namespaces::NONE, descriptors: &descriptors };
        for _ in 0..thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            hog.processes.push(execute_self(&role)?.pidfd);
        }
        Ok(hog)
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        for process in &self.processes {
            // Ours until it is reaped below: it cannot be a stranger. SIGKILL cannot fail on a child that has ended.
            let _ended = process.send_signal(Signal(libc::SIGKILL));
            let _status = process.reap();
        }
    }
}

/// The role: burns one processor until the other end of the pipe is closed.
pub(super) fn run() {
    let alive = handed(0);
    // Like any other program of the machine: in our session it would eat our own share where the kernel groups tasks
    // by session (sched(7), autogroup). A process that leads its group already is refused, and is fine as it is.
    let _leads = rustix::process::setsid();
    let waiting = thread::spawn(move || {
        let mut byte = [0];
        while let Err(rustix::io::Errno::INTR) = rustix::io::read(&alive, &mut byte) {}
        std::process::exit(0)
    });
    while !waiting.is_finished() {
        for _ in 0..1_000 {
            spin_loop();
        }
    }
}

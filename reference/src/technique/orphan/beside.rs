//! A helper beside the daemon: another program, which the daemon starts and ends.
//!
//! It gets nothing of the daemon's but the standard streams and a clean environment: it may outlive a daemon that is killed, and
//! whatever it holds then (a lock, a port) is missing at the next start. Nor does it get what the daemon has set for itself: with
//! SIGPIPE ignored, `helper | head` never ends.

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::defect::Defect;
use crate::log::Log;
use crate::poll;
use crate::process::{Child, Program};

/// How long a helper may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running helper; dropped, it is ended.
pub(super) struct Helper {
    child: Arc<Child>,
    /// Reaps it whenever it ends: nobody else would before the daemon's own end.
    watcher: Option<JoinHandle<()>>,
}

impl Helper {
    /// Starts it. `handed` is empty, but for the defect that hands something on.
    ///
    /// # Errors
    /// What fork(2), pidfd_open(2) or starting a thread report. A program that cannot be executed is a helper that has ended.
    pub(super) fn start(words: &[OsString], handed: &[BorrowedFd<'_>], defect: Option<Defect>) -> io::Result<Self> {
        let program = Program::other(words)?;
        let program = match defect {
            Some(Defect::Sigpipe) => program.ignoring_sigpipe(),
            Some(Defect::EnvironmentMarker) => program.with_variable("_ORPHAN_CHILD", "1")?,
            _ => program,
        };
        let child = Arc::new(program.spawn(handed)?);
        let mut helper = Self { child: Arc::clone(&child), watcher: None };
        helper.watcher = Some(Builder::new().spawn(move || watch(&child))?);
        Ok(helper)
    }
}

/// Waits for its end, whatever the reason, and tells it.
fn watch(helper: &Child) {
    let ended = poll::until(&mut [poll::readable(helper)], None).and_then(|_ended| helper.reap());
    match ended {
        Ok(Some(exit)) => Log::daemon().line(format_args!("helper {} ended: {exit}", helper.pid())),
        Ok(None) => {}
        Err(error) => Log::daemon().line(format_args!("cannot wait for helper {}: {error}", helper.pid())),
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.child.signal(Signal::TERM);
        let ended = poll::until(&mut [poll::readable(&*self.child)], Some(Instant::now() + PATIENCE));
        if !ended.is_ok_and(|ended| ended) {
            self.child.signal(Signal::KILL);
        }
        // Reaped by then; one that panicked has left that to pid 1.
        let _ = self.watcher.take().map(JoinHandle::join);
    }
}

//! The helpers of a daemon: what they inherit, and a start beside those whose daemon was killed.

use crate::clock::Interval;
use crate::event::{RestartBeside, What};
use crate::id::Image;
use crate::run::daemon::{KILL_LIMIT, REST};
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::target::Signal;

impl Stage<'_> {
    /// A start with variables in its environment that a supervisor sets for one process alone.
    pub(super) fn start_addressed(&mut self) -> Result<(), RunError> {
        self.ties.addressed = true;
        let started = self.start();
        self.ties.addressed = false;
        started
    }

    /// Those variables. Whoever believes all of them finds no socket and nobody to notify.
    pub(super) fn addressed(&self) -> [(String, String); 3] {
        let nobody = self.target_dir.join("nobody.sock").display().to_string();
        // Whoever launches the target is not the target.
        let stranger = self.sandbox.init_pid().to_string();
        let variables = [("NOTIFY_SOCKET", nobody), ("LISTEN_PID", stranger), ("LISTEN_FDS", "0".to_owned())];
        variables.map(|(name, value)| (name.to_owned(), value))
    }

    /// Kills the main process, and starts the target again while its other processes live on.
    pub(super) fn restart_beside(&mut self) -> Result<(), RunError> {
        let Some(main) = self.main.take() else { return Ok(()) };
        let began = self.clock.now();
        let killed = main.pidfd.send_signal(Signal(libc::SIGKILL));
        killed.map_err(|error| RunError::Environment(format!("failed to kill the main process: {error}")))?;
        if !self.within(KILL_LIMIT, || yes(main.pidfd.has_exited()))? {
            return Err(RunError::Environment("failed to kill the main process: it lives on".to_owned()));
        }
        // Who ends with the main process ends at once.
        let _alone = self.within(REST, || yes(self.living().is_ok_and(|living| living.is_empty())))?;
        let survivors = self.living()?;
        self.start_beside()?;
        let helpers: Vec<Image> = survivors.into_iter().filter(|image| self.lives(*image)).collect();
        let answer = self.main.as_ref().map(|_main| self.ask()).transpose()?;
        let what = RestartBeside { killed: main.image.pid, helpers: helpers.clone(), answer };
        self.sink.put(Interval::new(began, self.clock.now()), What::RestartedBeside(what));
        self.end_all(&helpers)
    }

    /// Kills these, whom nobody else ends, and waits until they are gone.
    fn end_all(&self, images: &[Image]) -> Result<(), RunError> {
        for image in images.iter().filter(|image| self.lives(**image)) {
            // One that has ended meanwhile is what was wanted.
            let _gone = self.sandbox.open_pid(image.pid).map(|it| it.send_signal(Signal(libc::SIGKILL)));
        }
        let gone = self.within(KILL_LIMIT, || yes(images.iter().all(|image| !self.lives(*image))))?;
        if gone { Ok(()) } else { Err(RunError::Environment("failed to end what a daemon left".to_owned())) }
    }
}

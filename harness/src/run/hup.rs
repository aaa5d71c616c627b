//! SIGHUP, and connections that the target closes first: what an operator does to a service from one day to the next.

use std::time::Duration;

use crate::clock::Interval;
use crate::event::{Answer, What};
use crate::manifest::MainProcess;
use crate::ready;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::target::Signal;

/// A signal kills at once; whoever still lives after this was not killed by it.
const KILL_WINDOW: Duration = Duration::from_millis(200);

/// One connection in TIME_WAIT keeps the address; a few more, in case that one is lost.
const CLOSED: u32 = 4;

/// How long a server may take to close a connection after its last answer.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

impl Stage<'_> {
    /// SIGHUP to the main process.
    pub(super) fn hup(&self) -> Result<(), RunError> {
        let Some(main) = &self.main else { return Ok(()) };
        if let Err(error) = main.pidfd.send_signal(Signal(libc::SIGHUP)) {
            self.action_failed("signal HUP to main", &error.to_string());
            return Ok(());
        }
        let lives = !main.pidfd.wait(KILL_WINDOW);
        // One that reloads may be away for a moment; one that was killed is away for good.
        let limit = if lives { self.plan.target.deadlines.answer } else { Duration::ZERO };
        let mut answer = self.ask()?;
        let _answered = self.within(limit, || {
            if answer != Answer::Answered {
                answer = self.ask().unwrap_or_else(|error| Answer::Missing(error.to_string()));
            }
            yes(answer == Answer::Answered)
        })?;
        self.sink.put_at(self.clock.now(), What::HupSent { lives, answer });
        Ok(())
    }

    /// SIGHUP to a main process that says of itself that it announces its reloads.
    pub(super) fn reload(&mut self) -> Result<(), RunError> {
        let (Some(main), Some(notified)) = (&self.main, self.observers.notified()) else { return Ok(()) };
        let before = notified.count();
        let asked = self.clock.now();
        if let Err(error) = main.pidfd.send_signal(Signal(libc::SIGHUP)) {
            self.action_failed("signal HUP to main", &error.to_string());
            return Ok(());
        }
        self.sink.put(Interval::new(asked, self.clock.now()), What::ReloadAsked);
        let limit = self.plan.target.deadlines.upgrade;
        let over = || notified.said("RELOADING=1", before).and_then(|begun| notified.said("READY=1", begun));
        if !self.within(limit, || yes(over().is_some()))? {
            self.deadline_passed("reload", limit);
        }
        if self.plan.target.main == MainProcess::Pidfile {
            self.find_main()?;
        }
        Ok(())
    }

    /// Lets the target close connections first, and tells how many of them are remembered.
    pub(super) fn close_first(&self) -> Result<(), RunError> {
        let endpoint = &self.plan.target.endpoints[0];
        // Nothing tells the target to; the check says so.
        if !endpoint.announces_ends() {
            return Ok(());
        }
        for _ in 0..CLOSED {
            if let Err(error) = ready::closed_first(self.clients_netns(), endpoint, CLOSE_LIMIT) {
                self.action_failed("close-first", &format!("{error:?}"));
            }
        }
        let port = endpoint.address.port();
        let count = || self.diag.borrow_mut().time_wait(port);
        // Our own end of the stream was the last one; the kernel may still be delivering it.
        let _all = self.within(CLOSE_LIMIT, || yes(count().is_ok_and(|it| it > 0)))?;
        self.sink.put_at(self.clock.now(), What::ClosedFirst { time_wait: count()? });
        Ok(())
    }
}

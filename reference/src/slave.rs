//! A child of the master: what it is doing, and until when.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::drain::Patience;
use crate::log::slave_name;
use crate::process::Child;

/// How much longer than its own drain deadline a generation may live: it needs a moment to notice.
const DRAIN_SLACK: Duration = Duration::from_secs(1);

/// Where a child is in its life.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Started, not ready yet; brings a listener of its own if the succession overlaps.
    Starting { deadline: Instant, own_listener: Option<TcpListener> },
    /// Accepts connections.
    Serving { since: Instant },
    /// Has been told to finish.
    Draining { deadline: Instant },
    /// Has been killed, is not reaped yet. One that was never ready is a failed upgrade; one that was has only lost patience.
    Killed { was_ready: bool },
}

/// A child and the read end of its readiness pipe.
#[derive(Debug)]
pub(crate) struct Slave {
    pub(crate) child: Child,
    pub(crate) ready: OwnedFd,
    pub(crate) stage: Stage,
}

impl Slave {
    /// How it is called in the log.
    pub(crate) fn name(&self) -> String {
        slave_name(self.child.pid())
    }

    /// It accepts connections.
    pub(crate) fn is_serving(&self) -> bool {
        matches!(self.stage, Stage::Serving { .. })
    }

    /// It has been told to finish.
    pub(crate) fn is_draining(&self) -> bool {
        matches!(self.stage, Stage::Draining { .. })
    }

    /// It serves, and has since before this instant.
    pub(crate) fn serves_since(&self, before: Instant) -> bool {
        matches!(self.stage, Stage::Serving { since } if since <= before)
    }

    /// It is not ready yet.
    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.stage, Stage::Starting { .. })
    }

    /// It never was ready.
    pub(crate) fn is_unready(&self) -> bool {
        matches!(self.stage, Stage::Starting { .. } | Stage::Killed { was_ready: false })
    }

    /// When it has taken too long, if it can.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Starting { deadline, .. } | Stage::Draining { deadline } => Some(deadline),
            Stage::Serving { .. } | Stage::Killed { .. } => None,
        }
    }

    /// Tells it to finish.
    pub(crate) fn drain(&mut self, patience: Patience) {
        self.child.signal(Signal::TERM);
        self.stage = Stage::Draining { deadline: Instant::now() + patience.timeout + DRAIN_SLACK };
    }

    /// Ends it; it is still to be reaped.
    pub(crate) fn kill(&mut self) {
        self.child.signal(Signal::KILL);
        let was_ready = !self.is_unready();
        self.stage = Stage::Killed { was_ready };
    }
}

//! Launches with a mark of inheritance in the environment, and nothing to inherit, or something else.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::clock::Interval;
use crate::event::{ExitStatus, MarkedOutcome, What};
use crate::ready::Probe;
use crate::run::daemon::listen;
use crate::run::start::Launched;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::target::Signal;

/// The marks: of the article's server, of go-daemon, and of socket activation (sd_listen_fds(3), without LISTEN_PID).
const MARKS: [(&str, &str); 3] = [("is_slave", "true"), ("_GO_DAEMON", "1"), ("LISTEN_FDS", "1")];

/// A probe that takes longer is given up and another one sent.
const PROBE_LIMIT: Duration = Duration::from_millis(250);

/// One that is silent for longer than this, and for more than twice as long as a clean start takes, stays so. The start
/// deadline may be minutes, where a start has to compile something first.
const SILENCE_MIN: Duration = Duration::from_secs(5);

impl Stage<'_> {
    /// Two launches per mark, each ended before the next: one without a descriptor 3, and one with a listener there that
    /// is somebody else's.
    pub(super) fn marked_starts(&mut self) -> Result<(), RunError> {
        MARKS.iter().try_for_each(|mark| self.marked_start(&[*mark], ""))?;
        // On an address that is nobody's endpoint.
        let foreign = listen(self.sandbox.netns(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        self.lent = Some(foreign.into());
        let with = " and somebody's listener as descriptor 3";
        let lent = MARKS.iter().try_for_each(|mark| self.marked_start(&[*mark], with));
        self.lent = None;
        lent
    }

    /// A launch with sockets announced that are meant for another process, and no such socket.
    pub(super) fn stale_listen_pid(&mut self) -> Result<(), RunError> {
        // Whoever launches the target is not the target.
        let stranger = self.sandbox.init_pid().to_string();
        self.marked_start(&[("LISTEN_PID", stranger.as_str()), ("LISTEN_FDS", "1")], "")
    }

    fn marked_start(&mut self, variables: &[(&str, &str)], with: &str) -> Result<(), RunError> {
        let began = self.clock.now();
        let launched = self.launch_with(variables)?;
        let limit = self.plan.target.deadlines.start.min(SILENCE_MIN.max(self.start_took * 2));
        let mut answered = false;
        let _decided = self.within(limit, || {
            let ended = launched.pidfd.has_exited();
            // Asked after the look at the process: one that ended before can have answered nothing since.
            answered = matches!(self.probe(0, PROBE_LIMIT), Ok(Probe::Answered { .. }));
            yes(answered || (ended && !self.plan.target.launch.returns))
        })?;
        let outcome = if answered {
            MarkedOutcome::Answered
        } else if launched.pidfd.has_exited() {
            MarkedOutcome::Ended(self.exit_status_of(&launched).unwrap_or(ExitStatus::Unknown))
        } else {
            MarkedOutcome::Silent
        };
        let mark: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let what = What::MarkedStart { mark: format!("{}{with}", mark.join(" ")), outcome };
        self.sink.put(Interval::new(began, self.clock.now()), what);
        self.end_marked(launched, answered)
    }

    /// Stopped as declared where it came up, else killed: it is no server that could end well.
    fn end_marked(&mut self, launched: Launched, is_up: bool) -> Result<(), RunError> {
        self.launched = Some(launched);
        if is_up {
            self.find_main()?;
            self.stop_target()?;
        }
        let procfs = self.sandbox.procfs();
        for stat in procfs.scan()?.into_iter().filter(|stat| !stat.is_dead()) {
            // Whoever is gone meanwhile needs no signal.
            let _gone = self.sandbox.open_pid(stat.image.pid).map(|pidfd| pidfd.send_signal(KILL));
        }
        let limit = self.plan.target.deadlines.stop;
        self.within(limit, || yes(procfs.scan().is_ok_and(|all| all.iter().all(|stat| stat.is_dead())))).map(|_| ())
    }
}

/// SIGKILL cannot be caught.
const KILL: Signal = Signal(libc::SIGKILL);

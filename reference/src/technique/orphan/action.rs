//! What `orphan` does beside starting: the actions of an init script on the daemon that its pidfile names.
//!
//! Exit codes are those of LSB 5.0 Core, "Init Script Actions". One difference: a start that finds a running daemon fails there
//! not, and here it does, because whoever starts a second one with other options must not believe that these are in force.

use std::io::Write;

use clap::ValueEnum;
use rustix::process::Signal;

use super::Options;
use crate::control::{self, ControlError, Found};
use crate::defect::Defect;
use crate::run::Failure;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// Put a daemon into the background
    Start,
    /// Tell it to stop and wait for its end; none is as good
    Stop,
    /// Stop, then start: refuses connections in between
    Restart,
    /// SIGHUP: it has no configuration, and opens its log anew
    Reload,
    /// SIGHUP: it opens its log anew
    Reopen,
    /// Say whether it runs, and change nothing
    Status,
}

/// "program is dead and /var/run pid file exists".
const DEAD: u8 = 1;
/// "program is not running", of status.
const NOT_RUNNING: u8 = 3;
/// "program or service status is unknown".
const UNKNOWN: u8 = 4;
/// "user had insufficient privilege", of other actions.
const FORBIDDEN: u8 = 4;
/// "program is not running", of other actions.
const NOBODY: u8 = 7;

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let code = match error {
            ControlError::NotRunning => NOBODY,
            ControlError::Forbidden(_) | ControlError::Unproven(_) => FORBIDDEN,
            ControlError::NotRegular(_) | ControlError::Lasts(..) | ControlError::Io(..) => 1,
        };
        Self { code, reason: format!("daemon is not told: {error}") }
    }
}

/// SIGHUP.
pub(super) fn hang_up(options: &Options) -> Result<(), Failure> {
    Ok(control::find(&options.pidfile)?.signal(Signal::HUP)?)
}

/// SIGTERM, and its end. Where there is none, nothing is left to do.
pub(super) fn stop(options: &Options) -> Result<(), Failure> {
    if options.defect == Some(Defect::NeverHitsStranger) {
        return Ok(control::believe(&options.pidfile)?);
    }
    match control::find(&options.pidfile) {
        Ok(running) => Ok(running.stop(options.stop_timeout())?),
        Err(ControlError::NotRunning) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A line on standard output, and its code.
pub(super) fn status(options: &Options) -> Result<u8, Failure> {
    let path = options.pidfile.display();
    let found = control::search(&options.pidfile);
    if let (Some(Defect::StatusReadOnly), Ok(Found::Foreign(_) | Found::Stale)) = (options.defect, &found) {
        let _ = std::fs::remove_file(&options.pidfile);
    }
    let (code, text) = match found {
        Ok(Found::Alive(running)) => (0, format!("running, pid {}", running.pid())),
        Ok(Found::Unproven(pid)) => {
            (0, format!("running, pid {pid} (whether the lock is its own is not shown to this user)"))
        }
        Ok(Found::Foreign(pid)) => (DEAD, format!("not running: {path} is left over, process {pid} is another one")),
        Ok(Found::Stale) => (DEAD, format!("not running: {path} is left over")),
        Ok(Found::Emptied | Found::Absent) => (NOT_RUNNING, "not running".to_owned()),
        Ok(Found::NotRegular) => (UNKNOWN, format!("unknown: {path} is not a regular file")),
        Err(error) => (UNKNOWN, format!("unknown: {path}: {error}")),
    };
    // Who does not read it has the code.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(code)
}

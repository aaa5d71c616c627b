//! How much the load itself can be believed: against servers of our own that do each harm a known number of times, the driver must report
//! exactly those, under exactly the right class.
//!
//! Everything happens in a network namespace of its own, whose counters are nobody else's: what is a race is held against the kernel's
//! own count. Three questions:
//!
//! - `harms`: is every failure reported, as what it was, and nothing else? None missed, none invented.
//! - `gaps`: how short a time without a listener is still seen, by the load alone, and by the listener's identity?
//! - `schedule`: how late is the load itself?

mod gaps;
mod harms;
mod server;

use std::io;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use serde::Serialize;
use thiserror::Error;

pub use gaps::GapRow;
pub use harms::HarmRow;

use crate::date;
use crate::drive::{DrivePlan, Latencies, Pace};
use crate::kernel::namespace::{NamespaceError, loopback_up};
use crate::load::fast::{DriveError, drive};
use crate::machine::Machine;
use crate::summary;
use crate::wait::Stop;

/// The number of the JSON form.
pub const FORMAT: u32 = 1;

/// Requests a second of the schedule whose lateness is told.
const SCHEDULE_RATE: f64 = 10_000.0;
/// For how long.
const SCHEDULE_LASTS: Duration = Duration::from_secs(5);

/// The result.
#[derive(Debug, Clone, Serialize)]
pub struct CalibrationReport {
    /// The number of the format.
    pub format: u32,
    /// Version of this program.
    pub version: &'static str,
    /// Commit of the source, where it is known.
    pub commit: Option<String>,
    /// When it began (UTC).
    pub began: String,
    /// The machine.
    pub machine: Machine,
    /// How often each harm was done at least, and each gap made.
    pub times: u32,
    /// Everything was reported as what it was.
    pub ok: bool,
    /// A line for each harm.
    pub harms: Vec<HarmRow>,
    /// A line for each length of a gap and each rate.
    pub gaps: Vec<GapRow>,
    /// The load's own lateness.
    pub schedule: Schedule,
}

/// How late an open loop is by its own fault.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Schedule {
    /// Requests a second.
    pub rate: f64,
    /// Send time minus due time, in nanoseconds.
    pub lateness: Latencies,
    /// Processor time of the load's thread, as a share of one processor.
    pub processor: f64,
}

/// Why nothing could be calibrated.
#[derive(Debug, Error)]
pub enum CalibrationError {
    /// No network namespace.
    #[error("make a network namespace of its own")]
    Unshare(#[source] io::Error),
    /// Its loopback.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A socket, or a dump of the kernel's.
    #[error("serve the load")]
    Serve(#[from] io::Error),
    /// The driver.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// It was asked to stop.
    #[error("calibrate: interrupted")]
    Interrupted,
}

/// Calibrates; on a thread of its own, which enters the namespace for good.
///
/// # Errors
/// [`CalibrationError`]. What is reported wrongly is in the report.
pub fn calibrate(
    machine: &Machine,
    times: u32,
    stop: &Stop,
    see: &mut (dyn FnMut(&str) + Send),
) -> Result<CalibrationReport, CalibrationError> {
    let began = date::now_rfc3339();
    std::thread::scope(|scope| {
        let calibrating = std::thread::Builder::new().name("calibrate".to_owned()).spawn_scoped(scope, || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| CalibrationError::Unshare(errno.into()))?;
            loopback_up()?;
            let harms = harms::harms(times, stop, see)?;
            let gaps = gaps::gaps(times, stop, see)?;
            see("schedule");
            let schedule = schedule(stop)?;
            if stop.is_asked() {
                return Err(CalibrationError::Interrupted);
            }
            Ok(CalibrationReport {
                format: FORMAT,
                version: env!("CARGO_PKG_VERSION"),
                commit: summary::commit(),
                began,
                machine: machine.clone(),
                times,
                ok: harms.iter().all(|row| row.ok) && gaps.iter().all(|row| row.by_identity == row.made),
                harms,
                gaps,
                schedule,
            })
        });
        let ended = calibrating?.join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The lateness of a load at a rate, beside a server that answers at once.
fn schedule(stop: &Stop) -> Result<Schedule, CalibrationError> {
    let server = server::Server::start(server::answers)?;
    let plan = DrivePlan {
        pace: Pace::PerSecond(SCHEDULE_RATE),
        duration: SCHEDULE_LASTS,
        ..DrivePlan::new(server.address())
    };
    let report = drive(&plan, SCHEDULE_LASTS, stop, &mut |_| {})?;
    let lateness = report.lateness.unwrap_or(report.latency);
    let share = report.processor as f64 / report.took.max(1) as f64;
    Ok(Schedule { rate: SCHEDULE_RATE, lateness, processor: (share * 1e3).round() / 1e3 })
}

//! A load that is driven by itself: what is asked, and what came of it. [`crate::load::fast`] drives it.

mod audit;
pub mod codec;
mod heading;
mod outcome;
mod plan;
mod stretch;
mod view;

pub use audit::disagreement;
pub use codec::Record;
pub use heading::{FORMAT, Heading};
pub(crate) use outcome::times;
pub use outcome::{DriveReport, Interval, Latencies, Lost, Seen};
pub use plan::{CONNECTIONS_MAX, DrivePlan, Pace, Peer, PlanError, RATE_MAX, Source, THREADS_MAX, UnixName};
pub use stretch::{Outage, Silence, longest_silence, outages};
pub use view::ApplicationView;

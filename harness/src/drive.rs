//! A load that is driven by itself: what is asked, and what came of it. [`crate::load::fast`] drives it.

mod outcome;
mod plan;
mod view;

pub use outcome::{DriveReport, Interval, Latencies, Lost};
pub use plan::{CONNECTIONS_MAX, DrivePlan, Pace, PlanError, RATE_MAX, Source};
pub use view::ApplicationView;

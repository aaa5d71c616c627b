//! Old connections during an upgrade.

pub mod deadline_kept;
pub mod inflight_completes;
pub mod keepalive_race;
pub mod keepalive_swallowed;
pub mod old_exits_idle;
mod residence;

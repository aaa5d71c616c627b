//! Old connections during an upgrade.

pub mod inflight_completes;
pub mod keepalive_race;
pub mod keepalive_swallowed;
mod residence;

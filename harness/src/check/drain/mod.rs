//! Old connections during an upgrade.

pub mod close_announced;
pub mod close_code;
pub mod deadline_kept;
pub mod deadline_not_early;
mod farewell;
pub mod first_request;
pub mod fresh_not_closed;
pub mod goaway;
pub mod h2_streams;
mod held;
pub mod inflight_completes;
pub mod keepalive_race;
pub mod keepalive_swallowed;
pub mod late_work;
pub mod no_spin;
pub mod old_exits_idle;
pub mod partial_request;
mod paused;
mod residence;
pub mod response_not_reset;
pub mod spread;
pub mod stream_intact;
pub mod upload_completes;
pub mod websocket;

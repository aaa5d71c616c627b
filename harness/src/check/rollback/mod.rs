//! When the new version is bad.

pub mod bad_config;
pub mod crashes;
pub mod dies_after_ready;
pub mod exits;
pub mod hangs;
pub mod not_sticky;
pub mod out_of_resources;
pub mod reaped;
pub mod reported;

//! When the new version is bad.

pub mod crashes;
pub mod exits;
pub mod hangs;
pub mod not_sticky;
pub mod reaped;

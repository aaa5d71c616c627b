//! When the new version is bad.

pub mod exits;
pub mod not_sticky;

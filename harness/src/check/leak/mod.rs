//! What upgrades leave behind, one after the other.

pub mod descriptors;
pub mod environment;
pub mod listener_elsewhere;
pub mod memory;
pub mod processes;

//! Processes of the target: what `/proc` of its pid namespace says of them.

mod kept;
mod procfs;
mod stat;

pub use procfs::{Descriptor, Procfs, ProcfsError};
pub use stat::{Stat, StatError};

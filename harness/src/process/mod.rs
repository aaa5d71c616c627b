//! Processes of the target: what `/proc` of its pid namespace says of them.

mod kept;
mod procfs;
mod stat;
mod status;

pub use procfs::{Descriptor, Procfs, ProcfsError};
pub use stat::{Stat, StatError};
pub use status::Status;

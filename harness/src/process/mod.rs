//! Processes of the target: what `/proc` of its pid namespace says of them.

mod kept;
mod limits;
mod procfs;
mod stat;
mod status;

pub use limits::limits;
pub use procfs::{Descriptor, Procfs, ProcfsError};
pub use stat::{Stat, StatError};
pub use status::Status;

//! The manifest of a target: the file as written, and the errors that name the place in it.
//!
//! - [`Manifest`] and its parts mirror the file; [`crate::target::Target`] is the validated form
//! - [`Source`] is a text with its name: it reads any of the three kinds of file (manifest, scenario, expectations) and
//!   finds the place of a key in the text
//! - [`ManifestError`] is one [`Problem`] at one place, rendered as an excerpt with a caret and the fix
//!
//! Texts may hold placeholders; [`crate::target::Template`] says which.

mod document;
mod error;
mod key_path;
mod nearest;
mod problem;
mod read;
mod restart;
mod schema;
mod source;

pub use document::{
    Build, Capability, Commands, ConfigFile, Deadlines, Endpoint, File, Launch, LogFile, MainProcess, Manifest,
    Privileges, Profile, Program, Protocol, Ready, Reopen, Role, Slow, SlowInit, Stall, Stop, Stream, Upload,
};
pub use error::ManifestError;
pub use key_path::{KeyPath, Part};
pub use nearest::nearest;
pub use problem::Problem;
pub(crate) use problem::did_you_mean;
pub use read::ReadProblem;
pub use restart::{Await, Done, Recipient, Restart, RestartStep, Watch, WatchKind};
pub use schema::schema;
pub use source::Source;

//! The implementation under test, typed: a manifest that was validated. An invalid one cannot exist.
//!
//! - [`Target`] and its parts, made from a manifest by [`Target::validate`]
//! - [`Template`], a text with placeholders, and [`Signal`], a signal by its number
//! - what can be wrong: [`TextProblem`] in one text, [`TargetProblem`] between keys, [`RestartProblem`] in `[restart]`

mod claim;
mod further;
mod problem;
mod restart;
mod restart_problem;
mod signal;
mod template;
mod text;
mod typed;
mod validate;
mod validate_restart;

pub use further::{FurtherAddress, TargetFurther};
pub use problem::TargetProblem;
pub use restart::{TargetAwait, TargetRecipient, TargetRestart, TargetRestartStep, TargetWatch};
pub use restart_problem::RestartProblem;
pub use signal::{Signal, SignalSet};
pub use template::{Placeholders, Template};
pub use text::TextProblem;
pub(crate) use text::{check_id, name};
pub use typed::{
    Claim, Target, TargetBuild, TargetCommands, TargetConfigFile, TargetDeadlines, TargetEndpoint, TargetFile,
    TargetLaunch, TargetLog, TargetPrivileges, TargetReady, TargetSlowInit, TargetStop,
};

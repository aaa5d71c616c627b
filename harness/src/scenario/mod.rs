//! A scenario (test case): a flat list of steps from a closed vocabulary, and the checks that judge the run.
//! No conditions, loops or variables: when one seems needed, add a step with a name.
//!
//! [`Script`] is the file as written, [`Scenario`] the validated form.

mod problem;
mod script;
mod validate;

pub use problem::ScriptProblem;
pub use script::{Launcher, Network, NotifyAddress, Pace, Scenario, Script, Step, Supervisor, Way, schema};

//! What can be wrong with a file, by the part that finds it.

use super::ReadProblem;
use crate::expectation::ExpectationProblem;
use crate::scenario::ScriptProblem;
use crate::target::{RestartProblem, TargetProblem, TextProblem};

/// What is wrong with a file. The text is the title of the error; [`Problem::fix`] says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not TOML, or not of the right shape.
    #[error(transparent)]
    Read(#[from] ReadProblem),
    /// A text in it cannot be what it stands for.
    #[error(transparent)]
    Text(#[from] TextProblem),
    /// The parts of a target contradict each other.
    #[error(transparent)]
    Target(#[from] TargetProblem),
    /// A target's restart cannot work.
    #[error(transparent)]
    Restart(#[from] RestartProblem),
    /// A scenario cannot be run in this order.
    #[error(transparent)]
    Script(#[from] ScriptProblem),
    /// An expectation says too little.
    #[error(transparent)]
    Expectation(#[from] ExpectationProblem),
    /// A command in it cannot be executed: found only when it is tried.
    #[error("cannot execute `{command}`: {reason}")]
    Command {
        /// Its first word.
        command: String,
        /// What the system said.
        reason: String,
        /// What to do.
        fix: &'static str,
    },
}

impl Problem {
    /// What to do about it, as an imperative sentence without a full stop.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Problem::Read(problem) => problem.fix(),
            Problem::Text(problem) => problem.fix(),
            Problem::Target(problem) => problem.fix(),
            Problem::Restart(problem) => problem.fix(),
            Problem::Script(problem) => problem.fix(),
            Problem::Expectation(problem) => problem.fix(),
            Problem::Command { fix, .. } => (*fix).to_owned(),
        }
    }
}

/// "did you mean `x`?", or else the words that may stand there.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match super::nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let words: Vec<String> = known.into_iter().map(|word| format!("`{word}`")).collect();
            format!("use one of: {}", words.join(", "))
        }
    }
}

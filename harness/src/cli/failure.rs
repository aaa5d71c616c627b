//! Why a command could not do its work: one text and one exit code.

use std::fmt::Display;

use thiserror::Error;

use crate::manifest::ManifestError;
use crate::summary::Exit;

/// A command that cannot do its work. What a target did wrong is no failure: that is in the report.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The command line says something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// A manifest, scenario or expectations file that cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A manifest that is well formed but cannot be carried out (command not found, not executable).
    #[error("failed to {0:#}")]
    Unusable(anyhow::Error),
    /// The words select nothing that could be judged.
    #[error("{0}")]
    NothingSelected(String),
    /// The environment broke.
    #[error("failed to {0:#}")]
    Environment(anyhow::Error),
}

impl Failure {
    /// An unknown name, with the nearest one that exists.
    pub(super) fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Failure {
        let hint = match crate::manifest::nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`unbroken list` shows all there is".to_owned(),
        };
        Failure::Usage(format!("there is no {what} `{name}`: {hint}"))
    }

    /// An effect that failed; `what` completes "failed to …".
    pub(super) fn environment(what: impl Display, source: impl Into<anyhow::Error>) -> Failure {
        Failure::Environment(source.into().context(what.to_string()))
    }

    /// The code that the command ends with.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Failure::Usage(_) | Failure::Manifest(_) | Failure::Unusable(_) => Exit::Usage,
            Failure::NothingSelected(_) => Exit::NothingSelected,
            Failure::Environment(_) => Exit::Environment,
        }
    }

    /// What standard error shows, with a line break at its end.
    pub(super) fn told(&self, colour: bool) -> String {
        match self {
            Failure::Manifest(error) => error.render(colour),
            other => format!("unbroken: {other}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_that_failed_reads_as_one_sentence_with_its_causes() {
        let failure = Failure::environment("write the report r.json", std::io::Error::other("disk full"));
        assert_eq!(failure.told(false), "unbroken: failed to write the report r.json: disk full\n");
        assert_eq!(failure.exit().code(), 6);
    }

    #[test]
    fn an_unknown_name_comes_with_the_nearest() {
        let failure = Failure::unknown("target", "ngnix", ["nginx", "reference"]);
        assert_eq!(failure.to_string(), "there is no target `ngnix`: did you mean `nginx`?");
    }
}

//! What can be wrong with a restart.

use crate::manifest::Protocol;

/// Why a restart cannot work as written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestartProblem {
    /// No step acts.
    #[error("no step makes the target restart")]
    NoTrigger,
    /// A wait before anything was done.
    #[error("this waits before anything made the target restart")]
    WaitsFirst,
    /// The new version is waited for, and no answer carries a version.
    #[error("no answer of the first endpoint carries a version")]
    NoVersionHeader,
    /// The new version is waited for, and no answer can carry a version.
    #[error("no answer of the first endpoint carries a version: its protocol `{}` has no header", .protocol.word())]
    NoVersionSpoken {
        /// It.
        protocol: Protocol,
    },
    /// The new version is waited for and never deployed.
    #[error("the new version is waited for, but no step deploys one")]
    NothingDeployed,
    /// The new version is waited for and nothing changes with it.
    #[error("a new version is deployed, but nothing in the target depends on it")]
    NothingVersioned,
    /// The old generation's exit is waited for, which a stalled one never does.
    #[error("stalled workers cannot exit, so with the capability `stall` this never happens")]
    StalledForEver,
}

impl RestartProblem {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            RestartProblem::NoTrigger => {
                "add the step that triggers it: `signal`, `run`, `launch`, `touch`, `replace` or `rewrite` \
                 (a `deploy` alone is one only where it changes the watched file)"
            }
            RestartProblem::WaitsFirst => "put the step that triggers the restart before it",
            RestartProblem::NoVersionHeader => {
                "add `version_header` to the endpoint, or use another event: `old-main-exit`, `steps`"
            }
            RestartProblem::NoVersionSpoken { .. } => {
                "use another event: `{ output = \"…\" }` or `old-main-exit` for `done`, `old-main-exit` or `new-main` for `wait`"
            }
            RestartProblem::NothingDeployed => "put the step \"deploy\" first, or set `done = \"old-main-exit\"`",
            RestartProblem::NothingVersioned => "use `{version}` in one of `files`, or start `{self}`",
            RestartProblem::StalledForEver => {
                "wait for another event such as `new-version`, or disclaim `stall` with this reason"
            }
        }
        .to_owned()
    }
}

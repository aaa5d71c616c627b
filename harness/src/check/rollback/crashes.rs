//! rollback/crashes: a new version that is killed by a signal while it starts changes nothing.

use crate::check::Check;
use crate::check::rollback::exits::serves_on;
use crate::event::Broken;
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "rollback/crashes",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::ExecSelf),
    requirement: "When the new generation is killed by a signal while it starts, the old one serves on and nothing is lost.",
    source: "wait(2): the exit code of a process that a signal has killed is no exit code, and WEXITSTATUS reads 0",
    reports: &[],
    observed: "As for rollback/exits, with an executable that is killed by SIGSEGV once it has left its mark.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    serves_on(history, Broken::Crashes)
}

#[cfg(test)]
mod tests {
    use crate::check::rollback::exits::tests::either;
    use crate::event::Broken;

    #[test]
    fn the_old_generation_has_to_serve_on_and_to_lose_nothing() {
        either(Broken::Crashes, Broken::Exits);
    }
}

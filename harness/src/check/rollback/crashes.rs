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
    use crate::check::script::{Script, answered, failed};
    use crate::event::Broken;
    use crate::request::FailureClass;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// A broken upgrade at 1000 ms, the next one at 2000 ms, and a request every 4 ms, answered by `answered_at`.
    fn served(executable: Broken, answered_at: fn(u64) -> u64) -> Script {
        let script = Script::new().broken_by(1000, 1, executable).broken_ran(1005, 1);
        (1010..1900).step_by(4).fold(script, |script, at| script.request(answered(at, answered_at(at), 1)))
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.trigger(2000, 2, 2).history());
        let worst = findings.iter().map(|finding| finding.verdict).max().expect("a finding");
        assert_eq!(worst, want, "{findings:#?}");
    }

    #[test]
    fn an_old_generation_that_serves_on_passes() {
        check(served(Broken::Crashes, |at| at + 1), Pass);
    }

    #[test]
    fn an_old_generation_that_goes_with_the_new_one_fails() {
        check(served(Broken::Crashes, |_at| 2100), Fail);
        check(served(Broken::Crashes, |at| at + 1).request(failed(1020, 1021, FailureClass::Dropped)), Fail);
    }

    #[test]
    fn an_executable_that_exits_proves_nothing_of_one_that_crashes() {
        check(served(Broken::Exits, |at| at + 1), Inconclusive);
    }
}

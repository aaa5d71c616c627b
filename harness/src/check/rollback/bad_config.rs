//! rollback/bad-config: an upgrade to an invalid configuration changes nothing.

use crate::check::Check;
use crate::check::rollback::exits::serves_on;
use crate::event::Broken;
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "rollback/bad-config",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::ConfigFile),
    requirement: "When the configuration is invalid, the old generation serves on and nothing is lost.",
    source: "nginx \"Changing Configuration\": if this fails, the changes are rolled back and the master works with the old one",
    reports: &["haproxy#1883"],
    observed: "As for rollback/exits, with `config_file.invalid` in the configuration's place instead of a broken executable, and \
               somebody who opens that file (inotify(7)) instead of the mark. What lay there before is put back then.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    serves_on(history, Broken::Misconfigured)
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::event::Broken;
    use crate::request::FailureClass;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// An invalid configuration at 1000 ms, the next upgrade at 2000 ms, and a request every 4 ms, answered by `answered_at`.
    fn served(broken: Broken, answered_at: fn(u64) -> u64) -> Script {
        let script = Script::new().broken_by(1000, 1, broken).broken_ran(1005, 1);
        (1010..1900).step_by(4).fold(script, |script, at| script.request(answered(at, answered_at(at), 1)))
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.trigger(2000, 2, 2).history());
        let worst = findings.iter().map(|finding| finding.verdict).max().expect("a finding");
        assert_eq!(worst, want, "{findings:#?}");
    }

    #[test]
    fn an_old_generation_that_serves_on_passes() {
        check(served(Broken::Misconfigured, |at| at + 1), Pass);
    }

    #[test]
    fn one_that_goes_or_loses_something_fails() {
        check(served(Broken::Misconfigured, |_at| 2100), Fail);
        check(served(Broken::Misconfigured, |at| at + 1).request(failed(1020, 1021, FailureClass::Refused)), Fail);
    }

    #[test]
    fn what_else_is_broken_proves_nothing() {
        check(served(Broken::Exits, |at| at + 1), Inconclusive);
    }
}

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
    use crate::check::rollback::exits::tests::either;
    use crate::event::Broken;

    #[test]
    fn the_old_generation_has_to_serve_on_and_to_lose_nothing() {
        either(Broken::Misconfigured, Broken::Exits);
    }
}

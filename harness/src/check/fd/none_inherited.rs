//! fd/none-inherited: what the launcher had open is closed.

use crate::check::Check;
use crate::check::daemon::{of_portraits, open, portraits, unless};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "fd/none-inherited",
    level: Level::Should,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "Descriptors that the launcher had open beside its standard streams are closed in the daemon.",
    source: "daemon(7), \"SysV Daemons\"; close_range(2)",
    reports: &["zmx#119", "nginx and haproxy keep them"],
    observed: "A pipe and a socket are planted in the launcher as descriptors 9 and 200; they are looked for by their inodes in \
               `/proc/PID/fd` of every process of the target at rest after the start.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    if portraits(history).any(|(_, portrait)| portrait.launcher.planted.is_empty()) {
        return vec![Finding::inconclusive("nothing was planted in the launcher")];
    }
    of_portraits(history, |portrait| {
        let kept = open(portrait, |it| portrait.launcher.planted.contains(&it.link));
        unless(kept, format!("{} planted descriptors are closed", portrait.launcher.planted.len()))
    })
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::opened;
    use crate::check::script::daemon::portrayed;
    use crate::event::DaemonPortrait;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(change: impl FnOnce(&mut DaemonPortrait), want: Verdict) {
        assert_eq!(portrayed(&super::CHECK, change), want);
    }

    #[test]
    fn without_a_daemon_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }

    #[test]
    fn closed_ones_pass() {
        check(|_| {}, Pass);
    }

    #[test]
    fn a_kept_one_fails_under_any_number() {
        check(|portrait| opened(portrait, 17, "socket:[91]"), Fail);
    }

    #[test]
    fn nothing_planted_proves_nothing() {
        check(|portrait| portrait.launcher.planted.clear(), Inconclusive);
    }
}

//! pidfile/removed-on-stop: the pidfile goes with its daemon.

use crate::check::Check;
use crate::event::{PidfileChange, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/removed-on-stop",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Pidfile),
    requirement: "After a stop the pidfile is gone.",
    source: "daemon(7), \"SysV Daemons\"",
    reports: &["haproxy leaves it"],
    observed: "The last that inotify told of the file's name, after the declared stop ended the main process. The file lies in a \
               directory that the daemon may write.",
    needs: &[],
    observers: &["pidfile"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let asked = history.find(|what| matches!(what, What::StopAsked { .. }).then_some(())).count();
    let late = history.events.iter().any(|it| matches!(&it.what, What::DeadlinePassed { name, .. } if name == "stop"));
    if asked == 0 || late {
        return vec![Finding::inconclusive("the daemon was not stopped")];
    }
    let states = history.find(|what| match what {
        What::Pidfile { change, inode, .. } => Some((*change, inode.is_some())),
        _ => None,
    });
    let states: Vec<_> = states.collect();
    // An observer that came late saw none, but was told of every change.
    if !states.iter().any(|(_, (change, is_there))| *is_there || *change != PidfileChange::Read) {
        return vec![Finding::inconclusive("there never was a pidfile")];
    }
    match states.last() {
        Some((event, (_, false))) => vec![Finding::pass(Evidence::text("it is gone").event(event.seq))],
        Some((event, (_, true))) => {
            vec![Finding::fail(vec![Evidence::text("it is still there after the stop").event(event.seq)])]
        }
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{PidfileChange, What};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(script: Script, want: Verdict) {
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want);
    }

    fn stopped() -> Script {
        let asked = What::StopAsked { action: "signal TERM to main".to_owned() };
        Script::new().pidfile(50, PidfileChange::Created, Some("7\n")).event(100, asked)
    }

    #[test]
    fn a_removed_file_passes() {
        let gone = What::Pidfile { change: PidfileChange::Deleted, inode: None, content: None };
        check(stopped().event(110, gone), Pass);
    }

    #[test]
    fn one_that_came_and_went_unseen_passes() {
        let unseen = |change| What::Pidfile { change, inode: None, content: None };
        let told = |changes: &[PidfileChange]| {
            let script = Script::new().event(100, What::StopAsked { action: "signal TERM to main".to_owned() });
            changes.iter().fold(script, |script, change| script.event(110, unseen(*change)))
        };
        check(told(&[PidfileChange::Created, PidfileChange::Deleted]), Pass);
        check(told(&[PidfileChange::Read]), Inconclusive);
    }

    #[test]
    fn one_that_stays_fails() {
        check(stopped(), Fail);
    }

    #[test]
    fn without_a_stop_nothing_is_proven() {
        check(Script::new().pidfile(50, PidfileChange::Created, Some("7\n")), Inconclusive);
    }
}

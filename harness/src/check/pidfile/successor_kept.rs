//! pidfile/successor-kept: whose file it is, is not said by its name.

use crate::check::Check;
use crate::check::daemon::told;
use crate::event::{Event, FileKind, Succession, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/successor-kept",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Pidfile),
    requirement: "A process that ends neither removes nor rewrites the pidfile of its successor, which has the same name.",
    source: "unlink(2) takes a name, not a file; fstat(2) and stat(2) tell whether the one is the other",
    reports: &["go-daemon, Release"],
    observed: "Another file, with the pid of another living process, is renamed over the pidfile, and the main process stopped by its \
               signal (SIGTERM, where it is stopped by a command): kind, inode, mode and bytes of the file before and after that.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let stops = history.find(|what| if let What::Succeeded(it) = what { Some(it) } else { None });
    let findings: Vec<Finding> = stops.map(|(event, stop)| one(event, stop)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("it was not stopped after a successor")] } else { findings }
}

fn one(event: &Event, stop: &Succession) -> Finding {
    let evidence = |text: String| Evidence::text(text).event(event.seq);
    let lay = told(&stop.before);
    if stop.after != stop.before {
        let text = match stop.after.kind {
            FileKind::Absent => format!("pid {} has removed its successor's file: {lay}", stop.daemon),
            _ => format!("pid {} has changed its successor's file: {lay} became {}", stop.daemon, told(&stop.after)),
        };
        return Finding::fail(vec![evidence(text)]);
    }
    if !stop.ended {
        return Finding::inconclusive("the daemon did not end");
    }
    Finding::pass(evidence(format!("pid {} has ended, and its successor's file is there: {lay}", stop.daemon)))
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::{absent, file};
    use crate::event::Succession;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(change: impl FnOnce(&mut Succession), want: Verdict) {
        let findings = (super::CHECK.decide)(&Script::new().succeeded(change).history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn without_a_successor_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }

    #[test]
    fn a_file_that_stays_as_it_was_passes() {
        check(|_| {}, Pass);
    }

    #[test]
    fn a_file_that_is_removed_emptied_or_replaced_fails() {
        check(|stop| stop.after = absent(), Fail);
        check(|stop| stop.after = file(""), Fail);
        check(|stop| stop.after.inode += 1, Fail);
    }

    #[test]
    fn one_that_does_not_end_proves_nothing_but_what_it_did() {
        check(|stop| stop.ended = false, Inconclusive);
        check(|stop| (stop.ended, stop.after) = (false, absent()), Fail);
    }
}

//! life/log-mode: the log is not world-writable.

use crate::check::Check;
use crate::event::What;
use crate::history::History;
use crate::manifest::Capability;
use crate::verdict::{Evidence, Finding, Level};

/// Write permission for others (inode(7)).
const OTHERS_WRITE: u32 = 0o002;

/// The check.
pub static CHECK: Check = Check {
    id: "life/log-mode",
    level: Level::Must,
    profile: None,
    capability: Some(Capability::Log),
    requirement: "The log is not world-writable.",
    source: "umask(2); daemon(7), \"SysV Daemons\": with the umask reset, the mode of each file is what open(2) asks for",
    reports: &["pyinotify#1"],
    observed: "The mode of the log (stat(2)) before it is renamed, and of the one that is there after the order to open it anew.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let seen = history.find(|what| match what {
        What::LogSeen(portrait) => portrait.mode.map(|mode| (&portrait.path, mode)),
        _ => None,
    });
    let finding = |(event, (path, mode)): (&crate::event::Event, (&String, u32))| {
        let evidence = Evidence::text(format!("{path} has mode {mode:04o}")).event(event.seq);
        if mode & OTHERS_WRITE == 0 { Finding::pass(evidence) } else { Finding::fail(vec![evidence]) }
    };
    let findings: Vec<Finding> = seen.map(finding).collect();
    if findings.is_empty() { vec![Finding::inconclusive("no log was seen")] } else { findings }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{LogPortrait, What};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(modes: &[Option<u32>], want: Verdict) {
        let seen = |mode: &Option<u32>| {
            What::LogSeen(LogPortrait { path: "/target/log".to_owned(), mode: *mode, writers: Vec::new() })
        };
        let script = modes.iter().map(seen).fold(Script::new(), |script, what| script.event(100, what));
        let worst = (super::CHECK.decide)(&script.history()).into_iter().map(|it| it.verdict).max();
        assert_eq!(worst, Some(want), "{modes:?}");
    }

    #[test]
    fn a_log_for_its_owner_to_write_passes() {
        check(&[Some(0o644), Some(0o640)], Pass);
    }

    #[test]
    fn a_world_writable_log_fails_the_first_one_or_the_next() {
        check(&[Some(0o666), Some(0o640)], Fail);
        check(&[Some(0o640), Some(0o602)], Fail);
    }

    #[test]
    fn no_log_proves_nothing() {
        check(&[None], Inconclusive);
        check(&[], Inconclusive);
    }
}

//! handoff/unix-path-kept: the file of a UNIX socket is there, and leads to somebody who listens, at every instant.

use crate::check::handoff::further::{Fault, judged, with_fate};
use crate::check::{Check, Witness};
use crate::event::{AskedListener, Event, Fate};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/unix-path-kept",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Unix),
    requirement: "Through an upgrade the path of a UNIX socket exists and connects at every instant.",
    source: "unix(7): the file is made by bind(2), and stays until somebody unlinks it; rename(2) replaces it without a gap",
    reports: &["puma#1988", "tableflip#24"],
    observed: "From before the upgrade until the old generation is gone inotify(7) tells of no moment at which the name was unlinked or \
               moved away (a file that is renamed over it leaves no such moment), and no connect of those that are made in turn is \
               refused.",
    needs: &[Witness::Upgrades],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut paths: Vec<(&Event, &AskedListener)> = with_fate(history, Fate::Kept);
    paths.retain(|(_, row)| row.missing.is_some());
    vec![judged(&paths, "kept and have a file", fault)]
}

fn fault(row: &AskedListener) -> Option<Fault> {
    let missing = row.missing.unwrap_or_default();
    let first = row.failures.first().map(|it| format!(", the first at {it}")).unwrap_or_default();
    let text = format!(
        "{}: its name was missing {missing} times, and {} of {} requests were lost{first}",
        row.address, row.failed, row.asked
    );
    if missing > 0 {
        return Some(Fault::fact(text));
    }
    (row.failed > 0).then(|| Fault::lost(row, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::handoff::further::tests::{asked, refused};
    use crate::verdict::Verdict::{Fail, Inconclusive, Pass};

    #[test]
    fn a_path_that_is_always_there_passes() {
        assert_eq!(decide(&asked(&[(Fate::Kept, |row| row.missing = Some(0))]))[0].verdict, Pass);
    }

    #[test]
    fn one_that_was_missing_fails_also_when_nobody_met_that() {
        assert_eq!(decide(&asked(&[(Fate::Kept, |row| row.missing = Some(1))]))[0].verdict, Fail);
        let stale = |row: &mut AskedListener| {
            refused(row);
            row.missing = Some(0);
        };
        assert_eq!(decide(&asked(&[(Fate::Kept, stale)]))[0].verdict, Fail);
    }

    #[test]
    fn listeners_without_a_file_prove_nothing() {
        assert_eq!(decide(&asked(&[(Fate::Kept, |_| {})]))[0].verdict, Inconclusive);
    }
}

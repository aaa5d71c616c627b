//! handoff/every-listener: an upgrade hands on every listener, however many there are and of whatever family.

use crate::check::handoff::further::{fault, judged, with_fate};
use crate::check::{Check, Witness};
use crate::event::{AskedListener, Fate, Sockets};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level, Verdict};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/every-listener",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Listeners),
    requirement: "Each listener is handed on: IPv4, IPv6, UNIX sockets with a file and with an abstract name, datagrams on the port \
                  of a listener, however many there are, and each of several sockets with one address.",
    source: "unix(7): SCM_RIGHTS carries 253 descriptors at most; a listener that is forgotten is refused",
    reports: &["pingora's limit of 32", "envoy#8427"],
    observed: "Each address of `also` that both versions have is asked, on a connection of its own, before the upgrade, in turn from its \
               trigger until the old generation is gone, and after: every request is answered, the last one by the new version. \
               As many sockets listen on it then as before (SO_REUSEPORT: several on one address); fewer before than the manifest \
               tells of prove nothing.",
    needs: &[Witness::Upgrades],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let kept = with_fate(history, Fate::Kept);
    let finding = judged(&kept, "kept", |row| fault(history, row));
    let lacking = kept.iter().find_map(|(_, row)| unshown(row)).filter(|_| finding.verdict == Verdict::Pass);
    vec![lacking.map_or(finding, Finding::inconclusive)]
}

/// What was not there before the upgrade cannot be handed on.
fn unshown(row: &AskedListener) -> Option<String> {
    let Sockets { declared, before, .. } = row.sockets.filter(|it| it.before < it.declared)?;
    Some(format!(
        "{}: {before} of {declared} sockets that its manifest tells of listened before the upgrade",
        row.address
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::handoff::further::tests::{asked, refused};
    use crate::id::Version;
    use crate::verdict::Ground;
    use crate::verdict::Verdict::{Fail, Inconclusive, Pass};

    #[test]
    fn listeners_that_answer_throughout_pass() {
        assert_eq!(decide(&asked(&[(Fate::Kept, |_| {}), (Fate::Kept, |_| {})]))[0].verdict, Pass);
    }

    #[test]
    fn one_that_refuses_or_keeps_its_old_version_fails() {
        assert_eq!(decide(&asked(&[(Fate::Kept, |_| {}), (Fate::Kept, refused)]))[0].verdict, Fail);
        assert_eq!(decide(&asked(&[(Fate::Kept, |row| row.version = Some(Version(1)))]))[0].verdict, Fail);
    }

    #[test]
    fn an_answer_that_does_not_come_in_time_is_one_of_time() {
        let late = |row: &mut AskedListener| (row.failed, row.late) = (1, 1);
        assert_eq!(decide(&asked(&[(Fate::Kept, late)]))[0].ground, Ground::Time);
        assert_eq!(decide(&asked(&[(Fate::Kept, late), (Fate::Kept, refused)]))[0].ground, Ground::Fact);
    }

    #[test]
    fn a_socket_that_is_forgotten_beside_its_namesake_fails() {
        fn listened<const BEFORE: u32, const AFTER: u32>(row: &mut AskedListener) {
            row.sockets = Some(Sockets { declared: 2, before: BEFORE, after: AFTER });
        }
        let verdict = |change| decide(&asked(&[(Fate::Kept, |_| {}), (Fate::Kept, change)]))[0].verdict;
        assert_eq!(verdict(listened::<2, 2>), Pass);
        assert_eq!(verdict(listened::<2, 1>), Fail);
        assert_eq!(verdict(listened::<1, 1>), Inconclusive);
        assert_eq!(verdict(listened::<1, 0>), Fail);
    }

    #[test]
    fn those_that_are_not_kept_prove_nothing() {
        assert_eq!(decide(&asked(&[(Fate::Added, |_| {}), (Fate::Dropped, refused)]))[0].verdict, Inconclusive);
    }
}

//! leak/listener-elsewhere: nobody but the service holds its listener.

use crate::check::rest::rests;
use crate::check::{Check, Witness};
use crate::event::{AtRest, Leftover, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "leak/listener-elsewhere",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "No process beside the service's own holds its listener, and after the stop the port is free.",
    source: "fork(2): a child has a copy of every descriptor, and a socket is closed when the last copy is",
    reports: &["h2o#336"],
    observed: "After each upgrade, the old generation gone and the load interrupted: every process of the target's world that has \
               the listener open is the main process or descends from it. After the stop no socket listens on the address.",
    needs: &[Witness::Upgrades],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rest in rests(history) {
        let (strays, own): (Vec<&AtRest>, Vec<&AtRest>) =
            rest.processes.iter().filter(|row| row.holds_listener).partition(|row| row.strays);
        let pids: Vec<String> = strays.iter().map(|row| row.image.pid.to_string()).collect();
        findings.push(if pids.is_empty() {
            let text = format!(
                "after upgrade {}: {} of the service's own processes hold the listener",
                rest.upgrade,
                own.len()
            );
            Finding::pass(Evidence::text(text).event(rest.seq))
        } else {
            let text = format!(
                "after upgrade {}: process {} does not descend from the main process and holds the listener",
                rest.upgrade,
                pids.join(", ")
            );
            Finding::fail(vec![Evidence::text(text).event(rest.seq)])
        });
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("the target was never seen at rest"));
    }
    findings.extend(still_bound(history));
    findings
}

/// Listeners that were there after the stop.
fn still_bound(history: &History) -> Vec<Finding> {
    let scans = history.find(|what| if let What::Scanned { leftovers } = what { Some(leftovers) } else { None });
    let late =
        history.events.iter().any(|event| matches!(&event.what, What::DeadlinePassed { name, .. } if name == "stop"));
    let mut findings = Vec::new();
    for (event, leftovers) in scans {
        for leftover in leftovers {
            let Leftover::Listener(listener) = leftover else { continue };
            let text = format!("{} is still listened on after the stop", listener.address);
            let finding = Finding::fail(vec![Evidence::text(text).event(event.seq)]);
            findings.push(if late { finding.on_time() } else { finding });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, image};
    use crate::event::{AtRest, Leftover, Listener, What};
    use crate::id::{Cookie, UpgradeId};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// The main process 1, its worker 5, and 9, which does not descend from it.
    fn rest(stray_holds: bool) -> Script {
        let row = |pid, holds_listener, strays| AtRest {
            image: image(pid),
            descriptors: 3,
            holds_listener,
            words: None,
            strays,
        };
        let processes = vec![row(1, true, false), row(5, true, false), row(9, stray_holds, true)];
        Script::new().event(1000, What::Quiescent { upgrade: UpgradeId(1), processes, zombies: vec![] })
    }

    fn scanned(script: Script, leftovers: Vec<Leftover>) -> Script {
        script.event(2000, What::Scanned { leftovers })
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        let worst = findings.iter().map(|finding| finding.verdict).max().expect("a finding");
        assert_eq!(worst, want, "{findings:#?}");
    }

    #[test]
    fn a_listener_that_only_the_service_holds_passes() {
        check(scanned(rest(false), vec![]), Pass);
    }

    #[test]
    fn an_orphan_that_holds_it_fails() {
        check(rest(true), Fail);
    }

    #[test]
    fn an_address_that_is_listened_on_after_the_stop_fails() {
        let address = "127.0.0.1:10086".to_owned();
        let left = Listener { cookie: Cookie(1), address, inode: 1, queued: 0, backlog: 128 };
        check(scanned(rest(false), vec![Leftover::Listener(left)]), Fail);
    }

    #[test]
    fn a_target_that_was_never_at_rest_proves_nothing() {
        check(scanned(Script::new(), vec![]), Inconclusive);
    }
}

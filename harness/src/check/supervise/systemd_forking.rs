//! supervise/systemd-forking: systemd finds the daemon by its pidfile at once, and believes it.

use crate::check::Check;
use crate::event::{UnitMoment, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "supervise/systemd-forking",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Pidfile),
    requirement: "As a unit of type forking with PIDFile= it is found at once: MainPID is the process that serves, and systemd has \
                  nothing to complain of.",
    source: "systemd.service(5), Type=forking and PIDFile=; daemon(7), \"SysV Daemons\"",
    reports: &["nghttp2#375"],
    observed: "A real systemd runs the launch command. MainPID and ActiveState once the start is over, against the process that \
               holds the listener; and systemd's log, in which \"not our child\" and a pidfile that is not readable yet are \
               complaints.",
    needs: &[],
    observers: &[],
    chance: true,
    unproven_bare: None,
    decide,
};

/// What systemd says of a pidfile that comes too late, is empty, or names somebody else.
const COMPLAINTS: [&str; 3] = ["not our child", "yet?)", "PID file"];

fn decide(history: &History) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let lines = history.find(|what| if let What::Output { line, .. } = what { Some(line) } else { None });
    for (event, line) in lines.filter(|(_, line)| COMPLAINTS.iter().any(|it| line.contains(it))) {
        findings.push(Finding::fail(vec![Evidence::text(format!("systemd says: {line}")).event(event.seq)]));
    }
    let units = history.find(|what| match what {
        What::Unit { moment: UnitMoment::Started, properties, main, server } => Some((properties, *main, *server)),
        _ => None,
    });
    for (event, (shown, main, server)) in units {
        let state = shown.get("ActiveState").map_or("unknown", String::as_str);
        let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
        findings.push(match (main, server) {
            _ if state != "active" => fail(format!("once the start was over the unit was {state}")),
            (Some(main), Some(server)) if main == server => {
                Finding::pass(Evidence::text(format!("MainPID is process {main}, which serves")).event(event.seq))
            }
            (Some(main), Some(server)) => fail(format!("MainPID is process {main}, and {server} serves")),
            (None, _) => fail("systemd knows no main process".to_owned()),
            (Some(_), None) => Finding::inconclusive("nobody held a listener then"),
        });
    }
    if findings.is_empty() { vec![Finding::inconclusive("no systemd ran it")] } else { findings }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::check::script::Script;
    use crate::event::{UnitMoment, What};
    use crate::id::Pid;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn unit(state: &str, main: Option<i32>, server: Option<i32>) -> Script {
        let properties = BTreeMap::from([("ActiveState".to_owned(), state.to_owned())]);
        let (main, server) = (main.map(Pid), server.map(Pid));
        Script::new().event(100, What::Unit { moment: UnitMoment::Started, properties, main, server })
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn the_server_as_main_process_passes() {
        check(unit("active", Some(7), Some(7)), Pass);
    }

    #[test]
    fn another_or_none_or_a_failed_unit_fails() {
        check(unit("active", Some(5), Some(7)), Fail);
        check(unit("active", None, Some(7)), Fail);
        check(unit("failed", Some(7), Some(7)), Fail);
    }

    #[test]
    fn a_complaint_of_systemd_fails() {
        let line =
            "target.service: Supervising process 7 which is not our child. We'll most likely not notice when it exits.";
        let said = What::Output { stream: "stderr".to_owned(), line: line.to_owned() };
        check(unit("active", Some(7), Some(7)).event(110, said), Fail);
    }

    #[test]
    fn without_systemd_nothing_is_proven() {
        check(Script::new(), Inconclusive);
    }
}

//! life/nothing-left: after the stop nothing of the target remains.

use crate::check::Check;
use crate::event::{Leftover, What};
use crate::history::History;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "life/nothing-left",
    level: Level::Must,
    profile: None,
    capability: None,
    requirement: "After the stop no process, no bound port and no socket file of the service remains.",
    source: "daemon(7), \"SysV Daemons\"",
    reports: &["nginx trac 753"],
    observed: "A scan of the target's own pid namespace, of every listening socket of its network namespace, and for the \
               files of the UNIX sockets that were bound in it when the stop was asked, after the declared stop ended the \
               main process.",
    needs: &[],
    observers: &[],
    // Whether somebody stays may hang on a race in the target itself, as in tableflip.
    chance: true,
    unproven_bare: Some(
        "without namespaces a process could have been started on its behalf by others, and the files of its UNIX sockets \
         cannot be told from the host's",
    ),
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    let late: Vec<_> = history
        .find(|what| match what {
            What::DeadlinePassed { name, length_ms } if name == "stop" => Some(*length_ms),
            _ => None,
        })
        .collect();
    for (event, length_ms) in &late {
        let text = format!("the main process still lived {length_ms} ms after the stop was asked");
        findings.push(Finding::fail(vec![Evidence::text(text).event(event.seq)]).on_time());
    }
    let scans = history.find(|what| match what {
        What::Scanned { leftovers } => Some(leftovers),
        _ => None,
    });
    for (event, leftovers) in scans {
        if leftovers.is_empty() {
            findings.push(Finding::pass("no process, no listening socket and no socket file remained"));
        } else {
            let evidence = leftovers.iter().map(|it| Evidence::text(describe(it)).event(event.seq)).collect();
            let finding = Finding::fail(evidence);
            // What had not ended yet when it was killed could not tidy up.
            findings.push(if late.is_empty() { finding } else { finding.on_time() });
        }
    }
    if findings.is_empty() {
        findings.push(Finding::inconclusive("the run ended before the scan"));
    }
    findings
}

fn describe(leftover: &Leftover) -> String {
    match leftover {
        Leftover::Process { image, command } => format!("process {} still lives: {command}", image.pid),
        Leftover::Listener(listener) => {
            format!("socket {} still listens on {}", listener.cookie, listener.address)
        }
        Leftover::SocketFile(path) => format!("socket file {path} is still there"),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, image};
    use crate::event::{Leftover, What};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(what: Option<What>, want: Verdict) {
        let mut script = Script::new();
        if let Some(what) = what {
            script = script.event(2000, what);
        }
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want);
    }

    #[test]
    fn an_empty_scan_passes() {
        check(Some(What::Scanned { leftovers: vec![] }), Pass);
    }

    #[test]
    fn a_process_that_stays_behind_fails() {
        let left = Leftover::Process { image: image(9), command: "helper".to_owned() };
        check(Some(What::Scanned { leftovers: vec![left] }), Fail);
    }

    #[test]
    fn without_a_scan_nothing_is_proven() {
        check(None, Inconclusive);
    }
}

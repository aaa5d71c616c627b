//! handoff/log-continuous: no line of the log is lost by an upgrade.

use crate::check::life::log_append::lines;
use crate::check::{Check, Witness};
use crate::event::What;
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/log-continuous",
    level: Level::Should,
    profile: Some(Profile::Restart),
    capability: Some(Capability::Log),
    requirement: "Both generations write the log through an upgrade: every request has its line, once and whole.",
    source: "open(2), O_APPEND: each write(2) goes to the end of the file, whoever else writes it",
    reports: &["systemd#13708"],
    observed: "Requests with numbers in their paths are sent one after the other, before the upgrade, from its trigger until the old \
               generation is gone, and after. After the stop each number of an answered request stands once in the log.",
    needs: &[Witness::Upgrades],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let spanned = history.find(|what| if let What::LogSpanned { answered } = what { Some(answered) } else { None });
    let mut findings: Vec<Finding> = spanned.map(|(event, answered)| lines(history, event.seq, answered)).collect();
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no numbered request was sent"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(read: &[u32], want: Verdict) {
        let script = Script::new().event(200, What::LogSpanned { answered: vec![1, 2, 3] });
        let script = script.event(300, What::LogRead { path: "/target/log".to_owned(), numbers: read.to_vec() });
        let findings = decide(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn every_line_once_passes() {
        check(&[1, 2, 3, 4], Pass);
    }

    #[test]
    fn a_lost_or_repeated_line_fails() {
        check(&[1, 3], Fail);
        check(&[1, 2, 2, 3], Fail);
    }

    #[test]
    fn a_log_without_requests_or_a_run_without_any_proves_nothing() {
        check(&[], Inconclusive);
        assert_eq!(decide(&Script::new().history())[0].verdict, Inconclusive);
    }
}

//! handoff/binary-replaced: the executable that is installed runs, however the old one was started.

use crate::check::Check;
use crate::check::handoff::took_over;
use crate::event::{ProcessChange, What};
use crate::history::{History, Upgrade};
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level, Verdict};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/binary-replaced",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::ExecSelf),
    requirement: "After its file was replaced by rename the new executable runs, though the old one was started by a relative \
                  path from a directory that is gone.",
    source: "proc(5): /proc/PID/exe stays the old inode; path_resolution(7)",
    reports: &["Kong#5565"],
    observed: "The target is started by `../NAME` from a directory that is removed once it is ready. A new executable is renamed \
               over the old one and the restart triggered: an answer carries the version that is stamped into the new file.",
    needs: &[],
    observers: &["processes"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let removed = history.find(|what| matches!(what, What::DirectoryRemoved { .. }).then_some(())).next();
    let Some((removed, ())) = removed else {
        return vec![Finding::inconclusive("its starting directory was never removed")];
    };
    let upgrades = history.upgrades();
    let mut findings: Vec<Finding> = upgrades
        .iter()
        .filter(|upgrade| upgrade.trigger_seq > removed.seq)
        .map(|upgrade| one(history, upgrade).of(upgrade.id))
        .collect();
    if findings.is_empty() {
        findings.push(Finding::inconclusive("no upgrade was triggered after that"));
    }
    findings
}

fn one(history: &History, upgrade: &Upgrade) -> Finding {
    let mut finding = took_over::one(history, upgrade);
    if finding.verdict != Verdict::Fail {
        return finding;
    }
    // What ran instead says why.
    let window = history
        .events
        .iter()
        .filter(|event| event.at.not_before >= upgrade.trigger.not_before && event.at.not_after <= upgrade.window_end);
    for event in window {
        if let What::Process { image, change: ProcessChange::Appeared { executable, .. } } = &event.what {
            let text = format!("process {} appeared and runs {executable}", image.pid);
            finding.evidence.push(Evidence::text(text).event(event.seq));
        }
    }
    finding
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered};
    use crate::event::What;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn removed() -> Script {
        Script::new().event(500, What::DirectoryRemoved { path: "/run/start".to_owned() }).trigger(1000, 1, 2)
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn the_new_version_that_answers_passes() {
        check(removed().request(answered(1100, 1101, 2)), Pass);
    }

    #[test]
    fn the_old_version_in_new_processes_fails() {
        check(removed().holders(1050, &[1, 9]).request(answered(1100, 1101, 1)), Fail);
    }

    #[test]
    fn with_its_starting_directory_in_place_nothing_is_proven() {
        check(Script::new().trigger(1000, 1, 2).request(answered(1100, 1101, 2)), Inconclusive);
    }
}

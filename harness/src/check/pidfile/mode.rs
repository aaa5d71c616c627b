//! pidfile/mode: nobody but the owner can write the pidfile.

use crate::check::Check;
use crate::check::daemon::of_portraits;
use crate::event::What;
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level, Verdict};

/// Bits of group and others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/mode",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Pidfile),
    requirement: "The pidfile is never writable for group or others, whatever the launcher's file mode creation mask: whoever writes it \
                  chooses whom the stop command signals.",
    source: "umask(2); daemon(7), \"SysV Daemons\"",
    reports: &["ndppd#56"],
    observed: "The file's permission bits at rest after a start whose launcher had the mask 0.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let masks = history.find(|what| if let What::Daemonised(it) = what { Some(it.launcher.umask) } else { None });
    let unmasked = masks.into_iter().any(|(_, umask)| umask & WRITABLE_BY_OTHERS == 0);
    let mut findings = of_portraits(history, |portrait| match portrait.pidfile_mode {
        None => Err(vec!["there is no pidfile".to_owned()]),
        Some(mode) if mode & WRITABLE_BY_OTHERS == 0 => {
            Ok(format!("its mode is {mode:04o}, launched with the mask {:03o}", portrait.launcher.umask))
        }
        Some(mode) => {
            Err(vec![format!("its mode is {mode:04o}, launched with the mask {:03o}", portrait.launcher.umask)])
        }
    });
    if !unmasked && findings.iter().all(|finding| finding.verdict == Verdict::Pass) {
        findings.push(Finding::inconclusive("it was never launched with a mask that lets those bits through"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::DaemonPortrait;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(change: impl FnOnce(&mut DaemonPortrait), want: Verdict) {
        let history = Script::new().portrait(100, change).history();
        let findings = (super::CHECK.decide)(&history);
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn without_a_daemon_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }

    #[test]
    fn a_mask_that_hides_the_bits_proves_nothing() {
        check(|portrait| portrait.launcher.umask = 0o22, Inconclusive);
    }

    #[test]
    fn bits_that_are_not_there_without_a_mask_pass() {
        check(|portrait| portrait.launcher.umask = 0, Pass);
    }

    #[test]
    fn a_file_that_others_may_write_fails_under_any_mask() {
        check(|portrait| portrait.pidfile_mode = Some(0o664), Fail);
        check(|portrait| (portrait.launcher.umask, portrait.pidfile_mode) = (0, Some(0o646)), Fail);
        check(|portrait| portrait.pidfile_mode = None, Fail);
    }
}

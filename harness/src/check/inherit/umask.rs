//! inherit/umask: the daemon sets its own umask.

use crate::check::Check;
use crate::check::daemon::{portrait_from, start_from};
use crate::event::{DaemonPortrait, Event};
use crate::history::History;
use crate::manifest::Profile;
use crate::scenario::Launcher;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "inherit/umask",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "The daemon's umask does not depend on its launcher's, and nothing that it puts into its directory is writable \
                  for its group or for others.",
    source: "umask(2): it is inherited by fork(2) and left alone by execve(2); daemon(7), \"SysV Daemons\", step 10",
    reports: &["ndppd#56", "uwsgi#2752"],
    observed: "`Umask` in `/proc/PID/status` of the main process at rest after starts from launchers with the umasks 0, 022 and \
               077; after each the modes of all files below the target's directory that the harness did not write, which the \
               first start makes under umask 0. What a configuration sets is not known here. The umask 0777 is not tried.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

/// The first is what the files are made under.
const LAUNCHERS: [(Launcher, u32); 3] =
    [(Launcher::OpenUmask, 0), (Launcher::UsualUmask, 0o022), (Launcher::ClosedUmask, 0o077)];

/// Write permission for the group and for others.
const OTHERS_WRITE: u32 = 0o022;

fn decide(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut first: Option<u32> = None;
    let mut compared = 0;
    for (from, launchers) in LAUNCHERS {
        let Some((event, portrait)) = portrait_from(history, from) else {
            if let Some((event, _)) = start_from(history, from) {
                let text = format!("it did not come to rest from a launcher with the umask {launchers:03o}");
                findings.push(Finding::inconclusive(Evidence::text(text).event(event.seq)));
            }
            continue;
        };
        findings.extend(writable(event, portrait, launchers));
        let Some(own) = portrait.main().and_then(|main| main.umask) else { continue };
        compared += 1;
        let before = *first.get_or_insert(own);
        if own != before {
            let text =
                format!("its umask is {own:03o} with a launcher's of {launchers:03o}, and {before:03o} with another");
            findings.push(Finding::fail(vec![Evidence::text(text).event(event.seq)]));
        }
    }
    if compared < 2 {
        findings.push(Finding::inconclusive("its umask was not seen with two different launchers"));
    } else if findings.is_empty() {
        let own = first.unwrap_or_default();
        findings.push(Finding::pass(format!("its umask is {own:03o} with each of {compared} launchers")));
    }
    findings
}

/// Files that too many may write, as one finding.
fn writable(event: &Event, portrait: &DaemonPortrait, launchers: u32) -> Option<Finding> {
    let wrong = portrait.artefacts.iter().filter(|it| it.mode & OTHERS_WRITE != 0);
    let sentence =
        |path: &str, mode: u32| format!("{path} has the mode {mode:04o} with a launcher's umask of {launchers:03o}");
    let evidence: Vec<Evidence> =
        wrong.map(|it| Evidence::text(sentence(&it.path, it.mode)).event(event.seq)).collect();
    (!evidence.is_empty()).then(|| Finding::fail(evidence))
}

#[cfg(test)]
mod tests {
    use super::LAUNCHERS;
    use crate::check::script::Script;
    use crate::event::Answer;
    use crate::scenario::Launcher;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn worst(script: Script) -> Verdict {
        let findings = (super::CHECK.decide)(&script.history());
        findings.into_iter().map(|it| it.verdict).max().expect("there is always one")
    }

    fn check(umasks: &[u32], mode: u32, want: Verdict) {
        let script = LAUNCHERS.iter().zip(umasks).fold(Script::new(), |script, ((from, _), umask)| {
            script.portrait(100, |portrait| {
                portrait.launcher.from = *from;
                portrait.processes[0].umask = Some(*umask);
                portrait.artefacts[0].mode = mode;
            })
        });
        assert_eq!(worst(script), want, "{umasks:?} {mode:o}");
    }

    #[test]
    fn one_umask_whatever_the_launchers_passes() {
        check(&[0o27, 0o27, 0o27], 0o644, Pass);
        check(&[0, 0, 0], 0o644, Pass);
    }

    #[test]
    fn the_launchers_umask_fails() {
        check(&[0, 0o22, 0o77], 0o644, Fail);
        check(&[0o22, 0o22, 0o77], 0o644, Fail);
    }

    #[test]
    fn a_file_that_others_may_write_fails() {
        check(&[0o27, 0o27, 0o27], 0o666, Fail);
        check(&[0o27, 0o27, 0o27], 0o660, Fail);
    }

    #[test]
    fn one_start_proves_nothing() {
        check(&[0o27], 0o644, Inconclusive);
        check(&[], 0o644, Inconclusive);
        let script = Script::new().started_from(Launcher::ClosedUmask, 1, Answer::Refused);
        assert_eq!(worst(script), Inconclusive);
    }
}

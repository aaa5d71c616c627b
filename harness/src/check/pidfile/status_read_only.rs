//! pidfile/status-read-only: who asks changes nothing.

use crate::check::Check;
use crate::check::daemon::told;
use crate::event::{CommandedStatus, DatedLook, Event, ExitStatus, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/status-read-only",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::StatusCommand),
    requirement: "The status command changes nothing, whatever lies in the pidfile's place, leaves the daemon alone, and is not kept \
                  waiting by a FIFO.",
    source: "LSB 5.0 Core, \"Init Script Actions\": status prints; fifo(7)",
    reports: &["go-daemon PR#105"],
    observed: "The command while the daemon runs, and after its stop with a dead pid, garbage, nothing and a FIFO in the pidfile's \
               place: kind, inode, mode, bytes and modification time of what lies there, before and after, how the command ended, and \
               whether the daemon lives on. What the command says is not judged; nor what it does where it may not signal the daemon \
               (EPERM), as it runs as the same user.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let asked = history.find(|what| if let What::CommandedStatus(it) = what { Some(it) } else { None });
    let findings: Vec<Finding> = asked.flat_map(|(event, asked)| one(event, asked)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("its status was not asked for")] } else { findings }
}

fn one(event: &Event, asked: &CommandedStatus) -> Vec<Finding> {
    let evidence = |text: String| Evidence::text(text).event(event.seq);
    let fail = |text: String| Finding::fail(vec![evidence(text)]);
    let lay = told(&asked.before.look);
    let mut findings = Vec::new();
    if asked.before != asked.after {
        findings.push(fail(format!("{lay} lay there, and {} afterwards", difference(&asked.before, &asked.after))));
    }
    if asked.daemon_lives == Some(false) {
        findings.push(fail(format!("{lay} lay there, and the daemon was ended")));
    }
    match asked.status {
        None => findings.push(fail(format!("{lay} lay there, and the command hung")).on_time()),
        Some(ExitStatus::Signal(signal)) => {
            findings.push(fail(format!("{lay} lay there, and the command was killed by signal {signal}")));
        }
        Some(ExitStatus::Code(code)) if findings.is_empty() => {
            findings.push(Finding::pass(evidence(format!("{lay} lay there: status {code}, and nothing changed"))));
        }
        Some(ExitStatus::Code(_)) => {}
        Some(ExitStatus::Unknown) => findings.push(Finding::inconclusive("how the command ended is not known")),
    }
    findings
}

fn difference(before: &DatedLook, after: &DatedLook) -> String {
    match (&before.look, &after.look) {
        (one, other) if one != other => format!("{}, mode {:04o}", told(other), other.mode),
        _ => "the same with a new modification time".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::{absent, file};
    use crate::event::{CommandedStatus, ExitStatus, Obstacle};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(obstacle: Option<Obstacle>, change: impl FnOnce(&mut CommandedStatus), want: Verdict) {
        let history = Script::new().commanded_status(obstacle, change).history();
        let findings = (super::CHECK.decide)(&history);
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn without_the_command_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }

    #[test]
    fn a_look_that_changes_nothing_passes_whatever_it_says() {
        check(None, |_| {}, Pass);
        check(Some(Obstacle::Garbage), |asked| asked.status = Some(ExitStatus::Code(3)), Pass);
    }

    #[test]
    fn a_file_that_is_removed_written_or_replaced_fails() {
        check(Some(Obstacle::DeadPid), |asked| asked.after.look = absent(), Fail);
        check(Some(Obstacle::DeadPid), |asked| asked.after.look = file(""), Fail);
        check(None, |asked| asked.after.look.inode += 1, Fail);
        check(None, |asked| asked.after.modified += 1, Fail);
        check(Some(Obstacle::DeadPid), |asked| asked.before.look = absent(), Fail);
    }

    #[test]
    fn a_daemon_that_is_ended_by_a_question_fails() {
        check(None, |asked| asked.daemon_lives = Some(false), Fail);
    }

    #[test]
    fn a_command_that_hangs_on_a_fifo_fails() {
        check(Some(Obstacle::Fifo), |asked| asked.status = None, Fail);
    }
}

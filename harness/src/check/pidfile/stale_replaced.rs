//! pidfile/stale-replaced: what a dead daemon left is no obstacle.

use crate::check::Check;
use crate::check::daemon::{is_exactly, shown};
use crate::event::{Event, ExitStatus, ObstructedStart, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/stale-replaced",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Pidfile),
    requirement: "A pidfile that no daemon holds is no obstacle, whatever is in it: a pid that is gone, one that another process has by \
                  now, nothing, garbage, or more than a pid. The start works, and the file is exactly right afterwards.",
    source: "daemon(7), \"SysV Daemons\"; flock(2)",
    reports: &["paseo#4903", "daemon(1) leaves a tail", "python-daemon refuses"],
    observed: "A start with each of the five in its place: the launcher's exit status, whether a daemon serves, and the bytes of the \
               file then. The living process whose pid lay there is the harness's own, and must live on.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let starts = history.find(|what| match what {
        What::StartedObstructed(start) if start.obstacle.is_stale() => Some(start),
        _ => None,
    });
    let findings: Vec<Finding> = starts.flat_map(|(event, start)| one(event, start)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("no stale pidfile was laid in its way")] } else { findings }
}

fn one(event: &Event, start: &ObstructedStart) -> Vec<Finding> {
    let lay = shown(start.before.content.as_deref().unwrap_or_default());
    let evidence = |text: String| Evidence::text(text).event(event.seq);
    let fail = |text: String| Finding::fail(vec![evidence(text)]);
    let mut findings = Vec::new();
    if start.bystander_lives == Some(false) {
        findings
            .push(fail(format!("a process that had nothing to do with it, whose pid lay there ({lay}), was ended")));
    }
    findings.push(match (start.status, start.daemon) {
        (Some(ExitStatus::Code(0)), Some(daemon)) => match start.after.content.as_deref() {
            Some(content) if is_exactly(content, daemon) => {
                Finding::pass(evidence(format!("{lay} lay there, and {} afterwards", shown(content))))
            }
            Some(content) => {
                fail(format!("{lay} lay there, the daemon is pid {daemon}, and the pidfile says {}", shown(content)))
            }
            None => fail(format!("{lay} lay there, the daemon is pid {daemon}, and there is no pidfile")),
        },
        (Some(ExitStatus::Code(0)), None) => {
            fail(format!("{lay} lay there, the launcher exited with 0, and nothing serves")).on_time()
        }
        (Some(ExitStatus::Code(code)), _) => fail(format!("{lay} lay there, and the launcher exited with {code}")),
        (Some(ExitStatus::Signal(signal)), _) => {
            fail(format!("{lay} lay there, and the launcher was killed by signal {signal}"))
        }
        (Some(ExitStatus::Unknown), _) => Finding::inconclusive("how the launcher ended is not known"),
        (None, _) => fail(format!("{lay} lay there, and the launcher did not return in time")).on_time(),
    });
    findings
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{ExitStatus, FileKind, Obstacle, ObstructedStart};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(change: impl FnOnce(&mut ObstructedStart), want: Verdict) {
        let history = Script::new().obstructed(100, Obstacle::ReusedPid, change).history();
        let findings = (super::CHECK.decide)(&history);
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    #[test]
    fn without_a_stale_file_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
        let link = Script::new().obstructed(100, Obstacle::Symlink, |_| {}).history();
        assert_eq!((super::CHECK.decide)(&link)[0].verdict, Inconclusive);
    }

    #[test]
    fn a_start_that_works_and_leaves_the_right_bytes_passes() {
        check(|_| {}, Pass);
        check(|start| start.after.content = Some("7".to_owned()), Pass);
    }

    #[test]
    fn a_start_that_is_refused_fails() {
        check(|start| (start.status, start.daemon) = (Some(ExitStatus::Code(1)), None), Fail);
        check(|start| (start.status, start.daemon) = (None, None), Fail);
        check(|start| start.daemon = None, Fail);
    }

    #[test]
    fn a_tail_or_the_old_content_fails() {
        check(|start| start.after.content = Some("7\n9\n".to_owned()), Fail);
        check(|start| start.after.content = start.before.content.clone(), Fail);
        check(|start| (start.after.kind, start.after.content) = (FileKind::Absent, None), Fail);
    }

    #[test]
    fn a_bystander_that_was_ended_fails_whatever_else_went_well() {
        check(|start| start.bystander_lives = Some(false), Fail);
    }
}

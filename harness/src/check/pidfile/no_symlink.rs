//! pidfile/no-symlink: what somebody else has put in the pidfile's place is not followed.

use crate::check::Check;
use crate::check::daemon::{is_exactly, shown};
use crate::event::{Event, ExitStatus, FileKind, FileLook, Obstacle, ObstructedStart, Occasion, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/no-symlink",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Pidfile),
    requirement: "A symbolic link (as the last component), a FIFO or a directory in the pidfile's place is refused with a clear error, \
                  or replaced as a whole; it is never followed, and never written to.",
    source: "open(2), O_NOFOLLOW; CVE-2020-14367 (the repair replaces it), CVE-2020-28935 (the repair refuses it)",
    reports: &["CVE-2020-14367", "CVE-2020-28935"],
    observed: "A start with each of the three in its place, in a directory that everybody may write: the bytes, mode and inode of the \
               file behind the link before and after; the launcher's exit status and what it wrote to standard error; whether a \
               daemon serves, and what its pidfile is then. Where nobody else may write the directory this would be a SHOULD.",
    needs: &[],
    observers: &["output"],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let starts = history.find(|what| match what {
        What::StartedObstructed(start) if !start.obstacle.is_stale() => Some(start),
        _ => None,
    });
    let findings: Vec<Finding> = starts.flat_map(|(event, start)| one(history, event, start)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("nothing irregular was laid in its way")] } else { findings }
}

fn one(history: &History, event: &Event, start: &ObstructedStart) -> Vec<Finding> {
    let lay = start.before.kind.word();
    let evidence = |text: String| Evidence::text(text).event(event.seq);
    let fail = |text: String| Finding::fail(vec![evidence(text)]);
    let mut findings = Vec::new();
    if let Some([before, after]) = &start.victim
        && before != after
    {
        let text = format!("{lay} lay there, and the file behind it was {}, and is {}", told(before), told(after));
        findings.push(fail(text));
    }
    findings.push(match (start.status, start.daemon) {
        (Some(ExitStatus::Code(0)), Some(daemon)) => match (start.after.kind, start.after.content.as_deref()) {
            (FileKind::Regular, Some(content)) if is_exactly(content, daemon) => {
                Finding::pass(evidence(format!("{lay} lay there, and was replaced by a file that names pid {daemon}")))
            }
            (kind, _) => fail(format!("{lay} lay there, pid {daemon} serves, and its pidfile is {}", kind.word())),
        },
        (Some(ExitStatus::Code(0)), None) => {
            fail(format!("{lay} lay there, the launcher exited with 0, and nothing serves")).on_time()
        }
        (Some(ExitStatus::Code(code)), Some(daemon)) => {
            fail(format!("{lay} lay there, the launcher exited with {code}, and pid {daemon} serves all the same"))
        }
        (Some(ExitStatus::Code(code)), None) => match reason(history, start.obstacle) {
            Some(said) => Finding::pass(evidence(format!("{lay} lay there: status {code}, {said}"))),
            None => fail(format!("{lay} lay there: status {code}, and not a word on standard error")),
        },
        (Some(ExitStatus::Signal(signal)), _) => {
            fail(format!("{lay} lay there, and the launcher was killed by signal {signal}"))
        }
        (Some(ExitStatus::Unknown), _) => Finding::inconclusive("how the launcher ended is not known"),
        (None, _) => fail(format!("{lay} lay there, and the launcher hung")).on_time(),
    });
    findings
}

fn told(look: &FileLook) -> String {
    let content = shown(look.content.as_deref().unwrap_or_default());
    format!("{} with {content}, mode {:04o}, inode {}", look.kind.word(), look.mode, look.inode)
}

/// What the launcher wrote to standard error, its first line.
fn reason(history: &History, obstacle: Obstacle) -> Option<&str> {
    let wanted = format!("{}stderr", Occasion::Obstructed(obstacle).prefix());
    let mut said = history.find(move |what| match what {
        What::Output { stream, line } if *stream == wanted && !line.trim().is_empty() => Some(line.as_str()),
        _ => None,
    });
    said.next().map(|(_, line)| line)
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{ExitStatus, FileKind, Obstacle, ObstructedStart, What};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(said: Option<&str>, change: impl FnOnce(&mut ObstructedStart), want: Verdict) {
        let mut script = Script::new().obstructed(100, Obstacle::Symlink, change);
        if let Some(line) = said {
            let (stream, line) = ("symlink-start.stderr".to_owned(), line.to_owned());
            script = script.event(101, What::Output { stream, line });
        }
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings.iter().map(|it| it.verdict).max(), Some(want), "{findings:#?}");
    }

    fn refused(start: &mut ObstructedStart) {
        (start.status, start.daemon) = (Some(ExitStatus::Code(1)), None);
        (start.after.kind, start.after.content) = (FileKind::Symlink, None);
    }

    #[test]
    fn without_a_link_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
        let stale = Script::new().obstructed(100, Obstacle::Empty, |_| {}).history();
        assert_eq!((super::CHECK.decide)(&stale)[0].verdict, Inconclusive);
    }

    #[test]
    fn a_refusal_with_a_reason_or_a_replacement_passes() {
        check(Some("not a regular file"), refused, Pass);
        check(None, |_| {}, Pass);
    }

    #[test]
    fn a_refusal_without_a_word_fails() {
        check(None, refused, Fail);
    }

    #[test]
    fn a_victim_that_was_touched_fails_whatever_the_launcher_says() {
        let touched = |start: &mut ObstructedStart| {
            refused(start);
            start.victim.as_mut().expect("a link has one")[1].content = Some("7\n".to_owned());
        };
        check(Some("not a regular file"), touched, Fail);
    }

    #[test]
    fn a_daemon_that_runs_all_the_same_fails() {
        let served = |start: &mut ObstructedStart| {
            refused(start);
            start.daemon = Some(crate::id::Pid(7));
        };
        check(Some("not a regular file"), served, Fail);
        check(None, |start| (start.after.kind, start.after.content) = (FileKind::Fifo, None), Fail);
    }

    #[test]
    fn a_launcher_that_hangs_fails() {
        check(None, |start| (start.status, start.daemon) = (None, None), Fail);
    }
}

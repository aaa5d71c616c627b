//! pidfile/relative-path: a path means what it meant to whoever gave it.

use crate::check::Check;
use crate::check::daemon::{is_exactly, returns, told};
use crate::event::{Event, ExitStatus, Occasion, RelativeStart, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/relative-path",
    level: Level::Should,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Pidfile),
    requirement: "A relative path of the pidfile is resolved against the directory in which the launcher was started, whatever directory \
                  the daemon changes to.",
    source: "path_resolution(7); daemon(7), \"SysV Daemons\": the daemon changes to the root directory",
    reports: &["immortal/fork#15"],
    observed: "The launch with the same pidfile's path relative to the starting directory, after one with the whole path: whether the \
               daemon serves, and what lies at that place when it is at rest. The path begins with `..` and leads nowhere from the root \
               directory. Unsupported where no word of the launch command names the pidfile.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let starts = history.find(|what| if let What::StartedRelative(it) = what { Some(it) } else { None });
    let findings: Vec<Finding> = starts.map(|(event, start)| one(history, event, start)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("it was not started with a relative path")] } else { findings }
}

fn one(history: &History, event: &Event, start: &RelativeStart) -> Finding {
    let evidence = |text: String| Evidence::text(text).event(event.seq);
    let fail = |text: String| Finding::fail(vec![evidence(text)]);
    let given = format!("its pidfile was to be {}", start.given);
    let Some(daemon) = start.daemon else {
        let last = returns(history, Occasion::Start).filter(|(it, _)| it.seq < event.seq).last();
        return match last.map(|(_, it)| it.status) {
            Some(ExitStatus::Code(code)) if code != 0 => fail(format!("{given}, and the launcher exited with {code}")),
            _ if start.gone => fail(format!("{given}, and the daemon has ended at its start")),
            _ => fail(format!("{given}, and it never served")).on_time(),
        };
    };
    match start.there.content.as_deref() {
        Some(content) if is_exactly(content, daemon) => {
            Finding::pass(evidence(format!("{given}: {}", told(&start.there))))
        }
        _ => fail(format!("{given}, the daemon is pid {daemon}, and there lies {}", told(&start.there))),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::{absent, file};
    use crate::event::{Answer, RelativeStart};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};
    use crate::verdict::{Finding, Ground};

    fn judge(script: Script) -> Finding {
        (super::CHECK.decide)(&script.history()).remove(0)
    }

    fn check(change: impl FnOnce(&mut RelativeStart), want: Verdict) {
        assert_eq!(judge(Script::new().started_relative(change)).verdict, want);
    }

    #[test]
    fn without_such_a_start_nothing_is_proven() {
        assert_eq!(judge(Script::new()).verdict, Inconclusive);
    }

    #[test]
    fn the_pid_at_the_place_below_the_starting_directory_passes() {
        check(|_| {}, Pass);
    }

    #[test]
    fn nothing_there_or_another_pid_fails() {
        check(|start| start.there = absent(), Fail);
        check(|start| start.there = file("8\n"), Fail);
    }

    #[test]
    fn a_launcher_that_refuses_fails_and_one_that_hangs_fails_by_time() {
        let lost = |script: Script| judge(script.started_relative(|start| start.daemon = None));
        let refused = lost(Script::new().returned(200, 1, None, Answer::Refused));
        assert_eq!((refused.verdict, refused.ground), (Fail, Ground::Fact));
        let silent = lost(Script::new().returned(200, 0, None, Answer::Refused));
        assert_eq!((silent.verdict, silent.ground), (Fail, Ground::Time));
        let ended = judge(Script::new().started_relative(|start| (start.daemon, start.gone) = (None, true)));
        assert_eq!((ended.verdict, ended.ground), (Fail, Ground::Fact));
    }
}

//! fd/closed-stdio-start: a daemon that finds its standard streams closed puts nothing else in their place.

use crate::check::Check;
use crate::check::daemon::{finding, open, returns, unless};
use crate::event::{DaemonPortrait, Event, ExitStatus, LauncherReturn, Occasion, OpenDescriptor, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "fd/closed-stdio-start",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "Started with its standard streams closed, the daemon works, and has no listener, log or pidfile as descriptor 0, 1 or \
                  2, where whatever is printed would be written into it.",
    source: "daemon(7), \"SysV Daemons\"; open(2): the lowest number that is free",
    reports: &["sockproc#13"],
    observed: "A launch with 0, 1 and 2 closed; then the links and flags of 0, 1 and 2 of every process of the target at rest: no \
               socket, not the pidfile (by its inode), and no file that is open for writing as 0. A log as 1 and 2 is what they are \
               for. A launcher that fails then, and a daemon that never answers, have lost \
               something by it.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let portraits = history.find(|what| match what {
        What::Daemonised(portrait) if portrait.launcher.closed => Some(portrait),
        _ => None,
    });
    let findings: Vec<Finding> = portraits.map(|(event, portrait)| finding(event, judge(portrait))).collect();
    if findings.is_empty() { vec![without_daemon(history)] } else { findings }
}

/// No daemon came to rest. Its start without closed streams has worked in the same scenario: whatever the descriptors 0, 1 and 2
/// are to a daemon that its launcher believes in, they are not what it needs.
fn without_daemon(history: &History) -> Finding {
    let closed = |(event, seen): (&Event, &LauncherReturn)| seen.closed.then_some((event.seq, seen.status));
    let Some((returned, status)) = returns(history, Occasion::Start).find_map(closed) else {
        return Finding::inconclusive("no daemon came to rest after a start with closed standard streams");
    };
    let after = || history.events.iter().filter(|event| event.seq > returned);
    let gone = after().find(|event| matches!(&event.what, What::ActionFailed { action, .. } if action == "start"));
    let late = after().find(|event| matches!(&event.what, What::DeadlinePassed { name, .. } if name == "ready"));
    match (status, gone, late) {
        (ExitStatus::Code(0), Some(gone), _) => {
            let text = "the launcher exited with 0, and the daemon, which works when they are open, ended";
            Finding::fail(vec![Evidence::text(text).event(returned).event(gone.seq)])
        }
        (ExitStatus::Code(0), None, Some(late)) => {
            let text = "the launcher exited with 0, and the daemon, which works when they are open, never answered";
            Finding::fail(vec![Evidence::text(text).event(returned).event(late.seq)]).on_time()
        }
        (ExitStatus::Code(0) | ExitStatus::Unknown, _, _) => {
            Finding::inconclusive("whether it works with closed standard streams was not seen")
        }
        (ExitStatus::Code(code), _, _) => {
            let text = format!("the launcher, which works when they are open, exited with {code}");
            Finding::fail(vec![Evidence::text(text).event(returned)])
        }
        (ExitStatus::Signal(signal), _, _) => {
            let text = format!("signal {signal} killed the launcher, which works when they are open");
            Finding::fail(vec![Evidence::text(text).event(returned)])
        }
    }
}

fn judge(portrait: &DaemonPortrait) -> Result<String, Vec<String>> {
    let is_file = |it: &OpenDescriptor| it.link.starts_with('/');
    let is_log = |it: &OpenDescriptor| it.number == 0 && it.writes() && is_file(it) && !it.link.starts_with("/dev/");
    let is_pidfile = |it: &OpenDescriptor| is_file(it) && portrait.pidfile_inode == Some(it.inode);
    let misplaced = |it: &OpenDescriptor| it.link.starts_with("socket:") || is_pidfile(it) || is_log(it);
    let wrong = open(portrait, |it| it.number <= 2 && misplaced(it));
    let main = portrait.main().map(|main| main.descriptors.as_slice()).unwrap_or_default();
    let streams: Vec<String> =
        main.iter().filter(|it| it.number <= 2).map(|it| format!("{} is {}", it.number, it.link)).collect();
    unless(wrong, if streams.is_empty() { "0, 1 and 2 are closed".to_owned() } else { streams.join(", ") })
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::opened;
    use crate::event::{Answer, DaemonPortrait, ExitStatus, LauncherReturn, Occasion, What};
    use crate::id::Pid;
    use crate::scenario::Launcher;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(change: impl FnOnce(&mut DaemonPortrait), want: Verdict) {
        let closed = |portrait: &mut DaemonPortrait| {
            portrait.launcher.closed = true;
            change(portrait);
        };
        let history = Script::new().portrait(100, closed).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want);
    }

    #[test]
    fn a_start_with_open_streams_proves_nothing() {
        check(|portrait| portrait.launcher.closed = false, Inconclusive);
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }

    #[test]
    fn a_launcher_that_fails_and_a_daemon_that_never_answers_fail() {
        let returned = |status| {
            let (occasion, from, answer) = (Occasion::Start, Launcher::Clean, Answer::Refused);
            let it = LauncherReturn { occasion, from, closed: true, pid: Pid(5), status, pidfile: None, answer };
            Script::new().event(50, What::LauncherReturned(it))
        };
        let late = || What::DeadlinePassed { name: "ready".to_owned(), length_ms: 1000 };
        let verdict = |script: Script| (super::CHECK.decide)(&script.history())[0].verdict;
        assert_eq!(verdict(returned(ExitStatus::Code(1))), Fail);
        assert_eq!(verdict(returned(ExitStatus::Code(0)).event(90, late())), Fail);
        let gone = What::ActionFailed { action: "start".to_owned(), reason: "no process is left".to_owned() };
        assert_eq!(verdict(returned(ExitStatus::Code(0)).event(90, gone)), Fail);
        assert_eq!(verdict(returned(ExitStatus::Code(0))), Inconclusive);
    }

    #[test]
    fn null_and_a_log_or_nothing_at_all_pass() {
        check(|_| {}, Pass);
        check(|portrait| portrait.processes[0].descriptors[0].flags = 0o2, Pass);
        check(|portrait| drop(portrait.processes[0].descriptors.drain(..3)), Pass);
    }

    #[test]
    fn a_socket_fails_wherever_it_lies() {
        for number in 0..=2 {
            check(|portrait| opened(portrait, number, "socket:[33]"), Fail);
        }
    }

    #[test]
    fn the_pidfile_fails_under_any_name() {
        let renamed = |portrait: &mut DaemonPortrait| {
            portrait.processes[0].descriptors[2].link = "/target/.pid.7 (deleted)".to_owned();
            portrait.processes[0].descriptors[2].inode = 40;
        };
        check(renamed, Fail);
    }

    #[test]
    fn a_log_fails_as_standard_input() {
        let log = |portrait: &mut DaemonPortrait| {
            portrait.processes[0].descriptors[0].link = "/target/log".to_owned();
            portrait.processes[0].descriptors[0].flags = 0o2001;
        };
        check(log, Fail);
    }
}

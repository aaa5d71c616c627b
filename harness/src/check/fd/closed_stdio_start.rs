//! fd/closed-stdio-start: a daemon that finds its standard streams closed puts nothing else in their place.

use crate::check::Check;
use crate::check::daemon::{open, unless};
use crate::event::{DaemonPortrait, OpenDescriptor, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "fd/closed-stdio-start",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "Started with its standard streams closed, the daemon has no listener, log or pidfile as descriptor 0, 1 or 2, where \
                  whatever is printed would be written into it.",
    source: "daemon(7), \"SysV Daemons\"; open(2): the lowest number that is free",
    reports: &["sockproc#13"],
    observed: "A launch with 0, 1 and 2 closed; then the links and flags of 0, 1 and 2 of every process of the target at rest: no \
               socket, not the pidfile (by its inode), and no file that is open for writing as 0. A log as 1 and 2 is what they are \
               for.",
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
    let findings: Vec<Finding> = portraits
        .map(|(event, portrait)| match judge(portrait) {
            Ok(text) => Finding::pass(Evidence::text(text).event(event.seq)),
            Err(wrong) => Finding::fail(wrong.into_iter().map(|text| Evidence::text(text).event(event.seq)).collect()),
        })
        .collect();
    let none = "no daemon came to rest after a start with closed standard streams";
    if findings.is_empty() { vec![Finding::inconclusive(none)] } else { findings }
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
    use crate::event::DaemonPortrait;
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

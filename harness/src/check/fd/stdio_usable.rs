//! fd/stdio-usable: whatever reads or writes the standard streams can.

use crate::check::Check;
use crate::check::daemon::{of_portraits, unless};
use crate::event::{OpenDescriptor, ProcessPortrait};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "fd/stdio-usable",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "The daemon's descriptor 0 is open for reading, 1 and 2 are open for writing: a library that prints a warning neither \
                  fails nor writes into a file that came to lie there.",
    source: "daemon(7), \"SysV Daemons\"; stdio(3)",
    reports: &["go-daemon opens a /dev/null that is read-only"],
    observed: "The flags of descriptors 0, 1 and 2 of every process of the target in `/proc/PID/fdinfo` at rest after the start.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    of_portraits(history, |portrait| {
        let wrong = portrait.processes.iter().flat_map(|process| (0..=2).filter_map(|number| useless(process, number)));
        unless(wrong.collect(), "0 is open for reading, 1 and 2 for writing")
    })
}

/// Why nobody can use this stream.
fn useless(process: &ProcessPortrait, number: i32) -> Option<String> {
    let pid = process.image.pid;
    let Some(open) = process.descriptors.iter().find(|it| it.number == number) else {
        return Some(format!("descriptor {number} of pid {pid} is closed"));
    };
    let (usable, purpose): (fn(&OpenDescriptor) -> bool, _) =
        if number == 0 { (OpenDescriptor::reads, "reading") } else { (OpenDescriptor::writes, "writing") };
    (!usable(open)).then(|| format!("descriptor {number} of pid {pid}, {}, is not open for {purpose}", open.link))
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::portrayed;
    use crate::event::DaemonPortrait;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(change: impl FnOnce(&mut DaemonPortrait), want: Verdict) {
        assert_eq!(portrayed(&super::CHECK, change), want);
    }

    #[test]
    fn without_a_daemon_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }

    #[test]
    fn a_null_to_read_and_a_log_to_write_pass() {
        check(|_| {}, Pass);
    }

    #[test]
    fn one_that_is_open_for_both_passes() {
        check(|portrait| portrait.processes[0].descriptors[..3].iter_mut().for_each(|it| it.flags = 0o2), Pass);
    }

    #[test]
    fn the_wrong_way_round_or_closed_fails() {
        check(|portrait| portrait.processes[0].descriptors[0].flags = 0o1, Fail);
        check(|portrait| portrait.processes[0].descriptors[2].flags = 0o0, Fail);
        check(|portrait| portrait.processes[0].descriptors[1].flags = 0o10_000_002, Fail);
        check(|portrait| drop(portrait.processes[0].descriptors.remove(1)), Fail);
    }
}

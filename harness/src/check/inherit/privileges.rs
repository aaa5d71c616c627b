//! inherit/privileges: what is dropped is dropped whole: users, groups, and supplementary groups.

use crate::check::Check;
use crate::check::daemon::{of_portraits, portrait_from, unless};
use crate::event::{Identity, ProcessPortrait, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::scenario::Launcher;
use crate::target::TargetPrivileges;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "inherit/privileges",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Privileges),
    requirement: "A daemon that drops its privileges drops them all: its user, its group, and the supplementary groups of its \
                  launcher.",
    source: "setgroups(2), setresgid(2), setresuid(2), in that order: each needs what the next one takes away; credentials(7)",
    reports: &["knsd/daemonize"],
    observed: "`Uid`, `Gid` and `Groups` in `/proc/PID/status` of every process of the daemon at rest, launched by root with the \
               supplementary groups 0 and 54321: all four users and all four groups are those of the manifest's `privileges`, \
               and no supplementary group is any but its `gid` and its `groups`.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let Some(declared) = &history.plan.target.privileges else {
        return vec![Finding::inconclusive("the manifest does not say whom it becomes (`privileges`)")];
    };
    if portrait_from(history, Launcher::ManyGroups).is_none() {
        return vec![Finding::inconclusive("no daemon came to rest that was launched with supplementary groups")];
    }
    let unread = |what: &What| match what {
        What::Daemonised(portrait) => portrait.main().is_none_or(|main| main.identity.is_none()).then_some(()),
        _ => None,
    };
    if let Some((event, ())) = history.find(unread).next() {
        let text = "whose the main process was could not be read";
        return vec![Finding::inconclusive(Evidence::text(text).event(event.seq))];
    }
    of_portraits(history, |portrait| {
        let kept = portrait.processes.iter().flat_map(|process| kept(process, declared)).collect();
        let TargetPrivileges { uid, gid, .. } = declared;
        let count = portrait.processes.len();
        unless(
            kept,
            format!("{count} processes at rest, all of user {uid} and group {gid} and no group of the launcher's"),
        )
    })
}

/// What a process has that it was to drop, each as a sentence.
fn kept(process: &ProcessPortrait, declared: &TargetPrivileges) -> Vec<String> {
    let pid = process.image.pid;
    // One that ended while it was looked at.
    let Some(Identity { users, groups, supplementary }) = &process.identity else { return Vec::new() };
    let mut wrong = Vec::new();
    if *users != [declared.uid; 4] {
        wrong.push(format!("the users of process {pid} are {users:?}, and {} was declared", declared.uid));
    }
    if *groups != [declared.gid; 4] {
        wrong.push(format!("the groups of process {pid} are {groups:?}, and {} was declared", declared.gid));
    }
    let foreign = |group: &&u32| **group != declared.gid && !declared.groups.contains(group);
    let foreign: Vec<&u32> = supplementary.iter().filter(foreign).collect();
    if !foreign.is_empty() {
        wrong.push(format!("process {pid} has kept the supplementary groups {foreign:?}"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::Identity;
    use crate::scenario::Launcher;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// The manifest of written histories declares user 65534, group 65533 and the further group 77.
    fn check(users: [u32; 4], groups: [u32; 4], supplementary: &[u32], want: Verdict) {
        let identity = Identity { users, groups, supplementary: supplementary.to_vec() };
        let script = Script::new().portrait(100, |portrait| {
            portrait.launcher.from = Launcher::ManyGroups;
            portrait.processes[0].identity = Some(identity);
        });
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn the_declared_ones_and_no_others_pass() {
        check([65534; 4], [65533; 4], &[], Pass);
        check([65534; 4], [65533; 4], &[65533], Pass);
        check([65534; 4], [65533; 4], &[77, 65533], Pass);
    }

    #[test]
    fn a_supplementary_group_of_the_launcher_fails() {
        check([65534; 4], [65533; 4], &[0, 54321], Fail);
        check([65534; 4], [65533; 4], &[65533, 54321], Fail);
    }

    #[test]
    fn one_of_the_four_that_is_another_fails() {
        check([65534; 4], [0; 4], &[], Fail);
        for at in 0..4 {
            let (mut users, mut groups) = ([65534; 4], [65533; 4]);
            (users[at], groups[at]) = (0, 0);
            check(users, [65533; 4], &[], Fail);
            check([65534; 4], groups, &[], Fail);
        }
    }

    #[test]
    fn a_process_beside_the_main_one_is_judged_too() {
        let script = Script::new().portrait(100, |portrait| {
            portrait.launcher.from = Launcher::ManyGroups;
            let mut root = portrait.processes[0].clone();
            root.identity = Some(Identity { users: [0; 4], groups: [0; 4], supplementary: Vec::new() });
            portrait.processes.push(root);
        });
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, Fail);
    }

    #[test]
    fn a_launcher_without_groups_proves_nothing() {
        let findings = (super::CHECK.decide)(&Script::new().portrait(100, |_| {}).history());
        assert_eq!(findings[0].verdict, Inconclusive);
    }
}

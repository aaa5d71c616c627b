//! inherit/environment: what was said to the daemon alone does not reach its helpers.

use crate::check::Check;
use crate::check::daemon::of_helpers;
use crate::event::{DaemonPortrait, ProcessPortrait};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "inherit/environment",
    level: Level::Should,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Helpers),
    requirement: "No variable that a supervisor set for the daemon alone (`LISTEN_*`, `NOTIFY_SOCKET`, `WATCHDOG_*`), and none by which the \
                  program tells its own processes apart, is in the environment of a helper.",
    source: "sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3): `unset_environment`",
    reports: &["gpud#1232", "go-daemon#82"],
    observed: "The names, never the values, in `/proc/PID/environ` of every helper (see inherit/sigpipe) of a daemon at rest that was \
               launched with NOTIFY_SOCKET, LISTEN_PID and LISTEN_FDS. A name that the launcher's environment did not have is a \
               mark of the program's own, but for what shells and logins set: PWD, OLDPWD, SHLVL, _, HOME, USER, LOGNAME, SHELL. \
               What helpers are to be given belongs into the manifest's `launch.environment`.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

/// What every shell sets for its children, and whoever becomes another user.
const USUAL: [&str; 8] = ["PWD", "OLDPWD", "SHLVL", "_", "HOME", "USER", "LOGNAME", "SHELL"];

fn decide(history: &History) -> Vec<Finding> {
    of_helpers(history, judge, "no helper has a variable that was meant for others")
}

/// What is wrong with it; `None` where its daemon was given nothing that it could have handed on.
fn judge(portrait: &DaemonPortrait, helper: &ProcessPortrait) -> Option<Vec<String>> {
    let (pid, given) = (helper.image.pid, &portrait.launcher.variables);
    if !given.iter().any(|name| is_addressed(name)) {
        return None;
    }
    let sentence = |name: &String| {
        if is_addressed(name) {
            return Some(format!("pid {pid}, a helper, has {name}, which is for one process alone"));
        }
        let is_own = !given.contains(name) && !USUAL.contains(&name.as_str());
        is_own.then(|| format!("pid {pid}, a helper, has {name}, which its daemon's launcher had not"))
    };
    helper.variables.as_ref().map(|names| names.iter().filter_map(sentence).collect())
}

/// Set by a supervisor for the process that it starts.
fn is_addressed(name: &str) -> bool {
    name == "NOTIFY_SOCKET" || ["LISTEN_", "WATCHDOG_"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::helper;
    use crate::id::Pid;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(given: &[&str], had: &[&str], want: Verdict) {
        let names = |of: &[&str]| of.iter().map(|name| (*name).to_owned()).collect();
        let script = Script::new().portrait(100, |portrait| {
            portrait.launcher.variables = names(given);
            portrait.launcher.variables.push("NOTIFY_SOCKET".to_owned());
            helper(portrait).variables = Some(names(had));
        });
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want, "{given:?} {had:?}");
    }

    #[test]
    fn what_the_launcher_had_and_what_shells_set_passes() {
        check(&["PATH", "TZ"], &["PATH", "TZ", "PWD", "SHLVL", "_", "HOME"], Pass);
        check(&["LISTEN_PID", "PATH"], &["PATH"], Pass);
        check(&["PATH"], &[], Pass);
    }

    #[test]
    fn what_was_for_one_process_alone_fails() {
        for name in ["NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC"] {
            check(&["PATH", name], &["PATH", name], Fail);
            check(&["PATH"], &["PATH", name], Fail);
        }
    }

    #[test]
    fn a_mark_of_the_programs_own_fails() {
        check(&["PATH"], &["PATH", "_GO_DAEMON"], Fail);
        check(&["PATH"], &["is_slave"], Fail);
    }

    #[test]
    fn without_a_helper_that_can_be_looked_at_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().portrait(100, |_| {}).history())[0].verdict, Inconclusive);
        let spared = Script::new().portrait(100, |portrait| helper(portrait).ppid = Pid(7));
        assert_eq!((super::CHECK.decide)(&spared.history())[0].verdict, Inconclusive);
        let hidden = Script::new().portrait(100, |portrait| {
            portrait.launcher.variables.push("NOTIFY_SOCKET".to_owned());
            helper(portrait).variables = None;
        });
        assert_eq!((super::CHECK.decide)(&hidden.history())[0].verdict, Inconclusive);
    }
}

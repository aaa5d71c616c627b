//! detach/cwd: the daemon works in `/`, or where its manifest says.

use std::path::Path;

use crate::check::Check;
use crate::check::daemon::{finding, portraits, unless};
use crate::event::{DaemonPortrait, ProcessPortrait};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "detach/cwd",
    level: Level::Should,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "The daemon's working directory is `/` or the declared one; after chroot(2) it lies inside the new root.",
    source: "daemon(7), \"SysV Daemons\", step 11; chroot(2)",
    reports: &["dumb-init#210", "go-daemon"],
    observed: "The links `cwd` and `root` in `/proc/PID` of every process of the target at rest after the start. Declared is \
               `launch.directory` of the manifest; where it declares none, the launcher stood in the run's directory.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let findings: Vec<Finding> = portraits(history)
        .map(|(event, portrait)| {
            if portrait.main().is_none_or(|main| main.directory.is_none() || main.root.is_none()) {
                return Finding::inconclusive("the working directory of the main process could not be seen");
            }
            finding(event, unless(strays(portrait), "every process works where it is to"))
        })
        .collect();
    if findings.is_empty() { vec![Finding::inconclusive("no daemon came to rest after a start")] } else { findings }
}

/// Every process that works elsewhere, as a sentence.
fn strays(portrait: &DaemonPortrait) -> Vec<String> {
    let one = |process: &ProcessPortrait| {
        let (directory, root) = (process.directory.as_deref()?, process.root.as_deref()?);
        let pid = process.image.pid;
        if root != "/" {
            let inside = Path::new(directory).starts_with(root);
            return (!inside).then(|| format!("pid {pid} works in {directory}, outside of its root, {root}"));
        }
        let declared = portrait.declared_directory.as_deref();
        (directory != "/" && Some(directory) != declared).then(|| match declared {
            Some(declared) => format!("pid {pid} works in {directory}, neither in / nor in {declared}"),
            None => format!("pid {pid} works in {directory}, not in /"),
        })
    };
    portrait.processes.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(directory: Option<&str>, root: &str, declared: Option<&str>, want: Verdict) {
        let script = Script::new().portrait(100, |portrait| {
            portrait.declared_directory = declared.map(str::to_owned);
            portrait.processes[0].directory = directory.map(str::to_owned);
            portrait.processes[0].root = Some(root.to_owned());
        });
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want, "{directory:?} {root} {declared:?}");
    }

    #[test]
    fn without_a_daemon_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
        check(None, "/", None, Inconclusive);
    }

    #[test]
    fn the_root_and_the_declared_directory_pass() {
        check(Some("/"), "/", None, Pass);
        check(Some("/"), "/", Some("/srv"), Pass);
        check(Some("/srv"), "/", Some("/srv"), Pass);
    }

    #[test]
    fn any_other_directory_fails() {
        check(Some("/target"), "/", None, Fail);
        check(Some("/target"), "/", Some("/srv"), Fail);
        check(Some("/target (deleted)"), "/", None, Fail);
    }

    #[test]
    fn after_a_chroot_it_has_to_lie_inside() {
        check(Some("/jail"), "/jail", None, Pass);
        check(Some("/jail/srv"), "/jail", None, Pass);
        check(Some("/"), "/jail", None, Fail);
        check(Some("/jailbreak"), "/jail", None, Fail);
    }
}

//! Can this target do this scenario on this machine? Decided before anything runs, on data alone.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{Broken, PathFault, Resource, Side};
use crate::machine::{Machine, Tier};
use crate::manifest::{Capability, Profile, Program, Stall, WatchKind};
use crate::request::Pattern;
use crate::scenario::{Launcher, Network, Scenario, Script, Step, Supervisor, Way};
use crate::target::{Claim, Signal, Target, TargetDeadlines, TargetRecipient, TargetRestartStep, TargetStop, Template};

/// Everything that a run does, fixed before it begins; part of its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The implementation under test.
    pub target: Target,
    /// The test case.
    pub scenario: Scenario,
    /// The machine as probed.
    pub machine: Machine,
    /// Seed of every random choice of the run.
    pub seed: u64,
}

/// Why a target × scenario is not run: no verdict, but never silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotRun {
    /// The manifest does not claim it.
    Unsupported {
        /// What is not claimed, and why where the manifest says so.
        reason: String,
    },
    /// This machine lacks it.
    Unavailable {
        /// What is missing.
        reason: String,
        /// The command or change that would help.
        remedy: String,
    },
}

impl Plan {
    /// Plans a run, or says why there is none.
    ///
    /// # Errors
    /// [`NotRun::Unsupported`] when the target does not claim what the scenario needs, [`NotRun::Unavailable`] when
    /// the machine lacks a program.
    pub fn new(target: &Target, scenario: &Scenario, machine: &Machine, seed: u64) -> Result<Plan, NotRun> {
        claims_suffice(target, scenario.script())?;
        for step in &scenario.script().steps {
            if let Some(reason) = forbidden(target, step) {
                return Err(NotRun::Unsupported { reason });
            }
        }
        let systemd = scenario.script().supervisor == Some(Supervisor::Systemd);
        if let Some(why) = machine.no_systemd.as_ref().filter(|_| systemd) {
            let reason = format!("systemd cannot be run in a sandbox here: {why}");
            return Err(NotRun::Unavailable { reason, remedy: SYSTEMD_REMEDY.to_owned() });
        }
        let held = |step: &Step| matches!(step, Step::StartHung | Step::StartHeld | Step::StartTimedOut);
        let holds = scenario.script().adversary || scenario.script().steps.iter().any(held);
        if holds && !machine.listen_hook {
            let reason = "no call of a launched process can be held here (seccomp user notification)".to_owned();
            return Err(NotRun::Unavailable { reason, remedy: "use Linux 5.5 or newer, in tier A or B".to_owned() });
        }
        if scenario.script().steps.contains(&Step::CommandedStops) && !machine.tier.isolates_processes() {
            let reason =
                "a stop command that signals whom it should not would signal processes of this machine".to_owned();
            return Err(NotRun::Unavailable { reason, remedy: "use tier A or B".to_owned() });
        }
        if scenario.script().needs.contains(&Capability::Privileges) && machine.tier != Tier::A {
            let reason = "whoever drops privileges needs some: its namespace would have one user, and setuid(2) knows no \
                          other (EINVAL)";
            return Err(NotRun::Unavailable { reason: reason.to_owned(), remedy: "use tier A, as root".to_owned() });
        }
        if scenario.script().launcher == Launcher::Container && !machine.tier.isolates_network() {
            let reason = "no pid namespace can be made here".to_owned();
            return Err(NotRun::Unavailable { reason, remedy: "use tier A or B".to_owned() });
        }
        if !target.launch.sysctl.is_empty() && !machine.tier.isolates_network() {
            let reason = "the settings of its network (`launch.sysctl`) would be the host's own here".to_owned();
            return Err(NotRun::Unavailable { reason, remedy: "use tier A or B".to_owned() });
        }
        unavailable_resource(scenario.script(), machine)?;
        clients_apart(target, scenario.script(), machine)?;
        let filters = scenario.script().steps.iter().any(|step| matches!(step, Step::HalfOpen { .. }));
        if filters && !machine.tier.isolates_network() {
            let reason = "its packet filter would be the host's own here".to_owned();
            return Err(NotRun::Unavailable { reason, remedy: "use tier A or B".to_owned() });
        }
        if scenario.script().supervisor == Some(Supervisor::Supervisord) && !machine.tier.isolates_network() {
            let reason = "supervisord is driven through a port, which would be the host's own here".to_owned();
            return Err(NotRun::Unavailable { reason, remedy: "use tier A or B".to_owned() });
        }
        for Program { program, install } in target.requires.iter().chain(&scenario.script().requires) {
            if machine.programs.get(program).is_none_or(Option::is_none) {
                return Err(NotRun::Unavailable { reason: lacking(program), remedy: install.clone() });
            }
        }
        Ok(Plan { target: target.clone(), scenario: scenario.clone(), machine: machine.clone(), seed })
    }
}

/// What a scenario withholds has to be the target's alone, and within our power.
fn unavailable_resource(script: &Script, machine: &Machine) -> Result<(), NotRun> {
    for step in &script.steps {
        let Step::UpgradeWithout { resource, .. } = step else { continue };
        let (reason, remedy) = match resource {
            Resource::Processes => match &machine.no_task_groups {
                Some(why) => (
                    format!("the number of its processes cannot be bounded here: {why}"),
                    "use tier A, where control groups can be made that have the controller `pids`",
                ),
                None => continue,
            },
            Resource::Disk if !machine.tier.isolates_mounts() => {
                ("no file system can be mounted for it alone here".to_owned(), "use tier A or B")
            }
            Resource::Disk | Resource::Descriptors => continue,
        };
        return Err(NotRun::Unavailable { reason, remedy: remedy.to_owned() });
    }
    Ok(())
}

/// Clients that have a network namespace of their own come to 127.0.0.0/8, and to nothing else.
fn clients_apart(target: &Target, script: &Script, machine: &Machine) -> Result<(), NotRun> {
    if script.network != Network::Veth {
        return Ok(());
    }
    // Of the target and of no machine: nowhere is there such a route.
    let endpoint = &target.endpoints[0];
    let reachable = matches!(endpoint.address.ip(), IpAddr::V4(address) if address.is_loopback());
    if !reachable {
        let (name, address) = (&endpoint.name, endpoint.address);
        let reason =
            format!("its endpoint `{name}` is {address}: from another namespace only 127.0.0.0/8 can be reached");
        return Err(NotRun::Unsupported { reason });
    }
    match &machine.no_clients {
        None if machine.tier.isolates_network() => Ok(()),
        why => {
            let why = why.as_deref().unwrap_or("the target's would be the host's own");
            let reason = format!("its clients cannot have a network namespace of their own here: {why}");
            let remedy = "use tier A or B, on a kernel with veth, nf_tables (nft_reject) and sch_tbf".to_owned();
            Err(NotRun::Unavailable { reason, remedy })
        }
    }
}

/// systemd manages control groups, and a user without privilege owns none unless they were given to them.
const SYSTEMD_REMEDY: &str =
    "use tier A, or start it as `systemd-run --user --scope --property=Delegate=yes unbroken …` in tier B";

/// What is said of a required program, or file, that this machine lacks.
pub(crate) fn lacking(program: &str) -> String {
    let place = if program.contains('/') { "there" } else { "on PATH" };
    format!("{program} is not {place}")
}

fn claims_suffice(target: &Target, script: &Script) -> Result<(), NotRun> {
    let unsupported = |reason| Err(NotRun::Unsupported { reason });
    if !target.profiles.contains(&script.profile) {
        return unsupported(format!("the manifest does not claim the profile `{}`", script.profile.word()));
    }
    if script.socket && !target.profiles.contains(&Profile::Activated) {
        let word = Profile::Activated.word();
        return unsupported(format!("the manifest does not claim the profile `{word}`, and systemd holds the socket"));
    }
    for need in &script.needs {
        match target.capabilities.get(need) {
            Some(Claim::Claimed) => {}
            Some(Claim::Disclaimed(reason)) => {
                return unsupported(format!("the manifest disclaims `{}`: {reason}", need.word()));
            }
            None => return unsupported(format!("the manifest does not claim `{}`", need.word())),
        }
    }
    Ok(())
}

/// Why this target cannot do this step, though it claims what the scenario needs.
fn forbidden(target: &Target, step: &Step) -> Option<String> {
    match step {
        Step::Upgrade
        | Step::UnitReload
        | Step::Sequential { .. }
        | Step::Storm { .. }
        | Step::BrokenUpgrade { .. }
        | Step::UpgradeWithout { .. }
        | Step::UpgradeAcross { .. }
        | Step::SuspendInUpgrade { .. }
            if target.restart.is_none() =>
        {
            Some("the manifest has no [restart]".to_owned())
        }
        Step::BrokenUpgrade { .. } | Step::UpgradeWithout { .. } | Step::UpgradeAcross { .. } => {
            forbidden_fault(target, step)
        }
        Step::StartRelative if !starts_self(target) => {
            Some("its launch command does not begin with `{self}`".to_owned())
        }
        Step::RelativeStart if target.relative_pidfile().is_none() => {
            Some("no word of its launch command names a pidfile below its starting directory".to_owned())
        }
        Step::UnitReload if !reloads_by_hangup(target) => {
            Some("its restart is not SIGHUP to the main process alone, which ExecReload= sends".to_owned())
        }
        Step::Storm { .. } if !is_one_signal(target) => Some("its restart is more than one signal".to_owned()),
        Step::Change(way) => match target.restart.as_ref().and_then(|restart| restart.watch.as_ref()) {
            None => Some("the manifest has no `restart.watch`".to_owned()),
            Some(watch) if watch.kind == WatchKind::Executable && *way == Way::InPlace => {
                Some("it watches an executable, and a running one cannot be written in place (ETXTBSY)".to_owned())
            }
            Some(_) => None,
        },
        Step::Orphan if matches!(target.stop, TargetStop::Command(_)) => {
            Some("it is stopped by a command, which would be none of its container".to_owned())
        }
        Step::SuspendInUpgrade { side: Side::Old, .. } if target.stall != Some(Stall::StopWorkers) => {
            Some("nothing says that others than its main process accept (`stall = \"stop-workers\"`)".to_owned())
        }
        Step::Stall if target.stall.is_none() => Some("the manifest has no `stall`".to_owned()),
        Step::WatchDrain { ms } if least_drain(&target.deadlines) < Duration::from_millis(*ms) => {
            let least = least_drain(&target.deadlines).as_millis();
            Some(format!("its drain may be over after {least} ms, before the {ms} ms for which it would be watched"))
        }
        Step::Load(patterns) if outlasts(patterns, &target.deadlines) => {
            let longest = SILENCE_MAX.as_millis();
            Some(format!(
                "its drain deadline is shorter than the {longest} ms for which a client of this load may be silent"
            ))
        }
        Step::Load(patterns) if patterns.contains(&Pattern::Slow) => {
            let first = target.endpoints.first()?;
            let reason = || format!("the endpoint `{}` names no slow request (`slow`)", first.name);
            first.slow.is_none().then(reason)
        }
        _ => None,
    }
}

/// Why the fault of an upgrade cannot be made for this target.
fn forbidden_fault(target: &Target, step: &Step) -> Option<String> {
    match step {
        Step::BrokenUpgrade { fault: Broken::Misconfigured, .. } => (!deploys(target))
            .then(|| "its restart has no `deploy`, before which its configuration could be spoilt".to_owned()),
        Step::BrokenUpgrade { .. } if !deploys_self(target) => {
            Some("no `deploy` of its restart puts a new `{self}` in place".to_owned())
        }
        Step::BrokenUpgrade { fault: Broken::Hangs, .. } if launches_anew(target) => Some(
            "its restart is a `launch`: a new generation that hangs is given up by who launched it, the harness"
                .to_owned(),
        ),
        Step::UpgradeWithout { resource: Resource::Processes, .. } if launches_anew(target) => {
            Some("its restart is a `launch`: its main process begins nobody, and needs no process for it".to_owned())
        }
        Step::UpgradeWithout { resource: Resource::Disk, .. } if writes_to_trigger(target) => {
            Some("its trigger is a file that is written, for which there would be no room either".to_owned())
        }
        Step::UpgradeAcross { fault: PathFault::Shape(_), .. } => {
            let first = target.endpoints.first().filter(|it| !it.offers(Pattern::Reader))?;
            Some(format!(
                "the endpoint `{}` names no long answer (`stream`), and no other one would be held up",
                first.name
            ))
        }
        _ => None,
    }
}

/// For how long a silent client, or one with half a request, may keep a server waiting (SPEC, drain/first-request).
const SILENCE_MAX: Duration = Duration::from_millis(1500);

/// A server that may cut what is left before such a client speaks cannot be judged by whether it answers.
fn outlasts(patterns: &[Pattern], deadlines: &TargetDeadlines) -> bool {
    least_drain(deadlines) < SILENCE_MAX
        && patterns.iter().any(|pattern| matches!(pattern, Pattern::Silent | Pattern::Half))
}

/// Until then nothing is cut that is in flight.
fn least_drain(deadlines: &TargetDeadlines) -> Duration {
    deadlines.drain_least.unwrap_or(deadlines.drain)
}

fn deploys(target: &Target) -> bool {
    target.restart.as_ref().is_some_and(|restart| restart.steps.contains(&TargetRestartStep::Deploy))
}

/// Its executable is a copy of ours that a restart renews: only such a one can be replaced by a broken one.
fn deploys_self(target: &Target) -> bool {
    deploys(target) && target.launch.command.iter().any(Template::names_self)
}

/// The next generation is begun by us.
fn launches_anew(target: &Target) -> bool {
    target.restart.as_ref().is_some_and(|restart| restart.steps.contains(&TargetRestartStep::Launch))
}

/// What pulls its trigger is our own writing; a renamed executable alone takes no room.
fn writes_to_trigger(target: &Target) -> bool {
    let Some(restart) = &target.restart else { return false };
    match restart.steps[restart.trigger()] {
        TargetRestartStep::Deploy => target.files.iter().any(|file| file.content.is_versioned()),
        TargetRestartStep::Rewrite(_) | TargetRestartStep::Replace(_) => true,
        _ => false,
    }
}

/// It is launched in a working directory of no meaning, by the path of our copy: that path can be made relative.
fn starts_self(target: &Target) -> bool {
    target.launch.directory.is_none()
        && target.launch.command.first().is_some_and(|first| first.as_written() == "{self}")
}

/// Nothing but one signal acts: a storm of it is what an impatient operator does.
fn is_one_signal(target: &Target) -> bool {
    let steps = target.restart.iter().flat_map(|restart| &restart.steps);
    let acting: Vec<_> = steps.filter(|step| **step != TargetRestartStep::Deploy).collect();
    matches!(acting[..], [TargetRestartStep::Signal { .. }])
}

/// What `ExecReload=/bin/kill -HUP $MAINPID` does is all that acts.
fn reloads_by_hangup(target: &Target) -> bool {
    let steps = target.restart.iter().flat_map(|restart| &restart.steps);
    let acting: Vec<_> = steps.filter(|step| **step != TargetRestartStep::Deploy).collect();
    matches!(acting[..], [TargetRestartStep::Signal { signal: Signal(libc::SIGHUP), to: TargetRecipient::Main }])
}

/// "unsupported: …" or "unavailable: …".
impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotRun::Unsupported { reason } => write!(f, "unsupported: {reason}"),
            NotRun::Unavailable { reason, remedy } => write!(f, "unavailable: {reason} ({remedy})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::catalogue::Catalogue;

    fn machine(programs: &[(&str, Option<&str>)]) -> Machine {
        let programs = programs.iter().map(|(name, path)| ((*name).to_owned(), path.map(str::to_owned)));
        Machine {
            tier: Tier::A,
            tier_reason: String::new(),
            kernel: "6.1".to_owned(),
            processors: 2,
            uid: 0,
            listen_hook: true,
            no_systemd: None,
            no_task_groups: None,
            no_clients: None,
            programs: programs.collect::<BTreeMap<_, _>>(),
        }
    }

    fn check(target: &str, scenario: &str, machine: &Machine, want: Result<(), &str>) {
        let catalogue = Catalogue::embedded();
        let target = catalogue.target(target).expect("it is embedded");
        let scenario = catalogue.scenario(scenario).expect("it is embedded");
        let got = Plan::new(target, scenario, machine, 0).map(|_| ()).map_err(|why| why.to_string());
        assert_eq!(got, want.map_err(str::to_owned));
    }

    #[test]
    fn a_target_that_claims_what_is_needed_is_run() {
        for scenario in ["restart/upgrade-under-load", "restart/backlog-kept", "restart/watch-triggered"] {
            check("reference/exec-inherit", scenario, &machine(&[]), Ok(()));
        }
    }

    #[test]
    fn what_is_not_claimed_is_unsupported_with_the_manifests_reason() {
        check(
            "reference/exec-inherit-signal",
            "restart/watch-triggered",
            &machine(&[]),
            Err("unsupported: the manifest does not claim `watch`"),
        );
        check(
            "nginx/quit-start",
            "restart/backlog-kept",
            &machine(&[("nginx", Some("/usr/sbin/nginx"))]),
            Err(
                "unsupported: the manifest disclaims `stall`: the next start waits for the old master, which waits for \
                 its workers: stalled ones never exit",
            ),
        );
    }

    #[test]
    fn a_running_executable_is_not_written_in_place() {
        check(
            "reference/exec-inherit",
            "restart/watch-data",
            &machine(&[]),
            Err("unsupported: it watches an executable, and a running one cannot be written in place (ETXTBSY)"),
        );
    }

    #[test]
    fn a_slow_load_needs_a_slow_request() {
        let catalogue = Catalogue::embedded();
        let mut target = catalogue.target("reference/exec-inherit").expect("it is embedded").clone();
        target.endpoints[0].slow = None;
        let scenario = catalogue.scenario("restart/upgrade-under-load").expect("it is embedded");
        let why = Plan::new(&target, scenario, &machine(&[]), 0).expect_err("there is no slow request");
        assert_eq!(why.to_string(), "unsupported: the endpoint `http` names no slow request (`slow`)");
    }

    #[test]
    fn a_drain_deadline_that_silent_clients_outlast_is_no_place_for_them() {
        let want =
            "unsupported: its drain deadline is shorter than the 1500 ms for which a client of this load may be silent";
        check("reference/exec-inherit-brisk", "restart/old-connections", &machine(&[]), Err(want));
        check("reference/exec-inherit-signal", "restart/old-connections", &machine(&[]), Ok(()));
    }

    #[test]
    fn a_pidfile_that_the_command_does_not_name_has_no_relative_path() {
        let catalogue = Catalogue::embedded();
        let mut target = catalogue.target("reference/orphan").expect("it is embedded").clone();
        assert_eq!(target.relative_pidfile(), Some(("{dir}/child_process.pid", "child_process.pid")));
        for (directory, is_right) in [("{dir}", true), ("/srv", false), ("{dir}/child", false)] {
            target.launch.directory = Some(Template(directory.to_owned()));
            assert_eq!(target.relative_pidfile().is_some(), is_right, "{directory}");
        }
        target.launch.directory = None;
        target.launch.command.truncate(2);
        assert_eq!(target.relative_pidfile(), None);
    }

    #[test]
    fn where_everybody_can_be_signalled_no_stop_command_is_given_a_strangers_number() {
        let bare = Machine { tier: Tier::C, ..machine(&[]) };
        let want = "unavailable: a stop command that signals whom it should not would signal processes of this machine (use tier A or B)";
        check("reference/orphan", "daemon/stop-command", &bare, Err(want));
        check("reference/orphan", "daemon/stop-command", &machine(&[]), Ok(()));
    }

    #[test]
    fn a_drain_that_may_be_over_is_not_watched() {
        let want = "unsupported: its drain may be over after 1000 ms, before the 1200 ms for which it would be watched";
        check("reference/exec-inherit-brisk", "restart/idle-drain", &machine(&[]), Err(want));
        check("reference/exec-inherit-signal", "restart/idle-drain", &machine(&[]), Ok(()));
    }

    #[test]
    fn what_cannot_be_withheld_from_the_target_alone_is_unavailable() {
        let target = "reference/exec-inherit-signal";
        let bare = Machine { tier: Tier::C, ..machine(&[]) };
        let want = "unavailable: no file system can be mounted for it alone here (use tier A or B)";
        check(target, "restart/without-disk", &bare, Err(want));
        check(target, "restart/without-descriptors", &bare, Ok(()));
        let poor = Machine { no_task_groups: Some("no group".to_owned()), ..machine(&[]) };
        let want = "unavailable: the number of its processes cannot be bounded here: no group (use tier A, where control groups \
                    can be made that have the controller `pids`)";
        check(target, "restart/without-processes", &poor, Err(want));
        check(target, "restart/without-processes", &machine(&[]), Ok(()));
    }

    #[test]
    fn clients_come_from_another_namespace_where_there_can_be_one_and_a_route() {
        let (target, scenario) = ("reference/exec-inherit-signal", "restart/dropped-packets");
        check(target, scenario, &machine(&[]), Ok(()));
        let want = |why: &str| {
            format!(
                "unavailable: its clients cannot have a network namespace of their own here: {why} (use tier A or B, on a kernel with \
                 veth, nf_tables (nft_reject) and sch_tbf)"
            )
        };
        let bare = Machine { tier: Tier::C, ..machine(&[]) };
        check(target, scenario, &bare, Err(&want("the target's would be the host's own")));
        let poor = Machine { no_clients: Some("shape packets (tbf): no such file".to_owned()), ..machine(&[]) };
        check(target, scenario, &poor, Err(&want("shape packets (tbf): no such file")));
        check(target, "restart/upgrade-under-load", &poor, Ok(()));
        let want =
            "unsupported: the endpoint `echo` names no long answer (`stream`), and no other one would be held up";
        check("reference/takeover-echo", "restart/shaped", &machine(&[]), Err(want));
        check("reference/takeover-echo", scenario, &machine(&[]), Ok(()));
        let catalogue = Catalogue::embedded();
        let mut target = catalogue.target(target).expect("it is embedded").clone();
        target.endpoints[0].address = "[::1]:10086".parse().expect("an address");
        let why = Plan::new(&target, catalogue.scenario(scenario).expect("it is embedded"), &machine(&[]), 0);
        let want =
            "unsupported: its endpoint `http` is [::1]:10086: from another namespace only 127.0.0.0/8 can be reached";
        assert_eq!(why.map(|_| ()).map_err(|why| why.to_string()), Err(want.to_owned()));
    }

    #[test]
    fn the_adversary_needs_the_hook() {
        let blind = Machine { listen_hook: false, ..machine(&[]) };
        let want = "unavailable: no call of a launched process can be held here (seccomp user notification) (use Linux 5.5 or newer, in tier A or B)";
        check("reference/orphan", "daemon/held-start", &blind, Err(want));
        check("reference/orphan", "daemon/held-start", &machine(&[]), Ok(()));
    }

    #[test]
    fn privileges_are_dropped_where_there_are_some() {
        let user = Machine { tier: Tier::B, ..machine(&[]) };
        let want = "unavailable: whoever drops privileges needs some: its namespace would have one user, and setuid(2) knows \
                    no other (EINVAL) (use tier A, as root)";
        check("reference/orphan", "daemon/privileges", &user, Err(want));
        check("reference/orphan", "daemon/privileges", &machine(&[]), Ok(()));
    }

    #[test]
    fn where_systemd_cannot_be_run_its_scenarios_are_unavailable_and_no_others() {
        let programs: Vec<(&str, Option<&str>)> =
            ["systemctl", "nsenter", "nohup"].map(|name| (name, Some("/bin/x"))).to_vec();
        let machine =
            Machine { no_systemd: Some("make a control group: Permission denied".to_owned()), ..machine(&programs) };
        let target = "reference/exec-inherit-signal";
        let want = format!(
            "unavailable: systemd cannot be run in a sandbox here: make a control group: Permission denied ({SYSTEMD_REMEDY})"
        );
        check(target, "foreground/systemd", &machine, Err(&want));
        check(target, "foreground/nohup", &machine, Ok(()));
    }

    #[test]
    fn a_missing_file_is_not_looked_for_on_path() {
        let library = "/usr/share/gocode/src/github.com/sevlyar/go-daemon/daemon.go";
        let want = format!(
            "unavailable: {library} is not there (apt-get install -y --no-install-recommends golang-github-sevlyar-go-daemon-dev)"
        );
        let machine = machine(&[("go", Some("/usr/bin/go")), (library, None)]);
        check("go-daemon", "daemon/start-stop", &machine, Err(&want));
    }

    #[test]
    fn a_missing_program_is_unavailable_with_its_remedy() {
        for programs in [&[][..], &[("nginx", None)]] {
            check(
                "nginx/hup",
                "restart/upgrade-under-load",
                &machine(programs),
                Err("unavailable: nginx is not on PATH (apt-get install -y nginx)"),
            );
        }
    }
}

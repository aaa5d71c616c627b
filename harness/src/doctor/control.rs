//! The runs of an examination as data: the baseline's scenario, and the target with a restart that is none.

use std::time::Duration;

use super::{Kind, restarts};
use crate::manifest::{Done, Profile};
use crate::request::Pattern;
use crate::scenario::{Launcher, Network, Scenario, Script, Step};
use crate::target::{
    Target, TargetAwait, TargetRecipient, TargetRestart, TargetRestartStep, TargetStop, TargetWatch, Template,
};

/// A restart that does nothing is waited for this long, whatever the manifest grants real ones: nothing will come.
const NOTHING_MAX: Duration = Duration::from_secs(2);

/// How long the load runs without a restart: long enough for every kept connection and slow request to come round.
const BASELINE_MS: u64 = 1500;

/// One run, or why there is none.
pub(super) struct Control {
    pub(super) kind: Kind,
    pub(super) run: Result<(Target, Scenario), String>,
}

/// The runs of a target, the baseline first.
pub(super) fn controls(target: &Target, upgrades: &Scenario) -> Vec<Control> {
    let mut controls = vec![Control { kind: Kind::Baseline, run: Ok((target.clone(), baseline(target))) }];
    if restarts(target) {
        controls.push(Control { kind: Kind::NoRestart, run: Ok((no_restart(target), upgrades.clone())) });
        controls.push(Control { kind: Kind::StopStart, run: stop_start(target).map(|it| (it, upgrades.clone())) });
    }
    controls
}

/// Start, load without a restart, stop, look for leftovers.
fn baseline(target: &Target) -> Scenario {
    let slow = target.endpoints.first().is_some_and(|it| it.slow.is_some());
    let patterns = [Some(Pattern::Fresh), Some(Pattern::Busy), slow.then_some(Pattern::Slow)];
    Scenario(Script {
        name: "doctor/baseline".to_owned(),
        about: "Start, load without a restart, stop".to_owned(),
        // Every target claims one, and the scenario asks for nothing that only one of them has.
        profile: target.profiles.first().copied().unwrap_or(Profile::Foreground),
        needs: Vec::new(),
        core: false,
        listen_hook: false,
        adversary: false,
        launcher: Launcher::Clean,
        notify: None,
        supervisor: None,
        unit: Vec::new(),
        socket: false,
        pressed: false,
        network: Network::Loopback,
        requires: Vec::new(),
        checks: vec!["life/nothing-left".to_owned()],
        steps: vec![
            Step::Start,
            Step::Load(patterns.into_iter().flatten().collect()),
            Step::Baseline { ms: BASELINE_MS },
            Step::Quiesce,
            Step::Stop,
            Step::Scan,
        ],
    })
}

/// The new version is put in place and nobody is told.
fn no_restart(target: &Target) -> Target {
    let mut control = renamed(target, "no-restart");
    control.deadlines.upgrade = control.deadlines.upgrade.min(NOTHING_MAX);
    if let Some(restart) = &mut control.restart {
        let nothing = TargetRestartStep::Run(vec![Template("true".to_owned())]);
        let deploys = restart.steps.contains(&TargetRestartStep::Deploy) && !deploy_restarts(target, restart);
        restart.steps = if deploys { vec![TargetRestartStep::Deploy, nothing] } else { vec![nothing] };
    }
    control
}

/// What most deploy scripts do.
fn stop_start(target: &Target) -> Result<Target, String> {
    let Some(restart) = &target.restart else { return Err("it has no restart".to_owned()) };
    if deploy_restarts(target, restart) {
        return Err("a deploy restarts it by itself: a stop and a start would come in between".to_owned());
    }
    let TargetStop::Signal(signal) = target.stop else {
        return Err("it is stopped by a command, whose end need not be the target's".to_owned());
    };
    let mut control = renamed(target, "stop-start");
    let stop = TargetRestartStep::Signal { signal, to: TargetRecipient::Main };
    let wait = TargetRestartStep::Wait(TargetAwait::OldMainExit);
    control.restart = Some(TargetRestart {
        steps: vec![TargetRestartStep::Deploy, stop, wait, TargetRestartStep::Launch],
        done: if target.tells_versions() { Done::NewVersion } else { Done::Steps },
        watch: None,
    });
    Ok(control)
}

/// Whether putting the new version in place is the restart: the target watches for it.
fn deploy_restarts(target: &Target, restart: &TargetRestart) -> bool {
    let changes = |watch: &TargetWatch| {
        watch.path.names_self()
            || target.files.iter().any(|file| file.path == watch.path && file.content.is_versioned())
    };
    restart.watch.as_ref().is_some_and(changes)
}

fn renamed(target: &Target, control: &str) -> Target {
    Target { name: format!("{}/{control}", target.name), ..target.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use crate::manifest::Source;

    fn of(name: &str) -> Vec<Control> {
        let catalogue = Catalogue::embedded();
        let upgrades = catalogue.scenario("restart/upgrade-under-load").expect("it is embedded");
        controls(catalogue.target(name).expect("it is embedded"), upgrades)
    }

    #[test]
    fn a_target_that_restarts_has_three_runs() {
        let runs = of("nginx/hup");
        assert_eq!(
            runs.iter().map(|it| it.kind).collect::<Vec<_>>(),
            [Kind::Baseline, Kind::NoRestart, Kind::StopStart]
        );
        assert!(runs.iter().all(|it| it.run.is_ok()));
    }

    #[test]
    fn where_a_deploy_is_the_restart_the_controls_do_not_deploy() {
        let runs = of("reference/exec-inherit");
        let (target, _) = runs[1].run.as_ref().expect("it can be run");
        let steps = &target.restart.as_ref().expect("it has a restart").steps;
        assert!(!steps.contains(&TargetRestartStep::Deploy));
        assert!(runs[2].run.is_err());
    }

    #[test]
    fn the_baseline_is_a_scenario_that_can_be_run() {
        let catalogue = Catalogue::embedded();
        for target in &catalogue.targets {
            let script = baseline(target).script().clone();
            let source = Source::new("baseline", "");
            assert!(Scenario::validate(script, &source).is_ok(), "{}", target.name);
        }
    }
}

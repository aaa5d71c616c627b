//! A scenario, validated: its steps stand in an order that can be run.

use super::problem::FRAME;
use super::{Launcher, Network, NotifyAddress, Scenario, Script, ScriptProblem, Step, Supervisor};
use crate::event::{Broken, Obstacle, PathFault, Shape};
use crate::manifest::{Capability, KeyPath, ManifestError, Part, Profile, Source};
use crate::request::Pattern;

/// What a step's list is a list of.
const LAUNCHERS: &str = "launcher, such as `blocked-signals`";
const OBSTACLES: &str =
    "obstacle: `dead-pid`, `reused-pid`, `empty`, `garbage`, `longer`, `symlink`, `fifo`, `directory`";

impl Scenario {
    /// Reads and validates the text of a scenario; `file_name` is what errors show.
    ///
    /// # Errors
    /// The first thing in it that is wrong, with its place and the fix.
    pub fn parse(text: &str, file_name: &str) -> Result<Scenario, ManifestError> {
        let source = Source::new(file_name, text);
        Scenario::validate(source.read()?, &source)
    }

    /// Validates a script that was read from `source`. Whether its checks exist is
    /// [`Scenario::require_checks`]: the registry is not known here.
    ///
    /// # Errors
    /// The first thing in it that is wrong, with its place and the fix.
    pub fn validate(script: Script, source: &Source) -> Result<Scenario, ManifestError> {
        let value = |key: &str| KeyPath::of(key);
        crate::target::name(&script.name).map_err(|problem| source.error(value("name"), Part::Value, problem))?;
        if script.checks.is_empty() {
            let problem = ScriptProblem::Empty { of: "check: without one nothing is judged" };
            return Err(source.error(value("checks"), Part::Value, problem));
        }
        for (n, id) in script.checks.iter().enumerate() {
            let at = value("checks").index(n);
            crate::target::check_id(id).map_err(|problem| source.error(at.clone(), Part::Value, problem))?;
            if script.checks[..n].contains(id) {
                return Err(source.error(at, Part::Value, ScriptProblem::Twice { what: id.clone() }));
            }
        }
        for (n, need) in script.needs.iter().enumerate() {
            if script.needs[..n].contains(need) {
                let problem = ScriptProblem::Twice { what: need.word().to_owned() };
                return Err(source.error(value("needs").index(n), Part::Value, problem));
            }
        }
        if script.adversary && script.listen_hook {
            return Err(source.error(value("adversary"), Part::Value, ScriptProblem::TwoHooks));
        }
        let spoken = script.notify.and_then(|form| match form {
            NotifyAddress::Path | NotifyAddress::Abstract => Some(Capability::Notify),
            NotifyAddress::Fd => Some(Capability::NotifyFd),
            NotifyAddress::IfClaimed => None,
        });
        if let Some(capability) = spoken.filter(|capability| !script.needs.contains(capability)) {
            let problem = ScriptProblem::Needs { step: "notify", capability };
            return Err(source.error(value("notify"), Part::Value, problem));
        }
        if script.launcher == Launcher::Container && script.profile == Profile::Daemon {
            return Err(source.error(value("launcher"), Part::Value, ScriptProblem::FirstReturns));
        }
        if script.socket && script.supervisor != Some(Supervisor::Systemd) {
            return Err(source.error(value("socket"), Part::Value, ScriptProblem::NeedsSystemd { step: "socket" }));
        }
        let mut order = Order::default();
        for (n, step) in script.steps.iter().enumerate() {
            let at = value("steps").index(n);
            let possible = claims_suffice(&script, step).and_then(|()| order.take(step));
            possible.map_err(|problem| source.error(at, Part::Value, problem))?;
        }
        order.end().map_err(|problem| source.error(value("steps"), Part::Key, problem))?;
        Ok(Scenario(script))
    }

    /// Every check of this scenario is one of `known`; `source` is the text that it was read from.
    ///
    /// # Errors
    /// The first id that is not known, with its place and the nearest one.
    pub fn require_checks(&self, known: &[&str], source: &Source) -> Result<(), ManifestError> {
        match self.0.checks.iter().position(|id| !known.contains(&id.as_str())) {
            None => Ok(()),
            Some(n) => {
                let known = known.iter().map(|id| (*id).to_owned()).collect();
                let problem = ScriptProblem::UnknownCheck { id: self.0.checks[n].clone(), known };
                Err(source.error(KeyPath::of("checks").index(n), Part::Value, problem))
            }
        }
    }
}

/// The capability without which a step cannot be taken.
fn needed_by(step: &Step) -> Option<Capability> {
    match step {
        Step::Stall | Step::Park { .. } | Step::Unstall => Some(Capability::Stall),
        Step::Change(_) => Some(Capability::Watch),
        Step::Initialised => Some(Capability::SlowInit),
        Step::Rotate | Step::UpgradeLogged => Some(Capability::Log),
        Step::UpgradeListeners => Some(Capability::Listeners),
        Step::KillAfterUpgrade { .. } => Some(Capability::Respawn),
        Step::KillInUpgrade { .. } | Step::SuspendInUpgrade { .. } => Some(Capability::Successor),
        Step::BrokenUpgrade { fault: Broken::Misconfigured, .. } => Some(Capability::ConfigFile),
        Step::WatchHeld { .. } => Some(Capability::DrainDeadline),
        Step::ConfigTests { .. } => Some(Capability::ConfigTest),
        Step::CommandedStops => Some(Capability::StopCommand),
        Step::StatusCommands => Some(Capability::StatusCommand),
        Step::StopSucceeded | Step::RelativeStart => Some(Capability::Pidfile),
        Step::Reload => Some(Capability::NotifyReload),
        Step::AwaitWatchdog => Some(Capability::Watchdog),
        Step::BrokenUpgrade { .. } | Step::StartRelative => Some(Capability::ExecSelf),
        Step::ObstructedStarts(_) | Step::RacingStarts { .. } => Some(Capability::Pidfile),
        Step::RestartBeside => Some(Capability::Helpers),
        _ => None,
    }
}

/// What a step asks of the target must be asked for in the script, so that a plan can be refused before it runs.
fn claims_suffice(script: &Script, step: &Step) -> Result<(), ScriptProblem> {
    if let Some(capability) = needed_by(step).filter(|capability| !script.needs.contains(capability)) {
        return Err(ScriptProblem::Needs { step: step.word(), capability });
    }
    let restarts = matches!(
        step,
        Step::Upgrade
            | Step::Change(_)
            | Step::BrokenUpgrade { .. }
            | Step::KillInUpgrade { .. }
            | Step::KillAfterUpgrade { .. }
            | Step::UpgradeWithout { .. }
            | Step::SuspendInUpgrade { .. }
            | Step::UpgradeAcross { .. }
            | Step::UpgradeLogged
            | Step::UpgradeListeners
            | Step::Sequential { .. }
            | Step::Storm { .. }
            | Step::UnitReload
    );
    if restarts && script.profile != Profile::Restart {
        return Err(ScriptProblem::NeedsRestart { step: step.word() });
    }
    let of_daemons = matches!(
        step,
        Step::StartBusy
            | Step::StartBlocked
            | Step::StartHung
            | Step::StartAgain
            | Step::StartUnmasked
            | Step::StartClosed
            | Step::StartAddressed
            | Step::RestartBeside
            | Step::ObstructedStarts(_)
            | Step::RacingStarts { .. }
            | Step::StartsFrom(_)
            | Step::BusyStartsFrom(_)
    );
    let of_daemons = of_daemons || (*step == Step::Hangup && script.supervisor != Some(Supervisor::Nohup));
    if of_daemons && script.profile != Profile::Daemon {
        return Err(ScriptProblem::NeedsDaemon { step: step.word() });
    }
    let of_systemd = matches!(
        step,
        Step::StartHeld
            | Step::KillOut
            | Step::EndMain
            | Step::AskStopped
            | Step::Limits
            | Step::UnitReload
            | Step::AwaitWatchdog
            | Step::StartTimedOut
    );
    if of_systemd && script.supervisor != Some(Supervisor::Systemd) {
        return Err(ScriptProblem::NeedsSystemd { step: step.word() });
    }
    if *step == Step::AskStopped && !script.socket {
        return Err(ScriptProblem::NeedsSocket { step: step.word() });
    }
    if *step == Step::KillMain && script.supervisor.is_none() {
        return Err(ScriptProblem::NeedsSupervisor { step: step.word() });
    }
    if matches!(step, Step::UpgradeWithout { .. }) && script.supervisor.is_some() {
        return Err(ScriptProblem::NeedsNoSupervisor { step: step.word() });
    }
    if let Step::UpgradeAcross { fault, .. } = step {
        path_fits(script, step.word(), *fault)?;
    }
    launcher_fits(script, step)
}

/// What a fault of the path asks of the path, and of itself.
fn path_fits(script: &Script, step: &'static str, fault: PathFault) -> Result<(), ScriptProblem> {
    match fault {
        _ if script.network != Network::Veth => Err(ScriptProblem::NeedsVeth { step }),
        PathFault::Shape(Shape { rate_kbit: 0, .. } | Shape { latency_ms: 0, .. }) => Err(ScriptProblem::Zero),
        PathFault::Shape(Shape { burst_bytes: bytes, .. }) if bytes < FRAME => Err(ScriptProblem::Burst { bytes }),
        PathFault::Drop | PathFault::Reject | PathFault::Shape(_) => Ok(()),
    }
}

/// What a step asks of the launcher.
fn launcher_fits(script: &Script, step: &Step) -> Result<(), ScriptProblem> {
    // Only daemons are started so.
    if let Step::StartsFrom(launchers) | Step::BusyStartsFrom(launchers) = step
        && launchers.contains(&Launcher::Container)
    {
        return Err(ScriptProblem::FirstReturns);
    }
    if *step == Step::Orphan && script.launcher != Launcher::Container {
        return Err(ScriptProblem::NeedsContainer { step: step.word() });
    }
    if *step == Step::Hangup && script.launcher != Launcher::Terminal {
        return Err(ScriptProblem::NeedsTerminal { step: step.word() });
    }
    Ok(())
}

/// Where a script has come to.
#[derive(Debug, Default)]
struct Order {
    started: bool,
    /// Load or parked connections are on their way.
    load: bool,
    upgraded: bool,
    stalled: bool,
    half_open: bool,
    stopped: bool,
}

impl Order {
    fn take(&mut self, step: &Step) -> Result<(), ScriptProblem> {
        let refuse = |reason, fix| Err(ScriptProblem::Order { step: step.word(), reason, fix });
        if !self.started && !starts(step) && !matches!(step, Step::Scan | Step::Prepare { .. }) {
            return refuse("the target is not running", "put `start` before it");
        }
        if self.started && starts(step) {
            return refuse("the target is running", "put `stop` before it");
        }
        if let Some(unknown) = compares_with(step).filter(|_| !self.stopped) {
            return refuse(unknown, "put `start` and `stop` before it");
        }
        if is_of_none(step) {
            return Err(ScriptProblem::Zero);
        }
        match step {
            Step::StartsFrom(launchers) | Step::BusyStartsFrom(launchers) => {
                return distinct(launchers, LAUNCHERS, Launcher::word);
            }
            Step::ObstructedStarts(obstacles) => return distinct(obstacles, OBSTACLES, Obstacle::word),
            Step::StartTimedOut => {}
            Step::Start | Step::StartHeld | Step::StartUnmasked | Step::StartClosed | Step::StartRelative => {
                *self = Order { started: true, ..Order::default() }
            }
            Step::StartAddressed => *self = Order { started: true, ..Order::default() },
            Step::StartBusy | Step::StartBlocked | Step::StartHung | Step::StartAgain => {}
            Step::MarkedStarts | Step::StaleListenPid | Step::EarlyStop | Step::Hangup | Step::Suspend => {}
            Step::RestartBeside | Step::RelativeStart => {}
            Step::KillMain | Step::KillOut | Step::EndMain | Step::AskStopped => {}
            Step::Limits | Step::AwaitWatchdog | Step::Initialised | Step::Orphan => {}
            Step::Hup | Step::Reload | Step::CloseFirst | Step::Rest | Step::Rotate => {}
            Step::Load(patterns) => return self.load(patterns),
            _ if is_under_load(step) && !self.load => return refuse("there is no load", "put `load` before it"),
            Step::Baseline { .. } | Step::ConfigTests { .. } => {}
            Step::Ask { .. } | Step::RacingStarts { .. } | Step::BrokenUpgrade { .. } | Step::Hold { .. } => {}
            Step::Upgrade | Step::UnitReload | Step::Change(_) | Step::Sequential { .. } | Step::Storm { .. } => {
                self.upgraded = true;
            }
            Step::KillAfterUpgrade { .. } | Step::UpgradeLogged | Step::UpgradeListeners => self.upgraded = true,
            Step::UpgradeAcross { .. } => self.upgraded = true,
            // It may have succeeded.
            Step::UpgradeWithout { .. } | Step::SuspendInUpgrade { .. } => self.upgraded = true,
            Step::WatchDrain { .. } | Step::WatchHeld { .. } if !self.upgraded => {
                return refuse("nothing was upgraded", "put `upgrade` before it");
            }
            Step::Prepare { .. } | Step::KillInUpgrade { .. } | Step::WatchDrain { .. } => {}
            Step::WatchHeld { .. } | Step::Release => {}
            Step::Settle if !self.upgraded => return refuse("nothing was upgraded", "put `upgrade` before it"),
            Step::Settle => {}
            Step::Stall | Step::Park { .. } | Step::Unstall | Step::HalfOpen { .. } | Step::Complete => {
                return self.hold(step);
            }
            Step::Quiesce if self.half_open => return refuse("handshakes are half-open", "put `complete` before it"),
            Step::Quiesce if !self.load => return refuse("there is no load", "put `load` or `park` before it"),
            Step::Quiesce => self.load = false,
            _ if stops(step) && self.load => return refuse("the load is on", "put `quiesce` before it"),
            _ if stops(step) && self.stalled => {
                return refuse("stalled processes cannot exit", "put `unstall` before it");
            }
            Step::Stop | Step::CommandedStops | Step::StatusCommands | Step::StopSucceeded => {
                (self.started, self.stopped) = (false, true);
            }
            Step::Scan if !self.stopped => {
                return refuse("leftovers are what is there after the stop", "put `stop` before it");
            }
            Step::Scan => {}
        }
        Ok(())
    }

    /// Steps that leave connections unfinished, and those that end it.
    fn hold(&mut self, step: &Step) -> Result<(), ScriptProblem> {
        let refuse = |reason, fix| Err(ScriptProblem::Order { step: step.word(), reason, fix });
        match step {
            Step::Stall if self.stalled => return refuse("it is stalled already", "put `unstall` before it"),
            Step::Park { .. } if !self.stalled => {
                return refuse("connections are parked while accepting is stalled", "put `stall` before it");
            }
            Step::Unstall if !self.stalled => return refuse("nothing is stalled", "put `stall` before it"),
            Step::Complete if !self.half_open => {
                return refuse("no handshake is half-open", "put `half-open` before it");
            }
            Step::Stall => self.stalled = true,
            Step::Unstall => self.stalled = false,
            Step::HalfOpen { .. } => (self.load, self.half_open) = (true, true),
            Step::Complete => self.half_open = false,
            _ => self.load = true,
        }
        Ok(())
    }

    fn load(&mut self, patterns: &[Pattern]) -> Result<(), ScriptProblem> {
        if patterns.is_empty() {
            return Err(ScriptProblem::Empty {
                of: "pattern: `fresh`, `busy`, `slow`, `idle`, `silent`, `half`, `reader`, `upload`, `h2`, `tls`, `websocket`, `flow`",
            });
        }
        for (n, pattern) in patterns.iter().enumerate() {
            if matches!(pattern, Pattern::Parked | Pattern::HalfOpen | Pattern::Canary) {
                return Err(ScriptProblem::Pattern { pattern: pattern.word() });
            }
            if patterns[..n].contains(pattern) {
                return Err(ScriptProblem::Twice { what: pattern.word().to_owned() });
            }
        }
        self.load = true;
        Ok(())
    }

    fn end(&self) -> Result<(), ScriptProblem> {
        if self.started {
            return Err(ScriptProblem::Unfinished {
                reason: "the target still runs",
                fix: "end with `stop` and `scan`",
            });
        }
        if !self.stopped {
            return Err(ScriptProblem::Unfinished { reason: "nothing was done", fix: "begin with `start`" });
        }
        Ok(())
    }
}

/// Steps that show something only while clients come.
fn is_under_load(step: &Step) -> bool {
    matches!(
        step,
        Step::Baseline { .. }
            | Step::ConfigTests { .. }
            | Step::KillInUpgrade { .. }
            | Step::KillAfterUpgrade { .. }
            | Step::BrokenUpgrade { .. }
            | Step::UpgradeWithout { .. }
            | Step::UpgradeAcross { .. }
            | Step::SuspendInUpgrade { .. }
            | Step::Sequential { .. }
            | Step::Storm { .. }
    )
}

/// What has to be known by a start that was not disturbed, before anything can be said of one that is.
fn compares_with(step: &Step) -> Option<&'static str> {
    match step {
        Step::MarkedStarts | Step::StaleListenPid | Step::EarlyStop => Some("whether it starts at all is not known"),
        Step::StartsFrom(_) | Step::BusyStartsFrom(_) => Some("it was not started from the scenario's launcher"),
        Step::RacingStarts { .. } => Some("it was not started alone"),
        Step::ObstructedStarts(_) => Some("it was not started without obstacles"),
        Step::StartTimedOut => Some("it was not started with more patience"),
        Step::RelativeStart => Some("it was not started with the whole path"),
        _ => None,
    }
}

/// Steps that would do nothing: a number in them is 0.
fn is_of_none(step: &Step) -> bool {
    matches!(
        step,
        Step::Ask { requests: 0 }
            | Step::Baseline { ms: 0 }
            | Step::RacingStarts { starts: 0, .. }
            | Step::RacingStarts { rounds: 0, .. }
            | Step::Park { connections: 0 }
            | Step::HalfOpen { connections: 0 }
            | Step::Hold { connections: 0 }
            | Step::Prepare { versions: 0 }
            | Step::WatchDrain { ms: 0 }
            | Step::WatchHeld { ms: 0 }
            | Step::ConfigTests { tests: 0 }
            | Step::BrokenUpgrade { ms: 0, .. }
            | Step::KillInUpgrade { ms: 0, .. }
            | Step::KillAfterUpgrade { ms: 0 }
            | Step::UpgradeWithout { ms: 0, .. }
            | Step::UpgradeAcross { ms: 0, .. }
            | Step::UpgradeWithout { after_ms: 0, .. }
            | Step::SuspendInUpgrade { ms: 0, .. }
            | Step::SuspendInUpgrade { after_ms: 0, .. }
            | Step::Sequential { upgrades: 0 }
            | Step::Storm { triggers: 0, .. }
    )
}

/// Steps after which it does not run any more.
fn stops(step: &Step) -> bool {
    matches!(step, Step::Stop | Step::CommandedStops | Step::StatusCommands | Step::StopSucceeded)
}

/// Steps that launch the target, which must not run then.
fn starts(step: &Step) -> bool {
    matches!(
        step,
        Step::Start
            | Step::StartHeld
            | Step::StartTimedOut
            | Step::StartUnmasked
            | Step::StartClosed
            | Step::StartAddressed
            | Step::StartBusy
            | Step::StartBlocked
            | Step::StartHung
            | Step::StartRelative
            | Step::RelativeStart
            | Step::MarkedStarts
            | Step::StaleListenPid
            | Step::EarlyStop
            | Step::StartsFrom(_)
            | Step::BusyStartsFrom(_)
            | Step::ObstructedStarts(_)
            | Step::RacingStarts { .. }
    )
}

/// A step's list: at least one, each once.
fn distinct<T: Copy + PartialEq>(
    list: &[T],
    of: &'static str,
    word: fn(T) -> &'static str,
) -> Result<(), ScriptProblem> {
    if list.is_empty() {
        return Err(ScriptProblem::Empty { of });
    }
    match list.iter().enumerate().find(|(n, one)| list[..*n].contains(one)) {
        Some((_, twice)) => Err(ScriptProblem::Twice { what: word(*twice).to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These steps of a daemon with a pidfile are wrong in this way, or right.
    fn check(steps: &str, want: Option<&str>) {
        let text = format!(
            "name = \"daemon/x\"\nabout = \"x\"\nprofile = \"daemon\"\nneeds = [\"pidfile\"]\nchecks = [\"a/b\"]\nsteps = [{steps}]\n"
        );
        let got = Scenario::parse(&text, "x.toml").err().map(|error| error.to_string());
        match want {
            None => assert_eq!(got, None, "{steps}"),
            Some(part) => assert!(got.as_deref().is_some_and(|it| it.contains(part)), "{steps}: {got:?}"),
        }
    }

    #[test]
    fn odd_starts_come_after_one_that_was_not_odd() {
        let odd = [r#"{ obstructed-starts = ["empty", "fifo"] }"#, "{ racing-starts = { starts = 16, rounds = 1 } }"];
        for step in odd {
            check(&format!(r#""start", "stop", {step}, "scan""#), None);
            check(&format!(r#""start-unmasked", "stop", {step}, "start-closed", "stop""#), None);
            check(&format!(r#"{step}, "start", "stop""#), Some("it was not started"));
            check(&format!(r#""start", {step}, "stop""#), Some("the target is running"));
        }
    }

    #[test]
    fn obstacles_are_named_once_and_races_are_run() {
        check(r#""start", "stop", { obstructed-starts = [] }"#, Some("the list is empty"));
        check(r#""start", "stop", { obstructed-starts = ["empty", "empty"] }"#, Some("`empty` stands here twice"));
        check(r#""start", "stop", { racing-starts = { starts = 0, rounds = 1 } }"#, Some("0 is not possible"));
    }

    #[test]
    fn who_is_started_beside_helpers_ran_before_and_claims_them() {
        check(r#""start-addressed", "stop""#, None);
        check(r#""start", "start-addressed", "stop""#, Some("the target is running"));
        check(r#""start", "restart-beside", "stop""#, Some("helpers"));
    }

    #[test]
    fn a_stop_that_is_more_than_a_stop_stops_too() {
        check(r#""start", "stop-succeeded", "start", "stop", "scan""#, None);
        check(r#""stop-succeeded""#, Some("the target is not running"));
        check(r#""start", { load = ["fresh"] }, "stop-succeeded""#, Some("the load is on"));
        check(r#""start", "commanded-stops""#, Some("`commanded-stops` needs the capability `stop-command`"));
        check(r#""relative-start", "start", "stop""#, Some("it was not started with the whole path"));
    }

    #[test]
    fn a_fault_of_the_path_needs_a_path_and_load_and_a_bucket_that_lets_something_go() {
        let across = |network: &str, load: &str, fault: &str, want: Option<&str>| {
            let text = format!(
                "name = \"restart/x\"\nabout = \"x\"\nprofile = \"restart\"\n{network}\nchecks = [\"a/b\"]\nsteps = [\"start\", \
                 {load} {{ upgrade-across = {{ fault = {fault}, ms = 300 }} }}, \"settle\", \"quiesce\", \"stop\"]\n"
            );
            let got = Scenario::parse(&text, "x.toml").err().map(|error| error.to_string());
            match want {
                None => assert_eq!(got, None, "{fault}"),
                Some(part) => assert!(got.as_deref().is_some_and(|it| it.contains(part)), "{fault}: {got:?}"),
            }
        };
        let (veth, load) = ("network = \"veth\"", "{ load = [\"fresh\"] },");
        let shape = |rate: u32, burst: u32| {
            format!("{{ shape = {{ rate_kbit = {rate}, burst_bytes = {burst}, latency_ms = 50 }} }}")
        };
        for fault in ["\"drop\"", "\"reject\"", &shape(100_000, 2000)] {
            across(veth, load, fault, None);
            across("", load, fault, Some("beyond a path"));
            across(veth, "", fault, Some("there is no load"));
        }
        across(veth, load, &shape(0, 2000), Some("0 is not possible"));
        across(veth, load, &shape(100_000, 1000), Some("holds no frame"));
    }

    #[test]
    fn a_second_start_needs_a_first_one() {
        check(r#""start", "start-again", "stop""#, None);
        check(r#""start-again", "start", "stop""#, Some("the target is not running"));
    }
}

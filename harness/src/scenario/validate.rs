//! A scenario, validated: its steps stand in an order that can be run.

use super::{Launcher, Scenario, Script, ScriptProblem, Step};
use crate::manifest::{Capability, KeyPath, ManifestError, Part, Profile, Source};
use crate::request::Pattern;

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

/// What a step asks of the target must be asked for in the script, so that a plan can be refused before it runs.
fn claims_suffice(script: &Script, step: &Step) -> Result<(), ScriptProblem> {
    let capability = match step {
        Step::Stall | Step::Park { .. } | Step::Unstall => Some(Capability::Stall),
        Step::Change(_) => Some(Capability::Watch),
        Step::BrokenUpgrade { .. } | Step::StartRelative => Some(Capability::ExecSelf),
        _ => None,
    };
    if let Some(capability) = capability.filter(|capability| !script.needs.contains(capability)) {
        return Err(ScriptProblem::Needs { step: step.word(), capability });
    }
    let restarts = matches!(
        step,
        Step::Upgrade | Step::Change(_) | Step::BrokenUpgrade { .. } | Step::Sequential { .. } | Step::Storm { .. }
    );
    if restarts && script.profile != Profile::Restart {
        return Err(ScriptProblem::NeedsRestart { step: step.word() });
    }
    if matches!(step, Step::StartBusy | Step::StartBlocked | Step::Hangup) && script.profile != Profile::Daemon {
        return Err(ScriptProblem::NeedsDaemon { step: step.word() });
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
    stopped: bool,
}

impl Order {
    fn take(&mut self, step: &Step) -> Result<(), ScriptProblem> {
        let refuse = |reason, fix| Err(ScriptProblem::Order { step: step.word(), reason, fix });
        let starts = matches!(
            step,
            Step::Start
                | Step::StartBusy
                | Step::StartBlocked
                | Step::StartRelative
                | Step::MarkedStarts
                | Step::EarlyStop
        );
        if !self.started && !starts && *step != Step::Scan {
            return refuse("the target is not running", "put `start` before it");
        }
        if self.started && starts {
            return refuse("the target is running", "put `stop` before it");
        }
        match step {
            // Whether anything can be said of a disturbed start is known once the target has started without.
            Step::MarkedStarts | Step::EarlyStop if !self.stopped => {
                return refuse("whether it starts at all is not known", "put `start` and `stop` before it");
            }
            Step::Start | Step::StartRelative => *self = Order { started: true, ..Order::default() },
            Step::StartBusy | Step::StartBlocked | Step::MarkedStarts | Step::EarlyStop => {}
            Step::Hangup | Step::Suspend => {}
            Step::Load(patterns) => return self.load(patterns),
            Step::Baseline { ms: 0 }
            | Step::Park { connections: 0 }
            | Step::Hold { connections: 0 }
            | Step::BrokenUpgrade { ms: 0 }
            | Step::Sequential { upgrades: 0 }
            | Step::Storm { triggers: 0, .. } => return Err(ScriptProblem::Zero),
            Step::Baseline { .. } if !self.load => return refuse("there is no load", "put `load` before it"),
            Step::Baseline { .. } => {}
            Step::BrokenUpgrade { .. } | Step::Sequential { .. } | Step::Storm { .. } if !self.load => {
                return refuse("there is no load", "put `load` before it");
            }
            Step::BrokenUpgrade { .. } | Step::Hold { .. } => {}
            Step::Upgrade | Step::Change(_) | Step::Sequential { .. } | Step::Storm { .. } => self.upgraded = true,
            Step::Settle if !self.upgraded => return refuse("nothing was upgraded", "put `upgrade` before it"),
            Step::Settle => {}
            Step::Stall if self.stalled => return refuse("it is stalled already", "put `unstall` before it"),
            Step::Stall => self.stalled = true,
            Step::Park { .. } if !self.stalled => {
                return refuse("connections are parked while accepting is stalled", "put `stall` before it");
            }
            Step::Park { .. } => self.load = true,
            Step::Unstall if !self.stalled => return refuse("nothing is stalled", "put `stall` before it"),
            Step::Unstall => self.stalled = false,
            Step::Quiesce if !self.load => return refuse("there is no load", "put `load` or `park` before it"),
            Step::Quiesce => self.load = false,
            Step::Stop if self.load => return refuse("the load is on", "put `quiesce` before it"),
            Step::Stop if self.stalled => return refuse("stalled processes cannot exit", "put `unstall` before it"),
            Step::Stop => (self.started, self.stopped) = (false, true),
            Step::Scan if !self.stopped => {
                return refuse("leftovers are what is there after the stop", "put `stop` before it");
            }
            Step::Scan => {}
        }
        Ok(())
    }

    fn load(&mut self, patterns: &[Pattern]) -> Result<(), ScriptProblem> {
        if patterns.is_empty() {
            return Err(ScriptProblem::Empty {
                of: "pattern: `fresh`, `busy`, `slow`, `idle`, `silent`, `half`, `reader`, `upload`",
            });
        }
        for (n, pattern) in patterns.iter().enumerate() {
            if matches!(pattern, Pattern::Parked | Pattern::Canary) {
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

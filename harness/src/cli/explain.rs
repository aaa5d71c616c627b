//! `unbroken explain`: what an id stands for.

use std::fmt::Write;
use std::path::Path;

use clap::Args;

use super::failure::Failure;
use super::output::{say, width};
use super::reference::bugs;
use super::selection::under;
use crate::catalogue::Catalogue;
use crate::check::{CHECKS, Check};
use crate::event::{PathFault, Shape};
use crate::report::{Page, wording};
use crate::scenario::{Network, Script, Step};
use crate::summary::Exit;
use crate::target::{Claim, Target};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// A check, an area of checks, a scenario or a target
    id: String,
}

/// Columns of a label.
const LABEL: usize = 12;

impl Explain {
    /// Prints it.
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        say(&explain(&self.id, &Catalogue::embedded(), width())?)?;
        Ok(Exit::AsExpected)
    }
}

fn explain(id: &str, catalogue: &Catalogue, width: usize) -> Result<String, Failure> {
    if let Some(check) = crate::check::find(id) {
        return Ok(explain_check(check, width));
    }
    if let Ok(scenario) = catalogue.scenario(id) {
        return Ok(explain_scenario(scenario.script(), width));
    }
    if let Ok(target) = catalogue.target(id) {
        return Ok(explain_target(target, catalogue, width));
    }
    let all = || {
        let checks = CHECKS.iter().map(|it| (it.id, it.requirement));
        let scenarios = catalogue.scenarios.iter().map(|it| (it.script().name.as_str(), it.script().about.as_str()));
        checks.chain(scenarios).chain(catalogue.targets.iter().map(|it| (it.name.as_str(), it.about.as_str())))
    };
    let area: Vec<_> = all().filter(|(name, _)| under(name, id)).collect();
    if area.is_empty() {
        return Err(Failure::unknown("check, scenario or target", id, all().map(|(name, _)| name)));
    }
    let column = area.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    Ok(area.iter().map(|(name, about)| format!("{name:<column$}  {about}\n")).collect())
}

/// Labelled paragraphs.
struct Sheet<'a> {
    page: Page<'a>,
    text: String,
}

impl Sheet<'_> {
    fn new(title: &str, width: usize) -> Sheet<'static> {
        Sheet { page: Page { width, colour: false, here: Path::new("") }, text: format!("{title}\n\n") }
    }

    /// Nothing for an empty text.
    fn line(mut self, label: &str, text: &str) -> Self {
        let lines = if text.is_empty() { Vec::new() } else { self.page.wrap(LABEL + 2, text) };
        for (n, line) in lines.iter().enumerate() {
            let label = if n == 0 { label } else { "" };
            let _ = writeln!(self.text, "{label:<LABEL$}  {line}");
        }
        self
    }

    /// One line each, the label once.
    fn lines(self, label: &str, texts: impl IntoIterator<Item = String>) -> Self {
        let texts = texts.into_iter().enumerate();
        texts.fold(self, |sheet, (n, text)| sheet.line(if n == 0 { label } else { "" }, &text))
    }
}

fn explain_check(check: &Check, width: usize) -> String {
    let strict = match check.level {
        crate::verdict::Level::Must => "a failure fails the target",
        crate::verdict::Level::Should => "a failure is a warning; with --strict it fails the target",
        crate::verdict::Level::Info => "measured, never fails",
    };
    let chance = if check.chance { "Chance decides whether a run shows it: repeat with --runs N." } else { "" };
    Sheet::new(check.id, width)
        .line("requirement", check.requirement)
        .line("level", &format!("{}: {strict}", check.level))
        .line("owed by", &wording::owed_by(check))
        .line("source", check.source)
        .line("reports", &check.reports.join("; "))
        .line("observed", check.observed)
        .lines("witnesses", check.needs.iter().map(|need| wording::witness(*need)))
        .line("", if check.needs.is_empty() { "" } else { "Without all of them a pass is inconclusive." })
        .line("observers", &check.observers.join(", "))
        .line("tier C", check.unproven_bare.map(|it| format!("cannot prove it: {it}")).as_deref().unwrap_or_default())
        .line("chance", chance)
        .lines("must catch", bugs(check.id).into_iter().map(|it| format!("defect {}: {}", it.name, it.bug)))
        .text
}

/// A step in one line.
fn step_words(step: &Step) -> String {
    match step {
        Step::Load(patterns) => {
            let words: Vec<&str> = patterns.iter().map(|it| it.word()).collect();
            format!("load: {}", words.join(", "))
        }
        Step::Baseline { ms } => format!("baseline: {ms} ms of load without a restart"),
        Step::Change(way) => format!("change: {}", way.word()),
        Step::BrokenUpgrade { ms, fault } => {
            format!("broken-upgrade ({}): {ms} ms of load after that was taken up", fault.word())
        }
        Step::Prepare { versions } => format!("prepare: the executables of the next versions, {versions}"),
        Step::KillInUpgrade { side, ms } => format!("kill-in-upgrade: the {} side, then {ms} ms of load", side.word()),
        Step::UpgradeWithout { resource, ms, after_ms } => {
            format!("upgrade-without ({}): {ms} ms of load, and {after_ms} ms with enough of it", resource.word())
        }
        Step::UpgradeAcross { fault, ms } => format!("upgrade-across ({}): for {ms} ms at least", across(*fault)),
        Step::SuspendInUpgrade { side, ms, after_ms } => {
            format!("suspend-in-upgrade: the {} side for {ms} ms, then {after_ms} ms of load", side.word())
        }
        Step::KillAfterUpgrade { ms } => format!("kill-after-upgrade: the new generation, then {ms} ms of load"),
        Step::Sequential { upgrades } => format!("sequential: {upgrades} upgrades"),
        Step::Storm { triggers, within_ms } => format!("storm: {triggers} triggers within {within_ms} ms"),
        Step::Hold { connections } => format!("hold: {connections} connections with half a request"),
        Step::ConfigTests { tests } => format!("config-tests: {tests} tests of the configuration"),
        Step::WatchHeld { ms } => format!("watch-held: one request is completed {ms} ms before it may be cut"),
        Step::WatchDrain { ms } => format!("watch-drain: for {ms} ms"),
        Step::Park { connections } => format!("park: {connections} connections"),
        Step::HalfOpen { connections } => format!("half-open: {connections} handshakes without their last ACK"),
        Step::ObstructedStarts(obstacles) => {
            let words: Vec<&str> = obstacles.iter().map(|obstacle| obstacle.word()).collect();
            format!("obstructed-starts: {}", words.join(", "))
        }
        Step::RacingStarts { starts, rounds } => format!("racing-starts: {starts} at once, {rounds} times"),
        plain => wording::word(plain),
    }
}

/// A fault of the path in a few words.
fn across(fault: PathFault) -> String {
    match fault {
        PathFault::Shape(Shape { rate_kbit, burst_bytes, latency_ms }) => {
            format!("shape: {rate_kbit} kbit/s, bursts of {burst_bytes} bytes, at most {latency_ms} ms in the queue")
        }
        PathFault::Drop | PathFault::Reject => fault.word().to_owned(),
    }
}

fn explain_scenario(script: &Script, width: usize) -> String {
    let core = if script.core { "core: run by a bare `check`" } else { "run with --full or when it is named" };
    let network = match script.network {
        Network::Loopback => "",
        Network::Veth => "its clients are in a network namespace of their own, joined by a veth",
    };
    let needs: Vec<String> = script.needs.iter().map(wording::word).collect();
    let steps = script.steps.iter().enumerate().map(|(n, step)| format!("{}. {}", n + 1, step_words(step)));
    Sheet::new(&script.name, width)
        .line("about", &script.about)
        .line("run", core)
        .line("profile", &wording::word(&script.profile))
        .line("needs", &needs.join(", "))
        .line("network", network)
        .lines("steps", steps)
        .lines("judged by", script.checks.iter().cloned())
        .text
}

fn explain_target(target: &Target, catalogue: &Catalogue, width: usize) -> String {
    let profiles: Vec<String> = target.profiles.iter().map(wording::word).collect();
    let claims = target.capabilities.iter().map(|(capability, claim)| match claim {
        Claim::Claimed => wording::word(capability),
        Claim::Disclaimed(reason) => format!("not {}: {reason}", wording::word(capability)),
    });
    let command: Vec<&str> = target.launch.command.iter().map(crate::target::Template::as_written).collect();
    let endpoints = target.endpoints.iter().map(|it| format!("{} on {}", it.name, it.address));
    let requires = target.requires.iter().map(|it| format!("{} ({})", it.program, it.install));
    let known = catalogue.expectations_of(&target.name).map(|it| it.expect.clone()).unwrap_or_default();
    let known = known.into_iter().map(|it| {
        let upstream = it.upstream.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
        format!("{} {}{}: {}{upstream}", it.check, wording::word(&it.kind), it.scope(), it.reason)
    });
    Sheet::new(&target.name, width)
        .line("about", &target.about)
        .line("role", wording::role(target.role))
        .line("profiles", &profiles.join(", "))
        .lines("claims", claims)
        .line("command", &command.join(" "))
        .lines("endpoints", endpoints)
        .lines("requires", requires)
        .lines("known", known)
        .text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Level;

    fn check(id: &str, parts: &[&str]) {
        let text = explain(id, &Catalogue::embedded(), 100).expect("the id exists");
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }

    #[test]
    fn every_check_says_what_it_requires_and_which_defect_it_must_catch() {
        for it in CHECKS {
            check(it.id, &[it.id, "requirement ", "owed by", "source", "observed"]);
            // What is only measured has nothing to catch.
            if it.level != Level::Info {
                check(it.id, &["must catch    defect "]);
            }
        }
    }

    #[test]
    fn scenarios_targets_and_areas_are_explained_too() {
        check("restart/backlog-kept", &["steps         1. start", "judged by"]);
        check("nginx/usr2", &["requires      nginx (", "pidfile/upgrade-always-valid fail:"]);
        check("drain", &["drain/inflight-completes ", "drain/keepalive-race "]);
    }

    #[test]
    fn an_unknown_id_comes_with_the_nearest() {
        let failure = explain("handoff/no-refuse", &Catalogue::embedded(), 100).expect_err("there is none");
        assert!(failure.to_string().ends_with("did you mean `handoff/no-refused`?"), "{failure}");
    }
}

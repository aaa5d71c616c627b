//! From a history to an outcome: every check decides, then the rules that can take away a pass.
//!
//! What noise, missing witnesses or a blind observer can take away is a *pass*, or a fail that rests on time or patience; never a
//! fail that rests on an errno, an EOF, wrong bytes, a listener's identity or an exit status.

mod excuse;

use excuse::{excuse, noise, starvation};
use serde::Serialize;

use crate::check::witness::Sighting;
use crate::check::{self, Check, path};
use crate::event::{FIND_MAIN, What};
use crate::history::History;
use crate::machine::Tier;
use crate::manifest::Role;
use crate::measure::{Measure, measures};
use crate::request::{FailureClass, Request};
use crate::target::Claim;
use crate::verdict::{Evidence, Finding, Level, Verdict};

const BROKEN: &str = "the target does not work without a restart";
const DOUBTFUL: &str = "before the restart nothing came in time, and the machine stood still";

/// What one run says of one target in one scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The target's name.
    pub target: String,
    /// Its role.
    pub role: Role,
    /// The scenario's name.
    pub scenario: String,
    /// The isolation tier.
    pub tier: Tier,
    /// Whether the target works at all, without any restart.
    pub baseline: Baseline,
    /// One result per check of the scenario.
    pub results: Vec<CheckResult>,
    /// Figures that never fail.
    pub measures: Vec<Measure>,
}

/// The same load without a restart must be clean; otherwise nothing can be said of the restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// It served every request before the first trigger.
    Clean,
    /// It did nothing in time before the first trigger, and neither did the machine.
    Doubtful(Vec<Evidence>),
    /// It did not start, never became ready, or lost requests without a restart.
    Broken(Vec<Evidence>),
}

/// What one check says of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// Its id.
    pub check: &'static str,
    /// Its level.
    pub level: Level,
    /// Worst of its findings, or why there is none.
    pub status: Status,
    /// All findings.
    pub findings: Vec<Finding>,
}

impl CheckResult {
    /// It is inconclusive, and would not be but for the machine.
    #[must_use]
    pub fn is_excused(&self) -> bool {
        self.status == Status::Verdict(Verdict::Inconclusive) && !self.findings.iter().any(Finding::is_open)
    }
}

/// Judged, or not applicable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Judged.
    Verdict(Verdict),
    /// The target does not claim what the check is about.
    Unsupported(String),
}

/// Judges a history by the checks that its scenario names and `wanted` selects.
///
/// # Examples
/// A saved run, judged again without starting anything:
/// ```no_run
/// use std::path::Path;
/// use unbroken::judge::judge;
/// use unbroken::run::store;
///
/// let history = store::read(Path::new("target/unbroken/…/restart/upgrade-under-load-1"))?;
/// let outcome = judge(&history, &|check| check.id.starts_with("handoff/"));
/// for result in &outcome.results {
///     assert!(result.check.starts_with("handoff/"));
/// }
/// # Ok::<(), unbroken::run::store::StoreError>(())
/// ```
pub fn judge(history: &History, wanted: &dyn Fn(&Check) -> bool) -> Outcome {
    let plan = &history.plan;
    let baseline = baseline(history);
    let checks = plan.scenario.script().checks.iter().filter_map(|id| check::find(id)).filter(|check| wanted(check));
    let took_over = took_over(history);
    let results = checks
        .map(|check| match unsupported(history, check) {
            Some(reason) => CheckResult {
                check: check.id,
                level: check.level,
                status: Status::Unsupported(reason),
                findings: Vec::new(),
            },
            None => result(history, check, &baseline, took_over),
        })
        .collect();
    Outcome {
        target: plan.target.name.clone(),
        role: plan.target.role,
        scenario: plan.scenario.script().name.clone(),
        tier: plan.machine.tier,
        baseline,
        results,
        measures: measures(history),
    }
}

fn unsupported(history: &History, check: &Check) -> Option<String> {
    let target = &history.plan.target;
    if let Some(profile) = check.profile
        && !target.profiles.contains(&profile)
    {
        return Some(format!("the manifest does not claim the profile {profile:?}"));
    }
    if let Some(reason) = check.needs.iter().find_map(|need| need.unsupported(target)) {
        return Some(reason);
    }
    match target.capabilities.get(&check.capability?) {
        Some(Claim::Claimed) => None,
        Some(Claim::Disclaimed(reason)) => Some(format!("disclaimed: {reason}")),
        None => Some("the manifest does not claim it".to_owned()),
    }
}

fn result(history: &History, check: &'static Check, baseline: &Baseline, took_over: Option<Verdict>) -> CheckResult {
    let mut findings = (check.decide)(history);
    findings.extend(faults(history, check));
    if findings.is_empty() {
        findings.push(match baseline {
            Baseline::Broken(_) => Finding::inconclusive(BROKEN),
            Baseline::Doubtful(_) => Finding { excused: true, ..Finding::inconclusive(DOUBTFUL) },
            Baseline::Clean => Finding::error("the run gave nothing to judge"),
        });
    }
    doubt(&mut findings, history, check, baseline, took_over);
    // After all of that: what is told beside a finding excuses nothing. And behind what it found: its reason stands at an end.
    for finding in findings.iter_mut().filter(|_| path::concerns(check)) {
        let behind = finding.evidence.len().min(1);
        finding.evidence.splice(behind..behind, path::account(history, finding.upgrade));
    }
    let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Error);
    CheckResult { check: check.id, level: check.level, status: Status::Verdict(verdict), findings }
}

/// Harness and observers that broke: `error`, which excuses nothing and proves nothing.
fn faults(history: &History, check: &Check) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (event, (observer, fault)) in history.find(|what| match what {
        What::ObserverFault { observer, fault } => Some((observer, fault)),
        _ => None,
    }) {
        if check.observers.contains(&observer.as_str()) {
            let evidence = Evidence::text(format!("observer {observer}: {fault}")).event(event.seq);
            findings.push(Finding::new(Verdict::Error, vec![evidence]));
        }
    }
    if history.lost_events > 0 {
        findings.push(Finding::error(format!("{} observations were lost (recorder full)", history.lost_events)));
    }
    findings.extend(history.faults.iter().map(|fault| Finding::error(fault.clone())));
    let account = &history.account;
    let records = history.load().count() as u64;
    if account.scheduled != account.ended || account.ended != records {
        findings.push(Finding::error(format!(
            "requests are not conserved: {} scheduled, {} ended, {records} recorded",
            account.scheduled, account.ended
        )));
    }
    findings
}

/// Everything that can turn a pass, or a fail on time, into inconclusive.
fn doubt(findings: &mut [Finding], history: &History, check: &Check, baseline: &Baseline, took_over: Option<Verdict>) {
    for sighting in check.needs.iter().flat_map(|need| need.look(history)).filter(|sighting| !sighting.met) {
        withdraw(findings, &sighting, Cause::Run);
    }
    for sighting in path::look(history).into_iter().filter(|it| !it.met && path::concerns(check)) {
        // What there was is told beside each finding.
        let text = "nothing has met a fault of the path".to_owned();
        withdraw(findings, &Sighting { text, ..sighting }, Cause::Run);
    }
    let mut doubts = Vec::new();
    match baseline {
        Baseline::Clean => {}
        Baseline::Doubtful(_) => doubts.push((DOUBTFUL.to_owned(), Cause::Machine)),
        Baseline::Broken(_) => doubts.push((BROKEN.to_owned(), Cause::Run)),
    }
    let gated = ["handoff/", "drain/", "leak/"].iter().any(|area| check.id.starts_with(area));
    if gated && check.id != check::handoff::took_over::CHECK.id && took_over.is_some_and(|it| it != Verdict::Pass) {
        doubts.push(("no new generation took over, so nothing of the handoff is proven".to_owned(), Cause::Run));
    }
    if history.plan.machine.tier == Tier::C
        && let Some(reason) = check.unproven_bare
    {
        doubts.push((format!("tier C cannot prove it: {reason}"), Cause::Run));
    }
    for (text, cause) in doubts {
        withdraw(findings, &Sighting { upgrade: None, met: false, text }, cause);
    }
    // What the kernel announces one by one is complete on the busiest machine; what rests on load is not.
    if let Some(text) = noise(history).filter(|_| check.needs.iter().any(|need| need.is_of_load())) {
        withdraw(findings, &Sighting { upgrade: None, met: false, text }, Cause::Machine);
    }
    for finding in findings.iter_mut().filter(|it| it.verdict == Verdict::Fail) {
        if let Some(reason) = excuse(history, check, finding) {
            (finding.verdict, finding.excused) = (Verdict::Inconclusive, true);
            finding.evidence.push(Evidence::text(reason));
        }
    }
}

/// Why a pass is taken away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The run did not show what it needs, whatever the machine.
    Run,
    /// The machine stood still.
    Machine,
}

fn withdraw(findings: &mut [Finding], sighting: &Sighting, cause: Cause) {
    for finding in findings.iter_mut().filter(|finding| finding.verdict <= Verdict::Inconclusive) {
        if sighting.upgrade.is_none() || finding.upgrade.is_none() || sighting.upgrade == finding.upgrade {
            // What was open before stays so.
            finding.excused |= finding.verdict == Verdict::Pass && cause == Cause::Machine;
            finding.verdict = Verdict::Inconclusive;
            finding.evidence.push(Evidence::text(sighting.text.clone()));
        }
    }
}

/// The verdict of handoff/took-over, where this run had upgrades by steps.
fn took_over(history: &History) -> Option<Verdict> {
    (check::handoff::took_over::CHECK.decide)(history).iter().map(|finding| finding.verdict).max()
}

fn baseline(history: &History) -> Baseline {
    let seen = |wanted: fn(&What) -> bool| history.events.iter().any(|event| wanted(&event.what));
    // One that answers and whose main process is gone, or in nobody's pidfile, was never up as its manifest says.
    let lost = seen(|what| matches!(what, What::ActionFailed { action, .. } if action == FIND_MAIN));
    let up =
        seen(|what| matches!(what, What::Ready { .. })) && (!lost || seen(|what| matches!(what, What::Main { .. })));
    if !up {
        let mut evidence = why_not_up(history);
        if evidence.is_empty() && history.faults.is_empty() {
            evidence.push(Evidence::text("the target never became ready"));
        }
        // An environment failure is told as `error` by the checks and says nothing of the target.
        // One that has ended, or cannot be found, is more than late.
        let passed = seen(|what| matches!(what, What::DeadlinePassed { name, .. } if name == "ready"));
        let late = passed && !lost && !seen(|what| matches!(what, What::Exited { .. }));
        return if history.faults.is_empty() { unclean(history, evidence, late) } else { Baseline::Clean };
    }
    let tested = history.find(|what| matches!(what, What::ConfigTested { .. }).then_some(())).next();
    let withheld = history.find(|what| matches!(what, What::Withheld(_)).then_some(())).next();
    let faults = tested.into_iter().chain(withheld).map(|(event, ())| event.at.not_before);
    let trials = history.first_trigger().into_iter().chain(faults);
    let until = trials.min().unwrap_or_else(|| history.end());
    let lost: Vec<&Request> = history
        .load()
        .filter(|request| request.ended < until)
        .filter(|request| request.failure().is_some_and(|class| class != FailureClass::HarnessFault))
        .filter(|request| !history.rejected_by_path(request))
        .collect();
    if lost.is_empty() {
        return Baseline::Clean;
    }
    let first = lost[0].failure().map_or("", FailureClass::word);
    let evidence =
        Evidence::text(format!("{} requests were lost before any restart, the first one {first}", lost.len()))
            .requests(lost.iter().map(|request| request.id));
    let late = lost.iter().all(|request| request.failure().is_some_and(FailureClass::rests_on_time));
    unclean(history, vec![evidence], late)
}

/// Broken; or, when it was only late and the machine stood still, who knows.
fn unclean(history: &History, mut evidence: Vec<Evidence>, late: bool) -> Baseline {
    match noise(history).or_else(|| starvation(history)).filter(|_| late) {
        Some(noise) => {
            evidence.push(Evidence::text(noise));
            Baseline::Doubtful(evidence)
        }
        None => Baseline::Broken(evidence),
    }
}

/// The last lines of a target that does not start say why; those before them are its banner.
const LAST_LINES: usize = 5;

/// What the harness saw of a target that does not start, and then its own last words.
fn why_not_up(history: &History) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    let mut said = Vec::new();
    for event in &history.events {
        match &event.what {
            What::DeadlinePassed { name, length_ms } => {
                evidence.push(Evidence::text(format!("{name}: not within {length_ms} ms")).event(event.seq));
            }
            What::ActionFailed { action, reason } => {
                evidence.push(Evidence::text(format!("{action}: {reason}")).event(event.seq));
            }
            What::Output { stream, line } => said.push(Evidence::text(format!("{stream}: {line}")).event(event.seq)),
            _ => {}
        }
    }
    let last = said.len().saturating_sub(LAST_LINES);
    evidence.extend(said.drain(last..));
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::{Script, answered, failed};
    use crate::event::{Answer, StartFrom};
    use crate::id::{Image, Pid};
    use crate::manifest::{Profile, Protocol};
    use crate::request::Pattern;
    use crate::scenario::{Launcher, Scenario};

    fn outcome(mut history: History, checks: &[&str]) -> Outcome {
        let mut script = history.plan.scenario.script().clone();
        script.checks = checks.iter().map(|id| (*id).to_owned()).collect();
        history.plan.scenario = Scenario(script);
        judge(&history, &|_| true)
    }

    fn loaded() -> Script {
        let ready = What::Ready { by: "answers".to_owned() };
        let script = Script::new().event(1, ready).trigger(1000, 1, 2).settled(1100, 1);
        (0..40).fold(script, |script, n| script.request(answered(1001 + n * 2, 1002 + n * 2, 2)))
    }

    fn verdict(outcome: &Outcome) -> Verdict {
        match &outcome.results[0].status {
            Status::Verdict(verdict) => *verdict,
            Status::Unsupported(reason) => panic!("unsupported: {reason}"),
        }
    }

    #[test]
    fn a_loaded_clean_upgrade_passes() {
        assert_eq!(verdict(&outcome(loaded().history(), &["handoff/no-refused"])), Verdict::Pass);
    }

    #[test]
    fn below_the_load_floor_a_pass_is_inconclusive_and_a_fail_stays() {
        let ready = What::Ready { by: "answers".to_owned() };
        let bare = || {
            Script::new().event(1, ready.clone()).trigger(1000, 1, 2).settled(1900, 1).request(answered(1001, 1002, 2))
        };
        assert_eq!(verdict(&outcome(bare().history(), &["handoff/no-refused"])), Verdict::Inconclusive);
        let refused = bare().request(failed(1003, 1004, FailureClass::Refused));
        assert_eq!(verdict(&outcome(refused.history(), &["handoff/no-refused"])), Verdict::Fail);
    }

    #[test]
    fn a_lost_observation_makes_a_pass_an_error() {
        let mut history = loaded().history();
        history.lost_events = 1;
        assert_eq!(verdict(&outcome(history, &["handoff/no-refused"])), Verdict::Error);
    }

    #[test]
    fn what_a_broken_observer_has_not_seen_accuses_nobody() {
        let stopped = |script: Script| {
            let asked = What::StopAsked { action: "signal TERM to main".to_owned() };
            let late = What::DeadlinePassed { name: "stop".to_owned(), length_ms: 1000 };
            verdict(&outcome(script.main(30, 7).event(100, asked).event(1100, late).history(), &["life/term-clean"]))
        };
        let ready = || What::Ready { by: "answers".to_owned() };
        let broken = What::ObserverFault { observer: "exits".to_owned(), fault: "it broke".to_owned() };
        assert_eq!(stopped(Script::new().event(10, ready())), Verdict::Fail);
        assert_eq!(stopped(Script::new().event(10, ready()).event(20, broken)), Verdict::Error);
    }

    #[test]
    fn a_missing_record_breaks_conservation() {
        let mut history = loaded().history();
        history.requests.pop();
        assert_eq!(verdict(&outcome(history, &["handoff/no-refused"])), Verdict::Error);
    }

    #[test]
    fn without_a_takeover_nothing_of_the_handoff_passes() {
        let ready = What::Ready { by: "answers".to_owned() };
        let script = Script::new().event(1, ready).trigger(1000, 1, 2).settled(1100, 1);
        let script = (0..40).fold(script, |script, n| script.request(answered(1001 + n * 2, 1002 + n * 2, 1)));
        assert_eq!(verdict(&outcome(script.history(), &["handoff/no-refused"])), Verdict::Inconclusive);
    }

    #[test]
    fn a_ready_target_without_its_main_process_is_broken() {
        let gone = What::ActionFailed { action: FIND_MAIN.to_owned(), reason: "it does not live".to_owned() };
        let script = Script::new().event(1, What::Ready { by: "answers".to_owned() }).event(2, gone);
        let outcome = outcome(script.history(), &["handoff/no-refused"]);
        assert!(matches!(outcome.baseline, Baseline::Broken(_)));
        assert_eq!(verdict(&outcome), Verdict::Inconclusive);
    }

    #[test]
    fn a_target_without_a_processor_is_excused_for_what_came_too_late_and_nothing_else() {
        let after = |class| {
            let image = Image { pid: Pid(7), start_ticks: 1, start_stack: 1 };
            let script = loaded().event(1003, What::Starved { image, waited_ms: 3035 });
            let script = script.request(failed(1003, 1004, class));
            verdict(&outcome(script.history(), &["handoff/no-refused"]))
        };
        assert_eq!(after(FailureClass::ConnectTimeout), Verdict::Inconclusive);
        assert_eq!(after(FailureClass::Refused), Verdict::Fail);
    }

    #[test]
    fn what_a_target_lacked_before_it_was_ready_excuses_nothing_that_began_later() {
        let starved = || {
            let image = Image { pid: Pid(7), start_ticks: 1, start_stack: 1 };
            What::Starved { image, waited_ms: 3035 }
        };
        let ready = || What::Ready { by: "answers".to_owned() };
        let stopped = |script: Script| {
            let asked = What::StopAsked { action: "signal TERM to main".to_owned() };
            let late = What::DeadlinePassed { name: "stop".to_owned(), length_ms: 1000 };
            verdict(&outcome(script.main(30, 7).event(100, asked).event(1100, late).history(), &["life/term-clean"]))
        };
        assert_eq!(stopped(Script::new().event(10, starved()).event(20, ready())), Verdict::Fail);
        assert_eq!(stopped(Script::new().event(10, ready()).event(20, starved())), Verdict::Inconclusive);
    }

    #[test]
    fn a_lack_that_was_added_to_the_wait_excuses_nothing_that_had_not_come_even_then() {
        let image = Image { pid: Pid(7), start_ticks: 1, start_stack: 1 };
        let starved = What::Starved { image, waited_ms: 300 };
        let stopped = |wait_began: u64| {
            let asked = What::StopAsked { action: "signal TERM to main".to_owned() };
            let late = What::DeadlinePassed { name: "stop".to_owned(), length_ms: 1000 };
            let script = Script::new().event(10, What::Ready { by: "answers".to_owned() }).main(30, 7);
            let script = script.event(100, asked).event(500, starved.clone());
            let script = script.spanning(wait_began, 1400, What::WaitLengthened { by_ms: 300 }).event(1400, late);
            verdict(&outcome(script.history(), &["life/term-clean"]))
        };
        assert_eq!(stopped(100), Verdict::Fail);
        assert_eq!(stopped(600), Verdict::Inconclusive, "the lack was before the wait");
    }

    #[test]
    fn a_lack_excuses_only_what_was_tried_while_it_lasted() {
        let image = Image { pid: Pid(7), start_ticks: 1, start_stack: 1 };
        let hung = || {
            let answer = Answer::Missing("it did not return".to_owned());
            What::StartedFrom(StartFrom { from: Launcher::Nohup, status: None, answer, stopped: None })
        };
        let after = |script: Script| {
            let mut history = script.history();
            history.plan.target.profiles.push(Profile::Daemon);
            verdict(&outcome(history, &["detach/from-any-launcher"]))
        };
        let ready = || Script::new().event(10, What::Ready { by: "answers".to_owned() });
        let lack = |from, to| ready().spanning(from, to, What::Starved { image, waited_ms: 300 });
        assert_eq!(after(lack(500, 900).spanning(1000, 4000, hung())), Verdict::Fail, "it was of the start before");
        assert_eq!(after(lack(1500, 2000).spanning(1000, 4000, hung())), Verdict::Inconclusive);
        let made_up = lack(1500, 2000).spanning(1100, 3900, What::WaitLengthened { by_ms: 300 });
        assert_eq!(after(made_up.spanning(1000, 4000, hung())), Verdict::Fail);
    }

    #[test]
    fn a_lack_shorter_than_the_delay_does_not_explain_it() {
        let after = |took: u64| {
            let image = Image { pid: Pid(7), start_ticks: 1, start_stack: 1 };
            let script = loaded().event(1500, What::Starved { image, waited_ms: 300 });
            verdict(&outcome(script.request(answered(1001, 1001 + took, 2)).history(), &["handoff/answer-gap"]))
        };
        assert_eq!(after(1250), Verdict::Inconclusive, "the declared maximum is 1000 ms");
        assert_eq!(after(1350), Verdict::Fail);
    }

    #[test]
    fn what_raw_echo_has_no_word_for_is_not_judged() {
        let mut history = loaded().request(answered(1001, 1002, 2)).history();
        let endpoint = &mut history.plan.target.endpoints[0];
        (endpoint.protocol, endpoint.version_header) = (Protocol::Echo, None);
        let checks = [
            ("drain/close-announced", "word for the end of a connection"),
            ("life/rebind-at-once", "word for the end of a connection"),
            ("handoff/old-stops-accepting", "versions"),
            ("drain/stream-intact", "answers of their own"),
            ("drain/upload-completes", "bodies"),
        ];
        let outcome = outcome(history, &checks.map(|(check, _)| check));
        for (result, (check, lacked)) in outcome.results.iter().zip(checks) {
            let reason = format!("the endpoint `http` speaks raw echo, which has no {lacked}");
            assert_eq!(result.status, Status::Unsupported(reason), "{check}");
        }
        assert_eq!(outcome.results.len(), checks.len());
    }

    #[test]
    fn a_request_that_lay_unread_is_excused_by_who_did_not_run_meanwhile() {
        let after = |from: u64, until: u64, waited_ms: u64| {
            let image = Image { pid: Pid(7), start_ticks: 1, start_stack: 1 };
            let script = loaded().appeared(if from == 1010 { 1005 } else { 1 }, 7, 1);
            let script = script.spanning(from, until, What::Starved { image, waited_ms });
            let baseline = answered(500, 505, 1).of(Pattern::Busy).reused();
            let lost = failed(1001, 1201, FailureClass::Unread).of(Pattern::Busy).reused();
            let mut history = script.request(baseline).request(lost).history();
            history.plan.target.endpoints[0].version_header = None;
            let outcome = outcome(history, &["drain/keepalive-swallowed"]);
            outcome.results[0].findings.iter().any(|finding| finding.verdict == Verdict::Fail)
        };
        assert!(!after(1000, 1200, 190), "100 ms of it were too much");
        assert!(after(1000, 1200, 90));
        assert!(after(2000, 2500, 500), "it waited later");
        assert!(after(1010, 1200, 190), "it began later");
        assert!(after(600, 1100, 500), "99 of these at most were of that time");
    }

    #[test]
    fn a_target_without_a_processor_loses_patience_no_sooner() {
        let after = |script: Script| {
            let image = Image { pid: Pid(7), start_ticks: 1, start_stack: 1 };
            let script = script.event(1003, What::Starved { image, waited_ms: 300 });
            let closed = failed(900, 1004, FailureClass::ClosedBeforeFirstByte).of(Pattern::Silent).sent_at(1400);
            let history = (0..8).fold(script, |script, _| script.request(closed.clone())).history();
            verdict(&outcome(history, &["drain/fresh-not-closed"]))
        };
        assert_eq!(after(loaded()), Verdict::Fail);
        assert_eq!(after(standing_still(loaded())), Verdict::Inconclusive);
    }

    /// The canary took two seconds for one answer.
    fn standing_still(script: Script) -> Script {
        script.request(answered(100, 2100, 1).of(Pattern::Canary))
    }

    #[test]
    fn a_machine_that_stood_still_excuses_what_came_too_late_and_nothing_else() {
        let after = |class| {
            let script = standing_still(loaded()).request(failed(1003, 1004, class));
            verdict(&outcome(script.history(), &["handoff/no-refused"]))
        };
        assert_eq!(after(FailureClass::ConnectTimeout), Verdict::Inconclusive);
        assert_eq!(after(FailureClass::Refused), Verdict::Fail);
    }

    #[test]
    fn what_no_machine_would_have_shown_is_open_however_still_that_stood() {
        let excused = |script: Script| {
            let outcome = outcome(standing_still(script).history(), &["handoff/no-refused"]);
            assert_eq!(verdict(&outcome), Verdict::Inconclusive);
            outcome.results[0].is_excused()
        };
        assert!(excused(loaded()), "it would have passed");
        let ready = What::Ready { by: "answers".to_owned() };
        let bare = Script::new().event(1, ready).trigger(1000, 1, 2).settled(1900, 1);
        assert!(!excused(bare.request(answered(1001, 1002, 2))), "there was too little load");
    }

    #[test]
    fn a_machine_that_stood_still_excuses_only_late_answers_before_the_restart() {
        let before = |class| {
            let script = standing_still(loaded()).request(failed(10, 11, class));
            outcome(script.history(), &["handoff/no-refused"])
        };
        let late = before(FailureClass::Hung);
        assert!(matches!(late.baseline, Baseline::Doubtful(_)));
        assert_eq!(verdict(&late), Verdict::Inconclusive);
        assert!(matches!(before(FailureClass::Refused).baseline, Baseline::Broken(_)));
    }

    #[test]
    fn a_late_answer_without_noise_breaks_the_baseline() {
        let script = loaded().request(failed(10, 11, FailureClass::Hung));
        assert!(matches!(outcome(script.history(), &["handoff/no-refused"]).baseline, Baseline::Broken(_)));
    }

    #[test]
    fn what_is_lost_beside_a_test_of_the_configuration_does_not() {
        let tested = What::ConfigTested { status: Some(crate::event::ExitStatus::Code(0)) };
        let script = loaded().event(1000, tested).request(failed(1005, 1006, FailureClass::Dropped));
        let outcome = outcome(script.history(), &["handoff/config-test-harmless"]);
        assert!(matches!(outcome.baseline, Baseline::Clean));
    }

    #[test]
    fn requests_lost_before_any_restart_break_the_baseline() {
        let script = loaded().request(failed(10, 11, FailureClass::Refused));
        let outcome = outcome(script.history(), &["handoff/no-refused"]);
        assert!(matches!(outcome.baseline, Baseline::Broken(_)));
        assert_eq!(verdict(&outcome), Verdict::Inconclusive);
    }
}

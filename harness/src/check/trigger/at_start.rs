//! trigger/at-start: a trigger right after readiness does not kill.

use crate::check::Check;
use crate::event::{Answer, Event, ExitStatus, What};
use crate::history::{History, Upgrade};
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "trigger/at-start",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "A restart that is triggered right after readiness does not kill the service.",
    source: "signal(7): the default action of SIGHUP, SIGUSR1 and SIGUSR2 is to end the process",
    reports: &["pingora"],
    observed: "The restart is triggered as soon as the harness has seen the target ready and looked who it is; the next executable \
               lies there already. The main process is not killed, and a client is answered after the upgrade, or the \
               deadline for one. Without a trigger within 250 ms of the readiness a pass is inconclusive.",
    needs: &[],
    observers: &[],
    // The moment is: what a program does a millisecond after its readiness it need not do three later.
    chance: true,
    unproven_bare: None,
    decide,
};

/// What comes later is no trigger right after readiness: a program has long installed its handlers then.
const AT_ONCE_MS: u128 = 250;

fn decide(history: &History) -> Vec<Finding> {
    let Some((ready, ())) = history.find(|what| matches!(what, What::Ready { .. }).then_some(())).next() else {
        // It never was up: the judge says so.
        return Vec::new();
    };
    let upgrades = history.upgrades();
    let Some(upgrade) = upgrades.first() else {
        return vec![Finding::inconclusive("nothing was triggered")];
    };
    let mut findings: Vec<Finding> = killed(history, upgrade).into_iter().collect();
    let asked = history.find(|what| if let What::Asked { answers } = what { answers.last() } else { None });
    let Some((asked, answer)) = asked.filter(|(event, _)| event.seq > upgrade.trigger_seq).last() else {
        findings.push(Finding::inconclusive("nobody was asked after the trigger"));
        return findings;
    };
    findings.push(answered(ready, upgrade, asked, answer));
    findings
}

/// What a client met in the end.
fn answered(ready: &Event, upgrade: &Upgrade, asked: &Event, answer: &Answer) -> Finding {
    let after = upgrade.trigger.not_before.since(ready.at.not_after).as_millis();
    let told = match answer {
        Answer::Answered => "answered",
        Answer::Refused => "refused",
        Answer::Missing(what) => what,
    };
    let text = format!("triggered {after} ms after readiness; a client that came later: {told}");
    let evidence = Evidence::text(text).event(ready.seq).event(upgrade.trigger_seq).event(asked.seq);
    match answer {
        Answer::Answered if after > AT_ONCE_MS => Finding::inconclusive(evidence),
        Answer::Answered => Finding::pass(evidence),
        Answer::Refused => Finding::fail(vec![evidence]),
        Answer::Missing(_) => Finding::fail(vec![evidence]).on_time(),
    }
    .of(upgrade.id)
}

/// The main process of before the trigger was killed by a signal.
fn killed(history: &History, upgrade: &Upgrade) -> Option<Finding> {
    let main = history.find(|what| if let What::Main { image } = what { Some(*image) } else { None });
    let main = main.filter(|(event, _)| event.seq < upgrade.trigger_seq).last()?.1;
    let mut ends = history.find(move |what| match what {
        What::Exited { pid, status: ExitStatus::Signal(signal) } if *pid == main.pid => Some(*signal),
        _ => None,
    });
    let (event, signal) =
        ends.find(|(event, _)| event.seq > upgrade.trigger_seq && event.at.not_before < history.stop_asked())?;
    let text = format!("the main process {} was killed by signal {signal}", main.pid);
    let evidence = Evidence::text(text).event(upgrade.trigger_seq).event(event.seq);
    Some(Finding::fail(vec![evidence]).of(upgrade.id))
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Answer, ExitStatus, What};
    use crate::id::Pid;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn started(triggered_at: u64) -> Script {
        Script::new().event(1000, What::Ready { by: "answers on http".to_owned() }).main(1001, 1).trigger(
            triggered_at,
            1,
            2,
        )
    }

    fn asked(script: Script, answer: Answer) -> Script {
        script.event(2000, What::Asked { answers: vec![answer] })
    }

    fn check(script: Script, want: Verdict) {
        let stop = What::StopAsked { action: "signal TERM".to_owned() };
        let findings = (super::CHECK.decide)(&script.event(3000, stop).history());
        let worst = findings.iter().map(|finding| finding.verdict).max().expect("a finding");
        assert_eq!(worst, want, "{findings:#?}");
    }

    #[test]
    fn a_service_that_answers_afterwards_passes() {
        check(asked(started(1010), Answer::Answered), Pass);
    }

    #[test]
    fn a_main_process_that_is_killed_fails_even_if_somebody_answers() {
        let killed = What::Exited { pid: Pid(1), status: ExitStatus::Signal(1) };
        check(asked(started(1010).event(1011, killed), Answer::Answered), Fail);
        // One that ends by itself has handed over.
        check(asked(started(1010).exited(1011, 1), Answer::Answered), Pass);
    }

    #[test]
    fn a_service_that_is_gone_fails() {
        check(asked(started(1010), Answer::Refused), Fail);
    }

    #[test]
    fn a_late_trigger_proves_nothing() {
        check(asked(started(1300), Answer::Answered), Inconclusive);
        check(started(1010), Inconclusive);
    }
}

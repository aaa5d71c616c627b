//! handoff/config-test-harmless: a test of the configuration beside a server that runs loses nothing.

use crate::check::Check;
use crate::check::loss::by_class;
use crate::event::{ExitStatus, What};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::request::{FailureClass, Request};
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "handoff/config-test-harmless",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: Some(Capability::ConfigTest),
    requirement: "A test of the configuration loses nothing of the server that runs.",
    source: "nginx(8), -t: to test is not to start",
    reports: &["nginx 337afd5f"],
    observed: "`commands.config_test` runs again and again beside 300 fresh connections a second and busy kept ones, and exits 0. No request \
               that ended since the first one began is lost, in whatever way. A test that fails, or fewer than 50 requests, prove \
               nothing.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

/// The fewest requests beside the tests: a command of a few milliseconds, ten times.
const REQUESTS_MIN: usize = 50;

fn decide(history: &History) -> Vec<Finding> {
    let tests = history.find(|what| if let What::ConfigTested { status } = what { Some(*status) } else { None });
    let tests: Vec<_> = tests.collect();
    let Some((first, _)) = tests.first() else { return vec![Finding::inconclusive("no configuration was tested")] };
    if let Some((event, status)) = tests.iter().find(|(_, status)| *status != Some(ExitStatus::Code(0))) {
        let text = match status {
            Some(ExitStatus::Code(code)) => {
                format!("a test said with exit status {code} that the configuration is bad")
            }
            Some(ExitStatus::Signal(signal)) => format!("a test was killed by signal {signal}"),
            Some(ExitStatus::Unknown) => "how a test ended could not be learnt".to_owned(),
            None => "a test did not end".to_owned(),
        };
        return vec![Finding::inconclusive(Evidence::text(text).event(event.seq))];
    }
    let (from, until) = (first.at.not_before, history.stop_asked());
    let beside: Vec<&Request> = history
        .load()
        .filter(|request| request.ended > from && request.ended <= until)
        .filter(|request| request.failure() != Some(FailureClass::HarnessFault))
        .collect();
    let lost = by_class(beside.iter().copied());
    let text = |lost: usize| format!("{lost} of {} requests lost beside {} tests", beside.len(), tests.len());
    if lost.is_empty() {
        let evidence = Evidence::text(text(0)).event(first.seq);
        return vec![if beside.len() < REQUESTS_MIN {
            Finding::inconclusive(evidence)
        } else {
            Finding::pass(evidence)
        }];
    }
    let finding = |(class, requests): (FailureClass, Vec<&Request>)| {
        let count = Evidence::text(text(requests.len())).event(first.seq).requests(requests.iter().map(|it| it.id));
        let first = requests.iter().map(|it| it.ended).min().unwrap_or_default();
        Finding::fail(vec![count, Evidence::text(format!("{class}, the first at {first}"))]).class(class)
    };
    lost.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::event::{ExitStatus, What};
    use crate::request::FailureClass;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    /// A test of the configuration from 1000 to 1010 ms that ended so, and a request every 4 ms.
    fn tested(status: Option<ExitStatus>) -> Script {
        let script = Script::new().spanning(1000, 1010, What::ConfigTested { status });
        (900..1300).step_by(4).fold(script, |script, at| script.request(answered(at, at + 1, 1)))
    }

    fn check(script: Script, want: Verdict) {
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    const GOOD: Option<ExitStatus> = Some(ExitStatus::Code(0));

    #[test]
    fn a_test_beside_which_nothing_is_lost_passes() {
        check(tested(GOOD), Pass);
    }

    #[test]
    fn a_request_that_is_lost_fails() {
        check(tested(GOOD).request(failed(1005, 1020, FailureClass::Dropped)), Fail);
        check(tested(GOOD).request(failed(1005, 1006, FailureClass::Refused)), Fail);
    }

    #[test]
    fn what_was_lost_before_is_none_of_its_business() {
        check(tested(GOOD).request(failed(950, 960, FailureClass::Dropped)), Pass);
    }

    #[test]
    fn a_test_that_fails_or_hangs_and_a_load_that_is_not_there_prove_nothing() {
        check(tested(Some(ExitStatus::Code(1))), Inconclusive);
        check(tested(None), Inconclusive);
        check(Script::new().event(1000, What::ConfigTested { status: GOOD }), Inconclusive);
        check(Script::new(), Inconclusive);
    }
}

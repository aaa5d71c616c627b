//! inherit/threads: what serves was not lost in fork(2).

use crate::check::Check;
use crate::event::{Answer, Event, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "inherit/threads",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: None,
    requirement: "The daemon serves requests after daemonising, every one of them.",
    source: "fork(2): the child has the calling thread and no other",
    reports: &["zebra-rs#639", "tokio#8202"],
    observed: "Requests one after the other, each on a fresh connection, to a daemon at rest: the first that is not answered by the \
               request deadline ends it. A daemon whose every thread was lost never becomes ready; one that lost some answers some.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let asked = history.find(|what| if let What::Asked { answers } = what { Some(answers) } else { None });
    let one = |(event, answers): (&Event, &Vec<Answer>)| {
        let good = answers.iter().take_while(|answer| **answer == Answer::Answered).count();
        let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event.seq)]);
        match answers.get(good) {
            None => Finding::pass(Evidence::text(format!("{good} requests were answered")).event(event.seq)),
            Some(Answer::Missing(why)) => {
                fail(format!("{good} requests were answered, and the next was not: {why}")).on_time()
            }
            Some(Answer::Refused | Answer::Answered) => {
                fail(format!("{good} requests were answered, and the next connect was refused"))
            }
        }
    };
    let findings: Vec<Finding> = asked.map(one).collect();
    if findings.is_empty() { vec![Finding::inconclusive("the daemon was asked nothing")] } else { findings }
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::event::{Answer, What};
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(answers: Option<Vec<Answer>>, want: Verdict) {
        let what = answers.map(|answers| What::Asked { answers });
        let script = what.into_iter().fold(Script::new(), |script, what| script.event(100, what));
        assert_eq!((super::CHECK.decide)(&script.history())[0].verdict, want);
    }

    #[test]
    fn who_answers_all_passes() {
        check(Some(vec![Answer::Answered, Answer::Answered]), Pass);
    }

    #[test]
    fn who_leaves_one_unanswered_fails() {
        check(Some(vec![Answer::Answered, Answer::Missing("no answer".to_owned())]), Fail);
        check(Some(vec![Answer::Answered, Answer::Refused]), Fail);
    }

    #[test]
    fn who_was_not_asked_proves_nothing() {
        check(None, Inconclusive);
    }
}

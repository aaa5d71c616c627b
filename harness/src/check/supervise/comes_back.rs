//! supervise/comes-back: what a killed main process leaves behind does not keep the next one from serving.

use crate::check::Check;
use crate::event::{Answer, ComeBack, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "supervise/comes-back",
    level: Level::Must,
    profile: Some(Profile::Foreground),
    capability: None,
    requirement: "After SIGKILL of the main process the supervisor's first restart succeeds, and one instance serves.",
    source: "supervisord.org, \"Subprocesses\"; systemd.service(5), Restart=; systemd.kill(5), KillMode=process",
    reports: &["Supervisor#199", "gunicorn#520"],
    observed: "SIGKILL to the main process alone, as the out-of-memory killer sends it: its other processes live on. How often \
               supervisord starts it until RUNNING, or systemd, with KillMode=process, until active; the answer to a request then, and who of the killed instance still lives.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let found = history.find(|what| if let What::CameBack(back) = what { Some(back) } else { None });
    let findings: Vec<Finding> = found.map(|(event, back)| judge(event.seq, back)).collect();
    if findings.is_empty() { vec![Finding::inconclusive("no main process was killed")] } else { findings }
}

fn judge(event: u64, back: &ComeBack) -> Finding {
    let fail = |text: String| Finding::fail(vec![Evidence::text(text).event(event)]);
    match (&back.answer, back.survivors.as_slice()) {
        _ if !back.running => fail(format!("it was started {} times and never ran again", back.starts)),
        _ if back.starts > 1 => fail(format!("it ran again only at start number {}", back.starts)),
        (Answer::Refused, _) => fail("it runs again, and refuses connections".to_owned()).on_time(),
        (Answer::Missing(why), _) => fail(format!("it runs again, and does not answer: {why}")).on_time(),
        (Answer::Answered, []) => Finding::pass(Evidence::text("its first restart runs, and answers").event(event)),
        (Answer::Answered, survivors) => {
            let pids: Vec<String> = survivors.iter().map(|image| image.pid.to_string()).collect();
            fail(format!("beside the new instance there lives process {} of the killed one", pids.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, image};
    use crate::event::{Answer, ComeBack, What};
    use crate::id::Pid;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(change: fn(&mut ComeBack), want: Verdict) {
        let mut back = ComeBack {
            killed: Pid(7),
            main: Some(Pid(9)),
            starts: 1,
            running: true,
            answer: Answer::Answered,
            survivors: Vec::new(),
        };
        change(&mut back);
        let history = Script::new().event(100, What::CameBack(back)).history();
        assert_eq!((super::CHECK.decide)(&history)[0].verdict, want);
    }

    #[test]
    fn a_first_restart_that_serves_alone_passes() {
        check(|_| {}, Pass);
    }

    #[test]
    fn a_later_one_or_none_fails() {
        check(|back| back.starts = 2, Fail);
        check(|back| back.running = false, Fail);
        check(|back| back.answer = Answer::Refused, Fail);
    }

    #[test]
    fn a_survivor_fails() {
        check(|back| back.survivors.push(image(8)), Fail);
    }

    #[test]
    fn without_a_kill_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }
}

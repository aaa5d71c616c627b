//! Hand-built summaries for the tests of reports.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::check;
use crate::expectation::{Expectation, ExpectationKind};
use crate::id::UpgradeId;
use crate::machine::{Machine, Tier};
use crate::manifest::Role;
use crate::measure::Measure;
use crate::plan::NotRun;
use crate::request::FailureClass;
use crate::summary::{
    Disposition, Located, LocatedMeasures, NotRunScenario, Row, ScenarioVerdict, Summary, TargetSummary,
};
use crate::verdict::{Evidence, Finding};

const SCENARIO: &str = "restart/upgrade-under-load";

pub(super) fn machine(tier: Tier) -> Machine {
    Machine {
        tier,
        tier_reason: if tier == Tier::A { "" } else { "this user is not root" }.to_owned(),
        kernel: "6.18.5".to_owned(),
        processors: 2,
        uid: if tier == Tier::A { 0 } else { 1000 },
        listen_hook: tier == Tier::A,
        no_systemd: None,
        no_task_groups: None,
        no_clients: None,
        programs: BTreeMap::from([("nginx".to_owned(), None)]),
    }
}

fn located(run: u32, finding: Finding) -> Located {
    let directory = PathBuf::from(format!("/home/you/server/target/unbroken/2026-11-22T212600Z/{run}"));
    Located { scenario: SCENARIO.to_owned(), run, directory, finding }
}

fn row(id: &str, disposition: Disposition, passed: (u32, u32), findings: Vec<Located>) -> Row {
    let check = check::find(id).expect("a check of the catalogue");
    let verdict = findings.iter().map(|it| it.finding.verdict).max();
    Row {
        check: check.id,
        level: check.level,
        verdict,
        unsupported: String::new(),
        passed: passed.0,
        of: passed.1,
        disposition,
        expectation: None,
        scenarios: vec![ScenarioVerdict { scenario: SCENARIO.to_owned(), verdict }],
        findings,
    }
}

fn passed(id: &str, runs: u32, text: &str) -> Row {
    row(id, Disposition::Passed, (runs, runs), vec![located(1, Finding::pass(text).of(UpgradeId(1)))])
}

fn expectation(check: &str, reason: &str) -> Expectation {
    Expectation {
        check: check.to_owned(),
        kind: ExpectationKind::Fail,
        reason: reason.to_owned(),
        upstream: None,
        class: None,
        scenarios: Vec::new(),
        observed: None,
    }
}

fn measures(run: u32, handoff_ms: f64) -> LocatedMeasures {
    let measure = Measure {
        upgrade: UpgradeId(1),
        handoff_ms: Some(handoff_ms),
        overlap_ms: None,
        accept_gap_ms: Some(6.5),
        drain_ms: Some(101.25),
        requests: 1337,
        failed: 3,
        fresh_p50_ms: Some(0.3),
        fresh_p99_ms: Some(2.125),
        at_rest: None,
    };
    LocatedMeasures { scenario: SCENARIO.to_owned(), run, upgrades: vec![measure], slopes: None }
}

fn target(name: &str, role: Role, runs: u32, rows: Vec<Row>) -> TargetSummary {
    TargetSummary {
        target: name.to_owned(),
        role,
        runs,
        broken: Vec::new(),
        rows,
        not_run: Vec::new(),
        unmatched: Vec::new(),
        measures: Vec::new(),
    }
}

fn of(tier: Tier, targets: Vec<TargetSummary>) -> Summary {
    Summary {
        version: "0.1.0",
        commit: Some("0123abc".to_owned()),
        began: "2026-11-22T21:26:00Z".to_owned(),
        machine: machine(tier),
        seed: 42,
        targets,
    }
}

/// One conformant target, twenty runs.
pub(super) fn clean() -> Summary {
    let rows = vec![
        passed("pidfile/upgrade-always-valid", 20, "the pidfile was not touched and its process lived throughout"),
        passed("handoff/took-over", 20, "version 2 answered first at 1.032 s, 31 ms after the trigger"),
        passed("handoff/no-refused", 20, "0 of 1240 connects lost"),
        passed("drain/keepalive-race", 20, "0 of 880 requests on reused connections lost"),
    ];
    let mut it = target("reference/exec-inherit", Role::Reference, 20, rows);
    it.measures = vec![measures(1, 31.5), measures(2, 40.0), measures(3, 33.0)];
    of(Tier::A, vec![it])
}

/// Every disposition and every kind of remark at least once.
pub(super) fn summary() -> Summary {
    let rows = vec![
        expected_fail(),
        passed("handoff/took-over", 3, "version 2 answered first at 1.032 s, 31 ms after the trigger"),
        refused(),
        undecided(),
        not_claimed(),
        warned(),
        unexpected_pass(),
        errored(),
    ];
    let mut peer = target("nginx/usr2", Role::Peer, 3, rows);
    peer.not_run.push(NotRunScenario {
        scenario: "restart/watch".to_owned(),
        why: NotRun::Unsupported { reason: "the manifest does not claim Watch".to_owned() },
    });
    peer.unmatched.push(expectation("handoff/no-refusal", "a reason that no check of these runs could match"));
    peer.measures = vec![measures(1, 31.5), measures(2, 40.0)];

    let mut broken = target("null/exit", Role::Null, 1, Vec::new());
    let evidence = vec![Evidence::text("target ready: not within 10000 ms").event(9)];
    broken.broken.push(located(1, Finding::fail(evidence)));

    let mut absent = target("nginx/hup", Role::Peer, 1, Vec::new());
    let why =
        NotRun::Unavailable { reason: "nginx is not on PATH".to_owned(), remedy: "apt-get install nginx".to_owned() };
    absent.not_run.push(NotRunScenario { scenario: SCENARIO.to_owned(), why });
    of(Tier::C, vec![peer, broken, absent])
}

fn refused() -> Row {
    let evidence = || {
        vec![
            Evidence::text("3 of 4012 connects refused, 1.204 s – 1.219 s").requests([310, 311, 312]),
            Evidence::text("upgrade 1 was triggered at 1.200 s").event(2817),
            Evidence::text(
                "request 310: never sent, ended at 1.205 s by ECONNREFUSED, 0 of its 0 bytes acknowledged, 0 bytes of answer",
            ),
        ]
    };
    let finding = || Finding::fail(evidence()).of(UpgradeId(1)).class(FailureClass::Refused);
    row("handoff/no-refused", Disposition::Failure, (1, 3), vec![located(2, finding()), located(3, finding())])
}

fn expected_fail() -> Row {
    let evidence = vec![Evidence::text("inotify MOVED_FROM: renamed away, at 1.301 s").event(402)];
    let finding = || Finding::fail(evidence.clone());
    let findings = (1..=3).map(|run| located(run, finding())).collect();
    let mut row = row("pidfile/upgrade-always-valid", Disposition::ExpectedFailure, (0, 3), findings);
    let mut expectation = expectation(row.check, "the old master renames its pidfile to nginx.pid.oldbin");
    expectation.upstream = Some("https://nginx.org/en/docs/control.html".to_owned());
    row.expectation = Some(expectation);
    row
}

fn undecided() -> Row {
    let mut finding = Finding::inconclusive("one socket, cookie 1f, listened throughout");
    finding.evidence.push(Evidence::text("tier C cannot prove it: other processes may listen on the same address"));
    row("handoff/listener-continuity", Disposition::Inconclusive, (2, 3), vec![located(3, finding)])
}

fn not_claimed() -> Row {
    let mut row = row("handoff/backlog-kept", Disposition::Unsupported, (0, 0), Vec::new());
    row.unsupported = "disclaimed: its workers cannot be stopped".to_owned();
    row
}

fn warned() -> Row {
    let evidence = vec![
        Evidence::text("2 of 880 requests on reused connections unread, 1.231 s – 1.233 s").requests([77, 78]),
        Evidence::text("Σ unread = 2, ΔTCPAbortOnClose = 2"),
    ];
    let finding = Finding::fail(evidence).of(UpgradeId(1)).class(FailureClass::Unread);
    row("drain/keepalive-race", Disposition::Warning, (2, 3), vec![located(1, finding)])
}

fn unexpected_pass() -> Row {
    let mut row = row(
        "drain/inflight-completes",
        Disposition::UnexpectedPass,
        (3, 3),
        vec![located(1, Finding::pass("0 of 10 slow requests lost"))],
    );
    row.expectation = Some(expectation(row.check, "workers are killed"));
    row
}

fn errored() -> Row {
    let finding = Finding::error("observer processes: the queue overflowed");
    row("life/nothing-left", Disposition::Error, (2, 3), vec![located(2, finding)])
}

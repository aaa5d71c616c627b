//! The driver at full speed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::fake_server::{FakeServer, Peer};
use super::fixture::{Harm, closed_port, want};
use crate::drive::{self, DrivePlan, DriveReport, Lost, Pace, Record, Seen, Source};
use crate::kernel::clock::monotonic;
use crate::load::fast::drive;
use crate::request::FailureClass;
use crate::wait::Stop;

/// For 300 ms over four connections, changed.
pub(super) fn driven(to: impl Into<drive::Peer>, change: impl Fn(&mut DrivePlan)) -> DriveReport {
    let mut plan = DrivePlan { connections: 4, duration: Duration::from_millis(300), ..DrivePlan::new(to) };
    change(&mut plan);
    let stop = Stop::new().expect("descriptors are left");
    let (mut answered, mut failed) = (0, 0);
    let (mut records, mut losses) = (Vec::new(), Vec::new());
    let report = drive(&plan, Duration::from_millis(50), &stop, &mut |seen| match seen {
        Seen::Interval(interval) => {
            answered += interval.times.len();
            failed += interval.failed;
        }
        Seen::Answered(record) => records.push(record),
        Seen::Lost(lost) => losses.push(lost.clone()),
    });
    let report = report.expect("it drives");
    assert_eq!((report.answered, report.lost()), (answered, failed), "the whole is the sum of its intervals");
    // Threads tell of theirs in whatever order they come to it.
    let in_order = |mut losses: Vec<Lost>| {
        losses.sort_by_key(|it| (it.ended, it.began));
        losses
    };
    assert_eq!(records.len() as u64, answered);
    assert_eq!(in_order(losses), in_order(report.losses.clone()), "each end is seen");
    assert!(records.iter().all(|it| it.intended <= it.began && it.began <= it.ended), "{records:?}");
    assert_eq!(report.begun, report.answered + report.lost(), "each request has one end: {report:?}");
    report
}

/// Everything failed, and in this way.
pub(super) fn all_fail(report: &DriveReport, class: FailureClass) {
    assert!(report.begun > 0 && report.failed == BTreeMap::from([(class, report.begun)]), "{report:?}");
}

#[test]
fn a_closed_loop_is_answered_on_as_many_connections_as_it_has() {
    let server = FakeServer::plain();
    let report = driven(server.address, |_| {});
    assert_eq!((report.answered, report.lost()), (server.deeds.count("answered"), 0));
    assert_eq!((report.connections, report.lateness), (4, None));
}

#[test]
fn a_connection_for_each_request_is_one_for_each() {
    let server = FakeServer::plain();
    let report = driven(server.address, |plan| plan.kept = false);
    assert_eq!((report.answered, report.lost()), (server.deeds.count("answered"), 0));
    assert_eq!(report.connections, report.begun);
}

#[test]
fn threads_share_one_load() {
    let server = FakeServer::plain();
    let report = driven(server.address, |plan| plan.threads = 2);
    assert_eq!((report.answered, report.lost()), (server.deeds.count("answered"), 0));
    assert_eq!((report.connections, report.lateness), (4, None));
    // The schedule of a thread is every second instant of the whole.
    let report = driven(server.address, |plan| (plan.threads, plan.pace) = (3, Pace::PerSecond(200.0)));
    assert_eq!((report.begun, report.answered, report.unsent), (60, 60, 0));
    let (_held, to) = closed_port();
    let gone = driven(to, |plan| plan.threads = 2);
    all_fail(&gone, FailureClass::Refused);
}

#[test]
fn each_source_has_its_turn() {
    let (seen, see) = std::sync::mpsc::channel();
    let seen = Mutex::new(seen);
    let server = FakeServer::start(move |mut peer, _| {
        let from = peer.stream.peer_addr().expect("it is connected").ip();
        // The test counts when everybody is gone.
        let _sent = seen.lock().expect("nobody panics with it").send(from.to_string());
        while let Some(ask) = peer.request() {
            peer.answer(&ask, "");
        }
    });
    let report = driven(server.address, |plan| (plan.kept, plan.source) = (false, Source::loopback(2)));
    drop(server);
    let sources: Vec<String> = see.try_iter().filter(|it| it != "127.0.0.1").collect();
    let first = sources.iter().filter(|it| *it == "127.1.0.1").count() as u64;
    assert_eq!(sources.len() as u64, report.begun);
    assert!(first.abs_diff(report.begun - first) <= 1, "{first} of {}", report.begun);
}

#[test]
fn an_open_loop_begins_each_request_of_its_schedule() {
    let server = FakeServer::plain();
    let report = driven(server.address, |plan| plan.pace = Pace::PerSecond(1000.0));
    assert_eq!((report.begun, report.answered, server.deeds.count("answered")), (300, 300, 300));
    assert_eq!(report.lateness.map(|it| it.count), Some(300));
}

/// 200 µs from one request to the next: their answers are read at ticks.
const CLOSE_TICKS: Pace = Pace::PerSecond(5000.0);

#[test]
fn an_answer_that_is_read_at_the_next_tick_came_when_the_kernel_got_it() {
    let server = FakeServer::plain();
    let plan = DrivePlan { duration: Duration::from_millis(300), pace: CLOSE_TICKS, ..DrivePlan::new(server.address) };
    let stop = Stop::new().expect("descriptors are left");
    let mut seen: Vec<(u64, Record)> = Vec::new();
    let report = drive(&plan, Duration::from_millis(50), &stop, &mut |it| {
        if let Seen::Answered(record) = it {
            seen.push((monotonic(), record));
        }
    });
    let report = report.expect("it drives");
    assert_eq!((report.answered, report.lost(), report.unsent), (1500, 0, 0), "{report:?}");
    seen.sort_by_key(|(_, record)| record.intended);
    // Some came before the next request began, and were read after it.
    let at_a_tick = seen.windows(2).filter(|two| {
        let [(read, one), (_, next)] = two else { return false };
        one.ended < next.began && report.origin + next.began.0 <= *read
    });
    assert!(at_a_tick.count() > 0, "{seen:?}");
}

#[test]
fn at_close_ticks_nothing_is_reported_but_what_was() {
    let server = FakeServer::start(harm);
    let report = driven(server.address, |plan| plan.pace = CLOSE_TICKS);
    for (deed, _) in DEEDS {
        assert!(server.deeds.count(deed) > 0, "nothing was {deed}: {report:?}");
    }
    assert_eq!(report.failed, want(&DEEDS, &server.deeds));
    let plain = FakeServer::plain();
    let fresh = driven(plain.address, |plan| (plan.kept, plan.pace) = (false, CLOSE_TICKS));
    assert_eq!((fresh.answered, fresh.connections), (1500, 1500), "{fresh:?}");
    let (_held, to) = closed_port();
    all_fail(&driven(to, |plan| plan.pace = CLOSE_TICKS), FailureClass::Refused);
}

#[test]
fn waiting_for_a_busy_connection_is_latency_and_not_lateness() {
    let server = FakeServer::start(|mut peer, _| {
        let never = Stop::new().expect("descriptors are left");
        while let Some(ask) = peer.request() {
            let _takes_long = never.pause(Duration::from_millis(40));
            peer.answer(&ask, "");
        }
    });
    // 100 a second over one connection, and 40 ms each: the thirtieth waits for all before it.
    let report = driven(server.address, |plan| (plan.connections, plan.pace) = (1, Pace::PerSecond(100.0)));
    assert_eq!((report.begun, report.unsent), (30, 0), "what was due is sent, however late: {report:?}");
    assert!(report.latency.max > 800_000_000, "{report:?}");
    let late = report.lateness.expect("an open loop");
    assert!(late.p50 < report.latency.p50 / 10, "{report:?}");
}

/// What the server does to the third request of each connection, or after its second answer.
const DEEDS: [Harm; 6] = [
    ("taken", Some(FailureClass::Taken)),
    ("unread", Some(FailureClass::Unread)),
    ("announced", None),
    ("short", Some(FailureClass::Truncated)),
    ("503", Some(FailureClass::ServerError)),
    ("nonsense", Some(FailureClass::WrongAnswer)),
];

fn harm(mut peer: Peer, number: usize) {
    let (deed, _) = DEEDS[number % DEEDS.len()];
    for _ in 0..2 {
        let Some(ask) = peer.request() else { return };
        peer.answer(&ask, "");
    }
    if deed == "unread" {
        if peer.readable() {
            peer.deeds.add(deed);
        }
        return;
    }
    let Some(ask) = peer.request() else { return };
    peer.deeds.add(deed);
    match deed {
        "announced" => peer.answer(&ask, "Connection: close\r\n"),
        "short" => peer.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
        "503" => peer.write("HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        "nonsense" => peer.write("SSH-2.0-x\r\n"),
        _ => {}
    }
}

#[test]
fn every_harm_to_a_kept_connection_is_reported_as_what_it_was() {
    let server = FakeServer::start(harm);
    let report = driven(server.address, |_| {});
    for (deed, _) in DEEDS {
        assert!(server.deeds.count(deed) > 0, "nothing was {deed}: {report:?}");
    }
    assert_eq!(report.failed, want(&DEEDS, &server.deeds));
    assert_eq!(report.idle_closes, 0, "{report:?}");
}

#[test]
fn a_close_that_was_not_announced_is_a_race_or_loses_nothing() {
    let server = FakeServer::start(|mut peer, _| {
        for _ in 0..10 {
            let Some(ask) = peer.request() else { return };
            peer.answer(&ask, "");
        }
        peer.deeds.add("closed");
    });
    let report = driven(server.address, |_| {});
    let races = [FailureClass::Crossed, FailureClass::Unread];
    assert!(report.failed.keys().all(|class| races.contains(class)), "{report:?}");
    // A close of the last moment may not have been told any more.
    let (told, closed) = (report.idle_closes + report.lost(), server.deeds.count("closed"));
    assert!(told > 0 && told <= closed && closed <= told + 4, "{closed} closed: {report:?}");
}

#[test]
fn an_idle_close_is_seen_before_the_next_request() {
    let server = FakeServer::start(|mut peer, _| {
        let Some(ask) = peer.request() else { return };
        peer.answer(&ask, "");
    });
    // 20 requests a second: each connection is closed long before it would be used again.
    let report = driven(server.address, |plan| (plan.connections, plan.pace) = (1, Pace::PerSecond(20.0)));
    assert_eq!((report.answered, report.lost(), report.connections), (6, 0, 6), "{report:?}");
}

#[test]
fn who_is_not_there_refuses_and_is_not_asked_without_pause() {
    let (_held, to) = closed_port();
    let report = driven(to, |_| {});
    all_fail(&report, FailureClass::Refused);
    assert!(report.begun <= 4 * 301, "{} in 300 ms with a pause of 1 ms", report.begun);
}

#[test]
fn who_does_not_answer_is_waited_for_until_the_deadline() {
    let server = FakeServer::start(|mut peer, _| while peer.request().is_some() {});
    let report = driven(server.address, |plan| plan.deadline = Duration::from_millis(400));
    all_fail(&report, FailureClass::Hung);
    assert_eq!(report.begun, 4, "those in flight at the end are waited for");
}

#[test]
fn what_was_due_and_found_no_connection_is_told() {
    let server = FakeServer::start(|mut peer, _| while peer.request().is_some() {});
    let change = |plan: &mut DrivePlan| {
        (plan.connections, plan.pace, plan.deadline) = (1, Pace::PerSecond(100.0), Duration::from_millis(200));
    };
    let report = driven(server.address, change);
    assert_eq!(report.begun + report.unsent, 30, "{report:?}");
    assert!(report.unsent > 20 && report.lost() == report.begun, "{report:?}");
}

#[test]
fn a_fresh_connection_that_ends_without_an_answer_is_dropped() {
    let server = FakeServer::start(|mut peer, _| drop(peer.request()));
    all_fail(&driven(server.address, |plan| plan.kept = false), FailureClass::Dropped);
}

#[test]
fn what_lies_behind_an_answer_was_not_asked_for() {
    let server = FakeServer::start(|mut peer, _| {
        if peer.request().is_some() {
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore");
        }
    });
    all_fail(&driven(server.address, |_| {}), FailureClass::UnsolicitedAnswer);
}

#[test]
fn an_answer_in_pieces_is_one_answer() {
    let server = FakeServer::start(|mut peer, _| {
        while peer.request().is_some() {
            for piece in ["HTTP/1.1 2", "00 OK\r\nContent-Le", "ngth: 2\r\n", "\r\no", "k"] {
                peer.write(piece);
            }
        }
    });
    let report = driven(server.address, |_| {});
    assert!(report.answered > 0 && report.lost() == 0, "{report:?}");
}

#[test]
fn a_body_that_ends_with_its_connection_is_whole() {
    let server = FakeServer::start(|mut peer, _| {
        if peer.request().is_some() {
            peer.write("HTTP/1.1 200 OK\r\n\r\nuntil the end");
        }
    });
    let report = driven(server.address, |_| {});
    assert!(report.answered > 0 && report.lost() == 0 && report.connections == report.begun, "{report:?}");
}

#[test]
fn it_ends_early_when_it_is_asked_to() {
    let server = FakeServer::plain();
    for pace in [Pace::AsAnswered, CLOSE_TICKS] {
        ends_early(&DrivePlan { duration: Duration::from_secs(600), pace, ..DrivePlan::new(server.address) });
    }
}

fn ends_early(plan: &DrivePlan) {
    let stop = Stop::new().expect("descriptors are left");
    let began = Instant::now();
    let report = drive(plan, Duration::from_millis(20), &stop, &mut |seen| {
        if matches!(seen, Seen::Interval(_)) {
            stop.ask();
        }
    });
    let report = report.expect("it drives");
    assert!(report.begun > 0 && report.lost() == 0 && began.elapsed() < Duration::from_secs(60), "{report:?}");
}

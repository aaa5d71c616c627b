//! Harm to kept connections.

use std::collections::BTreeMap;

use super::fake_server::{FakeServer, Peer};
use super::fixture::{Harm, LONG, failures, finish, late_fins, load, wait_for, want};
use crate::request::{Ending, FailureClass, Pattern};

/// What the server did to kept connections on their third request, or after their second answer.
const KEPT_DEEDS: [Harm; 7] = [
    ("taken", Some(FailureClass::Taken)),
    ("unread", Some(FailureClass::Unread)),
    ("idle fin", None),
    ("idle reset", Some(FailureClass::IdleReset)),
    ("announced", None),
    ("timeout notice", Some(FailureClass::UnsolicitedAnswer)),
    ("short", Some(FailureClass::Truncated)),
];

fn harm_kept(mut peer: Peer, number: usize) {
    let (deed, _) = KEPT_DEEDS[number % KEPT_DEEDS.len()];
    for _ in 0..2 {
        let Some(ask) = peer.request() else { return };
        peer.answer(&ask, "");
        peer.deeds.add("answered");
    }
    match deed {
        "idle fin" => return peer.deeds.add(deed),
        "idle reset" => {
            peer.deeds.add(deed);
            return peer.reset();
        }
        "timeout notice" => {
            peer.deeds.add(deed);
            return peer.write("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
        "unread" => {
            if peer.readable() {
                peer.deeds.add(deed);
            }
            return;
        }
        _ => {}
    }
    let Some(ask) = peer.request() else { return };
    peer.deeds.add(deed);
    match deed {
        "announced" => {
            peer.answer(&ask, "Connection: close\r\n");
            assert!(peer.request().is_none(), "an announced close is never answered with another request");
        }
        "short" => peer.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
        _ => {}
    }
}

#[test]
fn every_harm_to_a_kept_connection_is_reported_as_what_it_was() {
    let server = FakeServer::start(harm_kept);
    let load = load(server.address, LONG);
    load.begin(&[Pattern::Busy]).expect("begin");
    wait_for("twenty of each", || KEPT_DEEDS.iter().all(|(deed, _)| server.deeds.count(deed) >= 20));
    let record = finish(load);
    let count = |deed| server.deeds.count(deed);
    let mut want = want(&KEPT_DEEDS, &server.deeds);
    let mut got = failures(&record);
    // A server thread that is late harms an idle connection just when its next request is on the way: then the reset is one of an unread
    // request, and a FIN meets it, too. Each is told as what it was.
    for counts in [&mut got, &mut want] {
        let resets = counts.remove(&FailureClass::IdleReset).unwrap_or(0);
        *counts.entry(FailureClass::Unread).or_default() += resets;
    }
    let late = late_fins(&mut got, &want);
    assert_eq!(got, want);
    let answered = count("answered") + count("announced");
    assert_eq!(record.requests.iter().filter(|it| it.failure().is_none()).count() as u64, answered);
    assert_eq!(record.account.idle_closes + late, count("idle fin"));
    let ended_unannounced = ["idle fin", "idle reset", "taken", "unread", "short"].map(count).iter().sum::<u64>();
    assert_eq!(record.account.unannounced_closes, ended_unannounced);
    assert_eq!(record.account.own_aborts, 0);
    for request in &record.requests {
        let want = if request.failure().is_some() { 2..3 } else { 0..3 };
        assert!(want.contains(&request.nth_on_connection), "{request:?}");
        assert_eq!(request.connected.is_some(), request.nth_on_connection == 0, "{request:?}");
        match (&request.ending, request.failure()) {
            (Ending::Failed { evidence, .. }, Some(FailureClass::Taken)) => {
                assert_eq!((evidence.signal.as_str(), evidence.state.as_str()), ("EOF", "CLOSE_WAIT"));
                assert_eq!(evidence.request_bytes_acked, request.bytes_sent);
            }
            (Ending::Failed { evidence, .. }, Some(FailureClass::Unread | FailureClass::IdleReset)) => {
                assert_eq!((evidence.signal.as_str(), evidence.state.as_str()), ("ECONNRESET", "CLOSE"));
            }
            _ => {}
        }
    }
}

#[test]
fn kept_connections_are_reused_and_closed_without_an_abort() {
    let server = FakeServer::plain();
    let load = load(server.address, LONG);
    load.begin(&[Pattern::Busy]).expect("begin");
    wait_for("a hundred answers", || server.deeds.count("answered") >= 100);
    wait_for("all sixteen", || load.busy_connections() == 16);
    load.quiesce().expect("quiesce");
    assert_eq!((load.busy_connections(), load.in_flight()), (0, 0));
    let (version, seen) = load.newest_version().expect("answers carry it");
    let record = finish(load);
    assert_eq!(failures(&record), BTreeMap::new());
    assert_eq!(record.requests.len() as u64, server.deeds.count("answered"));
    let first = record.requests.iter().map(|it| it.ended).min();
    assert_eq!((version.0, Some(seen)), (3, first), "the first answer was the first with the version");
    let mut next: BTreeMap<u64, u32> = BTreeMap::new();
    for request in &record.requests {
        let nth = next.entry(request.connection).or_default();
        assert_eq!(request.nth_on_connection, *nth);
        *nth += 1;
    }
    assert_eq!(next.len(), 16);
    let account = record.account;
    assert_eq!((account.idle_closes, account.unannounced_closes, account.own_aborts), (0, 0, 0));
}

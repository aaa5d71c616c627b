//! Harm to connections that pause before their first request, or in the middle of its head.

use std::collections::BTreeMap;
use std::io::Read;

use super::fake_server::{FakeServer, Peer};
use super::fixture::{LONG, failures, finish, load, wait_for};
use crate::request::{FailureClass, Pattern, Request};

/// What the server does while the client pauses, and the class that it must have: silent, and half a head sent.
const DEEDS: [(&str, Option<FailureClass>, Option<FailureClass>); 5] = [
    ("good", None, None),
    ("close", Some(FailureClass::ClosedBeforeFirstByte), Some(FailureClass::Dropped)),
    ("reset", Some(FailureClass::Dropped), Some(FailureClass::Dropped)),
    ("timeout", Some(FailureClass::UnsolicitedAnswer), Some(FailureClass::UnsolicitedAnswer)),
    ("swallow", Some(FailureClass::Dropped), Some(FailureClass::Dropped)),
];

fn harm(mut peer: Peer, number: usize, half: bool) {
    let deed = DEEDS[number % DEEDS.len()].0;
    // What was sent before the pause is read first: a close with unread bytes would be a reset, and a reset before any
    // byte may meet the handshake.
    if half
        && matches!(deed, "close" | "timeout" | "reset")
        && !peer.stream.read(&mut [0u8; 1024]).is_ok_and(|count| count > 0)
    {
        return;
    }
    match deed {
        "close" => peer.deeds.add(deed),
        "reset" => {
            peer.deeds.add(deed);
            peer.reset();
        }
        "timeout" => {
            peer.deeds.add(deed);
            peer.write("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            // Until the client has closed: the answer must not be followed by a reset.
            let _ = peer.stream.read(&mut [0u8; 1024]);
        }
        _ => {
            let Some(ask) = peer.request() else { return };
            peer.deeds.add(deed);
            if deed == "good" {
                peer.answer(&ask, "");
            }
        }
    }
}

fn check(pattern: Pattern) {
    let half = pattern == Pattern::Half;
    let server = FakeServer::start(move |peer, number| harm(peer, number, half));
    let load = load(server.address, LONG);
    load.begin(&[pattern]).expect("begin");
    wait_for("ten good ones", || server.deeds.count("good") >= 10);
    load.quiesce().expect("quiesce");
    assert_eq!((load.open_connections(pattern), load.in_flight()), (0, 0));
    let record = finish(load);
    let mut want = BTreeMap::new();
    for (deed, silent, halved) in DEEDS {
        if let Some(class) = if half { halved } else { silent } {
            *want.entry(class).or_default() += server.deeds.count(deed);
        }
    }
    let mut found = failures(&record);
    // The server may reset a silent connection while its client still looks at the handshake.
    if let Some(early) = found.remove(&FailureClass::HandshakeReset).filter(|_| !half) {
        *found.entry(FailureClass::Dropped).or_default() += early;
    }
    assert_eq!(found, want);
    let good: Vec<&Request> = record.requests.iter().filter(|it| it.failure().is_none()).collect();
    assert_eq!(good.len() as u64, server.deeds.count("good"));
    // The last ones went on early, because the load was stopped.
    let paused = |it: &&&Request| it.sent.is_some_and(|sent| sent.since(it.began).as_millis() >= 300);
    assert!(good.iter().filter(paused).count() >= 3, "{good:#?}");
    assert!(good.iter().all(|it| it.bytes_sent > 60), "{good:#?}");
}

#[test]
fn connections_that_send_nothing_at_first_are_told_apart() {
    check(Pattern::Silent);
}

#[test]
fn half_heads_are_told_apart() {
    check(Pattern::Half);
}

#[test]
fn a_pause_that_is_held_does_not_end_before_it_is_let_go() {
    let server = FakeServer::plain();
    let load = load(server.address, LONG);
    load.hold_pauses(true).expect("hold");
    load.begin(&[Pattern::Silent]).expect("begin");
    // One begins every 60 ms and pauses for 1.5 s at most: of those that are not held there are never so many.
    wait_for("forty", || load.open_connections(Pattern::Silent) >= 40);
    assert_eq!(server.deeds.count("answered"), 0);
    load.hold_pauses(false).expect("let go");
    wait_for("some of them", || server.deeds.count("answered") >= 10);
    load.quiesce().expect("quiesce");
    assert_eq!(failures(&finish(load)), BTreeMap::new());
}

#[test]
fn idle_connections_are_kept_and_used_again() {
    let server = FakeServer::plain();
    let load = load(server.address, LONG);
    load.begin(&[Pattern::Idle]).expect("begin");
    wait_for("all twenty-four", || load.open_connections(Pattern::Idle) == 24);
    wait_for("some used again", || server.deeds.count("answered") >= 30);
    load.quiesce().expect("quiesce");
    assert_eq!(load.open_connections(Pattern::Idle), 0);
    let record = finish(load);
    assert_eq!(failures(&record), BTreeMap::new());
    let again = record.requests.iter().filter(|it| it.nth_on_connection == 1);
    let since_first =
        |it: &Request| it.intended.since(record.requests.iter().map(|it| it.intended).min().unwrap_or_default());
    assert!(again.clone().count() >= 6);
    assert!(again.clone().all(|it| since_first(it).as_millis() >= 500), "each is silent for half a second at least");
}

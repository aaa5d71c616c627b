//! Harm to fresh connections.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fake_server::{FakeServer, Peer};
use super::fixture::{Harm, LONG, SHORT, closed_port, failures, finish, load, wait_for, want};
use crate::load::Parked;
use crate::request::{Ending, FailureClass, Pattern};

/// What the server did to fresh connections, and the class that each deed must have.
const FRESH_DEEDS: [Harm; 12] = [
    ("good", None),
    ("eof after the request", Some(FailureClass::Dropped)),
    ("close with the request unread", Some(FailureClass::Dropped)),
    ("short body", Some(FailureClass::Truncated)),
    ("half a head", Some(FailureClass::Truncated)),
    ("no last chunk", Some(FailureClass::Truncated)),
    ("wrong id", Some(FailureClass::WrongAnswer)),
    ("not HTTP", Some(FailureClass::WrongAnswer)),
    ("not found", Some(FailureClass::WrongAnswer)),
    ("overloaded", Some(FailureClass::ServerError)),
    ("silent", Some(FailureClass::Hung)),
    ("in pieces", None),
];

fn harm_fresh(mut peer: Peer, number: usize) {
    let (deed, _) = FRESH_DEEDS[number % FRESH_DEEDS.len()];
    if deed == "close with the request unread" {
        if peer.readable() {
            peer.deeds.add(deed);
        }
        return;
    }
    let Some(ask) = peer.request() else { return };
    peer.deeds.add(deed);
    let id = &ask.id;
    match deed {
        "good" => peer.answer(&ask, ""),
        "short body" => {
            peer.write(&format!("HTTP/1.1 200 OK\r\nX-Request-Id: {id}\r\nContent-Length: 9\r\n\r\nok"));
        }
        "half a head" => peer.write("HTTP/1.1 200 OK\r\nContent-"),
        "no last chunk" => peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"),
        "wrong id" => peer.write("HTTP/1.1 200 OK\r\nX-Request-Id: 1\r\nContent-Length: 0\r\n\r\n"),
        "not HTTP" => peer.write("220 mail ready\r\n"),
        "not found" => peer.write("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
        "overloaded" => peer.write("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
        "silent" => assert!(peer.request().is_none(), "the client closes at the deadline"),
        "in pieces" => {
            let whole = format!(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Request-Id: {id}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            );
            whole.chars().for_each(|piece| peer.write(&piece.to_string()));
        }
        _ => {}
    }
}

#[test]
fn every_harm_to_a_fresh_connection_is_reported_as_what_it_was() {
    let server = FakeServer::start(harm_fresh);
    let load = load(server.address, SHORT);
    load.begin(&[Pattern::Fresh]).expect("begin");
    wait_for("ten of each", || FRESH_DEEDS.iter().all(|(deed, _)| server.deeds.count(deed) >= 10));
    let record = finish(load);
    let want = want(&FRESH_DEEDS, &server.deeds);
    let harmless = FRESH_DEEDS.iter().filter(|(_, class)| class.is_none());
    let good: u64 = harmless.map(|(deed, _)| server.deeds.count(deed)).sum();
    assert_eq!(failures(&record), want);
    assert_eq!(record.requests.len() as u64, good + want.values().sum::<u64>());
    for request in &record.requests {
        if let Ending::Failed { class: FailureClass::Dropped, evidence } = &request.ending {
            let seen = (evidence.signal.as_str(), evidence.state.as_str());
            assert!(matches!(seen, ("EOF", "CLOSE_WAIT") | ("ECONNRESET", "CLOSE")), "{request:?}");
        }
        assert!(request.connected.is_some() && request.local_port > 0 && request.nth_on_connection == 0);
        assert!(request.intended <= request.began && Some(request.began) <= request.connected);
        assert!(request.connected <= request.sent && request.sent.is_some_and(|sent| sent <= request.ended));
    }
    let dropped = |want: &str| {
        let endings = record.requests.iter().map(|request| &request.ending);
        let signals = endings.filter_map(|ending| match ending {
            Ending::Failed { class: FailureClass::Dropped, evidence } => Some(&evidence.signal),
            _ => None,
        });
        signals.filter(|signal| *signal == want).count() as u64
    };
    assert_eq!(dropped("EOF"), server.deeds.count("eof after the request"));
    assert_eq!(dropped("ECONNRESET"), server.deeds.count("close with the request unread"));
    assert_eq!(record.account.own_aborts, 0);
}

#[test]
fn the_phase_of_each_schedule_is_chance() {
    const SCHEDULES: usize = 24;
    const PERIOD: u64 = 10_000_000;
    let server = FakeServer::plain();
    let load = load(server.address, LONG);
    load.begin(&[Pattern::Canary; SCHEDULES]).expect("begin");
    wait_for("one of each", || server.deeds.count("answered") >= SCHEDULES as u64);
    let record = finish(load);
    let mut phases: Vec<u64> = record.requests.iter().map(|request| request.intended.0 % PERIOD).collect();
    phases.sort_unstable();
    let next = phases.iter().skip(1).copied().chain([phases[0] + PERIOD]);
    let widest = phases.iter().zip(next).map(|(phase, next)| next - phase).max();
    // Begun together they would all lie at one place of the circle, and its rest be empty.
    assert!(widest < Some(PERIOD / 2), "{phases:?}");
}

#[test]
fn slow_requests_overlap_to_the_declared_number() {
    let server = FakeServer::start(|mut peer, _| {
        let Some(ask) = peer.request() else { return };
        assert_eq!(ask.path, "/slow");
        // Slow: the client only hears when the test lets it.
        let _ = peer.stream.set_read_timeout(Some(Duration::from_millis(300)));
        assert!(peer.request().is_none());
        peer.answer(&ask, "");
    });
    let load = load(server.address, LONG);
    load.begin(&[Pattern::Slow]).expect("begin");
    // The floor is 10; a late harness only makes more of them overlap.
    wait_for("ten in flight", || load.in_flight() >= 10);
    let record = finish(load);
    assert_eq!(failures(&record), BTreeMap::new());
    assert!(record.requests.iter().all(|it| it.ended.since(it.began) >= Duration::from_millis(300)));
}

#[test]
fn a_closed_port_refuses_every_pattern() {
    let (_held, address) = closed_port();
    let load = load(address, LONG);
    load.begin(&[Pattern::Canary, Pattern::Busy]).expect("begin");
    assert_eq!(load.park(5).expect("park"), Parked { connected: 0, failed: 5 });
    let record = finish(load);
    let refused = record.requests.len() as u64;
    assert!(refused >= 5);
    assert_eq!(failures(&record), BTreeMap::from([(FailureClass::Refused, refused)]));
    for request in &record.requests {
        let Ending::Failed { evidence, .. } = &request.ending else { panic!("{request:?}") };
        assert_eq!((evidence.signal.as_str(), evidence.state.as_str()), ("ECONNREFUSED", ""));
        assert_eq!((request.bytes_sent, request.sent, request.connected), (0, None, None));
    }
}

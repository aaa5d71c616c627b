//! Truth tests: a server that does each kind of harm a known number of times, and a driver that must report exactly
//! those.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use super::fake_server::{FakeServer, Peer};
use super::{Load, LoadConfig, LoadError, LoadRecord, Parked};
use crate::kernel::clock::Clock;
use crate::manifest::{Protocol, Slow};
use crate::request::{Ending, FailureClass, Pattern, Request};
use crate::target::TargetEndpoint;
use crate::wait::{Look, Stop, until};

/// The deadline of requests where a test does not wait for it: far above anything that a loaded machine does.
const LONG: Duration = Duration::from_secs(20);
/// The deadline where a test does wait for it.
const SHORT: Duration = Duration::from_millis(400);

fn endpoint(address: SocketAddr) -> TargetEndpoint {
    TargetEndpoint {
        name: "http".to_owned(),
        address,
        protocol: Protocol::Http1,
        path: "/fast".to_owned(),
        slow: Some(Slow { path: "/slow".to_owned(), takes_ms: 300 }),
        version_header: Some("X-Version".to_owned()),
        echo_header: Some("X-Request-Id".to_owned()),
    }
}

fn load(address: SocketAddr, request_deadline: Duration) -> Load {
    let config = LoadConfig {
        clock: Clock::start(),
        seed: 1,
        endpoint_index: 0,
        endpoint: endpoint(address),
        request_deadline,
        netns: None,
        first_id: 1000,
    };
    Load::spawn(config).expect("spawn")
}

/// Waits for a state of the load or the server.
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let stop = Stop::new().expect("eventfd");
    let look = || if holds() { Look::<(), ()>::Yes(()) } else { Look::NotYet };
    until(LONG, Duration::from_millis(2), &stop, look).unwrap_or_else(|error| panic!("{what}: {error:?}"));
}

fn failures(record: &LoadRecord) -> BTreeMap<FailureClass, u64> {
    let mut failures = BTreeMap::new();
    for class in record.requests.iter().filter_map(Request::failure) {
        *failures.entry(class).or_default() += 1;
    }
    failures
}

fn finish(load: Load) -> LoadRecord {
    let record = load.finish().expect("finish");
    let requests = record.requests.len() as u64;
    assert_eq!((record.account.scheduled, record.account.ended), (requests, requests));
    let ids: Vec<u64> = record.requests.iter().map(|request| request.id).collect();
    assert_eq!(ids, (1000..1000 + requests).collect::<Vec<_>>(), "unique ids, none left out");
    record
}

/// What the server did to fresh connections, and the class that each deed must have.
const FRESH_DEEDS: [(&str, Option<FailureClass>); 12] = [
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
    let mut want = BTreeMap::new();
    let mut good = 0;
    for (deed, class) in FRESH_DEEDS {
        match class {
            Some(class) => *want.entry(class).or_default() += server.deeds.count(deed),
            None => good += server.deeds.count(deed),
        }
    }
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
    let dropped = |signal: &str| {
        let of = |it: &&Request| matches!(&it.ending, Ending::Failed { class: FailureClass::Dropped, evidence } if evidence.signal == signal);
        record.requests.iter().filter(of).count() as u64
    };
    assert_eq!(dropped("EOF"), server.deeds.count("eof after the request"));
    assert_eq!(dropped("ECONNRESET"), server.deeds.count("close with the request unread"));
    assert_eq!(record.account.own_aborts, 0);
}

/// What the server did to kept connections on their third request, or after their second answer.
const KEPT_DEEDS: [(&str, Option<FailureClass>); 7] = [
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
    let want: BTreeMap<FailureClass, u64> =
        KEPT_DEEDS.iter().filter_map(|(deed, class)| class.map(|class| (class, count(deed)))).collect();
    assert_eq!(failures(&record), want);
    let answered = count("answered") + count("announced");
    assert_eq!(record.requests.iter().filter(|it| it.failure().is_none()).count() as u64, answered);
    assert_eq!(record.account.idle_closes, count("idle fin"));
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

/// A bound port that nobody listens on, for as long as the descriptor is held.
fn closed_port() -> (std::os::fd::OwnedFd, SocketAddr) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let address = SocketAddr::try_from(getsockname(&held).expect("name")).expect("address");
    (held, address)
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

#[test]
fn a_full_accept_queue_times_connects_out_and_shows_the_retransmitted_syn() {
    let (listener, address) = closed_port();
    rustix::net::listen(&listener, 0).expect("listen");
    // A backlog of 0 holds one connection; the SYNs of the others are dropped and sent again after a second.
    let load = load(address, Duration::from_millis(1500));
    assert_eq!(load.park(4).expect("park"), Parked { connected: 1, failed: 3 });
    let record = finish(load);
    let want = BTreeMap::from([(FailureClass::ConnectTimeout, 3), (FailureClass::Hung, 1)]);
    assert_eq!(failures(&record), want);
    for request in record.requests.iter().filter(|it| it.failure() == Some(FailureClass::ConnectTimeout)) {
        let Ending::Failed { evidence, .. } = &request.ending else { panic!("{request:?}") };
        assert_eq!((evidence.signal.as_str(), evidence.state.as_str()), ("deadline", "SYN_SENT"));
        assert!(request.retransmits >= 1, "{request:?}");
    }
}

#[test]
fn parked_connections_wait_in_the_accept_queue_and_are_answered_later() {
    let (listener, address) = closed_port();
    rustix::net::listen(&listener, 128).expect("listen");
    let load = load(address, LONG);
    assert_eq!(load.park(64).expect("park"), Parked { connected: 64, failed: 0 });
    assert_eq!(load.in_flight(), 64, "each request is sent before park returns");
    let listener = std::net::TcpListener::from(listener);
    let mut answered = Vec::new();
    for _ in 0..64 {
        let (stream, _) = listener.accept().expect("accept");
        let mut peer = Peer { stream, deeds: super::fake_server::Deeds::default() };
        let ask = peer.request().expect("sent at once");
        peer.answer(&ask, "");
        answered.push(peer);
    }
    let record = finish(load);
    assert_eq!((record.requests.len(), failures(&record)), (64, BTreeMap::new()));
    assert!(record.requests.iter().all(|it| it.pattern == Pattern::Parked));
}

#[test]
fn a_killed_accept_queue_drops_every_parked_request() {
    let (listener, address) = closed_port();
    rustix::net::listen(&listener, 128).expect("listen");
    let load = load(address, LONG);
    assert_eq!(load.park(20).expect("park"), Parked { connected: 20, failed: 0 });
    drop(listener);
    assert_eq!(failures(&finish(load)), BTreeMap::from([(FailureClass::Dropped, 20)]));
}

#[test]
fn patterns_that_cannot_begin_are_named() {
    let (_held, address) = closed_port();
    let config = LoadConfig {
        clock: Clock::start(),
        seed: 1,
        endpoint_index: 0,
        endpoint: TargetEndpoint { slow: None, ..endpoint(address) },
        request_deadline: LONG,
        netns: None,
        first_id: 1000,
    };
    let load = Load::spawn(config).expect("spawn");
    assert!(matches!(load.begin(&[Pattern::Slow]), Err(LoadError::NoSlow { endpoint }) if endpoint == "http"));
    assert!(matches!(load.begin(&[Pattern::Parked]), Err(LoadError::NotScheduled(Pattern::Parked))));
    assert_eq!(finish(load).requests.len(), 0);
}

#[test]
fn a_dropped_load_ends_at_once_with_requests_in_flight() {
    let (listener, address) = closed_port();
    rustix::net::listen(&listener, 128).expect("listen");
    let load = load(address, Duration::from_secs(600));
    load.begin(&[Pattern::Fresh, Pattern::Busy, Pattern::Slow]).expect("begin");
    wait_for("requests in flight", || load.in_flight() > 20);
    let began = std::time::Instant::now();
    drop(load);
    assert!(began.elapsed() < LONG, "not by the requests' deadline");
}

#[test]
fn a_namespace_is_entered_before_anything_is_sent() {
    use std::os::fd::OwnedFd;
    let server = FakeServer::plain();
    let namespace = std::thread::spawn(|| -> Option<OwnedFd> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).ok()?;
        Some(std::fs::File::open("/proc/thread-self/ns/net").expect("own namespace").into())
    });
    let Some(netns) = namespace.join().expect("thread") else {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "unavailable: network namespaces (needs root)");
        return;
    };
    let config = LoadConfig {
        clock: Clock::start(),
        seed: 1,
        endpoint_index: 0,
        endpoint: endpoint(server.address),
        request_deadline: LONG,
        netns: Some(netns),
        first_id: 1000,
    };
    let load = Load::spawn(config).expect("spawn");
    assert_eq!(load.park(3).expect("park"), Parked { connected: 0, failed: 3 });
    let record = finish(load);
    // Its loopback is down: the server is out of reach, and that is no fault of the server.
    assert_eq!(failures(&record), BTreeMap::from([(FailureClass::HarnessFault, 3)]));
    assert_eq!(server.deeds.count("answered"), 0);
}

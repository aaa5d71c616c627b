//! Connections that nobody accepts.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use super::fake_server::{Deeds, Peer};
use super::fixture::{LONG, closed_port, failures, finish, load};
use crate::load::Parked;
use crate::request::{Ending, FailureClass, Pattern};

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
    let listener = TcpListener::from(listener);
    let mut answered = Vec::new();
    for _ in 0..64 {
        let (stream, _) = listener.accept().expect("accept");
        let mut peer = Peer { stream, deeds: Deeds::default() };
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

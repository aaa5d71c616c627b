//! Connections that send nothing until they are told to.

use super::fake_server::FakeServer;
use super::fixture::{LONG, finish, load, wait_for};
use crate::request::Pattern;

#[test]
fn a_request_is_sent_when_its_connection_is_completed_and_not_before() {
    let server = FakeServer::start(|mut peer, _| {
        let Some(ask) = peer.request() else { return };
        peer.deeds.add("answer");
        peer.answer(&ask, "");
    });
    let load = load(server.address, LONG);
    load.half_open(4).expect("begin");
    wait_for("four connections", || load.open_connections(Pattern::HalfOpen) == 4);
    assert_eq!((load.in_flight(), server.deeds.count("answer")), (0, 0));
    load.complete().expect("complete");
    let record = finish(load);
    assert_eq!(record.requests.len(), 4);
    assert!(record.requests.iter().all(|it| it.pattern == Pattern::HalfOpen && it.failure().is_none()), "{record:?}");
    assert_eq!(server.deeds.count("answer"), 4);
}

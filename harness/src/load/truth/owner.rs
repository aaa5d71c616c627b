//! The owner's side: what begins, where, and how it ends.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::fake_server::FakeServer;
use super::fixture::{LONG, closed_port, config, endpoint, failures, finish, load, wait_for};
use crate::load::{Load, LoadConfig, LoadError, Parked};
use crate::request::{FailureClass, Pattern};
use crate::target::TargetEndpoint;

#[test]
fn patterns_that_cannot_begin_are_named() {
    let (_held, address) = closed_port();
    let config = LoadConfig { endpoint: TargetEndpoint { slow: None, ..endpoint(address) }, ..config(address) };
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
    let began = Instant::now();
    drop(load);
    assert!(began.elapsed() < LONG, "not by the requests' deadline");
}

#[test]
fn a_namespace_is_entered_before_anything_is_sent() {
    let server = FakeServer::plain();
    let namespace = std::thread::spawn(|| -> Option<OwnedFd> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).ok()?;
        Some(std::fs::File::open("/proc/thread-self/ns/net").expect("own namespace").into())
    });
    let Some(netns) = namespace.join().expect("thread") else {
        let _ = writeln!(std::io::stderr(), "unavailable: network namespaces (needs root)");
        return;
    };
    let config = LoadConfig { netns: Some(netns), ..config(server.address) };
    let load = Load::spawn(config).expect("spawn");
    assert_eq!(load.park(3).expect("park"), Parked { connected: 0, failed: 3 });
    let record = finish(load);
    // Its loopback is down: the server is out of reach, and that is no fault of the server.
    assert_eq!(failures(&record), BTreeMap::from([(FailureClass::HarnessFault, 3)]));
    assert_eq!(server.deeds.count("answered"), 0);
}

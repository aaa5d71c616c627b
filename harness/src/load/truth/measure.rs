//! How late the schedule is, against a plain server: numbers for a person, no verdict on a noisy machine.

use std::io::Write;
use std::time::Duration;

use super::fake_server::FakeServer;
use super::fixture::{LONG, failures, finish, load};
use crate::request::Pattern;
use crate::wait::Stop;

#[test]
#[ignore = "measures for five seconds and asserts no time"]
fn lateness_of_the_full_load_against_a_plain_server() {
    let server = FakeServer::plain();
    let load = load(server.address, LONG);
    load.begin(&[Pattern::Fresh, Pattern::Busy]).expect("begin");
    let stopped = Stop::new().expect("eventfd").pause(Duration::from_secs(5));
    assert!(!stopped && load.busy_connections() == 16);
    let record = finish(load);
    assert!(failures(&record).is_empty());
    let fresh = record.requests.iter().filter(|it| it.pattern == Pattern::Fresh).count();
    let mut latency: Vec<u128> = record.requests.iter().map(|it| it.ended.since(it.intended).as_micros()).collect();
    latency.sort_unstable();
    let account = record.account;
    let micros = [account.lateness_p50, account.lateness_p99, account.lateness_max].map(|it| it / 1000);
    let (p50, p99) = (latency[latency.len() / 2], latency[latency.len() * 99 / 100]);
    let _ = writeln!(
        std::io::stderr(),
        "{fresh} fresh, {} busy; lateness p50/p99/max {micros:?} us; latency p50/p99 {p50}/{p99} us",
        record.requests.len() - fresh,
    );
}

//! How late the load is that it means to send: five seconds of fresh and busy connections against the reference server.

use std::io::{Write, stdout};
use std::time::Duration;

use unbroken::kernel::clock::Clock;
use unbroken::load::{Load, LoadConfig};
use unbroken::manifest::Protocol;
use unbroken::request::{Pattern, Request};
use unbroken::target::TargetEndpoint;
use unbroken::wait::Stop;
use unbroken_benches::Reference;

fn main() {
    unbroken::run_if_asked();
    unbroken_reference::run_if_asked();
    let server = Reference::start().expect("the reference starts");
    let endpoint = TargetEndpoint {
        name: "http".to_owned(),
        address: server.address(),
        protocol: Protocol::Http1,
        path: "/".to_owned(),
        slow: None,
        backlog: None,
        stream: None,
        upload: None,
        websocket: None,
        version_header: None,
        echo_header: Some("X-Request-Id".to_owned()),
    };
    let load = Load::spawn(LoadConfig {
        clock: Clock::start(),
        seed: 1,
        endpoint_index: 0,
        endpoint,
        datagrams: None,
        tls: None,
        h2: None,
        request_deadline: Duration::from_secs(20),
        netns: None,
        first_id: 1,
    })
    .expect("the load's thread starts");
    load.begin(&[Pattern::Fresh, Pattern::Busy]).expect("the load begins");
    let stopped = Stop::new().expect("an eventfd").pause(Duration::from_secs(5));
    assert!(!stopped, "nobody stops it");
    load.quiesce().expect("the load ends");
    let record = load.finish().expect("the load's record");

    let failed = record.requests.iter().filter_map(Request::failure).count();
    let fresh = record.requests.iter().filter(|it| it.pattern == Pattern::Fresh).count();
    let mut latency: Vec<u128> = record.requests.iter().map(|it| it.ended.since(it.intended).as_micros()).collect();
    latency.sort_unstable();
    let (p50, p99) = (latency[latency.len() / 2], latency[latency.len() * 99 / 100]);
    let account = record.account;
    let late = [account.lateness_p50, account.lateness_p99, account.lateness_max].map(|it| it / 1000);
    let busy = record.requests.len() - fresh;
    writeln!(stdout(), "{fresh} fresh and {busy} busy requests in 5 s, {failed} failed").expect("stdout");
    writeln!(stdout(), "lateness p50 {} us, p99 {} us, max {} us", late[0], late[1], late[2]).expect("stdout");
    writeln!(stdout(), "latency from the intended time p50 {p50} us, p99 {p99} us").expect("stdout");
}

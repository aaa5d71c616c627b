//! What the truth tests share: an endpoint, a load of it, and the account of its records.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::fake_server::Deeds;
use crate::kernel::clock::Clock;
use crate::load::{Load, LoadConfig, LoadRecord};
use crate::manifest::{Protocol, Slow};
use crate::request::{FailureClass, Request};
use crate::target::TargetEndpoint;
use crate::wait::{Look, Stop, until};

/// The deadline of requests where a test does not wait for it: far above anything that a loaded machine does.
pub(super) const LONG: Duration = Duration::from_secs(20);
/// The deadline where a test does wait for it.
pub(super) const SHORT: Duration = Duration::from_millis(400);

pub(super) fn endpoint(address: SocketAddr) -> TargetEndpoint {
    TargetEndpoint {
        name: "http".to_owned(),
        address,
        protocol: Protocol::Http1,
        path: "/fast".to_owned(),
        slow: Some(Slow { path: "/slow".to_owned(), takes_ms: 300 }),
        stream: None,
        upload: None,
        websocket: None,
        backlog: None,
        version_header: Some("X-Version".to_owned()),
        echo_header: Some("X-Request-Id".to_owned()),
    }
}

pub(super) fn load(address: SocketAddr, request_deadline: Duration) -> Load {
    Load::spawn(LoadConfig { request_deadline, ..config(address) }).expect("spawn")
}

pub(super) fn config(address: SocketAddr) -> LoadConfig {
    LoadConfig {
        clock: Clock::start(),
        seed: 1,
        endpoint_index: 0,
        endpoint: endpoint(address),
        datagrams: None,
        tls: None,
        h2: None,
        request_deadline: LONG,
        netns: None,
        first_id: 1000,
    }
}

/// Waits for a state of the load or the server.
pub(super) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let stop = Stop::new().expect("eventfd");
    let look = || if holds() { Look::<(), ()>::Yes(()) } else { Look::NotYet };
    until(LONG, Duration::from_millis(2), &stop, look).unwrap_or_else(|error| panic!("{what}: {error:?}"));
}

pub(super) fn failures(record: &LoadRecord) -> BTreeMap<FailureClass, u64> {
    let mut failures = BTreeMap::new();
    for class in record.requests.iter().filter_map(Request::failure) {
        *failures.entry(class).or_default() += 1;
    }
    failures
}

/// What a server does, and the class that it must have; `None` where it harms nobody.
pub(super) type Harm = (&'static str, Option<FailureClass>);

/// What the load has to report, after what the server says that it did.
pub(super) fn want(harms: &[Harm], deeds: &Deeds) -> BTreeMap<FailureClass, u64> {
    let mut want = BTreeMap::new();
    for (deed, class) in harms {
        if let Some(class) = class {
            *want.entry(*class).or_default() += deeds.count(deed);
        }
    }
    want
}

/// The idle connections that a late thread of the server closed just when their next request was on its way: it crossed the FIN, or lay
/// unread already, and the close was a reset then. Taken out of what was reported; who counts idle closes adds them again.
pub(super) fn late_fins(got: &mut BTreeMap<FailureClass, u64>, want: &BTreeMap<FailureClass, u64>) -> u64 {
    let crossed = got.remove(&FailureClass::Crossed).unwrap_or(0);
    let meant = want.get(&FailureClass::Unread).copied().unwrap_or(0);
    let met = got.get(&FailureClass::Unread).copied().unwrap_or(0).saturating_sub(meant);
    if met > 0 {
        got.insert(FailureClass::Unread, meant);
    }
    crossed + met
}

pub(super) fn finish(load: Load) -> LoadRecord {
    let record = load.finish().expect("finish");
    let requests = record.requests.len() as u64;
    assert_eq!((record.account.scheduled, record.account.ended), (requests, requests));
    let ids: Vec<u64> = record.requests.iter().map(|request| request.id).collect();
    assert_eq!(ids, (1000..1000 + requests).collect::<Vec<_>>(), "unique ids, none left out");
    record
}

/// A bound port that nobody listens on, for as long as the descriptor is held.
pub(super) fn closed_port() -> (OwnedFd, SocketAddr) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let address = SocketAddr::try_from(getsockname(&held).expect("name")).expect("address");
    (held, address)
}

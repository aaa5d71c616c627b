//! Harm to long bodies that are read or sent slowly.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;

use super::fake_server::{FakeServer, Peer};
use super::fixture::{LONG, config, endpoint, failures, finish, wait_for};
use crate::load::{Load, LoadConfig};
use crate::manifest::{Stream, Upload};
use crate::request::{FailureClass, Pattern};
use crate::target::TargetEndpoint;

/// Far more than the buffers of both sides hold while the client reads slowly.
const BYTES: usize = 8 * 1024 * 1024;
/// What [`Pattern::Upload`] sends.
const UPLOAD: usize = 256 * 1024;

fn load(address: SocketAddr) -> Load {
    let stream = Stream { path: "/stream".to_owned(), bytes: BYTES as u64, period: 251 };
    let upload = Upload { path: "/upload".to_owned() };
    let endpoint = TargetEndpoint { stream: Some(stream), upload: Some(upload), ..endpoint(address) };
    Load::spawn(LoadConfig { endpoint, request_deadline: LONG, ..config(address) }).expect("spawn")
}

/// What the server does to an answer, and the class that it must have.
const ANSWERS: [(&str, Option<FailureClass>); 4] = [
    ("good", None),
    ("cut", Some(FailureClass::Truncated)),
    ("out of order", Some(FailureClass::WrongAnswer)),
    ("another length", Some(FailureClass::WrongAnswer)),
];

fn stream(mut peer: Peer, number: usize) {
    let Some(ask) = peer.request() else { return };
    let deed = ANSWERS[number % ANSWERS.len()].0;
    let mut body: Vec<u8> = (0..BYTES).map(|at| u8::try_from(at % 251).expect("below 251")).collect();
    match deed {
        "out of order" => body.swap(BYTES / 2, BYTES / 2 + 1),
        "another length" => body.truncate(BYTES - 1),
        _ => {}
    }
    peer.write(&format!("HTTP/1.1 200 OK\r\nX-Request-Id: {}\r\nContent-Length: {}\r\n\r\n", ask.id, body.len()));
    let sent = if deed == "cut" { BYTES / 2 } else { body.len() };
    if peer.stream.write_all(&body[..sent]).is_ok() {
        peer.deeds.add(deed);
    }
}

#[test]
fn a_long_answer_is_held_until_its_release_and_then_read_to_its_end() {
    let server = FakeServer::start(stream);
    let load = load(server.address);
    load.begin(&[Pattern::Reader]).expect("begin");
    wait_for("two readers", || load.unread().len() == 2);
    assert!(load.unread().iter().all(|bytes| *bytes > BYTES as u64 * 9 / 10), "{:?}", load.unread());
    assert!(ANSWERS.iter().all(|(deed, _)| server.deeds.count(deed) == 0), "the handlers still write");
    wait_for("each deed", || {
        load.release().expect("release");
        ANSWERS.iter().all(|(deed, _)| server.deeds.count(deed) > 0)
    });
    load.quiesce().expect("quiesce");
    assert!(load.unread().is_empty());
    let record = finish(load);
    let mut want = BTreeMap::new();
    for (deed, class) in ANSWERS {
        if let Some(class) = class {
            *want.entry(class).or_default() += server.deeds.count(deed);
        }
    }
    assert_eq!(failures(&record), want);
}

/// What the server does to a request, and the class that it must have.
const REQUESTS: [(&str, Option<FailureClass>); 3] = [
    ("good", None),
    ("given up", Some(FailureClass::Dropped)),
    ("answered early", Some(FailureClass::UnsolicitedAnswer)),
];

fn upload(mut peer: Peer, number: usize) {
    let deed = REQUESTS[number % REQUESTS.len()].0;
    let mut read = Vec::new();
    let mut buffer = [0u8; 4096];
    let end = |read: &[u8]| read.windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4);
    let whole = |read: &[u8]| end(read).is_some_and(|head| read.len() >= head + UPLOAD);
    while if deed == "good" { !whole(&read) } else { end(&read).is_none_or(|head| read.len() == head) } {
        match peer.stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
    peer.deeds.add(deed);
    if deed == "given up" {
        return;
    }
    let head = String::from_utf8_lossy(&read).into_owned();
    let id = head.lines().find_map(|line| line.strip_prefix("X-Request-Id: ")).expect("every request carries its id");
    peer.write(&format!("HTTP/1.1 200 OK\r\nX-Request-Id: {id}\r\nContent-Length: 0\r\n\r\n"));
    // Until the client has closed: the answer must not be followed by a reset.
    while peer.stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

#[test]
fn a_long_request_is_held_until_its_release_and_then_sent_to_its_end() {
    let server = FakeServer::start(upload);
    let load = load(server.address);
    load.begin(&[Pattern::Upload]).expect("begin");
    wait_for("some that are held", || load.open_connections(Pattern::Upload) > 0);
    assert_eq!(server.deeds.count("good"), 0);
    wait_for("each deed", || {
        load.release().expect("release");
        REQUESTS.iter().all(|(deed, _)| server.deeds.count(deed) > 0)
    });
    load.quiesce().expect("quiesce");
    let record = finish(load);
    let found = failures(&record);
    let want = |class: FailureClass| found.get(&class).copied().unwrap_or(0);
    assert_eq!(want(FailureClass::Dropped), server.deeds.count("given up"), "{found:?}");
    assert_eq!(record.requests.iter().filter(|it| it.failure().is_none()).count() as u64, {
        // Released before the early answer arrived, it is not early any more.
        server.deeds.count("good") + server.deeds.count("answered early") - want(FailureClass::UnsolicitedAnswer)
    });
}

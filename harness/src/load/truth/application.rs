//! The application's eye, against a server that counts what it does.

use std::io::Read;

use super::fake_server::{FakeServer, Peer};
use super::fixture::{LONG, wait_for};
use crate::drive::{ApplicationView, DrivePlan};
use crate::load::application::Application;

/// Reads the head of a request; false when the client closed instead.
fn asked(peer: &mut Peer) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if peer.stream.read_exact(&mut byte).is_err() {
            return false;
        }
        head.push(byte[0]);
    }
    true
}

fn seen(server: &FakeServer, deed: &str) -> ApplicationView {
    let plan = DrivePlan { deadline: LONG, ..DrivePlan::new(server.address) };
    let application = Application::begin(&plan, 4).expect("begin");
    wait_for("enough of them", || server.deeds.count(deed) >= 20);
    application.finish(0).expect("finish")
}

#[test]
fn what_is_answered_is_told_as_answered_over_pooled_connections() {
    let server = FakeServer::start(|mut peer, _| {
        peer.deeds.add("connection");
        while asked(&mut peer) {
            peer.deeds.add("answered");
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let view = seen(&server, "answered");
    assert_eq!((view.answered, view.told()), (server.deeds.count("answered"), 0), "{view:?}");
    // One that begins while the others are being opened may wait for either.
    assert!(server.deeds.count("connection") <= 8, "pooled: {}", server.deeds.count("connection"));
}

#[test]
fn what_was_read_and_never_answered_is_told_in_the_clients_words() {
    let server = FakeServer::start(|mut peer, _| {
        for _ in 0..2 {
            if !asked(&mut peer) {
                return;
            }
            peer.deeds.add("answered");
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        if asked(&mut peer) {
            peer.deeds.add("dropped");
        }
    });
    let view = seen(&server, "dropped");
    assert_eq!(
        (view.answered, view.told()),
        (server.deeds.count("answered"), server.deeds.count("dropped")),
        "{view:?}"
    );
}

#[test]
fn another_status_is_no_success() {
    let server = FakeServer::start(|mut peer, _| {
        while asked(&mut peer) {
            peer.deeds.add("503");
            peer.write("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let view = seen(&server, "503");
    assert_eq!(view.failed.get("status 503").copied(), Some(server.deeds.count("503")), "{view:?}");
}

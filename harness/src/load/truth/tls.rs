//! TLS, against a server that misbehaves on purpose.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::fake_server::{FakeServer, Peer};
use super::fixture::{Harm, config, failures, finish, wait_for, want};
use crate::load::{Load, LoadConfig, LoadError, LoadRecord};
use crate::request::{FailureClass, Pattern};

/// `internal_error`, in a record of its own (RFC 8446 §6).
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 80];

const DEEDS: [Harm; 7] = [
    ("good", None),
    ("alert", Some(FailureClass::Tls)),
    ("no TLS", Some(FailureClass::Tls)),
    ("fin after hello", Some(FailureClass::Dropped)),
    ("fin after request", Some(FailureClass::Dropped)),
    ("close_notify", Some(FailureClass::Truncated)),
    ("503", Some(FailureClass::ServerError)),
];

/// With tickets, or with nothing to come back with.
fn server_config(tickets: bool) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/certificate.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/key.pem")).expect("a key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if tickets {
        config.ticketer = ring::Ticketer::new().expect("random bytes");
    }
    Arc::new(config)
}

type Session = StreamOwned<ServerConnection, std::net::TcpStream>;

/// Reads a request: its id.
fn request(session: &mut Session) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        session.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("requests are ASCII");
    head.lines().find_map(|line| line.strip_prefix("X-Request-Id: ")).map(str::to_owned)
}

fn answer(session: &mut Session, id: &str, status: &str) {
    // The client may be gone; its records tell.
    let _ = session.write_all(
        format!("HTTP/1.1 {status}\r\nX-Request-Id: {id}\r\nX-Version: 3\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            .as_bytes(),
    );
    session.conn.send_close_notify();
    let _ = session.flush();
}

fn serve(mut peer: Peer, deed: &'static str, config: &Arc<ServerConfig>) {
    match deed {
        "alert" | "no TLS" | "fin after hello" => {
            if !peer.readable() {
                return;
            }
            let _hello = peer.stream.read(&mut [0; 4096]).expect("it is there");
            peer.deeds.add(deed);
            match deed {
                "alert" => drop(peer.stream.write_all(ALERT)),
                "no TLS" => peer.write("HTTP/1.1 400 Bad Request\r\n\r\n"),
                _ => {}
            }
        }
        _ => {
            let session = ServerConnection::new(Arc::clone(config)).expect("a good configuration");
            let mut session = StreamOwned::new(session, peer.stream);
            let Some(id) = request(&mut session) else { return };
            peer.deeds.add(deed);
            match deed {
                "good" => answer(&mut session, &id, "200 OK"),
                "503" => answer(&mut session, &id, "503 No"),
                "close_notify" => {
                    let _ = session.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
                    session.conn.send_close_notify();
                    let _ = session.flush();
                }
                _ => {}
            }
        }
    }
}

fn loaded(server: &FakeServer, enough: u64) -> LoadRecord {
    let load = Load::spawn(LoadConfig { tls: Some(server.address), ..config(server.address) }).expect("spawn");
    load.begin(&[Pattern::Tls]).expect("begin");
    wait_for("enough good ones", || server.deeds.count("good") >= enough);
    finish(load)
}

#[test]
fn every_harm_to_a_handshake_or_its_request_is_reported_as_what_it_was() {
    let config = server_config(true);
    let server = FakeServer::start(move |peer, number| serve(peer, DEEDS[number % DEEDS.len()].0, &config));
    let record = loaded(&server, 10);
    assert_eq!(failures(&record), want(&DEEDS, &server.deeds));
}

#[test]
fn who_gets_tickets_comes_back_with_them() {
    for tickets in [true, false] {
        let config = server_config(tickets);
        let server = FakeServer::start(move |peer, _| serve(peer, "good", &config));
        let record = loaded(&server, 64);
        assert_eq!(failures(&record), BTreeMap::new());
        let sessions: Vec<_> = record.requests.iter().filter_map(|it| it.tls).collect();
        assert_eq!(sessions.len(), record.requests.len());
        let with = sessions.iter().filter(|it| it.comes_from.is_some()).count();
        assert_eq!(with, if tickets { sessions.len() - 16 } else { 0 }, "the first of each place comes without");
        assert_eq!(sessions.iter().filter(|it| it.resumed).count(), with);
    }
}

/// The server refuses for long enough that every ticket of every client is used up, and serves again.
#[test]
fn who_has_used_its_tickets_up_comes_without() {
    let config = server_config(true);
    // Each of 16 places keeps eight tickets.
    let deed = |number| if (64..64 + 16 * 12).contains(&number) { "alert" } else { "good" };
    let server = FakeServer::start(move |peer, number| serve(peer, deed(number), &config));
    let record = loaded(&server, 64 + 64);
    let sessions: Vec<_> = record.requests.iter().filter_map(|it| it.tls).collect();
    assert!(sessions.iter().all(|it| it.resumed == it.comes_from.is_some()), "{sessions:?}");
    let without = sessions.iter().filter(|it| it.comes_from.is_none()).count();
    assert!(without > 16, "some came without: {without}");
}

#[test]
fn without_an_address_there_is_no_tls() {
    let load = Load::spawn(config("127.0.0.1:1".parse().expect("address"))).expect("spawn");
    assert!(matches!(load.begin(&[Pattern::Tls]), Err(LoadError::NoTls)));
    finish(load);
}

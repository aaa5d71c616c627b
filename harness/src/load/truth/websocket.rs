//! WebSockets, against a server that misbehaves on purpose.

use std::collections::BTreeMap;
use std::io::Read;

use super::fake_server::{FakeServer, Peer};
use super::fixture::{Harm, config, failures, finish, wait_for, want};
use crate::load::{Load, LoadConfig, LoadRecord};
use crate::request::{FailureClass, Pattern};
use crate::target::TargetEndpoint;

const OPEN: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Version: 3\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// What is done with a connection at its third message, or instead of opening it.
const DEEDS: [Harm; 12] = [
    ("close frame", Some(FailureClass::CloseFrame)),
    ("close frame in time", None),
    ("no code", None),
    ("fin", Some(FailureClass::NoCloseFrame)),
    ("reset", Some(FailureClass::NoCloseFrame)),
    ("fin in between", Some(FailureClass::NoCloseFrame)),
    ("other", Some(FailureClass::WrongAnswer)),
    ("reserved bits", Some(FailureClass::WrongAnswer)),
    ("nobody asked", Some(FailureClass::UnsolicitedAnswer)),
    ("503", Some(FailureClass::ServerError)),
    ("wrong key", Some(FailureClass::WrongAnswer)),
    ("ping", None),
];
/// Later connections do no harm.
const HARMFUL: usize = 5 * DEEDS.len();

/// The next frame of a client, which is short and masked: its first byte, and its payload.
fn frame(peer: &mut Peer) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 6];
    peer.stream.read_exact(&mut head).ok()?;
    assert!(head[1] & 0x80 != 0, "clients mask");
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    peer.stream.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(head[2..].iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((head[0], payload))
}

fn send(peer: &mut Peer, first: u8, payload: &[u8]) {
    let length = u8::try_from(payload.len()).expect("short");
    let bytes = [&[first, length], payload].concat();
    // The client may be gone; its records tell.
    let _ = std::io::Write::write_all(&mut peer.stream, &bytes);
}

/// Gives back each message until the client closes, or until so many have come: the last one is not answered.
fn echo(peer: &mut Peer, messages: usize) -> Option<Vec<u8>> {
    for nth in 1.. {
        let (first, payload) = frame(peer)?;
        if first == 0x88 {
            send(peer, 0x88, &payload);
            return None;
        }
        if nth == messages {
            return Some(payload);
        }
        send(peer, 0x81, &payload);
    }
    None
}

/// Ends by a close frame, and waits for the client's.
fn close(peer: &mut Peer, code: &[u8]) {
    send(peer, 0x88, code);
    while frame(peer).is_some_and(|(first, _)| first != 0x88) {}
}

fn serve(mut peer: Peer, number: usize) {
    let Some(_asked) = peer.request() else { return };
    let deed = if number < HARMFUL { DEEDS[number % DEEDS.len()].0 } else { "good" };
    match deed {
        "503" => peer.write("HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        "wrong key" => peer.write(&OPEN.replace("s3pP", "xxxx")),
        _ => peer.write(OPEN),
    }
    if matches!(deed, "503" | "wrong key") {
        return peer.deeds.add(deed);
    }
    if deed == "good" {
        peer.deeds.add(deed);
        echo(&mut peer, usize::MAX);
        return;
    }
    let Some(message) = echo(&mut peer, 3) else { return };
    peer.deeds.add(deed);
    match deed {
        "close frame" => close(&mut peer, &1012_u16.to_be_bytes()),
        "close frame in time" => {
            send(&mut peer, 0x81, &message);
            close(&mut peer, &1001_u16.to_be_bytes());
        }
        "no code" => {
            send(&mut peer, 0x81, &message);
            close(&mut peer, &[]);
        }
        "reset" => peer.reset(),
        "fin in between" => send(&mut peer, 0x81, &message),
        "other" => send(&mut peer, 0x81, b"other"),
        "reserved bits" => send(&mut peer, 0x81 ^ 0x40, &message),
        "nobody asked" => {
            send(&mut peer, 0x81, &message);
            send(&mut peer, 0x81, &message);
        }
        "ping" => {
            send(&mut peer, 0x89, b"are you there");
            let pong = frame(&mut peer);
            assert_eq!(pong, Some((0x8a, b"are you there".to_vec())));
            send(&mut peer, 0x81, &message);
            close(&mut peer, &1012_u16.to_be_bytes());
        }
        _ => {}
    }
}

fn loaded(server: &FakeServer) -> LoadRecord {
    let of = config(server.address);
    let endpoint = TargetEndpoint { websocket: Some("/ws".to_owned()), ..of.endpoint.clone() };
    let load = Load::spawn(LoadConfig { endpoint, ..of }).expect("spawn");
    load.begin(&[Pattern::Websocket]).expect("begin");
    // As many as there are places: what was done to the others has been seen.
    wait_for("sixteen good ones", || {
        server.deeds.count("good") >= 16 && load.open_connections(Pattern::Websocket) == 16
    });
    let version = load.newest_version().map(|(version, _)| version.0);
    assert_eq!(version, Some(3), "the answer to a handshake carries it");
    finish(load)
}

#[test]
fn every_harm_to_a_websocket_is_reported_as_what_it_was() {
    let server = FakeServer::start(serve);
    let record = loaded(&server);
    for (deed, _) in DEEDS {
        assert_eq!(server.deeds.count(deed), 5, "{deed}");
    }
    assert_eq!(failures(&record), want(&DEEDS, &server.deeds));
    let codes = BTreeMap::from([(1001, 5), (1005, 5), (1012, 10)]);
    assert_eq!(record.account.close_codes, codes);
}

#[test]
fn messages_follow_their_handshake_on_one_connection() {
    let server = FakeServer::start(|mut peer, _| {
        let Some(_asked) = peer.request() else { return };
        peer.write(OPEN);
        peer.deeds.add("good");
        echo(&mut peer, usize::MAX);
    });
    let record = loaded(&server);
    assert_eq!(failures(&record), BTreeMap::new());
    assert!(record.account.close_codes.is_empty(), "we closed");
    assert_eq!(record.requests.iter().filter(|it| it.nth_on_connection == 0).count(), 16);
}

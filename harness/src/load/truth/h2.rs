//! HTTP/2, against a server that misbehaves on purpose.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::runtime::Builder;

use super::fake_server::{Deeds, FakeServer, Peer};
use super::fixture::{Harm, config, failures, finish, wait_for, want};
use crate::load::{Load, LoadConfig, LoadError, LoadRecord};
use crate::request::{FailureClass, Pattern};

/// What is done with a stream.
const DEEDS: [Harm; 6] = [
    ("good", None),
    ("refused", Some(FailureClass::StreamRefused)),
    ("reset", Some(FailureClass::Dropped)),
    ("short", Some(FailureClass::Truncated)),
    ("503", Some(FailureClass::ServerError)),
    ("other id", Some(FailureClass::WrongAnswer)),
];
/// The streams of a connection that ends: so many are answered.
const ANSWERED: usize = 3;

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// When the client ends it.
    Never,
    /// At once, with what has come and was not answered.
    Fin,
    /// The same after a GOAWAY that says what had come.
    Abrupt,
    /// By GOAWAY, once all that had come is answered.
    Graceful,
}

fn answer<T>(deed: &'static str, asked: &Request<T>, mut respond: SendResponse<Bytes>, deeds: &Deeds) {
    // Counted first: whoever has read an answer finds it counted.
    deeds.add(deed);
    let id = asked.headers().get("x-request-id").expect("every request carries its id");
    let (status, id) = match deed {
        "refused" => return respond.send_reset(Reason::REFUSED_STREAM),
        "reset" => return respond.send_reset(Reason::INTERNAL_ERROR),
        "503" => (503, id.as_bytes()),
        "other id" => (200, &b"7"[..]),
        _ => (200, id.as_bytes()),
    };
    let length = if deed == "short" { 9 } else { 2 };
    let response = Response::builder().status(status).header("x-request-id", id).header("content-length", length);
    let response = response.header("x-version", 3).body(()).expect("a response");
    // The client may be gone; its records tell.
    if let Ok(mut stream) = respond.send_response(response, false) {
        let _ = stream.send_data(Bytes::from_static(b"ok"), true);
    }
}

fn serve(peer: Peer, number: usize, end: End) {
    let Peer { stream, deeds } = peer;
    stream.set_nonblocking(true).expect("a socket");
    let runtime = Builder::new_current_thread().enable_io().build().expect("runtime");
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream).expect("a socket");
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        let (mut come, mut unanswered) = (0, Vec::new());
        while let Some(Ok((asked, respond))) = connection.accept().await {
            come += 1;
            match end {
                End::Never => answer(DEEDS[(number + come) % DEEDS.len()].0, &asked, respond, &deeds),
                _ if come <= ANSWERED => answer("good", &asked, respond, &deeds),
                End::Fin => return deeds.add("ended"),
                End::Abrupt => {
                    deeds.add("ended");
                    // Kept, as a reset of its own would say more than the end of the connection does.
                    unanswered.push(respond);
                    connection.abrupt_shutdown(Reason::NO_ERROR);
                }
                End::Graceful => {
                    deeds.add("ended");
                    answer("good", &asked, respond, &deeds);
                    connection.graceful_shutdown();
                }
            }
        }
    });
}

fn loaded(deed: &str, enough: u64, end: End) -> (LoadRecord, Deeds) {
    let server = FakeServer::start(move |peer, number| serve(peer, number, end));
    let load = Load::spawn(LoadConfig { h2: Some(server.address), ..config(server.address) }).expect("spawn");
    load.begin(&[Pattern::H2]).expect("begin");
    wait_for("enough of them", || server.deeds.count(deed) >= enough);
    (finish(load), server.deeds.clone())
}

#[test]
fn every_harm_to_a_stream_is_reported_as_what_it_was() {
    let (record, deeds) = loaded("good", 40, End::Never);
    assert_eq!(failures(&record), want(&DEEDS, &deeds));
    assert_eq!((record.account.h2_ends, record.account.h2_goaways), (0, 0), "it has ended nothing");
}

#[test]
fn what_the_end_of_a_connection_means_for_its_streams_depends_on_what_was_said() {
    for (end, lost, announced) in [(End::Fin, true, false), (End::Abrupt, true, true), (End::Graceful, false, true)] {
        let (record, _deeds) = loaded("ended", 40, end);
        let failures = failures(&record);
        let classes: BTreeSet<_> = failures.keys().copied().collect();
        assert_eq!(classes.contains(&FailureClass::Dropped), lost, "{end:?}: {failures:?}");
        let known = [FailureClass::Dropped, FailureClass::StreamRefused];
        assert!(classes.is_subset(&known.into()), "{end:?}: {failures:?}");
        let account = record.account;
        assert!(account.h2_ends >= 32, "{end:?}: all but those that the client ended itself: {}", account.h2_ends);
        assert_eq!(account.h2_goaways, if announced { account.h2_ends } else { 0 }, "{end:?}");
    }
}

#[test]
fn answers_side_by_side_belong_to_their_requests() {
    let (record, _deeds) = loaded("good", 40, End::Graceful);
    let answered = record.requests.iter().filter(|it| it.failure().is_none());
    let mut connections: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for request in answered {
        assert_eq!(request.version().map(|it| it.0), Some(3));
        connections.entry(request.connection).or_default().push(request.nth_on_connection);
    }
    assert!(connections.values().any(|streams| streams.len() > ANSWERED), "{connections:?}");
}

#[test]
fn without_an_address_there_is_no_http_2() {
    let load = Load::spawn(config("127.0.0.1:1".parse().expect("address"))).expect("spawn");
    assert!(matches!(load.begin(&[Pattern::H2]), Err(LoadError::NoH2)));
    finish(load);
}

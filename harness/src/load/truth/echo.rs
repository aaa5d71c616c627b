//! Harm to lines that are to be echoed: fresh, kept, and half sent.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use super::fake_server::{FakeServer, Peer};
use super::fixture::{Harm, LONG, SHORT, config, endpoint, failures, finish, late_fins, wait_for, want};
use crate::load::{Load, LoadConfig, LoadRecord};
use crate::manifest::Protocol;
use crate::request::{Ending, FailureClass, Pattern};
use crate::target::TargetEndpoint;

fn load(address: SocketAddr, request_deadline: Duration) -> Load {
    let endpoint = endpoint(address);
    let endpoint = TargetEndpoint { protocol: Protocol::Echo, version_header: None, echo_header: None, ..endpoint };
    Load::spawn(LoadConfig { endpoint, request_deadline, ..config(address) }).expect("spawn")
}

fn good(record: &LoadRecord) -> u64 {
    let good = |ending: &Ending| match ending {
        Ending::Answered { status, version, close_announced } => {
            assert_eq!((*status, *version, *close_announced), (None, None, false));
            true
        }
        Ending::Failed { .. } => false,
    };
    record.requests.iter().filter(|it| good(&it.ending)).count() as u64
}

impl Peer {
    /// Reads to the end of a line; `None` when the client closed instead.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') {
            self.stream.read_exact(&mut byte).ok()?;
            line.push(byte[0]);
        }
        Some(String::from_utf8(line).expect("lines are ASCII"))
    }

    /// Sends a line and the end in one segment.
    fn write_last(&self, line: &str) {
        use rustix::net::{SendFlags, Shutdown, send, shutdown};
        let _ = send(&self.stream, line.as_bytes(), SendFlags::MORE | SendFlags::NOSIGNAL);
        let _ = shutdown(&self.stream, Shutdown::Write);
    }
}

const FRESH: [Harm; 9] = [
    ("good", None),
    ("by bytes", None),
    ("the last one", None),
    ("eof", Some(FailureClass::Dropped)),
    ("unread", Some(FailureClass::Dropped)),
    ("half of it", Some(FailureClass::Truncated)),
    ("a wrong byte", Some(FailureClass::WrongAnswer)),
    ("HTTP", Some(FailureClass::WrongAnswer)),
    ("more", Some(FailureClass::UnsolicitedAnswer)),
];

fn harm_fresh(mut peer: Peer, number: usize) {
    let (deed, _) = FRESH[number % FRESH.len()];
    if deed == "unread" {
        if peer.readable() {
            peer.deeds.add(deed);
        }
        return;
    }
    let Some(line) = peer.line() else { return };
    assert!(line.starts_with("/fast ") && line.len() > 7, "{line:?}");
    peer.deeds.add(deed);
    match deed {
        "good" => peer.write(&line),
        "by bytes" => line.chars().for_each(|piece| peer.write(&piece.to_string())),
        "the last one" => peer.write_last(&line),
        "half of it" => peer.write(&line[..line.len() - 1]),
        "a wrong byte" => peer.write(&line.replace(' ', "+")),
        "HTTP" => peer.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        "more" => peer.write(&format!("{line}{line}")),
        "eof" => return,
        _ => unreachable!("{deed}"),
    }
    // Nothing but the deed: until the client has closed, no reset follows on it.
    if deed != "half of it" {
        assert!(peer.line().is_none());
    }
}

#[test]
fn every_harm_to_a_line_is_reported_as_what_it_was() {
    let server = FakeServer::start(harm_fresh);
    let load = load(server.address, LONG);
    load.begin(&[Pattern::Fresh]).expect("begin");
    wait_for("ten of each", || FRESH.iter().all(|(deed, _)| server.deeds.count(deed) >= 10));
    let record = finish(load);
    assert_eq!(failures(&record), want(&FRESH, &server.deeds));
    assert_eq!(
        good(&record),
        ["good", "by bytes", "the last one"].map(|deed| server.deeds.count(deed)).iter().sum::<u64>()
    );
    assert_eq!(record.account.own_aborts, 0);
}

#[test]
fn a_line_that_does_not_come_back_hangs() {
    let server = FakeServer::start(|mut peer, _| {
        if peer.line().is_some() {
            peer.deeds.add("silent");
        }
        assert!(peer.line().is_none(), "the client closes at the deadline");
    });
    let load = load(server.address, SHORT);
    load.begin(&[Pattern::Fresh]).expect("begin");
    wait_for("ten of them", || server.deeds.count("silent") >= 10);
    let record = finish(load);
    assert_eq!(failures(&record), BTreeMap::from([(FailureClass::Hung, record.requests.len() as u64)]));
}

const KEPT: [Harm; 7] = [
    ("taken", Some(FailureClass::Taken)),
    ("unread", Some(FailureClass::Unread)),
    ("idle fin", None),
    ("the last one", None),
    ("idle reset", Some(FailureClass::IdleReset)),
    ("a line of its own", Some(FailureClass::UnsolicitedAnswer)),
    ("short", Some(FailureClass::Truncated)),
];

fn harm_kept(mut peer: Peer, number: usize) {
    let (deed, _) = KEPT[number % KEPT.len()];
    for _ in 0..2 {
        let Some(line) = peer.line() else { return };
        peer.write(&line);
        peer.deeds.add("answered");
    }
    match deed {
        "idle fin" => return peer.deeds.add(deed),
        "idle reset" => {
            peer.deeds.add(deed);
            return peer.reset();
        }
        "a line of its own" => {
            peer.deeds.add(deed);
            return peer.write("bye\n");
        }
        "unread" => {
            if peer.readable() {
                peer.deeds.add(deed);
            }
            return;
        }
        _ => {}
    }
    let Some(line) = peer.line() else { return };
    peer.deeds.add(deed);
    match deed {
        "the last one" => {
            peer.write_last(&line);
            assert!(peer.line().is_none(), "whoever has read the line has seen its end");
        }
        "short" => peer.write(&line[..2]),
        _ => {}
    }
}

#[test]
fn every_harm_to_a_kept_connection_of_lines_is_reported_as_what_it_was() {
    let server = FakeServer::start(harm_kept);
    let load = load(server.address, LONG);
    load.begin(&[Pattern::Busy]).expect("begin");
    wait_for("twenty of each", || KEPT.iter().all(|(deed, _)| server.deeds.count(deed) >= 20));
    let record = finish(load);
    let count = |deed| server.deeds.count(deed);
    let (mut got, mut want) = (failures(&record), want(&KEPT, &server.deeds));
    // A server thread that is late harms an idle connection just when its next line is on the way, as with HTTP: the reset is one of an
    // unread line, a FIN meets it, too, and a line of the server's own stands where the answer should.
    for counts in [&mut got, &mut want] {
        for (late, other) in [
            (FailureClass::IdleReset, FailureClass::Unread),
            (FailureClass::WrongAnswer, FailureClass::UnsolicitedAnswer),
        ] {
            let late = counts.remove(&late).unwrap_or(0);
            *counts.entry(other).or_default() += late;
        }
    }
    let late = late_fins(&mut got, &want);
    assert_eq!(got, want);
    assert_eq!(good(&record), count("answered") + count("the last one"));
    assert_eq!(record.account.idle_closes + late, count("idle fin") + count("the last one"));
    assert!(late <= count("idle fin"), "the last line meets nothing");
    assert_eq!((record.account.unannounced_closes, record.account.own_aborts), (0, 0), "nothing could announce them");
}

const HALF: [Harm; 6] = [
    ("good", None),
    ("at once", None),
    ("close", Some(FailureClass::Dropped)),
    ("back and close", Some(FailureClass::Truncated)),
    ("busy", Some(FailureClass::WrongAnswer)),
    ("too much", Some(FailureClass::UnsolicitedAnswer)),
];

/// Of each deed; what comes later is good: a client that is told to stop goes on at once.
const ROUNDS: usize = 6;

fn harm_half(mut peer: Peer, number: usize) {
    let deed = if number < ROUNDS * HALF.len() { HALF[number % HALF.len()].0 } else { "good" };
    let mut begun = [0; 3];
    if peer.stream.read_exact(&mut begun).is_err() {
        return;
    }
    assert_eq!(&begun, b"/fa", "half of what stands before the id");
    if deed == "at once" {
        peer.write("/fa");
    }
    match deed {
        "good" | "at once" => {
            let Some(rest) = peer.line() else { return };
            peer.write(&if deed == "good" { format!("/fa{rest}") } else { rest });
        }
        "close" => {}
        "back and close" => peer.write("/fa"),
        // Until the client has closed: no reset follows.
        "busy" | "too much" => {
            peer.write(if deed == "busy" { "busy\n" } else { "/fast" });
            assert!(peer.line().is_none());
        }
        _ => unreachable!("{deed}"),
    }
    peer.deeds.add(deed);
}

#[test]
fn half_a_line_may_come_back_at_once_and_nothing_else() {
    let server = FakeServer::start(harm_half);
    let load = load(server.address, LONG);
    load.begin(&[Pattern::Half]).expect("begin");
    wait_for("some of each", || HALF.iter().all(|(deed, _)| server.deeds.count(deed) >= ROUNDS as u64));
    load.quiesce().expect("quiesce");
    assert_eq!((load.open_connections(Pattern::Half), load.in_flight()), (0, 0));
    let record = finish(load);
    assert_eq!(failures(&record), want(&HALF, &server.deeds));
    assert_eq!(good(&record), server.deeds.count("good") + server.deeds.count("at once"));
    assert_eq!(record.account.own_aborts, 0);
}

#[test]
fn a_line_of_the_server_s_own_answers_nothing_that_was_not_sent() {
    // What comes later is good: a client that is told to stop goes on at once.
    const SPOKEN: u64 = 12;
    let server = FakeServer::start(|mut peer, number| {
        if (number as u64) < SPOKEN {
            peer.write("bye\n");
            assert!(peer.line().is_none());
            return peer.deeds.add("bye");
        }
        let Some(line) = peer.line() else { return };
        peer.write(&line);
    });
    let load = load(server.address, LONG);
    load.begin(&[Pattern::Silent]).expect("begin");
    wait_for("all of them", || server.deeds.count("bye") == SPOKEN);
    let record = finish(load);
    assert_eq!(failures(&record), BTreeMap::from([(FailureClass::UnsolicitedAnswer, SPOKEN)]));
}

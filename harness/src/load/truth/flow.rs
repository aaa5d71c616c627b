//! Datagrams, against a server that misbehaves on purpose.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::fake_server::Deeds;
use super::fixture::{Harm, config, failures, finish, wait_for, want};
use crate::kernel::udp::tests::closed_port;
use crate::load::{Load, LoadConfig, LoadError, LoadRecord};
use crate::request::{FailureClass, Pattern, Request};

/// What is done to each datagram, by its number from 0.
type Behave = fn(&UdpSocket, &[u8], SocketAddr, u64) -> &'static str;

/// Answers datagrams until dropped.
struct FakeEcho {
    address: SocketAddr,
    deeds: Deeds,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeEcho {
    fn start(behave: Behave) -> FakeEcho {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let (address, deeds) = (socket.local_addr().expect("address"), Deeds::default());
        let over = Arc::new(AtomicBool::new(false));
        let (done, ended) = (deeds.clone(), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 64];
            for number in 0.. {
                let (length, from) = socket.recv_from(&mut buffer).expect("receive");
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                done.add(behave(&socket, &buffer[..length], from, number));
            }
        });
        FakeEcho { address, deeds, over, thread: Some(thread) }
    }
}

impl Drop for FakeEcho {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let woken = UdpSocket::bind("127.0.0.1:0").and_then(|it| it.send_to(b"", self.address));
        woken.expect("loopback takes it");
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn answer(socket: &UdpSocket, datagram: &[u8], to: SocketAddr, version: &str) {
    // The client may be gone.
    let _ = socket.send_to(&[datagram, version.as_bytes()].concat(), to);
}

/// Sends to a server until that has done so much.
fn loaded(to: SocketAddr, enough: impl FnMut() -> bool) -> LoadRecord {
    let load = Load::spawn(LoadConfig { datagrams: Some(to), ..config(to) }).expect("spawn");
    load.begin(&[Pattern::Flow]).expect("begin");
    wait_for("enough datagrams", enough);
    assert_eq!(load.newest_version(), None, "who answers datagrams need not accept connections");
    finish(load)
}

fn flow_of(request: &Request) -> (u64, u16) {
    (request.connection, request.local_port)
}

#[test]
fn each_datagram_is_answered_once_and_its_flow_is_a_port() {
    let server = FakeEcho::start(|socket, datagram, from, _| {
        answer(socket, datagram, from, "3");
        "answered"
    });
    let record = loaded(server.address, || server.deeds.count("answered") >= 200);
    assert!(failures(&record).is_empty());
    assert_eq!(record.account.unpaired_datagrams, 0);
    let mut flows: Vec<(u64, u16)> = record.requests.iter().map(flow_of).collect();
    flows.sort_unstable();
    flows.dedup();
    assert_eq!(flows.len(), 16, "one port for each flow: {flows:?}");
    for flow in flows {
        let mut numbers = record.requests.iter().filter(|it| flow_of(it) == flow).map(|it| it.nth_on_connection);
        assert!((0..).zip(&mut numbers).all(|(nth, number)| nth == number));
    }
    assert!(record.requests.iter().all(|it| it.version().is_some_and(|it| it.0 == 3)));
}

#[test]
fn every_harm_to_a_datagram_is_reported_as_what_it_was() {
    const DEEDS: [Harm; 4] = [
        ("good", None),
        ("kept back", Some(FailureClass::Lost)),
        ("other", Some(FailureClass::WrongAnswer)),
        ("twice", None),
    ];
    let server = FakeEcho::start(|socket, datagram, from, number| {
        // Each flow has some 12 of them in half a second, and the last ones of all are good.
        let deed = if number < 200 { DEEDS[number as usize % 4].0 } else { "good" };
        match deed {
            "good" => answer(socket, datagram, from, "3"),
            "twice" => (0..2).for_each(|_| answer(socket, datagram, from, "")),
            "other" => answer(socket, b"other", from, ""),
            _ => {}
        }
        deed
    });
    let record = loaded(server.address, || server.deeds.count("good") >= 200);
    let found = failures(&record);
    // Which of those that wait a wrong answer is for, nobody can tell: the oldest gets it, and what it was for comes too late.
    let wrong = found.get(&FailureClass::WrongAnswer).copied().unwrap_or_default();
    assert_eq!(wrong, want(&DEEDS, &server.deeds)[&FailureClass::WrongAnswer], "{found:?}");
    let lost: u64 = found.values().sum();
    assert_eq!(lost, want(&DEEDS, &server.deeds).values().sum::<u64>(), "{found:?}");
    assert!(found.keys().all(|it| matches!(it, FailureClass::Lost | FailureClass::WrongAnswer)), "{found:?}");
    assert_eq!(record.account.unpaired_datagrams, server.deeds.count("twice"));
}

#[test]
fn silence_is_no_proof_of_a_loss() {
    let server = FakeEcho::start(|_, _, _, _| "silent");
    let record = loaded(server.address, || server.deeds.count("silent") >= 30);
    assert_eq!(failures(&record).into_keys().collect::<Vec<_>>(), [FailureClass::Hung]);
    let waited = |it: &Request| it.sent.is_some_and(|sent| it.ended.since(sent) >= Duration::from_secs(2));
    assert!(record.requests.iter().all(waited));
}

#[test]
fn a_port_that_nobody_has_refuses() {
    let (_held, address) = closed_port();
    let load = Load::spawn(LoadConfig { datagrams: Some(address), ..config(address) }).expect("spawn");
    load.begin(&[Pattern::Flow]).expect("begin");
    wait_for("fifty datagrams", || load.ended() >= 50);
    let record = finish(load);
    assert_eq!(failures(&record).into_keys().collect::<Vec<_>>(), [FailureClass::Refused]);
}

#[test]
fn without_an_address_there_are_no_flows() {
    let to = "127.0.0.1:1".parse().expect("address");
    let load = Load::spawn(config(to)).expect("spawn");
    assert!(matches!(load.begin(&[Pattern::Flow]), Err(LoadError::NoDatagrams)));
    finish(load);
}

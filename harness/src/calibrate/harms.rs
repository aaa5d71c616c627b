//! Each harm a known number of times: none missed, none invented.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::CalibrationError;
use super::server::{ANSWER, Peer, Server};
use crate::drive::{DrivePlan, DriveReport, Seen};
use crate::kernel::counter;
use crate::load::fast::drive;
use crate::request::FailureClass;
use crate::wait::Stop;

/// Longer than any of these takes; the server asks for the end when it has done enough.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a request may take where one is meant to hang.
const HANGS_FOR: Duration = Duration::from_millis(200);
/// How often the driver is to look up.
const EVERY: Duration = Duration::from_millis(50);

/// A harm, how often it was done, and how often it was reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HarmRow {
    /// What the server did.
    pub harm: &'static str,
    /// The class that it must have; `None` where nobody loses anything.
    pub class: Option<FailureClass>,
    /// How often it was done, by the server's count or the kernel's.
    pub done: u64,
    /// How often the driver said so.
    pub reported: u64,
    /// Failures of other classes beside it: invented.
    pub invented: u64,
    /// None missed, none invented.
    pub ok: bool,
}

/// What a server does to a connection that has carried two requests.
#[derive(Debug, Clone, Copy)]
struct Harm {
    name: &'static str,
    class: Option<FailureClass>,
    /// Done to the connection; true when it was.
    act: fn(&mut Peer) -> bool,
}

/// Does it with the next request once that is read.
fn read_then(peer: &mut Peer, bytes: &[u8]) -> bool {
    let came = peer.request();
    if came {
        peer.write(bytes);
    }
    came
}

const HARMS: [Harm; 8] = [
    Harm { name: "reads a request and closes", class: Some(FailureClass::Taken), act: |peer| read_then(peer, b"") },
    Harm { name: "closes with a request unread", class: Some(FailureClass::Unread), act: |peer| peer.has_request() },
    Harm {
        name: "closes in the middle of an answer",
        class: Some(FailureClass::Truncated),
        act: |peer| read_then(peer, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
    },
    Harm {
        name: "answers 503",
        class: Some(FailureClass::ServerError),
        act: |peer| read_then(peer, b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
    },
    Harm {
        name: "answers what is no HTTP",
        class: Some(FailureClass::WrongAnswer),
        act: |peer| read_then(peer, b"SSH-2.0-x\r\n"),
    },
    Harm {
        name: "says more than an answer",
        class: Some(FailureClass::UnsolicitedAnswer),
        act: |peer| read_then(peer, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore"),
    },
    Harm {
        name: "never answers",
        class: Some(FailureClass::Hung),
        // Until the client closes.
        act: |peer| {
            let came = peer.request();
            let _closed = peer.request();
            came
        },
    },
    Harm {
        name: "announces the close and closes",
        class: None,
        act: |peer| read_then(peer, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
    },
];

/// All of them, each at least so often.
pub(super) fn harms(
    times: u32,
    stop: &Stop,
    see: &mut (dyn FnMut(&str) + Send),
) -> Result<Vec<HarmRow>, CalibrationError> {
    let mut rows = Vec::new();
    for harm in HARMS {
        see(harm.name);
        rows.push(of_kept(harm, times, stop)?);
    }
    see("closes new connections");
    rows.push(of_fresh(times, stop)?);
    see("refuses");
    rows.push(refused(stop)?);
    see("races");
    rows.extend(races(times, stop)?);
    Ok(rows)
}

/// Ends the load when it has been done often enough, or when somebody else asks.
fn driven(plan: &DrivePlan, enough: impl Fn() -> bool + Sync, stop: &Stop) -> Result<DriveReport, CalibrationError> {
    let over = Stop::new()?;
    let report = drive(plan, EVERY, &over, &mut |seen| {
        if matches!(seen, Seen::Interval(_)) && (enough() || stop.is_asked()) {
            over.ask();
        }
    })?;
    if stop.is_asked() { Err(CalibrationError::Interrupted) } else { Ok(report) }
}

fn row(harm: &'static str, class: Option<FailureClass>, done: u64, report: &DriveReport) -> HarmRow {
    let reported = class.map_or(done, |class| report.failed.get(&class).copied().unwrap_or_default());
    let invented = report.lost() - if class.is_some() { reported } else { 0 };
    HarmRow { harm, class, done, reported, invented, ok: done > 0 && reported == done && invented == 0 }
}

fn of_kept(harm: Harm, times: u32, stop: &Stop) -> Result<HarmRow, CalibrationError> {
    let done = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&done);
    let server = Server::start(move |mut peer, _| {
        for _ in 0..2 {
            if !peer.request() {
                return;
            }
            peer.write(ANSWER);
        }
        if (harm.act)(&mut peer) {
            count.fetch_add(1, Ordering::AcqRel);
        }
    })?;
    let hangs = harm.class == Some(FailureClass::Hung);
    let plan = DrivePlan { duration: LONGEST, ..DrivePlan::new(server.address()) };
    let plan = DrivePlan { deadline: if hangs { HANGS_FOR } else { plan.deadline }, ..plan };
    let report = driven(&plan, || done.load(Ordering::Acquire) >= u64::from(times), stop)?;
    // Then each of its threads has counted.
    drop(server);
    Ok(row(harm.name, harm.class, done.load(Ordering::Acquire), &report))
}

/// New connections are accepted, their request is read, and they are closed.
fn of_fresh(times: u32, stop: &Stop) -> Result<HarmRow, CalibrationError> {
    let done = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&done);
    let server = Server::start(move |mut peer, _| {
        if peer.request() {
            count.fetch_add(1, Ordering::AcqRel);
        }
    })?;
    let plan = DrivePlan { kept: false, duration: LONGEST, ..DrivePlan::new(server.address()) };
    let report = driven(&plan, || done.load(Ordering::Acquire) >= u64::from(times), stop)?;
    drop(server);
    Ok(row(
        "reads the request of a new connection and closes",
        Some(FailureClass::Dropped),
        done.load(Ordering::Acquire),
        &report,
    ))
}

/// Nobody listens: the kernel counts each attempt that failed.
fn refused(stop: &Stop) -> Result<HarmRow, CalibrationError> {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    // Bound and not listening: nobody else can have the port.
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).map_err(std::io::Error::from)?;
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).map_err(std::io::Error::from)?;
    let name = getsockname(&held).map_err(std::io::Error::from)?;
    let to = SocketAddr::try_from(name).map_err(std::io::Error::from)?;
    let before = counted()?;
    let plan = DrivePlan { duration: Duration::from_millis(200), ..DrivePlan::new(to) };
    let report = driven(&plan, || false, stop)?;
    let done = moved(&before, &counted()?, "Tcp.AttemptFails");
    Ok(row("does not listen (the kernel's AttemptFails)", Some(FailureClass::Refused), done, &report))
}

/// A server that closes kept connections when it likes: whether the request or the FIN was first is chance, and the kernel counts both
/// outcomes.
fn races(times: u32, stop: &Stop) -> Result<Vec<HarmRow>, CalibrationError> {
    let closed = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&closed);
    let server = Server::start(move |mut peer, number| {
        for _ in 0..2 + number % 3 {
            if !peer.request() {
                return;
            }
            peer.write(ANSWER);
        }
        // A few microseconds later than at once, and never as many: the next request is on its way by then, or it is not.
        for _ in 0..(number % 64) * 32 {
            std::hint::spin_loop();
        }
        count.fetch_add(1, Ordering::AcqRel);
    })?;
    let before = counted()?;
    let plan = DrivePlan { duration: LONGEST, ..DrivePlan::new(server.address()) };
    let report = driven(&plan, || closed.load(Ordering::Acquire) >= u64::from(times), stop)?;
    drop(server);
    let after = counted()?;
    let races = [
        ("closes as a request comes (the kernel's TCPAbortOnClose)", FailureClass::Unread, "TcpExt.TCPAbortOnClose"),
        ("closes as a request comes (the kernel's TCPAbortOnData)", FailureClass::Crossed, "TcpExt.TCPAbortOnData"),
    ];
    let others = report.failed.iter().filter(|(class, _)| races.iter().all(|(_, race, _)| race != *class));
    let invented = others.map(|(_, count)| *count).sum();
    let of = |(harm, class, counter): (&'static str, FailureClass, &str)| {
        let done = moved(&before, &after, counter);
        let reported = report.failed.get(&class).copied().unwrap_or_default();
        HarmRow { harm, class: Some(class), done, reported, invented, ok: reported == done && invented == 0 }
    };
    Ok(races.map(of).to_vec())
}

fn counted() -> Result<BTreeMap<String, u64>, CalibrationError> {
    Ok(counter::read()?)
}

/// By how much a counter has moved.
fn moved(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>, name: &str) -> u64 {
    let value = |of: &BTreeMap<String, u64>| of.get(name).copied().unwrap_or_default();
    value(after).saturating_sub(value(before))
}

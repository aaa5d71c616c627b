//! Harm over UNIX sockets, by lines that are to be echoed; and a listener's queue that is full.

use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use rustix::net::RecvFlags;

use super::fake_server::{Deeds, serve};
use super::fast::{all_fail, driven};
use super::fixture::{Harm, want};
use crate::drive::{DrivePlan, DriveReport, UnixName};
use crate::manifest::Protocol;
use crate::request::FailureClass;

/// Echoes at an abstract name of its own until dropped.
struct EchoServer {
    name: String,
    deeds: Deeds,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Serves each connection by `behave`, which is given its number from 0, in a thread of its own.
    fn start(behave: impl Fn(&UnixStream, &Deeds, usize) + Send + Sync + 'static) -> EchoServer {
        EchoServer::with(128, true, behave)
    }

    /// The same with a queue that has room for `backlog` and one more, each connection in its own thread or one after the other.
    fn with(
        backlog: i32,
        at_once: bool,
        behave: impl Fn(&UnixStream, &Deeds, usize) + Send + Sync + 'static,
    ) -> EchoServer {
        static NAMES: AtomicU32 = AtomicU32::new(0);
        let name = format!("unbroken-truth-{}-{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed));
        let listener = UnixListener::bind_addr(&address(&name)).expect("nobody has this name");
        rustix::net::listen(&listener, backlog).expect("it listens already");
        let (stop, deeds) = (Arc::new(AtomicBool::new(false)), Deeds::default());
        let (stopped, done) = (Arc::clone(&stop), deeds.clone());
        let acceptor = std::thread::spawn(move || {
            serve(listener.incoming(), &stopped, at_once, |stream, number| behave(&stream, &done, number));
        });
        EchoServer { name, deeds, stop, acceptor: Some(acceptor) }
    }

    /// Lines over four connections.
    fn driven(&self, change: impl Fn(&mut DrivePlan)) -> DriveReport {
        driven(UnixName::Abstract(self.name.clone()), |plan| {
            plan.protocol = Protocol::Echo;
            change(plan);
        })
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor out of accept(2).
        let _ = UnixStream::connect_addr(&address(&self.name));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn address(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(name).expect("it is short")
}

/// Echoes one line; false where the client has closed instead.
fn echo(stream: &UnixStream, deeds: &Deeds) -> bool {
    let mut line = String::new();
    if !BufReader::new(stream).read_line(&mut line).is_ok_and(|count| count > 0) {
        return false;
    }
    deeds.add("answered");
    let mut stream = stream;
    stream.write_all(line.as_bytes()).is_ok()
}

#[test]
fn lines_are_answered_over_kept_and_over_fresh_connections() {
    let server = EchoServer::start(|stream, deeds, _| while echo(stream, deeds) {});
    let kept = server.driven(|_| {});
    assert_eq!((kept.answered, kept.lost(), kept.connections), (server.deeds.count("answered"), 0, 4));
    let fresh = server.driven(|plan| plan.kept = false);
    assert_eq!((fresh.lost(), fresh.connections), (0, fresh.begun));
    assert_eq!(kept.answered + fresh.answered, server.deeds.count("answered"));
}

/// What the server does to the third line of each connection.
const DEEDS: [Harm; 3] = [
    ("taken", Some(FailureClass::Taken)),
    ("unread", Some(FailureClass::Unread)),
    ("another line", Some(FailureClass::WrongAnswer)),
];

#[test]
fn the_kernel_tells_what_became_of_a_line() {
    let server = EchoServer::start(|mut stream, deeds, number| {
        let (deed, _) = DEEDS[number % DEEDS.len()];
        if !echo(stream, deeds) || !echo(stream, deeds) {
            return;
        }
        // Waits, and takes nothing.
        match rustix::net::recv(stream, &mut [0][..], RecvFlags::PEEK) {
            Ok((_, 1..)) => deeds.add(deed),
            _ => return,
        }
        let mut line = String::new();
        match deed {
            "taken" => drop(BufReader::new(stream).read_line(&mut line)),
            "another line" => {
                let _ = BufReader::new(stream).read_line(&mut line);
                let _ = stream.write_all(b"another\n");
            }
            _ => {}
        }
    });
    let report = server.driven(|_| {});
    for (deed, _) in DEEDS {
        assert!(server.deeds.count(deed) > 0, "nothing was {deed}: {report:?}");
    }
    assert_eq!(report.failed, want(&DEEDS, &server.deeds));
    assert_eq!((report.idle_closes, report.idle_broken.len()), (0, 0), "{report:?}");
}

#[test]
fn a_close_between_two_lines_is_a_race_or_loses_nothing() {
    let server = EchoServer::start(|stream, deeds, _| {
        if echo(stream, deeds) && echo(stream, deeds) {
            deeds.add("closed");
        }
    });
    let report = server.driven(|plan| plan.pace = crate::drive::Pace::PerSecond(2000.0));
    let met = |class| report.failed.get(&class).copied().unwrap_or_default();
    let races = met(FailureClass::Crossed) + met(FailureClass::Unread);
    assert_eq!(report.lost(), races, "{report:?}");
    // Nobody asked for a third line of the connections that are left.
    let seen = races + report.idle_closes;
    assert!((seen..=seen + 4).contains(&server.deeds.count("closed")), "{report:?}");
}

#[test]
fn a_full_queue_is_waited_for() {
    // One line at a time, and room for two more connections: of 16 at a time most wait for it.
    let server = EchoServer::with(1, false, |stream, deeds, _| {
        echo(stream, deeds);
    });
    let report = server.driven(|plan| (plan.connections, plan.kept) = (16, false));
    assert_eq!((report.answered, report.lost()), (server.deeds.count("answered"), 0), "{report:?}");
}

#[test]
fn nobody_listens_and_a_file_that_is_not_there_are_refused() {
    let name = UnixName::Abstract(format!("unbroken-nobody-{}", std::process::id()));
    all_fail(&driven(name, |_| {}), FailureClass::Refused);
    all_fail(&driven(UnixName::Path("/nonexistent/unbroken.sock".into()), |_| {}), FailureClass::Refused);
}

//! Real servers with a master, most of them `exec-inherit`: upgrades by signal and by replacement, under requests, to a clean end.
//!
//! The test executes copies of itself named `unbroken-reference`, each stamped with a version.

mod installed;
mod said;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use installed::install;
use rustix::process::{Pid, Signal, kill_process};
use said::Said;
use unbroken_reference::inherit;

/// Far beyond what anything here takes; reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// A server that does not outlive the test: its generations end with it, by their life line.
struct Server {
    directory: PathBuf,
    child: Child,
    said: Said,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let directory = std::env::temp_dir().join(format!("unbroken-reference-{}-{name}", std::process::id()));
        fs::create_dir(&directory).expect("a fresh directory");
        install(&directory, 1);
        let mut command = command(&directory);
        command.args(arguments).args(["--address", "127.0.0.1:0", "--pidfile", "pid"]);
        Self::spawned(directory, &mut command)
    }

    fn spawned(directory: PathBuf, command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("start");
        let said = Said::on(child.stderr.take().expect("piped"));
        let address = said.wait_for_address();
        Self { directory, child, said, address }
    }

    /// The next log line that contains the text.
    fn wait_for(&self, text: &str) -> String {
        self.said.wait_for(text)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("not zero");
        kill_process(pid, signal).expect("alive: it has not been waited for");
    }

    /// TERM, and everything gone.
    fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.wait_for("master stopped");
        assert_eq!(self.child.wait().expect("wait").code(), Some(0));
        assert!(!self.directory.join("pid").exists());
        assert!(TcpStream::connect(self.address).is_err());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(directory.join("unbroken-reference"));
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// One answer: head and body.
fn ask(stream: &mut TcpStream, path: &str) -> std::io::Result<String> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())?;
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        text.push(byte[0]);
    }
    let mut body = [0; 12];
    stream.read_exact(&mut body)?;
    assert_eq!(&body, b"hello world\n");
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn version_at(address: SocketAddr) -> u64 {
    let answer = ask(&mut TcpStream::connect(address).expect("connect"), "/").expect("answer");
    let value = answer.lines().find_map(|line| line.strip_prefix("X-Version: ")).expect("a version");
    value.parse().expect("a number")
}

/// Fresh and kept connections in a loop; counts answers, keeps failures.
struct Load {
    running: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let mut load = Self {
            running: Arc::new(AtomicBool::new(true)),
            answers: Arc::default(),
            failures: Arc::default(),
            threads: Vec::new(),
        };
        for (requests, path) in [(1, "/"), (u64::MAX, "/"), (u64::MAX, "/slow?ms=20")] {
            let (running, answers, failures) =
                (Arc::clone(&load.running), Arc::clone(&load.answers), Arc::clone(&load.failures));
            load.threads.push(std::thread::spawn(move || {
                while running.load(Ordering::Relaxed) {
                    match talk(address, path, requests, &running) {
                        Ok(count) => drop(answers.fetch_add(count, Ordering::Relaxed)),
                        Err(error) => failures.lock().expect("unpoisoned").push(format!("{path} {requests}: {error}")),
                    }
                }
            }));
        }
        load
    }

    /// Waits for so many more answers to fresh connections.
    fn wait_for(&self, more: u64) {
        let (goal, end) = (self.answers.load(Ordering::Relaxed) + more, Instant::now() + DEADLINE);
        while self.answers.load(Ordering::Relaxed) < goal {
            assert!(Instant::now() < end, "the load hangs");
            std::thread::yield_now();
        }
    }

    fn finish(self) {
        self.running.store(false, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        let failures = self.failures.lock().expect("unpoisoned");
        assert!(failures.is_empty(), "{} lost: {failures:?}", failures.len());
    }
}

/// Requests on one connection until it is announced to end; the number of answers.
fn talk(address: SocketAddr, path: &str, requests: u64, running: &AtomicBool) -> std::io::Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    for done in 1..=requests {
        let answer = ask(&mut stream, path)?;
        if done == requests || answer.contains("Connection: close") || !running.load(Ordering::Relaxed) {
            return Ok(done);
        }
    }
    Ok(0)
}

fn upgrades_under_load_lose_nothing() {
    let mut server = Server::start("upgrades", &["exec-inherit"]);
    server.wait_for("is ready");
    assert_eq!(version_at(server.address), 1);
    let load = Load::start(server.address);
    for _ in 0..3 {
        server.signal(Signal::HUP);
        server.wait_for("upgraded: ");
        load.wait_for(11);
    }
    assert_eq!(version_at(server.address), 1);
    for number in 2..4 {
        install(&server.directory, number);
        server.wait_for("upgraded: ");
        server.wait_for("draining");
        load.wait_for(11);
        assert_eq!(version_at(server.address), number);
    }
    let pid = fs::read_to_string(server.directory.join("pid")).expect("pidfile");
    assert_eq!(pid, format!("{}\n", server.child.id()));
    load.finish();
    server.stop();
}

fn a_bad_executable_changes_nothing_and_a_good_one_follows() {
    // Each of the bad ones ends, or closes its readiness pipe: none is waited for, and a good one may take its time.
    let mut server = Server::start("rollback", &["exec-inherit", "--drain-timeout-ms", "500"]);
    server.wait_for("is ready");
    for (number, bad) in [(2, "#!/bin/sh\nexit 1\n"), (3, "#!/bin/sh\nexec sleep 60 3>&- 4>&- 5>&-\n"), (4, "garbage")]
    {
        let new = server.directory.join("new");
        fs::write(&new, bad).expect("write");
        fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        fs::rename(new, server.directory.join("unbroken-reference")).expect("install");
        server.wait_for("serves on");
        install(&server.directory, number);
        server.wait_for("upgraded: ");
        server.wait_for("draining");
        assert_eq!(version_at(server.address), number);
    }
    server.stop();
}

fn a_killed_generation_is_replaced() {
    let mut server = Server::start("killed", &["exec-inherit"]);
    kill_named(&server.wait_for("is ready"));
    server.wait_for("is ready");
    assert_eq!(version_at(server.address), 1);
    server.stop();
}

/// Kills the process that this log line is about.
fn kill_named(line: &str) {
    let pid = line.split(['-', ' ']).find_map(|word| word.parse().ok()).and_then(Pid::from_raw).expect("slave-PID");
    kill_process(pid, Signal::KILL).expect("kill");
}

/// Installs what is no server.
fn install_bad(directory: &Path) {
    let new = directory.join("new");
    fs::write(&new, "#!/bin/sh\nexit 1\n").expect("write");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::rename(new, directory.join("unbroken-reference")).expect("install");
}

fn a_pool_is_replaced_one_after_the_other_and_loses_nothing() {
    let mut server = Server::start("pool", &["prefork", "--workers", "3"]);
    (0..3).for_each(|_| drop(server.wait_for("is ready")));
    let load = Load::start(server.address);
    install(&server.directory, 2);
    server.wait_for("upgraded: 3 workers are new");
    load.wait_for(11);
    (0..10).for_each(|_| assert_eq!(version_at(server.address), 2));
    load.finish();
    server.stop();
}

fn what_is_asked_for_during_an_upgrade_of_a_pool_is_done_after_it() {
    let mut server = Server::start("busy-pool", &["prefork", "--workers", "3", "--no-watch"]);
    (0..3).for_each(|_| drop(server.wait_for("is ready")));
    install(&server.directory, 2);
    server.signal(Signal::HUP);
    server.wait_for("started slave");
    install(&server.directory, 3);
    server.signal(Signal::HUP);
    (0..2).for_each(|_| drop(server.wait_for("upgraded: ")));
    assert_eq!(version_at(server.address), 3);
    server.stop();
}

fn a_pool_replaces_nobody_by_what_is_bad_and_recovers() {
    let mut server = Server::start("bad-pool", &["prefork", "--workers", "2"]);
    (0..2).for_each(|_| drop(server.wait_for("is ready")));
    install_bad(&server.directory);
    server.wait_for("upgrade failed, 2 workers of the one before serve on");
    (0..10).for_each(|_| assert_eq!(version_at(server.address), 1));
    install(&server.directory, 2);
    server.wait_for("upgraded: 2 workers are new");
    assert_eq!(version_at(server.address), 2);
    server.stop();
}

fn a_killed_worker_is_replaced() {
    let mut server = Server::start("killed-worker", &["prefork", "--workers", "2"]);
    server.wait_for("is ready");
    kill_named(&server.wait_for("is ready"));
    server.wait_for("ended unexpectedly");
    server.wait_for("is ready");
    assert_eq!(version_at(server.address), 1);
    server.stop();
}

/// The holder keeps the queue while nobody serves, and starts another server.
fn a_holder_upgrades_its_server_and_replaces_one_that_is_killed() {
    let directory = std::env::temp_dir().join(format!("unbroken-reference-{}-holder", std::process::id()));
    fs::create_dir(&directory).expect("a fresh directory");
    install(&directory, 1);
    let mut holder = command(&directory);
    holder.args(["activated", "--address", "127.0.0.1:0", "--pidfile", "pid", "--", "./unbroken-reference", "serve"]);
    let mut server = Server::spawned(directory, holder.args(["--address", "127.0.0.1:0", "--notify-fd", "4"]));
    server.wait_for("is ready");
    let load = Load::start(server.address);
    install(&server.directory, 2);
    server.signal(Signal::HUP);
    server.wait_for("upgraded: ");
    load.wait_for(11);
    load.finish();
    assert_eq!(version_at(server.address), 2);
    server.signal(Signal::HUP);
    kill_named(&server.wait_for("is ready"));
    assert_eq!(version_at(server.address), 2, "it waited in the queue");
    server.stop();
}

fn a_dead_master_takes_its_generations_along() {
    let mut server = Server::start("orphaned", &["exec-inherit"]);
    server.wait_for("is ready");
    server.child.kill().expect("kill");
    server.child.wait().expect("wait");
    server.wait_for("master is gone");
    server.wait_for("drained");
}

fn the_old_inode_never_changes_its_version() {
    let mut server = Server::start("old-inode", &["null-old-inode"]);
    server.wait_for("is ready");
    install(&server.directory, 2);
    server.wait_for("upgraded: ");
    server.wait_for("draining");
    assert_eq!(version_at(server.address), 1);
    server.stop();
}

fn a_false_mark_is_refused() {
    let server = Server::start("mark", &["exec-inherit"]);
    server.wait_for("is ready");
    let mut marked = command(&server.directory);
    marked.args(["exec-inherit", "--address", "127.0.0.1:0"]).env(inherit::MARK, inherit::MARK_VALUE);
    let output = marked.output().expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("descriptor 3") && said.contains("stray mark"), "{said}");
}

/// Bound by somebody else, who keeps it: a connection from before the start waits in its queue.
fn an_activated_listener_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("bound");
    let mut early = TcpStream::connect(address).expect("connect");
    let directory = std::env::temp_dir().join(format!("unbroken-reference-{}-activated", std::process::id()));
    fs::create_dir(&directory).expect("a fresh directory");
    install(&directory, 1);
    // A shell knows its pid, which exec keeps, and moves the socket to where it belongs.
    let script = format!(
        "LISTEN_PID=$$ LISTEN_FDS=1 exec ./unbroken-reference exec-inherit --address {address} --no-watch 3<&0 </dev/null"
    );
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script]).current_dir(&directory).stdin(OwnedFd::from(listener.try_clone().expect("copy")));
    let mut server = Server::spawned(directory, shell.stdout(Stdio::null()));
    assert_eq!(server.address, address);
    assert!(ask(&mut early, "/").is_ok());
    drop(early);
    server.signal(Signal::HUP);
    server.wait_for("upgraded: ");
    assert_eq!(version_at(address), 1);
    server.signal(Signal::TERM);
    server.wait_for("master stopped");
    assert_eq!(server.child.wait().expect("wait").code(), Some(0));
    // Its supervisor still has it.
    assert!(TcpStream::connect(address).is_ok());
}

/// Beats come before and after an upgrade, from one process, and nobody but the master knows of the supervisor.
fn a_supervisor_is_told_and_its_watchdog_is_fed_through_an_upgrade() {
    let directory = std::env::temp_dir().join(format!("unbroken-reference-{}-watchdog", std::process::id()));
    fs::create_dir(&directory).expect("a fresh directory");
    install(&directory, 1);
    let supervisor = UnixDatagram::bind(directory.join("notify")).expect("bind");
    supervisor.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let heard = |wanted: &str| {
        let mut buffer = [0; 200];
        loop {
            let length = supervisor.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted:?}: {error}"));
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message != "WATCHDOG=1" || message == wanted {
                assert!(message.starts_with(wanted), "{message}");
                return;
            }
        }
    };
    let script = "WATCHDOG_PID=$$ exec ./unbroken-reference exec-inherit --address 127.0.0.1:0 --no-watch";
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).current_dir(&directory).stdin(Stdio::null()).stdout(Stdio::null());
    shell.env("NOTIFY_SOCKET", directory.join("notify")).env("WATCHDOG_USEC", "200000");
    let mut server = Server::spawned(directory, &mut shell);
    heard("READY=1\nSTATUS=serving generation 1");
    heard("WATCHDOG=1");
    server.signal(Signal::HUP);
    heard("RELOADING=1\nMONOTONIC_USEC=");
    heard("READY=1\nSTATUS=serving generation 2");
    heard("WATCHDOG=1");
    install_bad(&server.directory);
    server.signal(Signal::HUP);
    heard("RELOADING=1\nMONOTONIC_USEC=");
    heard("READY=1\nSTATUS=upgrade failed, serving generation 2");
    heard("WATCHDOG=1");
    server.stop();
    heard("STOPPING=1");
}

/// The supervisor's copy keeps the queue of a master that was killed, and the next one answers what waits there.
fn a_stored_listener_outlives_its_master() {
    let directory = std::env::temp_dir().join(format!("unbroken-reference-{}-stored", std::process::id()));
    fs::create_dir(&directory).expect("a fresh directory");
    install(&directory, 1);
    let supervisor = UnixDatagram::bind(directory.join("notify")).expect("bind");
    supervisor.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let mut first = command(&directory);
    first.args(["exec-inherit", "--address", "127.0.0.1:0", "--no-watch", "--store-listener"]);
    let mut server = Server::spawned(directory.clone(), first.env("NOTIFY_SOCKET", directory.join("notify")));
    let (message, stored) = received(&supervisor);
    assert_eq!(message, "FDSTORE=1\nFDNAME=listener");
    assert!(received(&supervisor).0.starts_with("READY=1"));
    server.child.kill().expect("it lives");
    server.wait_for("draining");
    server.child.wait().expect("wait");
    let mut waiting = TcpStream::connect(server.address).expect("the queue is there");

    let script = format!(
        "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=listener exec ./unbroken-reference exec-inherit --address {} --no-watch \
         --store-listener 3<&0 </dev/null",
        server.address
    );
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script]).current_dir(&directory).stdin(stored.expect("the listener")).stdout(Stdio::null());
    shell.env("NOTIFY_SOCKET", directory.join("notify"));
    let again = Server::spawned(directory, &mut shell);
    assert!(ask(&mut waiting, "/").is_ok());
    let (message, stored) = received(&supervisor);
    assert!(message.starts_with("READY=1") && stored.is_none(), "it has it already: {message}");
    again.signal(Signal::TERM);
    again.wait_for("master stopped");
}

/// One message of a notification socket, and the descriptor that came with it.
fn received(supervisor: &UnixDatagram) -> (String, Option<OwnedFd>) {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    let (mut text, mut space) = ([0; 200], [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let buffers = &mut [std::io::IoSliceMut::new(&mut text)];
    let length =
        rustix::net::recvmsg(supervisor, buffers, &mut control, RecvFlags::CMSG_CLOEXEC).expect("receive").bytes;
    let descriptor = match control.drain().next() {
        Some(RecvAncillaryMessage::ScmRights(mut descriptors)) => descriptors.next(),
        _ => None,
    };
    (String::from_utf8_lossy(&text[..length]).into_owned(), descriptor)
}

fn main() {
    unbroken_reference::run_if_asked();
    let tests: [(&str, fn()); 14] = [
        ("upgrades_under_load_lose_nothing", upgrades_under_load_lose_nothing),
        (
            "a_bad_executable_changes_nothing_and_a_good_one_follows",
            a_bad_executable_changes_nothing_and_a_good_one_follows,
        ),
        ("a_killed_generation_is_replaced", a_killed_generation_is_replaced),
        (
            "a_pool_is_replaced_one_after_the_other_and_loses_nothing",
            a_pool_is_replaced_one_after_the_other_and_loses_nothing,
        ),
        (
            "what_is_asked_for_during_an_upgrade_of_a_pool_is_done_after_it",
            what_is_asked_for_during_an_upgrade_of_a_pool_is_done_after_it,
        ),
        ("a_pool_replaces_nobody_by_what_is_bad_and_recovers", a_pool_replaces_nobody_by_what_is_bad_and_recovers),
        ("a_killed_worker_is_replaced", a_killed_worker_is_replaced),
        (
            "a_holder_upgrades_its_server_and_replaces_one_that_is_killed",
            a_holder_upgrades_its_server_and_replaces_one_that_is_killed,
        ),
        ("a_dead_master_takes_its_generations_along", a_dead_master_takes_its_generations_along),
        ("the_old_inode_never_changes_its_version", the_old_inode_never_changes_its_version),
        ("a_false_mark_is_refused", a_false_mark_is_refused),
        ("an_activated_listener_is_served", an_activated_listener_is_served),
        ("a_stored_listener_outlives_its_master", a_stored_listener_outlives_its_master),
        (
            "a_supervisor_is_told_and_its_watchdog_is_fed_through_an_upgrade",
            a_supervisor_is_told_and_its_watchdog_is_fed_through_an_upgrade,
        ),
    ];
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let mut passed = 0;
    for (name, test) in tests.into_iter().filter(|(name, _)| name.contains(&filter)) {
        // One that fails ends them all by its panic.
        test();
        passed += 1;
        let _ = writeln!(std::io::stderr(), "test {name} ... ok");
    }
    let _ = writeln!(std::io::stderr(), "\ntest result: ok. {passed} passed; 0 failed; 0 ignored\n");
}

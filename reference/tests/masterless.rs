//! The real `takeover` and `re-exec`: upgrades under requests, upgrades that fail, and stops at awkward times.
//!
//! The test executes copies of itself named `unbroken-reference`, each stamped with a version. It is the reaper of what it starts,
//! so that a main process that is nobody's child any more can be followed, and does not outlive it.

mod installed;
mod said;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use installed::install;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, test_kill_process, waitpid};
use said::Said;
use unbroken_reference::inherit;

/// Far beyond what anything here takes; reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server whose main process changes, or not.
struct Server {
    directory: PathBuf,
    first: Pid,
    said: Said,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_in(fresh_directory(name), arguments, |_| {})
    }

    #[expect(clippy::zombie_processes, reason = "it is waited for by its number, as those are that it starts")]
    fn start_in(directory: PathBuf, arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        install(&directory, 1);
        let mut command = command(&directory);
        command.args(arguments).args(["--address", "127.0.0.1:0", "--pidfile", "pid"]).stderr(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn().expect("start");
        let said = Said::on(child.stderr.take().expect("piped"));
        let address = said.wait_for_address();
        let first = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("not zero");
        Self { directory, first, said, address }
    }

    /// The next log line that contains the text.
    fn wait_for(&self, text: &str) -> String {
        self.said.wait_for(text)
    }

    /// Whom the pidfile names.
    fn main(&self) -> Pid {
        let content = fs::read_to_string(self.directory.join("pid")).expect("a pidfile");
        content.trim_end().parse().ok().and_then(Pid::from_raw).expect("a pid")
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.main(), signal).expect("it lives");
    }

    /// TERM, and everything gone.
    fn stop(&self) {
        let main = self.main();
        self.signal(Signal::TERM);
        // Not its predecessor, which may be ending just now.
        self.wait_for(&format!("main-{} stopped", main.as_raw_nonzero()));
        assert_eq!(ended(main), Some(0));
        assert!(!self.directory.join("pid").exists());
        assert!(TcpStream::connect(self.address).is_err());
    }

    /// Puts this file in the program's place.
    fn deploy(&self, content: &[u8], mode: u32) {
        let new = self.directory.join("new");
        fs::write(&new, content).expect("write");
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).expect("chmod");
        fs::rename(new, self.directory.join("unbroken-reference")).expect("install");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(content) = fs::read_to_string(self.directory.join("pid"))
            && let Some(main) = content.trim_end().parse().ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(main, Signal::KILL);
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

fn fresh_directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("unbroken-masterless-{}-{name}", std::process::id()));
    fs::create_dir(&directory).expect("a fresh directory");
    directory
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(directory.join("unbroken-reference"));
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The exit status of a process that is a child of this one, or an orphan that has become one.
fn ended(pid: Pid) -> Option<i32> {
    loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Ok(status) => return status.expect("waited for").1.exit_status(),
            // Its parent has closed its files, and is not gone yet.
            Err(error) => assert!(test_kill_process(pid).is_ok(), "process {pid:?} is nobody's: {error}"),
        }
        std::thread::yield_now();
    }
}

/// The head of one answer.
fn ask(stream: &mut TcpStream, path: &str) -> std::io::Result<String> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())?;
    answer(stream)
}

fn answer(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut text, mut byte, mut body) = (Vec::new(), [0], [0; 12]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        text.push(byte[0]);
    }
    stream.read_exact(&mut body)?;
    assert_eq!(&body, b"hello world\n");
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn version_of(head: &str) -> u64 {
    let value = head.lines().find_map(|line| line.strip_prefix("X-Version: ")).expect("a version");
    value.parse().expect("a number")
}

fn version_at(address: SocketAddr) -> u64 {
    version_of(&ask(&mut TcpStream::connect(address).expect("connect"), "/").expect("answer"))
}

/// Fresh connections, one after the other, until it is finished; none may fail.
struct Load {
    running: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let answers = Arc::<AtomicU64>::default();
        let (goes_on, counted) = (Arc::clone(&running), Arc::clone(&answers));
        let thread = std::thread::spawn(move || {
            while goes_on.load(Ordering::Relaxed) {
                let _version = version_at(address);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { running, answers, thread }
    }

    /// Waits for so many more answers: an upgrade may be over before a client has asked.
    fn wait_for(&self, more: u64) {
        let (goal, end) = (self.answers.load(Ordering::Relaxed) + more, Instant::now() + DEADLINE);
        while self.answers.load(Ordering::Relaxed) < goal {
            assert!(!self.thread.is_finished() && Instant::now() < end, "the load has ended, or hangs");
            std::thread::yield_now();
        }
    }

    fn finish(self) {
        self.running.store(false, Ordering::Relaxed);
        self.thread.join().expect("nothing was lost");
    }
}

fn a_takeover_under_load_loses_nothing_and_moves_the_pidfile() {
    let server = Server::start("takeover", &["takeover", "--no-watch"]);
    server.wait_for("serves version 1");
    let load = Load::start(server.address);
    for number in 2..5 {
        let old = server.main();
        install(&server.directory, number);
        server.signal(Signal::HUP);
        server.wait_for(&format!("serves version {number}"));
        assert_ne!(server.main(), old, "named before it serves");
        load.wait_for(4);
        server.wait_for("its predecessor has gone");
        assert_eq!(ended(old), Some(0));
    }
    assert_eq!(version_at(server.address), 4);
    load.finish();
    server.stop();
}

fn a_changed_file_is_taken_over_once() {
    let server = Server::start("watched", &["takeover"]);
    server.wait_for("serves version 1");
    install(&server.directory, 2);
    server.wait_for("upgrade requested: file changed");
    server.wait_for("serves version 2");
    server.wait_for("its predecessor has gone");
    // A needless upgrade to the same version would be due before the next one: that file must first be quiet for as long.
    install(&server.directory, 3);
    let next = server.wait_for("serves version ");
    assert!(next.contains("version 3"), "{next}");
    server.stop();
}

fn a_successor_that_fails_in_any_way_is_given_up_and_a_good_one_follows() {
    let server = Server::start("rollback", &["takeover", "--no-watch", "--ready-timeout-ms", "1500"]);
    server.wait_for("serves version 1");
    let main = server.main();
    for bad in ["#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -SEGV $$\n", "#!/bin/sh\nexec sleep 600\n", "garbage"] {
        server.deploy(bad.as_bytes(), 0o755);
        server.signal(Signal::HUP);
        let started = server.wait_for("started main-");
        server.wait_for("upgrade failed, serves on");
        let pid = started.rsplit('-').next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw).expect("a pid");
        assert!(test_kill_process(pid).is_err(), "it was waited for: {bad:?}");
        assert_eq!((server.main(), version_at(server.address)), (main, 1));
        assert_eq!(fs::read_dir(&server.directory).expect("list").count(), 2, "the program and the pidfile");
    }
    install(&server.directory, 2);
    server.signal(Signal::HUP);
    server.wait_for("serves version 2");
    server.stop();
}

fn what_is_asked_for_during_an_upgrade_is_one_more() {
    let server = Server::start("coalesced", &["takeover", "--no-watch", "--slow-init-ms", "400"]);
    server.wait_for("serves version 1");
    server.signal(Signal::HUP);
    // It has executed what was installed then.
    server.wait_for("listening on");
    install(&server.directory, 2);
    for _ in 0..3 {
        server.signal(Signal::HUP);
        server.wait_for("upgrade requested");
    }
    server.wait_for("serves version 1");
    let second = server.main();
    server.wait_for("serves version 2");
    assert_ne!(server.main(), second);
    server.wait_for("its predecessor has gone");
    server.stop();
}

fn a_stop_gives_up_the_upgrade_that_is_under_way() {
    let server =
        Server::start("stopped", &["takeover", "--no-watch", "--slow-init-ms", "500", "--ready-timeout-ms", "60000"]);
    server.wait_for("serves version 1");
    server.signal(Signal::HUP);
    let started = server.wait_for("started main-");
    let pid = started.rsplit('-').next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw).expect("a pid");
    server.stop();
    assert!(test_kill_process(pid).is_err());
}

fn a_stop_during_the_first_start_ends_it() {
    for technique in ["takeover", "re-exec"] {
        let server = Server::start(&format!("early-{technique}"), &[technique, "--slow-init-ms", "60000"]);
        kill_process(server.first, Signal::TERM).expect("it lives");
        assert_eq!(ended(server.first), Some(0), "{technique}");
        assert!(!server.directory.join("pid").exists(), "{technique}");
    }
}

fn a_successor_whose_predecessor_is_killed_takes_over() {
    let server = Server::start("killed", &["takeover", "--no-watch", "--slow-init-ms", "400"]);
    server.wait_for("serves version 1");
    let old = server.main();
    install(&server.directory, 2);
    server.signal(Signal::HUP);
    server.wait_for("started main-");
    kill_process(old, Signal::KILL).expect("it lives");
    server.wait_for("serves version 2");
    assert_ne!(server.main(), old);
    assert_eq!(version_at(server.address), 2);
    server.stop();
}

fn a_supervisor_hears_of_its_new_main_process_from_the_old_one() {
    let directory = fresh_directory("notify");
    let supervisor = UnixDatagram::bind(directory.join("notify")).expect("bind");
    supervisor.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let heard = || {
        let mut buffer = [0; 200];
        let length = supervisor.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let socket = directory.join("notify");
    let server = Server::start_in(directory, &["takeover", "--no-watch"], |command| {
        command.env("NOTIFY_SOCKET", socket);
    });
    assert_eq!(heard(), "READY=1\nSTATUS=serving version 1");
    install(&server.directory, 2);
    server.signal(Signal::HUP);
    assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(heard().starts_with("MAINPID="));
    assert_eq!(heard(), "READY=1\nSTATUS=serving version 2");
    server.deploy(b"#!/bin/sh\nexit 1\n", 0o755);
    server.wait_for("its predecessor has gone");
    server.signal(Signal::HUP);
    assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(heard(), "READY=1\nSTATUS=upgrade failed, serving version 2");
    server.stop();
    assert_eq!(heard(), "STOPPING=1");
}

fn a_false_mark_is_refused() {
    for technique in ["takeover", "re-exec"] {
        let directory = fresh_directory(&format!("mark-{technique}"));
        install(&directory, 1);
        let mut marked = command(&directory);
        marked.args([technique, "--address", "127.0.0.1:0"]).env(inherit::MARK, inherit::MARK_VALUE);
        let output = marked.output().expect("run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("descriptor 3") && said.contains("stray mark"), "{said}");
        fs::remove_dir_all(directory).expect("remove");
    }
}

fn a_program_executed_in_place_keeps_its_pid_and_loses_nothing() {
    let server = Server::start("re-exec", &["re-exec"]);
    server.wait_for("serves version 1");
    let load = Load::start(server.address);
    let mut slow = TcpStream::connect(server.address).expect("connect");
    slow.write_all(b"GET /slow?ms=300 HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
    // Taken, before whoever asks later is answered.
    let _version = version_at(server.address);
    for number in 2..5 {
        install(&server.directory, number);
        server.signal(Signal::HUP);
        server.wait_for(&format!("serves version {number}"));
        load.wait_for(4);
    }
    assert_eq!(version_of(&answer(&mut slow).expect("whole")), 1);
    assert_eq!((server.main(), version_at(server.address)), (server.first, 4));
    load.finish();
    server.stop();
}

fn what_cannot_be_executed_changes_nothing() {
    let server = Server::start("unexecutable", &["re-exec"]);
    server.wait_for("serves version 1");
    // Seen before anything is given up; only by trying; and nothing there at all.
    for (content, mode) in [("#!/bin/sh\n", 0o644), ("garbage", 0o755)] {
        server.deploy(content.as_bytes(), mode);
        server.signal(Signal::HUP);
        server.wait_for("upgrade failed, serves on");
        assert_eq!((server.main(), version_at(server.address)), (server.first, 1));
    }
    fs::remove_file(server.directory.join("unbroken-reference")).expect("remove");
    server.signal(Signal::HUP);
    server.wait_for("upgrade failed, serves on");
    install(&server.directory, 2);
    server.signal(Signal::HUP);
    server.wait_for("serves version 2");
    server.stop();
}

fn a_stop_during_the_drain_for_an_upgrade_is_a_stop() {
    let server = Server::start("stop-for-upgrade", &["re-exec"]);
    server.wait_for("serves version 1");
    let mut slow = TcpStream::connect(server.address).expect("connect");
    slow.write_all(b"GET /slow?ms=400 HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
    let _version = version_at(server.address);
    install(&server.directory, 2);
    server.signal(Signal::HUP);
    server.wait_for("told to upgrade, draining");
    server.signal(Signal::TERM);
    assert_eq!(version_of(&answer(&mut slow).expect("whole")), 1);
    drop(slow);
    server.wait_for("stopped");
    assert_eq!(ended(server.first), Some(0));
    assert!(!server.directory.join("pid").exists());
}

fn main() {
    unbroken_reference::run_if_asked();
    set_child_subreaper(Some(rustix::process::getpid())).expect("a reaper");
    let tests: [(&str, fn()); 12] = [
        (
            "a_takeover_under_load_loses_nothing_and_moves_the_pidfile",
            a_takeover_under_load_loses_nothing_and_moves_the_pidfile,
        ),
        ("a_changed_file_is_taken_over_once", a_changed_file_is_taken_over_once),
        (
            "a_successor_that_fails_in_any_way_is_given_up_and_a_good_one_follows",
            a_successor_that_fails_in_any_way_is_given_up_and_a_good_one_follows,
        ),
        ("what_is_asked_for_during_an_upgrade_is_one_more", what_is_asked_for_during_an_upgrade_is_one_more),
        ("a_stop_gives_up_the_upgrade_that_is_under_way", a_stop_gives_up_the_upgrade_that_is_under_way),
        ("a_stop_during_the_first_start_ends_it", a_stop_during_the_first_start_ends_it),
        ("a_successor_whose_predecessor_is_killed_takes_over", a_successor_whose_predecessor_is_killed_takes_over),
        (
            "a_supervisor_hears_of_its_new_main_process_from_the_old_one",
            a_supervisor_hears_of_its_new_main_process_from_the_old_one,
        ),
        ("a_false_mark_is_refused", a_false_mark_is_refused),
        (
            "a_program_executed_in_place_keeps_its_pid_and_loses_nothing",
            a_program_executed_in_place_keeps_its_pid_and_loses_nothing,
        ),
        ("what_cannot_be_executed_changes_nothing", what_cannot_be_executed_changes_nothing),
        ("a_stop_during_the_drain_for_an_upgrade_is_a_stop", a_stop_during_the_drain_for_an_upgrade_is_a_stop),
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

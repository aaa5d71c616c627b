//! The real `orphan`: what its launcher says when it returns, and what is there then.
//!
//! The test executes itself as `unbroken-reference`; its daemons are ended by their pidfiles.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_child_subreaper, waitid};
use rustix::process::{WaitId, WaitIdOptions};
use unbroken_reference::daemon::{self, Manner};
use unbroken_reference::defect::Defect;

/// Far beyond what anything here takes; reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(20);

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("unbroken-orphan-{}-{name}", std::process::id()));
    fs::create_dir(&path).expect("a fresh directory");
    path
}

/// Launches in this directory and waits for the launcher; its output ends only when nobody holds it any more.
fn launch(directory: &Path, address: SocketAddr, arguments: &[&str]) -> Output {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("unbroken-reference").arg("orphan").current_dir(directory).stdin(Stdio::null());
    command.args(["--address", &address.to_string()]).args(arguments);
    command.output().expect("launch")
}

/// An address that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port to spare")
}

fn daemon(directory: &Path) -> Pid {
    let content = fs::read_to_string(directory.join("child_process.pid")).expect("a pidfile");
    let number = content.strip_suffix('\n').expect("a line").parse().expect("a number");
    Pid::from_raw(number).expect("not zero")
}

/// Stops the daemon, which this process has adopted, and tells its exit status.
fn stop(daemon: Pid) -> Option<i32> {
    kill_process(daemon, Signal::TERM).expect("it lives: it has not been waited for");
    waitid(WaitId::Pid(daemon), WaitIdOptions::EXITED).expect("it was adopted").and_then(|status| status.exit_status())
}

fn a_daemon_is_there_when_its_launcher_returns() {
    let (directory, address) = (scratch("starts"), free());
    let launched = launch(&directory, address, &[]);
    assert!(launched.status.success(), "{launched:?}");
    assert!(launched.stdout.is_empty() && launched.stderr.is_empty(), "{launched:?}");
    let daemon = daemon(&directory);
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /?a=1 HTTP/1.1\r\nConnection: close\r\n\r\n").expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    assert!(answer.ends_with("hello world\n"), "{answer}");
    assert_eq!(fs::read_link(format!("/proc/{daemon}/cwd")).expect("it is ours"), Path::new("/"));

    for address in [address, free()] {
        let again = launch(&directory, address, &[]);
        assert_eq!(again.status.code(), Some(1));
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(said.contains(&format!("already running, pid {daemon}")), "{said}");
    }
    let beside = launch(&directory, address, &["--pidfile", "other.pid"]);
    assert_eq!(beside.status.code(), Some(1));
    let said = String::from_utf8_lossy(&beside.stderr).into_owned();
    assert!(said.contains("failed to listen on"), "{said}");
    assert_eq!(self::daemon(&directory), daemon);
    let mut left: Vec<_> = fs::read_dir(&directory).expect("list").map(|it| it.expect("entry").file_name()).collect();
    left.sort();
    assert_eq!(left, ["child_process.log", "child_process.pid"], "what a failed start claimed is given back");

    fs::rename(directory.join("child_process.log"), directory.join("rotated")).expect("rename");
    kill_process(daemon, Signal::HUP).expect("it lives");
    let patience = Instant::now() + DEADLINE;
    while !directory.join("child_process.log").exists() {
        assert!(Instant::now() < patience, "the log was not opened anew");
        std::thread::yield_now();
    }
    assert_eq!(stop(daemon), Some(0));
    let log = fs::read_to_string(directory.join("rotated")).expect("a log");
    assert!(log.contains("daemon GET /?a=1\n"), "{log}");
    assert!(!directory.join("child_process.pid").exists());
    fs::remove_dir_all(directory).expect("remove");
}

fn a_pidfile_that_cannot_be_written_is_a_failure_that_leaves_nothing() {
    let (directory, address) = (scratch("unwritable"), free());
    let launched = launch(&directory, address, &["--pidfile", "no/such/directory/pid"]);
    assert_eq!(launched.status.code(), Some(1));
    let said = String::from_utf8_lossy(&launched.stderr).into_owned();
    assert!(said.contains("write pidfile"), "{said}");
    assert!(TcpStream::connect(address).is_err());
    fs::remove_dir_all(directory).expect("remove");
}

/// Becomes a daemon in a child of its own and opens a terminal there; its controlling terminal then (field 7 of
/// `/proc/self/stat`), "0" for none.
fn terminal_of_a_daemon(name: &str, defect: Option<Defect>) -> String {
    let directory = scratch(name);
    let manner =
        Manner { directory: PathBuf::from("/"), umask: 0o27, log: directory.join("log"), patience: DEADLINE, defect };
    // SAFETY: this process has one thread.
    let launcher = unsafe { libc::fork() };
    if launcher == 0 {
        let daemon = daemon::become_daemon(&manner).expect("the launcher exits inside");
        daemon::open_terminal().expect("a terminal");
        let stat = fs::read_to_string("/proc/self/stat").expect("proc");
        let tty = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(4)).expect("field 7").to_owned();
        fs::write(directory.join("tty"), tty).expect("write");
        daemon.ready().expect("the launcher waits");
        std::process::exit(0);
    }
    let launcher = Pid::from_raw(launcher).expect("a child");
    let status = waitid(WaitId::Pid(launcher), WaitIdOptions::EXITED).expect("it is ours").expect("it exits");
    assert_eq!(status.exit_status(), Some(0));
    let tty = fs::read_to_string(directory.join("tty")).expect("it was written before the launcher returned");
    fs::remove_dir_all(directory).expect("remove");
    tty
}

fn no_terminal_that_it_opens_becomes_its_own_unless_it_leads_its_session() {
    assert_eq!(terminal_of_a_daemon("tty", None), "0");
    assert_ne!(terminal_of_a_daemon("tty-leader", Some(Defect::CannotAcquireTty)), "0");
}

fn main() {
    unbroken_reference::run_if_asked();
    // Orphans become this process's children: it can wait for them.
    set_child_subreaper(Some(rustix::process::getpid())).expect("prctl");
    a_daemon_is_there_when_its_launcher_returns();
    a_pidfile_that_cannot_be_written_is_a_failure_that_leaves_nothing();
    no_terminal_that_it_opens_becomes_its_own_unless_it_leads_its_session();
    let _ = writeln!(std::io::stdout(), "3 passed");
}

//! The real `orphan`: what its launcher says when it returns, and what is there then.
//!
//! The test executes itself as `unbroken-reference`; its daemons are ended by their pidfiles.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_child_subreaper, waitid};
use rustix::process::{WaitId, WaitIdOptions};
use unbroken_reference::daemon::{self, Manner};
use unbroken_reference::defect::Defect;
use unbroken_reference::environment::Environment;

/// Far beyond what anything here takes; reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(20);

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("unbroken-orphan-{}-{name}", std::process::id()));
    fs::create_dir(&path).expect("a fresh directory");
    path
}

fn orphan(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("unbroken-reference").arg("orphan").args(arguments).current_dir(directory).stdin(Stdio::null());
    command
}

/// Launches in this directory and waits for the launcher; its output ends only when nobody holds it any more.
fn launch(directory: &Path, address: SocketAddr, arguments: &[&str]) -> Output {
    orphan(directory, arguments).args(["--address", &address.to_string()]).output().expect("launch")
}

/// Exit code and standard output of an action.
fn act(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = orphan(directory, arguments).output().expect("run");
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
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
    until(|| directory.join("child_process.log").exists());
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

/// Becomes a daemon in a child of its own and asks it something there.
fn of_a_daemon(name: &str, change: impl FnOnce(&mut Manner), ask: impl FnOnce() -> String) -> String {
    let directory = scratch(name);
    let mut manner = Manner { patience: DEADLINE, ..Manner::logging_to(&directory.join("log")) };
    change(&mut manner);
    // SAFETY: this process has one thread.
    let launcher = unsafe { libc::fork() };
    if launcher == 0 {
        let daemon = daemon::become_daemon(&manner).expect("the launcher exits inside");
        fs::write(directory.join("answer"), ask()).expect("write");
        daemon.ready().expect("the launcher waits");
        std::process::exit(0);
    }
    let launcher = Pid::from_raw(launcher).expect("a child");
    let status = waitid(WaitId::Pid(launcher), WaitIdOptions::EXITED).expect("it is ours").expect("it exits");
    assert_eq!(status.exit_status(), Some(0));
    let answer = fs::read_to_string(directory.join("answer")).expect("it was written before the launcher returned");
    fs::remove_dir_all(directory).expect("remove");
    answer
}

/// The controlling terminal (field 7 of `/proc/self/stat`, "0" for none) of a daemon that has opened one.
fn terminal_of_a_daemon(name: &str, defect: Option<Defect>) -> String {
    of_a_daemon(
        name,
        |manner| manner.defect = defect,
        || {
            daemon::open_terminal().expect("a terminal");
            let stat = fs::read_to_string("/proc/self/stat").expect("proc");
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(4)).expect("field 7").to_owned()
        },
    )
}

/// What a program gets that the daemon executes.
fn environment_and_umask_are_what_was_said_also_when_that_is_nothing() {
    let environment = |name: &str, environment: Environment| {
        let umask = |manner: &mut Manner| (manner.environment, manner.umask) = (environment, 0);
        of_a_daemon(name, umask, || {
            let output = Command::new("/bin/sh").args(["-c", "umask; exec env"]).output().expect("run");
            String::from_utf8(output.stdout).expect("text")
        })
    };
    // A shell sets some of its own.
    let own = |line: &&str| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|name| line.starts_with(name));
    let empty = environment("environment-empty", Environment::empty());
    assert_eq!(empty.lines().filter(own).collect::<Vec<_>>(), ["0000"]);
    let one = environment("environment-one", Environment::empty().with("A".as_ref(), "b c".as_ref()));
    assert_eq!(one.lines().filter(own).collect::<Vec<_>>(), ["0000", "A=b c"]);
}

/// A line of `/proc/PID/status`, its words.
fn status_of(daemon: Pid, name: &str) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{daemon}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.split_whitespace().map(ToOwned::to_owned).collect()
}

/// It listens, has its files, then gives up the rest; what it cannot remove is emptied.
fn a_confined_daemon_has_the_root_and_the_credentials_that_were_asked_for() {
    let directory = scratch("confined");
    fs::create_dir_all(directory.join("root/data")).expect("mkdir");
    let address = free();
    let arguments = ["--chroot", "root", "--directory", "/data", "--user", "65534", "--group", "65533"];
    let modes = ["--pidfile-mode", "600", "--log-mode", "660"];
    let launched = launch(&directory, address, &[&arguments[..], &modes].concat());
    assert!(launched.status.success(), "{launched:?}");
    let daemon = daemon(&directory);
    assert_eq!(status_of(daemon, "Uid:"), ["65534"; 4]);
    assert_eq!(status_of(daemon, "Gid:"), ["65533"; 4]);
    assert_eq!(status_of(daemon, "Groups:").iter().filter(|group| *group != "65534").collect::<Vec<_>>(), ["65533"]);
    let root = directory.join("root").canonicalize().expect("it is there");
    assert_eq!(fs::read_link(format!("/proc/{daemon}/root")).expect("root may look"), root);
    assert_eq!(fs::read_link(format!("/proc/{daemon}/cwd")).expect("root may look"), root.join("data"));
    let of = |name: &str| fs::metadata(directory.join(name)).expect("it is there");
    let (pidfile, log) = (of("child_process.pid"), of("child_process.log"));
    assert_eq!((pidfile.mode() & 0o7777, pidfile.uid()), (0o600, 0), "whoever may write it names whom a stop signals");
    assert_eq!((log.mode() & 0o7777, log.uid(), log.gid()), (0o660, 65534, 65533));
    TcpStream::connect(address).expect("it listens");
    assert_eq!(stop(daemon), Some(0));
    assert_eq!(fs::read(directory.join("child_process.pid")).expect("it cannot be removed"), b"");
    let again = launch(&directory, address, &[]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(stop(self::daemon(&directory)), Some(0));
    assert!(!directory.join("child_process.pid").exists());
    fs::remove_dir_all(directory).expect("remove");
}

/// Inside its root, and its own, both files stay in reach.
fn files_inside_the_root_can_be_opened_anew_and_removed() {
    let directory = scratch("confined-inside");
    fs::create_dir_all(directory.join("root/run")).expect("mkdir");
    std::os::unix::fs::chown(directory.join("root/run"), Some(65534), Some(65534)).expect("chown");
    let files = ["--pidfile", "root/run/pid", "--log", "root/run/log"];
    let launched = launch(
        &directory,
        free(),
        &[&["--chroot", "root", "--user", "65534", "--group", "65534"], &files[..]].concat(),
    );
    assert!(launched.status.success(), "{launched:?}");
    let run = directory.join("root/run");
    let daemon = fs::read_to_string(run.join("pid")).expect("a pidfile").trim().parse().ok().and_then(Pid::from_raw);
    let daemon = daemon.expect("a number");
    fs::rename(run.join("log"), run.join("rotated")).expect("rename");
    kill_process(daemon, Signal::HUP).expect("it lives");
    until(|| run.join("log").exists());
    assert_eq!(stop(daemon), Some(0));
    assert!(!run.join("pid").exists());
    fs::remove_dir_all(directory).expect("remove");
}

fn a_confinement_that_fails_is_reported_and_leaves_nothing() {
    let directory = scratch("unconfined");
    fs::create_dir(directory.join("root")).expect("mkdir");
    let check = |arguments: &[&str], reason: &str| {
        let launched = launch(&directory, free(), arguments);
        assert_eq!(launched.status.code(), Some(1), "{launched:?}");
        let said = String::from_utf8_lossy(&launched.stderr).into_owned();
        assert!(said.contains(reason), "{said}");
        assert!(!directory.join("child_process.pid").exists(), "{reason}");
    };
    check(&["--user", "no-such-user"], "become user no-such-user: no such user");
    check(&["--chroot", "none"], "find its new root");
    // Outside is where it could remove its pidfile; inside it cannot, and the launcher does.
    check(&["--chroot", "root", "--directory", "/none"], "change its directory inside its root");
    fs::remove_dir_all(directory).expect("remove");
}

fn the_actions_of_an_init_script_have_its_exit_codes() {
    let (directory, address) = (scratch("actions"), free());
    let act = |action: &str| act(&directory, &[action, "--address", &address.to_string()]);
    let not_running = (Some(3), "not running\n".to_owned());
    assert_eq!(act("status"), not_running);
    assert_eq!(act("stop").0, Some(0), "none is as good");
    assert_eq!(act("reload").0, Some(7));
    assert_eq!(act("restart").0, Some(0));
    let first = daemon(&directory);
    assert_eq!(act("status"), (Some(0), format!("running, pid {first}\n")));
    assert_eq!(act("start").0, Some(1));
    fs::rename(directory.join("child_process.log"), directory.join("rotated")).expect("rename");
    assert_eq!(act("reopen").0, Some(0));
    until(|| directory.join("child_process.log").exists());
    assert_eq!(act("restart").0, Some(0));
    let second = daemon(&directory);
    assert_ne!(first, second);
    kill_process(second, Signal::KILL).expect("it lives");
    waitid(WaitId::Pid(second), WaitIdOptions::EXITED).expect("it was adopted");
    assert_eq!(act("status").0, Some(1), "its pidfile is left");
    assert_eq!((act("stop").0, act("reopen").0), (Some(0), Some(7)));
    assert_eq!(act("start").0, Some(0));
    assert_eq!(act("stop").0, Some(0));
    assert_eq!(act("status"), not_running);
    assert!(!directory.join("child_process.pid").exists());
    assert_eq!(
        waitid(WaitId::Pid(first), WaitIdOptions::EXITED).expect("adopted").and_then(|it| it.exit_status()),
        Some(0)
    );
    fs::remove_dir_all(directory).expect("remove");
}

/// EPERM is no death, and no proof.
fn another_user_sees_a_daemon_run_and_does_not_signal_it() {
    let (directory, address) = (scratch("another-user"), free());
    assert!(launch(&directory, address, &["--user", "65534", "--group", "65534"]).status.success());
    let daemon = daemon(&directory);
    for stranger in [65534, 54321] {
        let act = |action: &str| orphan(&directory, &[action]).uid(stranger).gid(stranger).output().expect("run");
        let status = act("status");
        assert_eq!(status.status.code(), Some(0), "{status:?}");
        assert!(String::from_utf8_lossy(&status.stdout).starts_with(&format!("running, pid {daemon} (")), "{status:?}");
        assert_eq!(act("stop").status.code(), Some(4));
    }
    TcpStream::connect(address).expect("it listens");
    assert_eq!(act(&directory, &["stop"]).0, Some(0));
    assert_eq!(
        waitid(WaitId::Pid(daemon), WaitIdOptions::EXITED).expect("adopted").and_then(|it| it.exit_status()),
        Some(0)
    );
    fs::remove_dir_all(directory).expect("remove");
}

fn until(condition: impl Fn() -> bool) {
    let patience = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < patience, "it did not happen");
        std::thread::yield_now();
    }
}

fn no_terminal_that_it_opens_becomes_its_own_unless_it_leads_its_session() {
    assert_eq!(terminal_of_a_daemon("tty", None), "0");
    assert_ne!(terminal_of_a_daemon("tty-leader", Some(Defect::CannotAcquireTty)), "0");
}

/// The children of a process that its main thread has started.
fn children(pid: Pid) -> Vec<String> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it lives");
    listed.split_whitespace().map(str::to_owned).collect()
}

fn a_helper_has_nothing_of_its_daemon_and_ends_with_it() {
    let directory = scratch("helper");
    let launched = || {
        let mut command = orphan(&directory, &["--helper", "/bin/sleep infinity", "--address", &free().to_string()]);
        command.env("NOTIFY_SOCKET", "/nowhere").output().expect("launch")
    };
    assert!(launched().status.success());
    let daemon = self::daemon(&directory);
    let [helper] = <[String; 1]>::try_from(children(daemon)).expect("one helper");
    let of_helper = |what: &str| fs::read_to_string(format!("/proc/{helper}/{what}")).expect("it lives");
    until(|| of_helper("comm") == "sleep\n");
    assert!(!of_helper("environ").contains("NOTIFY_SOCKET"));
    let ignored = of_helper("status").lines().find_map(|line| line.strip_prefix("SigIgn:\t").map(str::to_owned));
    let ignored = ignored.and_then(|digits| u64::from_str_radix(&digits, 16).ok()).expect("a set of signals");
    assert_eq!(ignored & 1 << (libc::SIGPIPE - 1), 0, "{ignored:x}");
    // Its loader has a library open for a moment.
    until(|| fs::read_dir(format!("/proc/{helper}/fd")).expect("it is ours").count() == 3);
    assert_eq!(stop(daemon), Some(0));
    assert!(!Path::new("/proc").join(&helper).exists(), "it is not left behind");

    assert!(launched().status.success());
    let daemon = self::daemon(&directory);
    let helper = children(daemon).first().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw).expect("a helper");
    kill_process(helper, Signal::KILL).expect("it lives");
    until(|| children(daemon).is_empty());
    assert_eq!(stop(daemon), Some(0));
    let log = fs::read_to_string(directory.join("child_process.log")).expect("a log");
    assert!(log.contains(&format!("helper {helper} ended: signal 9")), "{log}");
    fs::remove_dir_all(directory).expect("remove");
}

/// Ends whoever a failed test leaves behind: all have been started or adopted by this process.
struct LeftBehind;

impl Drop for LeftBehind {
    fn drop(&mut self) {
        // The children of one that has gone are adopted then.
        while let Some(child) = own_children().first() {
            let _ = kill_process(*child, Signal::KILL);
            let _ = waitid(WaitId::Pid(*child), WaitIdOptions::EXITED);
        }
    }
}

/// The children of this thread, which starts all of them, and of the process that adopts orphans.
fn own_children() -> Vec<Pid> {
    let listed = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    listed.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

fn main() {
    unbroken_reference::run_if_asked();
    // Orphans become this process's children: it can wait for them.
    set_child_subreaper(Some(rustix::process::getpid())).expect("prctl");
    let _left_behind = LeftBehind;
    a_daemon_is_there_when_its_launcher_returns();
    a_pidfile_that_cannot_be_written_is_a_failure_that_leaves_nothing();
    no_terminal_that_it_opens_becomes_its_own_unless_it_leads_its_session();
    environment_and_umask_are_what_was_said_also_when_that_is_nothing();
    the_actions_of_an_init_script_have_its_exit_codes();
    a_helper_has_nothing_of_its_daemon_and_ends_with_it();
    let mut passed = 6;
    if rustix::process::geteuid().is_root() {
        a_confined_daemon_has_the_root_and_the_credentials_that_were_asked_for();
        files_inside_the_root_can_be_opened_anew_and_removed();
        a_confinement_that_fails_is_reported_and_leaves_nothing();
        another_user_sees_a_daemon_run_and_does_not_signal_it();
        passed += 4;
    }
    let _ = writeln!(std::io::stdout(), "{passed} passed; those of credentials and chroot are run by root only");
}

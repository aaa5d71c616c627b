//! Whatever happens to a pidfile, and in whatever order: at most one daemon has it, nobody else is ever signalled, nobody's file is
//! removed or overwritten, and looking changes nothing.
//!
//! A model says of each step what must come of it, and after each step the world is compared with the model. Real processes on
//! loopback; a stranger, whose pid the hostile files name, has to outlive it all. `UNBROKEN_SEED=N` repeats a run.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use unbroken_reference::poll;

/// Far beyond what anything here takes; reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// After this time no new case is begun; on a machine that is not busy all are through by then.
const BUDGET: Duration = Duration::from_secs(6);

const CASES: u32 = 256;

/// How many starts race.
const TOGETHER: usize = 3;

const PRECIOUS: &str = "precious\n";

/// What somebody leaves in the pidfile's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Dead,
    /// The stranger's.
    Reused,
    Empty,
    Zero,
    /// The stranger's, and not only a number.
    Tail,
    Negative,
    Longer,
    Link,
    Fifo,
    Directory,
}

/// What happens. Two addresses, so that an address alone does not keep a second daemon away.
#[derive(Clone, Copy, Debug)]
enum Step {
    Start(usize),
    StartTogether,
    Kill,
    Stop,
    /// The oldest is told to stop by its pid, as a supervisor would: it may have lost its file to a successor.
    EndOldest,
    Reopen,
    Status,
    Leave(Left),
}

fn step() -> impl Strategy<Value = Step> {
    use Left::{Dead, Directory, Empty, Fifo, Link, Longer, Negative, Nothing, Reused, Tail, Zero};
    let left = [Nothing, Dead, Reused, Empty, Zero, Tail, Negative, Longer, Link, Fifo, Directory];
    prop_oneof![
        5 => (0..2_usize).prop_map(Step::Start),
        1 => Just(Step::StartTogether),
        2 => Just(Step::Kill),
        3 => Just(Step::Stop),
        2 => Just(Step::EndOldest),
        1 => Just(Step::Reopen),
        2 => Just(Step::Status),
        4 => proptest::sample::select(left.to_vec()).prop_map(Step::Leave),
    ]
}

/// What the model knows of the pidfile's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Of a living daemon.
    Held(Pid),
    Left(Left),
}

/// Exit codes of the actions where no daemon holds the file: status, and reopen.
fn codes(left: Left) -> (i32, i32) {
    match left {
        Left::Nothing | Left::Empty => (3, 7),
        Left::Link | Left::Fifo | Left::Directory => (4, 1),
        Left::Dead | Left::Reused | Left::Zero | Left::Tail | Left::Negative | Left::Longer => (1, 7),
    }
}

#[derive(Debug)]
struct Daemon {
    pid: Pid,
    pidfd: OwnedFd,
    door: usize,
}

/// An address that stays ours: bound and not listening, it keeps others away from the port, and not a daemon that may reuse it.
struct Door {
    _reserved: OwnedFd,
    address: SocketAddr,
}

impl Door {
    fn reserve() -> Self {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
        sockopt::set_socket_reuseaddr(&socket, true).expect("an option");
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port to spare");
        let name = rustix::net::getsockname(&socket).expect("it is bound");
        let address = SocketAddr::try_from(name).expect("an address of the internet");
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).expect("a flag");
        Self { _reserved: socket, address }
    }
}

/// The world, and the model of it.
struct World {
    directory: PathBuf,
    doors: [Door; 2],
    /// Whom the hostile files name; nobody's daemon.
    stranger: Child,
    place: Place,
    /// Those that live, the oldest first. More than one only after somebody took the file away from one.
    daemons: Vec<Daemon>,
}

impl World {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("unbroken-any-order-{}", std::process::id()));
        fs::create_dir(&directory).expect("a fresh directory");
        fs::write(directory.join("victim"), PRECIOUS).expect("write");
        let doors = [Door::reserve(), Door::reserve()];
        let stranger = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("spawn");
        Self { directory, doors, stranger, place: Place::Left(Left::Nothing), daemons: Vec::new() }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("pid")
    }

    fn command(&self, action: &str, door: usize) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("unbroken-reference").args(["orphan", action, "--pidfile", "pid", "--log", "log"]);
        command.args(["--address", &self.doors[door].address.to_string()]).current_dir(&self.directory);
        // Far beyond what it takes, for a machine that is busy.
        command.args(["--ready-timeout-ms", "20000", "--stop-timeout-ms", "20000"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Does it, and holds what came of it against the model; the model then follows.
    fn take(&mut self, step: Step) {
        match step {
            Step::Start(door) => self.start(&[door]),
            Step::StartTogether => self.start(&std::array::from_fn::<_, TOGETHER, _>(|at| at % 2)),
            Step::Kill => self.end(self.daemons.len().checked_sub(1), Signal::KILL),
            Step::EndOldest => self.end((!self.daemons.is_empty()).then_some(0), Signal::TERM),
            Step::Stop => self.stop(),
            Step::Reopen => self.ask("reopen"),
            Step::Status => self.ask("status"),
            Step::Leave(left) => self.leave(left),
        }
        self.compare();
    }

    /// One start, or several at a time.
    fn start(&mut self, doors: &[usize]) {
        let is_free = |door: &usize| self.daemons.iter().all(|daemon| daemon.door != *door);
        let is_replaceable = match self.place {
            Place::Held(_) | Place::Left(Left::Link | Left::Fifo | Left::Directory) => false,
            Place::Left(_) => true,
        };
        let possible = is_replaceable && doors.iter().any(is_free);
        // Where one is in the way of all and then fails itself, none wins.
        let certain = is_replaceable && doors.iter().all(is_free);
        let before = snapshot(&self.path());
        let starts: Vec<Child> =
            doors.iter().map(|door| self.command("start", *door).spawn().expect("start")).collect();
        let ended: Vec<Output> = starts.into_iter().map(|start| start.wait_with_output().expect("wait")).collect();
        let winners: Vec<usize> = (0..ended.len()).filter(|at| ended[*at].status.success()).collect();
        assert!(winners.len() <= usize::from(possible) && winners.len() >= usize::from(certain), "{ended:?}");
        assert!(ended.iter().all(|it| it.status.success() || it.status.code() == Some(1) && !it.stderr.is_empty()));
        let Some(&winner) = winners.first() else {
            assert_eq!(snapshot(&self.path()), before, "a start that fails leaves everything as it was");
            return;
        };
        let content = fs::read_to_string(self.path()).expect("a pidfile when the launcher returns");
        let pid = content.strip_suffix('\n').and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        let pid = pid.unwrap_or_else(|| panic!("exactly a pid: {content:?}"));
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("it lives");
        self.daemons.push(Daemon { pid, pidfd, door: doors[winner] });
        self.place = Place::Held(pid);
    }

    /// Ends one by its pidfd.
    fn end(&mut self, at: Option<usize>, signal: Signal) {
        let Some(at) = at else { return };
        let before = snapshot(&self.path());
        let daemon = self.daemons.remove(at);
        pidfd_send_signal(&daemon.pidfd, signal).expect("it has not been waited for");
        let status = reap(&daemon.pidfd);
        assert_eq!(status, (signal == Signal::TERM).then_some(0), "{daemon:?}");
        match (self.place, signal) {
            (Place::Held(pid), Signal::TERM) if pid == daemon.pid => self.place = Place::Left(Left::Nothing),
            (place, _) => {
                assert_eq!(snapshot(&self.path()), before, "not its file, or it had no time");
                let was_its = place == Place::Held(daemon.pid);
                self.place = if was_its { Place::Left(Left::Dead) } else { place };
            }
        }
    }

    /// Ends the one that holds the file, and nobody where nobody does.
    fn stop(&mut self) {
        let before = snapshot(&self.path());
        let code = self.command("stop", 0).output().expect("run").status.code();
        match self.place {
            Place::Held(pid) => {
                assert_eq!(code, Some(0));
                let at = self.daemons.iter().position(|daemon| daemon.pid == pid).expect("it lives");
                let daemon = self.daemons.remove(at);
                assert!(has_ended(&daemon.pidfd), "it has ended when the action returns");
                assert_eq!(reap(&daemon.pidfd), Some(0));
                self.place = Place::Left(Left::Nothing);
            }
            Place::Left(left) => {
                let is_unknown = codes(left).0 == 4;
                assert_eq!(code, Some(i32::from(is_unknown)), "{left:?}");
                assert_eq!(snapshot(&self.path()), before);
            }
        }
    }

    /// What changes nothing.
    fn ask(&self, action: &str) {
        let before = snapshot(&self.path());
        let code = self.command(action, 0).output().expect("run").status.code();
        let want = match (self.place, action) {
            (Place::Held(_), _) => 0,
            (Place::Left(left), "status") => codes(left).0,
            (Place::Left(left), _) => codes(left).1,
        };
        assert_eq!(code, Some(want), "{action}, {:?}", self.place);
        assert_eq!(snapshot(&self.path()), before);
    }

    /// Puts it there instead of what is there, also if that is a living daemon's.
    fn leave(&mut self, left: Left) {
        let path = self.path();
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        let stranger = self.stranger.id();
        let write = |content: String| fs::write(&path, content).expect("write");
        match left {
            Left::Nothing => {}
            Left::Dead => write(format!("{}\n", dead())),
            Left::Reused => write(format!("{stranger}\n")),
            Left::Empty => write(String::new()),
            Left::Zero => write("0\n".to_owned()),
            Left::Tail => write(format!("{stranger}x\n")),
            Left::Negative => write(format!("-{stranger}\n")),
            Left::Longer => write(format!("{stranger}\nand more than any pid is long\n")),
            Left::Link => std::os::unix::fs::symlink("victim", &path).expect("symlink"),
            Left::Fifo => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo"),
            Left::Directory => fs::create_dir(&path).expect("mkdir"),
        }
        self.place = Place::Left(left);
    }

    /// Our children but the stranger: daemons, which this process adopts.
    fn others(&self) -> impl Iterator<Item = Pid> {
        let (own, stranger) = (std::process::id(), Pid::from_child(&self.stranger));
        let text = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).expect("proc");
        let pids: Vec<Pid> =
            text.split_whitespace().filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw)).collect();
        pids.into_iter().filter(move |pid| *pid != stranger)
    }

    /// The world is as the model says.
    fn compare(&mut self) {
        assert!(self.stranger.try_wait().expect("wait").is_none(), "nobody signals a stranger");
        for (at, door) in self.doors.iter().enumerate() {
            let is_served = self.daemons.iter().any(|daemon| daemon.door == at);
            assert_eq!(TcpStream::connect(door.address).is_ok(), is_served, "address {at}");
        }
        let is_known = |pid: &Pid| self.daemons.iter().any(|daemon| daemon.pid == *pid);
        for unknown in self.others().filter(|pid| !is_known(pid)) {
            // Of a start that failed: it told its launcher why, and is about to end.
            let pidfd = pidfd_open(unknown, PidfdFlags::empty()).expect("it has not been waited for");
            assert_eq!(reap(&pidfd), Some(1), "no daemon but those of the model");
        }
        if let Place::Held(pid) = self.place {
            assert_eq!(fs::read_to_string(self.path()).expect("it is held"), format!("{pid}\n"));
        }
        assert_eq!(fs::read_to_string(self.directory.join("victim")).expect("it is there"), PRECIOUS);
        let names = fs::read_dir(&self.directory).expect("list").map(|it| it.expect("entry").file_name());
        let strays: Vec<_> = names.filter(|name| !["pid", "log", "victim"].iter().any(|known| name == known)).collect();
        assert!(strays.is_empty(), "{strays:?}");
    }
}

impl Drop for World {
    /// Also those that the model does not know of: whoever is our child keeps its pid until we have waited for it.
    fn drop(&mut self) {
        let _ = self.stranger.kill().and_then(|()| self.stranger.wait());
        for pid in self.others() {
            if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            }
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Everything about a path that somebody could have changed, except when it was read.
fn snapshot(path: &Path) -> Option<(u64, u32, i64, i64, Vec<u8>)> {
    let it = path.symlink_metadata().ok()?;
    let bytes = if it.is_file() { fs::read(path).expect("read") } else { Vec::new() };
    Some((it.ino(), it.mode(), it.ctime(), it.ctime_nsec(), bytes))
}

/// The pid of nobody: it was somebody's a moment ago.
fn dead() -> u32 {
    let mut child = Command::new("true").spawn().expect("run");
    child.wait().expect("wait");
    child.id()
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    poll::until(&mut [poll::readable(pidfd)], Some(Instant::now())).expect("poll")
}

/// Its exit status; none for one that a signal has ended.
fn reap(pidfd: &OwnedFd) -> Option<i32> {
    let ended = poll::until(&mut [poll::readable(pidfd)], Some(Instant::now() + DEADLINE)).expect("poll");
    assert!(ended, "it does not end");
    let status = waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(pidfd)), WaitIdOptions::EXITED).expect("it was adopted");
    status.expect("it has ended").exit_status()
}

/// A run can be repeated by its seed.
fn seed() -> u64 {
    let given = std::env::var("UNBROKEN_SEED").ok().map(|seed| seed.parse().expect("UNBROKEN_SEED is a number"));
    let now = || std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_micros();
    given.unwrap_or_else(|| u64::try_from(now()).unwrap_or_default())
}

fn main() {
    unbroken_reference::run_if_asked();
    // Orphans become this process's children: it can find and wait for them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("prctl");
    let (seed, begun, cases) = (seed(), Instant::now(), Cell::new(0));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let result = runner.run(&proptest::collection::vec(step(), 1..14), |steps| {
        if begun.elapsed() < BUDGET {
            let mut world = World::new();
            steps.into_iter().for_each(|step| world.take(step));
            cases.set(cases.get() + 1);
        }
        Ok(())
    });
    let _ = writeln!(std::io::stdout(), "seed {seed}: {} cases in {:.1} s", cases.get(), begun.elapsed().as_secs_f64());
    if let Err(error) = result {
        panic!("{error}");
    }
}

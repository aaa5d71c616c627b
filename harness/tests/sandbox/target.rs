//! What the tests launch. Each kind that stays is single-threaded, and ends by itself after [`AT_MOST`]: a failed test
//! must not leave a fork bomb to the machine.

use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process, setsid};
use unbroken::kernel::pidfd::{HostPid, Pidfd};
use unbroken::wait::Stop;

/// The kinds that try to stay.
pub(crate) const LEFT_BEHIND: [&str; 5] = ["sleeper", "daemon", "stopped", "bomb", "runner"];

/// No test takes longer.
const AT_MOST: Duration = Duration::from_secs(90);

/// Plays a kind; announces itself on standard output with one line, then stays or ends.
pub(crate) fn run(kind: &str) -> ExitCode {
    match kind {
        "sleeper" => {
            say("here");
            stay()
        }
        "daemon" => daemon(),
        "stopped" => {
            // The child stops first, so that both are stopped when the line is out.
            if fork() == 0 {
                kill_process(getpid(), Signal::STOP).expect("to oneself");
                return stay();
            }
            say("here");
            kill_process(getpid(), Signal::STOP).expect("to oneself");
            stay()
        }
        "bomb" => chains(200, Duration::from_millis(100)),
        "runner" => chains(2, Duration::ZERO),
        "orphan" => orphan(),
        "describe" => describe(),
        "listen" => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
            say(&listener.local_addr().expect("it is bound").to_string());
            ExitCode::SUCCESS
        }
        "seven" => ExitCode::from(7),
        "killed" => {
            kill_process(getpid(), Signal::KILL).expect("to oneself");
            ExitCode::FAILURE
        }
        kind => panic!("an unknown kind of target: {kind}"),
    }
}

/// Forks twice, leaves its session, and ignores what could end it.
fn daemon() -> ExitCode {
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
        // SAFETY: SIG_IGN is a valid disposition.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    if fork() != 0 {
        return stay();
    }
    setsid().expect("a child leads no group");
    let between = Pidfd::open(HostPid(getpid().as_raw_nonzero().get())).expect("a descriptor is left");
    if fork() != 0 {
        return ExitCode::SUCCESS;
    }
    // Who scans after this line must not meet the process in between.
    assert!(between.wait(AT_MOST), "the process in between ends at once");
    say("here");
    stay()
}

/// Chains of processes: each member forks the next and exits after `pause`, in half of the chains leaving its session
/// every time. Many of them with a pause are a fork bomb that leaves the machine to others; few without are the hardest
/// to catch.
fn chains(count: u32, pause: Duration) -> ExitCode {
    let end = Instant::now() + AT_MOST;
    let stop = Stop::new().expect("a descriptor is left");
    for chain in 0..count {
        if fork() != 0 {
            continue;
        }
        while Instant::now() < end {
            if chain % 2 == 0 {
                // EPERM for a leader: then it has a session of its own.
                let _ = setsid();
            }
            let _ = stop.pause(pause);
            if fork() != 0 {
                return ExitCode::SUCCESS;
            }
        }
        return ExitCode::SUCCESS;
    }
    say("here");
    stay()
}

/// Its grandchild tells who adopted it.
fn orphan() -> ExitCode {
    if fork() != 0 {
        return ExitCode::SUCCESS;
    }
    let intermediate = Some(getpid());
    if fork() != 0 {
        return ExitCode::SUCCESS;
    }
    let stop = Stop::new().expect("a descriptor is left");
    while rustix::process::getppid() == intermediate {
        let _ = stop.pause(Duration::from_millis(1));
    }
    say(&rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get()).to_string());
    ExitCode::from(3)
}

/// Prints what a clean state consists of.
fn describe() -> ExitCode {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let own = ["SigBlk:", "SigIgn:", "Umask:", "NoNewPrivs:", "Groups:"];
    for line in status.lines().filter(|line| own.iter().any(|field| line.starts_with(field))) {
        say(line);
    }
    let (pid, session) = (getpid(), rustix::process::getsid(None).expect("everyone has one"));
    say(&format!("leads its session: {}", pid == session));
    // Numbers first: reading the directory takes a descriptor of its own.
    let numbers: Vec<_> =
        (0..256).filter(|number| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok()).collect();
    say(&format!("descriptors: {numbers:?}"));
    say(&format!("directory: {}", std::env::current_dir().expect("it exists").display()));
    for (name, value) in std::env::vars() {
        say(&format!("variable: {name}={value}"));
    }
    ExitCode::SUCCESS
}

fn fork() -> i32 {
    // SAFETY: these processes have one thread.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    pid
}

fn stay() -> ExitCode {
    let stop = Stop::new().expect("a descriptor is left");
    let _ = stop.pause(AT_MOST);
    ExitCode::SUCCESS
}

fn say(line: &str) {
    let mut output = std::io::stdout();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("somebody reads");
}

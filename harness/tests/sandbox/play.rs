//! The harness's part: makes a sandbox, launches, tells, and ends as it is told.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use unbroken::kernel::clock::Clock;
use unbroken::machine::Tier;
use unbroken::sandbox::{Sandbox, SandboxError, SpawnRequest, Spawned, Standing};
use unbroken::wait::Stop;

/// A launch of this executable as a target. Inside the init, `/proc/self/exe` is this executable too.
pub(crate) fn request(kind: &str) -> SpawnRequest {
    SpawnRequest {
        program: "/proc/self/exe".to_owned(),
        argv: vec!["sandbox-target".to_owned(), "target".to_owned(), kind.to_owned()],
        environment: BTreeMap::new(),
        directory: None,
        umask: 0o22,
        hold: None,
        standing: Standing::LeadsSession,
        between: false,
        first: false,
        closed: false,
        planted: Vec::new(),
        blocked: Vec::new(),
        ignored: Vec::new(),
        groups: Vec::new(),
        removes_directory: false,
    }
}

fn null() -> OwnedFd {
    File::options().read(true).write(true).open("/dev/null").expect("it exists").into()
}

/// Launches with standard output on a pipe, and hands its read end back; standard error is the test's.
pub(crate) fn launch(sandbox: &Sandbox, request: &SpawnRequest) -> Result<(Spawned, BufReader<File>), SandboxError> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("descriptors are left");
    let error = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 3).expect("standard error is open");
    let spawned = sandbox.spawn(request, [null(), write, error])?;
    Ok((spawned, BufReader::new(File::from(read))))
}

/// One line, without its end.
pub(crate) fn line(output: &mut BufReader<File>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).expect("a pipe can be read");
    line.trim_end().to_owned()
}

/// `unbroken` in small. Tells "here" on standard output once the target did, then ends by `end`.
pub(crate) fn harness(tier: Tier, kind: &str, end: &str) -> ExitCode {
    unbroken::sandbox::enter(tier, &[]).expect("the tier was probed");
    let sandbox = Sandbox::create(tier, Clock::start()).expect("the tier was probed");
    let owned = sandbox.own_directory().expect("there is a place for temporary files");
    std::fs::write(owned.join("file"), "").expect("it is our own");
    let (_spawned, mut output) = launch(&sandbox, &request(kind)).expect("this executable is executable");
    assert_eq!(line(&mut output), "here");
    let mut out = std::io::stdout();
    writeln!(out, "here").and_then(|()| out.flush()).expect("the runner reads");
    match end {
        "drop" => drop(sandbox),
        "teardown" => sandbox.teardown().expect("nothing outlives SIGKILL"),
        "exit" => std::process::exit(0),
        "panic" => panic!("as asked"),
        // To be killed. Only a failed test waits so long.
        _ => drop(Stop::new().expect("a descriptor is left").pause(Duration::from_secs(90))),
    }
    if matches!(end, "drop" | "teardown") {
        let mut status = 0;
        // SAFETY: waitpid(2) with a valid pointer.
        let child = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        assert_eq!((child, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::ECHILD)));
    }
    ExitCode::SUCCESS
}

//! What targets and the engine see of a sandbox. Each case runs in a process of its own that has entered the tier.

use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use unbroken::event::ExitStatus;
use unbroken::id::Pid;
use unbroken::kernel::clock::Clock;
use unbroken::kernel::namespace::enter_netns;
use unbroken::kernel::seccomp::{Hold, ListenHook};
use unbroken::machine::Tier;
use unbroken::sandbox::{Canary, Sandbox, SandboxError, SpawnRequest, Standing, Step};
use unbroken::target::Signal;
use unbroken::wait::readable_within;

use super::play::{launch, line, request};

/// A name, and what runs under it.
type Case = (&'static str, fn(Tier));

/// All of them.
pub(crate) const CASES: [Case; 14] = [
    ("target_starts_from_a_clean_state", clean_state),
    ("what_is_to_be_unclean_is", unclean_state),
    ("a_process_between_shows_nowhere_but_as_the_parent", between),
    ("launch_errors_are_told_apart", launch_errors),
    ("exits_arrive_with_status_and_time", exits),
    ("orphan_is_adopted_by_the_init", orphan),
    ("pid_is_opened_and_signalled", open_pid),
    ("listen_is_held_until_answered", listen),
    ("scan_shows_the_target_and_nobody_else", scan),
    ("loopback_is_the_sandboxs_own", loopback),
    ("canary_answers_and_ends", canary),
    ("sandboxes_side_by_side_do_not_keep_each_other_alive", side_by_side),
    ("end_of_the_init_is_noticed", init_ends),
    ("times", times),
];

const LIMIT: Duration = Duration::from_secs(60);

fn sandbox(tier: Tier) -> Sandbox {
    Sandbox::create(tier, Clock::start()).expect("the tier was probed")
}

fn clean_state(tier: Tier) {
    // A launcher as untidy as they come; descriptor 200 is inheritable.
    for signal in [libc::SIGHUP, libc::SIGCHLD, libc::SIGPIPE] {
        // SAFETY: SIG_IGN is a valid disposition.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    nix::sys::signal::SigSet::all().thread_block().expect("a full set can be blocked");
    // SAFETY: umask(2) and dup2(2) on an open descriptor.
    unsafe {
        libc::umask(0o777);
        libc::dup2(2, 200);
    }
    let sandbox = sandbox(tier);
    let mut wanted = request("describe");
    wanted.environment.insert("ONLY".to_owned(), "this".to_owned());
    wanted.umask = 0o27;
    wanted.directory = Some(PathBuf::from("/dev"));
    let (_, output) = launch(&sandbox, &wanted).expect("it is executable");
    let lines: Vec<String> = output.lines().map(|line| line.expect("it is text").replace('\t', " ")).collect();
    let is = |want: &str| assert!(lines.iter().any(|line| line.trim_end() == want), "{want} is not in {lines:#?}");
    is("SigBlk: 0000000000000000");
    is("Umask: 0027");
    is("leads its session: true");
    is("descriptors: [0, 1, 2]");
    is("directory: /dev");
    is("NoNewPrivs: 0");
    is("variable: ONLY=this");
    // The target is a Rust program: its own runtime ignores SIGPIPE (13), nobody else's.
    is("SigIgn: 0000000000001000");
    assert_eq!(lines.iter().filter(|line| line.starts_with("variable: ")).count(), 1, "{lines:#?}");
    let mut plain = request("");
    (plain.program, plain.argv) = ("/bin/cat".to_owned(), vec!["cat".to_owned(), "/proc/self/status".to_owned()]);
    let (_, output) = launch(&sandbox, &plain).expect("cat exists");
    let signals = output
        .lines()
        .map(|line| line.expect("it is text"))
        .filter(|line| ["SigBlk:", "SigIgn:", "SigCgt:"].iter().any(|field| line.starts_with(field)));
    let zero = "0000000000000000";
    let want = [format!("SigBlk:\t{zero}"), format!("SigIgn:\t{zero}"), format!("SigCgt:\t{zero}")];
    assert_eq!(signals.collect::<Vec<_>>(), want);
    sandbox.teardown().expect("a harness that ignores SIGCHLD can end a sandbox too");
}

/// Lines of what a program prints.
fn printed(sandbox: &Sandbox, wanted: &SpawnRequest) -> Vec<String> {
    let (_, output) = launch(sandbox, wanted).expect("it is executable");
    output.lines().map(|line| line.expect("it is text").replace('\t', " ").trim_end().to_owned()).collect()
}

fn unclean_state(tier: Tier) {
    let sandbox = sandbox(tier);
    let mut wanted = request("");
    (wanted.program, wanted.argv) = ("/bin/cat".to_owned(), vec!["cat".to_owned(), "/proc/self/status".to_owned()]);
    wanted.blocked = vec![Signal(libc::SIGTERM), Signal(libc::SIGHUP)];
    wanted.ignored = vec![Signal(libc::SIGCHLD)];
    let lines = printed(&sandbox, &wanted);
    for want in ["SigBlk: 0000000000004001", "SigIgn: 0000000000010000"] {
        assert!(lines.iter().any(|line| line == want), "{want} is not in {lines:#?}");
    }
    for (standing, between) in [(Standing::LeadsGroup, false), (Standing::LeadsNothing, true)] {
        let wanted = SpawnRequest { standing, between, ..request("describe") };
        let lines = printed(&sandbox, &wanted);
        assert!(lines.iter().any(|line| line == "leads its session: false"), "{standing:?}: {lines:#?}");
    }
    let directory = std::env::temp_dir().join(format!("unbroken-removed-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("a fresh directory");
    let mut wanted = request("");
    (wanted.program, wanted.argv) = ("readlink".to_owned(), vec!["readlink".to_owned(), "/proc/self/cwd".to_owned()]);
    (wanted.directory, wanted.removes_directory) = (Some(directory.clone()), true);
    assert_eq!(printed(&sandbox, &wanted), [format!("{} (deleted)", directory.display())]);
    assert!(!directory.exists());
}

fn between(tier: Tier) {
    let sandbox = sandbox(tier);
    let exits = sandbox.take_exits();
    let mut wanted = SpawnRequest { between: true, ..request("no-such-program") };
    wanted.program = "/no/such/program".to_owned();
    assert!(matches!(launch(&sandbox, &wanted), Err(SandboxError::Launch { step: Step::Exec, .. })));
    for (kind, status) in [("seven", ExitStatus::Code(7)), ("killed", ExitStatus::Signal(libc::SIGKILL))] {
        let wanted = SpawnRequest { between: true, ..request(kind) };
        let (spawned, mut output) = launch(&sandbox, &wanted).expect("it is executable");
        // The first exit that is told of is this one's: not that of the launch that failed, and of nobody between.
        let exit = exits.recv_timeout(LIMIT).expect("it exits");
        assert_eq!((exit.pid, exit.status), (spawned.pid, status));
        assert_eq!(line(&mut output), "", "nobody else holds its output");
        assert_eq!(sandbox.procfs().scan().expect("readable").iter().filter(|stat| !stat.is_dead()).count(), 0);
    }
    let wanted = SpawnRequest { between: true, ..request("sleeper") };
    let (spawned, mut output) = launch(&sandbox, &wanted).expect("it is executable");
    assert_eq!(line(&mut output), "here");
    let stat = sandbox.procfs().stat(spawned.pid).expect("readable").expect("it lives");
    assert_ne!(stat.ppid, sandbox.init_pid());
    assert_eq!((stat.session, spawned.session), (spawned.pid, spawned.pid));
}

fn launch_errors(tier: Tier) {
    let sandbox = sandbox(tier);
    let exits = sandbox.take_exits();
    let fails = |change: &dyn Fn(&mut unbroken::sandbox::SpawnRequest)| {
        let mut wanted = request("seven");
        change(&mut wanted);
        match launch(&sandbox, &wanted) {
            Err(SandboxError::Launch { step, source, .. }) => (step, source.raw_os_error().expect("an errno")),
            other => panic!("{other:?} for {wanted:?}"),
        }
    };
    assert_eq!(fails(&|wanted| wanted.program = "/no/such/program".into()), (Step::Exec, libc::ENOENT));
    assert_eq!(fails(&|wanted| wanted.program = "no-such-program".into()), (Step::Exec, libc::ENOENT));
    assert_eq!(fails(&|wanted| wanted.program = "/etc/passwd".into()), (Step::Exec, libc::EACCES));
    assert_eq!(fails(&|wanted| wanted.directory = Some("/no/such".into())), (Step::Directory, libc::ENOENT));
    assert_eq!(fails(&|wanted| wanted.argv.push("\0".into())), (Step::Arguments, libc::EINVAL));
    let on_path = |wanted: &mut unbroken::sandbox::SpawnRequest, path: &str| {
        wanted.program = "passwd".into();
        wanted.environment.insert("PATH".into(), path.into());
    };
    assert_eq!(fails(&|wanted| on_path(wanted, "/no/such:/etc:/dev/null")), (Step::Exec, libc::EACCES));
    let mut found = request("");
    (found.program, found.argv) = ("sh".into(), vec!["sh".into(), "-c".into(), "exit 9".into()]);
    let (spawned, _) = launch(&sandbox, &found).expect("sh is on the default path");
    // The failed launches left no exit behind: the first to be told is this one's.
    let exit = exits.recv_timeout(LIMIT).expect("it exits");
    assert_eq!((exit.pid, exit.status), (spawned.pid, ExitStatus::Code(9)));
}

fn exits(tier: Tier) {
    let clock = Clock::start();
    let sandbox = Sandbox::create(tier, clock).expect("the tier was probed");
    let exits = sandbox.take_exits();
    for (kind, want) in [("seven", ExitStatus::Code(7)), ("killed", ExitStatus::Signal(libc::SIGKILL))] {
        let before = clock.now();
        let (spawned, _) = launch(&sandbox, &request(kind)).expect("it is executable");
        let exit = exits.recv_timeout(LIMIT).expect("it exits");
        assert_eq!((exit.pid, exit.status), (spawned.pid, want));
        assert!(before < exit.at && exit.at <= clock.now());
        assert!(spawned.pidfd.has_exited());
        assert!(spawned.pidfd.exit_info().is_none_or(|status| status == want));
    }
    sandbox.teardown().expect("nothing is left");
    assert!(exits.recv().is_err(), "the account ends with the world");
}

fn orphan(tier: Tier) {
    let sandbox = sandbox(tier);
    let exits = sandbox.take_exits();
    let (_, mut output) = launch(&sandbox, &request("orphan")).expect("it is executable");
    assert_eq!(line(&mut output), sandbox.init_pid().to_string());
    assert_eq!(sandbox.init_pid() == Pid(1), tier.isolates_processes());
    let mut statuses: Vec<_> = (0..3).map(|_| exits.recv_timeout(LIMIT).expect("three end").status).collect();
    statuses.sort_by_key(|status| format!("{status:?}"));
    assert_eq!(statuses, [ExitStatus::Code(0), ExitStatus::Code(0), ExitStatus::Code(3)]);
}

fn open_pid(tier: Tier) {
    let sandbox = sandbox(tier);
    let exits = sandbox.take_exits();
    let (spawned, mut output) = launch(&sandbox, &request("sleeper")).expect("it is executable");
    assert_eq!(line(&mut output), "here");
    let pidfd = sandbox.open_pid(spawned.pid).expect("it lives");
    pidfd.send_signal(Signal(libc::SIGUSR1)).expect("it lives");
    assert!(pidfd.wait(LIMIT));
    assert_eq!(exits.recv_timeout(LIMIT).expect("it exits").status, ExitStatus::Signal(libc::SIGUSR1));
    assert!(matches!(sandbox.open_pid(spawned.pid), Err(SandboxError::NoSuchProcess(pid)) if pid == spawned.pid));
}

fn listen(tier: Tier) {
    let sandbox = sandbox(tier);
    let mut wanted = request("listen");
    wanted.hold = Some(Hold::Listen);
    let (spawned, mut output) = launch(&sandbox, &wanted).expect("it is executable");
    let hook = ListenHook::from(spawned.hook.expect("it was asked for"));
    assert!(readable_within(hook.as_fd(), LIMIT));
    let held = hook.receive().expect("it is readable").expect("a call is held");
    let caller = hook.caller(&held).expect("it stands still");
    assert_eq!(caller.inner, spawned.pid);
    let socket = hook.socket(&held, caller).expect("it stands still");
    let address = socket.address().expect("a socket").expect("IPv4").to_string();
    assert!(!socket.listening().expect("a socket"));
    assert!(!readable_within(output.get_ref().as_fd(), Duration::ZERO), "it went on before the answer");
    drop(socket);
    hook.answer_continue(held.id).expect("it stands still");
    assert_eq!(line(&mut output), address);
    assert!(spawned.pidfd.wait(LIMIT));
}

fn scan(tier: Tier) {
    let sandbox = sandbox(tier);
    assert_eq!(sandbox.procfs().scan().expect("readable"), []);
    let (first, mut output) = launch(&sandbox, &request("sleeper")).expect("it is executable");
    assert_eq!(line(&mut output), "here");
    let (second, mut other) = launch(&sandbox, &request("daemon")).expect("it is executable");
    assert_eq!(line(&mut other), "here");
    let stats = sandbox.procfs().scan().expect("readable");
    let living: Vec<_> = stats.iter().filter(|stat| !stat.is_dead()).collect();
    assert!(living.iter().any(|stat| stat.image.pid == first.pid && stat.ppid == sandbox.init_pid()), "{stats:?}");
    assert!(living.iter().any(|stat| stat.image.pid == second.pid), "{stats:?}");
    assert_eq!(living.len(), 3, "{stats:?}");
    let command = sandbox.procfs().command_line(first.pid).expect("readable");
    assert_eq!(command, Some(request("sleeper").argv));
    let executable = sandbox.procfs().executable(first.pid).expect("readable").expect("it lives");
    assert_eq!(executable, std::env::current_exe().expect("it has a path").to_string_lossy());
    let descriptors = sandbox.procfs().descriptors(first.pid).expect("readable");
    assert_eq!(descriptors.iter().map(|one| one.number).filter(|number| *number < 3).count(), 3, "{descriptors:?}");
}

fn loopback(tier: Tier) {
    let (one, two) = (sandbox(tier), sandbox(tier));
    assert_eq!(one.netns().is_some(), tier.isolates_network());
    let (Some(netns), Some(other)) = (one.netns(), two.netns()) else { return };
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            enter_netns(netns).expect("we made it");
            let listener = TcpListener::bind("127.0.0.1:80").expect("the port is free in a namespace of its own");
            TcpStream::connect("127.0.0.1:80").expect("loopback is up");
            enter_netns(other).expect("we made it");
            let _same_port = TcpListener::bind("127.0.0.1:80").expect("the port is free in the other one too");
            drop(listener);
        });
        inside.join().expect("the thread does not panic");
    });
}

fn canary(tier: Tier) {
    let canary = Canary::spawn(tier).expect("the tier was probed");
    assert_eq!(canary.netns().is_some(), tier.isolates_network());
    let ask = |id: u32| {
        let mut stream = TcpStream::connect(canary.address()).expect("it listens");
        write!(stream, "GET / HTTP/1.1\r\nHost: canary\r\nX-Request-Id: {id}\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it closes in order");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(&format!("X-Request-Id: {id}\r\n")), "{answer}");
    };
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            canary.netns().map(enter_netns).transpose().expect("we made it");
            let _silent = TcpStream::connect(canary.address()).expect("it listens");
            let began = Instant::now();
            (0..100).for_each(ask);
            say(&format!("{} µs per request", began.elapsed().as_micros() / 100));
        });
        client.join().expect("the thread does not panic");
    });
}

fn side_by_side(tier: Tier) {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let sandbox = sandbox(tier);
                    let (_, mut output) = launch(&sandbox, &request("sleeper")).expect("it is executable");
                    assert_eq!(line(&mut output), "here");
                    sandbox.teardown().expect("it ends");
                    // The only write end was the target's.
                    assert_eq!(line(&mut output), "");
                }
            });
        }
    });
    // A descriptor of one kept by another would make it wait for the other's end, or for ever.
    assert!(began.elapsed() < LIMIT);
}

fn init_ends(tier: Tier) {
    let sandbox = sandbox(tier);
    let (spawned, mut output) = launch(&sandbox, &request("sleeper")).expect("it is executable");
    assert_eq!(line(&mut output), "here");
    sandbox.open_pid(sandbox.init_pid()).expect("it lives").send_signal(Signal(libc::SIGKILL)).expect("it lives");
    assert!(spawned.pidfd.wait(LIMIT), "the target ends with its init");
    let refused = launch(&sandbox, &request("sleeper")).map(|_| ());
    assert!(matches!(refused, Err(SandboxError::Ended)), "{refused:?}");
    sandbox.teardown().expect("there is nothing left to end");
}

/// Not a test of speed: tells what things cost here.
fn times(tier: Tier) {
    let mut spent = [Duration::ZERO; 6];
    let rounds = 20;
    for _ in 0..rounds {
        let mut began = Instant::now();
        let mut lap = |slot: usize| {
            spent[slot] += began.elapsed();
            began = Instant::now();
        };
        let sandbox = sandbox(tier);
        lap(0);
        let mut targets: Vec<_> = (0..10).map(|_| launch(&sandbox, &request("sleeper")).expect("executable")).collect();
        lap(1);
        for (_, output) in &mut targets {
            assert_eq!(line(output), "here");
        }
        // The first look makes the kernel's entries for each process; an observer looks again and again.
        assert_eq!(sandbox.procfs().scan().expect("readable").len(), 10);
        lap(5);
        assert_eq!(sandbox.procfs().scan().expect("readable").len(), 10);
        lap(2);
        sandbox.open_pid(targets[0].0.pid).ok();
        lap(3);
        sandbox.teardown().expect("it ends");
        lap(4);
    }
    let [create, spawn, scan, open, teardown, _] = spent.map(|spent| spent.as_micros() / rounds);
    say(&format!("µs: create {create}, spawn {}, scan of 10 {scan}, open {open}, teardown {teardown}", spawn / 10));
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("the runner reads");
}

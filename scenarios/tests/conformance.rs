//! Target × scenario as named tests, on the machine's best tier (or `UNBROKEN_TIER`): first all restarts, three at a time on two processors,
//! then what knows no load, eight at a time. The two do not mix: beside even one or two of the latter a load lacks processors now and then,
//! and of three suites that ran them so none passed.
//!
//! What this machine lacks is ignored with the command that would install it, and fails under `UNBROKEN_REQUIRE_ALL=1`. What cannot be
//! told because processors were lacking is told in the end; it fails where it is more than one test in a hundred.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use unbroken::catalogue::Catalogue;
use unbroken::expectation::{Expectation, ExpectationKind};
use unbroken::machine::{Machine, Tier};
use unbroken::manifest::{Profile, Program, Role};
use unbroken::plan::{NotRun, Plan};
use unbroken::run::Builds;
use unbroken::scenario::Scenario;
use unbroken::summary::Exit;
use unbroken::target::Target;
use unbroken::verify::{Request, Subject, verify};
use unbroken::wait::Stop;
use unbroken::{report, run, selftest};

fn main() -> ExitCode {
    unbroken::run_if_asked();
    unbroken_reference::run_if_asked();
    let arguments = Arguments::from_args();
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("runs");
    let tier = std::env::var("UNBROKEN_TIER").ok().map(|text| match text.as_str() {
        "A" => Tier::A,
        "B" => Tier::B,
        "C" => Tier::C,
        other => panic!("UNBROKEN_TIER={other}: must be A, B or C"),
    });
    let catalogue = Catalogue::embedded();
    std::fs::create_dir_all(&directory).expect("the target directory is writable");
    // The examples need it, and are no part of the catalogue.
    let python = Program { program: "python3".to_owned(), install: "apt-get install -y python3".to_owned() };
    let programs = catalogue.programs().chain([&python]);
    let machine = run::machine::prepare(tier, programs, std::slice::from_ref(&directory)).expect("the tier works here");
    let threads = threads(&machine);
    let at_once = |threads: usize| Arguments { test_threads: Some(threads), ..arguments.clone() };
    let with = With { builds: Arc::new(Builds::below(&directory)), machine, directory };
    let Trials { restarts, others } = trials(&catalogue, &with);
    let restarts = libtest_mimic::run(&at_once(threads.restarts), restarts);
    let others = libtest_mimic::run(&at_once(threads.others), others);
    let failed = restarts.has_failed() || others.has_failed();
    let decided = enough_is_decided(restarts.num_passed + others.num_passed);
    if failed || !decided { ExitCode::from(101) } else { ExitCode::SUCCESS }
}

/// What could not be told, each with the reason.
static UNDECIDED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Neighbours on a shared machine take processors from single tests; beside a processor hog none of 500 was undecided. Where more
/// than one in a hundred is, something else is wrong, or nothing can be told here.
fn enough_is_decided(passed: u64) -> bool {
    let undecided = UNDECIDED.lock().unwrap_or_else(PoisonError::into_inner);
    for text in undecided.iter() {
        // Who cannot be told reads the exit status.
        let _ = writeln!(std::io::stderr(), "undecided, processors were lacking: {text}");
    }
    undecided.len() as u64 * 100 <= passed
}

fn undecided(text: String) -> Result<(), Failed> {
    UNDECIDED.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    Ok(())
}

/// How many tests run at a time.
struct Threads {
    restarts: usize,
    others: usize,
}

/// Four under load change no verdict (`selftest --jobs 4`, docs/results). Three leave a quarter of the processors idle where tests are
/// optimised a little, and take 250 s where two took 340. The others wait most of their time: for a deadline, a supervisor's pause, what never
/// comes. In tier C all have one network, and some the same port.
fn threads(machine: &Machine) -> Threads {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(2);
    let (restarts, others) = if machine.tier == Tier::C { (1, 1) } else { (processors + 1, 4 * processors) };
    Threads { restarts, others }
}

/// Whatever this machine lacks is a failure.
fn is_everything_required() -> bool {
    std::env::var_os("UNBROKEN_REQUIRE_ALL").is_some_and(|it| it == "1")
}

/// What every test runs with.
#[derive(Clone)]
struct With {
    machine: Machine,
    directory: PathBuf,
    builds: Arc<Builds>,
}

/// The tests.
struct Trials {
    /// Those under load.
    restarts: Vec<Trial>,
    /// All others.
    others: Vec<Trial>,
}

fn trials(catalogue: &Catalogue, with: &With) -> Trials {
    let require_all = is_everything_required();
    let (mut restarts, mut others) = (examples(with, require_all), Vec::new());
    for target in catalogue.targets.iter().filter(|target| target.role != Role::Null) {
        for scenario in catalogue.scenarios.iter().filter(|scenario| scenario.script().core) {
            let name = format!("{} · {}", target.name, scenario.script().name);
            let trials = if scenario.script().profile == Profile::Restart { &mut restarts } else { &mut others };
            match Plan::new(target, scenario, &with.machine, 1) {
                Err(NotRun::Unsupported { .. }) => {}
                Err(NotRun::Unavailable { reason, remedy }) => {
                    let text = format!("{reason}: {remedy}");
                    let ignored_name = format!("{name} (unavailable: {text})");
                    let trial = Trial::test(ignored_name, move || Err(Failed::from(text)));
                    trials.push(trial.with_ignored_flag(!require_all));
                }
                Ok(_) => {
                    let expectations = catalogue.expectations.iter().filter(|it| it.target == target.name);
                    let expectations = expectations.flat_map(|it| it.expect.clone()).collect();
                    let subject = Subject { target: target.clone(), expectations };
                    let (with, scenario) = (with.clone(), shortened(scenario, target.role));
                    trials.push(Trial::test(name, move || conforms(subject, scenario, Vec::new(), with)));
                }
            }
        }
    }
    for name in selftest::names(catalogue).expect("the matrix fits the catalogue") {
        let with = with.clone();
        let trials = if name.contains(" · restart/") { &mut restarts } else { &mut others };
        trials.push(Trial::test(format!("matrix: {name}"), move || holds(&name, with)));
    }
    Trials { restarts, others }
}

/// Twenty upgrades in a row are what we owe. What others lose or leave behind shows after eight of theirs, each of which may take
/// a second; `check` and `matrix` make all twenty.
fn shortened(scenario: &Scenario, role: Role) -> Scenario {
    let eight = (role != Role::Reference).then(|| scenario.with_sequential(8)).flatten();
    eight.unwrap_or_else(|| scenario.clone())
}

/// The examples that the README shows: the repaired server conforms, the other one fails as the README says. And what the benchmark of
/// handoffs sets beside the servers of libraries.
fn examples(with: &With, require_all: bool) -> Vec<Trial> {
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    // What fails at every restart, whatever the moment.
    let surely = ["handoff/no-refused", "handoff/listener-continuity", "drain/inflight-completes"];
    let rows: [(&str, &str, &[&str]); 5] = [
        ("examples/python-stop-start", "restart/upgrade-under-load", &surely),
        ("examples/python-graceful", "restart/upgrade-under-load", &[]),
        ("examples/python-graceful", "restart/backlog-kept", &[]),
        ("benches/handoff/exec-inherit", "restart/sequential", &[]),
        ("benches/handoff/takeover", "restart/sequential", &[]),
    ];
    let trial = |(example, scenario, fails): (&str, &str, &[&str])| {
        let path = below.join(format!("{example}.toml"));
        let text = std::fs::read_to_string(&path).expect("the example is there");
        let target = Target::parse(&text, &path.display().to_string()).expect("the example is a manifest");
        let expect = |id: &&str| Expectation {
            check: (*id).to_owned(),
            kind: ExpectationKind::Fail,
            reason: "the old process ends before the new one begins".to_owned(),
            upstream: None,
            class: None,
            scenarios: Vec::new(),
            observed: None,
        };
        let catalogue = Catalogue::embedded();
        let scenario = catalogue.scenario(scenario).expect("it is embedded").clone();
        let name = format!("{} · {}", target.name, scenario.script().name);
        if let Err(why) = Plan::new(&target, &scenario, &with.machine, 1) {
            let ignored_name = format!("{name} ({why})");
            return Trial::test(ignored_name, move || Err(Failed::from(why.to_string())))
                .with_ignored_flag(!require_all);
        }
        // Where failures are expected nothing else is judged: the other checks fail by chance there.
        let judged = fails.iter().map(|id| (*id).to_owned()).collect();
        let subject = Subject { target, expectations: fails.iter().map(expect).collect() };
        let with = with.clone();
        Trial::test(name, move || conforms(subject, scenario, judged, with))
    };
    rows.into_iter().map(trial).collect()
}

/// A directory for one test: what a command keeps is named by the second and its pid, which two of these share.
fn own(directory: &Path) -> std::io::Result<PathBuf> {
    static TESTS: AtomicUsize = AtomicUsize::new(0);
    let own = directory.join(TESTS.fetch_add(1, Ordering::Relaxed).to_string());
    std::fs::create_dir_all(&own)?;
    Ok(own)
}

/// The target does in this scenario what is expected of it, as far as these checks tell; none for all.
fn conforms(subject: Subject, scenario: Scenario, judged: Vec<String>, with: With) -> Result<(), Failed> {
    let With { machine, directory, builds } = with;
    let tier = machine.tier;
    let request = Request {
        subjects: vec![subject],
        scenarios: vec![scenario],
        run: judged,
        skip: Vec::new(),
        runs: 1,
        seed: 1,
        strict: false,
        complete: false,
        keep: false,
        jobs: 1,
        builds,
        directory: own(&directory)?,
        machine,
    };
    let stop = Stop::new()?;
    let summary = verify(&request, &stop, &mut |_| {})?;
    let exit = summary.exit(true);
    // Without namespaces some requirements cannot be proven: that is what tier C says.
    if exit == Exit::AsExpected || (tier == Tier::C && exit == Exit::Inconclusive) {
        return Ok(());
    }
    let page = report::Page { width: 120, colour: false, here: Path::new("") };
    let told = report::terminal::render(&summary, exit, &page);
    if summary.is_undecided_for_the_machine() { undecided(told) } else { Err(Failed::from(told)) }
}

/// The row of the defect matrix is as it must be.
fn holds(name: &str, with: With) -> Result<(), Failed> {
    let With { machine, directory, .. } = with;
    let catalogue = Catalogue::embedded();
    let only = vec![name.to_owned()];
    let directory = own(&directory)?;
    let request =
        selftest::Request { catalogue: &catalogue, machine, runs: 1, only, seed: 1, hog: false, jobs: 1, directory };
    let stop = Stop::new()?;
    let report = selftest::run(&request, &stop, &mut |_| {})?;
    if report.ok {
        return Ok(());
    }
    let is_undecided = report.rows.iter().all(|row| row.held + row.excused == report.runs);
    let wrong = report.rows.into_iter().flat_map(|row| row.wrong).collect::<Vec<_>>().join("\n");
    if is_undecided { undecided(format!("{name}: {wrong}")) } else { Err(Failed::from(wrong)) }
}

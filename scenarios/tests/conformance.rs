//! Target × scenario as named tests, on the machine's best tier (or `UNBROKEN_TIER`): restarts under load two at a time, and beside
//! them what knows no load and waits most of its time.
//!
//! What this machine lacks is ignored with the command that would install it, and fails under `UNBROKEN_REQUIRE_ALL=1`. What cannot be
//! told because processors were lacking is told in the end; it fails where it is more than one test in a hundred.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

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
    let room = Arc::new(Room::of(&machine));
    let arguments = Arguments { test_threads: Some(room.threads()), ..arguments };
    let with = With { builds: Arc::new(Builds::below(&directory)), machine, directory, room };
    let conclusion = libtest_mimic::run(&arguments, trials(&catalogue, &with));
    let decided = enough_is_decided(conclusion.num_passed);
    if conclusion.has_failed() || !decided { ExitCode::from(101) } else { ExitCode::SUCCESS }
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

/// What runs at a time: four tests, two of them restarts at most. Two under load change no verdict (`selftest --jobs 2`, docs/results); of
/// three at a time, strangers' servers among them, in a build that is not optimised, a few were late in each of two suites.
/// The others wait most of their time: for a deadline, a supervisor's pause, what never comes. In tier C all have one network, and
/// some the same port.
#[derive(Debug)]
struct Room {
    most: Places,
    taken: Mutex<Places>,
    freed: Condvar,
}

#[derive(Debug, Clone, Copy)]
struct Places {
    all: usize,
    restarts: usize,
}

impl Room {
    fn of(machine: &Machine) -> Room {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(2);
        let (all, restarts) = if machine.tier == Tier::C { (1, 1) } else { (2 * processors, processors) };
        let taken = Mutex::new(Places { all: 0, restarts: 0 });
        Room { most: Places { all, restarts }, taken, freed: Condvar::new() }
    }

    /// As many as may play, and who waits to: that a restart waits is to keep no other test from its place.
    fn threads(&self) -> usize {
        self.most.all + self.most.restarts
    }

    /// Waits for a place.
    fn enter(&self, kind: Kind) -> Place<'_> {
        let is_full = |taken: &mut Places| {
            taken.all == self.most.all || (kind == Kind::Restart && taken.restarts == self.most.restarts)
        };
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self.freed.wait_while(taken, is_full).unwrap_or_else(PoisonError::into_inner);
        taken.all += 1;
        taken.restarts += usize::from(kind == Kind::Restart);
        Place { of: self, kind }
    }
}

/// A place in the room, free again when this is dropped, also by a test that panics.
#[derive(Debug)]
struct Place<'a> {
    of: &'a Room,
    kind: Kind,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        taken.restarts -= usize::from(self.kind == Kind::Restart);
        drop(taken);
        self.of.freed.notify_all();
    }
}

/// Whether a test is under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Restart,
    Other,
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
    room: Arc<Room>,
}

/// All tests.
fn trials(catalogue: &Catalogue, with: &With) -> Vec<Trial> {
    let require_all = is_everything_required();
    let (mut restarts, mut others) = (examples(with, require_all), Vec::new());
    for target in catalogue.targets.iter().filter(|target| target.role != Role::Null) {
        for scenario in catalogue.scenarios.iter().filter(|scenario| scenario.script().core) {
            let name = format!("{} · {}", target.name, scenario.script().name);
            let kind = if scenario.script().profile == Profile::Restart { Kind::Restart } else { Kind::Other };
            let trials = if kind == Kind::Restart { &mut restarts } else { &mut others };
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
                    trials.push(Trial::test(name, move || {
                        let _place = with.room.enter(kind);
                        conforms(subject, scenario, Vec::new(), &with)
                    }));
                }
            }
        }
    }
    for name in selftest::names(catalogue).expect("the matrix fits the catalogue") {
        let with = with.clone();
        let kind = if name.contains(" · restart/") { Kind::Restart } else { Kind::Other };
        let trials = if kind == Kind::Restart { &mut restarts } else { &mut others };
        trials.push(Trial::test(format!("matrix: {name}"), move || {
            let _place = with.room.enter(kind);
            holds(&name, &with)
        }));
    }
    evenly(restarts, others)
}

/// Both lists as one, each spread over its whole length.
fn evenly<T>(one: Vec<T>, other: Vec<T>) -> Vec<T> {
    let placed = |list: Vec<T>| {
        let length = list.len();
        list.into_iter().enumerate().map(move |(n, it)| ((2 * n + 1) * 1000 / (2 * length), it))
    };
    let mut all: Vec<(usize, T)> = placed(one).chain(placed(other)).collect();
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, it)| it).collect()
}

/// Twenty upgrades in a row are what we owe. What others lose or leave behind shows after eight of theirs, each of which may take
/// a second; `check` and `matrix` make all twenty.
fn shortened(scenario: &Scenario, role: Role) -> Scenario {
    let eight = (role != Role::Reference).then(|| scenario.with_sequential(8)).flatten();
    eight.unwrap_or_else(|| scenario.clone())
}

/// The examples that the README shows: the repaired server conforms, the other one fails as the README says.
fn examples(with: &With, require_all: bool) -> Vec<Trial> {
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    // What fails at every restart, whatever the moment.
    let surely = ["handoff/no-refused", "handoff/listener-continuity", "drain/inflight-completes"];
    let rows: [(&str, &str, &[&str]); 3] = [
        ("python-stop-start", "restart/upgrade-under-load", &surely),
        ("python-graceful", "restart/upgrade-under-load", &[]),
        ("python-graceful", "restart/backlog-kept", &[]),
    ];
    let trial = |(example, scenario, fails): (&str, &str, &[&str])| {
        let path = below.join("examples").join(format!("{example}.toml"));
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
        Trial::test(name, move || {
            let _place = with.room.enter(Kind::Restart);
            conforms(subject, scenario, judged, &with)
        })
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
fn conforms(subject: Subject, scenario: Scenario, judged: Vec<String>, with: &With) -> Result<(), Failed> {
    let tier = with.machine.tier;
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
        builds: Arc::clone(&with.builds),
        directory: own(&with.directory)?,
        machine: with.machine.clone(),
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
fn holds(name: &str, with: &With) -> Result<(), Failed> {
    let catalogue = Catalogue::embedded();
    let only = vec![name.to_owned()];
    let request = selftest::Request {
        catalogue: &catalogue,
        machine: with.machine.clone(),
        runs: 1,
        only,
        seed: 1,
        hog: false,
        jobs: 1,
        directory: own(&with.directory)?,
    };
    let stop = Stop::new()?;
    let report = selftest::run(&request, &stop, &mut |_| {})?;
    if report.ok {
        return Ok(());
    }
    let is_undecided = report.rows.iter().all(|row| row.held + row.excused == report.runs);
    let wrong = report.rows.into_iter().flat_map(|row| row.wrong).collect::<Vec<_>>().join("\n");
    if is_undecided { undecided(format!("{name}: {wrong}")) } else { Err(Failed::from(wrong)) }
}

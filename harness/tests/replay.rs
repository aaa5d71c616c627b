//! Judging a saved run again gives the same bytes, and what is taken out of a history is missed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use unbroken::event::What;
use unbroken::history::History;
use unbroken::id::Version;
use unbroken::judge::{Status, judge};
use unbroken::request::Request;
use unbroken::run::store;
use unbroken::verdict::Verdict;

const MANIFEST: &str = include_str!("../../scenarios/targets/reference/exec-inherit-signal.toml");

/// A real run, kept.
struct Saved {
    place: PathBuf,
    run: PathBuf,
    /// What `check --json` said.
    report: Value,
}

impl Saved {
    fn new(name: &str, manifest: &str) -> Saved {
        let place = std::env::temp_dir().join(format!("unbroken-replay-{}-{name}", std::process::id()));
        fs::create_dir_all(&place).expect("a scratch directory");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::write(place.join("server.toml"), manifest).expect("a scratch file");
        let report = json(&place, &["check", "server.toml", "restart/upgrade-under-load", "--keep"]);
        let run = find(&place.join("runs"), "verdicts.json").expect("the run was kept");
        Saved { place, run, report }
    }

    fn history(&self) -> History {
        store::read(&self.run).expect("a saved run can be read")
    }

    /// What the library and the command make of the saved run, each twice, is what was made of it at first.
    fn is_reproduced(&self) {
        let first = fs::read(self.run.join("verdicts.json")).expect("the verdicts were saved");
        for n in ["first", "second"] {
            let again = self.place.join(n);
            fs::create_dir(&again).expect("a scratch directory");
            store::write_verdicts(&again, &judge(&self.history(), &|_| true)).expect("it can be written");
            let again = fs::read(again.join("verdicts.json")).expect("it was written");
            assert!(first == again, "the verdicts are now:\n{}", String::from_utf8_lossy(&again));
            let run = self.run.to_str().expect("a scratch path is UTF-8");
            let judged = json(&self.place, &["judge", run]);
            for key in ["format", "version", "seed", "exit", "machine", "targets"] {
                assert_eq!(judged[key], self.report[key], "{key}");
            }
        }
        assert!(first == fs::read(self.run.join("verdicts.json")).expect("it is there"), "judging wrote to the run");
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.place);
    }
}

fn json(place: &Path, words: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unbroken"));
    command.env_remove("UNBROKEN_REQUIRE_ALL").current_dir(place).args(words).arg("--json");
    if words[0] == "check" {
        command.args(["--progress", "none", "--directory"]).arg(place.join("runs"));
    }
    let output = command.output().expect("the command was built with the tests");
    let told = || format!("{words:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error} in what was said by {}", told()))
}

fn find(below: &Path, name: &str) -> Option<PathBuf> {
    if below.join(name).exists() {
        return Some(below.to_owned());
    }
    let entries = fs::read_dir(below).ok()?.flatten();
    entries.filter(|it| it.path().is_dir()).find_map(|it| find(&it.path(), name))
}

fn verdict(history: &History, check: &str) -> Verdict {
    let outcome = judge(history, &|it| it.id == check);
    match outcome.results.first().map(|result| &result.status) {
        Some(Status::Verdict(verdict)) => *verdict,
        other => panic!("{check}: {other:?}"),
    }
}

fn passed(history: &History) -> Vec<&'static str> {
    let results = judge(history, &|_| true).results;
    results.iter().filter(|it| it.status == Status::Verdict(Verdict::Pass)).map(|it| it.check).collect()
}

/// Takes requests out as if they had never been: the accounts still balance.
fn forget(history: &mut History, unwanted: impl Fn(&Request) -> bool) {
    let before = history.load().count();
    history.requests.retain(|request| !unwanted(request));
    let gone = (before - history.load().count()) as u64;
    history.account.scheduled -= gone;
    history.account.ended -= gone;
}

/// Tries a property on so many seeded places of the history.
fn property(cases: u32, places: usize, holds: impl Fn(usize) -> Result<(), TestCaseError>) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner.run(&(0..places), holds).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_clean_run_is_judged_again_to_the_byte_and_misses_what_is_taken_out() {
    let saved = Saved::new("clean", MANIFEST);
    saved.is_reproduced();
    let whole = saved.history();

    let mut unscanned = whole.clone();
    unscanned.events.retain(|event| !matches!(event.what, What::Scanned { .. }));
    assert_eq!(verdict(&unscanned, "life/nothing-left"), Verdict::Inconclusive);

    // Nobody saw the new version: neither the load nor whoever waited for the done event.
    let mut stayed = whole.clone();
    forget(&mut stayed, |request| request.version() > Some(Version(1)));
    // A lack of processors would excuse it.
    stayed.events.retain(|event| !matches!(event.what, What::UpgradeDone { .. } | What::Starved { .. }));
    assert_eq!(verdict(&stayed, "handoff/took-over"), Verdict::Fail);
    assert_eq!(passed(&stayed).iter().filter(|it| it.starts_with("handoff/") || it.starts_with("drain/")).count(), 0);

    // Without a load there is nothing that could have been lost.
    let mut idle = whole.clone();
    forget(&mut idle, |_| true);
    assert_ne!(verdict(&idle, "handoff/no-refused"), Verdict::Pass);

    let mut untriggered = whole.clone();
    untriggered.events.retain(|event| !matches!(event.what, What::Triggered { .. }));
    assert_eq!(
        passed(&untriggered).iter().filter(|it| it.starts_with("handoff/") || it.starts_with("drain/")).count(),
        0
    );

    // One answer that is missing from the records, and no check passes any more.
    let ok: Vec<u64> = whole.load().filter(|request| request.failure().is_none()).map(|request| request.id).collect();
    property(24, ok.len(), |place| {
        let mut history = whole.clone();
        history.requests.retain(|request| request.id != ok[place]);
        prop_assert_eq!(passed(&history), Vec::<&str>::new());
        Ok(())
    });
}

#[test]
fn a_failed_run_is_judged_again_to_the_byte_and_no_missing_answer_mends_it() {
    let with_defect = MANIFEST.replace("\"exec-inherit\",\n", "\"exec-inherit\", \"--defect\", \"no-refused\",\n");
    assert_ne!(with_defect, MANIFEST, "the manifest names the technique on a line of its own");
    let saved = Saved::new("defect", &with_defect.replace("reference/exec-inherit-signal", "mine/with-a-gap"));
    saved.is_reproduced();
    let whole = saved.history();
    assert_eq!(verdict(&whole, "handoff/no-refused"), Verdict::Fail);

    let ok: Vec<u64> = whole.load().filter(|request| request.failure().is_none()).map(|request| request.id).collect();
    property(24, ok.len(), |place| {
        let mut history = whole.clone();
        forget(&mut history, |request| request.id == ok[place]);
        prop_assert_eq!(verdict(&history, "handoff/no-refused"), Verdict::Fail);
        Ok(())
    });
    property(24, whole.events.len(), |place| {
        let mut history = whole.clone();
        let gone = history.events.remove(place);
        // Without its trigger an upgrade has no window in which a refusal could count.
        let counts = !matches!(gone.what, What::Triggered { .. });
        prop_assert!(verdict(&history, "handoff/no-refused") != Verdict::Pass || !counts, "without {gone:?}");
        Ok(())
    });
}

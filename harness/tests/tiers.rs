//! The tiers agree: what A proves B proves too, and C says what it cannot prove.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use assert_cmd::Command;
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use unbroken::catalogue::Catalogue;
use unbroken::kernel::namespace::loopback_up;

/// What one tier says.
struct Told {
    code: Option<i32>,
    /// Each check's row.
    rows: BTreeMap<String, Value>,
    /// Scenarios that are unavailable in it: systemd needs control groups, supervisord a network of its own.
    unavailable: Vec<String>,
}

impl Told {
    fn verdict(&self, check: &str) -> &str {
        self.rows.get(check).and_then(|row| row["verdict"].as_str()).unwrap_or("not claimed")
    }

    /// The evidence of a check, one text.
    fn evidence(&self, check: &str) -> String {
        let findings = self.rows.get(check).and_then(|row| row["findings"].as_array()).into_iter().flatten();
        let evidence = findings.flat_map(|it| it["finding"]["evidence"].as_array().into_iter().flatten());
        evidence.filter_map(|it| it["text"].as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Nothing judged a check, because what would have is unavailable.
    fn lacks(&self, check: &str) -> bool {
        let catalogue = Catalogue::embedded();
        let judges = |name: &String| {
            let scenario = catalogue.scenario(name).expect("the command knows what it did not run");
            scenario.script().checks.iter().any(|it| it == check)
        };
        !self.rows.contains_key(check) && self.unavailable.iter().any(judges)
    }

    /// Whether a request and the end of its connection cross is chance, in any tier: HTTP lets both begin at the same moment. Lost in one
    /// and not in the other it says nothing of either.
    fn met_a_race(&self, check: &str) -> bool {
        check == "drain/keepalive-race" && self.verdict(check) == "fail"
    }

    /// Neither chance nor the machine had its part in the verdict.
    fn is_comparable(&self, check: &str) -> bool {
        !self.is_disturbed(check) && !self.met_a_race(check)
    }

    /// The machine stood still, which takes passes away: the tiers cannot be compared then.
    fn is_disturbed(&self, check: &str) -> bool {
        let evidence = self.evidence(check);
        self.verdict(check) == "inconclusive" && (evidence.contains("ms late") || evidence.contains("the canary"))
    }
}

/// All core scenarios of the reference in this tier; `None`, and told, where this machine does not permit it.
fn reference_in(tier: &str) -> Option<Told> {
    let place = std::env::temp_dir().join(format!("unbroken-tiers-{}-{tier}", std::process::id()));
    fs::create_dir_all(&place).expect("a scratch directory");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut command = Command::new(env!("CARGO_BIN_EXE_unbroken"));
    command.env_remove("UNBROKEN_REQUIRE_ALL").current_dir(&place);
    command.args(["check", "reference/exec-inherit-signal", "--tier", tier, "--json", "--progress", "none"]);
    // In tier C all have one network, and its one port.
    command.args(["--jobs", if tier == "C" { "1" } else { "2" }]);
    let output = command.args(["--directory", "runs"]).output().expect("the command was built with the tests");
    let _gone = fs::remove_dir_all(&place);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(6) && said.contains("isolate in tier") {
        assert!(std::env::var_os("UNBROKEN_REQUIRE_ALL").is_none_or(|it| it != "1"), "{said}");
        let _ = writeln!(std::io::stderr(), "unavailable: {said}");
        return None;
    }
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let rows = report["targets"][0]["rows"].as_array().expect("there is one target").iter();
    let rows = rows.map(|row| (row["check"].as_str().expect("it has an id").to_owned(), row.clone())).collect();
    let not_run = report["targets"][0]["not_run"].as_array().into_iter().flatten();
    let unavailable = not_run.filter(|it| it["why"].get("unavailable").is_some());
    let unavailable = unavailable.map(|it| it["scenario"].as_str().expect("it has a name").to_owned()).collect();
    Some(Told { code: output.status.code(), rows, unavailable })
}

#[test]
fn tier_b_gives_the_verdicts_of_tier_a_and_tier_c_says_what_it_cannot_prove() {
    // Tier C shares the network of whoever starts it: with one of our own no stranger can hold the reference's port.
    if unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        loopback_up().expect("the namespace is ours");
    }
    // Three runs at a time, as a bare `check` has: two of a tier with namespaces, one of C.
    let (a, b, c) = thread::scope(|scope| {
        let c = scope.spawn(|| reference_in("C").expect("tier C works everywhere"));
        (reference_in("A"), reference_in("B"), c.join().expect("it tells"))
    });
    if let (Some(a), Some(b)) = (&a, &b) {
        let had: Vec<_> = a.rows.keys().filter(|check| !b.lacks(check)).collect();
        assert_eq!(had, b.rows.keys().collect::<Vec<_>>());
        let comparable = |check: &&String| a.is_comparable(check) && b.is_comparable(check) && !b.lacks(check);
        for check in a.rows.keys().filter(comparable) {
            assert_eq!(a.verdict(check), b.verdict(check), "{check}: {}\n{}", a.evidence(check), b.evidence(check));
        }
    }
    let (bare, better) = ("life/nothing-left", a.as_ref().or(b.as_ref()));
    assert_eq!((c.code, c.verdict(bare)), (Some(3), "inconclusive"), "{}", c.evidence(bare));
    assert!(c.evidence(bare).contains("tier C cannot prove it: without namespaces"), "{}", c.evidence(bare));
    if let Some(better) = better {
        let comparable = |it: &&String| *it != bare && better.is_comparable(it) && c.is_comparable(it) && !c.lacks(it);
        for check in better.rows.keys().filter(comparable) {
            assert_eq!(better.verdict(check), c.verdict(check), "{check}: {}", c.evidence(check));
        }
        assert!(better.is_disturbed(bare) || better.verdict(bare) == "pass", "{}", better.evidence(bare));
    }
}

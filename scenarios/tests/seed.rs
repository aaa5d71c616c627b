//! `docs/SEED.md` is made from `docs/seed.toml` and `docs/results/seed.json`, and no row claims more than a run has shown.
//!
//! After a change of a row or a new run: `UNBROKEN_BLESS=1 cargo test -p unbroken-scenarios --test seed`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use unbroken::catalogue::Catalogue;

/// The items of the article; none may be dropped.
const ITEMS: usize = 6;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seed {
    row: Vec<Row>,
}

/// One item of the article.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    item: String,
    behaviour: String,
    /// Targets that are built.
    targets: Vec<String>,
    /// The checks that show this item, where a target shows more than one; all of its where there are none.
    #[serde(default)]
    checks: Vec<String>,
    /// What is not; empty when the row is done.
    open: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn seed() -> Seed {
    toml::from_str(&text("docs/seed.toml")).expect("docs/seed.toml is valid")
}

fn results() -> Value {
    serde_json::from_str(&text("docs/results/seed.json")).expect("docs/results/seed.json is a report")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// What a report says of a target, of these checks alone if any: its line for the page, or why that is no passing run.
fn verified(report: &Value, target: &str, only: &[String]) -> Result<String, String> {
    let entry = list(report, "targets").iter().find(|it| it["target"] == target);
    let entry = entry.ok_or_else(|| format!("{target}: the report has no run of it"))?;
    let unavailable = list(entry, "not_run").iter().any(|it| it["why"].get("unavailable").is_some());
    if !list(entry, "broken").is_empty() || !list(entry, "unmatched").is_empty() || unavailable {
        return Err(format!("{target}: broken, unavailable, or expected to do what it cannot"));
    }
    let (mut passed, mut expected) = (Vec::new(), Vec::new());
    for row in list(entry, "rows") {
        let check = row["check"].as_str().unwrap_or_default();
        match row["disposition"].as_str().unwrap_or_default() {
            "passed" => passed.push(check),
            "expected-failure" => expected.push(check),
            // Not claimed.
            "unsupported" => {}
            other => return Err(format!("{target}: {check} is {other}")),
        }
    }
    let concerns = |check: &&str| only.is_empty() || only.iter().any(|it| it == check);
    passed.retain(concerns);
    expected.retain(concerns);
    if let Some(missing) = only.iter().find(|it| !passed.contains(&it.as_str())) {
        return Err(format!("{target}: {missing} did not pass"));
    }
    if passed.is_empty() {
        return Err(format!("{target}: no check passed"));
    }
    let runs = &entry["runs"];
    let fails = if expected.is_empty() { String::new() } else { format!("; known to fail {}", expected.join(", ")) };
    Ok(format!("`{target}`, runs of each scenario: {runs}; passes {}{fails}", passed.join(", ")))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn page(seed: &Seed, report: &Value) -> String {
    let machine = &report["machine"];
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let mut page = format!(
        "# Where the project comes from\n\nAn article on daemon processes and graceful restart in Go is the seed. Each of its \
         systems is to exist here as a working,\nverified target; what does not yet is open. Only behaviour carries over, the \
         code is new. Made from [seed.toml](seed.toml) and\n[results/seed.json](results/seed.json) by `cargo test -p \
         unbroken-scenarios --test seed`, which fails while a target that is named\nhere lacks a run that went as \
         expected.\n\nLast run: {} · Linux {} · tier {} · seed {}\n\n| # | item | what it does | target here, and what its \
         runs showed | open |\n|---|---|---|---|---|\n",
        word(&report["began"]),
        word(&machine["kernel"]),
        word(&machine["tier"]),
        report["seed"],
    );
    for (n, row) in seed.row.iter().enumerate() {
        let shown: Vec<String> = row
            .targets
            .iter()
            .map(|target| {
                verified(report, target, &row.checks).unwrap_or_else(|why| format!("**not verified**: {why}"))
            })
            .collect();
        let shown = if shown.is_empty() { "–".to_owned() } else { shown.join("<br>") };
        let open = if row.open.is_empty() { "–" } else { row.open.as_str() };
        let cells = [row.item.as_str(), row.behaviour.as_str(), shown.as_str(), open].map(cell);
        let _ = writeln!(page, "| {} | {} |", n + 1, cells.join(" | "));
    }
    page
}

#[test]
fn the_page_is_what_rows_and_results_say() {
    let want = page(&seed(), &results());
    let path = root().join("docs/SEED.md");
    if std::env::var_os("UNBROKEN_BLESS").is_some_and(|it| it == "1") {
        fs::write(&path, &want).expect("the page is writable");
    }
    let got = fs::read_to_string(&path).unwrap_or_default();
    assert!(got == want, "docs/SEED.md is stale: UNBROKEN_BLESS=1 cargo test -p unbroken-scenarios --test seed");
}

#[test]
fn every_item_has_a_row_that_is_built_or_says_what_is_open() {
    let seed = seed();
    assert_eq!(seed.row.len(), ITEMS);
    for row in &seed.row {
        assert!(!row.targets.is_empty() || !row.open.is_empty(), "{}: neither a target nor what is open", row.item);
    }
}

#[test]
fn a_target_that_claims_to_be_built_has_a_passing_run() {
    let (seed, report, catalogue) = (seed(), results(), Catalogue::embedded());
    for (row, target) in seed.row.iter().flat_map(|row| row.targets.iter().map(move |target| (row, target))) {
        assert!(catalogue.target(target).is_ok(), "{target} is no target of the catalogue");
        if let Err(why) = verified(&report, target, &row.checks) {
            panic!("{why}; run again as docs/results/README.md says, and commit the report");
        }
    }
}

#[test]
fn a_run_that_did_not_go_as_expected_verifies_nothing() {
    let report = |row: &str| -> Value {
        let text = format!(
            r#"{{"targets": [{{"target": "t", "runs": 1, "broken": [], "unmatched": [], "not_run": [], "rows": [{row}]}}]}}"#
        );
        serde_json::from_str(&text).expect("it is JSON")
    };
    let row = |disposition: &str| format!(r#"{{"check": "a/b", "disposition": "{disposition}"}}"#);
    let only = |check: &str| verified(&report(&row("passed")), "t", &[check.to_owned()]);
    assert!(only("a/b").is_ok());
    assert!(only("a/c").is_err());
    let verified = |report: &Value, target: &str| verified(report, target, &[]);
    assert!(verified(&report(&row("passed")), "t").is_ok());
    for disposition in ["failure", "warning", "inconclusive", "error", "unexpected-pass", "unsupported"] {
        assert!(verified(&report(&row(disposition)), "t").is_err(), "{disposition}");
    }
    assert!(verified(&report(""), "t").is_err());
    assert!(verified(&report(&row("passed")), "another").is_err());
}

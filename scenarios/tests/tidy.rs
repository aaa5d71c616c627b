//! The house rules that a machine can check: who may use whom, how long a file may be, and that every check has its
//! defect and every defect its row.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of more lines is a smell at 400 and an error here.
const FILE_LINES_MAX: usize = 700;

/// Modules of the engine and what they must never use: the table of dependencies.
const NEVER: &[(&[&str], &[&str])] = &[
    (
        &[
            "clock",
            "id",
            "machine",
            "manifest",
            "target",
            "scenario",
            "plan",
            "event",
            "history",
            "datagram",
            "drive",
            "request",
            "verdict",
            "expectation",
            "progress",
            "measure",
        ],
        &[
            "kernel", "process", "ready", "load", "observe", "sandbox", "run", "cli", "report", "verify", "wait",
            "selftest",
        ],
    ),
    (
        &["judge", "summary"],
        &["kernel", "process", "ready", "load", "observe", "sandbox", "run", "cli", "report", "wait"],
    ),
    (
        &["check"],
        &[
            "kernel", "process", "ready", "load", "observe", "sandbox", "run", "cli", "report", "wait", "judge",
            "summary",
        ],
    ),
    (&["report"], &["kernel", "process", "ready", "load", "observe", "sandbox", "run", "cli", "wait"]),
    (
        &["kernel", "process", "ready", "load", "observe", "sandbox"],
        &["check", "verdict", "report", "judge", "summary", "run", "cli", "verify"],
    ),
    (&["run"], &["check", "verdict", "report", "cli", "verify", "summary"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

fn sources(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![below.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the workspace is readable") {
            let path = entry.expect("its entries are readable").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                open.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("a source file is readable")
}

/// The first-level module that a file of the engine belongs to.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("harness/src")).expect("a file of the engine");
    let first = inside.components().next().expect("a file has a name").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Lines of a file before its unit tests: those may use what they need.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().take_while(|line| *line != "#[cfg(test)]").enumerate()
}

#[test]
fn modules_use_only_what_the_design_lets_them() {
    let mut wrong = Vec::new();
    for path in sources(&root().join("harness/src")) {
        let module = module(&path);
        let Some((_, never)) = NEVER.iter().find(|(modules, _)| modules.contains(&module.as_str())) else { continue };
        for (line, content) in code(&text(&path)) {
            // Docs may point anywhere.
            if content.trim_start().starts_with("//") {
                continue;
            }
            for other in never.iter().filter(|other| content.contains(&format!("crate::{other}::"))) {
                // A saved run holds the verdicts beside its history; storing is not judging.
                if path.ends_with("run/store.rs") && *other == "judge" {
                    continue;
                }
                wrong.push(format!("{}:{}: {module} must not use {other}", path.display(), line + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_engine_and_the_references_share_no_code() {
    for path in sources(&root().join("reference/src")) {
        assert!(!text(&path).contains("use unbroken::"), "{}", path.display());
    }
    for path in sources(&root().join("harness/src")) {
        let allowed = ["main.rs", "reference.rs"].iter().any(|name| path.ends_with(name));
        assert!(allowed || !text(&path).contains("unbroken_reference::"), "{}", path.display());
    }
}

#[test]
fn no_file_is_too_long() {
    for package in ["harness", "reference", "scenarios", "benches"] {
        for path in sources(&root().join(package)) {
            let lines = text(&path).lines().count();
            assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn only_wait_sleeps() {
    for path in sources(&root().join("harness/src")) {
        for (line, content) in code(&text(&path)) {
            let sleeps = ["thread::sleep(", "time::sleep(", "nanosleep"].iter().any(|call| content.contains(call));
            assert!(!sleeps || path.ends_with("wait.rs"), "{}:{}: sleeps", path.display(), line + 1);
        }
    }
}

#[test]
fn rooms_have_names() {
    for path in sources(&root()) {
        let stem = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        assert!(
            !["util", "utils", "common", "helper", "helpers", "manager", "misc"].contains(&stem.as_str()),
            "{stem}"
        );
    }
}

#[test]
fn every_check_lies_in_the_file_of_its_name() {
    for check in unbroken::check::CHECKS {
        let path = root().join("harness/src/check").join(format!("{}.rs", check.id.replace('-', "_")));
        assert!(path.is_file(), "{} is missing", path.display());
    }
}

#[test]
fn every_check_has_a_defect_that_it_must_catch_and_every_defect_a_row() {
    for check in unbroken::check::CHECKS.iter().filter(|check| check.level != unbroken::verdict::Level::Info) {
        let row = unbroken_reference::defect::all().any(|row| row.catches == check.id);
        assert!(row, "no defect proves that {} can fail", check.id);
    }
    for row in unbroken_reference::defect::all() {
        let line = format!("defect = \"{}\"", row.name);
        assert!(unbroken_scenarios::MATRIX.lines().any(|it| it == line), "{} has no row in the matrix", row.name);
    }
}

#[test]
fn every_check_that_the_data_names_exists_and_only_chance_may_fail() {
    let ids: Vec<&str> = unbroken::check::CHECKS.iter().map(|check| check.id).collect();
    if let Err(error) = unbroken::catalogue::Catalogue::require_checks(&ids) {
        panic!("{}", error.render(false));
    }
    for file in unbroken::catalogue::Catalogue::embedded().expectations {
        for expectation in file.expect {
            let chance = unbroken::check::find(&expectation.check).is_some_and(|check| check.chance);
            let may_fail = expectation.kind == unbroken::expectation::ExpectationKind::MayFail;
            assert!(chance || !may_fail, "{}: {} is not decided by chance", file.target, expectation.check);
        }
    }
}

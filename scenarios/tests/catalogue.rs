//! The embedded data is all there, valid, and named as its files are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use unbroken::catalogue::Catalogue;
use unbroken_scenarios::{EXPECTATIONS, Embedded, SCENARIOS, TARGETS};

/// Every TOML file of this crate by its path in it, `Cargo.toml` of the crate and of peers excepted.
fn files(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("the crate's directory is readable") {
        let path: PathBuf = entry.expect("an entry is readable").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "toml")
            // The matrix is embedded under a name of its own.
            && path.file_name().is_some_and(|name| name != "Cargo.toml" && name != "matrix.toml")
        {
            let below = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("it is below the crate");
            found.insert(below.to_str().expect("our names are UTF-8").to_owned());
        }
    }
}

fn embedded() -> impl Iterator<Item = &'static Embedded> {
    SCENARIOS.iter().chain(TARGETS).chain(EXPECTATIONS)
}

#[test]
fn every_file_is_embedded_exactly_once() {
    let mut found = BTreeSet::new();
    files(Path::new(env!("CARGO_MANIFEST_DIR")), &mut found);
    let listed: Vec<String> = embedded().map(|file| file.path.to_owned()).collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), found);
    assert_eq!(listed.len(), found.len(), "a file is listed twice");
}

#[test]
fn all_embedded_data_validates() {
    let read = Catalogue::read(SCENARIOS, TARGETS, EXPECTATIONS);
    assert!(read.is_ok(), "{}", read.expect_err("it is an error").render(false));
}

#[test]
fn names_are_the_paths_of_the_files() {
    let catalogue = Catalogue::embedded();
    let scenarios = catalogue.scenarios.iter().map(|scenario| scenario.script().name.clone());
    let targets = catalogue.targets.iter().map(|target| target.name.clone());
    let expectations =
        catalogue.expectations.iter().map(|one| format!("expectations/{}", one.target.replace('/', "-")));
    for (file, name) in embedded().zip(scenarios.chain(targets).chain(expectations)) {
        let path = file.path.strip_prefix("targets/").or(file.path.strip_prefix("peers/")).unwrap_or(file.path);
        // A peer with one way of restarting has its directory's name.
        let path = path.strip_suffix("/target.toml").or(path.strip_suffix(".toml"));
        assert_eq!(path, Some(name.as_str()), "{}", file.path);
    }
}

#[test]
fn names_are_unique() {
    let catalogue = Catalogue::embedded();
    let mut names = BTreeSet::new();
    for name in catalogue.scenarios.iter().map(|scenario| &scenario.script().name) {
        assert!(names.insert(name), "{name}");
    }
    for name in catalogue.targets.iter().map(|target| &target.name) {
        assert!(names.insert(name), "{name}");
    }
}

#[test]
fn a_wrong_name_leads_to_the_nearest() {
    let catalogue = Catalogue::embedded();
    let error = catalogue.target("nginx/hub").expect_err("there is none");
    assert_eq!(error.to_string(), "find the target `nginx/hub`: did you mean `nginx/hup`?");
    let error = catalogue.scenario("nothing-like-it").expect_err("there is none");
    assert_eq!(error.to_string(), "find the scenario `nothing-like-it`");
    assert!(catalogue.expectations_of("nginx/usr2").is_some());
    assert!(catalogue.expectations_of("reference/exec-inherit").is_none());
}

#[test]
fn checks_are_held_against_a_registry() {
    let known: BTreeSet<&str> = Catalogue::embedded()
        .scenarios
        .iter()
        .flat_map(|scenario| scenario.script().checks.clone())
        .map(|id| &*Box::leak(id.into_boxed_str()))
        .collect();
    let known: Vec<&str> = known.into_iter().collect();
    assert_eq!(Catalogue::require_checks(&known), Ok(()));
    let error = Catalogue::require_checks(&known[1..]).expect_err("one check is not known");
    assert!(error.to_string().contains("there is no check"), "{error}");
}

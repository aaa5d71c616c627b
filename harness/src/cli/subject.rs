//! From a selection to targets with their known failures: the embedded ones, and the files of the user's own.

use std::fs;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::options::Expect;
use super::selection::Selection;
use crate::catalogue::Catalogue;
use crate::check::CHECKS;
use crate::expectation::{Expectation, Expectations};
use crate::manifest::{ManifestError, Source};
use crate::scenario::Scenario;
use crate::target::Target;
use crate::verify::Subject;

/// The texts of the selected files.
pub(super) fn sources(selection: &Selection) -> Result<Vec<Source>, Failure> {
    let read = |file: &PathBuf| Ok(Source::new(file.display().to_string(), read(file)?));
    selection.files.iter().map(read).collect()
}

/// The selected targets, first those of `sources`, in the order of the command line, each with the failures that it is known to have.
pub(super) fn subjects(
    selection: &Selection,
    catalogue: &Catalogue,
    expect: Option<&Expect>,
    sources: &[Source],
) -> Result<Vec<Subject>, Failure> {
    let mut targets: Vec<Target> = Vec::new();
    for source in sources {
        targets.push(Target::parse(source.text(), source.file_name())?);
    }
    targets.extend(catalogue.targets.iter().filter(|target| selection.targets.contains(&target.name)).cloned());
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    let replaced = match expect {
        Some(Expect::File(path)) => Some(read_expectations(path, &names, catalogue)?),
        Some(Expect::None) | None => None,
    };
    Ok(targets
        .iter()
        .map(|target| {
            let known = match (expect, &replaced) {
                (Some(Expect::None), _) => Vec::new(),
                (_, Some(file)) if file.target == target.name => file.expect.clone(),
                _ => catalogue.expectations_of(&target.name).map(|it| it.expect.clone()).unwrap_or_default(),
            };
            let judged = |it: &Expectation| can_match(it, &selection.scenarios, catalogue);
            Subject { target: target.clone(), expectations: known.into_iter().filter(judged).collect() }
        })
        .collect())
}

/// Reads an expectations file; its target must be one of `names`, its checks and scenarios must exist.
pub(super) fn read_expectations(path: &Path, names: &[&str], catalogue: &Catalogue) -> Result<Expectations, Failure> {
    let text = read(path)?;
    let source = Source::new(path.display().to_string(), text.as_str());
    let expectations = Expectations::parse(&text, source.file_name())?;
    expectations.require_target(names, &source)?;
    let ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
    expectations.require_checks(&ids, &source)?;
    expectations.require_scenarios(&catalogue.scenario_names(), &source)?;
    Ok(expectations)
}

/// An expectation about a check that only other scenarios judge cannot match and is no mistake; one about a check that
/// no scenario judges is one, and stays.
fn can_match(expectation: &Expectation, selected: &[Scenario], catalogue: &Catalogue) -> bool {
    let judges = |scenarios: &[Scenario]| {
        let mut scripts = scenarios.iter().map(Scenario::script);
        scripts.any(|it| expectation.concerns(&it.name) && it.checks.contains(&expectation.check))
    };
    judges(selected) || !judges(&catalogue.scenarios)
}

fn read(path: &Path) -> Result<String, ManifestError> {
    fs::read_to_string(path).map_err(|error| ManifestError::unreadable(path.display().to_string(), error.to_string()))
}

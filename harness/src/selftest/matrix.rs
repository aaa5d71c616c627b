//! The matrix as data, and its rows ready to run.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Must, RowKind, RowReport, SelftestError};
use crate::catalogue::Catalogue;
use crate::manifest::Role;
use crate::scenario::Scenario;
use crate::target::{Target, Template};

/// The matrix as written in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Its rows.
    pub row: Vec<Row>,
}

/// One defect in one scenario.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What `--defect` takes.
    pub defect: String,
    /// The reference that has it.
    pub target: String,
    /// The scenario that shows it.
    pub scenario: String,
    /// Checks that must fail.
    pub must_fail: Vec<String>,
    /// Checks that may fail, each with the reason.
    #[serde(default)]
    pub may_fail: BTreeMap<String, String>,
    /// Checks that must neither pass nor fail, because nothing proves them here.
    #[serde(default)]
    pub withheld: Vec<String>,
}

/// A row ready to run.
pub(super) struct Job {
    pub(super) kind: RowKind,
    pub(super) target: Target,
    pub(super) defect: String,
    pub(super) scenario: Scenario,
    pub(super) must: BTreeMap<&'static str, Must>,
}

/// The names of all rows, as [`Request::only`](super::Request::only) takes them.
///
/// # Errors
/// [`SelftestError::Matrix`] when the matrix does not fit the catalogue.
pub fn names(catalogue: &Catalogue) -> Result<Vec<String>, SelftestError> {
    // The clean references are tests of their own in the core scenarios.
    let conformance = |job: &&Job| job.kind == RowKind::Clean && job.scenario.script().core;
    Ok(jobs(catalogue)?.iter().filter(|job| !conformance(job)).map(Job::name).collect())
}

/// The jobs of the matrix: clean references first, then defects, then null targets.
pub(super) fn jobs(catalogue: &Catalogue) -> Result<Vec<Job>, SelftestError> {
    let mut jobs = Vec::new();
    let matrix: Matrix =
        toml::from_str(unbroken_scenarios::MATRIX).map_err(|error| SelftestError::Matrix(error.to_string()))?;
    for target in catalogue.targets.iter().filter(|target| target.role == Role::Reference) {
        for scenario in &catalogue.scenarios {
            let script = scenario.script();
            // A defect is only caught where its reference passes without it.
            let paired = matrix.row.iter().any(|row| row.target == target.name && row.scenario == script.name);
            if script.core || paired {
                jobs.push(job(RowKind::Clean, target, "", scenario, |_| Must::Pass)?);
            }
        }
    }
    for row in &matrix.row {
        let target = catalogue.targets.iter().find(|target| target.name == row.target);
        let scenario = catalogue.scenarios.iter().find(|scenario| scenario.script().name == row.scenario);
        let (Some(target), Some(scenario)) = (target, scenario) else {
            return Err(SelftestError::Matrix(format!(
                "{} · {}: no such target or scenario",
                row.target, row.scenario
            )));
        };
        let mut target = target.clone();
        let commands = &mut target.commands;
        let commands = [&mut commands.stop, &mut commands.status, &mut commands.config_test].into_iter().flatten();
        for command in commands.chain([&mut target.launch.command]) {
            command.extend(["--defect", &row.defect].map(|word| Template(word.to_owned())));
        }
        let must = |check: &str| {
            if row.must_fail.iter().any(|id| id == check) {
                Must::Fail
            } else if row.may_fail.contains_key(check) {
                Must::MayFail
            } else if row.withheld.iter().any(|id| id == check) {
                Must::Withheld
            } else {
                Must::Pass
            }
        };
        jobs.push(job(RowKind::Defect, &target, &row.defect, scenario, must)?);
    }
    for target in catalogue.targets.iter().filter(|target| target.role == Role::Null) {
        let scenario = catalogue.scenarios.iter().find(|scenario| scenario.script().name == NULL_SCENARIO);
        let Some(scenario) = scenario else {
            return Err(SelftestError::Matrix(format!("no scenario {NULL_SCENARIO}")));
        };
        // Of a null target only what rests on a takeover must not pass: it may well leave nothing behind.
        let must = |check: &str| {
            let rests = check.starts_with("handoff/") || check.starts_with("drain/");
            if rests { Must::NotPass } else { Must::MayFail }
        };
        jobs.push(job(RowKind::Null, target, "", scenario, must)?);
    }
    Ok(jobs)
}

/// The scenario in which null targets are shown never to pass.
const NULL_SCENARIO: &str = "restart/upgrade-under-load";

fn job(
    kind: RowKind,
    target: &Target,
    defect: &str,
    scenario: &Scenario,
    must: impl Fn(&str) -> Must,
) -> Result<Job, SelftestError> {
    let mut cells = BTreeMap::new();
    for id in &scenario.script().checks {
        let check = crate::check::find(id).ok_or_else(|| SelftestError::Matrix(format!("no check {id}")))?;
        cells.insert(check.id, must(check.id));
    }
    Ok(Job { kind, target: target.clone(), defect: defect.to_owned(), scenario: scenario.clone(), must: cells })
}

impl Job {
    /// An empty report of this row.
    pub(super) fn report(&self) -> RowReport {
        RowReport {
            kind: self.kind,
            target: self.target.name.clone(),
            defect: self.defect.clone(),
            scenario: self.scenario.script().name.clone(),
            ok: false,
            held: 0,
            cells: BTreeMap::new(),
            excused: 0,
            wrong: Vec::new(),
        }
    }

    /// The target as progress shows it.
    pub(super) fn title(&self) -> String {
        if self.defect.is_empty() {
            self.target.name.clone()
        } else {
            format!("{} --defect {}", self.target.name, self.defect)
        }
    }

    pub(super) fn name(&self) -> String {
        let defect = if self.defect.is_empty() { String::new() } else { format!(" with defect {}", self.defect) };
        format!("{}{defect} · {}", self.target.name, self.scenario.script().name)
    }

    /// A word of the command line means this row.
    pub(super) fn concerns(&self, word: &str) -> bool {
        let must_fail = self.must.iter().any(|(check, must)| *must == Must::Fail && check == &word);
        self.name() == word
            || self.defect == word
            || self.target.name == word
            || self.scenario.script().name == word
            || must_fail
    }
}

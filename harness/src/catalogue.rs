//! The catalogue that travels inside the command: scenarios, targets, expectations, validated and found by name.

use unbroken_scenarios::Embedded;

use crate::expectation::Expectations;
use crate::manifest::{ManifestError, Program, Source, nearest};
use crate::scenario::Scenario;
use crate::target::Target;

/// Scenarios, targets and the known failures of these targets, each in the order of its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
    /// The targets.
    pub targets: Vec<Target>,
    /// The expectations; each names a target of this catalogue.
    pub expectations: Vec<Expectations>,
}

/// A name that the catalogue does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("find the {kind} `{name}`{}", .near.as_ref().map(|near| format!(": did you mean `{near}`?")).unwrap_or_default())]
pub struct UnknownName {
    /// "target" or "scenario".
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// The nearest one that exists.
    pub near: Option<String>,
}

impl Catalogue {
    /// The embedded catalogue.
    ///
    /// # Panics
    /// When an embedded file is invalid: a bug of ours, which a test finds first.
    #[must_use]
    pub fn embedded() -> Catalogue {
        use unbroken_scenarios::{EXPECTATIONS, SCENARIOS, TARGETS};
        match Catalogue::read(SCENARIOS, TARGETS, EXPECTATIONS) {
            Ok(catalogue) => catalogue,
            Err(error) => panic!("the embedded catalogue is invalid:\n{}", error.render(false)),
        }
    }

    /// The names of all scenarios.
    #[must_use]
    pub fn scenario_names(&self) -> Vec<&str> {
        names_of(&self.scenarios)
    }

    /// Every program that a target or a scenario needs.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        let of_targets = self.targets.iter().flat_map(|it| &it.requires);
        of_targets.chain(self.scenarios.iter().flat_map(|it| &it.script().requires))
    }

    /// A catalogue of these files.
    ///
    /// # Errors
    /// The first file that is invalid, and expectations of a target or a scenario that does not exist.
    pub fn read(
        scenarios: &[Embedded],
        targets: &[Embedded],
        expectations: &[Embedded],
    ) -> Result<Catalogue, ManifestError> {
        let scenarios: Vec<Scenario> =
            scenarios.iter().map(|file| Scenario::parse(file.text, file.path)).collect::<Result<_, _>>()?;
        let scenario_names = names_of(&scenarios);
        let targets: Vec<Target> =
            targets.iter().map(|file| Target::parse(file.text, file.path)).collect::<Result<_, _>>()?;
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let expectations = expectations.iter().map(|file| {
            let read = Expectations::parse(file.text, file.path)?;
            let source = Source::new(file.path, file.text);
            read.require_target(&names, &source)?;
            read.require_scenarios(&scenario_names, &source)?;
            Ok(read)
        });
        let expectations = expectations.collect::<Result<_, ManifestError>>()?;
        Ok(Catalogue { scenarios, targets, expectations })
    }

    /// Every check that an embedded file names is one of `known`: the registry checks itself against the data with this.
    ///
    /// # Errors
    /// The first id that is not known, with its place and the nearest one.
    pub fn require_checks(known: &[&str]) -> Result<(), ManifestError> {
        for file in unbroken_scenarios::SCENARIOS {
            let source = Source::new(file.path, file.text);
            Scenario::validate(source.read()?, &source)?.require_checks(known, &source)?;
        }
        for file in unbroken_scenarios::EXPECTATIONS {
            let source = Source::new(file.path, file.text);
            source.read::<Expectations>()?.require_checks(known, &source)?;
        }
        Ok(())
    }

    /// The target of this name.
    ///
    /// # Errors
    /// There is none; the nearest name is told.
    pub fn target(&self, name: &str) -> Result<&Target, UnknownName> {
        let names = self.targets.iter().map(|target| target.name.as_str());
        self.targets.iter().find(|target| target.name == name).ok_or_else(|| UnknownName::new("target", name, names))
    }

    /// The scenario of this name.
    ///
    /// # Errors
    /// There is none; the nearest name is told.
    pub fn scenario(&self, name: &str) -> Result<&Scenario, UnknownName> {
        let names = self.scenarios.iter().map(|scenario| scenario.script().name.as_str());
        let found = self.scenarios.iter().find(|scenario| scenario.script().name == name);
        found.ok_or_else(|| UnknownName::new("scenario", name, names))
    }

    /// The known failures of the target of this name; `None` when it is to pass everything.
    #[must_use]
    pub fn expectations_of(&self, target: &str) -> Option<&Expectations> {
        self.expectations.iter().find(|expectations| expectations.target == target)
    }
}

impl UnknownName {
    fn new<'a>(kind: &'static str, name: &str, known: impl Iterator<Item = &'a str>) -> UnknownName {
        UnknownName { kind, name: name.to_owned(), near: nearest(name, known).map(str::to_owned) }
    }
}

fn names_of(scenarios: &[Scenario]) -> Vec<&str> {
    scenarios.iter().map(|it| it.script().name.as_str()).collect()
}

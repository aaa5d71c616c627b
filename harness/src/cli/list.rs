//! `unbroken list`: targets, scenarios and checks, and what this machine lacks for them.

use std::fmt::Write;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::effect;
use super::failure::Failure;
use super::output::say;
use crate::catalogue::Catalogue;
use crate::check::CHECKS;
use crate::machine::Machine;
use crate::manifest::{Capability, Profile, Role};
use crate::plan::lacking;
use crate::report::wording;
use crate::summary::Exit;
use crate::verdict::Level;

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// What to list (default: everything)
    #[arg(value_enum)]
    kind: Option<Kind>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Implementations under test.
    Targets,
    /// Test cases.
    Scenarios,
    /// Requirements.
    Checks,
}

/// The number of the JSON form.
const FORMAT: u32 = 1;

/// Everything that was asked for; what was not is left out.
#[derive(Debug, Serialize)]
struct Listing<'a> {
    format: u32,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<Machine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    targets: Option<Vec<Target<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenarios: Option<Vec<Scenario<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<Check>>,
}

#[derive(Debug, Serialize)]
struct Target<'a> {
    name: &'a str,
    about: &'a str,
    role: Role,
    profiles: &'a [Profile],
    available: bool,
    /// What is missing, and what would help.
    missing: Vec<Missing<'a>>,
    /// How many failures it is known to have.
    expectations: usize,
}

#[derive(Debug, Serialize)]
struct Missing<'a> {
    program: &'a str,
    remedy: &'a str,
}

#[derive(Debug, Serialize)]
struct Scenario<'a> {
    name: &'a str,
    about: &'a str,
    profile: Profile,
    needs: &'a [Capability],
    core: bool,
    checks: &'a [String],
}

#[derive(Debug, Serialize)]
struct Check {
    id: &'static str,
    level: Level,
    profile: Option<Profile>,
    capability: Option<Capability>,
    requirement: &'static str,
}

impl List {
    /// Prints it.
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let catalogue = Catalogue::embedded();
        let asked = |kind: Kind| self.kind.is_none_or(|it| it == kind);
        // Only targets depend on the machine, and probing it takes a moment.
        let machine = if asked(Kind::Targets) { Some(effect::prepare(None, catalogue.programs(), &[])?) } else { None };
        let targets = machine.as_ref().map(|machine| targets(&catalogue, machine));
        let listing = Listing {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION"),
            targets,
            machine: machine.clone(),
            scenarios: asked(Kind::Scenarios).then(|| scenarios(&catalogue)),
            checks: asked(Kind::Checks).then(checks),
        };
        say(&if self.json { json(&listing) } else { text(&listing) })?;
        Ok(Exit::AsExpected)
    }
}

fn targets<'a>(catalogue: &'a Catalogue, machine: &Machine) -> Vec<Target<'a>> {
    let lacks = |program: &str| machine.programs.get(program).is_none_or(Option::is_none);
    let of = |target: &'a crate::target::Target| {
        let missing = target.requires.iter().filter(|it| lacks(&it.program));
        let missing: Vec<Missing<'a>> =
            missing.map(|it| Missing { program: &it.program, remedy: &it.install }).collect();
        Target {
            name: &target.name,
            about: &target.about,
            role: target.role,
            profiles: &target.profiles,
            available: missing.is_empty(),
            missing,
            expectations: catalogue.expectations_of(&target.name).map_or(0, |it| it.expect.len()),
        }
    };
    catalogue.targets.iter().map(of).collect()
}

fn scenarios(catalogue: &Catalogue) -> Vec<Scenario<'_>> {
    let scripts = catalogue.scenarios.iter().map(crate::scenario::Scenario::script);
    scripts
        .map(|script| Scenario {
            name: &script.name,
            about: &script.about,
            profile: script.profile,
            needs: &script.needs,
            core: script.core,
            checks: &script.checks,
        })
        .collect()
}

fn checks() -> Vec<Check> {
    let of = |check: &&'static crate::check::Check| Check {
        id: check.id,
        level: check.level,
        profile: check.profile,
        capability: check.capability,
        requirement: check.requirement,
    };
    CHECKS.iter().map(of).collect()
}

fn json(listing: &Listing<'_>) -> String {
    let mut text = serde_json::to_string_pretty(listing).expect("a listing has no map with keys other than text");
    text.push('\n');
    text
}

fn text(listing: &Listing<'_>) -> String {
    let mut blocks = Vec::new();
    if let Some(targets) = &listing.targets {
        let mut block = "targets\n".to_owned();
        let width = targets.iter().map(|it| it.name.len()).max().unwrap_or_default();
        for it in targets {
            let _ = writeln!(block, "  {:<width$}  {:<9}  {}", it.name, wording::word(&it.role), it.about);
            for missing in &it.missing {
                let (lack, remedy) = (lacking(missing.program), missing.remedy);
                let _ = writeln!(block, "  {:<width$}  unavailable: {lack}; to do: {remedy}", "");
            }
        }
        blocks.push(block);
    }
    if let Some(scenarios) = &listing.scenarios {
        let mut block = "scenarios\n".to_owned();
        let width = scenarios.iter().map(|it| it.name.len()).max().unwrap_or_default();
        for it in scenarios {
            let core = if it.core { "core" } else { "--full" };
            let _ = writeln!(block, "  {:<width$}  {core:<6}  {}", it.name, it.about);
        }
        blocks.push(block);
    }
    if let Some(checks) = &listing.checks {
        let mut block = "checks\n".to_owned();
        let width = checks.iter().map(|it| it.id.len()).max().unwrap_or_default();
        for it in checks {
            let _ = writeln!(block, "  {:<width$}  {:<6}  {}", it.id, it.level.to_string(), it.requirement);
        }
        blocks.push(block);
    }
    if let Some(machine) = &listing.machine {
        let tier = wording::tier(machine.tier);
        let reason = if machine.tier_reason.is_empty() { String::new() } else { format!(" ({})", machine.tier_reason) };
        blocks.push(format!("this machine: tier {}, {tier}{reason}\n", machine.tier));
    }
    blocks.join("\n")
}

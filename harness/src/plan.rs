//! Can this target do this scenario on this machine? Decided before anything runs, on data alone.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::scenario::{Scenario, Step};
use crate::target::{Claim, Target};

/// Everything that a run does, fixed before it begins; part of its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The implementation under test.
    pub target: Target,
    /// The test case.
    pub scenario: Scenario,
    /// The machine as probed.
    pub machine: Machine,
    /// Seed of every random choice of the run.
    pub seed: u64,
}

/// Why a target × scenario is not run: no verdict, but never silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotRun {
    /// The manifest does not claim it.
    Unsupported {
        /// What is not claimed, and why where the manifest says so.
        reason: String,
    },
    /// This machine lacks it.
    Unavailable {
        /// What is missing.
        reason: String,
        /// The command or change that would help.
        remedy: String,
    },
}

impl Plan {
    /// Plans a run, or says why there is none.
    ///
    /// # Errors
    /// [`NotRun::Unsupported`] when the target does not claim what the scenario needs, [`NotRun::Unavailable`] when
    /// the machine lacks a program.
    pub fn new(target: &Target, scenario: &Scenario, machine: &Machine, seed: u64) -> Result<Plan, NotRun> {
        let script = scenario.script();
        if !target.profiles.contains(&script.profile) {
            return Err(unsupported(format!("the manifest does not claim the profile {:?}", script.profile)));
        }
        for need in &script.needs {
            match target.capabilities.get(need) {
                Some(Claim::Claimed) => {}
                Some(Claim::Disclaimed(reason)) => {
                    return Err(unsupported(format!("{need:?} is disclaimed: {reason}")));
                }
                None => return Err(unsupported(format!("the manifest does not claim {need:?}"))),
            }
        }
        if script.steps.contains(&Step::Upgrade) && target.restart.is_none() {
            return Err(unsupported("the manifest has no [restart]".to_owned()));
        }
        for program in &target.requires {
            if machine.programs.get(&program.program).is_none_or(Option::is_none) {
                return Err(NotRun::Unavailable {
                    reason: format!("{} is not on PATH", program.program),
                    remedy: program.install.clone(),
                });
            }
        }
        Ok(Plan { target: target.clone(), scenario: scenario.clone(), machine: machine.clone(), seed })
    }
}

fn unsupported(reason: String) -> NotRun {
    NotRun::Unsupported { reason }
}

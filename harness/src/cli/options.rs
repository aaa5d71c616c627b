//! Options that several commands share.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, value_parser};

use super::output::Colour;
use super::progress::ProgressMode;
use super::reports::Destination;
use crate::machine::Tier;

/// How a result is shown.
#[derive(Debug, Clone, Args)]
pub(super) struct ReportOptions {
    /// Write a report to a file too: FORMAT is terminal, json, junit or markdown (repeatable)
    #[arg(long, value_name = "FORMAT=PATH", value_parser = Destination::parse)]
    pub(super) report: Vec<Destination>,
    /// Write JSON to standard output instead of text
    #[arg(long)]
    pub(super) json: bool,
    /// When to colour the text
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(super) colour: Colour,
}

/// How targets are run.
#[derive(Debug, Clone, Args)]
pub(super) struct RunOptions {
    /// How often each scenario is run; the report counts how many passed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    pub(super) runs: u32,
    /// Seed of every random choice; the report names it (default: a new one)
    #[arg(long, value_name = "SEED")]
    pub(super) seed: Option<u64>,
    /// Isolation tier: A needs root, B user namespaces, C nothing (default: the best that works here)
    #[arg(long, ignore_case = true, value_parser = tier())]
    pub(super) tier: Option<Tier>,
    /// Where run directories go (default: see FILES)
    #[arg(long, value_name = "DIR")]
    pub(super) directory: Option<PathBuf>,
    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(super) progress: ProgressMode,
}

impl RunOptions {
    /// The seed asked for, or a new one.
    pub(super) fn seed(&self) -> u64 {
        seed(self.seed)
    }
}

/// The seed asked for, or a new one. 32 bits: easy to type, and exact in every reader of JSON.
pub(super) fn seed(asked: Option<u64>) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    asked.unwrap_or_else(|| RandomState::new().hash_one("seed") >> 32)
}

/// How known failures are treated.
#[derive(Debug, Clone, Args)]
pub(super) struct JudgeOptions {
    /// A failed SHOULD counts as a failed MUST
    #[arg(long)]
    pub(super) strict: bool,
    /// Known failures: `none` shows them as failures, FILE replaces those of its target
    #[arg(long, value_name = "none|FILE", value_parser = Expect::parse)]
    pub(super) expect: Option<Expect>,
}

/// What `--expect` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expect {
    /// No failure is known.
    None,
    /// This file's.
    File(PathBuf),
}

impl Expect {
    // clap wants a Result.
    #[expect(clippy::unnecessary_wraps, reason = "the type of a value parser")]
    fn parse(text: &str) -> Result<Expect, String> {
        Ok(if text == "none" { Expect::None } else { Expect::File(PathBuf::from(text)) })
    }
}

/// The words of `--tier`.
pub(super) fn tier() -> impl TypedValueParser<Value = Tier> {
    PossibleValuesParser::new(["A", "B", "C"]).map(|word| match word.to_ascii_uppercase().as_str() {
        "A" => Tier::A,
        "B" => Tier::B,
        _ => Tier::C,
    })
}

//! Parse, call, exit.

use std::process::ExitCode;
use std::{env, panic};

use clap::{Parser, Subcommand};

use super::failure::Failure;
use super::manual;
use super::options::ReportOptions;
use super::output::{Colour, say, tell};
use super::{bench, check, doctor, explain, judge, list, load, matrix, reference, schema, selftest};
use crate::summary::Exit;

/// Does a server become a proper daemon, and does it survive its own restart without losing a connection?
///
/// unbroken starts a server from a small manifest, fires continuous load through its restarts, watches the kernel's side
/// of the story, and reports requirement by requirement, with evidence that a person can verify by hand.
#[derive(Debug, Parser)]
#[command(name = "unbroken", version, max_term_width = 100, after_long_help = manual::UNBROKEN)]
#[command(after_help = "Exit codes and examples: unbroken --help")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start, load, restart and judge targets
    #[command(after_long_help = manual::CHECK)]
    Check(Box<check::Check>),
    /// Examine a target: what its manifest could say, does it work, would a bad restart be seen
    #[command(after_long_help = manual::DOCTOR)]
    Doctor(Box<doctor::Doctor>),
    /// List targets, scenarios and checks, and what this machine lacks
    #[command(after_long_help = manual::LIST)]
    List(list::List),
    /// Explain a check, a scenario or a target
    #[command(after_long_help = manual::EXPLAIN)]
    Explain(explain::Explain),
    /// Judge saved runs again, without starting anything
    #[command(after_long_help = manual::JUDGE)]
    Judge(judge::Judge),
    /// Drive a load by itself, beside a restart that you do by hand
    #[command(after_long_help = manual::LOAD)]
    Load(Box<load::Load>),
    /// Run all scenarios against all targets, and show them side by side
    #[command(after_long_help = manual::MATRIX)]
    Matrix(Box<matrix::Matrix>),
    /// Measure the handoffs of several targets beside each other
    #[command(after_long_help = manual::BENCH)]
    Bench(Box<bench::Bench>),
    /// Prove that every check catches its defect
    #[command(after_long_help = manual::SELFTEST)]
    Selftest(Box<selftest::Selftest>),
    /// Print the JSON Schema of a file
    #[command(after_long_help = manual::SCHEMA)]
    Schema(schema::Schema),
    /// Run a reference server by hand
    Reference(reference::Reference),
}

impl Command {
    fn colour(&self) -> Colour {
        let options: Option<&ReportOptions> = match self {
            Command::Load(it) => return it.colour(),
            Command::Check(it) => Some(it.reports()),
            Command::Doctor(it) => Some(it.reports()),
            Command::Judge(it) => Some(it.reports()),
            Command::Matrix(it) => Some(it.reports()),
            Command::Bench(it) => Some(it.reports()),
            Command::Selftest(it) => Some(it.reports()),
            Command::List(_) | Command::Explain(_) | Command::Schema(_) | Command::Reference(_) => None,
        };
        options.map(|it| it.colour).unwrap_or_default()
    }
}

/// The command `unbroken`: parses the command line, does what it says, and gives the exit code. A panic anywhere gives
/// 70 and a sentence that asks for a report.
#[must_use]
pub fn main() -> ExitCode {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |information| {
        told(information);
        tell(&format!(
            "unbroken: this is a bug of unbroken {} itself, not of what it tests. Please report it with the lines above \
             and the command line.\n",
            env!("CARGO_PKG_VERSION")
        ));
    }));
    guarded(|| run(env::args_os()))
}

/// What a panic becomes.
fn guarded(work: impl FnOnce() -> ExitCode + panic::UnwindSafe) -> ExitCode {
    panic::catch_unwind(work).unwrap_or_else(|_| code(Exit::Internal))
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit.code())
}

fn run(arguments: env::ArgsOs) -> ExitCode {
    let command = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command,
        Err(error) if error.use_stderr() => {
            tell(&error.render().to_string());
            return code(Exit::Usage);
        }
        // Help or version were asked for.
        Err(error) => return finish(say(&error.render().to_string()).map(|()| Exit::AsExpected), Colour::Auto),
    };
    let colour = command.colour();
    let ended = match command {
        Command::Reference(it) => return it.run(),
        Command::Check(it) => it.run(),
        Command::Doctor(it) => it.run(),
        Command::List(it) => it.run(),
        Command::Explain(it) => it.run(),
        Command::Judge(it) => it.run(),
        Command::Load(it) => it.run(),
        Command::Matrix(it) => it.run(),
        Command::Bench(it) => it.run(),
        Command::Selftest(it) => it.run(),
        Command::Schema(it) => it.run(),
    };
    finish(ended, colour)
}

fn finish(ended: Result<Exit, Failure>, colour: Colour) -> ExitCode {
    match ended {
        Ok(exit) => code(exit),
        Err(failure) => {
            tell(&failure.told(colour.on_stderr()));
            code(failure.exit())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_panic_is_a_bug_of_ours() {
        assert_eq!(guarded(|| panic!("a test of the guard")), ExitCode::from(70));
    }
}

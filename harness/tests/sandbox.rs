//! Sandboxes as the engine uses them, in every tier that this machine permits: what targets see, and that nothing
//! outlives the harness, however it ends.
//!
//! This executable is the runner and, by its first argument, each test's own process, the harness that gets killed, and
//! the target.

#[path = "sandbox/case.rs"]
mod case;
#[path = "sandbox/census.rs"]
mod census;
#[path = "sandbox/ending.rs"]
mod ending;
#[path = "sandbox/play.rs"]
mod play;
#[path = "sandbox/target.rs"]
mod target;

use std::io::Write;
use std::process::ExitCode;

use unbroken::machine::Tier;
use unbroken::sandbox::{enter, probe, probe_listen_hook, run_if_asked};

fn main() -> ExitCode {
    run_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["target", kind] => target::run(kind),
        ["case", tier, name] => {
            enter(tier_of(tier), &[]).expect("the tier was probed");
            let (_, run) = case::CASES.iter().find(|(known, _)| *known == name).expect("the runner names a known case");
            run(tier_of(tier));
            ExitCode::SUCCESS
        }
        ["harness", tier, kind, end] => play::harness(tier_of(tier), kind, end),
        // Whatever `cargo test` passes on, its first plain word selects.
        _ => all(words.iter().find(|word| !word.starts_with('-')).copied().unwrap_or_default()),
    }
}

fn tier_of(word: &str) -> Tier {
    [Tier::A, Tier::B, Tier::C].into_iter().find(|tier| tier.to_string() == word).expect("the runner names a tier")
}

/// Runs every test whose name contains `filter`, one after the other.
fn all(filter: &str) -> ExitCode {
    // Every orphan becomes a child of this process: that none is left is then exact, by ECHILD.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("it takes no privilege");
    let required = std::env::var_os("UNBROKEN_REQUIRE_ALL").is_some_and(|value| value == "1");
    let (mut passed, mut failed, mut unavailable) = (0, 0, 0);
    for tier in [Tier::A, Tier::B, Tier::C] {
        let found = probe(Some(tier));
        for (name, run) in tests(tier).into_iter().filter(|(name, _)| name.contains(filter)) {
            let reason = match name.contains("listen") && !probe_listen_hook() {
                _ if found.tier != tier => Some(found.reason.clone()),
                true => Some("seccomp user notification does not work here".to_owned()),
                false => None,
            };
            let word = match reason {
                Some(reason) if !required => {
                    unavailable += 1;
                    format!("unavailable: {reason}")
                }
                Some(reason) => {
                    failed += 1;
                    format!("FAILED\nunavailable: {reason}")
                }
                None => match run() {
                    Ok(note) => {
                        passed += 1;
                        format!("ok{note}")
                    }
                    Err(why) => {
                        failed += 1;
                        format!("FAILED\n{why}")
                    }
                },
            };
            say(&format!("test {name} ... {word}"));
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    // The form of libtest, whose lines people and programs add up; ignored are those that are unavailable here.
    say(&format!("\ntest result: {word}. {passed} passed; {failed} failed; {unavailable} ignored\n"));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

type Test = (String, Box<dyn Fn() -> Result<String, String>>);

fn tests(tier: Tier) -> Vec<Test> {
    let cases = case::CASES.iter().map(|(name, _)| {
        let run: Box<dyn Fn() -> Result<String, String>> = Box::new(move || ending::case(tier, name));
        (format!("{tier}::{name}"), run)
    });
    let endings = ending::ENDINGS.iter().flat_map(move |ending| {
        target::LEFT_BEHIND.iter().map(move |kind| {
            let run: Box<dyn Fn() -> Result<String, String>> = Box::new(move || ending::harness(tier, kind, ending));
            (format!("{tier}::nothing_stays_of_{kind}_after_{}", ending.word), run)
        })
    });
    cases.chain(endings).collect()
}

fn say(line: &str) {
    // A runner that cannot write still tells by its exit status.
    let _ = writeln!(std::io::stdout(), "{line}");
}

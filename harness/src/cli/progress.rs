//! Progress on standard error: a bar on a terminal, lines elsewhere.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::output::tell;
use crate::progress::Progress;
use crate::verdict::Verdict;

/// How the spinner turns: slow enough to cost nothing beside the load.
const TICK: Duration = Duration::from_millis(250);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum ProgressMode {
    /// A bar on a terminal; elsewhere one line per run.
    #[default]
    Auto,
    /// Lines, also for each phase as it begins and for each end.
    Plain,
    /// Nothing.
    None,
}

/// Shows progress as it comes.
pub(super) enum Teller {
    /// On a terminal.
    Bar(ProgressBar),
    /// Line by line.
    Lines {
        /// Phases and ends too.
        phases: bool,
    },
    /// Not at all.
    Silent,
}

impl Teller {
    /// For standard error. A bar has a thread: call it after everything that must come before the first thread.
    pub(super) fn new(mode: ProgressMode) -> Teller {
        match mode {
            ProgressMode::None => Teller::Silent,
            ProgressMode::Plain => Teller::Lines { phases: true },
            ProgressMode::Auto if !io::stderr().is_terminal() => Teller::Lines { phases: false },
            ProgressMode::Auto => {
                let style = ProgressStyle::with_template("{spinner} {pos}/{len} {prefix} {msg} ({elapsed})");
                let bar = ProgressBar::new(0).with_style(style.expect("the template is a constant and right"));
                bar.enable_steady_tick(TICK);
                Teller::Bar(bar)
            }
        }
    }

    /// Shows one step.
    pub(super) fn tell(&self, progress: &Progress) {
        match self {
            Teller::Silent => {}
            Teller::Lines { phases } => {
                if let Some(line) = line(progress, *phases) {
                    tell(&line);
                }
            }
            Teller::Bar(bar) => match progress {
                Progress::BuildBegan { target } => {
                    bar.set_prefix(target.clone());
                    bar.set_message("build");
                }
                Progress::RunBegan { target, scenario, number, of } => {
                    bar.set_length(u64::try_from(*of).unwrap_or(u64::MAX));
                    bar.set_position(u64::try_from(*number).unwrap_or(u64::MAX));
                    bar.set_prefix(format!("{target} · {scenario}"));
                    bar.set_message("");
                }
                Progress::Phase(phase) => bar.set_message(phase.word()),
                Progress::RunEnded { .. } => bar.set_message("judged"),
            },
        }
    }

    /// Leaves the terminal clean.
    pub(super) fn finish(&self) {
        if let Teller::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// The line of one step, where it has one.
fn line(progress: &Progress, phases: bool) -> Option<String> {
    match progress {
        Progress::BuildBegan { target } => Some(format!("unbroken: build {target}\n")),
        Progress::RunBegan { target, scenario, number, of } => {
            Some(format!("unbroken: {number}/{of} {target} {scenario}\n"))
        }
        Progress::Phase(phase) => phases.then(|| format!("phase: {}\n", phase.word())),
        Progress::RunEnded { verdict, took_ms } => {
            let verdict = verdict.map_or("not claimed", Verdict::word);
            phases.then(|| format!("ended: {verdict}, {took_ms} ms\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Phase;

    fn check(progress: &Progress, phases: bool, want: Option<&str>) {
        assert_eq!(line(progress, phases).as_deref(), want);
    }

    #[test]
    fn a_run_is_one_line() {
        let began = Progress::RunBegan {
            target: "reference/exec-inherit".to_owned(),
            scenario: "restart/upgrade-under-load".to_owned(),
            number: 3,
            of: 12,
        };
        check(&began, false, Some("unbroken: 3/12 reference/exec-inherit restart/upgrade-under-load\n"));
        check(&Progress::BuildBegan { target: "grace".to_owned() }, false, Some("unbroken: build grace\n"));
        check(&Progress::Phase(Phase::Load), false, None);
    }

    #[test]
    fn plain_progress_names_every_phase() {
        check(&Progress::Phase(Phase::Load), true, Some("phase: load\n"));
        let ended = Progress::RunEnded { verdict: Some(Verdict::Pass), took_ms: 3120 };
        check(&ended, true, Some("ended: pass, 3120 ms\n"));
    }
}

//! What happens in one cell: the command is started and ended again and again.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use serde::{Deserialize, Serialize};
use unbroken::wait::{Look, Stop, until};

use super::census::Census;
use super::chance::Chance;
use super::command::{ACTS, Act, Running};
use super::walls::{HOME, PLACE};

/// What the kernel may take to end everything, with others on the machine. It takes milliseconds, and how long it took
/// is in the report; but with forty threads and four hogs on two processors the kernel's own watchdog told of workers
/// that had not run for 49 s, and the end of a process waits for them.
const LIMIT: Duration = Duration::from_secs(240);

/// The phases in which the command is ended, as they follow on each other: before its first line, and those that it tells.
pub(crate) const PHASES: [&str; 8] = ["probe", "sandbox", "start", "supervise", "load", "trigger", "drain", "teardown"];

/// Where systemd cannot be run (tier C, and tier B where the cell has no control group) this phase does not come.
const NOT_EVERYWHERE: &str = "supervise";

/// A way of ending the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cause {
    word: &'static str,
    signal: Signal,
    /// To the whole process group, as a terminal sends it.
    group: bool,
    /// A second one right behind it, which ends the command at once.
    twice: bool,
}

const SIGKILL: Cause = Cause { word: "SIGKILL", signal: Signal::SIGKILL, group: false, twice: false };
const SIGTERM: Cause = Cause { word: "SIGTERM", signal: Signal::SIGTERM, group: false, twice: false };
const TWICE: Cause = Cause { word: "SIGTERM-twice", signal: Signal::SIGTERM, group: false, twice: true };
const CTRL_C: Cause = Cause { word: "Ctrl-C", signal: Signal::SIGINT, group: true, twice: false };

/// What a cell is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assignment {
    tier: &'static str,
    kind: &'static str,
    causes: &'static [Cause],
    seed: u64,
    times: u32,
}

impl Assignment {
    /// All of them.
    pub(crate) fn all(seed: u64, kills: u32) -> Vec<Assignment> {
        let killed =
            ["A", "B", "C"].map(|tier| Assignment { tier, kind: "killed", causes: &[SIGKILL], seed, times: kills });
        let asked: [(_, &[Cause]); 2] = [("asked", &[SIGTERM, TWICE]), ("interrupted", &[CTRL_C])];
        // The best tier that this user could have.
        let tier = if rustix::process::geteuid().is_root() { "A" } else { "B" };
        let asked = asked.map(|(kind, causes)| Assignment { tier, kind, causes, seed, times: 1 });
        killed.into_iter().chain(asked).collect()
    }

    /// Its name in the runner's lines.
    pub(crate) fn name(&self) -> String {
        format!("{}::{}", self.tier, self.kind)
    }

    /// As one word.
    pub(crate) fn text(&self) -> String {
        format!("{}:{}:{}:{}", self.tier, self.kind, self.seed, self.times)
    }

    /// The assignment that a runner wrote.
    pub(crate) fn parse(text: &str) -> Assignment {
        let known = |it: &Assignment| it.text() == text;
        let words: Vec<&str> = text.split(':').collect();
        let number = |n: usize| words[n].parse::<u64>().expect("the runner writes numbers");
        let times = u32::try_from(number(3)).expect("it was one");
        Assignment::all(number(2), times).into_iter().find(known).expect("the runner names an assignment")
    }
}

/// One ending of the command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) tier: String,
    /// The signal; "none" for a command that was left to end by itself.
    pub(crate) cause: String,
    /// The phase that was aimed at.
    pub(crate) phase: String,
    /// How long after that phase began the signal was sent.
    pub(crate) delay_ms: f64,
    /// The phase that the command had reached when it died, or took the request to end.
    pub(crate) phase_reached: String,
    /// How it ended.
    pub(crate) status: String,
    /// It ended as the cause says.
    pub(crate) as_asked: bool,
    /// From the signal until all lists were as before.
    pub(crate) gone_after_ms: f64,
    /// What differed after the deadline.
    pub(crate) differences: Vec<String>,
    /// Everything that it said, where it did not end as it should.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) said: String,
}

impl Row {
    /// Nothing was left, and it ended as it should.
    pub(crate) fn is_right(&self) -> bool {
        self.as_asked && self.differences.is_empty()
    }
}

/// What a cell tells the runner, one JSON text a line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Line {
    Row(Row),
    /// This machine does not permit it.
    Unavailable(String),
    /// Everything was played.
    Done,
}

impl Line {
    pub(crate) fn row(self) -> Option<Row> {
        match self {
            Line::Row(row) => Some(row),
            Line::Unavailable(_) | Line::Done => None,
        }
    }
}

pub(crate) fn tell(line: &Line) {
    let text = serde_json::to_string(line).expect("a line is plain data");
    writeln!(std::io::stdout(), "{text}").expect("the runner reads");
}

/// Plays an assignment inside the walls.
pub(crate) fn play(assignment: &Assignment) -> Result<(), String> {
    every_kind_of_leftover_shows();
    let mut chance = Chance::new(assignment.seed, &assignment.text());
    for act in ACTS {
        let usual = usual(assignment.tier, act)?;
        let scene = Scene { tier: assignment.tier, act, usual: &usual };
        for cause in assignment.causes {
            // What a second signal ends is the same in each phase: one is enough.
            let comes = |phase: &str| phase != NOT_EVERYWHERE || usual.iter().any(|it| it.phase == phase);
            for phase in act.phases.iter().filter(|it| comes(it) && (!cause.twice || **it == "load")) {
                for _ in 0..assignment.times {
                    end_in(&scene, *cause, phase, &mut chance);
                }
            }
        }
    }
    tell(&Line::Done);
    Ok(())
}

/// An act in one tier, in which the command is ended.
#[derive(Clone, Copy)]
struct Scene<'a> {
    tier: &'a str,
    act: Act,
    usual: &'a [Usual],
}

/// A census that sees nothing would find nothing left: plants one of each kind and looks.
fn every_kind_of_leftover_shows() {
    let runs = runs();
    let before = Census::take(&runs);
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    let file = PathBuf::from("/dev/shm/planted");
    fs::write(&file, "").expect("it is a tmpfs of our own");
    let mut child = Command::new("/bin/sleep").arg("1000").spawn().expect("coreutils are there");
    let seen = before.differences(&Census::take(&runs));
    let _ = child.kill();
    let _ = child.wait();
    drop(listener);
    fs::remove_file(file).expect("it was planted");
    for kind in ["+ process", "+ file /dev/shm/planted", "+ listener 127.0.0.1"] {
        assert!(seen.iter().any(|it| it.starts_with(kind)), "no {kind} in {seen:?}");
    }
    assert_eq!(before.differences(&Census::take(&runs)), Vec::<String>::new());
}

/// A phase of an undisturbed run, in order, and how long it lasted.
struct Usual {
    phase: String,
    length: Duration,
}

/// Lets the command run to its end once: how long each phase takes here and now.
fn usual(tier: &str, act: Act) -> Result<Vec<Usual>, String> {
    let runs = runs();
    let before = Census::take(&runs);
    let mut running = Running::start(tier, act);
    running.read_to_end();
    let ended = Instant::now();
    let (status, gone, differences) = await_equal(&before, &running, ended);
    if matches!(status, Some(WaitStatus::Exited(_, 6))) && running.said().contains("isolate in tier") {
        return Err(running.said().trim().to_owned());
    }
    let starts = running.phases.iter().map(|it| it.at);
    let ends = starts.clone().skip(1).chain([ended]);
    let phases = running.phases.iter().zip(starts.zip(ends));
    let usual = phases.map(|(it, (from, to))| Usual { phase: it.phase.clone(), length: to - from }).collect();
    // 3 in tier C, and where a busy machine left too little to judge.
    let as_asked = matches!(status, Some(WaitStatus::Exited(_, 0 | 3)));
    tell(&Line::Row(Row {
        tier: tier.to_owned(),
        cause: "none".to_owned(),
        phase: "end".to_owned(),
        delay_ms: 0.0,
        phase_reached: "end".to_owned(),
        as_asked,
        status: format!("{status:?}"),
        gone_after_ms: gone.as_secs_f64() * 1e3,
        differences,
        said: running.said_unless(as_asked),
    }));
    clear(&runs);
    Ok(usual)
}

/// Ends the command in this phase. A signal that hit another phase, because the phase was shorter this time, counts for
/// that one, and an earlier instant is drawn.
fn end_in(scene: &Scene<'_>, cause: Cause, phase: &str, chance: &mut Chance) {
    let Scene { tier, usual, .. } = *scene;
    let occurrences: Vec<usize> = (0..usual.len()).filter(|n| usual[*n].phase == phase).collect();
    let mut most = Duration::MAX;
    for _ in 0..40 {
        let which = *chance.pick(&occurrences);
        let delay = chance.within(usual[which].length.min(most));
        most = delay;
        // None: it had come to its end before the signal.
        if let Some(row) = end_once(scene, cause, phase, (which, delay)) {
            let hit = row.phase_reached == phase;
            tell(&Line::Row(row));
            if hit {
                return;
            }
        }
    }
    panic!("{} never hit the phase {phase} in tier {tier}: it is shorter than a wake-up of this machine", cause.word);
}

/// Starts the command, waits `delay` into the phase of that number, ends it, and waits for everything to be gone.
fn end_once(scene: &Scene<'_>, cause: Cause, phase: &str, aim: (usize, Duration)) -> Option<Row> {
    let (which, delay) = aim;
    let Scene { tier, act, .. } = *scene;
    let runs = runs();
    let before = Census::take(&runs);
    let stop = Stop::new().expect("descriptors are left");
    let mut running = Running::start(tier, act);
    let began = running.await_phases(which + 1);
    let entered = running.phases.last().map(|it| it.at).filter(|_| began);
    if let Some(entered) = entered {
        let _never = stop.pause((entered + delay).saturating_duration_since(Instant::now()));
    }
    let sent = Instant::now();
    running.signal(cause.signal, cause.group);
    if cause.twice {
        // The second one only once the first was taken: while it is pending, another is the same one.
        running.await_text("once more ends at once");
        running.signal(cause.signal, cause.group);
    }
    let (status, gone, differences) = await_equal(&before, &running, sent);
    if differences.is_empty() {
        // Nobody who could hold it open is left. What it told before its death says how far it was.
        running.read_to_end();
    }
    clear(&runs);
    let signal = match status {
        Some(WaitStatus::Signaled(_, signal, _)) => Some(signal),
        Some(WaitStatus::Exited(..)) if differences.is_empty() => return None,
        _ => None,
    };
    let as_asked = signal == Some(cause.signal);
    Some(Row {
        tier: tier.to_owned(),
        cause: cause.word.to_owned(),
        phase: phase.to_owned(),
        delay_ms: entered.map_or(0.0, |entered| (sent - entered).as_secs_f64() * 1e3),
        phase_reached: running.phase_reached().to_owned(),
        as_asked,
        status: format!("{status:?}"),
        gone_after_ms: gone.as_secs_f64() * 1e3,
        differences,
        said: running.said_unless(as_asked),
    })
}

/// Polls until the lists are as before: how the command ended, how long it took since `from`, what still differs.
fn await_equal(before: &Census, running: &Running, from: Instant) -> (Option<WaitStatus>, Duration, Vec<String>) {
    let runs = runs();
    let stop = Stop::new().expect("descriptors are left");
    let mut status = None;
    let equal = until(LIMIT, Duration::from_millis(1), &stop, || {
        status = running.reap().or(status);
        // The full lists cost the machine more than the end of a process: only once the count is right.
        if status.is_some() && before.counts_as_many() && *before == Census::take(&runs) {
            Look::Yes(())
        } else {
            Look::NotYet::<(), ()>
        }
    });
    let gone = from.elapsed();
    (status, gone, if equal.is_ok() { Vec::new() } else { before.differences(&Census::take(&runs)) })
}

fn runs() -> PathBuf {
    PathBuf::from(PLACE).join("runs")
}

/// The run's own directory goes, and whatever the user's directory holds would show in the next lists.
fn clear(runs: &std::path::Path) {
    if runs.exists() {
        fs::remove_dir_all(runs).expect("the run's directory can be removed");
    }
    assert!(fs::read_dir(HOME).is_ok(), "the user's directory is still there");
}

//! However the command ends, and whenever, it leaves nothing: SIGKILL, SIGTERM and Ctrl-C at random instants of each
//! phase, in every tier, with full lists of processes, namespaces, mounts, cgroups, files and listeners before and after.
//!
//! Each cell (one tier, one kind of ending) has pid, mount, network and cgroup
//! namespaces of its own, and control groups where the runner may make some, so that its lists hold nothing of strangers and can be
//! compared whole. This executable is the runner and, by its first argument, the process that enters the namespaces and the first
//! process in them.
//!
//! `UNBROKEN_KILLS=N` kills per phase and tier (default 1), `UNBROKEN_SEED=S` repeats the instants,
//! `UNBROKEN_KILLS_REPORT=PATH` writes all of it as JSON (with `UNBROKEN_COMMIT` in it).

#[path = "kill/cell.rs"]
mod cell;
#[path = "kill/census.rs"]
mod census;
#[path = "kill/chance.rs"]
mod chance;
#[path = "kill/command.rs"]
mod command;
#[path = "kill/report.rs"]
mod report;
#[path = "kill/walls.rs"]
mod walls;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

use cell::{Assignment, Line, Row};
use unbroken::kernel::cgroup;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["enter", assignment, uid, ref groups @ ..] => walls::enter(assignment, uid, groups),
        ["first", assignment, uid] => {
            let ended = walls::raise(uid).and_then(|()| cell::play(&Assignment::parse(assignment)));
            if let Err(reason) = ended {
                cell::tell(&Line::Unavailable(reason));
            }
            ExitCode::SUCCESS
        }
        // Whatever `cargo test` passes on, its first plain word selects.
        _ => all(words.iter().find(|word| !word.starts_with('-')).copied().unwrap_or_default()),
    }
}

/// Plays every cell whose name contains `filter`, all at once: they do not see each other.
fn all(filter: &str) -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("it is a whole number"));
    let seed: u64 = number("UNBROKEN_SEED").unwrap_or_else(chance::new_seed);
    let kills = number("UNBROKEN_KILLS").map_or(1, |number| number.try_into().expect("it fits 32 bits"));
    say(&format!("seed {seed}, {kills} kills per phase and tier"));
    let cells = Assignment::all(seed, kills).into_iter().filter(|it| it.name().contains(filter));
    let started: Vec<(Assignment, Vec<PathBuf>, Child)> = cells.map(start).collect();
    let required = std::env::var_os("UNBROKEN_REQUIRE_ALL").is_some_and(|value| value == "1");
    let (mut ok, mut rows) = (true, Vec::new());
    for (assignment, groups, child) in started {
        let output = child.wait_with_output().expect("a cell ends");
        let removed = groups.iter().try_for_each(|group| cgroup::end(group));
        let told: Vec<Line> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).expect("a cell tells in lines of JSON"))
            .collect();
        let name = assignment.name();
        if let Err(error) = removed {
            say(&format!("test {name} ... FAILED\nits control group stays: {error}"));
            ok = false;
        }
        match told.last() {
            Some(Line::Done) if output.status.success() => {}
            Some(Line::Unavailable(reason)) => {
                say(&format!("test {name} ... {}unavailable: {reason}", if required { "FAILED\n" } else { "" }));
                ok &= !required;
                continue;
            }
            _ => {
                say(&format!("test {name} ... FAILED\nit ended with {}", output.status));
                ok = false;
            }
        }
        let of_cell: Vec<Row> = told.into_iter().filter_map(Line::row).collect();
        ok &= verdict(&name, &of_cell);
        rows.extend(of_cell);
    }
    if let Some(path) = std::env::var_os("UNBROKEN_KILLS_REPORT") {
        std::fs::write(path, report::json(seed, kills, &rows)).expect("the report can be written");
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One line for each phase, and everything that was left.
fn verdict(name: &str, rows: &[Row]) -> bool {
    let mut ok = true;
    for (phase, cause, of_phase) in report::groups(rows) {
        let wrong: Vec<&Row> = of_phase.iter().copied().filter(|row| !row.is_right()).collect();
        let word = if wrong.is_empty() { "ok" } else { "FAILED" };
        let (median, max) = report::median_max(&of_phase);
        say(&format!(
            "test {name}::{cause}_in_{phase} ... {word} ({} times, gone after {median:.1} ms, at most {max:.1} ms)",
            of_phase.len()
        ));
        for row in wrong {
            ok = false;
            say(&format!("  {}", serde_json::to_string(row).expect("a row is plain data")));
        }
    }
    ok
}

/// Starts a cell, in control groups of its own where this user may make some.
fn start(assignment: Assignment) -> (Assignment, Vec<PathBuf>, Child) {
    let groups = walls::control_groups(&assignment);
    let child = Command::new(std::env::current_exe().expect("it has a path"))
        .args(["enter", &assignment.text(), &rustix::process::geteuid().as_raw().to_string()])
        .args(&groups)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this executable is executable");
    (assignment, groups, child)
}

fn say(line: &str) {
    // A runner that cannot write still tells by its exit status.
    let _ = writeln!(std::io::stdout(), "{line}");
}

//! The Docker engine's unit around the reference server: each of its settings shows an effect under a real systemd. What is
//! systemd's own is looked at here; what is the target's is judged by the checks of the same runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use unbroken::event::{Answer, Limit, UnitMoment, What};
use unbroken::history::History;
use unbroken::process;
use unbroken::run::store;

/// The server.
const TARGET: &str = "reference/exec-inherit-signal";

/// The run of the whole unit, which several tests look at.
fn docker_unit() -> Option<&'static History> {
    static RUN: OnceLock<Option<History>> = OnceLock::new();
    RUN.get_or_init(|| run("restart/docker-unit")).as_ref()
}

/// Runs a scenario, which must go as expected, and gives its history; `None` where systemd cannot be run.
fn run(scenario: &str) -> Option<History> {
    let name = scenario.replace('/', "-");
    let directory: PathBuf = std::env::temp_dir().join(format!("unbroken-docker-{}-{name}", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_unbroken"))
        .args(["check", TARGET, scenario, "--keep", "--progress", "none", "--directory"])
        .arg(&directory)
        .output()
        .expect("the command was built with the tests");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let run = found(&directory, "plan.json");
    let history = run.as_deref().map(|it| store::read(it).expect("the run was written"));
    let _gone = fs::remove_dir_all(&directory);
    assert_eq!(output.status.code(), Some(0), "{told}");
    if history.is_none() {
        assert!(told.contains("unavailable: "), "{told}");
        assert!(std::env::var_os("UNBROKEN_REQUIRE_ALL").is_none_or(|it| it != "1"), "{told}");
        let _told = writeln!(std::io::stderr(), "{told}");
    }
    history
}

/// The directory below this one that has such a file.
fn found(below: &Path, file: &str) -> Option<PathBuf> {
    if below.join(file).exists() {
        return Some(below.to_owned());
    }
    let entries = fs::read_dir(below).into_iter().flatten().flatten().map(|it| it.path());
    entries.filter(|it| it.is_dir()).find_map(|it| found(&it, file))
}

/// What systemd showed then.
fn shown(history: &History, wanted: UnitMoment) -> &BTreeMap<String, String> {
    let found = history.find(move |what| match what {
        What::Unit { moment, properties, .. } if *moment == wanted => Some(properties),
        _ => None,
    });
    found.map(|(_, properties)| properties).last().unwrap_or_else(|| panic!("systemd was not asked: {wanted:?}"))
}

fn check(shown: &BTreeMap<String, String>, want: &[(&str, &str)]) {
    for (name, value) in want {
        assert_eq!(shown[*name], *value, "{name} in {shown:#?}");
    }
}

/// A property that is a list holds this word.
fn check_list(shown: &BTreeMap<String, String>, name: &str, want: &[&str]) {
    let words: Vec<&str> = shown[name].split_ascii_whitespace().collect();
    assert!(want.iter().all(|word| words.contains(word)), "{name}: {want:?} in {words:?}");
}

#[test]
fn every_setting_of_the_unit_is_what_systemd_goes_by() {
    let Some(history) = docker_unit() else { return };
    let started = shown(history, UnitMoment::Started);
    check(
        started,
        &[
            ("ActiveState", "active"),
            ("Type", "notify"),
            ("TimeoutStartUSec", "infinity"),
            ("LimitNOFILE", "1048576"),
            ("LimitNPROC", "infinity"),
            ("LimitCORE", "infinity"),
            ("TasksMax", "infinity"),
            ("Delegate", "yes"),
            ("KillMode", "process"),
            ("Restart", "on-failure"),
            ("StartLimitBurst", "3"),
            ("StartLimitIntervalUSec", "1min"),
            ("CanReload", "yes"),
        ],
    );
    check_list(started, "Requires", &["target.socket"]);
    check_list(started, "After", &["target.socket", "network-online.target"]);
    check_list(started, "Wants", &["network-online.target"]);
    check_list(started, "WantedBy", &["multi-user.target"]);
    check_list(started, "TriggeredBy", &["target.socket"]);
    // A reload changes the generation and not the main process.
    let reloaded = shown(history, UnitMoment::Reloaded);
    check(reloaded, &[("ActiveState", "active"), ("MainPID", started["MainPID"].as_str()), ("NRestarts", "0")]);
    // A kill is a failure, and an end that was asked for is none.
    let back = history.find(|what| if let What::CameBack(back) = what { Some(back) } else { None }).next();
    assert_eq!(back.map(|(_, back)| (back.starts, &back.answer)), Some((1, &Answer::Answered)));
    check(shown(history, UnitMoment::Ended), &[("ActiveState", "inactive"), ("Result", "success"), ("MainPID", "0")]);
}

#[test]
fn its_limits_are_those_of_the_processes_as_far_as_this_machine_lets_anybody_raise_them() {
    let Some(history) = docker_unit() else { return };
    let limits = history.find(|what| if let What::Limits(seen) = what { Some(seen) } else { None });
    let seen: Vec<_> = limits.map(|(_, seen)| seen).collect();
    assert_eq!(seen.len(), 2, "before and after the reload");
    let own = process::limits(&fs::read_to_string("/proc/self/limits").expect("/proc is mounted"));
    let wanted = [("Max open files", Some(1_048_576)), ("Max processes", None), ("Max core file size", None)];
    for (name, value) in wanted {
        // Without CAP_SYS_RESOURCE nobody goes beyond the hard limit, and systemd sets what comes nearest.
        let possible = [Limit { soft: value, hard: value }, Limit { soft: own[name].hard, hard: own[name].hard }];
        for seen in &seen {
            assert!(possible.contains(&seen.given[name]), "{name}: {:?}, of {possible:?}", seen.given[name]);
            assert!(!seen.processes.is_empty());
            assert!(seen.processes.iter().all(|process| process.limits[name] == seen.given[name]), "{name}: {seen:?}");
        }
    }
}

#[test]
fn one_socket_outlives_its_kill_and_its_stop() {
    let Some(history) = docker_unit() else { return };
    let cookies = history.find(|what| if let What::Listeners { rows } = what { Some(rows) } else { None });
    let mut cookies: Vec<_> = cookies.flat_map(|(_, rows)| rows.iter().map(|row| row.cookie)).collect();
    cookies.sort_unstable();
    cookies.dedup();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    let answers = history.find(|what| if let What::QueuedRequest(asked) = what { Some(&asked.answer) } else { None });
    let answers: Vec<_> = answers.map(|(_, answer)| answer).collect();
    assert_eq!(answers, [&Answer::Answered; 2]);
}

#[test]
fn the_third_start_in_a_minute_is_the_last_one_and_the_old_spelling_counts() {
    let Some(history) = run("foreground/systemd-comes-back") else { return };
    let given_up = shown(&history, UnitMoment::GivenUp);
    check(given_up, &[("ActiveState", "failed"), ("StartLimitBurst", "3"), ("StartLimitIntervalUSec", "1min")]);
    let mains = history.find(|what| matches!(what, What::Main { .. }).then_some(()));
    assert_eq!(mains.count(), 3);
    let lines = history.find(|what| if let What::Output { line, .. } = what { Some(line) } else { None });
    let refusals = lines.filter(|(_, line)| line.contains("Start request repeated too quickly"));
    assert_eq!(refusals.count(), 1);
}

#[test]
fn a_start_without_limit_is_never_timed_out_and_a_short_one_is() {
    let Some(history) = run("foreground/systemd") else { return };
    check(shown(&history, UnitMoment::Held), &[("ActiveState", "activating"), ("TimeoutStartUSec", "infinity")]);
    let timed_out = shown(&history, UnitMoment::TimedOut);
    check(timed_out, &[("ActiveState", "failed"), ("Result", "timeout"), ("TimeoutStartUSec", "300ms")]);
}

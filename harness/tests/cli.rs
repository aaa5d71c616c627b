//! The command as a user runs it. One test starts a target, and interrupts it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command as StdCommand, Output, Stdio};

use assert_cmd::Command;

fn unbroken(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unbroken"));
    // What the environment of the test says must not decide it.
    command.env_remove("UNBROKEN_REQUIRE_ALL").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.args(arguments).output().expect("the command was built with the tests and can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("everything that the command says is UTF-8")
}

/// Exit code, and parts of what standard output and standard error say.
fn check(arguments: &[&str], code: i32, stdout: &[&str], stderr: &[&str]) {
    let output = unbroken(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let whole = format!("unbroken {}\n--- stdout\n{out}\n--- stderr\n{err}", arguments.join(" "));
    assert_eq!(output.status.code(), Some(code), "{whole}");
    for part in stdout {
        assert!(out.contains(part), "{part:?} is not on standard output of {whole}");
    }
    for part in stderr {
        assert!(err.contains(part), "{part:?} is not on standard error of {whole}");
    }
    if stderr.is_empty() {
        assert_eq!(err, "", "{whole}");
    }
}

/// A file that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("unbroken-cli-{}-{name}", std::process::id()));
        fs::write(&path, content).expect("a scratch file can be written");
        Scratch(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a scratch path is UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

#[test]
fn help_of_the_command_has_examples_and_exit_codes() {
    check(&["--help"], 0, &["EXAMPLES", "EXIT CODES", "70 a bug of unbroken", "selftest"], &[]);
    check(&["--version"], 0, &[env!("CARGO_PKG_VERSION")], &[]);
}

#[test]
fn help_of_every_subcommand_says_what_it_ends_with() {
    for subcommand in ["check", "doctor", "list", "explain", "judge", "load", "bench", "selftest", "schema"] {
        check(&[subcommand, "--help"], 0, &["Usage: unbroken", "EXIT CODES", "EXAMPLES"], &[]);
    }
    check(&["check", "--help"], 0, &["ENVIRONMENT", "UNBROKEN_REQUIRE_ALL", "FILES", "events.jsonl.gz"], &[]);
}

#[test]
fn wrong_usage_ends_with_2() {
    check(&[], 2, &[], &["Usage: unbroken"]);
    check(&["chekc"], 2, &[], &["'check'"]);
    check(&["check", "--tier", "X"], 2, &[], &["[possible values: A, B, C]"]);
    check(&["check", "--runs", "0"], 2, &[], &["--runs"]);
    check(&["check", "--report", "html=x.html"], 2, &[], &["use terminal, json, junit or markdown"]);
    check(&["check", "--soak", "9"], 2, &[], &["--soak"]);
    check(&["check", "--soak", "10", "--full"], 2, &[], &["cannot be used with"]);
    check(&["check", "--soak", "10", "restart/storm"], 2, &[], &["--soak runs `restart/sequential`"]);
    check(&["judge"], 2, &[], &["<RUN>"]);
}

#[test]
fn a_benchmark_names_its_targets() {
    check(&["bench"], 2, &[], &["<TARGET|FILE>"]);
    check(&["bench", "ngnix"], 2, &[], &["did you mean `nginx`?"]);
    check(&["bench", "nginx", "--against", "nginx/hup"], 2, &[], &["`nginx/hup` cannot be held against itself"]);
    check(
        &["bench", "nginx", "--plot", "/absent/plot.svg"],
        2,
        &[],
        &["the report /absent/plot.svg cannot be written"],
    );
    check(&["selftest", "--calibrate", "--jobs", "2"], 2, &[], &["cannot be used with"]);
}

#[test]
fn doctor_examines_one_target() {
    check(&["doctor"], 2, &[], &["<TARGET|FILE>"]);
    check(&["doctor", "nginx"], 2, &[], &["`nginx` is not one target", "nginx/hup"]);
    check(&["doctor", "handoff"], 2, &[], &["is not one target"]);
    check(&["doctor", "absent.toml"], 2, &[], &["there is no manifest file `absent.toml`"]);
}

#[test]
fn doctor_ends_with_5_where_the_baseline_is_broken() {
    let directory = std::env::temp_dir().join(format!("unbroken-cli-{}-doctor", std::process::id()));
    let path = directory.to_str().expect("a scratch path is UTF-8");
    let output = unbroken(&["doctor", "null/exits-at-once", "--directory", path, "--progress", "none", "--json"]);
    let _gone = fs::remove_dir_all(&directory);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["exit"], 5);
    let results: Vec<_> = report["examinations"].as_array().expect("an array").iter().map(|it| &it["result"]).collect();
    assert_eq!(results, ["broken", "not-run", "not-run"]);
}

#[test]
fn an_unknown_word_ends_with_2_and_a_suggestion() {
    check(&["check", "ngnix"], 2, &[], &["did you mean `nginx`?"]);
    check(&["check", "nginx/hub"], 2, &[], &["did you mean `nginx/hup`?"]);
    check(&["check", "--run", "handoff/no-refuse"], 2, &[], &["did you mean `handoff/no-refused`?"]);
    check(&["check", "zzzzzzzz"], 2, &[], &["`unbroken list` shows all there is"]);
    check(&["explain", "drian"], 2, &[], &["there is no", "drian"]);
}

#[test]
fn a_manifest_that_cannot_be_used_ends_with_2_and_its_place() {
    check(&["check", "absent.toml"], 2, &[], &["there is no manifest file `absent.toml`"]);
    let bad = Scratch::new("bad.toml", "name = \"mine/server\"\nabuot = \"a slip\"\n");
    check(&["check", bad.path()], 2, &[], &["unknown key `abuot`", "bad.toml:2", "did you mean `about`?"]);
}

#[test]
fn expectations_that_cannot_be_used_end_with_2() {
    let other = Scratch::new("other.toml", "target = \"nginx/hub\"\n");
    check(&["check", "nginx/hup", "--expect", other.path()], 2, &[], &["there is no target `nginx/hub`"]);
    check(&["check", "nginx/hup", "--expect", "/absent/file"], 2, &[], &["cannot read the file"]);
}

#[test]
fn nothing_selected_ends_with_4() {
    check(&["check", "restart/backlog-kept", "drain/keepalive-race"], 4, &[], &["nothing is selected"]);
    check(&["check", "--run", "drain", "--skip", "drain/"], 4, &[], &["nothing is selected"]);
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_anything_runs() {
    check(&["check", "--report", "json=/absent/report.json"], 2, &[], &["/absent/report.json", "cannot be written"]);
}

#[test]
fn list_shows_targets_scenarios_and_checks() {
    check(&["list"], 0, &["reference/exec-inherit", "restart/upgrade-under-load", "handoff/no-refused", "tier"], &[]);
    let scenarios = text(&unbroken(&["list", "scenarios"]).stdout);
    assert!(scenarios.contains("restart/upgrade-under-load") && !scenarios.contains("handoff/no-refused"));
}

#[test]
fn list_as_json_is_a_document_with_a_format() {
    let output = unbroken(&["list", "--json"]);
    assert!(output.status.success());
    let listing: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(listing["format"], 1);
    let targets = listing["targets"].as_array().expect("targets are an array");
    assert!(targets.iter().any(|it| it["name"] == "reference/exec-inherit" && it["available"] == true));
    let checks = listing["checks"].as_array().expect("checks are an array");
    assert_eq!(checks.len(), unbroken::check::CHECKS.len());
    assert!(["A", "B", "C"].iter().any(|tier| listing["machine"]["tier"] == **tier));
}

#[test]
fn a_target_is_available_or_says_what_is_missing_and_what_helps() {
    let output = unbroken(&["list", "targets", "--json"]);
    let listing: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    for target in listing["targets"].as_array().expect("targets are an array") {
        let missing = target["missing"].as_array().expect("what is missing is an array");
        assert_eq!(target["available"], missing.is_empty(), "{target}");
        assert!(missing.iter().all(|it| it["remedy"].as_str().is_some_and(|it| !it.is_empty())), "{target}");
    }
}

#[test]
fn explain_tells_what_a_check_requires_and_which_defect_it_catches() {
    let parts = ["never refused", "MUST", "listen(2)", "profile restart", "200 fresh connections", "defect no-refused"];
    check(&["explain", "handoff/no-refused"], 0, &parts, &[]);
    check(&["explain", "restart/upgrade-under-load"], 0, &["1. start", "judged by", "handoff/no-refused"], &[]);
    check(&["explain", "reference/exec-inherit"], 0, &["reference: ours and correct", "command"], &[]);
}

#[test]
fn schemas_are_json() {
    for file in ["manifest", "scenario", "expectations"] {
        let output = unbroken(&["schema", file]);
        assert!(output.status.success());
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        assert!(schema["properties"].is_object(), "{file}");
    }
    check(&["schema", "report"], 2, &[], &["[possible values: manifest, scenario, expectations]"]);
}

#[test]
fn the_references_have_their_own_help() {
    check(&["reference", "--help"], 0, &["exec-inherit", "null-exit"], &[]);
    check(&["reference", "exec-inherit", "--help"], 0, &["WHAT IT GUARANTEES"], &[]);
}

#[test]
fn judging_what_is_no_run_is_told() {
    check(&["judge", "/absent/run"], 2, &[], &["`/absent/run` is no run's directory"]);
}

#[test]
fn an_interrupted_command_takes_everything_down_and_dies_of_its_signal() {
    let directory = std::env::temp_dir().join(format!("unbroken-cli-{}-interrupted", std::process::id()));
    let mut child = StdCommand::new(env!("CARGO_BIN_EXE_unbroken"))
        .args(["check", "reference/exec-inherit-signal", "restart/upgrade-under-load", "--progress", "plain"])
        .arg("--directory")
        .arg(&directory)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command can be started");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines().map(|it| it.expect("UTF-8"));
    assert!(lines.any(|line| line == "phase: load"), "the load never began");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid is an i32"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it lives");
    let rest: Vec<String> = lines.collect();
    let status = child.wait().expect("it ends");
    let left: Vec<_> = fs::read_dir(&directory).into_iter().flatten().collect();
    let _gone = fs::remove_dir_all(&directory);
    assert_eq!(status.signal(), Some(15), "{status} {rest:?}");
    assert!(left.is_empty(), "half a run was left: {left:?}");
    assert!(rest.iter().any(|line| line.contains("taking everything down")), "{rest:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = StdCommand::new(env!("CARGO_BIN_EXE_unbroken"))
        .args(["schema", "manifest"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command can be started");
    // Its reading end is closed before, or while, the command writes.
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

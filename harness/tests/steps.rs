//! Every restart step of the manifest, on the reference server: each brings the new version, and the history names it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Two loads at once on two processors would take each other's passes away; libtest runs tests side by side.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A manifest of the reference server with these options and this `[restart]`.
fn manifest(options: &str, restart: &str) -> String {
    format!(
        r#"
name = "steps/server"
about = "The reference server, restarted step by step"
profiles = ["foreground", "restart"]
claims = ["pidfile", "watch"]
pidfile = "{{dir}}/server.pid"
ready = {{ answers = "http" }}
stop = {{ signal = "TERM" }}

[launch]
command = ["{{self}}", "exec-inherit", "--address", "{{address}}", "--pidfile", "{{dir}}/server.pid",
           "--idle-grace-ms", "600", {options}]

[[files]]
path = "{{dir}}/watched"
content = "version {{version}}"

[[endpoints]]
name = "http"
address = "127.0.0.1:10086"
slow = {{ path = "/slow?ms=600", takes_ms = 600 }}
version_header = "X-Version"
echo_header = "X-Request-Id"

[restart]
{restart}
"#
    )
}

/// Runs the command on such a manifest; it must end as expected, and its report must hold `want`.
fn check(name: &str, options: &str, restart: &str, scenario: &str, want: &str) {
    let directory: PathBuf = std::env::temp_dir().join(format!("unbroken-steps-{}-{name}", std::process::id()));
    fs::create_dir_all(&directory).expect("a scratch directory");
    fs::write(directory.join("server.toml"), manifest(options, restart)).expect("a scratch file");
    // A test that failed before this one has left nothing behind that matters here.
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new(env!("CARGO_BIN_EXE_unbroken"))
        .current_dir(&directory)
        .args(["check", "server.toml", scenario, "--progress", "none", "--directory", "runs"])
        .output()
        .expect("the command was built with the tests");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let _gone = fs::remove_dir_all(&directory);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains(want), "{want:?} is not in:\n{told}");
}

const NO_WATCH: &str = r#""--no-watch""#;
const WATCHED: &str = r#""--watch", "{dir}/watched""#;
/// Nothing else in these manifests is watched by the harness; the claim needs the key.
const WATCH: &str = r#"watch = { path = "{dir}/watched", kind = "data" }"#;
const UNDER_LOAD: &str = "restart/upgrade-under-load";
const TOOK_OVER: &str = "handoff/took-over             MUST    pass";

#[test]
fn a_signal_to_the_pid_in_a_file() {
    let steps = r#"steps = ["deploy", { signal = { signal = "HUP", to = { pid-in = "{dir}/server.pid" } } }]"#;
    check("pid-in", NO_WATCH, &format!("{steps}\ndone = \"new-version\"\n{WATCH}"), UNDER_LOAD, TOOK_OVER);
}

#[test]
fn a_command_that_is_run_in_the_targets_world() {
    let steps = r#"steps = ["deploy", { run = { command = ["/bin/sh", "-c", "kill -HUP $(cat {dir}/server.pid)"] } }]"#;
    check("run", NO_WATCH, &format!("{steps}\ndone = \"new-version\"\n{WATCH}"), UNDER_LOAD, TOOK_OVER);
}

/// Steps that change the file which the server watches.
fn by_file(name: &str, steps: &str) {
    let file = "[[files]]\npath = \"{dir}/trigger\"\ncontent = \"x\"\n";
    let restart = format!("steps = [\"deploy\", {steps}]\ndone = \"new-version\"\n{WATCH}\n\n{file}");
    check(name, r#""--watch", "{dir}/trigger""#, &restart, UNDER_LOAD, TOOK_OVER);
}

#[test]
fn a_file_touched_after_the_deploy() {
    by_file("touch", r#"{ touch = "{dir}/trigger" }"#);
}

#[test]
fn a_file_replaced_by_a_copy_of_itself() {
    by_file("replace", r#"{ replace = "{dir}/trigger" }"#);
}

#[test]
fn a_file_written_again_in_place_and_a_wait_for_the_new_version() {
    by_file("rewrite", r#"{ rewrite = "{dir}/trigger" }, { wait = "new-version" }"#);
}

#[test]
fn a_watched_data_file_that_is_written_in_place() {
    let restart = format!("steps = [\"deploy\"]\ndone = \"new-version\"\n{WATCH}");
    let want = "handoff/watch-triggered  MUST    pass";
    check("data", WATCHED, &restart, "restart/watch-data", want);
}

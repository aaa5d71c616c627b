//! A target's own build: once for all runs of a command, with an error that shows what it said, and nothing left behind.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A scratch directory with a manifest of the reference server that is built with this shell command; removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, script: &str, further: &str) -> Scratch {
        let place = std::env::temp_dir().join(format!("unbroken-builds-{}-{name}", std::process::id()));
        fs::create_dir_all(&place).expect("a scratch directory");
        let count = place.join("builds");
        let manifest = format!(
            r#"
name = "built/server"
about = "A script that becomes the reference server, copied as its build"
profiles = ["foreground"]
ready = {{ answers = "http" }}
stop = {{ signal = "TERM" }}
{further}

[launch]
command = ["{{dir}}/server", "{{self}}", "{{address}}"]

[build]
command = ["/bin/sh", "-ec", "echo built >> {count}; {script}"]
environment = {{ SOURCE = "{{dir}}/source" }}
product = "{{dir}}/server"

[[files]]
path = "{{dir}}/source"
content = """
#!/bin/sh
exec "$1" exec-inherit --address "$2"
"""

[[endpoints]]
name = "http"
address = "127.0.0.1:10086"
"#,
            count = count.display()
        );
        fs::write(place.join("server.toml"), manifest).expect("a scratch file");
        Scratch(place)
    }

    /// Both scenarios, twice each.
    fn check(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_unbroken"))
            .current_dir(&self.0)
            .args(["check", "server.toml", "foreground/start-again", "foreground/nohup", "--runs", "2"])
            .args(["--progress", "none", "--directory", "runs"])
            .output()
            .expect("the command was built with the tests")
    }

    /// How often it was built.
    fn builds(&self) -> usize {
        fs::read_to_string(self.0.join("builds")).unwrap_or_default().lines().count()
    }

    /// What the command left in its directory.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("runs")).expect("it is there").flatten();
        entries.map(|entry| entry.file_name().display().to_string()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whatever a test of another run finds here, it makes a new one.
        let _gone = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn assert_fails(name: &str, script: &str, further: &str, want: &[&str]) {
    let scratch = Scratch::new(name, script, further);
    let output = scratch.check();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    for want in want {
        assert!(told.contains(want), "{want:?} is not in:\n{told}");
    }
    assert_eq!((scratch.builds(), scratch.left()), (1, Vec::new()));
}

#[test]
fn a_program_is_built_once_for_all_runs_and_nothing_is_left() {
    let scratch = Scratch::new("once", "cp $SOURCE server", "");
    let output = scratch.check();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!((scratch.builds(), scratch.left()), (1, Vec::new()));
}

#[test]
fn a_build_that_fails_is_shown_with_what_it_said() {
    let want = [
        "built/server",
        "build its program (build.command of its manifest)",
        "ended with exit status 3",
        "undefined: main",
    ];
    assert_fails("fails", "echo 'undefined: main' >&2; exit 3", "", &want);
}

#[test]
fn a_build_has_to_leave_its_product() {
    assert_fails("nothing", "true", "", &["it left no file", "/server (`build.product`)", "(nothing)"]);
}

#[test]
fn a_build_that_does_not_end_is_ended() {
    let want = ["it had not ended after 300 ms (`deadlines.build_ms`)", "still at it"];
    assert_fails("hangs", "echo still at it; sleep 3600", "deadlines = { build_ms = 300 }", &want);
}

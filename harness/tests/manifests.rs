//! Bad manifests, end to end: each gives one clear error that names the file, the key and the fix, the right exit code,
//! and leaves nothing.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Output;

use assert_cmd::Command;

/// A directory of one test, with its manifest, gone with the test.
struct Bench(PathBuf);

impl Bench {
    fn new(name: &str) -> Bench {
        let directory = std::env::temp_dir().join(format!("unbroken-manifests-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).expect("a scratch directory");
        Bench(directory)
    }

    /// A manifest that starts this command, and is right in everything else.
    fn launching(name: &str, command: &str) -> Bench {
        let bench = Bench::new(name);
        bench.write(&manifest(command, "127.0.0.1:18080"));
        bench
    }

    fn write(&self, text: &str) {
        fs::write(self.0.join("server.toml"), text).expect("a scratch file");
    }

    fn check(&self, more: &[&str]) -> Told {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unbroken"));
        command.env_remove("UNBROKEN_REQUIRE_ALL").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command.current_dir(&self.0).args(["check", "server.toml", "restart/upgrade-under-load"]);
        command.args(["--progress", "none", "--directory", "runs"]).args(more);
        Told::new(&command.output().expect("the command was built with the tests"))
    }

    /// What stands in the directory of the runs; empty when there is none.
    fn runs(&self) -> Vec<PathBuf> {
        fs::read_dir(self.0.join("runs")).into_iter().flatten().flatten().map(|it| it.path()).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// What the command said.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Told {
    fn new(output: &Output) -> Told {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("everything that it says is UTF-8");
        Told { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Ends with this code, says exactly this on standard error and nothing on standard output.
    fn refuses(&self, code: i32, stderr: &str) {
        assert_eq!((self.code, self.stderr.as_str(), self.stdout.as_str()), (Some(code), stderr, ""));
    }

    /// Ends with 5, and one entry says what does not work, with this evidence.
    fn is_broken(&self, evidence: &[&str]) {
        assert_eq!((self.code, self.stderr.as_str()), (Some(5), ""), "{}", self.stdout);
        for part in evidence {
            assert!(self.stdout.contains(part), "{part:?} is not in:\n{}", self.stdout);
        }
        assert_eq!(self.stdout.matches("\nBROKEN  mine/server").count(), 1, "{}", self.stdout);
        // The table says it for each check; no check has an entry of its own.
        assert!(!self.stdout.contains("\nINCONCLUSIVE"), "{}", self.stdout);
        assert!(self.stdout.ends_with("exit 5: a target does not work without any restart\n"), "{}", self.stdout);
    }
}

fn manifest(command: &str, address: &str) -> String {
    format!(
        r#"name = "mine/server"
about = "a server of mine"
profiles = ["foreground", "restart"]
ready = {{ answers = "http" }}
stop = {{ signal = "TERM" }}
[launch]
command = {command}
[[files]]
path = "{{dir}}/version"
content = "{{version}}"
[[endpoints]]
name = "http"
address = "{address}"
slow = {{ path = "/slow?ms=600", takes_ms = 600 }}
version_header = "X-Version"
[restart]
steps = ["deploy", {{ signal = {{ signal = "HUP", to = "main" }} }}]
done = "new-version"
[deadlines]
start_ms = 1500
"#
    )
}

const SLEEPS: &str = r#"["/bin/sh", "-c", "exec sleep 600"]"#;

/// Processes whose command line holds this text.
fn processes(text: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").expect("/proc is mounted").flatten().filter_map(|it| {
        let line = fs::read(it.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(text)).collect()
}

#[test]
fn an_unknown_key() {
    let bench = Bench::new("unknown-key");
    bench.write(&manifest(SLEEPS, "127.0.0.1:18080").replace("steps =", "stepz ="));
    bench.check(&[]).refuses(
        2,
        "error: unknown key `stepz`\n  \
           --> server.toml:17:1\n   \
            |\n\
         17 | stepz = [\"deploy\", { signal = { signal = \"HUP\", to = \"main\" } }]\n   \
            | ^^^^^ restart.stepz\n   \
            |\n   \
            = help: did you mean `steps`?\n",
    );
    assert!(bench.runs().is_empty());
}

#[test]
fn a_wrong_type() {
    let bench = Bench::new("wrong-type");
    bench.write(&manifest(SLEEPS, "127.0.0.1:18080").replace("start_ms = 1500", "start_ms = \"1500\""));
    bench.check(&[]).refuses(
        2,
        "error: expected a whole number, not negative, found the string \"1500\"\n  \
           --> server.toml:20:12\n   \
            |\n\
         20 | start_ms = \"1500\"\n   \
            |            ^^^^^^ deadlines.start_ms\n   \
            |\n   \
            = help: write for example: 10000, which is ten seconds\n",
    );
    assert!(bench.runs().is_empty());
}

#[test]
fn a_missing_file() {
    let bench = Bench::new("missing-file");
    bench.check(&[]).refuses(2, "unbroken: there is no manifest file `server.toml`\n");
    assert!(bench.runs().is_empty());
}

/// One error at `launch.command`, and no directory: such a run has nothing to tell.
fn refused_command(bench: &Bench, command: &str, reason: &str, fix: &str) {
    let program = command.trim_matches(['[', ']', '"']);
    bench.check(&[]).refuses(
        2,
        &format!(
            "error: cannot execute `{program}`: {reason}\n \
               --> server.toml:7:11\n  \
                |\n\
              7 | command = {command}\n  \
                |           {} launch.command\n  \
                |\n  \
                = help: {fix}\n",
            "^".repeat(command.len())
        ),
    );
    assert_eq!(bench.runs(), Vec::<PathBuf>::new());
}

#[test]
fn a_command_that_is_not_there() {
    for command in [r#"["/no/such/program"]"#, r#"["no-such-program"]"#] {
        let bench = Bench::launching("no-command", command);
        let reason = "no such program, or its interpreter is missing";
        refused_command(&bench, command, reason, "give its path, or install it");
    }
}

#[test]
fn a_command_that_is_not_executable() {
    let bench = Bench::new("not-executable");
    let program = bench.0.join("plain");
    fs::write(&program, "#!/bin/sh\n").expect("a scratch file");
    let command = format!("[\"{}\"]", program.display());
    bench.write(&manifest(&command, "127.0.0.1:18080"));
    refused_command(&bench, &command, "it is not executable", "chmod +x it, or name its interpreter first");
}

#[test]
fn a_command_that_exits_at_once() {
    let bench = Bench::launching("exits", r#"["/bin/sh", "-c", "echo cannot read the configuration >&2; exit 3"]"#);
    bench.check(&[]).is_broken(&[
        "start: the launched process ended before it was ready (exit status 3)",
        "stderr: cannot read the configuration",
    ]);
}

#[test]
fn a_command_that_is_killed_at_once() {
    let bench = Bench::launching("killed", r#"["/bin/sh", "-c", "kill -SEGV $$"]"#);
    bench.check(&[]).is_broken(&["start: the launched process ended before it was ready (killed by SIGSEGV)"]);
}

#[test]
fn a_launcher_that_fails() {
    let bench = Bench::launching("launcher-fails", r#"["/bin/sh", "-c", "exit 3"]"#);
    let text = fs::read_to_string(bench.0.join("server.toml")).expect("just written");
    let text = text.replace("[launch]\n", "main = \"pidfile\"\npidfile = \"{dir}/pid\"\n[launch]\nreturns = true\n");
    bench.write(&text.replace("\"foreground\"", "\"daemon\""));
    bench.check(&[]).is_broken(&["start: the launcher did not end with 0 (exit status 3)"]);
}

#[test]
fn a_server_that_is_never_ready() {
    // Words of its own, to be recognised among the machine's processes afterwards.
    let mark = format!("7{}1", std::process::id());
    let bench = Bench::launching("never-ready", &format!(r#"["/bin/sh", "-c", "exec sleep {mark}"]"#));
    for tier in BEST_AND_BARE {
        bench.check(tier).is_broken(&[
            "ready: not within 1500 ms",
            "start: no answer on 127.0.0.1:18080 (refused); it listens nowhere",
        ]);
    }
    assert_eq!(processes(&format!("sleep {mark}")), Vec::<String>::new());
}

#[test]
fn a_server_that_listens_elsewhere() {
    // Of the machine's ports, in tier C: two that were free a moment ago.
    let [declared, actual] = free_addresses();
    let command = format!(r#"["{{self}}", "exec-inherit", "--address", "{actual}", "--no-watch"]"#);
    let bench = Bench::new("elsewhere");
    bench.write(&manifest(&command, &declared));
    for tier in BEST_AND_BARE {
        let evidence = format!("start: no answer on {declared} (refused); it listens on {actual}\n");
        bench.check(tier).is_broken(&[&evidence]);
    }
    assert_eq!(processes(&actual), Vec::<String>::new());
}

#[test]
fn an_address_that_is_taken() {
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = stranger.local_addr().expect("it is bound");
    let bench = Bench::new("taken");
    bench.write(&manifest(
        r#"["{self}", "exec-inherit", "--address", "{address}", "--no-watch"]"#,
        &address.to_string(),
    ));
    bench.check(&["--tier", "C"]).refuses(
        6,
        &format!(
            "unbroken: failed to run mine/server · restart/upgrade-under-load: use the address {address}: another \
             program listens on it (`ss -ltnp` shows which); stop it, or declare another address; in tiers A and B the \
             target has a network of its own\n"
        ),
    );
    assert_eq!(bench.runs(), Vec::<PathBuf>::new());
}

/// The best tier of this machine, and the one that every machine has.
const BEST_AND_BARE: [&[&str]; 2] = [&[], &["--tier", "C"]];

fn free_addresses() -> [String; 2] {
    let held = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    held.each_ref().map(|it| it.local_addr().expect("it is bound").to_string())
}

//! `unbroken load` as a user runs it: whom it loads, whom it refuses, what it says, and how it ends.

#[path = "load/server.rs"]
mod server;

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

fn unbroken(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_unbroken"))
        .args(arguments)
        .output()
        .expect("the command was built with the tests");
    let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn load(arguments: &[&str]) -> (Option<i32>, String, String) {
    unbroken(&[&["load"], arguments].concat())
}

#[test]
fn another_machine_is_refused_unless_it_is_said_to_be_ones_own() {
    let (code, out, err) = load(&["http://192.0.2.1/"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("192.0.2.1:80 is not this machine's loopback") && err.contains("--allow-remote"), "{err}");
}

#[test]
fn what_cannot_be_loaded_is_told_with_the_fix() {
    for (arguments, want) in [
        (&["https://127.0.0.1/"][..], "write http://"),
        (&["http://example.org/"], "names are not looked up"),
        (&["http://127.0.0.1/", "--connections", "0"], "from 1 to 65536 can be driven"),
        (&["http://127.0.0.1/", "--threads", "17"], "17 threads for 16 connections"),
        (&["http://127.0.0.1/", "--rate", "0"], "from 0.01 to 1000000 can be kept"),
        (&["http://127.0.0.1/", "--duration", "soon"], "--duration"),
        (&["http://[::1]/", "--sources", "2"], "the two are of different families"),
        (&["http://unix:/run/x.sock", "--sources", "2"], "the two are of different families"),
        (&["echo://127.0.0.1:7", "--application", "1"], "its client speaks HTTP by TCP alone"),
    ] {
        let (code, _, err) = load(arguments);
        assert!(code == Some(2) && err.contains(want), "{arguments:?}: {code:?} {err}");
    }
}

#[test]
fn everything_answered_is_0_and_told_to_people_and_to_programs() {
    let address = server::start();
    let url = format!("http://{address}/");
    let log = std::env::temp_dir().join(format!("unbroken-load-{}.hlog", std::process::id()));
    let path = log.to_str().expect("a scratch path is UTF-8");
    let (code, out, err) = load(&[&url, "--duration", "200ms", "--histogram", path]);
    assert_eq!(code, Some(0), "{err}");
    for word in ["requests", "answered", "lost         0\n", "latency", "connections", "processor"] {
        assert!(out.contains(word), "{word:?} is not in\n{out}");
    }
    assert!(err.contains("/s  p50"), "each second is told: {err}");
    let times = std::fs::read_to_string(&log).expect("the log was written");
    let _gone = std::fs::remove_file(&log);
    // A compressed histogram of the V2 format begins so, in base64.
    let lines: Vec<&str> = times.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(times.starts_with("#[Logged with unbroken") && !lines.is_empty(), "{times}");
    assert!(lines.iter().all(|line| line.split(',').nth(3).is_some_and(|it| it.starts_with("HISTF"))), "{times}");

    let (code, out, _) =
        load(&[&url, "--duration", "300ms", "--rate", "1000", "--fresh", "--json", "--progress", "none"]);
    let report: Value = serde_json::from_str(&out).expect("it is JSON");
    let result = &report["result"];
    assert_eq!(
        (code, &result["begun"], &result["answered"], &result["connections"]),
        (Some(0), &300.into(), &300.into(), &300.into())
    );
    assert_eq!((&report["rate"], &report["kept"]), (&1000.0.into(), &false.into()));
}

#[test]
fn something_lost_is_1_with_class_and_first_losses() {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    // Bound and not listening: nobody else can have the port.
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let address = SocketAddr::try_from(getsockname(&held).expect("it has a name")).expect("address");
    let (code, out, _) = load(&[&format!("http://{address}/"), "--duration", "50ms", "--progress", "none"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains(" refused") && out.contains("refused, ECONNREFUSED, 0 bytes of answer"), "{out}");
}

#[test]
fn a_request_to_end_ends_it_early_with_its_report() {
    let address = server::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_unbroken"));
    command.args(["load", &format!("http://{address}/"), "--duration", "1h"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // The first line of progress: it loads. Not SIGINT, which a shell's background jobs ignore.
    let mut told = [0u8; 1];
    child.stderr.as_mut().expect("it is piped").read_exact(&mut told).expect("it tells");
    kill(Pid::from_raw(child.id().try_into().expect("pids fit")), Signal::SIGTERM).expect("it lives");
    let output = child.wait_with_output().expect("it ends");
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(Signal::SIGTERM as i32), "{out}");
    assert!(out.contains("answered"), "{out}");
}

#[test]
fn a_unix_socket_is_loaded_by_its_path() {
    let path = std::env::temp_dir().join(format!("unbroken-load-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).expect("nobody has this name");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    let place = format!("unix:{}", path.display());
    let (code, out, err) =
        load(&[&format!("echo://{place}"), "--duration", "100ms", "--connections", "2", "--progress", "none"]);
    assert!(code == Some(0) && out.contains(&format!("echo://{place} for 0.1 s, 2 kept")), "{out}{err}");
    std::fs::remove_file(&path).expect("it is ours");
    let (code, out, _) = load(&[&place, "--duration", "50ms", "--progress", "none"]);
    assert!(
        code == Some(1) && out.contains("refused, ENOENT") && out.contains(&format!("http://{place}:/ for")),
        "{out}"
    );
}

#[test]
fn a_recorded_load_is_judged_again_from_its_requests() {
    let url = format!("http://{}/", server::start());
    let file = std::env::temp_dir().join(format!("unbroken-record-{}.load", std::process::id()));
    let path = file.to_str().expect("a scratch path is UTF-8");
    let loaded =
        ["load", &url, "--duration", "200ms", "--rate", "2000", "--record", path, "--json", "--progress", "none"];
    let (code, out, err) = unbroken(&loaded);
    assert_eq!(code, Some(0), "{err}");
    let written: Value = serde_json::from_str(&out).expect("it is JSON");
    let (code, out, err) = unbroken(&["judge", path, "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let judged: Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((&judged["result"], &judged["rate"]), (&written["result"], &2000.0.into()));
    assert_eq!(judged["stretches"]["outages"], Value::Array(Vec::new()));
    let (_, out, _) = unbroken(&["judge", path]);
    assert!(out.contains("silence") && out.contains("answered     400,"), "{out}");

    let bytes = std::fs::read(&file).expect("it was written");
    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("it is ours");
    let (code, _, err) = unbroken(&["judge", path]);
    let _gone = std::fs::remove_file(&file);
    assert!(code == Some(6) && err.contains(&format!("read the load in {path}")), "{code:?} {err}");
}

#[test]
fn a_record_that_cannot_be_written_is_told_before_anything_is_sent() {
    let (code, _, err) = load(&["http://127.0.0.1:1/", "--record", "/absent/record.load"]);
    assert!(code == Some(6) && err.contains("write the load to /absent/record.load"), "{code:?} {err}");
}

#[cfg(feature = "app-view")]
#[test]
fn an_application_is_asked_beside_it() {
    let url = format!("http://{}/", server::start());
    let (code, out, err) = load(&[&url, "--duration", "200ms", "--application", "2", "--json", "--progress", "none"]);
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).expect("it is JSON");
    let application = &report["application"];
    assert!(application["requests"].as_u64() > Some(0), "{application}");
    assert_eq!((&application["answered"], &application["failed"]), (&application["requests"], &serde_json::json!({})));
}

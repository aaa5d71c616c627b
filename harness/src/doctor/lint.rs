//! What a valid manifest could say and does not: each piece of advice with its key, the reason, and the fix.

use std::time::Duration;

use serde::Serialize;

use crate::manifest::{Capability, Done, Profile, Protocol};
use crate::target::{Claim, Target, TargetEndpoint, TargetReady, TargetRestart, TargetRestartStep};

/// Shorter deadlines pass on a busy machine although nothing is wrong; the null targets, which wait for what will never
/// come, are content with a little more.
const DEADLINE_MIN: Duration = Duration::from_secs(1);

/// A run that waits for something that never comes waits this long, at every upgrade.
const DEADLINE_MAX: Duration = Duration::from_secs(120);

/// A slow request that is faster may be over before the trigger is pulled.
const SLOW_MIN_MS: u64 = 200;

/// One slower than this makes every drain of the run as long.
const SLOW_MAX_MS: u64 = 5_000;

/// One thing that could be better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// Key of the manifest.
    pub key: String,
    /// What is lost as it is.
    pub reason: String,
    /// What to write.
    pub fix: String,
}

fn advice(key: impl Into<String>, reason: impl Into<String>, fix: impl Into<String>) -> Advice {
    Advice { key: key.into(), reason: reason.into(), fix: fix.into() }
}

/// All advice for a target, in the order of the manifest's keys.
#[must_use]
pub fn lint(target: &Target) -> Vec<Advice> {
    let mut found = profiles(target);
    found.extend(claims(target));
    found.extend(target.endpoints.first().map(endpoint).unwrap_or_default());
    found.extend(ready(target));
    found.extend(target.restart.as_ref().map(|it| restart(target, it)).unwrap_or_default());
    found.extend(deadlines(target));
    found
}

fn profiles(target: &Target) -> Vec<Advice> {
    let mut found = Vec::new();
    if !target.profiles.contains(&Profile::Restart) {
        let reason = "no restart is claimed: nothing of its restarts is judged";
        found.push(advice("profiles", reason, "add \"restart\" and a [restart] section"));
    }
    let kind = [Profile::Daemon, Profile::Foreground, Profile::Activated];
    if !target.profiles.iter().any(|it| kind.contains(it)) {
        let fix = if target.launch.returns { "add \"daemon\"" } else { "add \"foreground\"" };
        found.push(advice("profiles", "it is not said how it runs: nothing of that is judged", fix));
    }
    found
}

/// A capability that is neither claimed nor disclaimed was forgotten.
fn claims(target: &Target) -> Vec<Advice> {
    let silent = |capability: &Capability| !target.capabilities.contains_key(capability);
    let mut found = Vec::new();
    if silent(&Capability::Pidfile) {
        let (reason, fix) = if target.pidfile.is_some() {
            ("it names a pidfile and does not claim it: nothing of it is judged", "add \"pidfile\" to claims")
        } else {
            (
                "whether it writes a pidfile is not said",
                "name it by `pidfile` and add \"pidfile\" to claims, or give a reason in [disclaims]",
            )
        };
        found.push(advice("claims", reason, fix));
    }
    if restarts(target) && silent(&Capability::Stall) {
        found.push(advice(
            "claims",
            "whether its accepting can be stalled is not said: that no connection in the accept queue is lost is not shown",
            "with workers of its own: `stall = \"stop-workers\"`, with a limit on connections: `stall = { connections = 256 }`, and \"stall\" in \
             claims; else a reason in [disclaims]",
        ));
    }
    for (capability, claim) in &target.capabilities {
        if let Claim::Disclaimed(reason) = claim
            && reason.split_whitespace().count() < 3
        {
            let key = format!("disclaims.{}", capability.word());
            found.push(advice(
                key,
                format!("`{reason}` explains nothing to a reader"),
                "say why it has not, or cannot",
            ));
        }
    }
    found
}

fn endpoint(endpoint: &TargetEndpoint) -> Vec<Advice> {
    let key = |name: &str| format!("endpoints.{}.{name}", endpoint.name);
    let mut found = Vec::new();
    match &endpoint.slow {
        None => found.push(advice(
            key("slow"),
            "no request takes long: none is in flight at the restart, and the main scenario cannot be run",
            "slow = { path = \"/slow\", takes_ms = 600 }",
        )),
        Some(slow) if !(SLOW_MIN_MS..=SLOW_MAX_MS).contains(&slow.takes_ms) => {
            let (ms, reason) = if slow.takes_ms < SLOW_MIN_MS {
                (slow.takes_ms, "it may be over before the restart begins")
            } else {
                (slow.takes_ms, "every drain of a run takes as long")
            };
            found.push(advice(key("slow.takes_ms"), format!("{ms} ms: {reason}"), "use 500 to 1000"));
        }
        Some(_) => {}
    }
    if endpoint.protocol == Protocol::Echo {
        // It has no headers, and is told apart by itself.
        return found;
    }
    if endpoint.version_header.is_none() {
        found.push(advice(
            key("version_header"),
            "answers do not say which version gave them: that the new one took over is told from processes alone",
            "let the server send the deployed {version} in a header, and name it here",
        ));
    }
    if endpoint.echo_header.is_none() {
        found.push(advice(
            key("echo_header"),
            "answers do not say which request they are for: one that belongs to another is not noticed",
            "let the server send X-Request-Id back, and name the header here",
        ));
    }
    found
}

fn ready(target: &Target) -> Vec<Advice> {
    match &target.ready {
        TargetReady::Answers(_) => Vec::new(),
        TargetReady::File(_) | TargetReady::Output(_) => vec![advice(
            "ready",
            "it is believed ready before it has answered: what is lost until then counts against it",
            "ready = { answers = \"NAME\" } with the name of an endpoint, unless the sign is given after listen(2)",
        )],
    }
}

fn restart(target: &Target, restart: &TargetRestart) -> Vec<Advice> {
    let mut found = Vec::new();
    let versioned = target.tells_versions();
    match restart.done {
        // What the target says of itself is checked: handoff/old-stops-accepting.
        Done::NewVersion | Done::Output(_) => {}
        Done::OldMainExit if versioned => found.push(advice(
            "restart.done",
            "the old process's exit does not prove that the new one serves",
            "done = \"new-version\"",
        )),
        Done::Steps => found.push(advice(
            "restart.done",
            "that the last step returned proves nothing: the upgrade may not even have begun",
            match target.endpoints.first().map(|it| it.protocol) {
                Some(Protocol::Echo) => "done = { output = \"…\" } with what it writes when it has handed over",
                _ if versioned => "done = \"new-version\"",
                _ => "name a `version_header`, then done = \"new-version\"",
            },
        )),
        Done::OldMainExit => {}
    }
    if !restart.steps.contains(&TargetRestartStep::Deploy) {
        found.push(advice(
            "restart.steps",
            "nothing new is put in place: old and new answers cannot be told apart",
            "begin with \"deploy\", and write {version} into a file that the server reads",
        ));
    }
    found
}

fn deadlines(target: &Target) -> Vec<Advice> {
    let own = target.deadlines;
    let all = [
        ("start_ms", own.start),
        ("upgrade_ms", own.upgrade),
        ("drain_ms", own.drain),
        ("stop_ms", own.stop),
        ("request_ms", own.request),
    ];
    let mut found = Vec::new();
    for (key, length) in all {
        let ms = length.as_millis();
        if length < DEADLINE_MIN {
            let reason = format!("{ms} ms pass on a busy machine, and then the target is blamed");
            found.push(advice(
                format!("deadlines.{key}"),
                reason,
                "make it 5000 or more: it is waited for, not measured",
            ));
        } else if length > DEADLINE_MAX {
            let reason = format!("what never comes is waited for {ms} ms, in every run");
            found.push(advice(format!("deadlines.{key}"), reason, "make it 30000 or less, or say why in a comment"));
        }
    }
    found
}

fn restarts(target: &Target) -> bool {
    target.profiles.contains(&Profile::Restart)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manifest with everything that can be said.
    const WHOLE: &str = r#"
        name = "mine/server"
        about = "My server"
        profiles = ["foreground", "restart"]
        claims = ["stall"]
        disclaims = { pidfile = "its supervisor knows it already" }
        ready = { answers = "http" }
        stop = { signal = "TERM" }
        stall = "stop-workers"
        launch = { command = ["my-server", "{dir}/version"] }
        deadlines = { start_ms = 10000 }
        [[endpoints]]
        name = "http"
        address = "127.0.0.1:8080"
        slow = { path = "/slow", takes_ms = 600 }
        version_header = "X-Version"
        echo_header = "X-Request-Id"
        [[files]]
        path = "{dir}/version"
        content = "{version}"
        [restart]
        steps = ["deploy", { signal = { signal = "HUP", to = "main" } }]
        done = "new-version"
    "#;

    #[test]
    fn an_exit_is_weak_where_answers_tell_the_version() {
        // Stalled workers cannot exit: such an upgrade cannot be claimed together with `stall`.
        let text = WHOLE.replace("claims = [\"stall\"]", "").replace("stall = \"stop-workers\"", "");
        let text = text.replace("done = \"new-version\"", "done = \"old-main-exit\"");
        let target = Target::parse(&text, "t.toml").unwrap_or_else(|error| panic!("{}", error.render(false)));
        let got: Vec<String> = lint(&target).into_iter().map(|it| it.key).collect();
        assert_eq!(got, ["claims", "restart.done"]);
    }

    /// With `from` replaced by `to`, advice is given for exactly these keys.
    fn check(from: &str, to: &str, want: &[&str]) {
        assert!(WHOLE.contains(from), "{from}");
        let text = WHOLE.replace(from, to);
        let target = Target::parse(&text, "t.toml").unwrap_or_else(|error| panic!("{}", error.render(false)));
        let got: Vec<String> = lint(&target).into_iter().map(|it| it.key).collect();
        assert_eq!(got, want, "{from} → {to}");
    }

    #[test]
    fn a_manifest_that_says_everything_gets_no_advice() {
        check("", "", &[]);
    }

    #[test]
    fn what_an_answer_does_not_say_is_told() {
        check("echo_header = \"X-Request-Id\"", "", &["endpoints.http.echo_header"]);
        check("slow = { path = \"/slow\", takes_ms = 600 }", "", &["endpoints.http.slow"]);
        check("takes_ms = 600", "takes_ms = 20", &["endpoints.http.slow.takes_ms"]);
    }

    #[test]
    fn claims_that_could_be_made_are_told() {
        check("disclaims = { pidfile = \"its supervisor knows it already\" }", "", &["claims"]);
        check("its supervisor knows it already", "none", &["disclaims.pidfile"]);
        check("\"foreground\", ", "", &["profiles"]);
    }

    #[test]
    fn a_weak_done_event_is_told() {
        check("done = \"new-version\"", "done = \"steps\"", &["restart.done"]);
    }

    #[test]
    fn an_echo_is_not_told_to_send_headers() {
        let text = WHOLE.replace("version_header = \"X-Version\"", "protocol = \"echo\"");
        let text = text.replace("echo_header = \"X-Request-Id\"", "");
        let got = |done: &str| -> Vec<Advice> {
            let text = text.replace("done = \"new-version\"", done);
            lint(&Target::parse(&text, "t.toml").unwrap_or_else(|error| panic!("{}", error.render(false))))
        };
        assert_eq!(got("done = { output = \"draining\" }"), []);
        let weak = got("done = \"steps\"");
        assert_eq!(weak.len(), 1, "{weak:?}");
        assert!(weak[0].fix.contains("output"), "{weak:?}");
    }

    #[test]
    fn deadlines_that_blame_the_target_or_waste_time_are_told() {
        check("start_ms = 10000", "start_ms = 300", &["deadlines.start_ms"]);
        check("start_ms = 10000", "start_ms = 600000", &["deadlines.start_ms"]);
    }
}

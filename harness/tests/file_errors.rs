//! Every error of a manifest, scenario or expectations file, its whole text compared with the stored one.
//!
//! Each case is a good file with one edit. `UNBROKEN_BLESS=1` writes the stored texts anew, for a person to read.

use std::fs;
use std::path::Path;

use unbroken::expectation::Expectations;
use unbroken::manifest::{ManifestError, Source};
use unbroken::scenario::Scenario;
use unbroken::target::Target;

/// A case: its name, the text to find (exactly once) and what stands there instead.
type Case = (&'static str, &'static str, &'static str);

const READING: &[Case] = &[
    ("not TOML", "about = \"A server of mine\"", "about = A server of mine"),
    ("a string without its end", "umask = \"027\"", "umask = \"027"),
    ("the same key twice", "main = \"launched\"", "main = \"launched\"\nmain = \"pidfile\""),
    ("an unknown key", "stall = \"stop-workers\"", "stal = \"stop-workers\""),
    ("an unknown key far from all others", "main = \"launched\"", "colour = \"blue\""),
    ("an unknown key in a step", "{ signal = \"HUP\", to = \"main\" }", "{ signl = \"HUP\", to = \"main\" }"),
    ("an unknown key in a section", "umask = \"027\"", "umaks = \"027\""),
    ("an unknown key in an endpoint", "version_header = \"X-Version\"", "version-header = \"X-Version\""),
    ("a missing key", "about = \"A server of mine\"\n", ""),
    ("a missing table", "stop = { signal = \"TERM\" }\n", ""),
    ("a missing key in a section", "done = \"new-version\"\n", ""),
    ("a missing key in a step", "{ signal = \"HUP\", to = \"main\" }", "{ signal = \"HUP\" }"),
    ("a missing key in an endpoint", "address = \"127.0.0.1:8081\"\n", ""),
    ("a number where a text belongs", "umask = \"027\"", "umask = 27"),
    (
        "a text where a list belongs",
        "command = [\"server\", \"--config\", \"{dir}/server.conf\"]",
        "command = \"server\"",
    ),
    ("a text where a table belongs", "slow = { path = \"/slow\", takes_ms = 600 }", "slow = \"/slow\""),
    ("a number in a list of texts", "[\"server\", \"--config\",", "[\"server\", 5,"),
    ("a negative time", "request_ms = 5000", "request_ms = -1"),
    ("a time as a text", "request_ms = 5000", "request_ms = \"5s\""),
    ("a signal step as a text", "{ signal = { signal = \"HUP\", to = \"main\" } }", "{ signal = \"HUP\" }"),
    ("a stop without its kind", "stop = { signal = \"TERM\" }", "stop = \"TERM\""),
    ("two kinds of stop", "stop = { signal = \"TERM\" }", "stop = { signal = \"TERM\", command = [\"stop\"] }"),
    ("an unknown word", "\"foreground\", \"restart\"", "\"foregruond\", \"restart\""),
    ("an unknown capability", "\"pidfile\", \"stall\", \"watch\"", "\"pidfile\", \"stalls\", \"watch\""),
    ("an unknown disclaimed capability", "helpers =", "helper ="),
    ("an unknown step", "\"deploy\",", "\"deplyo\","),
    ("an unknown thing to wait for", "{ wait = \"new-main\" }", "{ wait = \"new-mian\" }"),
    ("an unknown event", "done = \"new-version\"", "done = \"done\""),
    ("an empty sign of completion", "done = \"new-version\"", "done = { output = \"\" }"),
];

const TEXTS: &[Case] = &[
    ("a name with a space", "name = \"mine/server\"", "name = \"My Server\""),
    ("an empty text", "about = \"A server of mine\"", "about = \" \""),
    ("an unknown placeholder", "\"{dir}/server.conf\"]", "\"{dri}/server.conf\"]"),
    ("an unknown placeholder in a long text", "version {version}\n", "version {verison}\n"),
    ("an unknown placeholder far from all others", "LEVEL = \"info\"", "LEVEL = \"{colour}\""),
    ("a NUL", "LEVEL = \"info\"", "LEVEL = \"in\\u0000fo\""),
    ("an unknown signal", "signal = \"TERM\"", "signal = \"SIGTRM\""),
    ("an unknown signal in a step", "signal = \"HUP\"", "signal = \"hupp\""),
    ("an unknown signal far from all others", "signal = \"HUP\"", "signal = \"RELOAD\""),
    ("a umask that is not octal", "umask = \"027\"", "umask = \"089\""),
    ("a mode that is too large", "mode = \"0640\"", "mode = \"0100640\""),
    ("an address without a port", "\"127.0.0.1:8080\"", "\"127.0.0.1\""),
    ("a host name", "\"127.0.0.1:8080\"", "\"localhost:8080\""),
    ("an address outside of the loopback interface", "\"127.0.0.1:8080\"", "\"0.0.0.0:8080\""),
    ("port 0", "\"127.0.0.1:8080\"", "\"127.0.0.1:0\""),
    ("a relative path", "pidfile = \"{dir}/server.pid\"", "pidfile = \"server.pid\""),
    (
        "a file outside of the run's directory",
        "path = \"{dir}/server.conf\"\nmode",
        "path = \"/etc/server.conf\"\nmode",
    ),
    ("a request path without a slash", "path = \"/slow\"", "path = \"slow\""),
    ("a header with a colon", "\"X-Version\"", "\"X-Version:\""),
    ("an environment variable with an equals sign", "LEVEL = \"info\"", "\"LEVEL=info\" = \"\""),
];

const CLAIMS: &[Case] = &[
    ("no profile", "profiles = [\"foreground\", \"restart\"]", "profiles = []"),
    ("a profile twice", "\"foreground\", \"restart\"", "\"restart\", \"restart\""),
    ("a claim twice", "\"pidfile\", \"stall\", \"watch\"", "\"pidfile\", \"stall\", \"watch\", \"pidfile\""),
    ("claimed and disclaimed", "helpers = \"it starts none\"", "stall = \"it cannot\""),
    ("disclaimed without a reason", "\"it starts none\"", "\"\""),
    ("pidfile claimed without one", "pidfile = \"{dir}/server.pid\"\n", ""),
    ("stall claimed without one", "stall = \"stop-workers\"\n", ""),
    ("watch claimed without one", "watch = { path = \"{dir}/server.conf\", kind = \"data\" }\n", ""),
    ("stall given without its claim", "\"pidfile\", \"stall\", \"watch\"", "\"pidfile\", \"watch\""),
    ("watch given without its claim", "\"pidfile\", \"stall\", \"watch\"", "\"pidfile\", \"stall\""),
    ("restart given without its profile", "\"foreground\", \"restart\"", "\"foreground\""),
    (
        "privileges given without their claim",
        "stall = \"stop-workers\"",
        "stall = \"stop-workers\"\nprivileges = { uid = 65534, gid = 65534 }",
    ),
    (
        "slow-init claimed without its key",
        "\"pidfile\", \"stall\", \"watch\"",
        "\"pidfile\", \"stall\", \"watch\", \"slow-init\"",
    ),
    ("a daemon that stays", "\"foreground\", \"restart\"", "\"daemon\", \"restart\""),
    ("a foreground service that returns", "umask = \"027\"", "umask = \"027\"\nreturns = true"),
];

const REFERENCES: &[Case] = &[
    ("no endpoint is ready", "answers = \"http\"", "answers = \"htpp\""),
    ("two endpoints with one name", "name = \"admin\"", "name = \"http\""),
    ("an empty command", "command = [\"server\", \"--config\", \"{dir}/server.conf\"]", "command = []"),
    ("a stop command without a program", "stop = { signal = \"TERM\" }", "stop = { command = [\"\"] }"),
    ("a deadline of 0", "request_ms = 5000", "request_ms = 0"),
    ("a slow request that cannot end in time", "takes_ms = 600", "takes_ms = 5000"),
    (
        "privileges that are root's",
        "stall = \"stop-workers\"|\"pidfile\", \"stall\"",
        "stall = \"stop-workers\"\nprivileges = { uid = 65534, gid = 0 }|\"privileges\", \"pidfile\", \"stall\"",
    ),
    (
        "a slow initialisation that cannot end in time",
        "stall = \"stop-workers\"|\"pidfile\", \"stall\"",
        "stall = \"stop-workers\"\nslow_init = { arguments = [\"--slow\"], takes_ms = 60000, output = \"initialised\" }|\"slow-init\", \"pidfile\", \"stall\"",
    ),
    (
        "an empty content repeated",
        "content = \"\"\"\nlisten {address}\nversion {version}\n\"\"\"",
        "content = \"\"\nbytes = 10",
    ),
    ("it waits before it acts", "\"deploy\", { signal", "{ wait = { file = \"{dir}/x\" } }, { signal"),
    ("the new version is never deployed", "\"deploy\", ", ""),
    ("no answer carries the version", "version_header = \"X-Version\"\n", ""),
    ("nothing depends on the version", "version {version}\n", ""),
    ("a header in an echo", "version_header = \"X-Version\"", "version_header = \"X-Version\"\nprotocol = \"echo\""),
    ("a body in an echo", "version_header = \"X-Version\"", "upload = { path = \"/upload\" }\nprotocol = \"echo\""),
    ("no echo carries the version", "version_header = \"X-Version\"", "protocol = \"echo\""),
    (
        "no echo carries the version that is waited for",
        "version_header = \"X-Version\"|{ wait = \"new-main\" }|done = \"new-version\"",
        "protocol = \"echo\"|{ wait = \"new-version\" }|done = \"steps\"",
    ),
    ("stalled workers never exit", "{ wait = \"new-main\" }", "{ wait = \"old-workers-exit\" }"),
    ("with stalled workers it is never done", "done = \"new-version\"", "done = \"old-main-exit\""),
];

/// Without claims and watch, so that one more edit is the only mistake.
const PLAIN: &[(&str, &str)] = &[
    ("claims = [\"pidfile\", \"stall\", \"watch\"]\n", ""),
    ("stall = \"stop-workers\"\n", ""),
    ("watch = { path = \"{dir}/server.conf\", kind = \"data\" }\n", ""),
];

const PLAIN_CASES: &[Case] = &[
    ("waits for a new main without a pidfile", "pidfile = \"{dir}/server.pid\"\n", ""),
    (
        "signals a new main without a pidfile",
        "pidfile = \"{dir}/server.pid\"\n|{ wait = \"new-main\" }",
        "|{ signal = { signal = \"USR1\", to = \"new-main\" } }",
    ),
    (
        "main is in a pidfile that is not named",
        "pidfile = \"{dir}/server.pid\"\n|main = \"launched\"|, { wait = \"new-main\" }",
        "|main = \"pidfile\"|",
    ),
    ("the launcher returns and is main", "umask = \"027\"|\"foreground\", ", "umask = \"027\"\nreturns = true|"),
    (
        "profile restart without its section",
        "[restart]\nsteps = [\"deploy\", { signal = { signal = \"HUP\", to = \"main\" } }, { wait = \"new-main\" }]\ndone = \"new-version\"\n",
        "",
    ),
    ("only a deploy", ", { signal = { signal = \"HUP\", to = \"main\" } }, { wait = \"new-main\" }", ""),
    (
        "a watched file outside of the run's directory",
        "done = \"new-version\"|\n[launch]",
        "done = \"new-version\"\nwatch = { path = \"/usr/bin/server\", kind = \"executable\" }|claims = [\"watch\"]\n\n[launch]",
    ),
];

const SCRIPTS: &[Case] = &[
    ("an unknown pattern", "\"fresh\", \"busy\"", "\"fresh\", \"bussy\""),
    ("an unknown step of a scenario", "\"settle\",", "\"setle\","),
    ("no check", "checks = [\"handoff/took-over\", \"life/nothing-left\"]", "checks = []"),
    ("a check without its area", "\"life/nothing-left\"", "\"nothing-left\""),
    ("a check twice", "\"life/nothing-left\"", "\"handoff/took-over\""),
    ("two hooks", "needs = [\"stall\"]", "needs = [\"stall\"]\nlisten_hook = true\nadversary = true"),
    ("a need twice", "needs = [\"stall\"]", "needs = [\"stall\", \"stall\"]"),
    ("a step before the start", "  \"start\",\n", ""),
    ("two stalls", "  \"stall\",\n", "  \"stall\",\n  \"stall\",\n"),
    ("unstalled twice", "  \"unstall\",\n", "  \"unstall\",\n  \"unstall\",\n"),
    ("quiesced twice", "  \"quiesce\",\n", "  \"quiesce\",\n  \"quiesce\",\n"),
    ("a change that was not asked for", "  \"upgrade\",\n", "  { change = \"touch\" },\n"),
    ("two starts", "  \"start\",\n", "  \"start\",\n  \"start\",\n"),
    ("a load of nothing", "\"fresh\", \"busy\"", ""),
    ("a load of parked connections", "\"fresh\", \"busy\"", "\"fresh\", \"parked\""),
    ("a baseline without load", "  { load = [\"fresh\", \"busy\"] },\n", ""),
    ("a baseline of 0", "ms = 500", "ms = 0"),
    ("parked without a stall", "  \"stall\",\n", ""),
    ("a stall that was not asked for", "needs = [\"stall\"]\n", ""),
    ("settled without an upgrade", "  \"upgrade\",\n", ""),
    ("stopped under load", "  \"quiesce\",\n", ""),
    ("stopped while stalled", "  \"unstall\",\n", ""),
    ("scanned before the stop", "  \"stop\",\n", ""),
    ("never stopped", "  \"stop\",\n  \"scan\",\n", ""),
    ("an upgrade in another profile", "profile = \"restart\"", "profile = \"foreground\""),
];

const EXPECTATIONS: &[Case] = &[
    ("an unknown class", "class = \"unread\"", "class = \"unred\""),
    ("an empty reason", "reason = \"It rebinds.\"", "reason = \"\""),
    ("by chance without a class", "class = \"unread\"\n", ""),
    ("by chance without a count", "observed = \"3 of 20\"\n", ""),
    ("a count in words", "observed = \"3 of 20\"", "observed = \"sometimes\""),
    ("expected twice", "check = \"handoff/no-refused\"", "check = \"drain/keepalive-race\"\nclass = \"unread\""),
    ("a check with a space", "\"handoff/no-refused\"", "\"handoff no-refused\""),
];

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/file_errors")
}

fn good(file: &str) -> String {
    fs::read_to_string(directory().join(file)).expect("the good file is in the repository")
}

/// One edit; `|` separates several edits of one case.
fn edited(good: &str, find: &str, replace: &str) -> String {
    find.split('|').zip(replace.split('|')).fold(good.to_owned(), |text, (find, replace)| {
        assert_eq!(text.matches(find).count(), 1, "an edit finds its place exactly once: {find:?}");
        text.replacen(find, replace, 1)
    })
}

/// Compares the rendered errors of all cases with the stored text.
fn check<T>(stored: &str, good: &str, cases: &[&[Case]], parse: impl Fn(&str) -> Result<T, ManifestError>) {
    assert!(parse(good).is_ok(), "the good file is good");
    let mut all = String::new();
    for (name, find, replace) in cases.concat() {
        let Err(error) = parse(&edited(good, find, replace)) else { panic!("{name}: no error") };
        all.push_str(&format!("==== {name}\n{}\n", error.render(false)));
    }
    compare(stored, &all);
}

fn compare(stored: &str, got: &str) {
    let path = directory().join(stored);
    if std::env::var_os("UNBROKEN_BLESS").is_some() {
        fs::write(&path, got).expect("the stored text can be written");
    }
    let want = fs::read_to_string(&path).expect("the stored text is in the repository");
    if let Some((got, want)) = got.split("==== ").zip(want.split("==== ")).find(|(got, want)| got != want) {
        panic!("{stored} differs (UNBROKEN_BLESS=1 stores it anew)\n--- stored\n{want}\n--- now\n{got}");
    }
    assert_eq!(got.len(), want.len(), "{stored} has more or fewer cases");
}

#[test]
fn an_unreadable_manifest_is_explained_at_its_place() {
    check("reading.txt", &good("target.toml"), &[READING], |text| Target::parse(text, "mine.toml"));
}

#[test]
fn an_impossible_text_is_explained_at_its_place() {
    check("texts.txt", &good("target.toml"), &[TEXTS], |text| Target::parse(text, "mine.toml"));
}

#[test]
fn a_contradiction_between_keys_is_explained_at_its_place() {
    check("keys.txt", &good("target.toml"), &[CLAIMS, REFERENCES], |text| Target::parse(text, "mine.toml"));
    let plain = PLAIN.iter().fold(good("target.toml"), |text, (find, replace)| edited(&text, find, replace));
    check("keys_plain.txt", &plain, &[PLAIN_CASES], |text| Target::parse(text, "mine.toml"));
}

#[test]
fn an_impossible_scenario_is_explained_at_its_place() {
    check("scenario.txt", &good("scenario.toml"), &[SCRIPTS], |text| Scenario::parse(text, "mine.toml"));
}

#[test]
fn an_empty_expectation_is_explained_at_its_place() {
    check("expectations.txt", &good("expectations.toml"), &[EXPECTATIONS], |text| {
        Expectations::parse(text, "mine.toml")
    });
}

#[test]
fn a_name_outside_of_the_catalogue_is_explained_at_its_place() {
    let mut all = String::new();
    let mut add = |name: &str, error: ManifestError| all.push_str(&format!("==== {name}\n{}\n", error.render(false)));
    let source = Source::new("mine.toml", good("scenario.toml"));
    let scenario = Scenario::parse(source.text(), source.file_name()).expect("the good file is good");
    let known = ["handoff/took-over", "life/nothing-else"];
    add("an unknown check of a scenario", scenario.require_checks(&known, &source).expect_err("one is unknown"));
    let source = Source::new("mine.toml", good("expectations.toml"));
    let expectations = Expectations::parse(source.text(), source.file_name()).expect("the good file is good");
    let known = ["handoff/no-refused", "drain/keepalive-races"];
    add(
        "an unknown check of an expectation",
        expectations.require_checks(&known, &source).expect_err("one is unknown"),
    );
    let scoped =
        edited(&good("expectations.toml"), "kind = \"fail\"", "kind = \"fail\"\nscenarios = [\"restart/strom\"]");
    let source = Source::new("mine.toml", scoped.as_str());
    let expectations = Expectations::parse(&scoped, source.file_name()).expect("a name alone says nothing");
    add(
        "an unknown scenario of an expectation",
        expectations.require_scenarios(&["restart/storm"], &source).expect_err("it is unknown"),
    );
    let source = Source::new("mine.toml", good("expectations.toml"));
    let expectations = Expectations::parse(source.text(), source.file_name()).expect("the good file is good");
    add("an unknown target", expectations.require_target(&["mine/sever"], &source).expect_err("it is unknown"));
    add("a missing file", ManifestError::unreadable("mine.toml", "No such file or directory (os error 2)"));
    compare("catalogue.txt", &all);
}

#[test]
fn an_error_completes_a_sentence_in_one_line() {
    let text = edited(&good("target.toml"), "signal = \"TERM\"", "signal = \"SIGTRM\"");
    let error = Target::parse(&text, "mine.toml").expect_err("the signal does not exist");
    assert_eq!(error.to_string(), "use mine.toml:10:19: stop.signal: unknown signal `SIGTRM`");
    assert_eq!(error.line_column(), (10, 19));
}

#[test]
fn colour_is_the_callers_choice() {
    let error = Target::parse("name = 1", "mine.toml").expect_err("a name is a text");
    assert!(error.render(true).contains('\u{1b}'));
    assert!(!error.render(false).contains('\u{1b}'));
}

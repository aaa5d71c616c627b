//! However the harness ends, nothing stays.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use unbroken::machine::Tier;
use unbroken::wait::{Look, Stop, until};

use super::census::{self, Namespaces};

/// A way in which the harness ends.
pub(crate) struct Ending {
    /// In test names, and what the harness is told.
    pub(crate) word: &'static str,
    /// Sent by the runner, and whether only once the target runs.
    signal: Option<(i32, bool)>,
}

/// All of them.
pub(crate) const ENDINGS: [Ending; 7] = [
    Ending { word: "sigkill", signal: Some((libc::SIGKILL, true)) },
    Ending { word: "sigkill-at-once", signal: Some((libc::SIGKILL, false)) },
    Ending { word: "sigterm", signal: Some((libc::SIGTERM, true)) },
    Ending { word: "panic", signal: None },
    Ending { word: "exit", signal: None },
    Ending { word: "drop", signal: None },
    Ending { word: "teardown", signal: None },
];

/// What the machine may take to clean up, with others on it; it takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// One case in a process of its own.
pub(crate) fn case(tier: Tier, name: &str) -> Result<String, String> {
    let mut child = start(&["case", &tier.to_string(), name], Stdio::piped());
    let mut said = String::new();
    read(&mut child.stdout, &mut said);
    let complaint = complaint(&mut child);
    let status = child.wait().map_err(|error| error.to_string())?;
    nothing_left(&Namespaces::default()).map_err(|left| format!("{complaint}{left}"))?;
    match status.success() {
        true => Ok(said.lines().map(|line| format!(" ({line})")).collect()),
        false => Err(format!("{status}\n{complaint}")),
    }
}

/// A harness with a target, ended in this way; tells how long the cleaning took.
pub(crate) fn harness(tier: Tier, kind: &str, ending: &Ending) -> Result<String, String> {
    let mut child = start(&["harness", &tier.to_string(), kind, ending.word], Stdio::piped());
    let mut namespaces = Namespaces::default();
    if !matches!(ending.signal, Some((_, false))) {
        let mut here = [0; 5];
        let heard = child.stdout.as_mut().expect("it is piped").read_exact(&mut here);
        heard.map_err(|error| format!("the harness did not start ({error})\n{}", complaint(&mut child)))?;
        namespaces = census::made_by(&census::take(&namespaces));
    }
    if let Some((signal, _)) = ending.signal {
        // SAFETY: kill(2) on our own unreaped child.
        unsafe { libc::kill(child.id() as i32, signal) };
    }
    let began = Instant::now();
    let status = child.wait().map_err(|error| error.to_string())?;
    let complaint = nothing_left(&namespaces).and_then(|()| no_directory_left(child.id())).err();
    let took = format!(" ({:.1} ms)", began.elapsed().as_secs_f64() * 1e3);
    // Not before the end of all: whoever cleans up keeps standard error open.
    let said = self::complaint(&mut child);
    match complaint {
        Some(left) => Err(format!("{status}\n{said}{left}")),
        None if matches!(ending.word, "drop" | "teardown") && !status.success() => Err(format!("{status}\n{said}")),
        None => Ok(took),
    }
}

fn start(arguments: &[&str], output: Stdio) -> Child {
    Command::new(std::env::current_exe().expect("it has a path"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .expect("this executable is executable")
}

fn read(from: &mut Option<impl Read>, into: &mut String) {
    from.take().expect("it is piped").read_to_string(into).expect("it is text");
}

fn complaint(child: &mut Child) -> String {
    let mut text = String::new();
    read(&mut child.stderr, &mut text);
    text
}

/// Whether the directory that a harness's sandbox owned is gone; its name begins with who made it.
fn no_directory_left(harness: u32) -> Result<(), String> {
    let prefix = format!("unbroken-{harness}-");
    let entries = std::fs::read_dir(std::env::temp_dir()).map_err(|error| error.to_string())?.flatten();
    match entries
        .map(|it| it.path())
        .find(|it| it.file_name().is_some_and(|it| it.to_string_lossy().starts_with(&prefix)))
    {
        Some(path) => Err(format!("{} is left", path.display())),
        None => Ok(()),
    }
}

/// Waits until the kernel says that this process has no child of any kind, its own or adopted, and then looks for
/// strangers in the namespaces that the test had made, or running this executable.
fn nothing_left(namespaces: &Namespaces) -> Result<(), String> {
    let stop = Stop::new().map_err(|error| error.to_string())?;
    let ended = until(LIMIT, Duration::from_millis(1), &stop, || {
        loop {
            let mut status = 0;
            // SAFETY: waitpid(2) with a valid pointer.
            match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) } {
                0 => return Look::NotYet::<(), ()>,
                -1 => return Look::Yes(()),
                _ => {}
            }
        }
    });
    let left = census::take(namespaces);
    if ended.is_ok() && left.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> = left.iter().take(20).map(|entry| format!("{} {}", entry.pid, entry.command)).collect();
    for entry in &left {
        // SAFETY: kill(2); the next test needs a clean slate.
        unsafe { libc::kill(entry.pid, libc::SIGKILL) };
    }
    Err(format!("{} processes are left: {}", left.len(), listed.join(", ")))
}

//! What a server says on its standard error, line by line as it comes.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::ChildStderr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Far beyond what anything takes that says something; reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// The lines that nobody has waited for yet.
pub(crate) struct Said(Receiver<String>);

impl Said {
    pub(crate) fn on(stderr: ChildStderr) -> Self {
        let (sender, lines) = channel();
        let stderr = BufReader::new(stderr);
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Self(lines)
    }

    /// The next line that contains the text.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let mut before = Vec::new();
        loop {
            let line = self.0.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?} after {before:#?}"));
            before.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Where it listens.
    pub(crate) fn wait_for_address(&self) -> SocketAddr {
        let line = self.wait_for("listening on ");
        line.rsplit(' ').next().expect("a word").parse().expect("an address")
    }
}

//! Raw echo as a probe speaks it: one line, and the same line back.

use crate::ready::Probe;
use crate::target::TargetEndpoint;

/// The id of every probe, and the end of its line: those of a load begin at 1.
pub(super) const END: &str = "0\n";

/// A probe's line without its end: nobody can take that for a whole one.
pub(super) fn beginning(endpoint: &TargetEndpoint) -> String {
    format!("{} ", endpoint.path)
}

/// A probe's line.
pub(super) fn line(endpoint: &TargetEndpoint) -> String {
    beginning(endpoint) + END
}

/// What came back; `None` when it is the beginning of the line.
pub(super) fn understand(bytes: &[u8], endpoint: &TargetEndpoint) -> Option<Probe> {
    let line = line(endpoint);
    let wrong = |what: &str| Some(Probe::Wrong { what: what.to_owned() });
    match bytes.strip_prefix(line.as_bytes()) {
        Some([]) => Some(Probe::Answered { version: None }),
        Some(_) => wrong("more bytes than were sent"),
        None if line.as_bytes().starts_with(bytes) => None,
        None => wrong("other bytes than were sent"),
    }
}

//! What a target told its supervisor, as the checks read it.

use crate::clock::{Interval, Nanos};
use crate::event::What;
use crate::history::History;
use crate::id::Pid;
use crate::verdict::{Evidence, Finding};

/// One message (sd_notify(3)).
pub(super) struct Notice<'a> {
    pub(super) at: Interval,
    pub(super) seq: u64,
    /// `None` when the sender had ended before it could be told who it was.
    pub(super) pid: Option<Pid>,
    fields: &'a [String],
}

impl<'a> Notice<'a> {
    /// It has this field.
    pub(super) fn says(&self, field: &str) -> bool {
        self.fields.iter().any(|it| it == field)
    }

    /// The value of a field with this name.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
    }
}

/// All of them, in the order of their arrival.
pub(super) fn notices(history: &History) -> Vec<Notice<'_>> {
    let seen = history.find(|what| match what {
        What::Notified { pid, fields } => Some((*pid, fields.as_slice())),
        _ => None,
    });
    seen.map(|(event, (pid, fields))| Notice { at: event.at, seq: event.seq, pid, fields }).collect()
}

/// Whether what was said came after the service began to listen.
pub(super) fn after_listening(history: &History, said: &str, at: Interval, seq: u64) -> Finding {
    let call = history.find(|what| match what {
        What::ListenCall { already_listening: false, .. } => Some("its first listen(2)"),
        _ => None,
    });
    let dump = history.find(|what| match what {
        What::Listeners { rows } if !rows.is_empty() => Some("the first dump that shows its listener"),
        _ => None,
    });
    let Some((event, name)) = call.into_iter().next().or_else(|| dump.into_iter().next()) else {
        return Finding::inconclusive("when it began to listen was not seen");
    };
    let evidence = |text: String| Evidence::text(text).event(seq).event(event.seq);
    let between = |from: Nanos, to: Nanos| to.since(from).as_micros();
    if at.precedes(&event.at) {
        let early = between(at.not_after, event.at.not_before);
        Finding::fail(vec![evidence(format!("{said} came {early} µs before {name}"))])
    } else if event.at.precedes(&at) {
        let late = between(event.at.not_after, at.not_before);
        Finding::pass(evidence(format!("{said} came {late} µs after {name}")))
    } else {
        Finding::inconclusive(evidence(format!("{said} came about at {name}: which was first is not known")))
    }
}

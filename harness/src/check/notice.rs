//! What a target told its supervisor, as the checks read it.

use crate::clock::Interval;
use crate::event::What;
use crate::history::History;
use crate::id::Pid;

/// One message (sd_notify(3)).
pub(super) struct Notice<'a> {
    pub(super) at: Interval,
    pub(super) seq: u64,
    /// `None` when the sender had ended before it could be told who it was.
    pub(super) pid: Option<Pid>,
    fields: &'a [String],
}

impl Notice<'_> {
    /// It has this field.
    pub(super) fn says(&self, field: &str) -> bool {
        self.fields.iter().any(|it| it == field)
    }

    /// The value of a field with this name.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
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

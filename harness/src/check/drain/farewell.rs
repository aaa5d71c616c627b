//! How the busy connections of an old generation ended: shared by the checks that look at it.

use std::collections::BTreeMap;

use crate::clock::Nanos;
use crate::event::What;
use crate::history::{History, Upgrade};
use crate::request::{Ending, FailureClass, Pattern, Request};

/// A busy connection that was silent for this long before the load stopped had ended: some twenty of its mean think times.
const SILENT_NANOS: u64 = 500_000_000;

/// The last answer on a busy connection of the old generation.
pub(super) struct Farewell<'a> {
    /// The request that was answered.
    pub(super) request: &'a Request,
    /// It said `Connection: close`.
    pub(super) announced: bool,
}

/// What became of the busy connections that an older version had at the trigger.
pub(super) struct Farewells<'a> {
    /// Those that ended with an answer.
    pub(super) ended: Vec<Farewell<'a>>,
    /// Those that were used until the load stopped.
    pub(super) open: usize,
}

/// Of one upgrade. Where the close met a request on its way, the answer before that was the last one; any other loss is no
/// matter of announcements. A connection that had been silent for so long before the trigger had ended without it.
pub(super) fn farewells<'a>(history: &'a History, upgrade: &Upgrade) -> Farewells<'a> {
    let mut found = Farewells { ended: Vec::new(), open: 0 };
    let mut last: BTreeMap<u64, &Request> = BTreeMap::new();
    let met_by_close = |it: &Request| matches!(it.failure(), Some(FailureClass::Crossed | FailureClass::Unread));
    let busy = history.load().filter(|it| it.pattern == Pattern::Busy && it.began < upgrade.window_end);
    for request in busy.filter(|it| !met_by_close(it)) {
        let known = last.entry(request.connection).or_insert(request);
        if request.ended > known.ended {
            *known = request;
        }
    }
    let until = load_stopped(history).min(upgrade.window_end);
    let was_open = |it: &&Request| it.ended.0 + SILENT_NANOS >= upgrade.trigger.not_after.0;
    for request in last.into_values().filter(was_open) {
        let Ending::Answered { version: Some(version), close_announced, .. } = request.ending else { continue };
        if version >= upgrade.version {
            continue;
        }
        if close_announced || Nanos(request.ended.0 + SILENT_NANOS) < until {
            found.ended.push(Farewell { request, announced: close_announced });
        } else {
            found.open += 1;
        }
    }
    found
}

fn load_stopped(history: &History) -> Nanos {
    let stopped = history.find(|what| matches!(what, What::LoadStopped).then_some(())).last();
    stopped.map_or_else(|| history.end(), |(event, ())| event.at.not_before)
}

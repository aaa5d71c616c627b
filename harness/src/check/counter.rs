//! Counters of a network namespace, the target's or that of its clients, across an upgrade.

use std::collections::BTreeMap;

use crate::event::What;
use crate::history::{History, Upgrade};

/// A reading: why then, and the values.
type Reading<'a> = (&'a String, &'a BTreeMap<String, u64>);

/// How much one counter of the target moved in the window of an upgrade; `None` when it was not read on both sides.
pub(super) fn moved(history: &History, upgrade: &Upgrade, name: &str) -> Option<u64> {
    moved_on(history, upgrade, name, |what| match what {
        What::Counters { moment, values } => Some((moment, values)),
        _ => None,
    })
}

/// The same of its clients, where these have a network namespace of their own.
pub(super) fn moved_at_clients(history: &History, upgrade: &Upgrade, name: &str) -> Option<u64> {
    moved_on(history, upgrade, name, |what| match what {
        What::ClientCounters { moment, values } => Some((moment, values)),
        _ => None,
    })
}

fn moved_on<'a>(
    history: &'a History,
    upgrade: &Upgrade,
    name: &str,
    reading: impl Fn(&'a What) -> Option<Reading<'a>>,
) -> Option<u64> {
    let read = |wanted: String| {
        let mut readings = history.events.iter().filter_map(|event| reading(&event.what));
        readings.find(|(moment, _)| **moment == wanted).and_then(|(_, values)| values.get(name).copied())
    };
    let before = read(format!("before upgrade {}", upgrade.id))?;
    let after = read(format!("after upgrade {}", upgrade.id))?;
    Some(after.saturating_sub(before))
}

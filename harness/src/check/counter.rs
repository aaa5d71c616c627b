//! Counters of the target's network namespace across an upgrade.

use crate::event::What;
use crate::history::{History, Upgrade};

/// How much one counter moved in the window of an upgrade; `None` when it was not read on both sides.
pub(super) fn moved(history: &History, upgrade: &Upgrade, name: &str) -> Option<u64> {
    let read = |moment: String| {
        history.events.iter().find_map(|event| match &event.what {
            What::Counters { moment: at, values } if *at == moment => values.get(name).copied(),
            _ => None,
        })
    };
    let before = read(format!("before upgrade {}", upgrade.id))?;
    let after = read(format!("after upgrade {}", upgrade.id))?;
    Some(after.saturating_sub(before))
}

//! Snapshots of a target at rest, as the checks read them.

use crate::event::{AtRest, What};
use crate::history::History;
use crate::id::{Image, UpgradeId};

/// The upgrade after which everything that is made once has been made: the catalogue compares later ones with it.
pub(super) const BASELINE: UpgradeId = UpgradeId(3);

/// One snapshot.
pub(super) struct Rest<'a> {
    pub(super) upgrade: UpgradeId,
    pub(super) seq: u64,
    pub(super) processes: &'a [AtRest],
    pub(super) zombies: &'a [Image],
}

impl Rest<'_> {
    /// Open descriptors of all its processes.
    pub(super) fn descriptors(&self) -> usize {
        self.processes.iter().map(|row| row.descriptors).sum()
    }

    /// How many processes hold the listener.
    pub(super) fn holders(&self) -> usize {
        self.processes.iter().filter(|row| row.holds_listener).count()
    }

    /// "17 (process 1: 9, process 5: 8)".
    pub(super) fn by_process(&self) -> String {
        let rows: Vec<String> =
            self.processes.iter().map(|row| format!("process {}: {}", row.image.pid, row.descriptors)).collect();
        format!("{} ({})", self.descriptors(), rows.join(", "))
    }
}

/// All of them, in order.
pub(super) fn rests(history: &History) -> Vec<Rest<'_>> {
    let seen = history.find(|what| match what {
        What::Quiescent { upgrade, processes, zombies } => Some((*upgrade, processes, zombies)),
        _ => None,
    });
    seen.map(|(event, (upgrade, processes, zombies))| Rest { upgrade, seq: event.seq, processes, zombies }).collect()
}

/// The snapshot of the baseline and the later ones; `None` where there is nothing to compare.
pub(super) fn since_baseline<'a, 'b>(rests: &'b [Rest<'a>]) -> Option<(&'b Rest<'a>, &'b [Rest<'a>])> {
    let first = rests.iter().position(|rest| rest.upgrade == BASELINE)?;
    let later = &rests[first + 1..];
    (!later.is_empty()).then_some((&rests[first], later))
}

//! What became of the connections that were held open through an upgrade: shared by the checks that judge it.

use crate::event::{Event, HeldChange, What};
use crate::history::{History, Upgrade};

/// Their changes after this upgrade, in order, each with the number of its connection.
pub(super) fn changes<'a>(
    history: &'a History,
    upgrade: &Upgrade,
) -> impl Iterator<Item = (&'a Event, u32, &'a HeldChange)> {
    let id = upgrade.id;
    let changes = history.find(move |what| match what {
        What::HeldConnection { upgrade, connection, change } if *upgrade == id => Some((*connection, change)),
        _ => None,
    });
    changes.map(|(event, (connection, change))| (event, connection, change))
}

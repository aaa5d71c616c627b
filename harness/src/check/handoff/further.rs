//! The further listeners of a target through an upgrade: shared by the checks that judge them.

use crate::event::{AskedListener, Event, Fate, What};
use crate::history::History;
use crate::id::Version;
use crate::verdict::{Evidence, Finding};

/// Every listener that was asked through an upgrade and has this fate.
pub(super) fn with_fate(history: &History, fate: Fate) -> Vec<(&Event, &AskedListener)> {
    let asked = history.find(|what| if let What::ListenersAsked(rows) = what { Some(rows) } else { None });
    asked
        .flat_map(|(event, rows)| rows.iter().map(move |row| (event, row)))
        .filter(|(_, row)| row.fate == fate)
        .collect()
}

/// The version that the last upgrade brought.
pub(super) fn newest(history: &History) -> Option<Version> {
    history.upgrades().last().map(|upgrade| upgrade.version)
}

/// What is wrong with one that both versions have, or the new one; `None` when every request was answered, the last by the new version.
pub(super) fn fault(history: &History, row: &AskedListener) -> Option<String> {
    if row.failed > 0 {
        let first = row.failures.first().map(String::as_str).unwrap_or_default();
        return Some(format!("{}: {} of {} requests lost, the first at {first}", row.address, row.failed, row.asked));
    }
    let wanted = newest(history).filter(|_| history.plan.target.tells_versions())?;
    let told = row.version.map_or_else(|| "without a version".to_owned(), |it| format!("by version {it}"));
    (row.version < Some(wanted)).then(|| format!("{}: answered {told} when the old generation was gone", row.address))
}

/// One finding for all of these.
pub(super) fn judged(
    rows: &[(&Event, &AskedListener)],
    what: &str,
    fault: impl Fn(&AskedListener) -> Option<String>,
) -> Finding {
    let evidence =
        |(event, row): &(&Event, &AskedListener)| fault(row).map(|text| Evidence::text(text).event(event.seq));
    let faults: Vec<Evidence> = rows.iter().filter_map(evidence).collect();
    let lost = rows.iter().filter(|(_, row)| fault(row).is_some());
    let is_late = lost.clone().count() > 0 && lost.clone().all(|(_, row)| row.failed > 0 && row.late == row.failed);
    match (rows.first(), faults.is_empty()) {
        (None, _) => Finding::inconclusive(format!("no listener that is {what} was asked")),
        (Some((event, _)), true) => {
            let asked: u32 = rows.iter().map(|(_, row)| row.asked).sum();
            let text = format!("{} listeners that are {what}, {asked} requests in all, as they must be", rows.len());
            Finding::pass(Evidence::text(text).event(event.seq))
        }
        (Some(_), false) if is_late => Finding::fail(faults).on_time(),
        (Some(_), false) => Finding::fail(faults),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::event::Answer;

    /// What is not as it is in a right one.
    pub(in crate::check::handoff) type Change = fn(&mut AskedListener);

    /// An upgrade to version 2, and these listeners: answered three times, at last by version 2, each as it is changed.
    pub(in crate::check::handoff) fn asked(rows: &[(Fate, Change)]) -> History {
        let row = |(n, (fate, change)): (usize, &(Fate, Change))| {
            let mut row = AskedListener {
                address: format!("127.0.0.1:{n}"),
                fate: *fate,
                asked: 3,
                failures: Vec::new(),
                failed: 0,
                late: 0,
                last: Answer::Answered,
                version: Some(Version(2)),
                missing: None,
            };
            change(&mut row);
            row
        };
        let rows = rows.iter().enumerate().map(row).collect();
        Script::new().trigger(1000, 1, 2).settled(1100, 1).event(1200, What::ListenersAsked(rows)).history()
    }

    /// Nobody listens there.
    pub(in crate::check::handoff) fn refused(row: &mut AskedListener) {
        (row.failed, row.last, row.version) = (1, Answer::Refused, None);
        row.failures = vec!["1.050 s: refused".to_owned()];
    }
}

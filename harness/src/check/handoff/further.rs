//! The further listeners of a target through an upgrade: shared by the checks that judge them.

use crate::event::{AskedListener, Event, Fate, Sockets, What};
use crate::history::History;
use crate::verdict::{Evidence, Finding};

/// Every listener that was asked through an upgrade and has this fate.
pub(super) fn with_fate(history: &History, fate: Fate) -> Vec<(&Event, &AskedListener)> {
    let asked = history.find(|what| if let What::ListenersAsked(rows) = what { Some(rows) } else { None });
    asked
        .flat_map(|(event, rows)| rows.iter().map(move |row| (event, row)))
        .filter(|(_, row)| row.fate == fate)
        .collect()
}

/// What is wrong with a listener.
pub(super) struct Fault {
    text: String,
    /// Its clients met nothing but that their time ran out.
    is_late: bool,
}

impl Fault {
    /// One that no noise excuses.
    pub(super) fn fact(text: String) -> Fault {
        Fault { text, is_late: false }
    }

    /// One of requests that were lost.
    pub(super) fn lost(row: &AskedListener, text: String) -> Fault {
        Fault { text, is_late: row.failed > 0 && row.late == row.failed }
    }
}

/// What is wrong with one that the new version has; `None` when every request was answered, the last by the new version.
pub(super) fn fault(history: &History, row: &AskedListener) -> Option<Fault> {
    if row.failed > 0 {
        let first = row.failures.first().map(String::as_str).unwrap_or_default();
        let text = format!("{}: {} of {} requests lost, the first at {first}", row.address, row.failed, row.asked);
        return Some(Fault::lost(row, text));
    }
    if let Some(Sockets { before, after, .. }) = row.sockets.filter(|it| it.after < it.before) {
        let text = format!("{}: {after} of {before} sockets listened when the old generation was gone", row.address);
        return Some(Fault::fact(text));
    }
    let wanted = history.upgrades().last().map(|upgrade| upgrade.version);
    let is_old = row.version < wanted && history.plan.target.tells_versions();
    let told = row.version.map_or_else(|| "without a version".to_owned(), |it| format!("by version {it}"));
    is_old.then(|| Fault::fact(format!("{}: answered {told} when the old generation was gone", row.address)))
}

/// One finding for all of these.
pub(super) fn judged(
    rows: &[(&Event, &AskedListener)],
    what: &str,
    fault: impl Fn(&AskedListener) -> Option<Fault>,
) -> Finding {
    let Some((event, _)) = rows.first() else {
        return Finding::inconclusive(format!("no listener that is {what} was asked"));
    };
    let faults: Vec<(u64, Fault)> = rows.iter().filter_map(|(event, row)| Some((event.seq, fault(row)?))).collect();
    if faults.is_empty() {
        let asked: u32 = rows.iter().map(|(_, row)| row.asked).sum();
        let text = format!("{} listeners that are {what}, {asked} requests in all, as they must be", rows.len());
        return Finding::pass(Evidence::text(text).event(event.seq));
    }
    let is_late = faults.iter().all(|(_, fault)| fault.is_late);
    let evidence = faults.into_iter().map(|(seq, fault)| Evidence::text(fault.text).event(seq)).collect();
    if is_late { Finding::fail(evidence).on_time() } else { Finding::fail(evidence) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::script::Script;
    use crate::event::Answer;
    use crate::id::Version;

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
                sockets: None,
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

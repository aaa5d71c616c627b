//! Requests lost during an upgrade, counted per upgrade and per class: shared by the checks that judge them.

use std::collections::BTreeMap;

use crate::history::{History, Upgrade};
use crate::request::{FailureClass, Pattern, Request};
use crate::verdict::{Evidence, Finding};

/// Which requests a check judges.
pub(super) struct Loss<'a> {
    /// Their name in evidence ("connects").
    pub(super) what: &'a str,
    /// The requests that are counted at all.
    pub(super) concerns: &'a dyn Fn(&Request) -> bool,
    /// The ones that are lost in the sense of the check.
    pub(super) lost: &'a dyn Fn(&Request) -> bool,
}

/// The load requests that belong to an upgrade: those that ended between its trigger and the next one (or the stop).
/// Each belongs to one upgrade only, so that sums agree with the counters. What the path has rejected, or may have, never came to the
/// target.
pub(super) fn touched<'a>(history: &'a History, upgrade: &Upgrade) -> impl Iterator<Item = &'a Request> {
    let (from, until) = (upgrade.trigger.not_before, upgrade.window_end);
    let within = move |request: &&Request| request.ended > from && request.ended <= until;
    history.load().filter(within).filter(|request| !history.rejected_by_path(request))
}

/// One finding per upgrade: pass with the count, or one fail per failure class with times and what the sockets said.
pub(super) fn losses(history: &History, loss: &Loss<'_>) -> Vec<Finding> {
    history.upgrades().iter().flat_map(|upgrade| losses_of(history, upgrade, loss)).collect()
}

/// The same of one pattern, in which some class may be no loss; what our own resources cost is never the target's.
pub(super) fn losses_of_pattern(
    history: &History,
    (pattern, what): (Pattern, &str),
    excused: Option<FailureClass>,
) -> Vec<Finding> {
    let loss = Loss {
        what,
        concerns: &|request| request.pattern == pattern && request.failure() != Some(FailureClass::HarnessFault),
        lost: &|request| request.failure().is_some() && request.failure() != excused,
    };
    losses(history, &loss)
}

/// The same where what is judged depends on the upgrade.
pub(super) fn losses_each(
    history: &History,
    what: &str,
    concerns: &dyn Fn(&Request, &Upgrade) -> bool,
    lost: &dyn Fn(&Request) -> bool,
) -> Vec<Finding> {
    let of = |upgrade: &Upgrade| {
        let concerns = |request: &Request| concerns(request, upgrade);
        losses_of(history, upgrade, &Loss { what, concerns: &concerns, lost })
    };
    history.upgrades().iter().flat_map(of).collect()
}

/// The same of one upgrade.
pub(super) fn losses_of(history: &History, upgrade: &Upgrade, loss: &Loss<'_>) -> Vec<Finding> {
    let concerned: Vec<&Request> = touched(history, upgrade).filter(|it| (loss.concerns)(it)).collect();
    let by_class = by_class(concerned.iter().copied().filter(|it| (loss.lost)(it)));
    if by_class.is_empty() {
        return vec![Finding::pass(format!("0 of {} {} lost", concerned.len(), loss.what)).of(upgrade.id)];
    }
    let finding = |(class, requests): (FailureClass, Vec<&Request>)| {
        let evidence = describe(class, &requests, concerned.len(), loss.what, upgrade);
        Finding::fail(evidence).of(upgrade.id).class(class)
    };
    by_class.into_iter().map(finding).collect()
}

/// Those of these requests that failed, by how they did.
pub(super) fn by_class<'a>(requests: impl Iterator<Item = &'a Request>) -> BTreeMap<FailureClass, Vec<&'a Request>> {
    let mut by_class: BTreeMap<FailureClass, Vec<&Request>> = BTreeMap::new();
    for request in requests {
        if let Some(class) = request.failure() {
            by_class.entry(class).or_default().push(request);
        }
    }
    by_class
}

/// Every request of the load, lost in whatever way; what our own resources cost is never the target's.
pub(super) const ANY_REQUEST: Loss<'static> = Loss {
    what: "requests",
    concerns: &|request| request.failure() != Some(FailureClass::HarnessFault),
    lost: &|request| request.failure().is_some(),
};

/// The same but for the races of keep-alive, which an upgrade that succeeds may have: they are drain/keepalive-race's.
pub(super) const WITHOUT_RACES: Loss<'static> = Loss {
    lost: &|request| {
        request.failure().is_some_and(|class| !matches!(class, FailureClass::Crossed | FailureClass::Unread))
    },
    ..ANY_REQUEST
};

/// "3 of 4012 connects refused, 1.204 s – 1.219 s", and what the first socket said.
pub(super) fn describe(
    class: FailureClass,
    requests: &[&Request],
    of: usize,
    what: &str,
    upgrade: &Upgrade,
) -> Vec<Evidence> {
    let first = requests.iter().map(|it| it.began).min().unwrap_or_default();
    let last = requests.iter().map(|it| it.ended).max().unwrap_or_default();
    let mut evidence = vec![
        Evidence::text(format!("{} of {of} {what} {class}, {first} – {last}", requests.len()))
            .requests(requests.iter().map(|it| it.id)),
        Evidence::text(format!("upgrade {} was triggered at {}", upgrade.id, upgrade.trigger.not_before))
            .event(upgrade.trigger_seq),
    ];
    if let Some(request) = requests.first()
        && let crate::request::Ending::Failed { evidence: socket, .. } = &request.ending
    {
        let sent = request.sent.map_or_else(|| "never sent".to_owned(), |at| format!("sent at {at}"));
        let state = if socket.state.is_empty() { String::new() } else { format!(", state {}", socket.state) };
        evidence.push(Evidence::text(format!(
            "request {}: {sent}, ended at {} by {}{state}, {} of its {} bytes acknowledged, {} bytes of answer",
            request.id,
            request.ended,
            socket.signal,
            socket.request_bytes_acked,
            request.bytes_sent,
            request.bytes_received
        )));
    }
    evidence
}

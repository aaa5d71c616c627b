//! What excuses a lateness: a machine that stood still, an observer that broke, a target that lacked a processor.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::check::Check;
use crate::clock::Interval;
use crate::event::{Event, ProcessChange, What};
use crate::history::History;
use crate::id::{Image, Pid};
use crate::verdict::{Finding, Ground};

/// A machine that stands still for longer than this cannot tell a target's gap from its own: the default answer gap
/// that a target is allowed.
const STANDSTILL_MAX: Duration = Duration::from_secs(1);

/// The least lack of a processor, in milliseconds, that may have made anything late: far above what a machine with work for all
/// takes. By how much something was late, where that is told, says it better.
const LACK_MIN: u64 = 250;

/// What excuses this fail, if anything does: never one that rests on a fact.
pub(super) fn excuse(history: &History, check: &Check, finding: &Finding) -> Option<String> {
    let late = || noise(history).or_else(|| blindness(history, check));
    match finding.ground {
        Ground::Fact => None,
        Ground::Patience => late(),
        Ground::Time => late().or_else(|| lack(history, finding)),
    }
}

/// How the machine stood still during the run, if it did.
pub(super) fn noise(history: &History) -> Option<String> {
    let lateness = Duration::from_nanos(history.account.lateness_max);
    if lateness > STANDSTILL_MAX {
        return Some(format!("the load was up to {} ms late", lateness.as_millis()));
    }
    if let Some(lost) = history.canary().find(|request| request.failure().is_some()) {
        return Some(format!("the canary, a listener of our own, lost request {}", lost.id));
    }
    let canary = history.canary().map(|request| request.ended.since(request.intended)).max().unwrap_or_default();
    (canary > STANDSTILL_MAX).then(|| format!("the canary took up to {} ms to answer", canary.as_millis()))
}

/// How the target lacked a processor during the run, if it did.
pub(super) fn starvation(history: &History) -> Option<String> {
    longest(lacks(history).filter(|it| it.waited_ms >= LACK_MIN))
}

/// Who looked for this check and broke: what did not come in time may have come unseen.
fn blindness(history: &History, check: &Check) -> Option<String> {
    let faults =
        history.find(|what| if let What::ObserverFault { observer, .. } = what { Some(observer) } else { None });
    let (_, observer) = faults.into_iter().find(|(_, observer)| check.observers.contains(&observer.as_str()))?;
    Some(format!("the observer {observer} broke, and may have missed it"))
}

/// How the target lacked a processor, where a finding may rest on that: while what it tells of was tried. What was added
/// to a wait is no excuse for what had not come when that wait was over.
fn lack(history: &History, finding: &Finding) -> Option<String> {
    let since = began_after(history, finding);
    let cited: Vec<&Event> = cited(history, finding).collect();
    let tried = |at: Interval| cited.iter().any(|it| !it.what.is_attempt() || overlap(it.at, at));
    let tells_a_wait = |it: &&Event| it.what.is_attempt() || matches!(it.what, What::DeadlinePassed { .. });
    let over = cited.iter().copied().find(tells_a_wait).map(|event| event.at.not_after);
    let lengthened = history.find(|what| matches!(what, What::WaitLengthened { .. }).then_some(()));
    let waits: Vec<Interval> = lengthened.map(|(event, ())| event.at).filter(|it| Some(it.not_after) <= over).collect();
    let made_up = |at: Interval| waits.iter().any(|it| overlap(*it, at));
    let lacks: Vec<Lack<'_>> = lacks(history)
        .filter(|it| finding.late_by_ms.is_some() || it.waited_ms >= LACK_MIN)
        .filter(|it| it.event.seq >= since && (cited.is_empty() || tried(it.event.at)) && !made_up(it.event.at))
        .collect();
    let lacked = match finding.late_within {
        Some(within) => lacked_within(history, &lacks, within),
        None => lacks.iter().map(|it| it.waited_ms).sum(),
    };
    longest(lacks).filter(|_| finding.late_by_ms.is_none_or(|late_by| lacked >= late_by))
}

/// For how many milliseconds of this time one process can have lacked a processor: nobody is late because another one waited, or
/// waited at another time. Who appeared later had nothing in hand that could be late.
fn lacked_within(history: &History, lacks: &[Lack<'_>], within: Interval) -> u64 {
    let appeared = |image: &Image| {
        let mut appearances = history.find(|what| match what {
            What::Process { image: it, change: ProcessChange::Appeared { .. } } => Some(it.pid),
            _ => None,
        });
        appearances.find(|(_, pid)| *pid == image.pid).map(|(event, _)| event.at.not_before)
    };
    let mut of_process: BTreeMap<Pid, u64> = BTreeMap::new();
    for lack in lacks.iter().filter(|lack| appeared(&lack.image) <= Some(within.not_before)) {
        let (from, until) =
            (lack.event.at.not_before.max(within.not_before), lack.event.at.not_after.min(within.not_after));
        let common = u64::try_from(until.since(from).as_millis()).unwrap_or(u64::MAX);
        *of_process.entry(lack.image.pid).or_default() += lack.waited_ms.min(common);
    }
    of_process.into_values().max().unwrap_or(0)
}

fn cited<'a>(history: &'a History, finding: &'a Finding) -> impl Iterator<Item = &'a Event> {
    let rests_on = |event: &&Event| finding.evidence.iter().any(|evidence| evidence.events.contains(&event.seq));
    history.events.iter().filter(rests_on)
}

fn overlap(one: Interval, other: Interval) -> bool {
    !one.precedes(&other) && !other.precedes(&one)
}

/// Since when what a finding tells of can have been late: what was seen from its readiness on began no sooner.
fn began_after(history: &History, finding: &Finding) -> u64 {
    let ready = history.find(|what| matches!(what, What::Ready { .. }).then_some(())).next();
    let mut events = finding.evidence.iter().flat_map(|evidence| &evidence.events).peekable();
    match ready {
        Some((ready, ())) if events.peek().is_some() && events.all(|seq| *seq >= ready.seq) => ready.seq,
        _ => 0,
    }
}

/// That a process of the target lacked a processor.
struct Lack<'a> {
    event: &'a Event,
    image: Image,
    waited_ms: u64,
}

fn lacks(history: &History) -> impl Iterator<Item = Lack<'_>> {
    let starved = history.find(|what| match what {
        What::Starved { image, waited_ms } => Some((*image, *waited_ms)),
        _ => None,
    });
    starved.map(|(event, (image, waited_ms))| Lack { event, image, waited_ms })
}

/// The longest one, in words.
fn longest<'a>(lacks: impl IntoIterator<Item = Lack<'a>>) -> Option<String> {
    let Lack { event, image, waited_ms } = lacks.into_iter().max_by_key(|it| it.waited_ms)?;
    Some(format!("pid {} waited {waited_ms} ms for a processor until {}", image.pid, event.at.not_after))
}

//! Stretches of a load that were worse than the rest: outages, and the longest silence.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Lost, Record};
use crate::clock::Nanos;
use crate::request::FailureClass;

/// Requests that were meant to be sent one after the other, and all failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// When the first of them was meant to be sent.
    pub from: Nanos,
    /// When the last of them had failed.
    pub to: Nanos,
    /// How many, by class.
    pub lost: BTreeMap<FailureClass, u64>,
}

/// Time in which no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Silence {
    /// After this answer.
    pub from: Nanos,
    /// Until this one.
    pub to: Nanos,
}

/// The outages, in order.
#[must_use]
pub fn outages(answered: &[Record], lost: &[Lost]) -> Vec<Outage> {
    let mut answers: Vec<Nanos> = answered.iter().map(|it| it.intended).collect();
    answers.sort_unstable();
    let mut lost: Vec<&Lost> = lost.iter().collect();
    lost.sort_unstable_by_key(|it| it.intended);
    let mut outages: Vec<(usize, Outage)> = Vec::new();
    for it in lost {
        // Two belong together where no answered request was meant to be sent between them.
        let place = answers.partition_point(|answer| *answer < it.intended);
        if outages.last().is_none_or(|(of, _)| *of != place) {
            outages.push((place, Outage { from: it.intended, to: it.ended, lost: BTreeMap::new() }));
        }
        if let Some((_, outage)) = outages.last_mut() {
            outage.to = outage.to.max(it.ended);
            *outage.lost.entry(it.class).or_default() += 1;
        }
    }
    outages.into_iter().map(|(_, outage)| outage).collect()
}

/// The longest time between two answers; `None` of fewer than two.
#[must_use]
pub fn longest_silence(answered: &[Record]) -> Option<Silence> {
    let mut ends: Vec<Nanos> = answered.iter().map(|it| it.ended).collect();
    ends.sort_unstable();
    let pairs = ends.windows(2).map(|pair| Silence { from: pair[0], to: pair[1] });
    pairs.max_by_key(|it| it.to.since(it.from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(intended: u64, ended: u64) -> Record {
        let intended = Nanos(intended);
        Record { intended, began: intended, ended: Nanos(ended), received: 1, connection: 1 }
    }

    fn lost(intended: u64, class: FailureClass) -> Lost {
        let (intended, ended) = (Nanos(intended), Nanos(intended + 5));
        let (signal, state) = (String::new(), String::new());
        Lost { intended, began: intended, ended, class, signal, state, received: 0 }
    }

    #[test]
    fn failures_without_an_answer_between_them_are_one_outage() {
        use FailureClass::{Refused, Unread};
        let answers = [answered(10, 11), answered(50, 51), answered(90, 91)];
        let found = outages(&answers, &[lost(40, Refused), lost(20, Refused), lost(30, Unread), lost(60, Refused)]);
        let seen: Vec<_> = found.iter().map(|it| (it.from.0, it.to.0, it.lost.values().sum::<u64>())).collect();
        assert_eq!(seen, [(20, 45, 3), (60, 65, 1)]);
        assert_eq!(found[0].lost, BTreeMap::from([(Refused, 2), (Unread, 1)]));
        assert_eq!(outages(&answers, &[]), []);
    }

    #[test]
    fn the_longest_silence_is_between_two_answers() {
        let seen = longest_silence(&[answered(10, 30), answered(5, 12), answered(40, 41)]);
        assert_eq!(seen, Some(Silence { from: Nanos(12), to: Nanos(30) }));
        assert_eq!(longest_silence(&[answered(1, 2)]), None);
    }
}

//! Requests one by one, held against what the driver counted of them: neither can be wrong alone.

use std::collections::BTreeMap;

use super::{DriveReport, Latencies, Lost, Record, times};
use crate::request::FailureClass;

/// What the two do not agree on, if anything.
#[must_use]
pub fn disagreement(answered: &[Record], lost: &[Lost], report: &DriveReport) -> Option<String> {
    let mut by_class: BTreeMap<FailureClass, u64> = BTreeMap::new();
    for it in lost {
        *by_class.entry(it.class).or_default() += 1;
    }
    let mut took = times();
    for it in answered {
        took.saturating_record(it.ended.0.saturating_sub(it.intended.0));
    }
    let differs = |what: &str, records: &dyn std::fmt::Debug, counted: &dyn std::fmt::Debug| {
        Some(format!("{what}: {records:?} by the requests, {counted:?} by the driver's count"))
    };
    let ends = answered.len() as u64 + lost.len() as u64;
    if ends != report.begun {
        differs("requests", &ends, &report.begun)
    } else if by_class != report.failed {
        differs("lost", &by_class, &report.failed)
    } else if Latencies::of(&took) != report.latency {
        differs("latency", &Latencies::of(&took), &report.latency)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nanos;

    fn record(ended: u64) -> Record {
        Record { intended: Nanos(0), began: Nanos(1), ended: Nanos(ended), received: 2, connection: 1 }
    }

    fn report(answered: &[Record]) -> DriveReport {
        let mut took = times();
        answered.iter().for_each(|it| took.saturating_record(it.ended.0));
        DriveReport {
            origin: 0,
            begun: answered.len() as u64,
            unsent: 0,
            answered: answered.len() as u64,
            failed: BTreeMap::new(),
            connections: 1,
            idle_closes: 0,
            idle_broken: BTreeMap::new(),
            bytes_received: 0,
            took: 0,
            latency: Latencies::of(&took),
            lateness: None,
            processor: 0,
            losses: Vec::new(),
        }
    }

    #[test]
    fn a_request_that_is_missing_or_of_another_length_is_found() {
        let answered = [record(100), record(200)];
        let counted = report(&answered);
        assert_eq!(disagreement(&answered, &[], &counted), None);
        let missing = disagreement(&answered[..1], &[], &counted).expect("one is missing");
        assert!(missing.contains("requests: 1 by the requests, 2 by the driver's count"), "{missing}");
        let longer = disagreement(&[record(100), record(900)], &[], &counted).expect("one took longer");
        assert!(longer.starts_with("latency"), "{longer}");
    }

    #[test]
    fn a_loss_of_another_class_is_found() {
        let lost = |class| Lost {
            intended: Nanos(0),
            began: Nanos(0),
            ended: Nanos(1),
            class,
            signal: String::new(),
            state: String::new(),
            received: 0,
        };
        let counted = DriveReport { begun: 1, failed: BTreeMap::from([(FailureClass::Refused, 1)]), ..report(&[]) };
        assert_eq!(disagreement(&[], &[lost(FailureClass::Refused)], &counted), None);
        let other = disagreement(&[], &[lost(FailureClass::Unread)], &counted).expect("it is another");
        assert!(other.starts_with("lost"), "{other}");
    }
}

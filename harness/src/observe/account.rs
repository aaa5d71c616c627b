//! How well an observer looked.

use std::time::Duration;

use crate::clock::Nanos;
use crate::event::What;

/// Samples and the longest time between two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Samples taken.
    pub samples: u64,
    /// The longest time between the beginnings of two samples in a row.
    pub longest_gap: Duration,
    last: Option<Nanos>,
}

impl Account {
    /// Counts a sample that began at this instant.
    pub(super) fn sampled(&mut self, at: Nanos) {
        self.samples += 1;
        if let Some(last) = self.last.replace(at) {
            self.longest_gap = self.longest_gap.max(at.since(last));
        }
    }

    /// Counts something that the kernel announced: between two of them nothing can be missed, so there is no gap.
    pub(super) fn announced(&mut self) {
        self.samples += 1;
    }

    /// The observer's last event.
    pub(super) fn ended(&self, observer: &str) -> What {
        What::ObserverEnded {
            observer: observer.to_owned(),
            samples: self.samples,
            longest_gap: u64::try_from(self.longest_gap.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_between_two_samples_in_a_row() {
        let mut account = Account::default();
        for at in [10, 11, 15, 16] {
            account.sampled(Nanos(at));
        }
        assert_eq!((account.samples, account.longest_gap), (4, Duration::from_nanos(4)));
    }
}

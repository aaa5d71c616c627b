//! What an application sees of the same server: a client that pools its connections, and sends a lost request again without a word.

use std::collections::BTreeMap;

use serde::Serialize;

/// The application's eye. It never decides anything: what was lost the kernel counts, and the wire's own driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApplicationView {
    /// The client.
    pub client: &'static str,
    /// How many requests at a time.
    pub at_a_time: u32,
    /// Requests that the application made.
    pub requests: u64,
    /// Those that its client called a success.
    pub answered: u64,
    /// The others, in its words.
    pub failed: BTreeMap<String, u64>,
    /// What the kernel counted in this network namespace meanwhile, less the `unread` and `crossed` of the load beside: requests that met the
    /// end of their connection (TCPAbortOnClose, TCPAbortOnData). Right where nobody else's connections are in these counters.
    pub lost: u64,
}

impl ApplicationView {
    /// Failures that the application was told of.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Lost requests that it was not told of, as its client sent them again.
    #[must_use]
    pub fn hidden(&self) -> u64 {
        self.lost.saturating_sub(self.told())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_and_not_told_was_hidden() {
        let view = |lost, told| ApplicationView {
            client: "any",
            at_a_time: 1,
            requests: 100,
            answered: 100 - told,
            failed: BTreeMap::from([("reset".to_owned(), told)]),
            lost,
        };
        assert_eq!(view(12, 3).hidden(), 9);
        // Refused connects are told, and no request was lost by them.
        assert_eq!(view(0, 3).hidden(), 0);
    }
}

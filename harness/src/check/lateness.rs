//! By how much an answer was late, and when: as much a lack of processors has to make up for, at that time.

use std::time::Duration;

use crate::clock::Interval;
use crate::request::Request;
use crate::verdict::Finding;

/// The same fail, dated by the latest of these, each of which was to be answered in so much time.
pub(super) fn dated(fail: Finding, late: &[&Request], most: Duration) -> Finding {
    let took = |request: &Request| request.ended.since(request.began);
    match late.iter().max_by_key(|request| took(request)) {
        Some(latest) => fail.late_within(took(latest).saturating_sub(most), Interval::new(latest.began, latest.ended)),
        None => fail.on_time(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::answered;
    use crate::clock::Nanos;
    use crate::verdict::Ground;

    #[test]
    fn the_latest_answer_dates_it() {
        let requests = [answered(1000, 1800, 1), answered(1100, 2900, 1), answered(2000, 2900, 1)];
        let requests: Vec<&Request> = requests.iter().collect();
        let fail = dated(Finding::fail(Vec::new()), &requests, Duration::from_millis(700));
        assert_eq!((fail.ground, fail.late_by_ms), (Ground::Time, Some(1100)));
        let within = Interval::new(Nanos(1_100_000_000), Nanos(2_900_000_000));
        assert_eq!(fail.late_within, Some(within));
        assert_eq!(dated(Finding::fail(Vec::new()), &[], Duration::ZERO).ground, Ground::Time);
    }
}

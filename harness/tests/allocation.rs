//! The driver at full speed allocates nothing for a request that is answered: it makes its room before the first one.

#[path = "load/server.rs"]
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use allocation_counter::measure;
use unbroken::drive::{DrivePlan, Seen};
use unbroken::load::fast::drive;
use unbroken::wait::Stop;

/// Longer than any of these loads lasts: they end with their last request.
const LONG: Duration = Duration::from_secs(300);

/// Allocations of the driver's thread for a load of so many requests, or some more that are under way when it ends.
fn allocations(to: SocketAddr, kept: bool, requests: u64) -> u64 {
    let plan = DrivePlan { connections: 4, kept, duration: LONG, ..DrivePlan::new(to) };
    let stop = Stop::new().expect("descriptors are left");
    let mut answered = 0;
    let counted = measure(|| {
        let report = drive(&plan, LONG, &stop, &mut |seen| {
            answered += u64::from(matches!(seen, Seen::Answered(_)));
            if answered == requests {
                stop.ask();
            }
        });
        assert_eq!(report.expect("it drives").lost(), 0);
    });
    assert!(answered >= requests, "{answered} of {requests}");
    counted.count_total
}

#[test]
fn more_requests_need_no_more_allocations() {
    let to = server::start();
    for kept in [true, false] {
        let (few, many) = (allocations(to, kept, 100), allocations(to, kept, 5_100));
        // Its slots, its buffers and its histograms.
        assert!(few > 0, "they are counted");
        assert_eq!(many, few, "5000 requests more, kept: {kept}");
    }
}

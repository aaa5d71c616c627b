//! Wall-clock time, for the one place in a report that tells it. UTC only.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Now, as "2026-11-22T21:05:00Z" (RFC 3339), to the second.
#[must_use]
pub fn now_rfc3339() -> String {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).expect("0 is a nanosecond of every second");
    now.format(&Rfc3339).expect("a year of four digits has an RFC 3339 form")
}

/// Now, as "20261122T210500Z": for names of directories.
#[must_use]
pub fn now_compact() -> String {
    now_rfc3339().replace(['-', ':'], "")
}

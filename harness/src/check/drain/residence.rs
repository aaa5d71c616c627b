//! How a request without an answer on a reused connection was lost: in a race with the close, or swallowed.
//!
//! Residence is the time from the request's last byte given to the kernel to the failure. R is the largest answer time
//! of that kind of request in this run's baseline plus the canary's largest delay: for so long a server may lawfully
//! leave a request unread. Measured: 0.08–6.3 ms for the races of nginx, 480–2 400 ms where a server swallows (gunicorn, apache).

use std::time::Duration;

use crate::check::loss::{Loss, losses};
use crate::history::History;
use crate::request::{FailureClass, Pattern, Request};
use crate::verdict::Finding;

/// For so long a server's thread may have waited for a processor without anybody's telling (`observe::starvation`). One of 16 once did at a
/// restart: its request lay unread for 47 ms where R was 14.
const UNREAD_LEAST: Duration = Duration::from_millis(100);

/// The judgement of one lost request on a reused connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// The request met the close: `crossed`, or `unread` for no longer than R (flagged up to [`unread_max`]).
    Race,
    /// Taken in and lost: `taken`, `unread` for too long to be a race, or never answered.
    Swallowed,
}

/// For how long a race may leave a request unread, where the server normally takes so long: 3R, and a tenth of a second at least.
pub(super) fn unread_max(normal: Duration) -> Duration {
    UNREAD_LEAST.max(3 * normal)
}

/// R of this run.
pub(super) fn normal(history: &History) -> Duration {
    let trigger = history.first_trigger().unwrap_or_else(|| history.end());
    let baseline = history
        .load()
        .filter(|request| request.pattern == Pattern::Busy && request.failure().is_none() && request.ended < trigger)
        .map(residence)
        .max();
    let canary = history.canary().map(|request| request.ended.since(request.intended)).max();
    baseline.unwrap_or_default() + canary.unwrap_or_default()
}

/// Findings about the requests on kept connections that were lost in this manner.
pub(super) fn lost(history: &History, wanted: Manner, normal: Duration) -> Vec<Finding> {
    losses(
        history,
        &Loss {
            what: "requests on reused connections",
            concerns: &|request| {
                matches!(request.pattern, Pattern::Busy | Pattern::Idle) && request.nth_on_connection > 0
            },
            lost: &|request| manner(request, normal) == Some(wanted),
        },
    )
}

/// From the last byte given to the kernel to the end.
pub(super) fn residence(request: &Request) -> Duration {
    request.sent.map_or(Duration::ZERO, |sent| request.ended.since(sent))
}

/// How this request was lost; `None` when it was not lost on a reused connection.
pub(super) fn manner(request: &Request, normal: Duration) -> Option<Manner> {
    if request.nth_on_connection == 0 {
        return None;
    }
    match request.failure()? {
        FailureClass::Crossed => Some(Manner::Race),
        FailureClass::Unread if residence(request) > unread_max(normal) => Some(Manner::Swallowed),
        FailureClass::Unread => Some(Manner::Race),
        FailureClass::Taken | FailureClass::Hung => Some(Manner::Swallowed),
        FailureClass::HarnessFault
        | FailureClass::Refused
        | FailureClass::HandshakeReset
        | FailureClass::ConnectTimeout
        | FailureClass::Dropped
        | FailureClass::ClosedBeforeFirstByte
        | FailureClass::UnsolicitedAnswer
        | FailureClass::Truncated
        | FailureClass::IdleReset
        | FailureClass::WrongAnswer
        | FailureClass::StreamRefused
        | FailureClass::Tls
        | FailureClass::CloseFrame
        | FailureClass::NoCloseFrame
        | FailureClass::Lost
        | FailureClass::ServerError => None,
    }
}

//! Witnesses: what must have happened for a pass to mean anything. Missing ones make it inconclusive.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Nanos;
use crate::event::What;
use crate::history::{History, Upgrade};
use crate::id::UpgradeId;
use crate::manifest::{Capability, Protocol};
use crate::request::{Pattern, Request};
use crate::scenario::Step;
use crate::target::{Target, TargetEndpoint, TargetFurther};

/// A precondition of a verdict. The numbers are the load floors of the catalogue, per upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Witness {
    /// At least one upgrade was triggered.
    Upgrades,
    /// Answers carry the version that gave them.
    Versions,
    /// A request and its answer can say that they are the last ones on their connection.
    Announcements,
    /// The target listens on other addresses in each version.
    MovingListeners,
    /// The target has a way to tell whoever asked for an upgrade what became of it.
    ReplyChannel,
    /// At least 200 fresh connections per second, from the trigger to the end of the drain.
    FreshLoad,
    /// At least 12 kept connections were busy right before the trigger.
    BusyLoad,
    /// At least 10 slow requests were in flight at the trigger.
    RequestsInFlight,
    /// At least 16 idle kept connections at the trigger, where the scenario has idle ones.
    IdleLoad,
    /// At least 8 connections at the trigger that had sent nothing yet.
    SilentLoad,
    /// At least 6 connections at the trigger that had sent half a request head.
    HalfLoad,
    /// A slow reader had most of its answer yet to read right after the trigger.
    StreamUnread,
    /// A request body was half sent at the trigger.
    UploadHalfSent,
    /// The old listener's accept queue was not empty in the last dump before the trigger, with its workers stalled.
    BacklogNotEmpty,
    /// At least 8 handshakes were half done right before the trigger.
    HandshakesHalfOpen,
    /// At least 10 HTTP/2 streams were open at the trigger.
    H2Load,
    /// At least 40 TLS handshakes a second right before the trigger.
    TlsLoad,
    /// At least 12 WebSockets were spoken on right before the trigger.
    WebsocketLoad,
    /// At least 8 flows of datagrams were answered right before the trigger, and sent more after it.
    FlowLoad,
}

/// Fresh connections per second.
pub const FRESH_PER_SECOND_MIN: f64 = 200.0;
/// Busy kept connections.
pub const BUSY_MIN: usize = 12;
/// Requests in flight at the trigger.
pub const IN_FLIGHT_MIN: usize = 10;
/// Idle kept connections at the trigger.
pub const IDLE_MIN: usize = 16;
/// Connections that had sent nothing at the trigger.
pub const SILENT_MIN: usize = 8;
/// Connections that had sent half a head at the trigger.
pub const HALF_MIN: usize = 6;
/// Unread bytes of an answer: twice what the kernel keeps for a sender at most (tcp_wmem: 4 MiB), so that its send queue is
/// not empty and its handler still writes.
pub const UNREAD_MIN: u64 = 8 * 1024 * 1024;
/// Half-sent bodies at the trigger.
pub const UPLOADS_MIN: usize = 1;
/// Half-open handshakes right before the trigger.
pub const HALF_OPEN_MIN: u32 = 8;
/// TLS handshakes in the half second before a trigger.
pub const HANDSHAKES_MIN: usize = 20;
/// Flows of datagrams.
pub const FLOWS_MIN: usize = 8;
/// An upgrade may be over in 15 ms, which at this rate is three connections, and one late wake-up would halve it: below
/// this the load is looked at for so long after the trigger, or the upgrades of a run are judged together.
const RATED_MIN: Duration = Duration::from_millis(100);
/// How far back an answer lies on a connection that counts as idle: the longest pause of the pattern.
const IDLE_LOOK_BACK_NANOS: u64 = 1_500_000_000;
/// How far back a kept connection counts as busy: some twenty of its mean think times.
const BUSY_LOOK_BACK_NANOS: u64 = 500_000_000;

/// What a witness said of one upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The upgrade, or `None` for the run as a whole.
    pub upgrade: Option<UpgradeId>,
    /// Whether it is enough.
    pub met: bool,
    /// The number, in words.
    pub text: String,
}

impl Witness {
    /// It is about load: a machine that stands still leaves it unproven.
    #[must_use]
    pub fn is_of_load(self) -> bool {
        match self {
            Witness::Upgrades
            | Witness::Versions
            | Witness::Announcements
            | Witness::ReplyChannel
            | Witness::MovingListeners => false,
            Witness::FreshLoad
            | Witness::BusyLoad
            | Witness::RequestsInFlight
            | Witness::IdleLoad
            | Witness::SilentLoad
            | Witness::HalfLoad
            | Witness::StreamUnread
            | Witness::UploadHalfSent
            | Witness::BacklogNotEmpty
            | Witness::HandshakesHalfOpen
            | Witness::H2Load
            | Witness::TlsLoad
            | Witness::WebsocketLoad
            | Witness::FlowLoad => true,
        }
    }

    /// Why this target can never show it: its manifest does not name what it asks for.
    #[must_use]
    pub fn unsupported(self, target: &Target) -> Option<String> {
        let pattern = match self {
            Witness::StreamUnread => Pattern::Reader,
            Witness::UploadHalfSent => Pattern::Upload,
            Witness::Versions => {
                let endpoint = target.endpoints.first().filter(|_| !target.tells_versions())?;
                return Some(lacks(endpoint, "versions", "`version_header`"));
            }
            Witness::Announcements => {
                let endpoint = target.endpoints.first().filter(|endpoint| !endpoint.announces_ends())?;
                let text = "speaks raw echo, which has no word for the end of a connection";
                return Some(format!("the endpoint `{}` {text}", endpoint.name));
            }
            Witness::MovingListeners => {
                let text = "no address of `also` has `{version}` in it";
                return (!target.also.iter().any(TargetFurther::moves)).then(|| text.to_owned());
            }
            Witness::ReplyChannel => {
                let text = "no command triggers its restart, and the manifest does not claim `notify`";
                let replies = target.is_triggered_by_command() || target.claims(Capability::Notify);
                return (!replies).then(|| text.to_owned());
            }
            Witness::Upgrades
            | Witness::FreshLoad
            | Witness::BusyLoad
            | Witness::RequestsInFlight
            | Witness::IdleLoad
            | Witness::SilentLoad
            | Witness::HalfLoad
            | Witness::BacklogNotEmpty
            | Witness::HandshakesHalfOpen
            | Witness::H2Load
            | Witness::TlsLoad
            | Witness::WebsocketLoad
            | Witness::FlowLoad => return None,
        };
        let endpoint = target.endpoints.first().filter(|endpoint| !endpoint.offers(pattern))?;
        Some(if pattern == Pattern::Reader {
            lacks(endpoint, "answers of their own", "long answer (`stream`)")
        } else {
            lacks(endpoint, "bodies", "request with a body (`upload`)")
        })
    }

    /// Looks at a history: one sighting per upgrade.
    #[must_use]
    pub fn look(self, history: &History) -> Vec<Sighting> {
        // Of the manifest, with upgrades or without.
        if self == Witness::Announcements {
            return Vec::new();
        }
        let upgrades = history.upgrades();
        if upgrades.is_empty() {
            return vec![Sighting { upgrade: None, met: false, text: "no upgrade was triggered".to_owned() }];
        }
        if self == Witness::Upgrades {
            let text = format!("{} upgrades were triggered", upgrades.len());
            return vec![Sighting { upgrade: None, met: true, text }];
        }
        upgrades.iter().map(|upgrade| self.one(history, upgrade)).collect()
    }

    fn one(self, history: &History, upgrade: &Upgrade) -> Sighting {
        let (met, text) = match self {
            // Of the run and of the manifest, not of an upgrade.
            Witness::Upgrades
            | Witness::Versions
            | Witness::Announcements
            | Witness::ReplyChannel
            | Witness::MovingListeners => (true, String::new()),
            Witness::FreshLoad => fresh(history, upgrade),
            Witness::BusyLoad => busy(history, upgrade, Pattern::Busy, "busy kept connections"),
            Witness::WebsocketLoad => busy(history, upgrade, Pattern::Websocket, "WebSockets spoken on"),
            Witness::RequestsInFlight => in_flight(history, upgrade),
            Witness::IdleLoad => idle(history, upgrade),
            Witness::SilentLoad => paused(history, upgrade, Pattern::Silent, SILENT_MIN),
            Witness::HalfLoad => paused(history, upgrade, Pattern::Half, HALF_MIN),
            Witness::StreamUnread => unread(history, upgrade),
            Witness::UploadHalfSent => paused(history, upgrade, Pattern::Upload, UPLOADS_MIN),
            Witness::BacklogNotEmpty => backlog(history, upgrade),
            Witness::HandshakesHalfOpen => half_open(history, upgrade),
            Witness::H2Load => streams(history, upgrade),
            Witness::TlsLoad => handshakes(history, upgrade),
            Witness::FlowLoad => flows(history, upgrade),
        };
        Sighting { upgrade: Some(upgrade.id), met, text }
    }
}

/// What an endpoint's protocol does not have, or what the manifest does not name of it.
fn lacks(endpoint: &TargetEndpoint, spoken: &str, named: &str) -> String {
    match endpoint.protocol {
        Protocol::Http1 => format!("the endpoint `{}` names no {named}", endpoint.name),
        Protocol::Echo => format!("the endpoint `{}` speaks raw echo, which has no {spoken}", endpoint.name),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts and seconds of a run are small")]
fn fresh(history: &History, upgrade: &Upgrade) -> (bool, String) {
    let own = FreshSpan::of(history, upgrade);
    let text = format!(
        "{} fresh connections in {:.3} s after the trigger ({:.0}/s, floor 200/s)",
        own.sent,
        own.seconds,
        own.sent as f64 / own.seconds.max(1e-3)
    );
    let is_enough = || FreshSpan::at_least(history, upgrade).is_enough() || FreshSpan::pooled(history).is_enough();
    let met = own.is_enough() || own.seconds < RATED_MIN.as_secs_f64() && is_enough();
    (met, text)
}

/// From a trigger to the end of the drain, and the fresh connections that began in it.
#[derive(Clone, Copy, Default)]
struct FreshSpan {
    sent: usize,
    seconds: f64,
}

impl FreshSpan {
    fn of(history: &History, upgrade: &Upgrade) -> FreshSpan {
        FreshSpan::until(history, upgrade, upgrade.settled.map_or(upgrade.window_end, |settled| settled.not_after))
    }

    /// The same for [`RATED_MIN`] after the trigger, however soon the drain was over: as long as the load went on, and nothing else
    /// was triggered.
    fn at_least(history: &History, upgrade: &Upgrade) -> FreshSpan {
        let trigger = upgrade.trigger.not_before;
        let stopped = history.find(|what| matches!(what, What::LoadStopped).then_some(()));
        let stopped = stopped.map(|(event, ())| event.at.not_before).find(|at| *at > trigger);
        let end = trigger.plus(RATED_MIN).min(upgrade.window_end);
        FreshSpan::until(history, upgrade, stopped.map_or(end, |stopped| stopped.min(end)))
    }

    fn until(history: &History, upgrade: &Upgrade, until: Nanos) -> FreshSpan {
        let from = upgrade.trigger.not_before;
        let within = |it: &&Request| it.pattern == Pattern::Fresh && it.began >= from && it.began <= until;
        FreshSpan { sent: history.load().filter(within).count(), seconds: until.since(from).as_secs_f64() }
    }

    /// Those of all upgrades of the run, together.
    fn pooled(history: &History) -> FreshSpan {
        let spans = history.upgrades().into_iter().map(|upgrade| FreshSpan::of(history, &upgrade));
        spans.fold(FreshSpan::default(), |all, it| FreshSpan {
            sent: all.sent + it.sent,
            seconds: all.seconds + it.seconds,
        })
    }

    /// A span holds as many ticks as whole periods fit into it; a part of a period may hold none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts and seconds of a run are small and positive"
    )]
    fn is_enough(self) -> bool {
        self.sent >= (self.seconds * FRESH_PER_SECOND_MIN).floor() as usize
    }
}

fn busy(history: &History, upgrade: &Upgrade, pattern: Pattern, what: &str) -> (bool, String) {
    let trigger = upgrade.trigger.not_before;
    let from = Nanos(trigger.0.saturating_sub(BUSY_LOOK_BACK_NANOS));
    let kept: BTreeSet<u64> = history
        .load()
        .filter(|it| it.pattern == pattern && it.ended >= from && it.began <= trigger)
        .map(|it| it.connection)
        .collect();
    (kept.len() >= BUSY_MIN, format!("{} {what} at the trigger (floor {BUSY_MIN})", kept.len()))
}

fn streams(history: &History, upgrade: &Upgrade) -> (bool, String) {
    let trigger = upgrade.trigger.not_before;
    let count = history.load().filter(|it| it.pattern == Pattern::H2 && it.in_flight_at(trigger)).count();
    (count >= IN_FLIGHT_MIN, format!("{count} HTTP/2 streams open at the trigger (floor {IN_FLIGHT_MIN})"))
}

fn handshakes(history: &History, upgrade: &Upgrade) -> (bool, String) {
    let trigger = upgrade.trigger.not_before;
    let from = Nanos(trigger.0.saturating_sub(BUSY_LOOK_BACK_NANOS));
    let within = |it: &&Request| it.tls.is_some() && it.ended >= from && it.ended <= trigger;
    let count = history.load().filter(within).count();
    let text = format!("{count} TLS handshakes in the half second before the trigger (floor {HANDSHAKES_MIN})");
    (count >= HANDSHAKES_MIN, text)
}

fn flows(history: &History, upgrade: &Upgrade) -> (bool, String) {
    let trigger = upgrade.trigger.not_before;
    let from = Nanos(trigger.0.saturating_sub(BUSY_LOOK_BACK_NANOS));
    let of = |holds: &dyn Fn(&Request) -> bool| -> BTreeSet<u64> {
        history.load().filter(|it| it.pattern == Pattern::Flow && holds(it)).map(|it| it.connection).collect()
    };
    let before = of(&|it| it.failure().is_none() && it.ended >= from && it.ended <= trigger);
    let after = of(&|it| it.began > trigger && it.began <= upgrade.window_end);
    let count = before.intersection(&after).count();
    (count >= FLOWS_MIN, format!("{count} flows before and after the trigger (floor {FLOWS_MIN})"))
}

fn in_flight(history: &History, upgrade: &Upgrade) -> (bool, String) {
    let count =
        history.load().filter(|it| it.pattern == Pattern::Slow && it.in_flight_at(upgrade.trigger.not_before)).count();
    (count >= IN_FLIGHT_MIN, format!("{count} slow requests in flight at the trigger (floor {IN_FLIGHT_MIN})"))
}

fn idle(history: &History, upgrade: &Upgrade) -> (bool, String) {
    let loaded = |step: &Step| matches!(step, Step::Load(patterns) if patterns.contains(&Pattern::Idle));
    if !history.plan.scenario.script().steps.iter().any(loaded) {
        return (true, "the scenario has no idle connections".to_owned());
    }
    let trigger = upgrade.trigger.not_before;
    let from = Nanos(trigger.0.saturating_sub(IDLE_LOOK_BACK_NANOS));
    let ours = || history.load().filter(|it| it.pattern == Pattern::Idle);
    let used: BTreeSet<u64> =
        ours().filter(|it| it.began <= trigger && it.ended > trigger).map(|it| it.connection).collect();
    let idle: BTreeSet<u64> = ours()
        .filter(|it| it.ended >= from && it.ended <= trigger && it.failure().is_none())
        .map(|it| it.connection)
        .filter(|connection| !used.contains(connection))
        .collect();
    (idle.len() >= IDLE_MIN, format!("{} idle kept connections at the trigger (floor {IDLE_MIN})", idle.len()))
}

fn paused(history: &History, upgrade: &Upgrade, pattern: Pattern, floor: usize) -> (bool, String) {
    let count = history.load().filter(|it| it.pattern == pattern && it.pauses_at(upgrade.trigger)).count();
    (count >= floor, format!("{count} {pattern} connections at the trigger (floor {floor})"))
}

fn unread(history: &History, upgrade: &Upgrade) -> (bool, String) {
    let told = history.events.iter().find_map(|event| match &event.what {
        What::StreamsUnread { upgrade: of, bytes } if *of == upgrade.id => Some((event.seq, bytes)),
        _ => None,
    });
    let Some((seq, bytes)) = told else { return (false, "no stream was being read at the trigger".to_owned()) };
    let most = bytes.iter().max().copied().unwrap_or(0);
    let text =
        format!("{} streams, {most} bytes of one unread at the trigger (floor {UNREAD_MIN}, event {seq})", bytes.len());
    (most >= UNREAD_MIN, text)
}

fn backlog(history: &History, upgrade: &Upgrade) -> (bool, String) {
    // The accepting processes stand still since before the trigger, so what is queued at the trigger is queued until
    // the successor accepts; a dump after that may already show its work. Unchanged dumps are not told.
    let last = history.events.iter().rev().find_map(|event| match &event.what {
        What::Listeners { rows } if event.at.not_after <= upgrade.trigger.not_before => Some((event.seq, rows)),
        _ => None,
    });
    match last {
        Some((seq, rows)) => {
            let queued: u32 = rows.iter().map(|row| row.queued).sum();
            (queued > 0, format!("{queued} connections in the old listener's queue at the trigger (event {seq})"))
        }
        None => (false, "no dump of the listeners before the trigger".to_owned()),
    }
}

fn half_open(history: &History, upgrade: &Upgrade) -> (bool, String) {
    let told = history.events.iter().find_map(|event| match &event.what {
        What::HalfOpen { upgrade: of, count } if *of == upgrade.id => Some((event.seq, *count)),
        _ => None,
    });
    let Some((seq, count)) = told else { return (false, "no handshake was held".to_owned()) };
    let text = format!("{count} handshakes in SYN_RECV right before the trigger (floor {HALF_OPEN_MIN}, event {seq})");
    (count >= HALF_OPEN_MIN, text)
}

#[cfg(test)]
mod tests {
    use super::{UNREAD_MIN, Witness};
    use crate::check::script::{Script, answered};
    use crate::event::{Listener, What};
    use crate::id::{Cookie, UpgradeId};
    use crate::request::Pattern;

    fn met(witness: Witness, script: Script) -> bool {
        witness.look(&script.history()).iter().all(|sighting| sighting.met)
    }

    #[test]
    fn without_a_trigger_nothing_is_witnessed() {
        assert!(!met(Witness::Upgrades, Script::new()));
    }

    #[test]
    fn upgrades_too_short_for_a_rate_are_judged_together() {
        // 30 ms each, in which the floor is six connections: 3 and 10.
        let fresh = |script: Script, at: u64| script.request(answered(at, at + 1, 2));
        let one = (1001..1004).fold(Script::new().trigger(1000, 1, 2), fresh).settled(1030, 1);
        assert!(!met(Witness::FreshLoad, one));
        let first = (1001..1004).fold(Script::new().trigger(1000, 1, 2), fresh).settled(1030, 1);
        let both = (2001..2011).fold(first.trigger(2000, 2, 3), fresh).settled(2030, 2);
        assert!(met(Witness::FreshLoad, both));
    }

    #[test]
    fn an_upgrade_too_short_for_a_rate_is_looked_at_for_a_tenth_of_a_second_while_the_load_goes_on() {
        let fresh = |script: Script, at: u64| script.request(answered(at, at + 1, 2));
        // Settled after 74 ms, in which a late load began 12, and 14 more right after.
        let late =
            (1075..1089).fold((1001..1013).fold(Script::new().trigger(1000, 1, 2), fresh), fresh).settled(1074, 1);
        assert!(met(Witness::FreshLoad, late.event(1500, What::LoadStopped)));
        // Stopped right after the drain the load cannot show more than it did in it.
        let few = (1001..1013).fold(Script::new().trigger(1000, 1, 2), fresh).settled(1074, 1);
        assert!(!met(Witness::FreshLoad, few.event(1076, What::LoadStopped)));
    }

    #[test]
    fn a_queue_that_empties_before_a_late_client_reads_was_not_empty() {
        let parked = answered(900, 1500, 2).of(Pattern::Parked);
        let address = "127.0.0.1:1".to_owned();
        let row = |queued| Listener { cookie: Cookie(1), address: address.clone(), inode: 1, queued, backlog: 64 };
        let queue = |at: u64, queued: u32| (at, What::Listeners { rows: vec![row(queued)] });
        let run = |rows: [(u64, What); 2]| {
            let script = Script::new().trigger(1000, 1, 2).request(parked.clone());
            rows.into_iter().fold(script, |script, (at, what)| script.event(at, what))
        };
        assert!(met(Witness::BacklogNotEmpty, run([queue(950, 64), queue(1400, 0)])));
        assert!(!met(Witness::BacklogNotEmpty, run([queue(950, 0), queue(1400, 0)])));
    }

    #[test]
    fn eight_half_open_handshakes_are_the_floor() {
        let run = |count| Script::new().event(999, What::HalfOpen { upgrade: UpgradeId(1), count }).trigger(1000, 1, 2);
        assert!(met(Witness::HandshakesHalfOpen, run(8)));
        assert!(!met(Witness::HandshakesHalfOpen, run(7)));
        assert!(!met(Witness::HandshakesHalfOpen, Script::new().trigger(1000, 1, 2)), "nobody looked");
    }

    #[test]
    fn ten_slow_requests_in_flight_are_the_floor() {
        let run = |n: u64| {
            (0..n).fold(Script::new().trigger(1000, 1, 2), |script, _| {
                script.request(answered(900, 1500, 1).of(Pattern::Slow))
            })
        };
        assert!(met(Witness::RequestsInFlight, run(10)));
        assert!(!met(Witness::RequestsInFlight, run(9)));
    }

    #[test]
    fn eight_silent_connections_and_six_half_heads_are_the_floors() {
        let run = |pattern: Pattern, n: u64, began: u64| {
            (0..n).fold(Script::new().trigger(1000, 1, 2), |script, _| {
                script.request(answered(began, 1500, 1).of(pattern).sent_at(1400))
            })
        };
        assert!(met(Witness::SilentLoad, run(Pattern::Silent, 8, 900)));
        assert!(!met(Witness::SilentLoad, run(Pattern::Silent, 7, 900)));
        assert!(!met(Witness::SilentLoad, run(Pattern::Silent, 8, 1001)), "connected after the trigger");
        assert!(met(Witness::HalfLoad, run(Pattern::Half, 6, 900)));
        assert!(!met(Witness::HalfLoad, run(Pattern::Half, 5, 900)));
    }

    #[test]
    fn a_stream_must_be_mostly_unread_at_the_trigger() {
        let run = |bytes: Vec<u64>| {
            Script::new().trigger(1000, 1, 2).event(1001, What::StreamsUnread { upgrade: UpgradeId(1), bytes })
        };
        assert!(met(Witness::StreamUnread, run(vec![UNREAD_MIN])));
        assert!(!met(Witness::StreamUnread, run(vec![UNREAD_MIN - 1])));
        assert!(!met(Witness::StreamUnread, run(Vec::new())));
        assert!(!met(Witness::StreamUnread, Script::new().trigger(1000, 1, 2)));
    }

    #[test]
    fn what_the_manifest_does_not_name_is_unsupported() {
        let target = Script::new().history().plan.target;
        let why = Witness::StreamUnread.unsupported(&target);
        assert_eq!(why.as_deref(), Some("the endpoint `http` names no long answer (`stream`)"));
        assert_eq!(Witness::FreshLoad.unsupported(&target), None);
    }

    #[test]
    fn idle_connections_are_asked_for_only_where_the_scenario_has_them() {
        let run = |n: u64| {
            (0..n).fold(Script::new().trigger(1000, 1, 2), |script, _| {
                script.request(answered(800, 801, 1).of(Pattern::Idle))
            })
        };
        let idle = |n: u64| run(n).loading(&[Pattern::Idle]);
        assert!(met(Witness::IdleLoad, run(0)));
        assert!(met(Witness::IdleLoad, idle(16)));
        assert!(!met(Witness::IdleLoad, idle(15)));
    }

    #[test]
    fn two_hundred_fresh_connections_a_second_are_the_floor() {
        let run = |every_ms: u64| {
            (0..1000 / every_ms).fold(Script::new().trigger(1000, 1, 2).settled(2000, 1), |script, n| {
                script.request(answered(1000 + n * every_ms, 1001 + n * every_ms, 2))
            })
        };
        assert!(met(Witness::FreshLoad, run(4)));
        assert!(!met(Witness::FreshLoad, run(6)));
    }
}

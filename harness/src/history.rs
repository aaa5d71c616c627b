//! The history of a run: its plan, its events and its request records. All that a check may read.

use serde::{Deserialize, Serialize};

use crate::clock::{Interval, Nanos};
use crate::event::{Broken, Event, PathCleared, PathDisturbed, PathFault, What};
use crate::id::{UpgradeId, Version};
use crate::plan::Plan;
use crate::request::{FailureClass, LoadAccount, Pattern, Request};

/// A recorded run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When the run began, RFC 3339 in UTC: for a report's header, never for a verdict.
    pub began: String,
    /// What was planned, tier and machine included.
    pub plan: Plan,
    /// Events in the order of their numbers.
    pub events: Vec<Event>,
    /// Request records in the order of their ids.
    pub requests: Vec<Request>,
    /// The load driver's own account.
    pub account: LoadAccount,
    /// Observations that found the recorder's channel full: above 0 the run is `error`.
    pub lost_events: u64,
    /// Environment failures of the run ("failed to …"), in words: above none the run is `error`.
    pub faults: Vec<String>,
}

/// One upgrade as the history tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade {
    /// Its number.
    pub id: UpgradeId,
    /// The version that it brings.
    pub version: Version,
    /// When the trigger was pulled.
    pub trigger: Interval,
    /// Event number of the trigger.
    pub trigger_seq: u64,
    /// When its done event was seen.
    pub done: Option<Interval>,
    /// When the previous generation was seen gone.
    pub settled: Option<Interval>,
    /// The end of its window: the next trigger, the stop, or the end of the run.
    pub window_end: Nanos,
}

/// A fault of the path from its begin to its end; one that was not ended by us lasted until the end of the run.
#[derive(Debug, Clone, Copy)]
pub struct Disturbance<'a> {
    /// When it had begun, and which it was.
    pub begin: (&'a Event, &'a PathDisturbed),
    /// When it ended, and what had met it.
    pub end: Option<(&'a Event, &'a PathCleared)>,
}

impl Disturbance<'_> {
    /// It rejects connects, and lasted (until the end of the run where it was not ended) at an instant of this one's life.
    #[must_use]
    pub fn may_reject(&self, request: &Request, end: Nanos) -> bool {
        let life = Interval::new(request.began, request.ended);
        let until = self.end.map_or(end, |(event, _)| event.at.not_after);
        let lasted = Interval::new(self.begin.0.at.not_before, until);
        self.begin.1.fault == PathFault::Reject && !life.precedes(&lasted) && !lasted.precedes(&life)
    }
}

impl History {
    /// The upgrades, in order.
    #[must_use]
    pub fn upgrades(&self) -> Vec<Upgrade> {
        let mut upgrades: Vec<Upgrade> = Vec::new();
        for event in &self.events {
            match &event.what {
                What::Triggered { upgrade, version, .. } => {
                    if let Some(last) = upgrades.last_mut() {
                        last.window_end = event.at.not_before;
                    }
                    upgrades.push(Upgrade {
                        id: *upgrade,
                        version: *version,
                        trigger: event.at,
                        trigger_seq: event.seq,
                        done: None,
                        settled: None,
                        window_end: self.end(),
                    });
                }
                What::UpgradeDone { upgrade, .. } => {
                    if let Some(it) = upgrades.iter_mut().find(|it| it.id == *upgrade) {
                        it.done = Some(event.at);
                    }
                }
                What::UpgradeSettled { upgrade } => {
                    if let Some(it) = upgrades.iter_mut().find(|it| it.id == *upgrade) {
                        it.settled = Some(event.at);
                    }
                }
                What::StopAsked { .. } | What::BrokenTriggered { .. } | What::TriggeredWithout { .. } => {
                    if let Some(last) = upgrades.last_mut() {
                        last.window_end = last.window_end.min(event.at.not_before);
                    }
                }
                _ => {}
            }
        }
        upgrades
    }

    /// The upgrades to a broken executable, in order; `done` is when that one ran.
    #[must_use]
    pub fn broken_upgrades(&self) -> Vec<Upgrade> {
        self.disturbed(
            |what| match what {
                What::BrokenTriggered { upgrade, .. } => Some(*upgrade),
                _ => None,
            },
            |what| match what {
                What::BrokenRan { upgrade } => Some(*upgrade),
                _ => None,
            },
        )
    }

    /// The upgrades that went without something, in order; `done` is when there was enough of it again.
    #[must_use]
    pub fn upgrades_without(&self) -> Vec<Upgrade> {
        self.disturbed(
            |what| match what {
                What::TriggeredWithout { upgrade, .. } => Some(*upgrade),
                _ => None,
            },
            |what| match what {
                What::Restored(restored) => Some(restored.upgrade),
                _ => None,
            },
        )
    }

    /// Upgrades that are not made to succeed: those whose trigger the one tells, done when the other tells it.
    fn disturbed(
        &self,
        triggered: impl Fn(&What) -> Option<UpgradeId>,
        done: impl Fn(&What) -> Option<UpgradeId>,
    ) -> Vec<Upgrade> {
        let mut upgrades: Vec<Upgrade> = Vec::new();
        for event in &self.events {
            if let Some(id) = triggered(&event.what) {
                upgrades.push(Upgrade {
                    id,
                    version: Version(0),
                    trigger: event.at,
                    trigger_seq: event.seq,
                    done: None,
                    settled: None,
                    window_end: self.end(),
                });
            }
            if let Some(id) = done(&event.what)
                && let Some(it) = upgrades.iter_mut().find(|it| it.id == id)
            {
                it.done = Some(event.at);
            }
            if is_trigger(&event.what) || matches!(event.what, What::StopAsked { .. }) {
                for it in upgrades.iter_mut().filter(|it| it.trigger_seq < event.seq) {
                    it.window_end = it.window_end.min(event.at.not_before);
                }
            }
        }
        upgrades
    }

    /// Those of them that fail in this way.
    #[must_use]
    pub fn upgrades_to(&self, fault: Broken) -> Vec<Upgrade> {
        let is_to = |upgrade: &Upgrade| {
            let what = &self.events.iter().find(|event| event.seq == upgrade.trigger_seq).expect("its trigger").what;
            matches!(what, What::BrokenTriggered { fault: it, .. } if *it == fault)
        };
        self.broken_upgrades().into_iter().filter(is_to).collect()
    }

    /// When the first upgrade was triggered, disturbed or not; `None` without upgrades.
    #[must_use]
    pub fn first_trigger(&self) -> Option<Nanos> {
        let triggers = self.events.iter().filter(|event| is_trigger(&event.what));
        triggers.map(|event| event.at.not_before).min()
    }

    /// When clients first met a restart: its trigger, or the fault of their path that it was triggered in. What was sent before is taken
    /// for received by then; what was sent since may be lost or held on its way. `None` without upgrades.
    #[must_use]
    pub fn restart_met(&self) -> Option<Nanos> {
        let trigger = self.first_trigger()?;
        self.disturbances().map(|it| it.begin.0.at.not_before).chain([trigger]).min()
    }

    /// When the stop was asked for; the end of the run when it never was.
    #[must_use]
    pub fn stop_asked(&self) -> Nanos {
        let asked = self.events.iter().find(|event| matches!(event.what, What::StopAsked { .. }));
        asked.map_or_else(|| self.end(), |event| event.at.not_before)
    }

    /// The last instant of the run.
    #[must_use]
    pub fn end(&self) -> Nanos {
        let events = self.events.iter().map(|event| event.at.not_after);
        let requests = self.requests.iter().map(|request| request.ended);
        events.chain(requests).max().unwrap_or_default()
    }

    /// The requests of the target's load (the canary's are not).
    pub fn load(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.pattern != Pattern::Canary)
    }

    /// The canary's requests.
    pub fn canary(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.pattern == Pattern::Canary)
    }

    /// Whether this connect was, or may have been, refused by a path that answered every connect with RST: its life and the time of
    /// that have an instant in common. The path refused for certain what began and ended meanwhile; at its edges nobody can tell.
    #[must_use]
    pub fn rejected_by_path(&self, request: &Request) -> bool {
        request.failure() == Some(FailureClass::Refused)
            && self.disturbances().any(|it| it.may_reject(request, self.end()))
    }

    /// The faults that the path between the target and its clients had, in order.
    pub fn disturbances(&self) -> impl Iterator<Item = Disturbance<'_>> {
        let begun = self.find(|what| if let What::PathDisturbed(it) = what { Some(it) } else { None });
        begun.map(|begin| {
            let upgrade = begin.1.upgrade;
            let mut ended = self.find(move |what| match what {
                What::PathCleared(it) if it.upgrade == upgrade => Some(it),
                _ => None,
            });
            Disturbance { begin, end: ended.next() }
        })
    }

    /// Events with their numbers, filtered by what they say.
    pub fn find<'a, T: 'a>(
        &'a self,
        mut pick: impl FnMut(&'a What) -> Option<T> + 'a,
    ) -> impl Iterator<Item = (&'a Event, T)> + 'a {
        self.events.iter().filter_map(move |event| pick(&event.what).map(|it| (event, it)))
    }
}

/// An upgrade of whatever kind begins.
fn is_trigger(what: &What) -> bool {
    matches!(what, What::Triggered { .. } | What::BrokenTriggered { .. } | What::TriggeredWithout { .. })
}

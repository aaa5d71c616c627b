//! Watches the listening sockets on the endpoints: dumps and DESTROY events of inet_diag.
//!
//! What it cannot see: a listener that lived for less than a sample is in no dump, and its DESTROY event looks like one
//! of a queued connection (the listen(2) hook sees it). shutdown(2) of a shared listener ends it without an event: the
//! next dump lacks it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::account::Account;
use super::endpoints::Endpoints;
use super::error::ObserveError;
use super::handle::{Handle, Watch, spawn};
use super::vantage::Vantage;
use crate::clock::{Interval, Nanos};
use crate::event::What;
use crate::id::Cookie;
use crate::kernel::inet_diag::{DestroyEvents, Destroyed, Diag, ListenSocket};
use crate::wait::ready_within;

const NAME: &str = "listeners";
/// While something happens ([`Vantage::pace`]). A dump costs some 30 µs: 3 % of a core, and fast restarts take some milliseconds.
/// Shorter gaps are the hook's on listen(2), however short the sample.
const SAMPLE: Duration = Duration::from_millis(1);

/// A burst of queued connections ends with their listener's end. One that stays without it (a reuseport sibling's
/// leftovers, a listener that no dump saw) is told after this: a hundred times as long as events were ever late.
const BURST_QUIET: Duration = Duration::from_millis(100);

/// The inodes of the listeners in the last dump, for those who look for their holders.
#[derive(Debug, Clone, Default)]
pub struct ListenerInodes(Arc<Mutex<Vec<u64>>>);

impl ListenerInodes {
    /// Now, ascending, without 0.
    #[must_use]
    pub fn get(&self) -> Vec<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces them; in any order, and 0 is dropped.
    pub(super) fn set(&self, inodes: impl Iterator<Item = u64>) {
        let mut inodes: Vec<u64> = inodes.filter(|inode| *inode != 0).collect();
        inodes.sort_unstable();
        inodes.dedup();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = inodes;
    }
}

/// Observer of listening sockets.
#[derive(Debug)]
pub struct ListenerObserver;

impl ListenerObserver {
    /// Starts it: the first `Listeners` event holds what is there when this returns.
    ///
    /// # Errors
    /// When the namespace cannot be entered or inet_diag refuses.
    pub fn spawn(endpoints: Endpoints, inodes: ListenerInodes, vantage: Vantage) -> Result<Handle, ObserveError> {
        spawn(NAME, vantage, move |vantage, account| {
            let destroyed = DestroyEvents::open(&endpoints.ports())
                .map_err(ObserveError::look(NAME, "subscribe to ends of sockets"))?;
            let diag = Diag::open().map_err(ObserveError::look(NAME, "open inet_diag"))?;
            let now = vantage.clock.now();
            let mut watch = ListenerWatch {
                endpoints,
                inodes,
                diag,
                destroyed,
                rows: None,
                sampled_at: now,
                drained_at: now,
                known: BTreeSet::new(),
                bursts: BTreeMap::new(),
            };
            watch.sample(vantage, account)?;
            Ok(watch)
        })
    }
}

/// Connections destroyed in an accept queue, not told yet.
#[derive(Debug)]
struct Burst {
    count: u32,
    at: Interval,
}

struct ListenerWatch {
    endpoints: Endpoints,
    inodes: ListenerInodes,
    diag: Diag,
    destroyed: DestroyEvents,
    /// The last dump; `None` before the first.
    rows: Option<Vec<ListenSocket>>,
    /// When the last dump began.
    sampled_at: Nanos,
    /// When the DESTROY socket was last known to be empty.
    drained_at: Nanos,
    /// Every listener seen so far.
    known: BTreeSet<Cookie>,
    /// By the listener's address.
    bursts: BTreeMap<SocketAddr, Burst>,
}

impl Watch for ListenerWatch {
    fn watch(mut self, vantage: &Vantage, account: &mut Account) -> Result<(), ObserveError> {
        loop {
            let due = self.sampled_at.plus(vantage.pace(SAMPLE));
            let left = due.since(vantage.clock.now());
            let ready = ready_within(&[vantage.stop.as_fd(), self.destroyed.as_fd()], left);
            self.drain(vantage);
            let stopped = ready[0].readable;
            if stopped || vantage.clock.now() >= due {
                self.flush_quiet(vantage, stopped);
                self.sample(vantage, account)?;
            }
            if stopped {
                return Ok(());
            }
        }
    }
}

impl ListenerWatch {
    fn sample(&mut self, vantage: &Vantage, account: &mut Account) -> Result<(), ObserveError> {
        let began = vantage.clock.now();
        let mut rows = self.diag.listen_sockets().map_err(ObserveError::look(NAME, "dump the listeners"))?;
        rows.retain(|row| self.endpoints.are_served_by(row));
        account.sampled(began);
        let difference = self.rows.as_ref().map_or(Difference::Sockets, |before| difference(before, &rows));
        let at = Interval::new(self.sampled_at, vantage.clock.now());
        let told = || What::Listeners { rows: rows.iter().map(ListenSocket::row).collect() };
        match difference {
            Difference::None => {}
            Difference::Queue => vantage.sink.put_in_passing(at, told()),
            Difference::Sockets => {
                self.known.extend(rows.iter().map(|row| row.cookie));
                self.inodes.set(rows.iter().map(|row| row.inode));
                vantage.put(at, told());
            }
        }
        self.rows = Some(rows);
        self.sampled_at = began;
        Ok(())
    }

    fn drain(&mut self, vantage: &Vantage) {
        loop {
            let looked = vantage.clock.now();
            match self.destroyed.next_event() {
                Ok(Some(event)) => self.destroyed(event, vantage),
                Ok(None) => {
                    self.drained_at = looked;
                    return;
                }
                // ENOBUFS is told once and clears itself; the next sample shows what is left.
                Err(error) => vantage.fault(NAME, format!("ends of sockets were lost: {error}")),
            }
        }
    }

    fn destroyed(&mut self, event: Destroyed, vantage: &Vantage) {
        let now = vantage.clock.now();
        let at = Interval::new(self.drained_at, now);
        let address = event.local;
        if self.known.contains(&event.cookie) {
            if let Some(burst) = self.bursts.remove(&address) {
                put_burst(address, &burst, vantage);
            }
            let what = What::ListenerDestroyed { cookie: event.cookie, address: address.to_string() };
            vantage.put(at, what);
            return;
        }
        let burst = self.bursts.entry(address).or_insert(Burst { count: 0, at });
        burst.count += 1;
        burst.at.not_after = now;
    }

    /// Tells bursts that no listener's end followed.
    fn flush_quiet(&mut self, vantage: &Vantage, all: bool) {
        let now = vantage.clock.now();
        let is_open = |burst: &Burst| !all && now.since(burst.at.not_after) < BURST_QUIET;
        let (open, quiet): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.bursts).into_iter().partition(|(_, burst)| is_open(burst));
        quiet.iter().for_each(|(address, burst)| put_burst(*address, burst, vantage));
        self.bursts = open;
    }
}

fn put_burst(address: SocketAddr, burst: &Burst, vantage: &Vantage) {
    let what = What::QueuedDestroyed { address: address.to_string(), count: burst.count };
    vantage.put(burst.at, what);
}

/// What differs between two dumps and is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    /// Nothing. A queue that shrinks but is not empty is not told: it could be a thousand times a second.
    None,
    /// A queue filled, grew or ran empty.
    Queue,
    /// The sockets.
    Sockets,
}

fn difference(before: &[ListenSocket], now: &[ListenSocket]) -> Difference {
    let mut pairs = before.iter().zip(now);
    let is_same = |(old, new): (&ListenSocket, &ListenSocket)| {
        old.cookie == new.cookie
            && old.local == new.local
            && old.backlog == new.backlog
            && (old.inode == 0) == (new.inode == 0)
    };
    if before.len() != now.len() || !pairs.clone().all(is_same) {
        Difference::Sockets
    } else if pairs.any(|(old, new)| new.queued > old.queued || (new.queued == 0) != (old.queued == 0)) {
        Difference::Queue
    } else {
        Difference::None
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::super::fixture::Fixture;
    use super::*;
    use crate::event::Listener;
    use crate::kernel::inet_diag::fresh_netns::in_fresh_netns;

    const ADDRESS: &str = "127.0.0.1:10086";

    /// Runs `test` with an observer of [`ADDRESS`] in a fresh namespace; the account at the end must be clean.
    fn observed(test: impl FnOnce(&Fixture, &ListenerInodes) + Send) {
        in_fresh_netns(|netns| {
            let fixture = Fixture::new(Some(netns));
            let inodes = ListenerInodes::default();
            let endpoints = Endpoints::new(vec![ADDRESS.parse().expect("an address")]);
            let handle = ListenerObserver::spawn(endpoints, inodes.clone(), fixture.vantage()).expect("spawn");
            test(&fixture, &inodes);
            fixture.stop();
            let account = handle.finish().expect("finish");
            let rest = fixture.take();
            assert!(account.samples >= 2);
            assert!(!rest.iter().any(|(_, what)| matches!(what, What::ObserverFault { .. })), "{rest:?}");
            assert!(matches!(rest.last(), Some((_, What::ObserverEnded { .. }))), "{rest:?}");
        });
    }

    fn rows(fixture: &Fixture, want: impl Fn(&[Listener]) -> bool) -> Vec<Listener> {
        fixture.find(|_, what| match what {
            What::Listeners { rows } if want(&rows) => Some(rows),
            _ => None,
        })
    }

    #[test]
    fn a_rebind_shows_a_new_cookie_and_the_end_of_the_old_one() {
        observed(|fixture, inodes| {
            let first = TcpListener::bind(ADDRESS).expect("bind");
            let old = rows(fixture, |rows| rows.len() == 1)[0].clone();
            assert_eq!((old.address.as_str(), inodes.get()), (ADDRESS, vec![old.inode]));
            drop(first);
            // The announcement and the dump without it come in either order.
            let (mut destroyed, mut absent) = (None, false);
            fixture.find(|_, what| {
                match what {
                    What::ListenerDestroyed { cookie, .. } => destroyed = Some(cookie),
                    What::Listeners { rows } => absent = rows.is_empty(),
                    _ => {}
                }
                (absent && destroyed.is_some()).then_some(())
            });
            assert_eq!(destroyed, Some(old.cookie));
            let _second = TcpListener::bind(ADDRESS).expect("bind");
            assert_ne!(rows(fixture, |rows| rows.len() == 1)[0].cookie, old.cookie);
        });
    }

    #[test]
    fn parked_connections_are_counted_in_the_queue_and_when_they_die_with_it() {
        observed(|fixture, _| {
            let listener = TcpListener::bind(ADDRESS).expect("bind");
            let _parked: Vec<_> = (0..64).map(|_| TcpStream::connect(ADDRESS).expect("connect")).collect();
            rows(fixture, |rows| rows.len() == 1 && rows[0].queued == 64);
            drop(listener);
            let (at, address, count) = fixture.find(|at, what| match what {
                What::QueuedDestroyed { address, count } => Some((at, address, count)),
                _ => None,
            });
            assert_eq!((address.as_str(), count), (ADDRESS, 64));
            let ended = fixture.find(|at, what| matches!(what, What::ListenerDestroyed { .. }).then_some(at));
            assert!(at.not_after <= ended.not_after);
        });
    }

    #[test]
    fn closing_one_copy_of_a_shared_listener_is_no_event() {
        observed(|fixture, _| {
            let listener = TcpListener::bind(ADDRESS).expect("bind");
            rows(fixture, |rows| rows.len() == 1);
            let copy = listener.try_clone().expect("dup");
            drop(listener);
            // A connection parked after it is the proof that the observer has looked again.
            let _parked = TcpStream::connect(ADDRESS).expect("connect");
            let mut others = Vec::new();
            fixture.find(|_, what| match what {
                What::Listeners { rows } if rows.len() == 1 && rows[0].queued == 1 => Some(()),
                other => {
                    others.push(other);
                    None
                }
            });
            assert!(others.is_empty(), "{others:?}");
            drop(copy);
        });
    }

    #[test]
    fn other_addresses_are_not_told() {
        observed(|fixture, inodes| {
            let _elsewhere = TcpListener::bind("127.0.0.2:10086").expect("bind");
            let _port = TcpListener::bind("127.0.0.1:10087").expect("bind");
            let _ours = TcpListener::bind(ADDRESS).expect("bind");
            assert_eq!(rows(fixture, |rows| !rows.is_empty()).len(), 1);
            assert_eq!(inodes.get().len(), 1);
        });
    }

    #[test]
    fn a_queue_that_shrinks_is_told_only_when_it_is_empty() {
        let row = |queued| {
            let local = ADDRESS.parse().expect("an address");
            [ListenSocket { cookie: Cookie(1), local, v6_only: false, inode: 1, queued, backlog: 8 }]
        };
        for (before, now, told) in [(0, 1, true), (1, 2, true), (2, 1, false), (1, 0, true), (2, 2, false)] {
            let want = if told { Difference::Queue } else { Difference::None };
            assert_eq!(difference(&row(before), &row(now)), want, "{before} {now}");
        }
    }

    #[test]
    fn another_socket_at_the_address_is_another_difference_than_its_queue() {
        let row = |cookie, queued| {
            let local = ADDRESS.parse().expect("an address");
            [ListenSocket { cookie: Cookie(cookie), local, v6_only: false, inode: 1, queued, backlog: 8 }]
        };
        assert_eq!(difference(&row(1, 0), &row(2, 1)), Difference::Sockets);
        assert_eq!(difference(&row(1, 0), &[]), Difference::Sockets);
    }
}

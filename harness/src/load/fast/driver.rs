//! The loop: begins what is due, waits for the kernel, and lets each connection take its step.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rustix::event::epoll::{Event, EventFlags};
use thiserror::Error;

use super::books::Books;
use super::slot::{Shared, Slot, Step};
use super::watch::{Watch, Whose};
use crate::clock::Nanos;
use crate::drive::{Lost, Pace, PlanError, Record, Seen};
use crate::wait::Stop;

/// Bytes of one read: most answers whole.
const READ_BYTES: usize = 64 * 1024;
/// How often deadlines are looked at: they are seconds long, and an answer pays nothing for them.
const SWEEP_EVERY: Duration = Duration::from_millis(50);
/// In a closed loop nothing is sent again at once where a request failed: a server that is gone refuses faster than it serves, and these would
/// be the requests of hundreds of clients.
const AFTER_FAILURE: Duration = Duration::from_millis(1);
/// How often room in the queue of a UNIX listener is asked for: a client that waits in connect(2) is woken, a nonblocking one is not.
const ROOM_EVERY: Duration = Duration::from_millis(1);
/// Up to this distance between requests nobody wakes for their answers. At 10 000 a second that takes 0.35 of a processor instead of 0.43, and
/// requests begin less late; at a longer distance it is not worth seeing a failure so much later.
const TICK_MAX: Duration = Duration::from_micros(200);

/// Why a load could not be driven.
#[derive(Debug, Error)]
pub enum DriveError {
    /// The plan contradicts itself.
    #[error("understand the load: {0}")]
    Plan(#[from] PlanError),
    /// A system call for the driver itself.
    #[error("{what} for the load")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> DriveError {
    move |source| DriveError::System { what, source }
}

/// What one thread's share of a load came to.
#[derive(Debug)]
pub(super) struct Driven {
    pub(super) books: Books,
    /// When its last request ended.
    pub(super) ended: Nanos,
    /// Processor time of its thread.
    pub(super) processor: Duration,
}

/// Drives a share of a load on this thread.
///
/// # Errors
/// No descriptor for the driver.
pub(super) fn drive_share(
    shared: &Shared<'_>,
    every: Duration,
    stop: &Stop,
    see: &mut dyn FnMut(Seen<'_>),
) -> Result<Driven, DriveError> {
    let mut driver = Driver::new(shared, every, stop, see)?;
    driver.run()?;
    Ok(driver.close())
}

struct Driver<'s, 'p> {
    see: &'s mut dyn FnMut(Seen<'_>),
    shared: &'s Shared<'p>,
    slots: Vec<Slot<'s>>,
    /// Slots that carry no request: those with a connection that was used last come last.
    free: Vec<usize>,
    /// Since when there is a free one without a break: until then whatever is due waits for the server, and not for us.
    free_since: Nanos,
    /// Slots that wait a moment after a failure, in the order of their instants.
    resting: VecDeque<(Nanos, usize)>,
    /// Slots whose connections (by their numbers) wait for room in a listener's queue: when to ask again, in this order.
    queueing: VecDeque<(Nanos, usize, u32)>,
    books: Books,
    watch: Watch,
    /// Open loop: how many requests of this thread's schedule have begun, and the distance between two of the whole load's.
    next: u64,
    distance: Option<f64>,
    /// This thread's requests are due at a short distance, and the kernel stamps what comes.
    are_ticks_close: bool,
    /// Nothing begins from here on.
    end: Nanos,
    every: Duration,
    next_cut: Nanos,
    next_sweep: Nanos,
    ended: Nanos,
    processor_before: Duration,
}

impl<'s, 'p> Driver<'s, 'p> {
    fn new(
        shared: &'s Shared<'p>,
        every: Duration,
        stop: &Stop,
        see: &'s mut dyn FnMut(Seen<'_>),
    ) -> Result<Self, DriveError> {
        let plan = shared.plan;
        let slots: Vec<Slot<'s>> = (0..shared.share.of(plan.connections.into())).map(|_| Slot::new(shared)).collect();
        let distance = if let Pace::PerSecond(rate) = plan.pace { Some(1e9 / rate) } else { None };
        let own = distance.map(|it| it * f64::from(plan.threads));
        Ok(Driver {
            free: (0..slots.len()).rev().collect(),
            slots,
            free_since: Nanos(0),
            resting: VecDeque::new(),
            queueing: VecDeque::new(),
            books: Books::new(),
            watch: Watch::new(stop)?,
            next: 0,
            distance,
            are_ticks_close: shared.stamped && own.is_some_and(|it| it <= TICK_MAX.as_nanos() as f64),
            end: Nanos(0).plus(plan.duration),
            every,
            next_cut: Nanos(0).plus(every),
            next_sweep: Nanos(0).plus(SWEEP_EVERY),
            ended: Nanos(0),
            processor_before: processor_time(),
            see,
            shared,
        })
    }

    fn run(&mut self) -> Result<(), DriveError> {
        let mut events = Watch::room();
        let mut buffer = vec![0u8; READ_BYTES];
        loop {
            let now = self.shared.clock.now();
            self.wake(now)?;
            self.begin_due(now)?;
            self.sweep(now)?;
            self.cut(now);
            if now >= self.end && self.busy() == 0 && !self.owes(now) {
                self.books.cut(now, 0, self.see);
                return Ok(());
            }
            self.arm(now)?;
            if self.can_answers_wait(now) {
                self.watch.look(&mut events)?;
                self.take(&mut events, &mut buffer)?;
                self.watch.sleep_over_answers(&mut events)?;
            } else {
                self.watch.sleep(&mut events)?;
                self.take(&mut events, &mut buffer)?;
            }
        }
    }

    /// Lets each connection that something happened to take its step.
    fn take(&mut self, events: &mut Vec<Event>, buffer: &mut [u8]) -> Result<(), DriveError> {
        for Event { flags, data } in events.drain(..) {
            match Whose::of(data) {
                // Why it woke is seen before the next sleep.
                Whose::Timer => {}
                Whose::Stop => self.end = self.end.min(self.shared.clock.now()),
                Whose::Slot { at, connection } if self.slots[at].connections == connection => {
                    let closing = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
                    let step = self.slots[at].proceed(closing, buffer);
                    self.took(at, step)?;
                }
                // Of a connection that was closed meanwhile.
                Whose::Slot { .. } => {}
            }
        }
        Ok(())
    }

    /// Ends an interval, when it is time, by the clock: so all threads of a load cut at the same instants.
    fn cut(&mut self, now: Nanos) {
        if now >= self.next_cut {
            let busy = self.busy();
            self.books.cut(now, busy, self.see);
            let next = self.next_cut.plus(self.every);
            self.next_cut = if next > now { next } else { now.plus(self.every) };
        }
    }

    /// Answers can lie until the next request is due: that is soon, none of them is needed for it, and the kernel tells when each came.
    fn can_answers_wait(&self, now: Nanos) -> bool {
        self.are_ticks_close && now < self.end && !self.free.is_empty()
    }

    /// Requests under way.
    fn busy(&self) -> usize {
        self.slots.len() - self.free.len() - self.resting.len()
    }

    /// Slots that have rested are free; those that wait for room ask again.
    fn wake(&mut self, now: Nanos) -> Result<(), DriveError> {
        while let Some(&(_, at, connection)) = self.queueing.front().filter(|(again, _, _)| *again <= now) {
            self.queueing.pop_front();
            let step = self.slots[at].connect_again(self.shared, connection);
            self.took(at, step)?;
        }
        while let Some(&(_, slot)) = self.resting.front().filter(|(at, _)| *at <= now) {
            self.resting.pop_front();
            self.set_free(slot, now);
        }
        Ok(())
    }

    fn set_free(&mut self, slot: usize, now: Nanos) {
        if self.free.is_empty() {
            self.free_since = now;
        }
        self.free.push(slot);
    }

    /// When the next request of the schedule is due; in a closed loop: now.
    fn due(&self, now: Nanos) -> Nanos {
        self.distance.map_or(now, |distance| Nanos((self.shared.share.number(self.next) as f64 * distance) as u64))
    }

    /// An open loop has not begun all that was due by its end, for want of a connection. Those that wait for longer than an answer may take
    /// are given up.
    fn owes(&self, now: Nanos) -> bool {
        self.distance.is_some() && self.due(now) < self.end && now < self.end.plus(self.shared.plan.deadline)
    }

    /// Begins what is due, as long as there are slots for it.
    fn begin_due(&mut self, now: Nanos) -> Result<(), DriveError> {
        loop {
            let intended = self.due(now);
            if intended > now || intended >= self.end {
                return Ok(());
            }
            let Some(slot) = self.free.pop() else { return Ok(()) };
            self.next += 1;
            self.begin(slot, intended)?;
        }
    }

    fn begin(&mut self, at: usize, intended: Nanos) -> Result<(), DriveError> {
        // A closed loop has just read an answer, and no end with it; in an open one time has passed.
        if self.distance.is_some() {
            let found = self.slots[at].look();
            self.found_idle(found);
        }
        let slot = &mut self.slots[at];
        let id = self.shared.share.number(self.books.next() - 1) + 1;
        let was_open = slot.socket().is_some();
        self.books.connections += u64::from(!was_open);
        let connection = self.shared.share.number(self.books.connections.saturating_sub(1)) + 1;
        let step = slot.begin(self.shared, id, connection, intended);
        if self.distance.is_some() {
            self.books.late(slot.began.since(intended.max(self.free_since)));
        }
        self.took(at, step)
    }

    /// Enters what a step came to, and lets a closed loop go on.
    fn took(&mut self, at: usize, step: Step) -> Result<(), DriveError> {
        let slot = &mut self.slots[at];
        match step {
            Step::Waiting => return self.watch(at),
            Step::Queueing => {
                let again = self.shared.clock.now().plus(ROOM_EVERY);
                self.queueing.push_back((again, at, slot.connections));
            }
            Step::Answered { closed } => {
                let now = self.shared.clock.now();
                let ended = slot.arrived(&self.shared.clock, now);
                self.books.answered(ended.since(slot.intended), slot.received);
                (self.see)(Seen::Answered(Record {
                    intended: slot.intended,
                    began: slot.began,
                    ended,
                    received: u32::try_from(slot.received).unwrap_or(u32::MAX),
                    connection: u32::try_from(slot.number).unwrap_or(u32::MAX),
                }));
                self.books.idle_closes += u64::from(closed);
                self.ended = now;
                if self.distance.is_none() && now < self.end {
                    return self.begin(at, now);
                }
                self.set_free(at, now);
            }
            Step::Failed(failure) => {
                let now = self.shared.clock.now();
                let evidence = failure.evidence;
                let lost = Lost {
                    intended: slot.intended,
                    began: slot.began,
                    ended: now,
                    class: failure.class,
                    signal: evidence.signal,
                    state: evidence.state,
                    received: slot.received,
                };
                (self.see)(Seen::Lost(&lost));
                self.books.failed(lost);
                self.ended = now;
                if self.distance.is_some() {
                    self.set_free(at, now);
                } else {
                    self.resting.push_back((now.plus(AFTER_FAILURE), at));
                }
            }
            // It lies among the free ones already.
            idle => self.found_idle(idle),
        }
        Ok(())
    }

    /// Enters what was found between two requests.
    fn found_idle(&mut self, step: Step) {
        match step {
            Step::IdleClosed => self.books.idle_closes += 1,
            Step::IdleBroken(failure) => self.books.idle_broken(&failure),
            Step::Waiting | Step::Queueing | Step::Answered { .. } | Step::Failed(_) => {}
        }
    }

    /// Lets epoll tell what a slot waits for, each thing once. What has come before is told at once.
    fn watch(&mut self, at: usize) -> Result<(), DriveError> {
        let slot = &mut self.slots[at];
        let Some((told, wanted)) = slot.watch() else { return Ok(()) };
        let Some(socket) = slot.socket() else { return Ok(()) };
        self.watch.connection(socket, Whose::Slot { at, connection: slot.connections }, told, wanted)
    }

    /// Ends requests whose time is over.
    fn sweep(&mut self, now: Nanos) -> Result<(), DriveError> {
        if now < self.next_sweep {
            return Ok(());
        }
        self.next_sweep = now.plus(SWEEP_EVERY);
        let deadline = self.shared.plan.deadline;
        for at in 0..self.slots.len() {
            if self.slots[at].is_busy() && now.since(self.slots[at].began) >= deadline {
                let step = self.slots[at].expire();
                self.took(at, step)?;
            }
        }
        Ok(())
    }

    /// Sets the timer to the next instant at which there is something to do without an event.
    fn arm(&mut self, now: Nanos) -> Result<(), DriveError> {
        let mut next = self.next_cut.min(self.next_sweep);
        if let Some((rested, _)) = self.resting.front() {
            next = next.min(*rested);
        }
        if let Some((again, _, _)) = self.queueing.front() {
            next = next.min(*again);
        }
        if now < self.end {
            next = next.min(self.end);
            if self.distance.is_some() && !self.free.is_empty() {
                next = next.min(self.due(now));
            }
        }
        self.watch.arm(self.shared.clock.origin() + next.0)
    }

    fn close(mut self) -> Driven {
        let processor = processor_time().saturating_sub(self.processor_before);
        let due =
            self.distance.map_or(0, |distance| self.shared.share.of((self.end.0 as f64 / distance).ceil() as u64));
        self.books.unsent = due.saturating_sub(self.next);
        Driven { books: self.books, ended: self.ended, processor }
    }
}

/// Processor time of this thread so far, user and system.
fn processor_time() -> Duration {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(Duration::ZERO, |usage| {
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Duration::from_micros(micros.unsigned_abs())
    })
}

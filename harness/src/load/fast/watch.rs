//! What a driver waits for: its connections, its timer, and who stops it.
//!
//! Whoever sleeps is woken by all of them ([`Watch::sleep`]), or only by what cannot wait ([`Watch::sleep_over_answers`]): to fall asleep and to
//! be woken once more for each answer costs more than to read it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::driver::{DriveError, system};
use super::slot::Watched;
use super::wire::Wire;
use crate::kernel::timer::Timer;
use crate::wait::Stop;

/// Events taken by one call: as many as a busy loop finds at once.
const EVENTS: usize = 256;

/// Whose event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The timer's.
    Timer,
    /// Somebody asks for the end.
    Stop,
    /// A slot's, of the connection with this number.
    Slot {
        /// The slot.
        at: usize,
        /// Its how many-th connection.
        connection: u32,
    },
}

impl Whose {
    const TIMER: u64 = u64::MAX;
    const STOP: u64 = u64::MAX - 1;

    fn data(self) -> EventData {
        EventData::new_u64(match self {
            Whose::Timer => Whose::TIMER,
            Whose::Stop => Whose::STOP,
            // A plan has fewer connections than 2^32.
            Whose::Slot { at, connection } => u64::from(connection) << 32 | at as u64,
        })
    }

    pub(super) fn of(data: EventData) -> Whose {
        match data.u64() {
            Whose::TIMER => Whose::Timer,
            Whose::STOP => Whose::Stop,
            number => Whose::Slot { at: (number & 0xffff_ffff) as usize, connection: (number >> 32) as u32 },
        }
    }
}

/// Two epolls and a timer. Each thing is told once.
#[derive(Debug)]
pub(super) struct Watch {
    /// Knows everything.
    all: OwnedFd,
    /// Knows what cannot wait: the timer, who stops the load, and connections that have something to write. `all` tells it once more.
    urgent: OwnedFd,
    timer: Timer,
    /// What the timer is set to, on raw CLOCK_MONOTONIC.
    armed: Option<u64>,
}

impl Watch {
    /// Watches the timer, which is not set, and `stop`.
    pub(super) fn new(stop: &Stop) -> Result<Watch, DriveError> {
        let made = || epoll::create(CreateFlags::CLOEXEC).map_err(|it| system("make an epoll")(it.into()));
        let watch =
            Watch { all: made()?, urgent: made()?, timer: Timer::new().map_err(system("make a timer"))?, armed: None };
        for epoll in [&watch.all, &watch.urgent] {
            for (fd, whose) in [(watch.timer.as_fd(), Whose::Timer), (stop.as_fd(), Whose::Stop)] {
                epoll::add(epoll, fd, whose.data(), EventFlags::IN | EventFlags::ET).map_err(refused)?;
            }
        }
        Ok(watch)
    }

    /// Sets the timer.
    pub(super) fn arm(&mut self, at: u64) -> Result<(), DriveError> {
        if self.armed != Some(at) {
            self.timer.arm(at).map_err(system("set the timer"))?;
            self.armed = Some(at);
        }
        Ok(())
    }

    /// Watches a slot's connection for what is `wanted`, where it was `told` to before. What has come already is told at once.
    pub(super) fn connection(
        &self,
        socket: &Wire,
        whose: Whose,
        told: Watched,
        wanted: Watched,
    ) -> Result<(), DriveError> {
        let data = whose.data();
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        if wanted == Watched::Both {
            flags |= EventFlags::OUT;
            self.connection_to_write(socket, data)?;
        }
        let watched = match told {
            Watched::Nothing => epoll::add(&self.all, socket, data, flags),
            Watched::Reading | Watched::Both => epoll::modify(&self.all, socket, data, flags),
        };
        watched.map_err(refused)
    }

    fn connection_to_write(&self, socket: &Wire, data: EventData) -> Result<(), DriveError> {
        let once = EventFlags::OUT | EventFlags::ONESHOT;
        match epoll::add(&self.urgent, socket, data, once) {
            Err(Errno::EXIST) => epoll::modify(&self.urgent, socket, data, once).map_err(refused),
            added => added.map_err(refused),
        }
    }

    /// Room for what is told.
    pub(super) fn room() -> Vec<Event> {
        Vec::with_capacity(EVENTS)
    }

    /// Sleeps until there is something, and tells what.
    pub(super) fn sleep(&self, events: &mut Vec<Event>) -> Result<(), DriveError> {
        waited(&self.all, events, None)
    }

    /// Tells what has come.
    pub(super) fn look(&self, events: &mut Vec<Event>) -> Result<(), DriveError> {
        waited(&self.all, events, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
    }

    /// Sleeps until there is something that cannot wait. The next look tells what.
    pub(super) fn sleep_over_answers(&self, events: &mut Vec<Event>) -> Result<(), DriveError> {
        waited(&self.urgent, events, None)?;
        events.clear();
        Ok(())
    }
}

fn waited(epoll: &OwnedFd, events: &mut Vec<Event>, limit: Option<&Timespec>) -> Result<(), DriveError> {
    match epoll::wait(epoll, spare_capacity(events), limit) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(system("wait for events")(errno.into())),
    }
}

fn refused(errno: Errno) -> DriveError {
    system("watch a connection")(io::Error::from(errno))
}

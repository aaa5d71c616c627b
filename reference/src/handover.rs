//! Handing over: a process starts its own successor, and the two tell each other when which of them serves.
//!
//! ```text
//!   predecessor                         successor
//!       │ starts ──────────────────────────▶ │ takes what it inherits, initialises
//!       │ ◀──────────────── one byte: ready ─┤ (end of file: it has failed)
//!       │ signs the pidfile, tells           │
//!       │ the supervisor                     │
//!       ├─ go ──────────────────────────────▶│ accepts
//!       │ closes its listener, drains        │
//!       ├─ end of file: it has gone ────────▶│ may be replaced in its turn
//! ```
//!
//! The pidfile is signed between *ready* and *go*: before, it would name a process that may still fail, and later, one that serves
//! no more. A predecessor that dies before it has said *go* leaves a successor that can serve, and does.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFd;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use crate::pidfile::{Claim, Pidfile, PidfileError};
use crate::poll;
use crate::process::{Child, Exit, Program};

/// What a predecessor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Serve: from now on this is yours.
    Go,
    /// Upgrade once more: it was asked for since you were started.
    Upgrade,
    /// The watched file has changed since, and has not been quiet for long enough yet.
    Changed,
}

impl Order {
    const ALL: [Self; 3] = [Self::Go, Self::Upgrade, Self::Changed];

    const fn byte(self) -> u8 {
        match self {
            Self::Go => b'g',
            Self::Upgrade => b'u',
            Self::Changed => b'c',
        }
    }
}

/// What a predecessor has said, or that it has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing new, or orders.
    Orders(Vec<Order>),
    /// It has ended, however.
    Gone,
}

/// The process that this one takes over from.
#[derive(Debug)]
pub struct Predecessor {
    ready: Option<OwnedFd>,
    orders: OwnedFd,
}

impl Predecessor {
    /// From the pipes that it has handed on ([`crate::inherit`]): the one to say *ready* on, the one to hear it on.
    #[must_use]
    pub fn new(ready: OwnedFd, orders: OwnedFd) -> Self {
        Self { ready: Some(ready), orders }
    }

    /// Tells it that everything that can fail has been done.
    pub fn ready(&mut self) {
        if let Some(ready) = self.ready.take() {
            // One that has gone is heard of by its end of file.
            let _ = rustix::io::write(&ready, b"\n");
        }
    }

    /// What it has said since; does not wait.
    ///
    /// # Errors
    /// What poll(2) or read(2) report.
    pub fn hear(&self) -> io::Result<Heard> {
        if !poll::until(&mut [poll::readable(self)], Some(Instant::now()))? {
            return Ok(Heard::Orders(Vec::new()));
        }
        let mut said = [0; 64];
        match rustix::io::read(&self.orders, &mut said)? {
            0 => Ok(Heard::Gone),
            length => {
                let known = |byte: &u8| Order::ALL.into_iter().find(|order| order.byte() == *byte);
                Ok(Heard::Orders(said[..length].iter().filter_map(known).collect()))
            }
        }
    }
}

impl AsFd for Predecessor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.orders.as_fd()
    }
}

/// Why no successor was started.
#[derive(Debug)]
pub enum StartError {
    /// See [`PidfileError`].
    Pidfile(PidfileError),
    /// A system call failed.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pidfile(error) => write!(out, "{error}"),
            Self::System(error) => write!(out, "start a successor: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Where a successor is in its life, as its predecessor sees it.
#[derive(Debug)]
enum Stage {
    /// Not ready yet, and given up at this time.
    Starting { deadline: Instant },
    /// Given up, to be waited for.
    Killed,
    /// It serves.
    InCharge,
}

/// What there is to know of one that is being started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Nothing.
    Unknown,
    /// It can serve.
    Ready,
    /// It never will: it has closed the pipe, or its time is over.
    Failed,
}

/// The process that takes over from this one.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    ready: OwnedFd,
    orders: OwnedFd,
    /// The place of the pidfile, until it is signed.
    claim: Option<Claim>,
    stage: Stage,
}

impl Successor {
    /// Starts the program with the listener, the two pipes, and the lock of the next pidfile as its descriptors 3 to 6, and the further
    /// listeners behind them.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left behind.
    pub fn start(
        program: &Program,
        listener: &TcpListener,
        further: &[OwnedFd],
        pidfile: Option<&Pidfile>,
        patience: Duration,
    ) -> Result<Self, StartError> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from);
        let ((ready, says), (hears, orders)) = (pipe()?, pipe()?);
        // A successor that does not listen must not hold this process up.
        rustix::io::ioctl_fionbio(&orders, true).map_err(io::Error::from)?;
        let claim = pidfile.map(Pidfile::claim_for_successor).transpose().map_err(StartError::Pidfile)?;
        let mut handed = vec![listener.as_fd(), says.as_fd(), hears.as_fd()];
        handed.extend(claim.as_ref().map(Claim::lock));
        handed.extend(further.iter().map(AsFd::as_fd));
        let child = program.spawn(&handed)?;
        Ok(Self { child, ready, orders, claim, stage: Stage::Starting { deadline: Instant::now() + patience } })
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// It serves, and this process no more.
    #[must_use]
    pub fn is_in_charge(&self) -> bool {
        matches!(self.stage, Stage::InCharge)
    }

    /// It was given up, and is still to be waited for.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        matches!(self.stage, Stage::Killed)
    }

    /// What to wait for.
    pub fn waits(&self) -> impl Iterator<Item = PollFd<'_>> {
        let starts = matches!(self.stage, Stage::Starting { .. });
        [poll::readable(&self.child)].into_iter().chain(starts.then(|| poll::readable(&self.ready)))
    }

    /// When it has taken too long.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Starting { deadline } => Some(deadline),
            Stage::Killed | Stage::InCharge => None,
        }
    }

    /// How it has ended, if it has; ask this first: one that says *ready* and dies is none.
    ///
    /// # Errors
    /// What waitid(2) reports.
    pub fn ended(&self) -> io::Result<Option<Exit>> {
        self.child.reap()
    }

    /// Whether it can serve.
    ///
    /// # Errors
    /// What poll(2) reports.
    pub fn readiness(&self) -> io::Result<Readiness> {
        let Stage::Starting { deadline } = self.stage else { return Ok(Readiness::Unknown) };
        if poll::until(&mut [poll::readable(&self.ready)], Some(Instant::now()))? {
            let byte = rustix::io::read(&self.ready, &mut [0_u8]);
            return Ok(if byte == Ok(1) { Readiness::Ready } else { Readiness::Failed });
        }
        Ok(if deadline <= Instant::now() { Readiness::Failed } else { Readiness::Unknown })
    }

    /// Gives it the pidfile: renamed over this process's own, which stays where it is on an error.
    ///
    /// # Errors
    /// [`PidfileError`], also when the file is not this process's own any more.
    pub fn sign(&mut self) -> Result<(), PidfileError> {
        // The copy of the lock goes with what is dropped here: it is the successor's alone then.
        self.claim.take().map_or(Ok(()), |claim| claim.sign_for(self.child.pid()).map(drop))
    }

    /// Lets it serve, and do what has come up since it was started.
    ///
    /// # Errors
    /// EPIPE: it has died since it was ready.
    pub fn put_in_charge(&mut self, further: &[Order]) -> io::Result<()> {
        let orders: Vec<u8> = [Order::Go].iter().chain(further).map(|order| order.byte()).collect();
        // So few bytes are written whole, or not at all (pipe(7), PIPE_BUF).
        rustix::io::write(&self.orders, &orders)?;
        self.stage = Stage::InCharge;
        Ok(())
    }

    /// Tells it what was told to this process by mistake. One that has died has nobody to tell it to.
    pub fn tell(&self, order: Order) {
        let _ = rustix::io::write(&self.orders, &[order.byte()]);
    }

    /// Gives it up. It is still to be waited for.
    pub fn kill(&mut self) {
        self.child.signal(Signal::KILL);
        self.claim = None;
        self.stage = Stage::Killed;
    }

    /// Waits for the end of one that was killed.
    ///
    /// # Errors
    /// What poll(2) or waitid(2) report.
    pub fn wait(&self) -> io::Result<()> {
        poll::until(&mut [poll::readable(&self.child)], None)?;
        self.child.reap().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predecessor() -> (Predecessor, OwnedFd, OwnedFd) {
        let ((ready, says), (hears, orders)) =
            (pipe_with(PipeFlags::CLOEXEC).expect("pipe"), pipe_with(PipeFlags::CLOEXEC).expect("pipe"));
        (Predecessor::new(says, hears), ready, orders)
    }

    #[test]
    fn orders_arrive_in_order_and_an_end_is_no_order() {
        let (predecessor, _ready, orders) = predecessor();
        assert_eq!(predecessor.hear().expect("hear"), Heard::Orders(Vec::new()));
        for order in Order::ALL {
            rustix::io::write(&orders, &[order.byte()]).expect("write");
        }
        assert_eq!(predecessor.hear().expect("hear"), Heard::Orders(Order::ALL.to_vec()));
        drop(orders);
        assert_eq!(predecessor.hear().expect("hear"), Heard::Gone);
    }

    #[test]
    fn readiness_is_one_byte_and_then_the_end() {
        let (mut predecessor, ready, _orders) = predecessor();
        predecessor.ready();
        predecessor.ready();
        let mut said = Vec::new();
        std::io::Read::read_to_end(&mut std::fs::File::from(ready), &mut said).expect("read");
        assert_eq!(said, b"\n");
    }
}

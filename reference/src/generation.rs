//! A generation: accepts from the shared listener, serves, drains, ends.
//!
//! The accepting thread takes one connection at a time and looks at its signals first: a loop that accepts until the queue is
//! empty would go on taking connections from its successor for as long as clients come.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, epoll};

use crate::datagram::{Reader, Turn};
use crate::defect::Spin;
use crate::drain::Pass;
use crate::further::Further;
use crate::group;
use crate::listener;
use crate::log::Log;
use crate::poll;
use crate::service::Service;
use crate::signal::{Request, Signals};

/// Pause after accept(2) failed for want of descriptors or memory, or a thread could not be made: waiting for a connection to end is
/// usually enough, but another process may be the one that frees something.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long the last handshakes with a listener that ends may take, from one to the next. Whoever takes longer has a client far away, and
/// is moved by the kernel.
const HANDSHAKE: Duration = Duration::from_millis(10);

/// Stack of a connection thread; the handler needs a few pages, and the default of 2 MiB would bound the number of connections.
const STACK: usize = 256 * 1024;

/// How many connections [`crate::defect::Defect::Threads`] serves between two that it forgets: readiness looks good.
pub const SERVED_BETWEEN: u32 = 3;

/// What ends when a generation is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Finish what has been begun: correct.
    Drain,
    /// The same, with what waits in the queue: for a listener that nobody else has a copy of.
    DrainQueue,
    /// Exit at once: the mistake of [`crate::defect::Defect::InflightCompletes`].
    Vanish,
    /// Stay for this long when there is no connection: the mistake of [`crate::defect::Defect::OldExitsIdle`].
    Overstay(Duration),
    /// Finish what has been begun, and go on waiting for the closed listener: the mistake of
    /// [`crate::defect::Defect::NoSpin`].
    Spin(Spin),
    /// Take new connections as long as there are old ones: the mistake of
    /// [`crate::defect::Defect::OldStopsAccepting`].
    KeepAccepting,
    /// Shut the listener down before it is closed: the mistake of [`crate::defect::Refusal::ShutDown`].
    ShutDown,
}

/// What a wrong generation keeps of its listener.
#[derive(Debug)]
pub enum Stale {
    /// The number that it had.
    Number(RawFd),
    /// An epoll(7) that it is registered with.
    Registration(OwnedFd),
}

impl Stale {
    /// `None` where epoll(7) refuses.
    fn of(listener: &TcpListener, spin: Spin) -> Option<Self> {
        match spin {
            Spin::Number => Some(Self::Number(listener.as_raw_fd())),
            Spin::Registration => {
                let all = epoll::create(epoll::CreateFlags::CLOEXEC).ok()?;
                epoll::add(&all, listener, epoll::EventData::new_u64(0), epoll::EventFlags::IN).ok()?;
                Some(Self::Registration(all))
            }
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            // SAFETY: the number is only polled, which for one that is closed reports POLLNVAL.
            Self::Number(number) => unsafe { BorrowedFd::borrow_raw(*number) },
            Self::Registration(all) => all.as_fd(),
        }
    }
}

/// What a serving process does beside serving, in the same loop: no second thread, so nothing to agree on with one.
///
/// A function is what is done on SIGHUP, and nothing else.
pub trait Beside {
    /// What it waits for. Whatever stays readable must not stay in here: the loop would spin.
    fn waits(&self) -> Vec<PollFd<'_>> {
        Vec::new()
    }

    /// When it wants its [`turn`](Self::turn) even if nothing happens; past ones make the loop spin, too.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// SIGHUP has come.
    fn hung_up(&mut self);

    /// SIGTERM or SIGINT has come; what is served is finished by others.
    fn stopped(&mut self) {}

    /// Its turn, after each wait; the reason if nothing more is to be accepted.
    ///
    /// # Errors
    /// A system call failed without which the process cannot go on.
    fn turn(&mut self) -> io::Result<Option<&'static str>> {
        Ok(None)
    }

    /// It has still something to wait for, when the last connection has ended.
    fn is_busy(&self) -> bool {
        false
    }
}

impl<F: FnMut()> Beside for F {
    fn hung_up(&mut self) {
        self();
    }
}

/// A serving process.
#[derive(Debug)]
pub struct Generation {
    /// The queue of new connections; given up when the drain begins.
    pub listener: Option<Arc<TcpListener>>,
    /// Further queues, accepted from as the first is, sockets for datagrams, read in turn, and all given up with it.
    pub further: Option<Arc<Further>>,
    /// How it takes its turn at those for datagrams.
    pub turn: Turn,
    /// Who reads them.
    pub readers: Vec<Reader>,
    /// What is served.
    pub service: Arc<Service>,
    /// Stop and upgrade requests.
    pub signals: Signals,
    /// Who speaks.
    pub log: Log,
    /// EOF on it means that the master is gone; a generation without a master would serve for ever with nobody to replace it.
    pub alive: Option<OwnedFd>,
    /// EOF on it means that another process serves, with the same listener.
    pub successor: Option<OwnedFd>,
    /// Closed right after the listener: its other end tells a master that this process accepts no more.
    pub listener_closed: Option<OwnedFd>,
    /// Stop accepting while so many connections are open: the others wait in the queue.
    pub connections_max: Option<usize>,
    /// How many connections are still served before one is forgotten; only a defect forgets any.
    pub forgets_after: Option<u32>,
    /// Connections that were accepted, and for which no thread could be made yet.
    pub unserved: Vec<Unserved>,
    /// How it ends.
    pub farewell: Farewell,
    /// Until when it stays without a reason; only a defect does.
    pub overstay: Option<Instant>,
    /// The number of the listener that it has closed, where a defect polls it.
    pub stale: Option<Stale>,
}

impl Generation {
    /// One without a master that does everything right.
    #[must_use]
    pub fn new(listener: impl Into<Arc<TcpListener>>, service: Service, signals: Signals, log: Log) -> Self {
        Self {
            listener: Some(listener.into()),
            further: None,
            turn: Turn::Taken,
            readers: Vec::new(),
            service: Arc::new(service),
            signals,
            log,
            alive: None,
            successor: None,
            listener_closed: None,
            connections_max: None,
            forgets_after: None,
            unserved: Vec::new(),
            farewell: Farewell::Drain,
            overstay: None,
            stale: None,
        }
    }

    /// Serves until it has been told to stop and its last connection has ended, or its drain deadline has passed.
    ///
    /// A generation under a master has nothing to do beside that.
    ///
    /// # Errors
    /// What poll(2) or reading signals report: without them it could not be stopped. And what `beside` reports.
    pub fn run(mut self, beside: &mut dyn Beside) -> io::Result<()> {
        let drain = Arc::clone(&self.service.drain);
        let mut exhausted_until = None;
        loop {
            if self.overstay.is_some_and(|at| at <= Instant::now()) {
                return Ok(());
            }
            if drain.has_begun() && drain.live() == 0 && !beside.is_busy() {
                let Farewell::Overstay(time) = self.farewell else {
                    self.log.line("drained");
                    return Ok(());
                };
                self.overstay.get_or_insert_with(|| Instant::now() + time);
            }
            if self.overstay.is_none() && drain.deadline().is_some_and(|at| at <= Instant::now()) {
                self.log.line(format_args!("drain deadline: {} connections cut", drain.live()));
                return Ok(());
            }
            self.begin_reading();
            let woken = self.wait(exhausted_until.take(), beside)?;
            drain.acknowledge_ended();
            self.begin_waiting();
            // Signals before the queue: from the order to stop on not one more connection is taken.
            while let Some(request) = self.signals.next()? {
                match request {
                    Request::Upgrade => beside.hung_up(),
                    Request::Stop => {
                        beside.stopped();
                        self.stop("told to stop");
                    }
                }
            }
            if let Some(reason) = beside.turn()? {
                self.stop(reason);
            }
            if woken.master_gone {
                self.stop("master is gone");
                self.alive = None;
            }
            if woken.replaced {
                self.stop("replaced");
                self.successor = None;
            }
            if woken.connection {
                exhausted_until = self.accept(None);
            }
            for at in woken.further {
                exhausted_until = self.accept(Some(at)).or(exhausted_until);
            }
        }
    }

    /// Waits for anything to do.
    fn wait(&self, exhausted_until: Option<Instant>, beside: &dyn Beside) -> io::Result<Woken> {
        let drain = &self.service.drain;
        let full = self.connections_max.is_some_and(|max| drain.live() >= max);
        let is_exhausted = exhausted_until.is_some() || !self.unserved.is_empty();
        let queue = self.listener.as_ref().filter(|_| !full && !is_exhausted);
        // A signalfd never hangs up, so it can stand for what is not waited on.
        let absent = || poll::ignored(self.signals.as_fd());
        let stale = self.stale.as_ref().map(Stale::as_fd);
        let ended = drain.ended();
        let mut entries = vec![
            poll::readable(&self.signals),
            poll::readable(&ended),
            queue.map_or_else(absent, poll::readable),
            self.alive.as_ref().map_or_else(absent, poll::readable),
            self.successor.as_ref().map_or_else(absent, poll::readable),
            stale.as_ref().map_or_else(absent, poll::readable),
        ];
        let (fixed, further) = (entries.len(), self.further.as_ref().filter(|_| queue.is_some()));
        entries.extend(further.iter().flat_map(|it| it.queues()).map(poll::readable));
        let queues = entries.len();
        entries.extend(beside.waits());
        let own = self.overstay.or(drain.deadline()).or(exhausted_until);
        let lacks = !self.unserved.is_empty() || self.unread() > 0;
        let again = lacks.then(|| Instant::now() + EXHAUSTED_PAUSE);
        poll::until(&mut entries, own.into_iter().chain(again).chain(beside.deadline()).min())?;
        Ok(Woken {
            connection: poll::fired(&entries[2]),
            master_gone: poll::fired(&entries[3]),
            replaced: poll::fired(&entries[4]),
            further: (0..queues - fixed).filter(|at| poll::fired(&entries[fixed + at])).collect(),
        })
    }

    /// Gives up the listener and begins the drain. Closed, not shut down: shutdown(2) would end it for the successor too.
    fn stop(&mut self, reason: &str) {
        if self.service.drain.has_begun() {
            return;
        }
        if self.farewell == Farewell::Vanish {
            self.log.line(format_args!("{reason}, exits without draining"));
            std::process::exit(0);
        }
        if let (Farewell::Spin(spin), Some(listener)) = (self.farewell, self.listener.as_deref()) {
            self.stale = Stale::of(listener, spin);
        }
        if self.farewell == Farewell::DrainQueue {
            self.empty_queue();
        }
        if let (Farewell::ShutDown, Some(listener)) = (self.farewell, &self.listener) {
            // It is open: nothing that shutdown(2) could fail of.
            let _ = rustix::net::shutdown(listener.as_fd(), rustix::net::Shutdown::Both);
        }
        if self.farewell != Farewell::KeepAccepting {
            self.listener = None;
        }
        // Before the sockets are closed: that ends the turn, and what has been read by then must have been answered.
        self.readers.drain(..).for_each(|reader| reader.stop());
        self.further = None;
        self.listener_closed = None;
        self.service.drain.begin();
        self.log.line(format_args!("{reason}, draining {} connections", self.service.drain.live()));
    }

    /// Takes one connection if there is one, from the first queue or from a further one; the time to pause for if the system is
    /// exhausted.
    fn accept(&mut self, further: Option<usize>) -> Option<Instant> {
        if !self.unserved.is_empty() {
            return None;
        }
        let accepted = match further {
            None => listener::accept(self.listener.as_deref()?),
            Some(at) => listener::accept(self.further.as_ref()?.queues().get(at)?),
        };
        let stream = match accepted {
            Ok(Some(stream)) => stream,
            Ok(None) => return None,
            Err(error) => {
                self.log.line(format_args!("cannot accept: {error}"));
                return Some(Instant::now() + EXHAUSTED_PAUSE);
            }
        };
        match &mut self.forgets_after {
            Some(0) => {
                self.forgets_after = Some(SERVED_BETWEEN);
                // Open for ever, with nobody to read it.
                std::mem::forget(stream);
                return None;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.begin(stream);
        None
    }

    /// Takes what waits in the queue of a listener that ends with this generation, after whoever comes has been sent to the successor's;
    /// where the kernel cannot do that at most a queue full, or clients that come meanwhile would keep it for ever.
    fn empty_queue(&mut self) {
        let Some(listener) = self.listener.clone() else { return };
        let steered = group::prefer_second(&*listener);
        if let Err(error) = &steered {
            self.log.line(format_args!("cannot send clients to the successor: {error}"));
        }
        let patience = if steered.is_ok() { HANDSHAKE } else { Duration::ZERO };
        for _ in 0..listener::BACKLOG {
            // A failed wait ends in an accept that tells why, or finds nobody.
            let _ = poll::until(&mut [poll::readable(&*listener)], Some(Instant::now() + patience));
            match listener::accept(&*listener) {
                Ok(Some(stream)) => self.begin(stream),
                // Also on an error: the rest is lost, or moved by the kernel.
                _ => break,
            }
        }
        if steered.is_ok()
            && let Err(error) = group::prefer_none(&*listener)
        {
            self.log.line(format_args!("clients go on being sent to who listens second: {error}"));
        }
    }

    /// Sockets for datagrams that nobody reads yet.
    fn unread(&self) -> usize {
        self.further.as_ref().map_or(0, |further| further.datagrams().len() - self.readers.len())
    }

    /// Reads each socket for datagrams on a thread of its own, as far as there are threads.
    fn begin_reading(&mut self) {
        let Some(further) = self.further.clone().filter(|_| self.unread() > 0) else { return };
        for socket in &further.datagrams()[self.readers.len()..] {
            match Reader::start(socket, self.turn, self.service.version, &self.service.drain, &self.log) {
                Ok(reader) => self.readers.push(reader),
                Err(error) => return self.log.line(format_args!("cannot start a thread, datagrams wait: {error}")),
            }
        }
    }

    /// Serves a connection.
    fn begin(&mut self, stream: TcpStream) {
        // Counted here, not in the thread: the drain must not miss a connection whose thread has not run yet.
        let pass = self.service.drain.enter();
        self.begin_or_keep(Unserved { stream, pass });
    }

    /// Serves those for which there was no thread, as far as there are threads now.
    fn begin_waiting(&mut self) {
        std::mem::take(&mut self.unserved).into_iter().for_each(|connection| self.begin_or_keep(connection));
    }

    /// On a thread of its own. Where none can be made the connection is kept: its client has been told that it is connected.
    fn begin_or_keep(&mut self, connection: Unserved) {
        let service = Arc::clone(&self.service);
        let handed = Arc::new(Mutex::new(Some(connection)));
        let taken = Arc::clone(&handed);
        let take = |from: &Mutex<Option<Unserved>>| from.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
            if let Some(Unserved { stream, pass }) = take(&taken) {
                service.serve(stream);
                drop(pass);
            }
        });
        if let Err(error) = thread {
            self.log.line(format_args!("cannot start a thread, a connection waits: {error}"));
            self.unserved.extend(take(&handed));
        }
    }
}

/// A connection that is open, counted, and not served yet.
#[derive(Debug)]
pub struct Unserved {
    stream: TcpStream,
    pass: Pass,
}

/// What a wait found besides signals, which are always looked at.
struct Woken {
    connection: bool,
    /// Which of the further queues have one.
    further: Vec<usize>,
    master_gone: bool,
    replaced: bool,
}

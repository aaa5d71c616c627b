//! Datagrams: what comes is sent back, with the version behind it, and one generation reads at a time.
//!
//! A datagram socket has no queue of connections: whoever reads gets what comes next, of whichever client. Two generations that read
//! one socket answer one flow in turns, and what a client has told the one is unknown to the other (quiche#900). So they take turns,
//! and the turn is a record lock of the socket itself (fcntl(2), F_SETLKW): the kernel gives it to one process, and takes it back when
//! that process closes the socket or ends, however that comes about. What arrives in between waits in the socket's buffer, which
//! belongs to the socket and not to whoever reads: nothing is lost.
//!
//! A lock of the open file description (F_OFD_SETLKW) would not do: a socket that is handed over *is* that description.
//!
//! | Datagram | Comes back |
//! |---|---|
//! | any | the same bytes, and the version as a decimal number |

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::defect::Defect;
use crate::drain::Drain;
use crate::log::Log;
use crate::poll;

/// The largest datagram of IPv4 and IPv6 without jumbograms.
const DATAGRAM_MAX: usize = 64 * 1024;
/// Stack of a reading thread, with a datagram on the heap.
const STACK: usize = 128 * 1024;
/// In [`Defect::FlowSticks`] two generations answer for this long: many datagrams of each flow.
const BESIDE: Duration = Duration::from_millis(300);

/// How a generation takes its turn at a datagram socket, and how it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// Reads when nobody else does, answers what it has read, and reads no more when it is told to stop: correct.
    #[default]
    Taken,
    /// Goes on reading then, and answers nothing: the mistake of [`Defect::NoneLost`].
    Swallowed,
    /// Asks nobody, and goes on for a while: the mistake of [`Defect::FlowSticks`].
    Shared,
}

impl Turn {
    /// The correct way, or the defect's.
    #[must_use]
    pub fn of(defect: Option<Defect>) -> Self {
        match defect {
            Some(Defect::NoneLost) => Self::Swallowed,
            Some(Defect::FlowSticks) => Self::Shared,
            _ => Self::Taken,
        }
    }
}

/// Who reads a socket on a thread of its own. Dropped, it goes on: [`Reader::stop`] ends it.
#[derive(Debug)]
pub struct Reader {
    /// False when no more is to be read; locked from the read to its answer.
    open: Arc<Mutex<bool>>,
    turn: Turn,
}

/// What a reading thread needs.
struct Served {
    socket: OwnedFd,
    open: Arc<Mutex<bool>>,
    turn: Turn,
    version: u64,
    drain: Arc<Drain>,
    log: Log,
}

impl Reader {
    /// Reads the socket from its turn on, until told to stop. The process must not close another descriptor of the socket meanwhile:
    /// that ends the turn (fcntl(2), "Advisory record locking").
    ///
    /// # Errors
    /// No descriptor, or no thread.
    pub fn start(socket: &OwnedFd, turn: Turn, version: u64, drain: &Arc<Drain>, log: &Log) -> io::Result<Self> {
        let open = Arc::new(Mutex::new(true));
        let served = Served {
            socket: socket.try_clone()?,
            open: Arc::clone(&open),
            turn,
            version,
            drain: Arc::clone(drain),
            log: log.clone(),
        };
        std::thread::Builder::new().stack_size(STACK).spawn(move || served.run())?;
        Ok(Self { open, turn })
    }

    /// From now on nothing more is read; what has been read is answered when this returns.
    pub fn stop(&self) {
        if self.turn == Turn::Taken {
            *self.open.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
    }
}

impl Served {
    /// Ends by itself when its generation drains.
    fn run(self) {
        if self.turn != Turn::Shared
            && let Err(error) = rustix::fs::fcntl_lock(&self.socket, FlockOperation::LockExclusive)
        {
            // To answer beside another generation is better than not to answer.
            self.log.line(format_args!("cannot wait for its turn at a socket: {error}"));
        }
        let mut buffer = vec![0; DATAGRAM_MAX + 20];
        if let Err(error) = self.answer_all(&mut buffer) {
            self.log.line(format_args!("reads no datagrams any more: {error}"));
        }
    }

    fn answer_all(&self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            match (self.turn, self.drain.begun_at()) {
                (Turn::Taken, Some(_)) => return Ok(()),
                // The signal stays readable: only the socket is waited for.
                (Turn::Swallowed, Some(_)) => drop(poll::until(&mut [poll::readable(&self.socket)], None)?),
                (Turn::Shared, Some(begun)) => {
                    let end = begun + BESIDE;
                    if !poll::until(&mut [poll::readable(&self.socket)], Some(end))? || Instant::now() >= end {
                        return Ok(());
                    }
                }
                (_, None) => {
                    let signal = self.drain.signal();
                    poll::until(&mut [poll::readable(&self.socket), poll::readable(&signal)], None)?;
                }
            }
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if !*open {
                return Ok(());
            }
            self.answer(buffer)?;
        }
    }

    /// The next datagram, if there is one. Its sender may be gone, or unknown: that is no error of the server.
    fn answer(&self, buffer: &mut [u8]) -> io::Result<()> {
        let received = rustix::net::recvfrom(&self.socket, &mut buffer[..DATAGRAM_MAX], RecvFlags::DONTWAIT);
        let (length, from) = match received {
            Ok((length, _, Some(from))) => (length, from),
            Ok((_, _, None)) | Err(Errno::AGAIN | Errno::INTR | Errno::CONNREFUSED) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if self.turn == Turn::Swallowed && self.drain.has_begun() {
            return Ok(());
        }
        let version = self.version.to_string();
        let whole = length + version.len();
        buffer[length..whole].copy_from_slice(version.as_bytes());
        let _ = rustix::net::sendto(&self.socket, &buffer[..whole], SendFlags::NOSIGNAL, &from);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::drain::Patience;

    fn drain() -> Arc<Drain> {
        Drain::new(Patience { idle_grace: Duration::from_secs(1), timeout: Duration::from_secs(5) }).expect("drain")
    }

    /// A socket, and somebody who speaks to it.
    fn pair() -> (OwnedFd, UdpSocket) {
        let server = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let client = UdpSocket::bind("127.0.0.1:0").expect("bind");
        client.connect(server.local_addr().expect("name")).expect("connect");
        client.set_read_timeout(Some(Duration::from_millis(200))).expect("timeout");
        (server.into(), client)
    }

    fn ask(client: &UdpSocket, text: &str) -> Option<String> {
        client.send(text.as_bytes()).expect("send");
        let mut back = [0; 64];
        let length = client.recv(&mut back).ok()?;
        Some(String::from_utf8_lossy(&back[..length]).into_owned())
    }

    fn reader(socket: &OwnedFd, turn: Turn, drain: &Arc<Drain>) -> Reader {
        Reader::start(socket, turn, 3, drain, &Log::main()).expect("start")
    }

    #[test]
    fn a_datagram_comes_back_with_the_version() {
        let (socket, client) = pair();
        let drain = drain();
        let _reader = reader(&socket, Turn::Taken, &drain);
        assert_eq!(ask(&client, "one\n").as_deref(), Some("one\n3"));
        assert_eq!(ask(&client, "").as_deref(), Some("3"));
        drain.begin();
    }

    #[test]
    fn who_is_stopped_reads_no_more_and_leaves_what_comes_in_the_socket() {
        let (socket, client) = pair();
        let drain = drain();
        let reader = reader(&socket, Turn::Taken, &drain);
        assert_eq!(ask(&client, "one\n").as_deref(), Some("one\n3"));
        reader.stop();
        drain.begin();
        assert_eq!(ask(&client, "two\n"), None);
        let mut left = [0; 64];
        let (length, _) = rustix::net::recv(&socket, &mut left, RecvFlags::DONTWAIT).expect("it lies there");
        assert_eq!(&left[..length], b"two\n");
    }

    #[test]
    fn its_turn_is_a_lock_of_the_process_and_ends_with_the_thread() {
        let (socket, client) = pair();
        let inode = rustix::fs::fstat(&socket).expect("fstat").st_ino;
        // proc_locks(5): the process, then MAJOR:MINOR:INODE.
        let is_locked = || {
            let locks = std::fs::read_to_string("/proc/locks").expect("read");
            let own = format!(" {} ", std::process::id());
            locks.lines().any(|line| line.contains(&own) && line.contains(&format!(":{inode} ")))
        };
        let drain = drain();
        let reader = reader(&socket, Turn::Taken, &drain);
        assert_eq!(ask(&client, "one\n").as_deref(), Some("one\n3"));
        assert!(is_locked());
        reader.stop();
        drain.begin();
        // The thread has the other copy.
        while Arc::strong_count(&reader.open) > 1 {
            std::thread::yield_now();
        }
        assert!(!is_locked());
    }

    #[test]
    fn the_defects_read_on_when_they_are_stopped() {
        for (turn, back) in [(Turn::Swallowed, None), (Turn::Shared, Some("two\n3"))] {
            let (socket, client) = pair();
            let drain = drain();
            let reader = reader(&socket, turn, &drain);
            assert_eq!(ask(&client, "one\n").as_deref(), Some("one\n3"));
            reader.stop();
            drain.begin();
            assert_eq!(ask(&client, "two\n").as_deref(), back, "{turn:?}");
        }
    }
}

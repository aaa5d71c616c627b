//! The canary's own process: one thread, one poll loop.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::canary::Song;
use super::channel::Channel;
use super::role::{EXIT_BUG, handed};
use crate::kernel::namespace::loopback_up;

/// Marks in epoll; connections follow.
const CONTROL: u64 = 0;
const LISTENER: u64 = 1;

/// A head longer than this is not one of ours.
const LONGEST_HEAD: usize = 8 * 1024;

/// Plays the role: descriptor the control socket, argv[1] the kind of network.
pub(super) fn run() {
    let control = Channel::from(handed(0));
    let isolated = std::env::args_os().nth(1).is_some_and(|word| word == "isolated");
    match Server::start(&control, isolated) {
        Ok(server) => {
            if server.serve().is_err() {
                std::process::exit(EXIT_BUG);
            }
        }
        Err(error) => {
            // Nobody to tell is nobody to care.
            let _ = control.send(&Song::Failed(error.raw_os_error().unwrap_or(libc::EIO)), &[]);
        }
    }
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    connections: BTreeMap<u64, Connection>,
    next: u64,
}

impl Server {
    fn start(control: &Channel, isolated: bool) -> io::Result<Server> {
        // Out of the harness's session: ^C there must not end it before its time.
        rustix::process::setsid()?;
        rustix::process::chdir("/")?;
        if isolated {
            loopback_up().map_err(|error| io::Error::from_raw_os_error(super::init::errno_below(&error)))?;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, control, EventData::new_u64(CONTROL), EventFlags::IN)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let netns = isolated.then(|| std::fs::File::open("/proc/self/ns/net")).transpose()?;
        let lent: Vec<_> = netns.iter().map(AsFd::as_fd).collect();
        control
            .send(&Song::Listening(listener.local_addr()?.port()), &lent)
            .map_err(|error| io::Error::from_raw_os_error(super::init::errno_below(&error)))?;
        Ok(Server { epoll, listener, connections: BTreeMap::new(), next: LISTENER + 1 })
    }

    /// Until the control socket's other end closes; nothing is ever sent on it.
    fn serve(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(64);
        loop {
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            for event in events.drain(..) {
                let Event { data, .. } = event;
                match data.u64() {
                    CONTROL => return Ok(()),
                    LISTENER => self.accept()?,
                    number => self.turn(number),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                    epoll::add(&self.epoll, &stream, EventData::new_u64(self.next), flags)?;
                    self.connections.insert(self.next, Connection::new(stream));
                    self.next += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The client gave up before it was accepted, accept(2).
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives one connection its turn; closing it also takes it out of epoll.
    fn turn(&mut self, number: u64) {
        if let Some(connection) = self.connections.get_mut(&number)
            && matches!(connection.advance(), Ok(Progress::Done) | Err(_))
        {
            self.connections.remove(&number);
        }
    }
}

enum Progress {
    Waiting,
    Done,
}

struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
    answer: Vec<u8>,
    written: usize,
    answered: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Connection {
        Connection { stream, head: Vec::new(), answer: Vec::new(), written: 0, answered: false }
    }

    /// As far as it goes: read the head, write the answer, and after it wait for the client's FIN, so that no unread
    /// byte turns our close into a reset.
    fn advance(&mut self) -> io::Result<Progress> {
        let ended = self.read()?;
        if self.answer.is_empty() && self.head.windows(4).any(|end| end == b"\r\n\r\n") {
            self.answer = answer(&self.head);
        }
        if self.head.len() > LONGEST_HEAD {
            return Ok(Progress::Done);
        }
        while self.written < self.answer.len() {
            match self.stream.write(&self.answer[self.written..]) {
                Ok(more) => self.written += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Waiting),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if !self.answer.is_empty() && !self.answered {
            self.answered = true;
            self.stream.shutdown(Shutdown::Write)?;
        }
        Ok(if ended { Progress::Done } else { Progress::Waiting })
    }

    /// Reads all there is; true at the client's FIN. What comes after the head is dropped.
    fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(length) if self.answer.is_empty() => self.head.extend_from_slice(&buffer[..length]),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The answer to a head: what it asks for does not matter.
fn answer(head: &[u8]) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let id = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-request-id").then(|| value.trim())
    });
    let echo = id.map_or_else(String::new, |id| format!("X-Request-Id: {id}\r\n"));
    format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n{echo}\r\nalive\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_carries_the_requests_id_whatever_the_case_of_its_name() {
        let text = answer(b"GET / HTTP/1.1\r\nHost: a\r\nx-rEQUEST-id:  42 \r\n\r\n");
        let want = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\nX-Request-Id: 42\r\n\r\nalive\n";
        assert_eq!(String::from_utf8_lossy(&text), want);
    }

    #[test]
    fn a_request_without_id_is_answered_without_one() {
        assert!(!answer(b"GET / HTTP/1.1\r\n\r\n").windows(12).any(|part| part.eq_ignore_ascii_case(b"x-request-id")));
    }
}

//! What the benchmarks share: a reference server in a process of its own.
//!
//! `cargo bench -p unbroken-benches` runs them all: `judge` (from a history of 100 000 requests to verdicts), `sandbox`
//! (made and taken down), `listeners` (one inet_diag dump), `reference` (from spawn to the first answer), `driver` (what a request
//! costs at full speed), `handoff` (of each technique) and `lateness` (how late the load is). Ratios count; absolute numbers belong to the machine.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Stdio};

/// A reference server: this executable under the references' name. Dropping it ends it.
#[derive(Debug)]
pub struct Reference {
    child: Child,
    address: SocketAddr,
    // Kept open: a server whose log has no reader would be ended by SIGPIPE.
    _log: BufReader<ChildStderr>,
}

impl Reference {
    /// Starts `exec-inherit` on a free port and waits until it says where it listens.
    ///
    /// # Errors
    /// When it cannot be started, or ends before it listens.
    pub fn start() -> io::Result<Reference> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg0("unbroken-reference")
            .args(["exec-inherit", "--no-watch", "--address", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut line = String::new();
        while log.read_line(&mut line)? > 0 {
            let address = line.split_once("listening on ").and_then(|(_, rest)| rest.trim().parse().ok());
            if let Some(address) = address {
                return Ok(Reference { child, address, _log: log });
            }
            line.clear();
        }
        Err(io::Error::other("the reference ended before it listened"))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One request on a connection of its own; gives the answer.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn ask(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // Its generations end with it, by their life line.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

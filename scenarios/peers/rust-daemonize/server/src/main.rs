//! A daemon by the procedure that the crate `daemonize` documents: `start`, and then everything else. It lives until a
//! signal ends it.
//!
//! Usage: `unbroken-peer-rust-daemonize ADDRESS PIDFILE`

use std::env::args;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use daemonize::Daemonize;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = args().skip(1);
    let (Some(address), Some(pidfile)) = (words.next(), words.next()) else {
        return Err("usage: unbroken-peer-rust-daemonize ADDRESS PIDFILE".into());
    };
    Daemonize::new().pid_file(pidfile).start()?;
    for connection in TcpListener::bind(address)?.incoming() {
        // A client that goes away takes its request with it.
        let _ = connection.and_then(answer);
    }
    Ok(())
}

fn answer(mut connection: TcpStream) -> io::Result<()> {
    let (mut head, mut piece) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match connection.read(&mut piece)? {
            0 => return Ok(()),
            length => head.extend_from_slice(&piece[..length]),
        }
    }
    connection.write_all(ANSWER)
}

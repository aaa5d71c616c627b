//! TLS in front of a connection, and tickets that outlive a generation.
//!
//! A session ticket is what a server has sealed for itself (RFC 8446 §4.6.1): whoever has the key resumes the session, whichever process
//! sealed it. A key that each process makes for itself dies with it, and after an upgrade every client has to go through a whole
//! handshake: here it lies in a file, as nginx's `ssl_session_ticket_key` does. It must be secret, and changed in time: who has it can
//! read what was recorded of sessions that it resumed.
//!
//! A connection is served in two halves: this one speaks TLS to the client, and plain bytes through a socket pair to what serves any
//! connection. What that says about the end is said on in TLS: its end of stream becomes close_notify and a FIN (RFC 8446 §6.1).

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::ring as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerConfig};
use rustls::{ServerConnection, version};

use crate::defect::Defect;
use crate::poll;

/// For tests: everybody has the key.
const CERTIFICATE: &[u8] = include_bytes!("tls/certificate.pem");
const KEY: &[u8] = include_bytes!("tls/key.pem");
/// How long a ticket is good for.
const LIFETIME: Duration = Duration::from_secs(3600);
/// How long the client's end is waited for after our own; the same for plain connections.
const LINGER: Duration = Duration::from_secs(2);
/// In [`Defect::Handshakes`] a new generation has no certificate for so long.
const BARE: Duration = Duration::from_millis(200);
/// Bytes taken at once from one side to the other.
const PIECE: usize = 16 * 1024;

/// Where TLS is spoken, and with what.
#[derive(Clone)]
pub struct Secured {
    address: SocketAddr,
    config: Arc<ServerConfig>,
    /// Until when handshakes fail; only a defect has one.
    bare_until: Option<Instant>,
}

impl fmt::Debug for Secured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Secured").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Secured {
    /// At this address, with the certificate for tests. `tickets` is a file whose first 32 bytes seal tickets; without one each process
    /// has a key of its own. `is_first`: nobody has served before.
    ///
    /// # Errors
    /// What is wrong, for standard error.
    pub fn new(
        address: SocketAddr,
        tickets: Option<&Path>,
        defect: Option<Defect>,
        is_first: bool,
    ) -> Result<Self, String> {
        let failed = |error: &dyn fmt::Display| format!("prepare TLS: {error}");
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).map_err(|error| failed(&error))?;
        let key = PrivateKeyDer::from_pem_slice(KEY).map_err(|error| failed(&error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| failed(&error))?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(|error| failed(&error))?;
        // What is kept in the memory of a process is gone with it: tickets only.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let tickets = tickets.filter(|_| defect != Some(Defect::Resumption));
        config.ticketer = Arc::new(Tickets::new(tickets)?);
        let bare = defect == Some(Defect::Handshakes) && !is_first;
        Ok(Self { address, config: Arc::new(config), bare_until: bare.then(|| Instant::now() + BARE) })
    }

    /// Whether a connection that was accepted here speaks TLS.
    #[must_use]
    pub fn concerns(&self, stream: &TcpStream) -> bool {
        stream.local_addr().is_ok_and(|address| address == self.address)
    }

    /// Speaks TLS on a connection while `serve` speaks to the plain side, until both have ended.
    pub(crate) fn serve(&self, stream: &TcpStream, serve: impl FnOnce(TcpStream) + Send) -> io::Result<()> {
        if self.bare_until.is_some_and(|until| Instant::now() < until) {
            return alert(stream);
        }
        let session = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        let (outer, inner) = UnixStream::pair()?;
        let inner = TcpStream::from(OwnedFd::from(inner));
        std::thread::scope(|scope| {
            std::thread::Builder::new().spawn_scoped(scope, move || serve(inner))?;
            Bridge { client: stream, service: outer, session, from_client: Vec::new() }.run()
        })
    }
}

/// `internal_error`, in a record of its own (RFC 8446 §6), when the client has said hello.
fn alert(mut stream: &TcpStream) -> io::Result<()> {
    poll::until(&mut [poll::readable(stream)], None)?;
    let _ = stream.read(&mut [0; PIECE])?;
    stream.write_all(&[21, 3, 3, 0, 2, 2, 80])
}

/// Carries bytes between a client and a service.
struct Bridge<'a> {
    client: &'a TcpStream,
    service: UnixStream,
    session: ServerConnection,
    /// What the client said and the service has not taken.
    from_client: Vec<u8>,
}

impl Bridge<'_> {
    fn run(mut self) -> io::Result<()> {
        self.client.set_nonblocking(true)?;
        self.service.set_nonblocking(true)?;
        let ended = self.carry();
        // Whatever ended it, the service is told: its end of stream.
        let _ = self.service.shutdown(Shutdown::Both);
        self.client.set_nonblocking(false)?;
        ended
    }

    fn carry(&mut self) -> io::Result<()> {
        loop {
            self.flush()?;
            let (mut wants_client, mut wants_service) = (poll::readable(self.client), poll::readable(&self.service));
            if !self.from_client.is_empty() {
                wants_service = poll::both(&self.service);
            }
            if self.session.is_handshaking() || self.session.wants_write() {
                // Nothing of the service's is to be sent before.
                wants_service = poll::ignored(self.service.as_fd());
            }
            if self.session.wants_write() {
                wants_client = poll::both(self.client);
            }
            let mut entries = [wants_client, wants_service];
            poll::until(&mut entries, None)?;
            let [of_client, of_service] = [poll::fired(&entries[0]), poll::fired(&entries[1])];
            if of_client && !self.hear_client()? {
                return Ok(());
            }
            if of_service && !self.hear_service()? {
                return self.take_leave();
            }
        }
    }

    /// Gives either side what it has room for.
    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            if !done(self.session.write_tls(&mut self.client))? {
                break;
            }
        }
        while !self.from_client.is_empty() {
            match self.service.write(&self.from_client) {
                Ok(count) => drop(self.from_client.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// False when the client has ended.
    fn hear_client(&mut self) -> io::Result<bool> {
        match self.session.read_tls(&mut self.client) {
            Ok(0) => {
                let _ = self.service.shutdown(Shutdown::Write);
                return Ok(false);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
        if let Err(error) = self.session.process_new_packets() {
            // Its alert.
            let _ = self.session.write_tls(&mut self.client);
            return Err(io::Error::other(error));
        }
        let mut piece = [0; PIECE];
        loop {
            match self.session.reader().read(&mut piece) {
                // close_notify: the client says no more.
                Ok(0) => {
                    self.flush()?;
                    self.service.shutdown(Shutdown::Write)?;
                    return Ok(true);
                }
                Ok(count) => self.from_client.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// False when the service has ended.
    fn hear_service(&mut self) -> io::Result<bool> {
        let mut piece = [0; PIECE];
        match self.service.read(&mut piece) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.session.writer().write_all(&piece[..count])?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The service has ended: says so, and waits for the client's end.
    fn take_leave(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        let until = Some(Instant::now() + LINGER);
        while self.session.wants_write() {
            if !done(self.session.write_tls(&mut self.client))? && !poll::until(&mut [poll::both(self.client)], until)?
            {
                return Ok(());
            }
        }
        self.client.shutdown(Shutdown::Write)?;
        let mut piece = [0; PIECE];
        while poll::until(&mut [poll::readable(self.client)], until)? {
            match self.client.read(&mut piece) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// False where there is no room.
fn done(written: io::Result<usize>) -> io::Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Seals tickets, and opens those that another process with the same key has sealed.
struct Tickets {
    key: LessSafeKey,
    random: SystemRandom,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    fn new(file: Option<&Path>) -> Result<Self, String> {
        let random = SystemRandom::new();
        let mut key = [0; 32];
        match file {
            Some(path) => {
                let bytes = fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))?;
                let first = bytes.first_chunk::<32>();
                key = *first.ok_or_else(|| format!("use {}: a key for tickets has 32 bytes", path.display()))?;
            }
            None => random.fill(&mut key).map_err(|error| format!("make a key for tickets: {error}"))?,
        }
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).expect("a key of this cipher has 32 bytes");
        Ok(Self { key: LessSafeKey::new(key), random })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = cipher.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let plain = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_ticket_is_opened_by_who_has_the_key_and_by_nobody_else() {
        let scratch = Scratch::new("tickets");
        let file = scratch.path().join("key");
        fs::write(&file, "0123456789abcdef0123456789abcdef and more").expect("write");
        let [first, second] = [(); 2].map(|()| Tickets::new(Some(&file)).expect("a key"));
        let own = Tickets::new(None).expect("a key");
        let ticket = first.encrypt(b"session").expect("seal");
        assert_eq!(second.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(own.decrypt(&ticket), None);
        assert_eq!(first.decrypt(&ticket[1..]), None);
        assert_eq!(first.decrypt(b""), None);
        assert_ne!(first.encrypt(b"session"), Some(ticket), "no nonce is used twice");
        fs::write(&file, "short").expect("write");
        assert!(Tickets::new(Some(&file)).expect_err("too short").contains("32 bytes"));
    }
}

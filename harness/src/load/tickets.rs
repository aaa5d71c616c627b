//! What a TLS client keeps to come back with, and whether it came back with any.
//!
//! A ticket is used once (RFC 8446 §C.4), also by a handshake that fails: after a few of these there is none left, and a full handshake
//! says nothing of the server. So it is noted whether there was one.

use std::sync::atomic::{AtomicBool, Ordering};

use rustls::NamedGroup;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// The sessions of one client.
#[derive(Debug)]
pub(super) struct Tickets {
    kept: ClientSessionMemoryCache,
    came_with: AtomicBool,
}

impl Tickets {
    /// None yet, and room for so many.
    pub(super) fn new(room: usize) -> Tickets {
        Tickets { kept: ClientSessionMemoryCache::new(room), came_with: AtomicBool::new(false) }
    }

    /// Whether the handshake that was begun since this was last asked came with one.
    pub(super) fn came_with(&self) -> bool {
        self.came_with.swap(false, Ordering::Relaxed)
    }

    fn noted<Session>(&self, session: Option<Session>) -> Option<Session> {
        self.came_with.fetch_or(session.is_some(), Ordering::Relaxed);
        session
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.kept.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.kept.set_tls12_session(server, session);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.noted(self.kept.tls12_session(server))
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.kept.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.kept.insert_tls13_ticket(server, ticket);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.noted(self.kept.take_tls13_ticket(server))
    }
}

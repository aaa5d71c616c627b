//! The options by which a technique speaks TLS, the same for all that do.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::defect::Defect;
use crate::tls::Secured;

/// The part of a command line.
#[derive(Args, Clone, Debug)]
pub struct Securing {
    /// Address of --also at which connections speak TLS, with a certificate that is for tests only
    #[arg(long, value_name = "ADDRESS")]
    pub tls_address: Option<SocketAddr>,
    /// File whose first 32 bytes seal the tickets of TLS sessions, so that each process resumes those of the one before
    /// [default: each makes a key of its own, and none does]
    #[arg(long, value_name = "PATH", requires = "tls_address")]
    pub ticket_key: Option<PathBuf>,
}

impl Securing {
    /// What was asked for, if anything, of a process that serves this version.
    ///
    /// # Errors
    /// What is wrong, for standard error.
    pub fn open(&self, version: u64, defect: Option<Defect>) -> Result<Option<Secured>, String> {
        // The first that is deployed.
        let is_first = version <= 1;
        let secured = |address| Secured::new(address, self.ticket_key.as_deref(), defect, is_first);
        self.tls_address.map(secured).transpose()
    }
}

//! Isolation: each target lives in a world of its own that ends completely, whatever happens to the harness.
//!
//! - tiers A and B: harness → `unbroken-init`, pid 1 of fresh namespaces. When the harness dies, the init sees the end
//!   of its control socket and exits, and with pid 1 the kernel ends the pid namespace. Tier B differs only by a user
//!   namespace that the harness entered before its first thread ([`enter`]).
//! - tier C: harness → `unbroken-guardian` → `unbroken-init`, both subreapers. The guardian sees the end of a liveness
//!   pipe, or of the init, and kills until it has no child left.
//!
//! The roles are this very executable under another `argv[0]`: every `main` begins with [`run_if_asked`].
//! PR_SET_PDEATHSIG is not used: it fires when the spawning *thread* ends and is lost on fork.

mod bystander;
mod canary;
mod channel;
mod clients;
mod enter;
mod guardian;
mod hog;
mod init;
mod launch;
mod message;
mod orphan;
mod probe;
mod role;
mod server;
mod systemd;
mod world;

pub use bystander::Bystander;
pub use canary::{Canary, CanaryError};
pub use channel::ChannelError;
pub use clients::{Clients, ClientsError, Disturbance};
pub use enter::{EnterError, enter};
pub use hog::Hog;
pub use message::{SpawnRequest, Standing, Step};
pub use orphan::{ORPHAN_NAME, Orphan};
pub use probe::{TierProbe, probe, probe_clients, probe_listen_hook, probe_systemd, probe_task_groups};
pub use role::{SYSTEMD, run_if_asked};
pub use world::{Exit, Sandbox, SandboxError, Spawned};

//! What can be wrong between the keys of a target.

use crate::manifest::{Capability, Protocol, did_you_mean};

/// Why a target that reads well cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetProblem {
    /// A list that must not be empty.
    #[error("the list is empty")]
    EmptyList {
        /// What it should hold at least one of.
        of: &'static str,
    },
    /// A command without a program.
    #[error("the command is empty")]
    EmptyCommand,
    /// The same thing twice.
    #[error("`{what}` stands here twice")]
    Twice {
        /// It.
        what: String,
    },
    /// Claimed and disclaimed.
    #[error("`{}` is both claimed and disclaimed", .capability.word())]
    ClaimedAndDisclaimed {
        /// It.
        capability: Capability,
    },
    /// A claim without the key that says how.
    #[error("the capability `{}` is claimed, but the key `{key}` is missing", .capability.word())]
    ClaimWithout {
        /// The claim.
        capability: Capability,
        /// The key that it needs.
        key: &'static str,
    },
    /// A key that only a claim brings to life.
    #[error("the key `{key}` is given, but the capability `{}` is neither claimed nor disclaimed", .capability.word())]
    WithoutClaim {
        /// The key.
        key: &'static str,
        /// The claim that it needs.
        capability: Capability,
    },
    /// Profile restart without its section.
    #[error("the profile `restart` is claimed, but [restart] is missing")]
    NoRestart,
    /// The section without the profile.
    #[error("[restart] is given, but the profile `restart` is not claimed")]
    RestartUnclaimed,
    /// The readiness names an endpoint that does not exist.
    #[error("there is no endpoint `{name}`")]
    NoEndpoint {
        /// It.
        name: String,
        /// The endpoints that exist.
        known: Vec<String>,
    },
    /// Something that only a pidfile can tell.
    #[error("{what} cannot be known without a pidfile")]
    NoPidfile {
        /// What.
        what: &'static str,
    },
    /// The launched process exits, so it cannot be main.
    #[error("the launcher returns, so the launched process cannot be main")]
    LauncherIsNotMain,
    /// A daemon whose launcher stays.
    #[error("the profile `daemon` is claimed, but the launcher does not return")]
    DaemonStays,
    /// A foreground service whose launcher returns.
    #[error("the profile `foreground` is claimed, but the launcher returns")]
    ForegroundReturns,
    /// A number that must not be 0.
    #[error("0 is not possible here")]
    Zero,
    /// A slow request that cannot end in time.
    #[error("the slow request takes {takes_ms} ms, and requests are given up after {request_ms} ms")]
    SlowerThanDeadline {
        /// The request.
        takes_ms: u64,
        /// The deadline.
        request_ms: u64,
    },
    /// A long answer that the kernel's buffers may hold.
    #[error("a stream of {bytes} bytes may be all in the kernel's buffers while its client has read little of it")]
    StreamTooShort {
        /// Its length.
        bytes: u64,
    },
    /// A descriptor that cannot be handed over.
    #[error("this descriptor cannot be handed over at a launch")]
    NoDescriptor {
        /// Those that can.
        possible: std::ops::RangeInclusive<i32>,
    },
    /// A user or group that nobody becomes who drops privileges.
    #[error("to become {id} drops no privilege")]
    NobodyElse {
        /// The user's or the group's number.
        id: u32,
    },
    /// An initialisation that cannot end in time.
    #[error("initialisation takes {takes_ms} ms, and is given up after {limit_ms} ms (`deadlines.{key}`)")]
    SlowerThanStart {
        /// The initialisation.
        takes_ms: u64,
        /// The deadline.
        key: &'static str,
        /// Its length.
        limit_ms: u64,
    },
    /// A key that its endpoint's protocol has no use for.
    #[error("the protocol `{}` of this endpoint has no {what}", .protocol.word())]
    NotSpoken {
        /// The protocol.
        protocol: Protocol,
        /// What the key would say.
        what: &'static str,
    },
    /// Nothing to repeat.
    #[error("an empty content cannot be repeated up to {bytes} bytes")]
    NothingToRepeat {
        /// The wanted size.
        bytes: u64,
    },
}

impl TargetProblem {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            TargetProblem::EmptyList { of } => format!("name at least one {of}"),
            TargetProblem::EmptyCommand => {
                "write the program and its arguments: [\"my-server\", \"--flag\"]".to_owned()
            }
            TargetProblem::Twice { .. } => "remove one of them, or rename it".to_owned(),
            TargetProblem::ClaimedAndDisclaimed { .. } => "remove it from `claims` or from `disclaims`".to_owned(),
            TargetProblem::ClaimWithout { key, .. } => format!("add `{key}`, or remove the claim"),
            TargetProblem::WithoutClaim { capability, .. } => {
                format!("add \"{}\" to `claims`, or remove the key", capability.word())
            }
            TargetProblem::NoRestart => "add [restart] with `steps` and `done`, or remove the profile".to_owned(),
            TargetProblem::RestartUnclaimed => "add \"restart\" to `profiles`, or remove the section".to_owned(),
            TargetProblem::NoEndpoint { name, known } => did_you_mean(name, known.iter().map(String::as_str)),
            TargetProblem::NoPidfile { .. } => "add `pidfile = \"{dir}/my-server.pid\"`".to_owned(),
            TargetProblem::LauncherIsNotMain => "add `main = \"pidfile\"` and `pidfile`".to_owned(),
            TargetProblem::DaemonStays => "set `launch.returns = true`, or claim the profile `foreground`".to_owned(),
            TargetProblem::ForegroundReturns => "remove `launch.returns`, or claim the profile `daemon`".to_owned(),
            TargetProblem::Zero => "write a number from 1 on".to_owned(),
            TargetProblem::SlowerThanDeadline { .. } => {
                "shorten the request, or raise `deadlines.request_ms`".to_owned()
            }
            TargetProblem::StreamTooShort { .. } => "make it 16777216 bytes (16 MiB) or more".to_owned(),
            TargetProblem::NoDescriptor { possible } => {
                format!("use a number from {} to {}", possible.start(), possible.end())
            }
            TargetProblem::NobodyElse { .. } => {
                "write the number of a user and of a group without privileges (`id nobody` shows them)".to_owned()
            }
            TargetProblem::SlowerThanStart { key, .. } => format!("shorten it, or raise `deadlines.{key}`"),
            TargetProblem::NotSpoken { .. } => {
                "remove the key, or set `protocol = \"http1\"` where that is what the endpoint speaks".to_owned()
            }
            TargetProblem::NothingToRepeat { .. } => "write a content, or remove `bytes`".to_owned(),
        }
    }
}

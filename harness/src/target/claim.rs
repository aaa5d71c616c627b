//! What a target claims, checked against what it gives.

use std::collections::BTreeMap;

use super::further::{is_for_datagrams, path_of, speaks_h2, speaks_tls};
use super::validate::Reader;
use super::{Claim, TargetProblem, TextProblem};
use crate::manifest::{Capability, KeyPath, MainProcess, ManifestError, Part, Profile, Stop};

impl Reader<'_> {
    /// Claims and disclaims as one map, each with what it needs.
    pub(super) fn capabilities(&self) -> Result<BTreeMap<Capability, Claim>, ManifestError> {
        let mut capabilities = BTreeMap::new();
        for (n, capability) in self.manifest.claims.iter().enumerate() {
            let at = KeyPath::of("claims").index(n);
            if capabilities.insert(*capability, Claim::Claimed).is_some() {
                return Err(self.twice(at, capability.word()));
            }
            if self.manifest.disclaims.contains_key(capability) {
                let problem = TargetProblem::ClaimedAndDisclaimed { capability: *capability };
                return Err(self.source.error(at, Part::Value, problem));
            }
        }
        for (capability, reason) in &self.manifest.disclaims {
            if reason.trim().is_empty() {
                let at = KeyPath::of("disclaims").key(capability.word());
                return Err(self.source.error(at, Part::Value, TextProblem::Empty));
            }
            capabilities.insert(*capability, Claim::Disclaimed(reason.clone()));
        }
        if self.manifest.profiles.contains(&Profile::Restart) {
            capabilities.entry(Capability::Successor).or_insert(Claim::Claimed);
        }
        self.claims_have_their_keys()?;
        self.keys_have_their_claims(&capabilities)?;
        Ok(capabilities)
    }

    /// The keys that say how a capability is used, present or not.
    fn keys_of_claims(&self) -> [(Capability, &'static str, bool); 18] {
        let watch = self.manifest.restart.as_ref().is_some_and(|restart| restart.watch.is_some());
        [
            (Capability::Pidfile, "pidfile", self.manifest.pidfile.is_some()),
            (Capability::Stall, "stall", self.manifest.stall.is_some()),
            (Capability::Watch, "restart.watch", watch),
            (Capability::NotifyFd, "notify_fd", self.manifest.notify_fd.is_some()),
            (Capability::Log, "log", self.manifest.log.is_some()),
            (Capability::ConfigFile, "config_file", self.manifest.config_file.is_some()),
            (Capability::DrainDeadline, "deadlines.drain_least_ms", self.manifest.deadlines.drain_least_ms.is_some()),
            (Capability::Listeners, "also", !self.manifest.also.is_empty()),
            (Capability::Unix, "also", self.manifest.also.iter().any(|it| path_of(it).is_some())),
            (Capability::Websocket, "endpoints", self.manifest.endpoints.iter().any(|it| it.websocket.is_some())),
            (Capability::H2, "also", self.manifest.also.iter().any(|it| speaks_h2(it))),
            (Capability::Tls, "also", self.manifest.also.iter().any(|it| speaks_tls(it))),
            (Capability::Udp, "also", self.manifest.also.iter().any(|it| is_for_datagrams(it))),
            (Capability::StopCommand, "commands.stop", self.manifest.commands.stop.is_some()),
            (Capability::StatusCommand, "commands.status", self.manifest.commands.status.is_some()),
            (Capability::ConfigTest, "commands.config_test", self.manifest.commands.config_test.is_some()),
            (Capability::Privileges, "privileges", self.manifest.privileges.is_some()),
            (Capability::SlowInit, "slow_init", self.manifest.slow_init.is_some()),
        ]
    }

    fn claims_have_their_keys(&self) -> Result<(), ManifestError> {
        for (capability, key, present) in self.keys_of_claims() {
            // `stop` may be a command already.
            let present =
                present || (capability == Capability::StopCommand && matches!(self.manifest.stop, Stop::Command(_)));
            if let Some(n) = self.manifest.claims.iter().position(|claim| *claim == capability).filter(|_| !present) {
                let problem = TargetProblem::ClaimWithout { capability, key };
                return Err(self.source.error(KeyPath::of("claims").index(n), Part::Value, problem));
            }
        }
        Ok(())
    }

    /// A key that no claim brings to life would silently never be used. A pidfile is used without its claim, too: it
    /// tells which process is main.
    fn keys_have_their_claims(&self, capabilities: &BTreeMap<Capability, Claim>) -> Result<(), ManifestError> {
        for (capability, key, present) in self.keys_of_claims() {
            if present && capability != Capability::Pidfile && !capabilities.contains_key(&capability) {
                let at = key.split('.').fold(KeyPath::root(), KeyPath::key);
                return Err(self.source.error(at, Part::Key, TargetProblem::WithoutClaim { key, capability }));
            }
        }
        Ok(())
    }

    /// Profiles, each with what it needs.
    pub(super) fn profiles(&self) -> Result<Vec<Profile>, ManifestError> {
        let profiles = &self.manifest.profiles;
        if profiles.is_empty() {
            let problem = TargetProblem::EmptyList { of: "profile: `foreground`, `daemon`, `restart`, `activated`" };
            return Err(self.source.error(KeyPath::of("profiles"), Part::Value, problem));
        }
        for (n, profile) in profiles.iter().enumerate() {
            let at = KeyPath::of("profiles").index(n);
            if profiles[..n].contains(profile) {
                return Err(self.twice(at, profile.word()));
            }
            let problem = match profile {
                Profile::Restart if self.manifest.restart.is_none() => TargetProblem::NoRestart,
                Profile::Daemon if !self.manifest.launch.returns => TargetProblem::DaemonStays,
                Profile::Foreground if self.manifest.launch.returns => TargetProblem::ForegroundReturns,
                Profile::Restart | Profile::Daemon | Profile::Foreground | Profile::Activated => continue,
            };
            return Err(self.source.error(at, Part::Value, problem));
        }
        if self.manifest.restart.is_some() && !profiles.contains(&Profile::Restart) {
            return Err(self.source.error(KeyPath::of("restart"), Part::Key, TargetProblem::RestartUnclaimed));
        }
        Ok(profiles.clone())
    }

    /// The main process, which something must tell.
    pub(super) fn main_process(&self) -> Result<MainProcess, ManifestError> {
        match self.manifest.main {
            MainProcess::Pidfile if self.manifest.pidfile.is_none() => {
                Err(self.no_pidfile(KeyPath::of("main"), "the main process"))
            }
            MainProcess::Launched if self.manifest.launch.returns => {
                let at = KeyPath::of("launch").key("returns");
                Err(self.source.error(at, Part::Key, TargetProblem::LauncherIsNotMain))
            }
            MainProcess::Launched | MainProcess::Pidfile => Ok(self.manifest.main.clone()),
        }
    }

    pub(super) fn no_pidfile(&self, at: KeyPath, what: &'static str) -> ManifestError {
        self.source.error(at, Part::Value, TargetProblem::NoPidfile { what })
    }

    pub(super) fn twice(&self, at: KeyPath, what: &str) -> ManifestError {
        self.source.error(at, Part::Value, TargetProblem::Twice { what: what.to_owned() })
    }
}

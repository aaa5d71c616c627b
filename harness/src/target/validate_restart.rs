//! The `[restart]` section, validated: it must be able to happen.

use super::validate::Reader;
use super::{RestartProblem, TargetAwait, TargetRecipient, TargetRestart, TargetRestartStep, TargetWatch, Template};
use crate::manifest::{
    Await, Capability, Done, KeyPath, ManifestError, Part, Protocol, Recipient, Restart, RestartStep, Watch,
};

impl Reader<'_> {
    /// The restart, typed.
    pub(super) fn restart(&self, restart: &Restart) -> Result<TargetRestart, ManifestError> {
        let at = KeyPath::of("restart");
        let steps = restart.steps.iter().enumerate();
        let typed = TargetRestart {
            steps: steps
                .map(|(n, step)| self.step(at.clone().key("steps").index(n), step))
                .collect::<Result<_, _>>()?,
            done: match &restart.done {
                Done::Output(text) => Done::Output(self.filled(at.key("done").key("output"), text)?),
                done => done.clone(),
            },
            watch: restart.watch.as_ref().map(|watch| self.watch(watch)).transpose()?,
        };
        self.is_triggered(restart)?;
        self.version_is_seen(restart)?;
        self.stalled_can_end(restart)?;
        Ok(typed)
    }

    fn watch(&self, watch: &Watch) -> Result<TargetWatch, ManifestError> {
        let at = KeyPath::of("restart").key("watch");
        self.positive(at.clone().key("processes"), u64::from(watch.processes))?;
        let path = self.changeable(at.key("path"), &watch.path)?;
        Ok(TargetWatch { path, kind: watch.kind, processes: watch.processes })
    }

    /// A file that the run changes: its own copy of the program, or one below its directory.
    fn changeable(&self, at: KeyPath, path: &str) -> Result<Template, ManifestError> {
        if path == "{self}" { self.template(at, path) } else { self.writable(at, path) }
    }

    fn step(&self, at: KeyPath, step: &RestartStep) -> Result<TargetRestartStep, ManifestError> {
        Ok(match step {
            RestartStep::Deploy => TargetRestartStep::Deploy,
            RestartStep::Launch => TargetRestartStep::Launch,
            RestartStep::Signal { signal, to } => {
                let at = at.key("signal");
                TargetRestartStep::Signal {
                    signal: self.signal(at.clone().key("signal"), signal)?,
                    to: self.recipient(at.key("to"), to)?,
                }
            }
            RestartStep::Run { command } => {
                TargetRestartStep::Run(self.command(&at.key("run").key("command"), command)?)
            }
            RestartStep::Touch(path) => TargetRestartStep::Touch(self.changeable(at.key("touch"), path)?),
            RestartStep::Replace(path) => TargetRestartStep::Replace(self.changeable(at.key("replace"), path)?),
            RestartStep::Rewrite(path) => TargetRestartStep::Rewrite(self.changeable(at.key("rewrite"), path)?),
            RestartStep::Wait(wait) => TargetRestartStep::Wait(self.wait(at.key("wait"), wait)?),
        })
    }

    fn recipient(&self, at: KeyPath, to: &Recipient) -> Result<TargetRecipient, ManifestError> {
        Ok(match to {
            Recipient::Main => TargetRecipient::Main,
            Recipient::OldMain => TargetRecipient::OldMain,
            Recipient::NewMain if self.manifest.pidfile.is_none() => {
                return Err(self.no_pidfile(at, "the new main process"));
            }
            Recipient::NewMain => TargetRecipient::NewMain,
            Recipient::PidIn(path) => TargetRecipient::PidIn(self.rooted(at.key("pid-in"), path)?),
        })
    }

    fn wait(&self, at: KeyPath, wait: &Await) -> Result<TargetAwait, ManifestError> {
        match wait {
            Await::NewMain if self.manifest.pidfile.is_none() => Err(self.no_pidfile(at, "the new main process")),
            Await::File(path) => Ok(TargetAwait::File(self.rooted(at.key("file"), path)?)),
            Await::FileGone(path) => Ok(TargetAwait::FileGone(self.rooted(at.key("file-gone"), path)?)),
            Await::NewMain | Await::OldMainExit | Await::OldWorkersExit | Await::NewVersion => {
                Ok(TargetAwait::from(wait))
            }
        }
    }

    /// The first step that is not `deploy` acts, or the deploy itself changes the watched file.
    fn is_triggered(&self, restart: &Restart) -> Result<(), ManifestError> {
        let deploys = restart.steps.contains(&RestartStep::Deploy);
        if deploys && restart.watch.as_ref().is_some_and(|watch| self.deploy_changes(&watch.path)) {
            return Ok(());
        }
        let at = KeyPath::of("restart").key("steps");
        match restart.steps.iter().position(|step| *step != RestartStep::Deploy) {
            None => Err(self.source.error(at, Part::Value, RestartProblem::NoTrigger)),
            Some(n) if matches!(restart.steps[n], RestartStep::Wait(_)) => {
                let acts =
                    restart.steps[n..].iter().any(|step| !matches!(step, RestartStep::Deploy | RestartStep::Wait(_)));
                if acts {
                    Err(self.source.error(at.index(n), Part::Value, RestartProblem::WaitsFirst))
                } else {
                    Err(self.source.error(at, Part::Value, RestartProblem::NoTrigger))
                }
            }
            Some(_) => Ok(()),
        }
    }

    /// A deploy renews the copy of the program and every file that depends on the version.
    fn deploy_changes(&self, path: &str) -> bool {
        let versioned = |text: &str| Template(text.to_owned()).is_versioned();
        path == "{self}" || self.manifest.files.iter().any(|file| file.path == path && versioned(&file.content))
    }

    /// Where the new version is waited for, it is deployed, something carries it, and answers show it.
    fn version_is_seen(&self, restart: &Restart) -> Result<(), ManifestError> {
        let at = KeyPath::of("restart");
        let step = restart.steps.iter().position(|step| *step == RestartStep::Wait(Await::NewVersion));
        let at = match (step, &restart.done) {
            (Some(n), _) => at.key("steps").index(n),
            (None, Done::NewVersion) => at.key("done"),
            (None, Done::OldMainExit | Done::Steps | Done::Output(_)) => return Ok(()),
        };
        let first = self.manifest.endpoints.first();
        let problem = if let Some(first) = first.filter(|first| first.protocol == Protocol::Echo) {
            RestartProblem::NoVersionSpoken { protocol: first.protocol }
        } else if first.is_some_and(|first| first.version_header.is_none()) {
            RestartProblem::NoVersionHeader
        } else if !restart.steps.contains(&RestartStep::Deploy) {
            RestartProblem::NothingDeployed
        } else if !self.depends_on_version(restart) {
            RestartProblem::NothingVersioned
        } else {
            return Ok(());
        };
        Err(self.source.error(at, Part::Value, problem))
    }

    fn depends_on_version(&self, restart: &Restart) -> bool {
        let runs = restart.steps.iter().filter_map(|step| match step {
            RestartStep::Run { command } => Some(command),
            _ => None,
        });
        let launch = &self.manifest.launch;
        let texts = launch.command.iter().chain(launch.environment.values()).chain(runs.flatten());
        let files = self.manifest.files.iter().flat_map(|file| [&file.path, &file.content]);
        texts.chain(files).any(|text| {
            let text = Template(text.clone());
            text.is_versioned() || text.names_self()
        })
    }

    /// Stalled workers stand still until after the handoff: an upgrade that waits for their exit never ends.
    fn stalled_can_end(&self, restart: &Restart) -> Result<(), ManifestError> {
        if !self.manifest.claims.contains(&Capability::Stall) {
            return Ok(());
        }
        let at = KeyPath::of("restart");
        let waits = |step: &RestartStep| matches!(step, RestartStep::Wait(Await::OldMainExit | Await::OldWorkersExit));
        let at = match (restart.steps.iter().position(waits), &restart.done) {
            (Some(n), _) => at.key("steps").index(n).key("wait"),
            (None, Done::OldMainExit) => at.key("done"),
            (None, Done::NewVersion | Done::Steps | Done::Output(_)) => return Ok(()),
        };
        Err(self.source.error(at, Part::Value, RestartProblem::StalledForEver))
    }
}

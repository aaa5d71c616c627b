//! The programs that targets have built, once for all runs of a command.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::date;
use crate::event::ExitStatus;
use crate::id::Version;
use crate::kernel::clock::Clock;
use crate::machine::Tier;
use crate::progress::{self, Progress};
use crate::run::deploy::Deployer;
use crate::run::start::environment;
use crate::run::{CommandKey, RunError};
use crate::sandbox::{Sandbox, SpawnRequest};
use crate::target::{Signal, Target, TargetBuild};
use crate::wait::{Look, Stop, WaitError, until};

/// Between two looks at whether it has ended: short beside the fastest build.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A process that has ended is reaped at once; this long only on a machine that swaps.
const REAPER_LIMIT: Duration = Duration::from_secs(10);

/// How many lines of a failed build are shown: compilers say first what matters, linkers last.
const SHOWN_LINES: usize = 20;

/// The programs built so far, in a directory that is removed when this is dropped.
#[derive(Debug)]
pub struct Builds {
    directory: PathBuf,
    /// By what they were made from. Locked while one is built: a build has the machine for itself.
    products: Mutex<BTreeMap<String, PathBuf>>,
}

impl Builds {
    /// None yet; they are built below `directory`.
    #[must_use]
    pub fn below(directory: &Path) -> Builds {
        let own = format!("build-{}-{}", date::now_compact(), std::process::id());
        Builds { directory: directory.join(own), products: Mutex::default() }
    }

    /// The program of this target, built now if it was not before; `None` for one that is not built.
    ///
    /// # Errors
    /// [`RunError::Build`] with what it said when it fails, [`RunError::Command`] when its command cannot be executed,
    /// [`RunError::Interrupted`].
    pub fn product(
        &self,
        target: &Target,
        tier: Tier,
        stop: &Stop,
        progress: progress::Listener<'_>,
    ) -> Result<Option<PathBuf>, RunError> {
        let Some(build) = &target.build else { return Ok(None) };
        let mut products = self.products.lock().unwrap_or_else(PoisonError::into_inner);
        let made_from = format!("{build:?} {:?}", target.files);
        if let Some(product) = products.get(&made_from) {
            return Ok(Some(product.clone()));
        }
        progress(Progress::BuildBegan { target: target.name.clone() });
        let directory = self.directory.join(products.len().to_string());
        fs::create_dir_all(&directory)?;
        // Programs that change their directory must still find theirs.
        let product = make(target, build, &fs::canonicalize(directory)?, tier, stop)?;
        products.insert(made_from, product.clone());
        Ok(Some(product))
    }
}

impl Drop for Builds {
    fn drop(&mut self) {
        // What cannot be removed stays for the user to see; it makes no verdict wrong.
        let _kept = fs::remove_dir_all(&self.directory);
    }
}

/// Builds in a world of its own, which has no network and leaves no process.
fn make(target: &Target, build: &TargetBuild, directory: &Path, tier: Tier, stop: &Stop) -> Result<PathBuf, RunError> {
    let deployer = Deployer::new(target, directory);
    deployer.deploy(target, Version(1))?;
    let with = deployer.placeholders(target, Version(1));
    let argv: Vec<String> = build.command.iter().map(|word| word.fill(&with)).collect();
    let request = SpawnRequest {
        program: argv[0].clone(),
        environment: environment(&build.environment, |value| value.fill(&with)),
        argv,
        directory: Some(directory.to_owned()),
        umask: 0o022,
        ..Default::default()
    };
    let output = directory.join("build.out");
    let written = File::create(&output)?;
    let stdio = [File::open("/dev/null")?.into(), written.try_clone()?.into(), written.into()];
    let sandbox = Sandbox::create(tier, Clock::start())?;
    let exits = sandbox.take_exits();
    let spawned = sandbox
        .spawn(&request, stdio)
        .map_err(|source| RunError::of_launch(CommandKey::Build, &request.argv[0], source))?;
    let ended = until::<_, ()>(build.limit, LOOK_EVERY, stop, || {
        if spawned.pidfd.has_exited() { Look::Yes(()) } else { Look::NotYet }
    });
    let status = exits.recv_timeout(if ended.is_ok() { REAPER_LIMIT } else { Duration::ZERO });
    sandbox.teardown()?;
    let product = PathBuf::from(build.product.fill(&with));
    let reason = match (ended, status.map(|exit| exit.status)) {
        (Err(WaitError::Stopped), _) => return Err(RunError::Interrupted),
        (Err(_), _) => format!("it had not ended after {} ms (`deadlines.build_ms`)", build.limit.as_millis()),
        (Ok(()), Ok(ExitStatus::Code(0))) if product.is_file() => return Ok(product),
        (Ok(()), Ok(ExitStatus::Code(0))) => format!("it left no file {} (`build.product`)", product.display()),
        (Ok(()), Ok(ExitStatus::Code(code))) => format!("it ended with exit status {code}"),
        (Ok(()), Ok(ExitStatus::Signal(signal))) => format!("it was killed by SIG{}", Signal(signal)),
        (Ok(()), Ok(ExitStatus::Unknown) | Err(_)) => "how it ended could not be seen".to_owned(),
    };
    Err(RunError::Build { reason, output: shown(&output) })
}

/// What a build said, or its beginning and its end.
fn shown(output: &Path) -> String {
    let text = fs::read(output).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let half = SHOWN_LINES / 2;
    let some = match lines.len() {
        0 => vec!["(nothing)"],
        few if few <= SHOWN_LINES => lines,
        many => [&lines[..half], &["…"], &lines[many - half..]].concat(),
    };
    some.iter().map(|line| format!("\n    {line}")).collect()
}

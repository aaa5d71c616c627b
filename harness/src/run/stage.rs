//! The stage of a run: sandbox, observers, load and canary, and what is known of the target so far.

use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Phase, Sink, What};
use crate::id::Version;
use crate::kernel::clock::Clock;
use crate::kernel::inet_diag::Diag;
use crate::kernel::nf_tables::AckFilter;
use crate::kernel::pidfd::Pidfd;
use crate::load::{Load, LoadConfig, LoadRecord};
use crate::manifest::Protocol;
use crate::observe::Vantage;
use crate::plan::Plan;
use crate::progress::{self, Progress};
use crate::ready::HalfRequest;
use crate::request::Pattern;
use crate::run::RunError;
use crate::run::census::Main;
use crate::run::daemon::Ties;
use crate::run::deploy::Deployer;
use crate::run::disk::Disk;
use crate::run::hold::Held;
use crate::run::observers::{Observers, OutputWritten, open_diag};
use crate::run::settings;
use crate::run::start::Launched;
use crate::run::systemd::Systemd;
use crate::run::upgrade::Before;
use crate::sandbox::{Canary, Clients, Hog, Sandbox};
use crate::scenario::{Network, Step, Supervisor};
use crate::target::{FurtherAddress, TargetEndpoint};
use crate::wait::Stop;

/// Ids of the canary's requests begin here: far above those of any load.
const CANARY_FIRST_ID: u64 = 1_000_000_000;

/// Everything that lives while a run lives. Dropping it takes it all down.
pub(super) struct Stage<'a> {
    pub(super) plan: &'a Plan,
    pub(super) clock: Clock,
    pub(super) sink: Sink,
    pub(super) stop: Stop,
    pub(super) progress: RefCell<progress::Listener<'a>>,
    pub(super) target_dir: PathBuf,
    pub(super) deployer: Deployer,
    pub(super) version: Version,
    pub(super) upgrades: u32,
    pub(super) last_upgrade: Option<Before>,
    /// The last one that settled has made another process the main one: no keeper, it ends like any other generation.
    pub(super) main_moved: bool,
    pub(super) main: Option<Main>,
    pub(super) launched: Option<Launched>,
    pub(super) ties: Ties,
    /// The directory from which it is to be launched by a relative path.
    pub(super) relative_from: Option<PathBuf>,
    /// The path of its pidfile with which it is to be launched, where that is not the whole path.
    pub(super) relative_pidfile: Option<String>,
    /// How long the last start took that made the target ready.
    pub(super) start_took: Duration,
    /// What the target had written before the last start, or the last trigger.
    pub(super) begun: OutputWritten,
    /// What the next launch gets as its first descriptor after the standard ones.
    pub(super) lent: Option<OwnedFd>,
    pub(super) stalled: Vec<Pidfd>,
    /// The connections by which accepting is stalled.
    pub(super) filling: Vec<HalfRequest>,
    /// What keeps handshakes half-open.
    pub(super) ack_filter: Option<AckFilter>,
    /// The systemd that runs the target, if one does.
    pub(super) systemd: Option<Systemd>,
    /// The file system of its directory, where that is one of its own.
    pub(super) disk: Option<Arc<Disk>>,
    /// What keeps the processors busy.
    pressure: Option<Hog>,
    /// Connections that never end, until the stop.
    pub(super) held: Vec<Held>,
    /// The files of UNIX sockets that were bound when the stop was asked for.
    pub(super) socket_files: Vec<PathBuf>,
    /// The files that hold the lines of numbered requests, read after the stop.
    pub(super) logs: Vec<PathBuf>,
    pub(super) load: Option<Load>,
    /// The patterns that a schedule sends (parked connections have none).
    pub(super) patterns: Vec<Pattern>,
    pub(super) diag: RefCell<Diag>,
    canary: Option<(Load, Canary)>,
    pub(super) observers: Observers,
    /// The side of the target's clients, where that is another one.
    pub(super) clients: Option<Clients>,
    pub(super) sandbox: Sandbox,
}

/// What a stage is set with.
pub(super) struct Setting<'a> {
    pub(super) plan: &'a Plan,
    /// What the target had built.
    pub(super) product: Option<PathBuf>,
    pub(super) clock: Clock,
    pub(super) sink: Sink,
    pub(super) stop: Stop,
    pub(super) progress: progress::Listener<'a>,
    pub(super) run_dir: &'a Path,
    /// What lies under the target's directory, where that is not the file system of `run_dir`.
    pub(super) disk: Option<Arc<Disk>>,
}

impl<'a> Stage<'a> {
    /// Makes the sandbox, deploys version 1 and starts the observers: they watch before the target lives.
    pub(super) fn set(setting: Setting<'a>) -> Result<Stage<'a>, RunError> {
        let Setting { plan, product, clock, sink, stop, progress, run_dir, disk } = setting;
        progress(Progress::Phase(Phase::Sandbox));
        sink.put_at(clock.now(), What::Phase(Phase::Sandbox));
        let target_dir = run_dir.join("target");
        fs::create_dir_all(&target_dir)?;
        let deployer = Deployer::new(&plan.target, &target_dir);
        deployer.deploy(&plan.target, Version(1))?;
        product.map_or(Ok(()), |product| deployer.install(&plan.target, &product))?;
        sink.put_at(clock.now(), What::Deployed { version: Version(1) });
        let sandbox = Sandbox::create(plan.machine.tier, clock)?;
        let netns = sandbox.netns().map(|fd| fd.try_clone_to_owned()).transpose()?.map(Arc::new);
        settings::write(&plan.target.launch.sysctl, sandbox.netns())?;
        let apart = plan.scenario.script().network == Network::Veth;
        let clients = sandbox.netns().filter(|_| apart).map(Clients::join).transpose()?;
        let vantage = Vantage { sink: sink.clone(), clock, stop: Stop::new()?, netns };
        let mut observers = Observers::start(plan, &sandbox, &deployer, vantage)?;
        observers.count_for(clients.as_ref())?;
        let diag = RefCell::new(open_diag(sandbox.netns())?);
        Ok(Stage {
            plan,
            clock,
            sink,
            stop,
            progress: RefCell::new(progress),
            target_dir,
            deployer,
            version: Version(1),
            upgrades: 0,
            last_upgrade: None,
            main_moved: false,
            main: None,
            launched: None,
            ties: Ties::to(plan.scenario.script().launcher),
            relative_from: None,
            relative_pidfile: None,
            start_took: Duration::ZERO,
            begun: OutputWritten::default(),
            lent: None,
            stalled: Vec::new(),
            filling: Vec::new(),
            ack_filter: None,
            systemd: None,
            disk,
            pressure: None,
            held: Vec::new(),
            socket_files: Vec::new(),
            logs: Vec::new(),
            load: None,
            patterns: Vec::new(),
            diag,
            canary: None,
            observers,
            clients,
            sandbox,
        })
    }

    /// Plays the scenario's steps in order; ends early when the target never became ready.
    pub(super) fn play(&mut self) -> Result<(), RunError> {
        self.begin_canary()?;
        let steps = self.plan.scenario.script().steps.clone();
        for (index, step) in steps.iter().enumerate() {
            if self.stop.is_asked() {
                return Err(RunError::Interrupted);
            }
            let text = serde_json::to_string(step).unwrap_or_default();
            self.sink.put_at(self.clock.now(), What::StepBegan { index, step: text });
            self.step(step)?;
            // A unit can be stopped without knowing who it is.
            if starts_for_good(step) && self.main.is_none() && self.systemd.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), RunError> {
        if launches(step) {
            self.phase(match self.plan.scenario.script().supervisor {
                Some(Supervisor::Supervisord | Supervisor::Systemd) => Phase::Supervise,
                Some(Supervisor::Nohup) | None => Phase::Start,
            });
        }
        match step {
            Step::Start => self.start_by_its_means(),
            Step::StartHeld => self.start_held_under_systemd(),
            Step::StartTimedOut | Step::KillOut | Step::EndMain | Step::AskStopped => self.unit_step(step),
            Step::Limits | Step::UnitReload | Step::AwaitWatchdog => self.unit_step(step),
            Step::StartBusy => self.start_busy(),
            Step::StartBlocked => self.start_blocked(),
            Step::Orphan => self.orphan(),
            Step::Suspend => self.suspend(),
            Step::KillMain => self.kill_main(),
            Step::StartHung => self.start_hung(),
            Step::Hup => self.hup(),
            Step::Reload => self.reload(),
            Step::CloseFirst => self.close_first(),
            Step::Rest => self.rest(),
            Step::Rotate => self.rotate(),
            Step::Ask { requests } => self.ask_often(*requests),
            Step::StartAgain => self.start_again(),
            Step::StartUnmasked => self.start_unmasked(),
            Step::StartClosed => self.start_closed(),
            Step::StartAddressed => self.start_addressed(),
            Step::RestartBeside => self.restart_beside(),
            Step::RacingStarts { starts, rounds } => self.racing_starts(*starts, *rounds),
            Step::ObstructedStarts(obstacles) => self.obstructed_starts(obstacles),
            Step::CommandedStops | Step::StatusCommands => self.pidfile_step(step),
            Step::StopSucceeded | Step::RelativeStart => self.pidfile_step(step),
            Step::Hangup => self.hangup(),
            Step::StartsFrom(launchers) => self.starts_from(launchers),
            Step::BusyStartsFrom(launchers) => self.busy_starts_from(launchers),
            Step::StartRelative => self.start_relative(),
            Step::MarkedStarts => self.marked_starts(),
            Step::EarlyStop => {
                self.phase(Phase::Start);
                self.early_stop()
            }
            Step::StaleListenPid => self.stale_listen_pid(),
            Step::Hold { connections } => self.hold(*connections),
            Step::Load(patterns) => self.begin_load(patterns),
            Step::Baseline { ms } => {
                self.phase(Phase::Load);
                let asked = self.stop.pause(Duration::from_millis(*ms));
                if asked { Err(RunError::Interrupted) } else { Ok(()) }
            }
            Step::Prepare { versions } => self.prepare(*versions),
            Step::Initialised => self.await_initialised(),
            Step::Upgrade | Step::UpgradeLogged | Step::UpgradeListeners => self.upgrade_step(step),
            Step::Sequential { .. } | Step::BrokenUpgrade { .. } => self.upgrade_step(step),
            Step::KillInUpgrade { .. } | Step::KillAfterUpgrade { .. } => self.upgrade_step(step),
            Step::SuspendInUpgrade { .. } | Step::UpgradeWithout { .. } => self.upgrade_step(step),
            Step::UpgradeAcross { .. } => self.upgrade_step(step),
            Step::Storm { triggers, within_ms } => self.storm(*triggers, std::time::Duration::from_millis(*within_ms)),
            Step::ConfigTests { tests } => self.config_tests(*tests),
            Step::WatchHeld { ms } => self.watch_held(Duration::from_millis(*ms)),
            Step::WatchDrain { ms } => self.watch_drain(Duration::from_millis(*ms)),
            Step::Settle => self.settle(),
            Step::Change(way) => self.change(*way),
            Step::Stall | Step::Park { .. } | Step::Unstall => self.queue_step(step),
            Step::HalfOpen { .. } | Step::Complete => self.queue_step(step),
            Step::Release => self.release(),
            Step::Quiesce => self.quiesce(),
            Step::Stop => self.stop_by_its_means(),
            Step::Scan => self.scan(),
        }
    }

    /// A step that upgrades, and what happens meanwhile.
    fn upgrade_step(&mut self, step: &Step) -> Result<(), RunError> {
        match step {
            Step::Upgrade => self.upgrade(),
            Step::UpgradeAcross { fault, ms } => self.upgrade_across(*fault, Duration::from_millis(*ms)),
            Step::UpgradeLogged => self.upgrade_logged(),
            Step::UpgradeListeners => self.upgrade_listeners(),
            Step::Sequential { upgrades } => self.sequential(*upgrades),
            Step::BrokenUpgrade { ms, fault } => self.broken_upgrade(*fault, Duration::from_millis(*ms)),
            Step::KillInUpgrade { side, ms } => self.kill_in_upgrade(*side, Duration::from_millis(*ms)),
            Step::KillAfterUpgrade { ms } => self.kill_after_upgrade(Duration::from_millis(*ms)),
            Step::SuspendInUpgrade { side, ms, after_ms } => {
                self.suspend_in_upgrade(*side, Duration::from_millis(*ms), Duration::from_millis(*after_ms))
            }
            Step::UpgradeWithout { resource, ms, after_ms } => {
                self.upgrade_without(*resource, Duration::from_millis(*ms), Duration::from_millis(*after_ms))
            }
            other => unreachable!("`{}` upgrades nothing", other.word()),
        }
    }

    /// A step that fills the queues of the listener, or lets them empty.
    fn queue_step(&mut self, step: &Step) -> Result<(), RunError> {
        match step {
            Step::Stall => self.stall(),
            Step::Park { connections } => self.park(*connections),
            Step::Unstall => {
                self.unstall();
                Ok(())
            }
            Step::HalfOpen { connections } => self.half_open(*connections),
            Step::Complete => self.complete(),
            other => unreachable!("`{}` fills no queue", other.word()),
        }
    }

    /// Starts the target through the scenario's supervisor, or by itself.
    fn start_by_its_means(&mut self) -> Result<(), RunError> {
        match self.plan.scenario.script().supervisor {
            Some(Supervisor::Supervisord) => self.start_supervised(),
            Some(Supervisor::Systemd) => self.start_under_systemd(),
            Some(Supervisor::Nohup) | None => self.start(),
        }
    }

    /// Stops it the same way.
    fn stop_by_its_means(&mut self) -> Result<(), RunError> {
        match self.plan.scenario.script().supervisor {
            Some(Supervisor::Supervisord) => self.stop_supervised(),
            Some(Supervisor::Systemd) => self.stop_under_systemd(),
            Some(Supervisor::Nohup) | None => self.stop_target(),
        }
    }

    /// Tells that a phase began, in the history and to whoever watches.
    pub(super) fn phase(&self, phase: Phase) {
        self.sink.put_at(self.clock.now(), What::Phase(phase));
        (self.progress.borrow_mut())(Progress::Phase(phase));
    }

    /// Puts the files of `version` in place.
    pub(super) fn deploy(&mut self, version: Version) -> Result<(), RunError> {
        self.deployer.deploy(&self.plan.target, version)?;
        self.version = version;
        self.sink.put_at(self.clock.now(), What::Deployed { version });
        Ok(())
    }

    /// Makes what later deploys put in place.
    fn prepare(&self, versions: u32) -> Result<(), RunError> {
        (1..=versions).try_for_each(|nth| Ok(self.deployer.prepare(Version(self.version.0 + nth))?))
    }

    fn begin_load(&mut self, patterns: &[Pattern]) -> Result<(), RunError> {
        self.phase(Phase::Load);
        self.press()?;
        self.ensure_load()?;
        // What the endpoint does not offer is not asked for; the checks that need it say so.
        let endpoint = &self.plan.target.endpoints[0];
        let patterns: Vec<Pattern> = patterns.iter().copied().filter(|it| endpoint.offers(*it)).collect();
        if let Some(load) = &self.load {
            load.begin(&patterns)?;
        }
        self.patterns.extend(&patterns);
        let patterns = patterns.iter().map(|pattern| pattern.word().to_owned()).collect();
        self.sink.put_at(self.clock.now(), What::LoadBegan { patterns });
        Ok(())
    }

    /// Keeps the processors busy, where the scenario says so.
    fn press(&mut self) -> Result<(), RunError> {
        if self.plan.scenario.script().pressed && self.pressure.is_none() {
            let hog = Hog::start().map_err(|error| RunError::Environment(format!("failed to {error}")))?;
            self.pressure = Some(hog);
            self.sink.put_at(self.clock.now(), What::Pressed);
        }
        Ok(())
    }

    /// The canary sings through every run, also through one without load: deadlines pass in those too.
    fn begin_canary(&mut self) -> Result<(), RunError> {
        let canary = Canary::spawn(self.plan.machine.tier)?;
        let endpoint = canary_endpoint(canary.address());
        let canary_load = Load::spawn(LoadConfig {
            endpoint_index: 0,
            endpoint,
            netns: canary.netns().map(|fd| fd.try_clone_to_owned()).transpose()?,
            first_id: CANARY_FIRST_ID,
            ..self.load_config()?
        })?;
        canary_load.begin(&[Pattern::Canary])?;
        self.canary = Some((canary_load, canary));
        Ok(())
    }

    /// The network namespace of whoever plays a client; `None` in tier C.
    pub(super) fn clients_netns(&self) -> Option<BorrowedFd<'_>> {
        self.clients.as_ref().map(Clients::netns).or(self.sandbox.netns())
    }

    /// The load driver in the network namespace of the clients.
    pub(super) fn ensure_load(&mut self) -> Result<(), RunError> {
        if self.load.is_none() {
            self.load = Some(Load::spawn(self.load_config()?)?);
        }
        Ok(())
    }

    /// The first further address of a kind.
    fn further(&self, kind: impl FnMut(FurtherAddress) -> Option<SocketAddr>) -> Result<Option<SocketAddr>, RunError> {
        Ok(self.further_at(self.version)?.into_keys().find_map(kind))
    }

    fn load_config(&self) -> Result<LoadConfig, RunError> {
        Ok(LoadConfig {
            clock: self.clock,
            seed: self.plan.seed,
            endpoint_index: 0,
            endpoint: self.plan.target.endpoints[0].clone(),
            datagrams: self.further(|it| if let FurtherAddress::Datagram(to) = it { Some(to) } else { None })?,
            h2: self.further(|it| if let FurtherAddress::H2(to) = it { Some(to) } else { None })?,
            tls: self.further(|it| if let FurtherAddress::Tls(to) = it { Some(to) } else { None })?,
            request_deadline: self.plan.target.deadlines.request,
            netns: self.clients_netns().map(|fd| fd.try_clone_to_owned()).transpose()?,
            first_id: 1,
        })
    }

    fn quiesce(&mut self) -> Result<(), RunError> {
        if let Some(load) = &self.load {
            load.quiesce()?;
            self.sink.put_at(self.clock.now(), What::LoadStopped);
        }
        self.pressure = None;
        Ok(())
    }

    /// Ends load and canary, and gives their records; the target's own account first.
    pub(super) fn end_load(&mut self) -> Result<(LoadRecord, LoadRecord), RunError> {
        let end = |load: Option<Load>| -> Result<LoadRecord, RunError> {
            let Some(load) = load else { return Ok(LoadRecord::default()) };
            load.quiesce()?;
            Ok(load.finish()?)
        };
        let record = end(self.load.take())?;
        // The process outlives its load, or its last requests would be lost.
        let (canary_load, process) = self.canary.take().unzip();
        let canary = end(canary_load)?;
        drop(process);
        Ok((record, canary))
    }

    /// Takes everything down, in order: a last look of the observers, then the target and its world.
    pub(super) fn strike(self) -> Result<(), RunError> {
        let Stage { load, canary, observers, sandbox, .. } = self;
        drop((load, canary));
        observers.finish();
        Ok(sandbox.teardown()?)
    }
}

/// Steps after which it serves; where it does not, nothing can follow.
fn starts_for_good(step: &Step) -> bool {
    matches!(
        step,
        Step::Start
            | Step::StartHeld
            | Step::StartUnmasked
            | Step::StartClosed
            | Step::StartAddressed
            | Step::StartRelative
            | Step::RestartBeside
    )
}

/// Steps with which the phase of starting begins.
fn launches(step: &Step) -> bool {
    let tries = matches!(
        step,
        Step::RelativeStart
            | Step::StartBusy
            | Step::StartBlocked
            | Step::StartHung
            | Step::ObstructedStarts(_)
            | Step::RacingStarts { .. }
    );
    tries || starts_for_good(step)
}

fn canary_endpoint(address: std::net::SocketAddr) -> TargetEndpoint {
    TargetEndpoint {
        name: "canary".to_owned(),
        address,
        protocol: Protocol::Http1,
        path: "/".to_owned(),
        slow: None,
        stream: None,
        upload: None,
        websocket: None,
        backlog: None,
        version_header: None,
        echo_header: Some("X-Request-Id".to_owned()),
    }
}

//! The observers of a run, and the small bridges from sandbox and kernel to what they look through.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::event::ExitStatus;
use crate::id::{Pid, Version};
use crate::kernel::inet_diag::Diag;
use crate::kernel::namespace::enter_netns;
use crate::kernel::notify::NotifySocket;
use crate::kernel::seccomp::{Held, ListenHook, SeccompError};
use crate::manifest::Capability;
use crate::observe::{
    Adversary, Concern, Counted, CounterReader, Endpoints, Exit, ExitObserver, ExitWatch, Handle, HeldCall, HeldCalls,
    HeldSocket, ListenHookObserver, ListenerInodes, ListenerObserver, NewlineObserver, Notified, NotifyObserver,
    OutputObserver, PidfileObserver, ProcessObserver, ProcessRow, ProcessView, StartupCalls, Vantage, Waiter,
};
use crate::plan::Plan;
use crate::process::Procfs;
use crate::run::RunError;
use crate::run::deploy::Deployer;
use crate::sandbox::{Clients, Sandbox};
use crate::scenario::NotifyAddress;
use crate::target::Claim;
use crate::wait::Stop;

/// How processes ended, as their reaper told.
type Statuses = Arc<Mutex<BTreeMap<Pid, ExitStatus>>>;

/// The streams of the target that are kept.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// How many bytes the target had written to each of its streams.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OutputWritten([u64; 2]);

/// The running observers of one run.
pub(super) struct Observers {
    vantage: Vantage,
    endpoints: Endpoints,
    exits: ExitWatch,
    statuses: Statuses,
    counters: CounterReader,
    /// Of the network namespace of its clients, where that is another one.
    client_counters: Option<CounterReader>,
    handles: Vec<Handle>,
    output: PathBuf,
    /// The files that output was written to, whatever was launched.
    files: BTreeSet<PathBuf>,
    /// Where the target is to notify, and what it has.
    supervisor: Option<(Supervisor, Notified)>,
}

impl Observers {
    /// Starts all observers that need no target yet: they watch before it lives. Their stop is their own: they look on
    /// while an interrupted run is taken down.
    pub(super) fn start(
        plan: &Plan,
        sandbox: &Sandbox,
        deployer: &Deployer,
        vantage: Vantage,
    ) -> Result<Observers, RunError> {
        let addresses = plan.target.endpoints.iter().map(|endpoint| endpoint.address).collect();
        let endpoints = Endpoints::new(addresses);
        let inodes = ListenerInodes::default();
        let mut handles = Vec::new();
        let exits = sandbox.take_exits();
        let statuses = Statuses::default();
        let told = Arc::clone(&statuses);
        let reaper = move || {
            let exit = exits.try_recv().ok()?;
            told.lock().unwrap_or_else(PoisonError::into_inner).insert(exit.pid, exit.status);
            Some(Exit { pid: exit.pid, status: exit.status, at: exit.at })
        };
        let (exits, handle) = ExitObserver::spawn(reaper, vantage.clone())?;
        handles.push(handle);
        handles.push(ListenerObserver::spawn(endpoints.clone(), inodes.clone(), vantage.clone())?);
        let view = TargetProcesses(Arc::clone(sandbox.procfs()));
        handles.push(ProcessObserver::spawn(view, inodes, vantage.clone())?);
        let (counters, handle) = CounterReader::spawn(Counted::OfTarget, vantage.clone())?;
        handles.push(handle);
        if let Some(pidfile) = &plan.target.pidfile {
            let path = PathBuf::from(pidfile.fill(&deployer.placeholders(&plan.target, Version(1))));
            let (_reader, handle) = PidfileObserver::spawn(path, vantage.clone())?;
            handles.push(handle);
        }
        let mut supervisor = None;
        let claimed = plan.target.capabilities.get(&Capability::Notify) == Some(&Claim::Claimed);
        match plan.scenario.script().notify.filter(|form| *form != NotifyAddress::IfClaimed || claimed) {
            None => {}
            Some(NotifyAddress::Fd) => supervisor = Some((Supervisor::Descriptor, Notified::default())),
            Some(form) => {
                let socket = open_notify(form, sandbox)?;
                let address = Supervisor::Socket(socket.address().to_owned());
                let (notified, handle) = NotifyObserver::spawn(socket, vantage.clone())?;
                handles.push(handle);
                supervisor = Some((address, notified));
            }
        }
        let output = deployer.directory().to_owned();
        let files = BTreeSet::new();
        let client_counters = None;
        Ok(Observers {
            vantage,
            endpoints,
            exits,
            statuses,
            counters,
            client_counters,
            handles,
            output,
            files,
            supervisor,
        })
    }

    /// Counts what happens on the side of the clients, too.
    pub(super) fn count_for(&mut self, clients: Option<&Clients>) -> Result<(), RunError> {
        let Some(clients) = clients else { return Ok(()) };
        let netns = Some(Arc::new(clients.netns().try_clone_to_owned()?));
        let vantage = Vantage { netns, ..self.vantage.clone() };
        let (counters, handle) = CounterReader::spawn(Counted::OfClients, vantage)?;
        self.client_counters = Some(counters);
        self.handles.push(handle);
        Ok(())
    }

    /// Standard input, output and error of a launched process: nothing, and two observed pipes, of which the read ends
    /// are given too. `prefix` goes before the names of the streams.
    pub(super) fn stdio(&mut self, prefix: &str) -> Result<([OwnedFd; 3], Vec<OwnedFd>), RunError> {
        let input = OwnedFd::from(File::open("/dev/null")?);
        let mut readers = Vec::new();
        let mut observed = |stream: &str| -> Result<OwnedFd, RunError> {
            let (reader, writer) =
                rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from)?;
            let stream = format!("{prefix}{stream}");
            let file = self.output.join(format!("{stream}.log"));
            readers.push(reader.try_clone()?);
            self.files.insert(file.clone());
            self.handles.push(OutputObserver::spawn(&stream, reader, file, self.vantage.clone())?);
            Ok(writer)
        };
        let stdio = [input, observed("stdout")?, observed("stderr")?];
        Ok((stdio, readers))
    }

    /// Observes the listen(2) calls of a launched process and its descendants.
    pub(super) fn hook_listen(&mut self, calls: HookedCalls) -> Result<(), RunError> {
        self.handles.push(ListenHookObserver::spawn(calls, self.endpoints.clone(), self.vantage.clone())?);
        Ok(())
    }

    /// The same, until what is given is dropped.
    pub(super) fn hook_listen_meanwhile(&self, calls: HookedCalls) -> Result<ListenWatch, RunError> {
        let stop = Stop::new()?;
        let vantage = Vantage { stop: stop.clone(), ..self.vantage.clone() };
        let handle = ListenHookObserver::spawn(calls, self.endpoints.clone(), vantage)?;
        Ok(ListenWatch { stop, handle: Some(handle) })
    }

    /// Holds the end of a daemon's start.
    pub(super) fn hold_startup(
        &mut self,
        calls: HookedCalls,
        launcher: Waiter,
        pidfile: Option<PathBuf>,
    ) -> Result<(), RunError> {
        let about = (self.endpoints.clone(), pidfile);
        self.handles.push(Adversary::spawn(calls, launcher, about, self.vantage.clone())?);
        Ok(())
    }

    /// The addresses that the target is to serve.
    pub(super) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// What NOTIFY_SOCKET is to say, where the scenario has a supervisor with a socket.
    pub(super) fn notify_socket(&self) -> Option<&str> {
        match &self.supervisor {
            Some((Supervisor::Socket(address), _)) => Some(address),
            _ => None,
        }
    }

    /// The descriptor that is to be handed over, where the scenario has a supervisor that waits for a newline.
    pub(super) fn notify_fd(&mut self) -> Result<Option<OwnedFd>, RunError> {
        let Some((Supervisor::Descriptor, notified)) = &self.supervisor else { return Ok(None) };
        let (socket, writer) = NotifySocket::pair()?;
        self.handles.push(NewlineObserver::spawn(socket, notified.clone(), self.vantage.clone())?);
        Ok(Some(writer))
    }

    /// What the target has told its supervisor.
    pub(super) fn notified(&self) -> Option<Notified> {
        self.supervisor.as_ref().map(|(_, notified)| notified.clone())
    }

    /// Watches the end of a process that the init does not reap.
    pub(super) fn watch_exit(&self, pid: Pid, pidfd: OwnedFd) -> Result<(), RunError> {
        Ok(self.exits.watch(pid, pidfd)?)
    }

    /// How a process ended, once its reaper has told.
    pub(super) fn exit_status(&self, pid: Pid) -> Option<ExitStatus> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).get(&pid).copied()
    }

    /// Reads the counters of the target's network namespace now, and those of its clients' where that is another one.
    pub(super) fn read_counters(&self, moment: &str) -> Result<(), RunError> {
        self.counters.read(moment)?;
        self.client_counters.as_ref().map_or(Ok(()), |it| it.read(moment).map(drop))?;
        Ok(())
    }

    /// How much the target has written so far.
    pub(super) fn output_written(&self) -> OutputWritten {
        OutputWritten(STREAMS.map(|stream| self.log_of(stream).metadata().map_or(0, |it| it.len())))
    }

    /// Whether the target has written this to standard output or error since then.
    pub(super) fn output_contains(&self, text: &str, since: OutputWritten) -> bool {
        self.new_output(since).any(|new| new.contains(text))
    }

    /// What it has written since then, to standard output first.
    pub(super) fn output_since(&self, since: OutputWritten) -> String {
        self.new_output(since).collect()
    }

    fn new_output(&self, since: OutputWritten) -> impl Iterator<Item = String> {
        STREAMS.into_iter().zip(since.0).map(|(stream, from)| {
            let mut new = Vec::new();
            // One that is not there yet holds nothing.
            let _length = File::open(self.log_of(stream)).and_then(|mut log| {
                log.seek(SeekFrom::Start(from))?;
                log.read_to_end(&mut new)
            });
            String::from_utf8_lossy(&new).into_owned()
        })
    }

    /// The files that output was written to, whatever was launched.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().cloned()
    }

    fn log_of(&self, stream: &str) -> PathBuf {
        self.output.join(format!("{stream}.log"))
    }

    /// Ends all of them after a last look. Faults are in the history already.
    pub(super) fn finish(self) {
        self.vantage.stop.ask();
        drop((self.exits, self.counters, self.client_counters));
        for handle in self.handles {
            let _told = handle.finish();
        }
    }
}

/// inet_diag in the sandbox's network: a netlink socket stays in the namespace in which it was made.
pub(super) fn open_diag(netns: Option<BorrowedFd<'_>>) -> Result<Diag, RunError> {
    let opened = thread::scope(|scope| {
        let open = || -> Result<Diag, RunError> {
            if let Some(netns) = netns {
                enter_netns(netns).map_err(|error| RunError::Environment(format!("failed to {error}")))?;
            }
            Ok(Diag::open()?)
        };
        scope.spawn(open).join()
    });
    opened.unwrap_or_else(|_| Err(RunError::Environment("failed to open inet_diag: its thread panicked".to_owned())))
}

/// Where a target tells its supervisor something.
enum Supervisor {
    /// This address.
    Socket(String),
    /// A descriptor.
    Descriptor,
}

/// A supervisor's socket. Abstract names belong to a network namespace: this one to the target's.
fn open_notify(form: NotifyAddress, sandbox: &Sandbox) -> Result<NotifySocket, RunError> {
    let failed = |why: String| RunError::Environment(format!("failed to make a notification socket: {why}"));
    if form != NotifyAddress::Abstract {
        let path = sandbox.own_directory()?.join("notify");
        return NotifySocket::with_path(&path).map_err(|error| failed(format!("{}: {error}", path.display())));
    }
    let opened = thread::scope(|scope| {
        let open = || {
            if let Some(netns) = sandbox.netns() {
                enter_netns(netns).map_err(|error| error.to_string())?;
            }
            NotifySocket::with_abstract_name().map_err(|error| error.to_string())
        };
        scope.spawn(open).join()
    });
    opened.unwrap_or_else(|_| Err("its thread panicked".to_owned())).map_err(failed)
}

struct TargetProcesses(Arc<Procfs>);

impl ProcessView for TargetProcesses {
    fn scan(&mut self) -> io::Result<Vec<ProcessRow>> {
        let stats = self.0.scan().map_err(io::Error::other)?;
        let row = |stat: crate::process::Stat| ProcessRow {
            image: stat.image,
            ppid: stat.ppid,
            session: stat.session,
            tty: stat.tty,
            dead: stat.is_dead(),
            name: stat.name,
        };
        Ok(stats.into_iter().map(row).collect())
    }

    fn waits(&mut self, pid: Pid) -> BTreeMap<Pid, Duration> {
        self.0.waits(pid).unwrap_or_default()
    }

    fn executable(&mut self, pid: Pid) -> String {
        self.0.executable(pid).ok().flatten().unwrap_or_default()
    }

    fn sockets(&mut self, pid: Pid) -> Vec<u64> {
        self.0.fds_of(pid).unwrap_or_default()
    }
}

/// An observer of listen(2) calls that ends with this.
#[derive(Debug)]
pub(super) struct ListenWatch {
    stop: Stop,
    handle: Option<Handle>,
}

impl Drop for ListenWatch {
    fn drop(&mut self) {
        self.stop.ask();
        // Its faults are in the history already.
        let _told = self.handle.take().map(Handle::finish);
    }
}

/// The seccomp hook as the observer sees it: one call at a time.
#[derive(Debug)]
pub(super) struct HookedCalls {
    hook: ListenHook,
    held: Option<Held>,
}

/// A caller that has left its call is no error.
fn unless_gone<T>(result: Result<T, SeccompError>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(SeccompError::Gone) => Ok(None),
        Err(error) => Err(io::Error::other(error)),
    }
}

impl HeldCalls for HookedCalls {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hook.as_fd()
    }

    fn receive(&mut self) -> io::Result<Option<HeldCall>> {
        let Some(held) = unless_gone(self.hook.receive())?.flatten() else { return Ok(None) };
        self.held = Some(held);
        // Whoever called, the call has to be answered: an unknown caller is told as pid 0.
        let pid = unless_gone(self.hook.caller(&held))?.map_or(Pid(0), |caller| caller.inner);
        Ok(Some(HeldCall { id: held.id, pid }))
    }

    fn socket(&mut self, call: &HeldCall) -> io::Result<Option<HeldSocket>> {
        let Some(held) = self.held.filter(|held| held.id == call.id) else { return Ok(None) };
        let Some(caller) = unless_gone(self.hook.caller(&held))? else { return Ok(None) };
        let Some(socket) = unless_gone(self.hook.socket(&held, caller))? else { return Ok(None) };
        let Some(address) = unless_gone(socket.address())?.flatten() else { return Ok(None) };
        let facts = || -> Result<HeldSocket, SeccompError> {
            Ok(HeldSocket {
                cookie: socket.cookie()?,
                address,
                reuseport: socket.reuseport()?,
                already_listening: socket.listening()?,
            })
        };
        unless_gone(facts())
    }

    fn answer_continue(&mut self, call: &HeldCall) -> io::Result<()> {
        self.held = None;
        unless_gone(self.hook.answer_continue(call.id)).map(|_answered| ())
    }
}

impl HookedCalls {
    /// Of the descriptor that the launch gave.
    pub(super) fn new(hook: OwnedFd) -> HookedCalls {
        HookedCalls { hook: ListenHook::from(hook), held: None }
    }

    /// Who stands in a held call, and what the call is about.
    fn look(&self, held: &Held) -> Result<(Pid, Option<Concern>), SeccompError> {
        let caller = self.hook.caller(held)?;
        if held.number != libc::SYS_listen {
            let named = self.hook.written_file(held)?.map(Concern::File);
            let filled = self.hook.filled_file(held)?.map(Concern::Content);
            return Ok((caller.inner, named.or(filled)));
        }
        // What is no socket fails by itself, and needs no holding.
        let address = self.hook.socket(held, caller).and_then(|socket| socket.address()).unwrap_or(None);
        Ok((caller.inner, address.map(Concern::Listen)))
    }
}

impl StartupCalls for HookedCalls {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hook.as_fd()
    }

    fn receive(&mut self) -> io::Result<Option<(HeldCall, Option<Concern>)>> {
        let Some(held) = unless_gone(self.hook.receive())?.flatten() else { return Ok(None) };
        let looked = self.look(&held);
        if matches!(looked, Err(ref error) if !matches!(error, SeccompError::Gone)) {
            // Nobody may stay held because we could not look.
            unless_gone(self.hook.answer_continue(held.id))?;
        }
        Ok(unless_gone(looked)?.map(|(pid, concern)| (HeldCall { id: held.id, pid }, concern)))
    }

    fn answer_continue(&mut self, id: u64) -> io::Result<()> {
        unless_gone(self.hook.answer_continue(id)).map(|_answered| ())
    }
}

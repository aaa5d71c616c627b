//! Hand-written histories for unit tests of checks: times in milliseconds since the run began.

pub(crate) mod daemon;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::{Interval, Nanos};
use crate::event::{AtRest, Broken, Event, ExitStatus, Listener, PidfileChange, What};
use crate::history::History;
use crate::id::{Cookie, Image, Pid, UpgradeId, Version};
use crate::machine::{Machine, Tier};
use crate::manifest::{Done, MainProcess, Profile, Protocol, Role, WatchKind};
use crate::plan::Plan;
use crate::request::{Ending, FailureClass, LoadAccount, Pattern, Request, SocketEvidence};
use crate::scenario::{Network, Scenario, Script as Written, Step, Supervisor};
use crate::target::{
    Target, TargetDeadlines, TargetEndpoint, TargetLaunch, TargetPrivileges, TargetReady, TargetRestart,
    TargetRestartStep, TargetSlowInit, TargetStop, TargetWatch, Template,
};

fn ms(instant: u64) -> Nanos {
    Nanos(instant * 1_000_000)
}

pub(crate) fn image(pid: i32) -> Image {
    Image { pid: Pid(pid), start_ticks: 1, start_stack: 1 }
}

/// A fresh request that was answered by this version.
pub(crate) fn answered(began: u64, ended: u64, version: u32) -> Request {
    request(
        began,
        ended,
        Ending::Answered { status: Some(200), version: Some(Version(version)), close_announced: true },
    )
}

/// A fresh request that failed.
pub(crate) fn failed(began: u64, ended: u64, class: FailureClass) -> Request {
    let evidence = SocketEvidence { signal: "EOF".to_owned(), state: String::new(), request_bytes_acked: 0 };
    request(began, ended, Ending::Failed { class, evidence })
}

fn request(began: u64, ended: u64, ending: Ending) -> Request {
    Request {
        id: 0,
        pattern: Pattern::Fresh,
        endpoint: 0,
        connection: 0,
        local_port: 1,
        nth_on_connection: 0,
        intended: ms(began),
        began: ms(began),
        connected: Some(ms(began)),
        sent: Some(ms(began)),
        first_byte: None,
        ended: ms(ended),
        bytes_sent: 40,
        bytes_received: 0,
        retransmits: 0,
        tls: None,
        ending,
    }
}

impl Request {
    /// The same of another pattern.
    pub(crate) fn of(mut self, pattern: Pattern) -> Request {
        self.pattern = pattern;
        self
    }

    /// The same, ended by this errno.
    pub(crate) fn by(mut self, errno: &str) -> Request {
        if let Ending::Failed { evidence, .. } = &mut self.ending {
            errno.clone_into(&mut evidence.signal);
        }
        self
    }

    /// The same with its last byte sent then.
    pub(crate) fn sent_at(mut self, at: u64) -> Request {
        self.sent = Some(ms(at));
        self
    }

    /// The same with the end of its handshake then, and this many retransmits.
    pub(crate) fn connected_at(mut self, at: u64, retransmits: u32) -> Request {
        self.connected = Some(ms(at));
        self.retransmits = retransmits;
        self
    }

    /// The same on a connection that had answered before.
    pub(crate) fn reused(mut self) -> Request {
        self.nth_on_connection = 3;
        self
    }

    /// The same as the request with this number, from 0, of a connection or flow.
    pub(crate) fn on(mut self, connection: u64, nth: u32) -> Request {
        (self.connection, self.nth_on_connection) = (connection, nth);
        self
    }
}

/// Builds a history of a watching target with one endpoint, in tier A.
pub(crate) struct Script {
    events: Vec<Event>,
    requests: Vec<Request>,
    steps: Vec<Step>,
    supervisor: Option<Supervisor>,
    network: Network,
}

impl Script {
    pub(crate) fn new() -> Script {
        let network = Network::Loopback;
        Script { events: Vec::new(), requests: Vec::new(), steps: Vec::new(), supervisor: None, network }
    }

    pub(crate) fn event(mut self, at: u64, what: What) -> Script {
        self.events.push(Event { seq: 0, at: Interval::at(ms(at)), what });
        self
    }

    /// The scenario has the target run by this one.
    pub(crate) fn under(mut self, supervisor: Supervisor) -> Script {
        self.supervisor = Some(supervisor);
        self
    }

    /// The scenario has the target's clients in a network namespace of their own.
    pub(crate) fn beyond_veth(mut self) -> Script {
        self.network = Network::Veth;
        self
    }

    /// The scenario loads these patterns.
    pub(crate) fn loading(mut self, patterns: &[Pattern]) -> Script {
        self.steps.push(Step::Load(patterns.to_vec()));
        self
    }

    /// Something that happened between two instants.
    pub(crate) fn spanning(mut self, not_before: u64, not_after: u64, what: What) -> Script {
        self.events.push(Event { seq: 0, at: Interval::new(ms(not_before), ms(not_after)), what });
        self
    }

    pub(crate) fn request(mut self, mut request: Request) -> Script {
        request.id = self.requests.len() as u64 + 1;
        // Each has one of its own, unless it was put on one.
        if request.connection == 0 {
            request.connection = request.id;
        }
        self.requests.push(request);
        self
    }

    pub(crate) fn trigger(self, at: u64, upgrade: u32, version: u32) -> Script {
        let what =
            What::Triggered { upgrade: UpgradeId(upgrade), version: Version(version), action: "signal HUP".to_owned() };
        self.event(at, what)
    }

    pub(crate) fn settled(self, at: u64, upgrade: u32) -> Script {
        self.event(at, What::UpgradeSettled { upgrade: UpgradeId(upgrade) })
    }

    pub(crate) fn broken(self, at: u64, upgrade: u32) -> Script {
        self.broken_by(at, upgrade, Broken::Exits)
    }

    pub(crate) fn broken_by(self, at: u64, upgrade: u32, fault: Broken) -> Script {
        let action = "signal HUP".to_owned();
        self.event(at, What::BrokenTriggered { upgrade: UpgradeId(upgrade), action, fault })
    }

    pub(crate) fn broken_ran(self, at: u64, upgrade: u32) -> Script {
        self.event(at, What::BrokenRan { upgrade: UpgradeId(upgrade) })
    }

    /// At rest after an upgrade: these on the listener, the main process among them, each with its number of descriptors.
    pub(crate) fn at_rest(self, at: u64, upgrade: u32, serving: &[(i32, usize)], zombies: &[i32]) -> Script {
        let row = |(pid, descriptors): &(i32, usize)| AtRest {
            image: image(*pid),
            descriptors: *descriptors,
            holds_listener: true,
            words: Some(100),
            strays: false,
        };
        let processes = serving.iter().map(row).collect();
        let zombies = zombies.iter().map(|pid| image(*pid)).collect();
        self.event(at, What::Quiescent { upgrade: UpgradeId(upgrade), processes, zombies })
    }

    pub(crate) fn main(self, at: u64, pid: i32) -> Script {
        self.event(at, What::Main { image: image(pid) })
    }

    /// The target told its supervisor something.
    pub(crate) fn notified(self, at: u64, pid: Option<i32>, fields: &[&str]) -> Script {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        self.event(at, What::Notified { pid: pid.map(Pid), fields })
    }

    /// A process was first seen, as the child of another one.
    pub(crate) fn appeared(self, at: u64, pid: i32, ppid: i32) -> Script {
        let change = crate::event::ProcessChange::Appeared {
            ppid: Pid(ppid),
            session: Pid(pid),
            tty: 0,
            name: "server".to_owned(),
            executable: "/server".to_owned(),
        };
        self.event(at, What::Process { image: image(pid), change })
    }

    pub(crate) fn exited(self, at: u64, pid: i32) -> Script {
        self.event(at, What::Exited { pid: Pid(pid), status: ExitStatus::Code(0) })
    }

    pub(crate) fn pidfile(self, at: u64, change: PidfileChange, content: Option<&str>) -> Script {
        self.event(at, What::Pidfile { change, inode: Some(1), content: content.map(str::to_owned) })
    }

    pub(crate) fn listeners(self, at: u64, cookies: &[u64]) -> Script {
        self.event(at, What::Listeners { rows: rows(cookies) })
    }

    pub(crate) fn listen_call(self, at: u64, cookie: u64, others: &[u64]) -> Script {
        let what = What::ListenCall {
            pid: Pid(7),
            cookie: Cookie(cookie),
            address: "127.0.0.1:10086".to_owned(),
            reuseport: true,
            already_listening: false,
            rows: rows(others),
        };
        self.event(at, what)
    }

    pub(crate) fn holders(self, at: u64, pids: &[i32]) -> Script {
        self.event(at, What::Holders { inode: 1, images: pids.iter().map(|pid| image(*pid)).collect() })
    }

    pub(crate) fn file_changed(self, at: u64, upgrade: u32, how: &str) -> Script {
        let what = What::FileChanged { upgrade: UpgradeId(upgrade), how: how.to_owned(), path: "/watched".to_owned() };
        self.event(at, what)
    }

    pub(crate) fn counter(self, moment: &str, name: &str, value: u64) -> Script {
        let values = BTreeMap::from([(name.to_owned(), value)]);
        self.event(1, What::Counters { moment: moment.to_owned(), values })
    }

    pub(crate) fn history(mut self) -> History {
        for (seq, event) in self.events.iter_mut().enumerate() {
            event.seq = seq as u64;
        }
        let count = self.requests.iter().filter(|it| it.pattern != Pattern::Canary).count() as u64;
        History {
            began: String::new(),
            plan: plan(self.steps, self.supervisor, self.network),
            events: self.events,
            requests: self.requests,
            account: LoadAccount { scheduled: count, ended: count, ..LoadAccount::default() },
            lost_events: 0,
            faults: Vec::new(),
        }
    }
}

fn rows(cookies: &[u64]) -> Vec<Listener> {
    let row = |cookie: &u64| Listener {
        cookie: Cookie(*cookie),
        address: "127.0.0.1:10086".to_owned(),
        inode: *cookie,
        queued: 0,
        backlog: 128,
    };
    cookies.iter().map(row).collect()
}

fn plan(steps: Vec<Step>, supervisor: Option<Supervisor>, network: Network) -> Plan {
    let machine = Machine {
        tier: Tier::A,
        tier_reason: String::new(),
        kernel: "6.1".to_owned(),
        processors: 2,
        uid: 0,
        listen_hook: true,
        no_systemd: None,
        no_task_groups: None,
        no_clients: None,
        programs: BTreeMap::new(),
    };
    let scenario = Scenario(Written {
        name: "restart/written".to_owned(),
        about: "hand-written".to_owned(),
        profile: Profile::Restart,
        needs: Vec::new(),
        core: true,
        listen_hook: true,
        adversary: false,
        launcher: crate::scenario::Launcher::Clean,
        notify: None,
        supervisor,
        unit: Vec::new(),
        socket: false,
        pressed: false,
        network,
        requires: Vec::new(),
        checks: Vec::new(),
        steps,
    });
    Plan { target: target(), scenario, machine, seed: 1 }
}

fn target() -> Target {
    let template = |text: &str| Template(text.to_owned());
    let second = Duration::from_secs(1);
    Target {
        name: "written".to_owned(),
        about: "hand-written".to_owned(),
        role: Role::Peer,
        profiles: vec![Profile::Restart],
        capabilities: BTreeMap::from([
            (crate::manifest::Capability::Pidfile, crate::target::Claim::Claimed),
            (crate::manifest::Capability::Stall, crate::target::Claim::Claimed),
            (crate::manifest::Capability::Watch, crate::target::Claim::Claimed),
            (crate::manifest::Capability::ExecSelf, crate::target::Claim::Claimed),
            (crate::manifest::Capability::Log, crate::target::Claim::Claimed),
            (crate::manifest::Capability::Privileges, crate::target::Claim::Claimed),
            (crate::manifest::Capability::SlowInit, crate::target::Claim::Claimed),
        ]),
        requires: Vec::new(),
        launch: TargetLaunch {
            command: vec![template("server")],
            environment: BTreeMap::new(),
            sysctl: BTreeMap::new(),
            directory: None,
            umask: 0o22,
            returns: false,
        },
        build: None,
        files: Vec::new(),
        endpoints: vec![TargetEndpoint {
            name: "http".to_owned(),
            address: "127.0.0.1:10086".parse().expect("a literal address"),
            protocol: Protocol::Http1,
            path: "/".to_owned(),
            slow: None,
            stream: None,
            upload: None,
            websocket: None,
            backlog: None,
            version_header: Some("X-Version".to_owned()),
            echo_header: None,
        }],
        also: Vec::new(),
        ready: TargetReady::Answers(0),
        main: MainProcess::Launched,
        pidfile: Some(template("{dir}/pid")),
        log: Some(crate::target::TargetLog { path: template("{dir}/log"), reopen: crate::target::Signal(1) }),
        config_file: None,
        notify_fd: Some(3),
        privileges: Some(TargetPrivileges { uid: 65534, gid: 65533, groups: vec![77], arguments: Vec::new() }),
        slow_init: Some(TargetSlowInit { arguments: Vec::new(), takes: second / 2, output: "initialised".to_owned() }),
        restart: Some(TargetRestart {
            steps: vec![TargetRestartStep::Deploy],
            done: Done::NewVersion,
            watch: Some(TargetWatch { path: template("{self}"), kind: WatchKind::Executable, processes: 1 }),
        }),
        stop: TargetStop::Signal(crate::target::Signal(15)),
        commands: crate::target::TargetCommands::default(),
        stall: None,
        deadlines: TargetDeadlines {
            start: second,
            give_up: Some(second),
            upgrade: second,
            drain_least: Some(second / 2),
            drain: second,
            stop: second,
            request: second,
            answer: second,
        },
    }
}

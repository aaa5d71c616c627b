//! Hand-written daemons: pid 7, launched as pid 5 from a terminal of session 1, adopted by pid 1.

use super::{Script, image};
use crate::check::Check;
use crate::event::{
    Answer, Artefact, CommandedStatus, CommandedStop, DaemonPortrait, DatedLook, ExitStatus, FileKind, FileLook,
    Identity, LauncherReturn, LauncherTies, Obstacle, ObstructedStart, Occasion, OpenDescriptor, ProcessPortrait,
    RelativeStart, Released, SecondStart, StartFrom, StartupCall, Stranger, Succession, ThreadPortrait, What,
};
use crate::id::{Image, Pid};
use crate::scenario::Launcher;
use crate::target::SignalSet;
use crate::verdict::Verdict;

/// What a check says first of a right daemon at rest, changed.
pub(crate) fn portrayed(check: &Check, change: impl FnOnce(&mut DaemonPortrait)) -> Verdict {
    (check.decide)(&Script::new().portrait(100, change).history())[0].verdict
}

impl Script {
    /// A right daemon at rest, changed.
    pub(crate) fn portrait(self, at: u64, change: impl FnOnce(&mut DaemonPortrait)) -> Script {
        let mut portrait = right();
        change(&mut portrait);
        self.event(at, What::Daemonised(portrait))
    }

    /// A right second start while pid 7 runs, changed.
    pub(crate) fn started_again(self, at: u64, change: impl FnOnce(&mut SecondStart)) -> Script {
        let mut second = SecondStart {
            status: Some(ExitStatus::Code(1)),
            daemon: Pid(7),
            lives: true,
            answer: Answer::Answered,
            before: file("7\n"),
            after: file("7\n"),
        };
        change(&mut second);
        self.event(at, What::StartedAgain(second))
    }

    /// A start of pid 7 that replaces what lay in its pidfile's place, changed.
    pub(crate) fn obstructed(self, at: u64, obstacle: Obstacle, change: impl FnOnce(&mut ObstructedStart)) -> Script {
        let kind = match obstacle {
            Obstacle::Symlink => FileKind::Symlink,
            Obstacle::Fifo => FileKind::Fifo,
            Obstacle::Directory => FileKind::Directory,
            _ => FileKind::Regular,
        };
        let mut start = ObstructedStart {
            obstacle,
            before: FileLook { kind, ..file("9\n") },
            status: Some(ExitStatus::Code(0)),
            daemon: Some(Pid(7)),
            after: file("7\n"),
            victim: (obstacle == Obstacle::Symlink).then(|| [file("precious"), file("precious")]),
            bystander_lives: (obstacle == Obstacle::ReusedPid).then_some(true),
        };
        change(&mut start);
        self.event(at, What::StartedObstructed(start))
    }

    /// A stop command that did nothing while the pidfile named another process than the daemon, pid 9.
    pub(crate) fn commanded_stop(self, stranger: Stranger, change: impl FnOnce(&mut CommandedStop)) -> Script {
        let (content, status) = (stranger.line(Pid(9)), Some(ExitStatus::Code(0)));
        let mut stop = CommandedStop { stranger, content, status, bystander: Pid(9), unharmed: true };
        change(&mut stop);
        self.event(300, What::CommandedStop(stop))
    }

    /// A status command that changed nothing: of the running daemon where there is no obstacle, changed.
    pub(crate) fn commanded_status(
        self,
        obstacle: Option<Obstacle>,
        change: impl FnOnce(&mut CommandedStatus),
    ) -> Script {
        let look = DatedLook { look: file(if obstacle.is_none() { "7\n" } else { "9\n" }), modified: 1 };
        let (daemon_lives, status) = (obstacle.is_none().then_some(true), Some(ExitStatus::Code(0)));
        let mut asked = CommandedStatus { daemon_lives, obstacle, status, before: look.clone(), after: look };
        change(&mut asked);
        self.event(300, What::CommandedStatus(asked))
    }

    /// Pid 7 stopped and left the file of its successor, pid 9, changed.
    pub(crate) fn succeeded(self, change: impl FnOnce(&mut Succession)) -> Script {
        let mut succession = Succession { daemon: Pid(7), ended: true, before: file("9\n"), after: file("9\n") };
        change(&mut succession);
        self.event(300, What::Succeeded(succession))
    }

    /// Pid 7 started with a relative path and left its pid there, changed.
    pub(crate) fn started_relative(self, change: impl FnOnce(&mut RelativeStart)) -> Script {
        let mut start =
            RelativeStart { given: "../x/pid".to_owned(), daemon: Some(Pid(7)), gone: false, there: file("7\n") };
        change(&mut start);
        self.event(300, What::StartedRelative(start))
    }

    /// Pid 7 was held in a call of its start.
    pub(crate) fn held(self, call: StartupCall, released: Released) -> Script {
        self.spanning(10, 50, What::StartupHeld { pid: Pid(7), call, released })
    }

    /// Pid 5 returned after a start.
    pub(crate) fn returned(self, at: u64, status: i32, pidfile: Option<&str>, answer: Answer) -> Script {
        let (occasion, status, pidfile) = (Occasion::Start, ExitStatus::Code(status), pidfile.map(str::to_owned));
        let from = Launcher::Clean;
        self.event(
            at,
            What::LauncherReturned(LauncherReturn {
                occasion,
                from,
                closed: false,
                pid: Pid(5),
                status,
                pidfile,
                answer,
            }),
        )
    }

    /// A launch from somewhere else: the launcher's status and what a client met; if it was answered, the stop worked.
    pub(crate) fn started_from(self, from: Launcher, status: i32, answer: Answer) -> Script {
        let stopped = (answer == Answer::Answered).then_some(true);
        let status = Some(ExitStatus::Code(status));
        self.event(200, What::StartedFrom(StartFrom { from, status, answer, stopped }))
    }
}

/// Pid 8, a child of the main process that has executed a program of its own.
pub(crate) fn helper(portrait: &mut DaemonPortrait) -> &mut ProcessPortrait {
    let mut helper = portrait.processes[0].clone();
    helper.image = Image { start_stack: 2, ..image(8) };
    helper.ppid = Pid(7);
    helper.descriptors.truncate(3);
    portrait.processes.push(helper);
    portrait.processes.last_mut().expect("it was just put there")
}

/// One more descriptor of the main process.
pub(crate) fn opened(portrait: &mut DaemonPortrait, number: i32, link: &str) {
    let descriptors = &mut portrait.processes[0].descriptors;
    descriptors.retain(|it| it.number != number);
    descriptors.push(OpenDescriptor { number, link: link.to_owned(), flags: 0o2, inode: 0 });
}

/// A regular file.
pub(crate) fn file(content: &str) -> FileLook {
    FileLook { kind: FileKind::Regular, inode: 40, mode: 0o644, content: Some(content.to_owned()) }
}

/// Nothing.
pub(crate) fn absent() -> FileLook {
    FileLook { kind: FileKind::Absent, inode: 0, mode: 0, content: None }
}

fn right() -> DaemonPortrait {
    // To read, to append, and both with close-on-exec (open(2)).
    let open = [("/dev/null", 0o0), ("/target/log", 0o2001), ("/target/log", 0o2001), ("socket:[33]", 0o2_000_002)];
    let descriptors = (0..).zip(open).map(|(number, (link, flags))| OpenDescriptor {
        number,
        link: link.to_owned(),
        flags,
        inode: 0,
    });
    DaemonPortrait {
        launcher: LauncherTies {
            from: Launcher::Clean,
            pid: Some(Pid(5)),
            session: Some(Pid(1)),
            terminal: true,
            umask: 0o22,
            variables: vec!["PATH".to_owned()],
            closed: false,
            pipes: ["pipe:[50]", "pipe:[51]"].map(str::to_owned).to_vec(),
            planted: ["pipe:[90]", "socket:[91]"].map(str::to_owned).to_vec(),
        },
        reaper: Pid(1),
        declared_directory: None,
        main: image(7),
        processes: vec![ProcessPortrait {
            image: image(7),
            ppid: Pid(1),
            session: Pid(6),
            tty: 0,
            directory: Some("/".to_owned()),
            root: Some("/".to_owned()),
            umask: Some(0o27),
            identity: Some(Identity { users: [65534; 4], groups: [65533; 4], supplementary: Vec::new() }),
            ignored: SignalSet::default(),
            caught: SignalSet::default(),
            variables: Some(vec!["PATH".to_owned()]),
            threads: vec![ThreadPortrait { tid: Pid(7), blocked: SignalSet::default() }],
            descriptors: descriptors.collect(),
        }],
        pidfile: Some("7\n".to_owned()),
        artefacts: vec![Artefact { path: "log".to_owned(), mode: 0o644 }],
        pidfile_mode: Some(0o644),
        pidfile_inode: Some(40),
        end_of_output: true,
    }
}

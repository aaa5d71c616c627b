//! Starts with something in the pidfile's place.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::clock::Interval;
use crate::event::{Answer, ExitStatus, FileLook, Obstacle, ObstructedStart, Occasion, What};
use crate::id::{Image, Pid};
use crate::run::census::Main;
use crate::run::daemon::{KILL_LIMIT, REST};
use crate::run::second::look_at;
use crate::run::upgrade::yes;
use crate::run::{RunError, Stage};
use crate::sandbox::Bystander;
use crate::wait::Look;

/// A launcher that opens a FIFO stands still for ever. One that stands for this long, and for so many times what the start
/// before took, evidently does.
pub(super) const HANG_MIN: Duration = Duration::from_secs(2);
pub(super) const HANG_TIMES: u32 = 5;

/// What the file behind the symbolic link holds: no pid, and longer than one.
const PRECIOUS: &str = "a file of somebody else's\n";

/// What stands in the pidfile's place, and who must not suffer from a start.
struct Scene<'a> {
    obstacle: Obstacle,
    path: &'a Path,
    victim: &'a Path,
    bystander: Option<(Bystander, Image)>,
}

impl Stage<'_> {
    /// One start for each of them; how long a start takes is known by the first.
    pub(super) fn obstructed_starts(&mut self, obstacles: &[Obstacle]) -> Result<(), RunError> {
        let Some(path) = self.pidfile_path() else { return Ok(()) };
        let victim = self.target_dir.join("victim");
        let dead = self.dead_pid()?;
        let mut limit = self.plan.target.deadlines.start;
        for obstacle in obstacles {
            let bystander = if *obstacle == Obstacle::ReusedPid { Some(self.bystander()?) } else { None };
            let scene = Scene { obstacle: *obstacle, path: &path, victim: &victim, bystander };
            clear(&path)?;
            scene.place(dead)?;
            let took = Instant::now();
            let status = self.obstructed_start(scene, limit)?;
            if status == Some(ExitStatus::Code(0)) {
                limit = limit.min(HANG_MIN.max(HANG_TIMES * took.elapsed()));
            }
            clear(&path)?;
        }
        Ok(())
    }

    fn obstructed_start(&mut self, scene: Scene<'_>, limit: Duration) -> Result<Option<ExitStatus>, RunError> {
        let began = self.clock.now();
        let victim = look_at(scene.victim);
        let before = look_at(scene.path);
        let open = Open::when(!scene.obstacle.is_stale(), scene.path)?;
        let status = self.launch_for_within(Occasion::Obstructed(scene.obstacle), limit)?;
        let daemon = self.daemon_after(status, scene.image(), limit)?;
        let start = ObstructedStart {
            obstacle: scene.obstacle,
            before,
            status,
            daemon: daemon.as_ref().map(|main| main.image.pid),
            after: look_at(scene.path),
            victim: (scene.obstacle == Obstacle::Symlink).then(|| [victim, look_at(scene.victim)]),
            bystander_lives: scene.image().map(|image| self.state(image).is_some_and(|state| state != 'T')),
        };
        let names_it = names(&start.after, start.daemon);
        self.sink.put(Interval::new(began, self.clock.now()), What::StartedObstructed(start));
        drop(open);
        // An operator stops whom the pidfile names; that must not be the bystander.
        if let Some(daemon) = daemon.filter(|_| names_it) {
            self.main = Some(daemon);
            self.stop_target()?;
        }
        self.kill_all_but(scene.image().as_slice())?;
        if let Some((bystander, _)) = scene.bystander {
            self.end_bystander(bystander)?;
        }
        Ok(status)
    }

    /// The daemon that serves once the launcher has returned, at rest; `None` when there is none.
    fn daemon_after(
        &self,
        status: Option<ExitStatus>,
        bystander: Option<Image>,
        limit: Duration,
    ) -> Result<Option<Main>, RunError> {
        if status == Some(ExitStatus::Code(0)) {
            let _serves = self.serves_within(limit, bystander)?;
        } else {
            // What a launcher that failed left behind may be on its way out.
            let _gone = self.within(REST, || yes(self.is_alone(bystander)))?;
        }
        let daemon = self.main_by_service()?;
        if let Some(main) = &daemon {
            let path = self.pidfile_path().unwrap_or_default();
            let _signed = self.within(REST, || yes(names(&look_at(&path), Some(main.image.pid))))?;
        }
        Ok(daemon)
    }

    /// Waits until somebody answers, as long as there is anybody who could.
    pub(super) fn serves_within(&self, limit: Duration, bystander: Option<Image>) -> Result<bool, RunError> {
        self.within(limit, || {
            if self.is_alone(bystander) { Look::Never(()) } else { yes(matches!(self.ask(), Ok(Answer::Answered))) }
        })
    }

    /// No process of the target lives.
    fn is_alone(&self, bystander: Option<Image>) -> bool {
        self.living().is_ok_and(|all| all.iter().all(|image| Some(*image) == bystander))
    }

    /// A process in the target's world that has nothing to do with it.
    pub(super) fn bystander(&self) -> Result<(Bystander, Image), RunError> {
        let bystander = Bystander::start(&self.sandbox)?;
        match self.identify(bystander.pid()) {
            Some(main) => Ok((bystander, main.image)),
            None => Err(RunError::Environment("failed to keep a bystander alive".to_owned())),
        }
    }

    /// A pid that a process had a moment ago.
    pub(super) fn dead_pid(&self) -> Result<Pid, RunError> {
        let bystander = Bystander::start(&self.sandbox)?;
        let pid = bystander.pid();
        self.end_bystander(bystander)?;
        Ok(pid)
    }

    pub(super) fn end_bystander(&self, bystander: Bystander) -> Result<(), RunError> {
        let pid = bystander.pid();
        drop(bystander);
        // A zombie can still be signalled: it has to be reaped.
        let gone = self.within(KILL_LIMIT, || yes(self.sandbox.procfs().stat(pid).is_ok_and(|stat| stat.is_none())))?;
        if gone { Ok(()) } else { Err(RunError::Environment("failed to end a bystander".to_owned())) }
    }
}

impl Scene<'_> {
    fn image(&self) -> Option<Image> {
        self.bystander.as_ref().map(|(_, image)| *image)
    }

    /// Puts it there.
    fn place(&self, dead: Pid) -> io::Result<()> {
        let pid = self.bystander.as_ref().map_or(dead, |(bystander, _)| bystander.pid());
        lay(self.obstacle, self.path, pid, self.victim)
    }
}

/// Puts an obstacle at a path; `pid` is whom it names, if anybody, and `victim` where a link leads.
pub(super) fn lay(obstacle: Obstacle, path: &Path, pid: Pid, victim: &Path) -> io::Result<()> {
    match obstacle {
        Obstacle::DeadPid | Obstacle::ReusedPid => fs::write(path, format!("{pid}\n")),
        Obstacle::Empty => fs::write(path, ""),
        Obstacle::Garbage => fs::write(path, b"\xff no process id\n"),
        Obstacle::Longer => fs::write(path, format!("{pid}\nand a line that is longer than any pid\n")),
        Obstacle::Symlink => {
            fs::write(victim, PRECIOUS)?;
            std::os::unix::fs::symlink(victim, path)
        }
        Obstacle::Fifo => Ok(mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH)?),
        Obstacle::Directory => fs::create_dir(path),
    }
}

/// Whether it is a file that names this process and says nothing else.
fn names(look: &FileLook, daemon: Option<Pid>) -> bool {
    let content = look.content.as_deref().map(|text| text.strip_suffix('\n').unwrap_or(text));
    daemon.is_some_and(|pid| content == Some(pid.to_string().as_str()))
}

/// Removes whatever lies there.
pub(super) fn clear(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A directory that everybody may write, as `/tmp` is: there a stranger can put links and FIFOs. As it was when dropped.
struct Open<'a> {
    directory: &'a Path,
    was: Permissions,
}

impl Open<'_> {
    fn when(wanted: bool, path: &Path) -> io::Result<Option<Open<'_>>> {
        let Some(directory) = path.parent().filter(|_| wanted) else { return Ok(None) };
        let was = directory.metadata()?.permissions();
        fs::set_permissions(directory, Permissions::from_mode(0o777))?;
        Ok(Some(Open { directory, was }))
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // A directory of the run's own: left open it harms nobody.
        let _ = fs::set_permissions(self.directory, self.was.clone());
    }
}

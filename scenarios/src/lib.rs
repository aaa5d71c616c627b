//! The catalogue as data: scenarios, target manifests and expectations, embedded so that an installed command carries
//! the whole suite. A test holds these lists against the files.

/// A file of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embedded {
    /// Its path in this crate's directory.
    pub path: &'static str,
    /// Its content.
    pub text: &'static str,
}

macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        &[$(Embedded { path: $path, text: include_str!(concat!("../", $path)) }),*]
    };
}

/// The scenarios.
pub const SCENARIOS: &[Embedded] = embedded![
    "daemon/start-stop.toml",
    "daemon/held-start.toml",
    "daemon/failed-start.toml",
    "daemon/awkward-stops.toml",
    "daemon/helpers.toml",
    "daemon/hung-start.toml",
    "daemon/closed-stdio.toml",
    "daemon/obstructed-start.toml",
    "daemon/relative-pidfile.toml",
    "daemon/stop-command.toml",
    "daemon/status-command.toml",
    "daemon/start-race.toml",
    "daemon/start-race-long.toml",
    "daemon/hangup.toml",
    "daemon/start-again.toml",
    "daemon/log-rotation.toml",
    "foreground/start-again.toml",
    "foreground/notify.toml",
    "foreground/notify-reload.toml",
    "foreground/notify-fd.toml",
    "foreground/pid-one.toml",
    "foreground/nohup.toml",
    "foreground/supervisord.toml",
    "foreground/supervisord-comes-back.toml",
    "foreground/systemd.toml",
    "foreground/systemd-comes-back.toml",
    "activated/stale-listen-pid.toml",
    "activated/fd-store.toml",
    "daemon/launchers.toml",
    "daemon/umask.toml",
    "daemon/privileges.toml",
    "daemon/systemd-forking.toml",
    "restart/upgrade-under-load.toml",
    "restart/old-connections.toml",
    "restart/backlog-kept.toml",
    "restart/half-open-kept.toml",
    "restart/watch-triggered.toml",
    "restart/watch-data.toml",
    "restart/binary-replaced.toml",
    "restart/drain-deadline.toml",
    "restart/drain-promise.toml",
    "restart/idle-drain.toml",
    "restart/stalled-drain.toml",
    "restart/config-test.toml",
    "restart/group.toml",
    "restart/log.toml",
    "restart/listeners.toml",
    "restart/false-mark.toml",
    "restart/rollback.toml",
    "restart/bad-config.toml",
    "restart/dies-after-ready.toml",
    "restart/rollback-crash.toml",
    "restart/rollback-hang.toml",
    "restart/storm.toml",
    "restart/spaced-storm.toml",
    "restart/killed.toml",
    "restart/pressed.toml",
    "restart/suspended-new.toml",
    "restart/suspended-old.toml",
    "restart/without-processes.toml",
    "restart/without-descriptors.toml",
    "restart/without-disk.toml",
    "restart/during-drain.toml",
    "restart/trigger-at-start.toml",
    "restart/slow-init.toml",
    "restart/sequential.toml",
    "restart/twenty-upgrades.toml",
    "restart/systemd-reload.toml",
    "restart/systemd-watchdog.toml",
    "restart/docker-unit.toml",
];

/// The targets: references, null targets, peers.
pub const TARGETS: &[Embedded] = embedded![
    "targets/reference/exec-inherit.toml",
    "targets/reference/exec-inherit-signal.toml",
    "targets/reference/exec-inherit-data.toml",
    "targets/reference/orphan.toml",
    "targets/reference/exec-inherit-brisk.toml",
    "targets/reference/takeover.toml",
    "targets/reference/re-exec.toml",
    "targets/reference/reuseport.toml",
    "targets/reference/reuseport-safe.toml",
    "targets/reference/fd-handover.toml",
    "targets/reference/prefork.toml",
    "targets/reference/activated.toml",
    "targets/null/exits-at-once.toml",
    "targets/null/accepts-silently.toml",
    "targets/null/ignores-signal.toml",
    "targets/null/claims-restart.toml",
    "targets/null/old-inode.toml",
    "peers/nginx/hup.toml",
    "peers/nginx/usr2.toml",
    "peers/nginx/quit-start.toml",
    "peers/haproxy/sf-x.toml",
    "peers/gunicorn/hup.toml",
    "peers/systemd-socket-activate/target.toml",
    "peers/tableflip/target.toml",
    "peers/grace/target.toml",
    "peers/start-stop-daemon/background.toml",
    "peers/article-tcp/target.toml",
    "peers/article-daemon/target.toml",
    "peers/go-daemon/target.toml",
    "peers/glibc-daemon/target.toml",
    "peers/python-daemon/target.toml",
    "peers/rust-daemonize/target.toml",
    "peers/daemonize/target.toml",
    "peers/daemon-command/target.toml",
];

/// The known failures of these targets.
pub const EXPECTATIONS: &[Embedded] = embedded![
    "expectations/reference-reuseport.toml",
    "expectations/nginx-hup.toml",
    "expectations/nginx-usr2.toml",
    "expectations/nginx-quit-start.toml",
    "expectations/haproxy-sf-x.toml",
    "expectations/gunicorn-hup.toml",
    "expectations/tableflip.toml",
    "expectations/grace.toml",
    "expectations/start-stop-daemon-background.toml",
    "expectations/article-tcp.toml",
    "expectations/article-daemon.toml",
    "expectations/go-daemon.toml",
    "expectations/glibc-daemon.toml",
    "expectations/python-daemon.toml",
    "expectations/rust-daemonize.toml",
    "expectations/daemonize.toml",
    "expectations/daemon-command.toml",
    "expectations/reference-re-exec.toml",
];

/// The defect matrix: which scenario shows which defect of the references.
pub const MATRIX: &str = include_str!("../matrix.toml");

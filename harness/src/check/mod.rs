//! Checks: pure functions from a history to findings, one file a requirement.
//!
//! A check sees no process, no socket and no clock. Its id is stable for ever; the file stem is the id with `_` for
//! `-`, and is the name of the defect that it must catch. To add one: the file, one line in [`CHECKS`], one row in the
//! defect matrix.

use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

mod counter;
mod daemon;
pub mod datagram;
pub mod detach;
pub mod drain;
pub mod fd;
pub mod handoff;
pub mod inherit;
mod lateness;
pub mod leak;
pub mod life;
mod loss;
mod notice;
pub mod path;
pub mod pidfile;
pub mod ready;
mod rest;
pub mod rollback;
#[cfg(test)]
pub(crate) mod script;
pub mod supervise;
pub mod tls;
pub mod trigger;
pub mod witness;

pub use witness::Witness;

/// One requirement and how a run is judged by it.
#[derive(Debug)]
pub struct Check {
    /// Stable id: "area/requirement".
    pub id: &'static str,
    /// How much it binds.
    pub level: Level,
    /// The profile whose targets owe it; `None` for all.
    pub profile: Option<Profile>,
    /// The capability that a target must claim for it to apply.
    pub capability: Option<Capability>,
    /// The requirement, one sentence.
    pub requirement: &'static str,
    /// Where it stands: manual pages, RFCs, documentation.
    pub source: &'static str,
    /// Where it went wrong in the real world.
    pub reports: &'static [&'static str],
    /// What is observed, and how it is judged.
    pub observed: &'static str,
    /// What must have happened for a pass to mean anything.
    pub needs: &'static [Witness],
    /// The observers that it rests on: a fault of one makes the verdict `error`.
    pub observers: &'static [&'static str],
    /// Its failure is decided by chance: only such a check may have a `may-fail` expectation.
    pub chance: bool,
    /// What an isolation tier without namespaces cannot prove; `None` when it proves it all.
    pub unproven_bare: Option<&'static str>,
    /// The judgement.
    pub decide: fn(&History) -> Vec<Finding>,
}

/// Every check, in the order of the catalogue.
pub static CHECKS: &[&Check] = &[
    &detach::orphaned::CHECK,
    &detach::new_session::CHECK,
    &detach::no_tty::CHECK,
    &detach::cannot_acquire_tty::CHECK,
    &detach::survives_hangup::CHECK,
    &detach::from_any_launcher::CHECK,
    &detach::cwd::CHECK,
    &fd::stdio_detached::CHECK,
    &fd::stdio_usable::CHECK,
    &fd::launcher_eof::CHECK,
    &fd::none_inherited::CHECK,
    &fd::closed_stdio_start::CHECK,
    &fd::restart_beside_helper::CHECK,
    &fd::close_on_exec::CHECK,
    &inherit::signal_mask::CHECK,
    &inherit::signal_dispositions::CHECK,
    &inherit::exit_code_under_sigchld_ignore::CHECK,
    &inherit::umask::CHECK,
    &inherit::sigpipe::CHECK,
    &inherit::environment::CHECK,
    &inherit::threads::CHECK,
    &inherit::false_mark::CHECK,
    &inherit::privileges::CHECK,
    &pidfile::present_at_return::CHECK,
    &pidfile::own_pid::CHECK,
    &pidfile::format::CHECK,
    &pidfile::mode::CHECK,
    &pidfile::no_symlink::CHECK,
    &pidfile::single_winner::CHECK,
    &pidfile::second_start_refused::CHECK,
    &pidfile::stale_replaced::CHECK,
    &pidfile::never_hits_stranger::CHECK,
    &pidfile::removed_on_stop::CHECK,
    &pidfile::successor_kept::CHECK,
    &pidfile::status_read_only::CHECK,
    &pidfile::relative_path::CHECK,
    &pidfile::upgrade_always_valid::CHECK,
    &pidfile::after_failed_upgrade::CHECK,
    &ready::at_return::CHECK,
    &ready::failure_reported::CHECK,
    &ready::bounded::CHECK,
    &ready::notify_once::CHECK,
    &ready::notify_reload::CHECK,
    &ready::notify_fd::CHECK,
    &ready::foreground_stays::CHECK,
    &ready::stale_listen_pid::CHECK,
    &ready::not_early::CHECK,
    &life::term_clean::CHECK,
    &life::hup_survives::CHECK,
    &life::rebind_at_once::CHECK,
    &life::pid_one::CHECK,
    &life::log_append::CHECK,
    &life::log_mode::CHECK,
    &life::no_zombies::CHECK,
    &life::nothing_left::CHECK,
    &supervise::nohup::CHECK,
    &supervise::supervisord::CHECK,
    &supervise::systemd_notify::CHECK,
    &supervise::systemd_forking::CHECK,
    &supervise::systemd_reload::CHECK,
    &supervise::comes_back::CHECK,
    &supervise::limits::CHECK,
    &supervise::socket_activation::CHECK,
    &supervise::watchdog::CHECK,
    &supervise::fd_store::CHECK,
    &handoff::took_over::CHECK,
    &handoff::old_stops_accepting::CHECK,
    &handoff::no_refused::CHECK,
    &handoff::listener_continuity::CHECK,
    &handoff::backlog_kept::CHECK,
    &handoff::half_open_kept::CHECK,
    &handoff::backlog_size_kept::CHECK,
    &handoff::binary_replaced::CHECK,
    &handoff::no_stall::CHECK,
    &handoff::answer_gap::CHECK,
    &handoff::watch_triggered::CHECK,
    &handoff::config_test_harmless::CHECK,
    &handoff::every_listener::CHECK,
    &handoff::listener_set_changes::CHECK,
    &handoff::unix_path_kept::CHECK,
    &handoff::no_group_zombie::CHECK,
    &handoff::log_continuous::CHECK,
    &drain::inflight_completes::CHECK,
    &drain::stream_intact::CHECK,
    &drain::upload_completes::CHECK,
    &drain::partial_request::CHECK,
    &drain::first_request::CHECK,
    &drain::fresh_not_closed::CHECK,
    &drain::response_not_reset::CHECK,
    &drain::keepalive_race::CHECK,
    &drain::keepalive_swallowed::CHECK,
    &drain::deadline_kept::CHECK,
    &drain::deadline_not_early::CHECK,
    &drain::late_work::CHECK,
    &drain::old_exits_idle::CHECK,
    &drain::no_spin::CHECK,
    &drain::close_announced::CHECK,
    &drain::h2_streams::CHECK,
    &drain::goaway::CHECK,
    &drain::websocket::CHECK,
    &drain::close_code::CHECK,
    &drain::spread::CHECK,
    &rollback::exits::CHECK,
    &rollback::crashes::CHECK,
    &rollback::hangs::CHECK,
    &rollback::not_sticky::CHECK,
    &rollback::reaped::CHECK,
    &rollback::bad_config::CHECK,
    &rollback::dies_after_ready::CHECK,
    &rollback::reported::CHECK,
    &rollback::out_of_resources::CHECK,
    &trigger::storm::CHECK,
    &trigger::during_drain::CHECK,
    &trigger::at_start::CHECK,
    &trigger::sequential::CHECK,
    &trigger::killed_new::CHECK,
    &trigger::killed_old::CHECK,
    &trigger::suspended_new::CHECK,
    &trigger::suspended_old::CHECK,
    &leak::descriptors::CHECK,
    &leak::processes::CHECK,
    &leak::environment::CHECK,
    &leak::listener_elsewhere::CHECK,
    &leak::memory::CHECK,
    &datagram::none_lost::CHECK,
    &datagram::flow_sticks::CHECK,
    &tls::handshakes::CHECK,
    &tls::resumption::CHECK,
];

/// The check with this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Check> {
    CHECKS.iter().copied().find(|check| check.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_have_an_area() {
        for (n, check) in CHECKS.iter().enumerate() {
            assert!(check.id.contains('/'), "{}", check.id);
            assert!(CHECKS[n + 1..].iter().all(|other| other.id != check.id), "{} twice", check.id);
        }
    }
}

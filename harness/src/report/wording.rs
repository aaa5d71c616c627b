//! The sentences that several places of the program say: reports, `list` and `explain` use the same ones.

use serde::Serialize;

use crate::check::witness::{
    BUSY_MIN, FLOWS_MIN, FRESH_PER_SECOND_MIN, HALF_MIN, HALF_OPEN_MIN, HANDSHAKES_MIN, IDLE_MIN, IN_FLIGHT_MIN,
    SILENT_MIN, UNREAD_MIN,
};
use crate::check::{Check, Witness};
use crate::machine::Tier;
use crate::manifest::Role;
use crate::summary::{Disposition, Exit};

/// The word of an enum as manifests and JSON write it ("exec-inherit", "may-fail").
#[must_use]
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// What an isolation tier is.
#[must_use]
pub fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::A => "each target has process, mount, network, ipc, host name and cgroup namespaces of its own",
        Tier::B => "each target has namespaces of its own, inside a user namespace, without root",
        Tier::C => "bare, no namespaces: what this cannot prove is inconclusive",
    }
}

/// What an exit code means.
#[must_use]
pub fn exit(exit: Exit) -> &'static str {
    match exit {
        Exit::AsExpected => "everything as expected",
        Exit::Unexpected => "an unexpected verdict",
        Exit::Usage => "wrong usage, or a manifest that cannot be used",
        Exit::Inconclusive => "nothing failed, but not everything could be judged",
        Exit::NothingSelected => "nothing was selected",
        Exit::BrokenTarget => "a target does not work without any restart",
        Exit::Environment => "the harness or its environment broke; this says nothing of the target",
        Exit::Internal => "a bug of unbroken itself",
    }
}

/// What part a target plays.
#[must_use]
pub fn role(role: Role) -> &'static str {
    match role {
        Role::Reference => "reference: ours and correct, must pass everything it claims",
        Role::Control => "control: a known bad way of restarting, its failures are expected",
        Role::Null => "null: only pretends, must never pass",
        Role::Peer => "peer: somebody else's server",
    }
}

/// The verdict column of a table.
#[must_use]
pub fn disposition(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Passed => "pass",
        Disposition::Unsupported => "not claimed",
        Disposition::ExpectedFailure => "expected fail",
        Disposition::Warning => "warning",
        Disposition::Inconclusive => "inconclusive",
        Disposition::Error => "error",
        Disposition::UnexpectedPass => "unexpected pass",
        Disposition::Failure => "FAIL",
    }
}

/// What a witness asks for, as a precondition of a pass.
#[must_use]
pub fn witness(witness: Witness) -> String {
    match witness {
        Witness::Upgrades => "at least one upgrade was triggered".to_owned(),
        Witness::Versions => "answers that carry the version that gave them (`version_header`)".to_owned(),
        Witness::Announcements => {
            "a protocol in which a request and its answer can say that they are the last".to_owned()
        }
        Witness::MovingListeners => "an address of `also` that is another in each version".to_owned(),
        Witness::ReplyChannel => "a command that triggers the restart, or the capability notify".to_owned(),
        Witness::FreshLoad => {
            format!(
                "at least {FRESH_PER_SECOND_MIN:.0} fresh connections per second, from the trigger to the end of the drain"
            )
        }
        Witness::BusyLoad => format!("at least {BUSY_MIN} busy kept connections right before the trigger"),
        Witness::RequestsInFlight => format!("at least {IN_FLIGHT_MIN} slow requests in flight at the trigger"),
        Witness::IdleLoad => {
            format!("at least {IDLE_MIN} idle kept connections at the trigger, where the scenario has idle ones")
        }
        Witness::SilentLoad => format!("at least {SILENT_MIN} connections at the trigger that had sent nothing yet"),
        Witness::HalfLoad => format!("at least {HALF_MIN} connections at the trigger that had sent half a head"),
        Witness::StreamUnread => {
            format!(
                "a slow reader with at least {} MiB of its answer unread at the trigger",
                UNREAD_MIN / (1024 * 1024)
            )
        }
        Witness::UploadHalfSent => "at least one request body half sent at the trigger".to_owned(),
        Witness::BacklogNotEmpty => "connections in the old listener's accept queue at the takeover".to_owned(),
        Witness::HandshakesHalfOpen => {
            format!("at least {HALF_OPEN_MIN} handshakes that lacked their last ACK right before the trigger")
        }
        Witness::H2Load => format!("at least {IN_FLIGHT_MIN} HTTP/2 streams open at the trigger"),
        Witness::TlsLoad => format!("at least {HANDSHAKES_MIN} TLS handshakes in the half second before the trigger"),
        Witness::WebsocketLoad => format!("at least {BUSY_MIN} WebSockets spoken on right before the trigger"),
        Witness::FlowLoad => {
            format!(
                "at least {FLOWS_MIN} flows of datagrams that were answered right before the trigger, and went on after it"
            )
        }
    }
}

/// What can be done about a witness that was not met, where something can.
#[must_use]
pub fn witness_remedy(witness: Witness) -> Option<&'static str> {
    match witness {
        Witness::Upgrades
        | Witness::Versions
        | Witness::Announcements
        | Witness::ReplyChannel
        | Witness::MovingListeners => None,
        Witness::FreshLoad
        | Witness::BusyLoad
        | Witness::RequestsInFlight
        | Witness::IdleLoad
        | Witness::SilentLoad
        | Witness::HalfLoad
        | Witness::StreamUnread
        | Witness::UploadHalfSent
        | Witness::H2Load
        | Witness::TlsLoad
        | Witness::WebsocketLoad
        | Witness::FlowLoad => Some("Give the machine to the run alone; --runs 5 runs it five times and counts."),
        Witness::HandshakesHalfOpen => Some("They are held by a rule of nf_tables, which the kernel must have."),
        Witness::BacklogNotEmpty => Some("See in the manifest whether `stall` really keeps the target from accepting."),
    }
}

/// Which targets owe a check.
#[must_use]
pub fn owed_by(check: &Check) -> String {
    let profile = match check.profile {
        Some(profile) => format!("targets that claim the profile {}", word(&profile)),
        None => "every target".to_owned(),
    };
    match check.capability {
        Some(capability) => format!("{profile} and the capability {}", word(&capability)),
        None => profile,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Capability;

    #[test]
    fn words_are_those_of_the_manifest() {
        assert_eq!(word(&Capability::StopCommand), "stop-command");
        assert_eq!(word(&Role::Peer), "peer");
    }

    #[test]
    fn a_check_says_who_owes_it() {
        let check = crate::check::find("pidfile/upgrade-always-valid").expect("it is in the catalogue");
        assert_eq!(owed_by(check), "targets that claim the profile restart and the capability pidfile");
    }
}

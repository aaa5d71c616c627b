//! drain/upload-completes: a request body still being sent at the trigger is read and answered.

use crate::check::drain::paused::{Paused, lost};
use crate::check::{Check, Witness};
use crate::history::History;
use crate::manifest::Profile;
use crate::request::{FailureClass, Pattern};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "drain/upload-completes",
    level: Level::Must,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "A request body that is still being sent at the trigger is read to its end and answered.",
    source: "RFC 9112 §9.6; RFC 9110 §9.3.3",
    reports: &["uwsgi#1371"],
    observed: "POST requests whose body of 256 KiB is sent slowly until the upgrade is done, and then the rest: each is answered \
               after its last byte, and not before.",
    needs: &[Witness::Upgrades, Witness::UploadHalfSent],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    lost(
        history,
        &Paused {
            what: "uploads",
            pattern: Pattern::Upload,
            lost: &|class| class != FailureClass::HarnessFault && !class.is_connect_failure(),
        },
    )
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, answered, failed};
    use crate::request::{FailureClass, Pattern, Request};
    use crate::verdict::Verdict::{self, Fail, Pass};

    fn check(request: Request, want: Verdict) {
        let request = request.of(Pattern::Upload).sent_at(1400);
        let script = Script::new().trigger(1000, 1, 2).request(request);
        let findings = (super::CHECK.decide)(&script.history());
        assert_eq!(findings[0].verdict, want, "{findings:#?}");
    }

    #[test]
    fn an_upload_that_is_cut_fails() {
        check(failed(900, 1300, FailureClass::Dropped), Fail);
    }

    #[test]
    fn an_upload_that_is_answered_before_its_end_fails() {
        check(failed(900, 1300, FailureClass::UnsolicitedAnswer), Fail);
    }

    #[test]
    fn an_upload_that_is_answered_passes() {
        check(answered(900, 1401, 1), Pass);
    }
}

//! pidfile/format: the pidfile is one decimal number.

use crate::check::Check;
use crate::check::daemon::{of_portraits, shown};
use crate::history::History;
use crate::manifest::{Capability, Profile};
use crate::verdict::{Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "pidfile/format",
    level: Level::Must,
    profile: Some(Profile::Daemon),
    capability: Some(Capability::Pidfile),
    requirement: "The pidfile is the pid in decimal digits and nothing else, but for a newline at the end, which should be there.",
    source: "FHS 3.0, \"/run\"",
    reports: &["FHS 3.0"],
    observed: "The bytes of the file at rest after the start.",
    needs: &[],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    of_portraits(history, |portrait| match portrait.pidfile.as_deref() {
        None => Err(vec!["there is no pidfile".to_owned()]),
        Some(content) => {
            let line = content.strip_suffix('\n');
            let number = line.unwrap_or(content);
            let strict =
                number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0') && !number.is_empty();
            match (strict, line) {
                (false, _) => Err(vec![format!("it holds {}", shown(content))]),
                (true, Some(_)) => Ok(format!("it holds {}", shown(content))),
                (true, None) => Ok(format!("it holds {}, without the newline that should end it", shown(content))),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::check::script::Script;
    use crate::check::script::daemon::portrayed;
    use crate::event::DaemonPortrait;
    use crate::verdict::Verdict::{self, Fail, Inconclusive, Pass};

    fn check(change: impl FnOnce(&mut DaemonPortrait), want: Verdict) {
        assert_eq!(portrayed(&super::CHECK, change), want);
    }

    #[test]
    fn without_a_daemon_nothing_is_proven() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Inconclusive);
    }

    #[test]
    fn digits_pass_with_and_without_a_newline() {
        check(|_| {}, Pass);
        check(|portrait| portrait.pidfile = Some("7".to_owned()), Pass);
    }

    #[test]
    fn anything_else_fails() {
        for content in ["", "\n", "pid 7\n", " 7\n", "7 \n", "07\n", "+7\n", "7\n\n", "7\n8\n"] {
            check(|portrait| portrait.pidfile = Some(content.to_owned()), Fail);
        }
    }
}

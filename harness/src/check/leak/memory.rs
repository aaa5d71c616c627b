//! leak/memory: how much memory the service has, upgrade after upgrade.

use crate::check::{Check, Witness};
use crate::event::{Resident, What};
use crate::history::History;
use crate::manifest::Profile;
use crate::verdict::{Evidence, Finding, Level};

/// The check.
pub static CHECK: Check = Check {
    id: "leak/memory",
    level: Level::Info,
    profile: Some(Profile::Restart),
    capability: None,
    requirement: "How much memory the processes of the service have, after the first upgrade and after the last.",
    source: "proc_pid_status(5), VmRSS",
    reports: &[],
    observed: "After each upgrade, the old generation gone and the load interrupted, VmRSS of each process of the target.",
    needs: &[Witness::Upgrades],
    observers: &[],
    chance: false,
    unproven_bare: None,
    decide,
};

fn decide(history: &History) -> Vec<Finding> {
    let seen = history.find(|what| match what {
        What::Resident(resident) if resident.upgrade.0 > 0 => Some(resident),
        _ => None,
    });
    let seen: Vec<_> = seen.collect();
    let (Some((first, before)), Some((last, after))) = (seen.first(), seen.last()) else {
        return vec![Finding::pass("the target was never seen at rest after an upgrade")];
    };
    let largest = seen.iter().map(|(_, resident)| total(resident)).max().unwrap_or_default();
    let evidence = vec![
        Evidence::text(told(before)).event(first.seq),
        Evidence::text(told(after)).event(last.seq),
        Evidence::text(format!("{largest} KiB at most, in {} looks", seen.len())),
    ];
    vec![Finding::new(crate::verdict::Verdict::Pass, evidence)]
}

fn total(resident: &Resident) -> u64 {
    resident.kib.iter().map(|(_, kib)| kib).sum()
}

fn told(resident: &Resident) -> String {
    let rows: Vec<String> = resident.kib.iter().map(|(image, kib)| format!("process {}: {kib}", image.pid)).collect();
    format!("after upgrade {}: {} KiB ({})", resident.upgrade, total(resident), rows.join(", "))
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, image};
    use crate::event::{Resident, What};
    use crate::id::UpgradeId;
    use crate::verdict::Verdict::Pass;

    fn after(upgrade: u32, kib: u64) -> What {
        What::Resident(Resident {
            upgrade: UpgradeId(upgrade),
            kib: vec![(image(1), 100), (image(5), kib)],
            spent_ms: None,
        })
    }

    #[test]
    fn growth_is_told_and_never_fails() {
        let script = Script::new().event(900, after(0, 1)).event(1000, after(1, 200)).event(2000, after(2, 900));
        let findings = (super::CHECK.decide)(&script.event(3000, after(3, 800)).history());
        assert_eq!(findings[0].verdict, Pass);
        let texts: Vec<&str> = findings[0].evidence.iter().map(|evidence| evidence.text.as_str()).collect();
        let want = [
            "after upgrade 1: 300 KiB (process 1: 100, process 5: 200)",
            "after upgrade 3: 900 KiB (process 1: 100, process 5: 800)",
            "1000 KiB at most, in 3 looks",
        ];
        assert_eq!(texts, want);
    }

    #[test]
    fn a_target_that_was_never_at_rest_does_not_fail_either() {
        assert_eq!((super::CHECK.decide)(&Script::new().history())[0].verdict, Pass);
    }
}

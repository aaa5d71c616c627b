//! The first lines: program, machine, isolation, seed, time.

use std::fmt::Write;

use super::page::{Ink, Page};
use crate::machine::Tier;
use crate::report::wording;
use crate::summary::Summary;

/// The header, with an empty line at its end.
pub(super) fn header(summary: &Summary, page: &Page<'_>) -> String {
    let machine = &summary.machine;
    let processors = match machine.processors {
        1 => "1 processor".to_owned(),
        n => format!("{n} processors"),
    };
    let mut text = String::new();
    let title = page.paint(Ink::Title, &format!("unbroken {}", summary.version));
    let _ = writeln!(text, "{title} · Linux {} · {processors} · uid {}", machine.kernel, machine.uid);
    let _ = writeln!(text, "began {} · seed {}", summary.began, summary.seed);
    text.push_str(&page.paragraph(0, &format!("isolation: tier {}, {}", machine.tier, wording::tier(machine.tier))));
    if machine.tier != Tier::A && !machine.tier_reason.is_empty() {
        text.push_str(&page.paragraph(2, &format!("no better tier because {}", machine.tier_reason)));
    }
    if !machine.listen_hook {
        text.push_str(&page.paragraph(
            2,
            "no hook on listen(2) here: short gaps between two listeners with SO_REUSEPORT stay undecided",
        ));
    }
    text.push('\n');
    text
}

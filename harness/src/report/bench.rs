//! The report of a benchmark: for each figure all targets beside each other.

use std::fmt::Write;

use quick_junit::{Report, TestCase, TestCaseStatus, TestSuite};

use super::terminal::Ink;
use super::{Format, Page, wording};
use crate::bench::{BenchReport, Figure, Kind, Row, SLICE_MS};

/// The report in this format. A benchmark judges nobody: each case of its JUnit form is a success that says the figures.
#[must_use]
pub fn render(report: &BenchReport, format: Format, page: &Page<'_>) -> String {
    match format {
        Format::Terminal => text(report, page),
        Format::Json => json(report),
        Format::Junit => junit(report),
        Format::Markdown => markdown(report),
    }
}

fn json(report: &BenchReport) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report has no map with keys other than text");
    text.push('\n');
    text
}

fn text(report: &BenchReport, page: &Page<'_>) -> String {
    let title = page.paint(Ink::Title, &format!("unbroken {} bench", report.version));
    let machine = &report.machine;
    let mut text =
        format!("{title} · Linux {} · {} processors · tier {}\n", machine.kernel, machine.processors, machine.tier);
    let rounds = format!(
        "{}, {} rounds, the targets in turn; began {}, seed {}",
        report.scenario, report.rounds, report.began, report.seed
    );
    text.push_str(&page.paragraph(0, &rounds));
    text.push_str(&page.paragraph(0, &noise(report)));
    let width = report.rows.iter().map(|row| row.target.chars().count()).max().unwrap_or_default();
    for kind in Kind::ALL {
        let of_kind: Vec<(&Row, &Figure)> =
            report.rows.iter().filter_map(|row| Some((row, row.figures.iter().find(|it| it.kind == kind)?))).collect();
        if of_kind.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{}: {}", page.paint(Ink::Title, kind.name()), kind.meaning());
        let head = format!("  {:<width$}  {:>10}  {:>19}  {:>10}", "", "median", "95 % of the median", "worst");
        let _ = writeln!(text, "{}", page.paint(Ink::Faint, &head));
        for (row, figure) in of_kind {
            let (low, high) = figure.between;
            let interval = format!("{} – {}", number(low), number(high));
            let (median, worst) = (number(figure.median), number(figure.worst));
            let _ = writeln!(
                text,
                "  {:<width$}  {median:>10}  {interval:>19}  {worst:>10}{}",
                row.target,
                against(figure)
            );
        }
    }
    text.push('\n');
    for row in &report.rows {
        let ink = if row.failed == 0 && row.took_over == row.upgrades { Ink::Good } else { Ink::Attention };
        let _ = writeln!(text, "  {:<width$}  {}", row.target, page.paint(ink, &outcome(row)));
    }
    for lacking in &report.not_run {
        let _ = writeln!(text, "  {}: {}", lacking.target, lacking.why);
    }
    let exit = report.exit();
    let _ = writeln!(text, "exit {}: {}", exit.code(), wording::exit(exit));
    text
}

fn noise(report: &BenchReport) -> String {
    format!(
        "noise: the load itself was up to {} ms late (p99), and a server of our own that is never restarted answered within {} ms (p99; at worst {})",
        number(report.noise.lateness_p99_ms),
        number(report.noise.canary_p99_ms),
        number(report.noise.canary_worst_ms)
    )
}

fn outcome(row: &Row) -> String {
    let mut text = format!(
        "{} of {} upgrades took over; {} of {} requests during them failed",
        row.took_over, row.upgrades, row.failed, row.requests
    );
    if let Some(share) = row.poorest {
        let _ = write!(text, "; {:.0} % of the usual answers in the poorest {SLICE_MS} ms", 100.0 * share);
    }
    text
}

/// The ratio to the best yardstick, where there is one.
fn against(figure: &Figure) -> String {
    let Some(ratio) = &figure.ratio else { return String::new() };
    let (low, high) = ratio.between;
    format!("  {:.2} × {} ({low:.2} – {high:.2})", ratio.ratio, ratio.against)
}

/// Three digits where there are so many.
fn number(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ if value >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn markdown(report: &BenchReport) -> String {
    let mut text = format!("{} rounds of {}; {}.\n", report.rounds, report.scenario, noise(report));
    text.push_str("\n| figure | target | upgrades | median | 95 % of the median | worst | ratio |\n|---|---|---|---|---|---|---|\n");
    for kind in Kind::ALL {
        for row in &report.rows {
            let Some(figure) = row.figures.iter().find(|it| it.kind == kind) else { continue };
            let (low, high) = figure.between;
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} – {} | {} | {} |",
                kind.name(),
                row.target,
                figure.count,
                number(figure.median),
                number(low),
                number(high),
                number(figure.worst),
                against(figure).trim()
            );
        }
    }
    text
}

/// One suite per target, one case per figure.
fn junit(report: &BenchReport) -> String {
    let mut document = Report::new("unbroken bench");
    for row in &report.rows {
        let mut suite = TestSuite::new(row.target.as_str());
        for figure in &row.figures {
            let mut case = TestCase::new(figure.kind.name(), TestCaseStatus::success());
            case.set_classname(report.scenario.as_str());
            let (median, worst) = (number(figure.median), number(figure.worst));
            case.set_system_out(format!("median {median}, worst {worst}; {}\n{}", figure.kind.meaning(), outcome(row)));
            suite.add_test_case(case);
        }
        document.add_test_suite(suite);
    }
    super::junit::text(&document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        for (value, want) in [(0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234")] {
            assert_eq!(number(value), want);
        }
    }
}

//! The report of a load: what was sent, what came back, how long it took, and how late we were.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::drive::{
    ApplicationView, DriveReport, Heading, Interval, Latencies, Lost, Outage, Record, Silence, longest_silence, outages,
};
use crate::manifest::Protocol;
use crate::request::FailureClass;
use crate::summary::Exit;

/// Losses that are told one by one on a terminal.
const LOSSES_TOLD: usize = 5;

/// A load and what came of it.
#[derive(Debug, Serialize)]
pub struct LoadReport {
    /// What it was.
    #[serde(flatten)]
    pub heading: Heading,
    /// What came of it. Times in nanoseconds.
    pub result: DriveReport,
    /// What an application saw meanwhile, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationView>,
    /// Where it was worse than elsewhere, where the requests are known one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stretches: Option<Stretches>,
}

/// Stretches that were worse than the rest. Instants in nanoseconds since the load began.
#[derive(Debug, Serialize)]
pub struct Stretches {
    /// Those in which everything failed.
    pub outages: Vec<Outage>,
    /// The longest one without an answer.
    pub longest_silence: Option<Silence>,
}

impl LoadReport {
    /// Of this load.
    #[must_use]
    pub fn new(heading: Heading, result: DriveReport) -> LoadReport {
        LoadReport { heading, result, application: None, stretches: None }
    }

    /// Of the requests in a file: what the driver counted, and what only they can tell.
    #[must_use]
    pub fn of(heading: Heading, (answered, lost): (&[Record], Vec<Lost>), counted: DriveReport) -> LoadReport {
        let stretches = Stretches { outages: outages(answered, &lost), longest_silence: longest_silence(answered) };
        let result = DriveReport { losses: lost, ..counted };
        LoadReport { stretches: Some(stretches), ..LoadReport::new(heading, result) }
    }

    /// The same beside an application's view.
    #[must_use]
    pub fn beside(self, application: Option<ApplicationView>) -> LoadReport {
        LoadReport { application, ..self }
    }

    /// 0 when everything was answered, 1 when something was lost, 6 when nothing but our own resources were lacking.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let ours = self.result.failed.get(&FailureClass::HarnessFault).copied().unwrap_or_default();
        match self.result.lost() {
            0 if self.result.unsent == 0 => Exit::AsExpected,
            lost if lost > 0 && lost == ours => Exit::Environment,
            _ => Exit::Unexpected,
        }
    }
}

/// One line for an interval.
#[must_use]
pub fn line(interval: &Interval) -> String {
    let times = Latencies::of(&interval.times);
    let (at, length) = (interval.to.0 as f64 / 1e9, interval.to.since(interval.from));
    format!(
        "{at:6.1} s  {:>9}/s  p50 {}  p99 {}  max {}  lost {}  in flight {}",
        grouped(per_second(times.count, length)),
        time(times.p50),
        time(times.p99),
        time(times.max),
        grouped(interval.failed),
        interval.in_flight
    )
}

/// The report for people.
#[must_use]
pub fn terminal(report: &LoadReport, colour: bool) -> String {
    let LoadReport { result, .. } = report;
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    let took = Duration::from_nanos(result.took);
    row("load", asked(report));
    row("requests", format!("{} in {:.1} s", grouped(result.begun), took.as_secs_f64()));
    row("answered", format!("{}, {}/s", grouped(result.answered), grouped(per_second(result.answered, took))));
    row("lost", lost(result, colour));
    if result.unsent > 0 {
        row(
            "unsent",
            format!("{}: due, and every connection was busy until the end and after it", grouped(result.unsent)),
        );
    }
    for lost in result.losses.iter().take(LOSSES_TOLD) {
        let state = if lost.state.is_empty() { String::new() } else { format!(" ({})", lost.state) };
        row(
            "",
            format!("at {}: {}, {}{state}, {} bytes of answer", lost.ended, lost.class, lost.signal, lost.received),
        );
    }
    row("latency", latencies(&result.latency));
    if let Some(lateness) = &result.lateness {
        row("lateness", format!("{}  (our own)", latencies(lateness)));
    }
    let closes = format!(
        "{} opened, {} closed by the server between two requests",
        grouped(result.connections),
        grouped(result.idle_closes)
    );
    row("connections", closes);
    let each = result.processor.checked_div(result.begun).unwrap_or_default();
    row("processor", format!("{} a request, of ours", time(each)));
    if let Some(application) = &report.application {
        row("application", seen(application));
    }
    if let Some(stretches) = &report.stretches {
        for (nth, outage) in stretches.outages.iter().enumerate().take(LOSSES_TOLD) {
            let name = if nth == 0 { format!("outages: {}", stretches.outages.len()) } else { String::new() };
            row(&name, format!("{} – {}: {}", outage.from, outage.to, classes(&outage.lost)));
        }
        if let Some(silence) = stretches.longest_silence {
            let length = u64::try_from(silence.to.since(silence.from).as_nanos()).unwrap_or(u64::MAX);
            row("silence", format!("{} without an answer at most, from {}", time(length), silence.from));
        }
    }
    text
}

fn asked(report: &LoadReport) -> String {
    let heading = &report.heading;
    let (scheme, path) = match heading.protocol {
        Protocol::Echo => ("echo", String::new()),
        // As nginx writes it.
        Protocol::Http1 if heading.to.starts_with("unix:") => ("http", format!(":{}", heading.path)),
        Protocol::Http1 => ("http", heading.path.clone()),
    };
    let kept = if heading.kept { "kept" } else { "fresh" };
    let pace = heading.rate.map_or_else(|| "as fast as answered".to_owned(), |rate| format!("{rate} a second"));
    let threads = if heading.threads > 1 { format!(" on {} threads", heading.threads) } else { String::new() };
    format!(
        "{scheme}://{}{path} for {} s, {} {kept} connections at a time{threads}, {pace}",
        heading.to,
        heading.duration_ms as f64 / 1e3,
        heading.connections
    )
}

fn lost(result: &DriveReport, colour: bool) -> String {
    let lost = result.lost();
    if lost == 0 {
        return "0".to_owned();
    }
    let text = format!("{}: {}", grouped(lost), classes(&result.failed));
    let style = if colour { Style::new().fg_color(Some(AnsiColor::Red.into())).bold() } else { Style::new() };
    format!("{style}{text}{style:#}")
}

fn classes(lost: &BTreeMap<FailureClass, u64>) -> String {
    let classes: Vec<String> = lost.iter().map(|(class, count)| format!("{count} {class}")).collect();
    classes.join(", ")
}

/// What an application's client told, and what it did not tell.
fn seen(view: &ApplicationView) -> String {
    let words: Vec<String> = view.failed.iter().map(|(what, count)| format!("{count} × {what}")).collect();
    let told =
        if words.is_empty() { "0 failed".to_owned() } else { format!("{} failed: {}", view.told(), words.join(", ")) };
    format!(
        "{}, pooled, {} at a time: {} requests, {told}; of {} that the kernel saw lost it hid {}",
        view.client,
        view.at_a_time,
        grouped(view.requests),
        grouped(view.lost),
        grouped(view.hidden())
    )
}

fn latencies(of: &Latencies) -> String {
    format!(
        "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        time(of.p50),
        time(of.p90),
        time(of.p99),
        time(of.p99_9),
        time(of.max)
    )
}

/// Nanoseconds with a unit that leaves three digits.
pub(super) fn time(nanos: u64) -> String {
    let nanos = nanos as f64;
    match nanos {
        _ if nanos < 1e3 => format!("{nanos} ns"),
        _ if nanos < 1e4 => format!("{:.2} µs", nanos / 1e3),
        _ if nanos < 1e6 => format!("{:.0} µs", nanos / 1e3),
        _ if nanos < 1e7 => format!("{:.2} ms", nanos / 1e6),
        _ if nanos < 1e9 => format!("{:.0} ms", nanos / 1e6),
        _ => format!("{:.2} s", nanos / 1e9),
    }
}

fn per_second(count: u64, length: Duration) -> u64 {
    let seconds = length.as_secs_f64();
    if seconds > 0.0 { (count as f64 / seconds).round() as u64 } else { 0 }
}

/// With a space between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_times_have_three_digits() {
        for (number, want) in [(7, "7"), (1234, "1 234"), (123_456, "123 456"), (1_234_567, "1 234 567")] {
            assert_eq!(grouped(number), want);
        }
        for (nanos, want) in [(40, "40 ns"), (4_560, "4.56 µs"), (45_600, "46 µs"), (4_560_000, "4.56 ms")] {
            assert_eq!(time(nanos), want);
        }
        assert_eq!(time(456_000_000), "456 ms");
        assert_eq!(time(4_560_000_000), "4.56 s");
    }
}

//! `unbroken load`: the driver by itself, beside whatever restart its user does by hand.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, value_parser};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use indicatif::{ProgressBar, ProgressStyle};

use super::failure::Failure;
use super::interrupt::Interrupt;
use super::output::{Colour, say, tell};
use super::progress::ProgressMode;
use super::url::Url;
use crate::drive::{ApplicationView, DrivePlan, DriveReport, Heading, Interval, Pace, Seen, Source};
#[cfg(feature = "app-view")]
use crate::load::application::{Application, ApplicationError};
use crate::load::fast::{DriveError, drive};
use crate::load::journal::Journal;
use crate::report::load::{LoadReport, line, terminal};
#[cfg(feature = "app-view")]
use crate::request::FailureClass;
use crate::summary::Exit;
use crate::{date, summary};

/// How often progress is told, and how long an interval of the log of times is.
const EVERY: Duration = Duration::from_secs(1);
/// Nanoseconds of a millisecond: the log's own readers show milliseconds.
const MILLISECOND: f64 = 1e6;

/// Arguments of `load`.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// Where requests go: http://127.0.0.1:8080/path, http://unix:/run/server.sock:/path, or echo:// for raw echo
    #[arg(value_name = "URL", value_parser = Url::parse)]
    url: Url,
    /// Requests a second, whatever comes back (default: each connection sends the next when the answer before has come)
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// How many connections at a time
    #[arg(long, value_name = "N", default_value_t = 16)]
    connections: u32,
    /// Threads that share the connections: more than one where `processor` times the rate is near a whole processor
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: u32,
    /// For how long requests begin: 10s, 500ms, 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long one request may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    deadline: Duration,
    /// A connection for each request, instead of one for many
    #[arg(long)]
    fresh: bool,
    /// Come from so many loopback addresses in turn (127.1.0.1 and on): one has ports for some 14 000 connections a second
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(1..=250))]
    sources: Option<u8>,
    /// Beside it so many requests at a time of a client that applications use (reqwest), and what that tells of the same restart
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=4096))]
    application: Option<u32>,
    /// Load another machine: only one that is yours
    #[arg(long)]
    allow_remote: bool,
    /// Write the times of each second to a file that the tools of HdrHistogram read (interval log, V2)
    #[arg(long, value_name = "FILE")]
    histogram: Option<PathBuf>,
    /// Write every request to a file, which `unbroken judge` reads
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Write JSON to standard output instead of text
    #[arg(long)]
    json: bool,
    /// When to colour the text
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    colour: Colour,
    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    progress: ProgressMode,
}

impl Load {
    /// What standard error may be coloured.
    pub(super) fn colour(&self) -> Colour {
        self.colour
    }

    /// Drives the load, and tells what came of it.
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let plan = self.plan()?;
        let mut log =
            self.histogram.as_deref().map(File::create).transpose().map_err(|error| self.unwritable(error))?;
        let interrupt = Interrupt::watch()?;
        let heading = Heading::new(&plan, date::now_rfc3339(), summary::commit());
        let journal = self.record.as_deref().map(|path| Journal::create(path, &heading)).transpose();
        let mut journal = journal.map_err(|error| Failure::Environment(error.into()))?;
        let teller = Teller::new(self.progress);
        let application = self.application.map(|at_a_time| Eye::open(&plan, at_a_time)).transpose()?;
        let mut intervals = Vec::new();
        let report = drive(&plan, EVERY, interrupt.stop(), &mut |seen| {
            if let Some(journal) = &mut journal {
                journal.take(&seen);
            }
            if let Seen::Interval(interval) = seen {
                teller.tell(interval);
                if self.histogram.is_some() {
                    intervals.push(interval.clone());
                }
            }
        });
        teller.finish();
        let report = report.map_err(|error| match error {
            DriveError::Plan(wrong) => Failure::Usage(wrong.to_string()),
            system => Failure::Environment(system.into()),
        })?;
        let view = application.map(|eye| eye.close(&report)).transpose()?;
        if let Some(journal) = journal {
            journal.finish(&report).map_err(|error| Failure::Environment(error.into()))?;
        }
        let report = LoadReport::new(heading, report).beside(view);
        if self.json {
            let text = serde_json::to_string_pretty(&report).expect("a report is plain data");
            say(&(text + "\n"))?;
        } else {
            say(&terminal(&report, self.colour.on_stdout()))?;
        }
        if let Some(log) = &mut log {
            write_log(log, &intervals).map_err(|error| self.unwritable(error))?;
        }
        interrupt.end_if_asked();
        Ok(report.exit())
    }

    fn plan(&self) -> Result<DrivePlan, Failure> {
        let plan = DrivePlan {
            to: self.url.to.clone(),
            protocol: self.url.protocol,
            host: self.url.host.clone(),
            path: self.url.path.clone(),
            connections: self.connections,
            threads: self.threads,
            kept: !self.fresh,
            pace: self.rate.map_or(Pace::AsAnswered, Pace::PerSecond),
            duration: self.duration,
            deadline: self.deadline,
            source: self.sources.map_or(Source::Any, Source::loopback),
        };
        if plan.is_remote() && !self.allow_remote {
            return Err(Failure::Usage(format!(
                "{} is not this machine's loopback: a load without pause is an attack on whoever did not ask for it. Add \
                 `--allow-remote` where the server is yours",
                plan.to
            )));
        }
        plan.check().map_err(|wrong| Failure::Usage(wrong.to_string()))?;
        Ok(plan)
    }

    fn unwritable(&self, error: io::Error) -> Failure {
        let path = self.histogram.as_deref().unwrap_or_else(|| "".as_ref());
        Failure::environment(format_args!("write the times to {}", path.display()), error)
    }
}

/// The application's eye, where it was built in.
#[cfg(feature = "app-view")]
struct Eye(Application);

#[cfg(feature = "app-view")]
impl Eye {
    fn open(plan: &DrivePlan, at_a_time: u32) -> Result<Eye, Failure> {
        let begun = Application::begin(plan, at_a_time);
        begun.map(Eye).map_err(|error| match error {
            ApplicationError::Peer(_) => Failure::Usage(error.to_string()),
            system => Failure::Environment(system.into()),
        })
    }

    /// What of the kernel's count was the load's own is no loss of the application.
    fn close(self, report: &DriveReport) -> Result<ApplicationView, Failure> {
        let ours = [FailureClass::Unread, FailureClass::Crossed];
        let ours = ours.iter().filter_map(|class| report.failed.get(class)).sum();
        self.0.finish(ours).map_err(|error| Failure::Environment(error.into()))
    }
}

#[cfg(not(feature = "app-view"))]
struct Eye(std::convert::Infallible);

#[cfg(not(feature = "app-view"))]
impl Eye {
    fn open(_plan: &DrivePlan, _at_a_time: u32) -> Result<Eye, Failure> {
        let fix = "build it with the feature `app-view`, which is on by default";
        Err(Failure::Usage(format!("`--application`: this unbroken was built without such a client: {fix}")))
    }

    fn close(self, _report: &DriveReport) -> Result<ApplicationView, Failure> {
        match self.0 {}
    }
}

/// The intervals as HdrHistogram's tools read them.
fn write_log(file: &mut File, intervals: &[Interval]) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let took = intervals.last().map_or(Duration::ZERO, |last| Duration::from_nanos(last.to.0));
    let began = SystemTime::now() - took;
    let mut buffered = BufWriter::new(file);
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(&format!("[Logged with unbroken {}]", env!("CARGO_PKG_VERSION")))
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(MILLISECOND)
        .begin_log_with(&mut buffered, &mut serializer)?;
    log.write_comment("times in nanoseconds; the largest of each interval in milliseconds")?;
    for interval in intervals {
        let (from, length) = (Duration::from_nanos(interval.from.0), interval.to.since(interval.from));
        log.write_histogram(&interval.times, from, length, None).map_err(io::Error::other)?;
    }
    drop(log);
    io::Write::flush(&mut buffered)
}

/// Shows each second as it is over.
enum Teller {
    Bar(ProgressBar),
    Lines,
    Silent,
}

impl Teller {
    fn new(mode: ProgressMode) -> Teller {
        match mode {
            ProgressMode::None => Teller::Silent,
            ProgressMode::Auto if io::stderr().is_terminal() => {
                let style = ProgressStyle::with_template("{msg}").expect("the template is a constant and right");
                Teller::Bar(ProgressBar::new_spinner().with_style(style))
            }
            ProgressMode::Plain | ProgressMode::Auto => Teller::Lines,
        }
    }

    fn tell(&self, interval: &Interval) {
        match self {
            Teller::Silent => {}
            Teller::Lines => tell(&format!("{}\n", line(interval))),
            Teller::Bar(bar) => bar.set_message(line(interval)),
        }
    }

    fn finish(&self) {
        if let Teller::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

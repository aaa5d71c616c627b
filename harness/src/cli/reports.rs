//! Where reports go: standard output, and files that are opened before anything runs.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::output::{WIDTH, say, width};
use crate::cli::options::ReportOptions;
use crate::report::{Format, Page, matrix};
use crate::summary::{Exit, Summary};

/// A report that goes to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    format: Format,
    path: PathBuf,
}

impl Destination {
    /// Reads "FORMAT=PATH".
    pub(super) fn parse(text: &str) -> Result<Destination, String> {
        let (format, path) = text.split_once('=').ok_or("write FORMAT=PATH, for example json=report.json")?;
        if path.is_empty() {
            return Err("the path is empty: write for example json=report.json".to_owned());
        }
        let format = format.parse().map_err(|error: crate::report::UnknownFormat| error.to_string())?;
        Ok(Destination { format, path: PathBuf::from(path) })
    }
}

/// A file that a report goes to, opened before anything runs: a path that cannot be written is told at once, not after a minute of work;
/// and tier B as root gives up its rights before the report is written.
pub(super) struct ReportFile<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> ReportFile<'a> {
    /// Opens it, and leaves alone what it holds.
    pub(super) fn open(path: &'a Path) -> Result<ReportFile<'a>, Failure> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let file =
            file.map_err(|error| Failure::Usage(format!("the report {} cannot be written: {error}", path.display())))?;
        Ok(ReportFile { path, file })
    }

    /// Writes the report in the place of what it held.
    pub(super) fn write(&mut self, text: &str) -> Result<(), Failure> {
        put(&mut self.file, text)
            .map_err(|error| Failure::environment(format!("write the report {}", self.path.display()), error))
    }
}

/// The reports of one invocation.
pub(super) struct Reports<'a> {
    options: &'a ReportOptions,
    files: Vec<(Format, ReportFile<'a>)>,
}

impl<'a> Reports<'a> {
    /// Opens the files.
    pub(super) fn open(options: &'a ReportOptions) -> Result<Reports<'a>, Failure> {
        let open = |to: &'a Destination| Ok((to.format, ReportFile::open(&to.path)?));
        Ok(Reports { options, files: options.report.iter().map(open).collect::<Result<_, Failure>>()? })
    }

    /// Writes the report everywhere it belongs.
    pub(super) fn write(&mut self, summary: &Summary, exit: Exit, here: &Path) -> Result<(), Failure> {
        self.write_with(here, |format, page| format.render(summary, exit, page))
    }

    /// The same side by side, where it is text for people.
    pub(super) fn write_matrix(&mut self, summary: &Summary, exit: Exit, here: &Path) -> Result<(), Failure> {
        self.write_with(here, |format, page| match format {
            Format::Terminal => matrix::text(summary, exit, page),
            Format::Json | Format::Junit | Format::Markdown => format.render(summary, exit, page),
        })
    }

    /// Writes a report of another kind everywhere it belongs.
    pub(super) fn write_with(
        &mut self,
        here: &Path,
        render: impl Fn(Format, &Page<'_>) -> String,
    ) -> Result<(), Failure> {
        for (format, file) in &mut self.files {
            file.write(&render(*format, &Page { width: WIDTH, colour: false, here }))?;
        }
        let format = if self.options.json { Format::Json } else { Format::Terminal };
        let page = Page { width: width(), colour: self.options.colour.on_stdout(), here };
        say(&render(format, &page))
    }
}

fn put(file: &mut File, text: &str) -> std::io::Result<()> {
    // An older report may be longer. Devices and pipes have no length.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_format_and_a_path() {
        let want = Destination { format: Format::Json, path: PathBuf::from("a=b.json") };
        assert_eq!(Destination::parse("json=a=b.json"), Ok(want));
        assert!(Destination::parse("html=x").expect_err("unknown").contains("use terminal, json, junit or markdown"));
        assert!(Destination::parse("json").expect_err("no path").contains("FORMAT=PATH"));
    }
}

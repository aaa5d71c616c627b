//! Standard output and standard error: what may be coloured, how wide it is, and that a closed pipe is no error.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;

use super::failure::Failure;

/// Columns of a report that goes to no terminal.
pub(super) const WIDTH: usize = 120;
/// Wider lines tire the eye.
const WIDTH_MAX: usize = 160;

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// For standard output.
    pub(super) fn on_stdout(self) -> bool {
        self.decide(|| AutoStream::choice(&io::stdout()))
    }

    /// For standard error.
    pub(super) fn on_stderr(self) -> bool {
        self.decide(|| AutoStream::choice(&io::stderr()))
    }

    fn decide(self, auto: impl FnOnce() -> ColorChoice) -> bool {
        match self {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => auto() != ColorChoice::Never,
        }
    }
}

/// Columns of standard output.
pub(super) fn width() -> usize {
    if !io::stdout().is_terminal() {
        return WIDTH;
    }
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col).min(WIDTH_MAX),
        // A terminal that does not know its size (a serial line).
        Ok(_) | Err(_) => WIDTH,
    }
}

/// Writes to standard output. A reader that has gone away is no error: it has seen what it wanted.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::environment("write to standard output", error)),
    }
}

/// Writes to standard error, in one piece and at once. When that is gone there is nobody left to tell.
pub(super) fn tell(text: &str) {
    let _nobody = io::stderr().lock().write_all(text.as_bytes());
}

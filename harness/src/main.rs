//! The command `unbroken`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else, above all before any thread: this executable is also its own init and guardian, and the
    // reference server that a copy of it is started as.
    unbroken::sandbox::run_if_asked();
    unbroken_reference::run_if_asked();
    unbroken::cli::main()
}

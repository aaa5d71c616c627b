//! Versions of the test's own program, installed as a deploy does it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use unbroken_reference::version;

/// Installs a copy with this version by rename.
pub(crate) fn install(directory: &Path, number: u64) {
    let new = directory.join("new");
    fs::copy("/proc/self/exe", &new).expect("copy");
    let mut file = File::options().append(true).open(&new).expect("open");
    file.write_all(version::trailer(number).as_bytes()).expect("stamp");
    drop(file);
    fs::rename(new, directory.join("unbroken-reference")).expect("install");
}

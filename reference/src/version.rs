//! The deployed version, carried by the executable file itself.
//!
//! ELF ignores bytes behind its last section, so a version can be appended to a copy of an executable: a last line
//! `unbroken-version=N`. A generation reads it from `/proc/self/exe`, which is the image that runs, whatever has been renamed
//! over its path since. So an answer that carries the version proves which image serves. (Read, never executed: executing
//! `/proc/self/exe` starts the old inode again.)

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Begins the trailer; the number and a newline follow.
pub const PREFIX: &str = "\nunbroken-version=";

/// Longest trailer: prefix, the 20 digits of the largest `u64`, newline.
const TRAILER_MAX: u64 = 64;

/// The trailer to append to an executable.
#[must_use]
pub fn trailer(version: u64) -> String {
    format!("{PREFIX}{version}\n")
}

/// Version of the running image; 0 without a trailer.
///
/// # Errors
/// When `/proc/self/exe` cannot be read.
pub fn own() -> io::Result<u64> {
    of(Path::new("/proc/self/exe"))
}

/// Version of an executable file; 0 without a trailer.
///
/// # Errors
/// When the file cannot be read.
pub fn of(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TRAILER_MAX)))?;
    let mut tail = Vec::new();
    file.take(TRAILER_MAX).read_to_end(&mut tail)?;
    Ok(parse(&tail).unwrap_or(0))
}

/// The version from the end of a file: only the very last line counts, so a file can be stamped again.
fn parse(tail: &[u8]) -> Option<u64> {
    let line = tail.strip_suffix(b"\n")?;
    let start = line.iter().rposition(|&byte| byte == b'\n')?;
    let digits = line[start..].strip_prefix(PREFIX.as_bytes())?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, want: Option<u64>) {
        assert_eq!(parse(input.as_bytes()), want, "{input:?}");
    }

    #[test]
    fn only_the_last_whole_line_is_the_version() {
        check("\x7fELF\nunbroken-version=7\n", Some(7));
        check("\nunbroken-version=1\n\nunbroken-version=2\n", Some(2));
        check(&trailer(u64::MAX), Some(u64::MAX));
        check("\nunbroken-version=7", None);
        check("\nunbroken-version=\n", None);
        check("\nunbroken-version=-7\n", None);
        check("\nunbroken-version=7\nmore\n", None);
        check("unbroken-version=7\n", None);
        check("", None);
    }

    #[test]
    fn an_unstamped_file_has_version_zero() {
        assert_eq!(own().expect("readable"), 0);
    }
}

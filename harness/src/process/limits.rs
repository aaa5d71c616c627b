//! `/proc/PID/limits` (proc_pid_limits(5)): a table in columns of fixed width.

use crate::event::{Limit, Limits};

/// Width of the first column, in which names have spaces.
const NAME: usize = 25;

/// Every limit by its name. Lines that are none, such as the heading, are passed over.
#[must_use]
pub fn limits(text: &str) -> Limits {
    let parse = |line: &str| {
        let (name, values) = line.split_at_checked(NAME)?;
        let mut values = values.split_ascii_whitespace().map(value);
        Some((name.trim_end().to_owned(), Limit { soft: values.next()??, hard: values.next()?? }))
    };
    text.lines().filter_map(parse).collect()
}

/// "unlimited" is `None`.
fn value(word: &str) -> Option<Option<u64>> {
    if word == "unlimited" { Some(None) } else { word.parse().ok().map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_by_its_columns() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max cpu time              unlimited            unlimited            seconds   \n\
                    Max open files            1024                 524288               files     \n\
                    Max nice priority         0                    0                    \n";
        let limits = limits(text);
        assert_eq!(limits.len(), 3, "{limits:?}");
        assert_eq!(limits["Max open files"], Limit { soft: Some(1024), hard: Some(524_288) });
        assert_eq!(limits["Max cpu time"], Limit { soft: None, hard: None });
        assert_eq!(limits["Max nice priority"], Limit { soft: Some(0), hard: Some(0) });
    }

    #[test]
    fn our_own_are_read() {
        let text = std::fs::read_to_string("/proc/self/limits").expect("/proc is mounted");
        assert!(limits(&text).contains_key("Max open files"));
    }
}

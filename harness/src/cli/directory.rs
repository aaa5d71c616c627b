//! Where run directories go when the user does not say.

use std::fs;
use std::path::{Path, PathBuf};

/// The default: `target/unbroken` of the Cargo workspace, or of the current directory if it is a Cargo package, where
/// `cargo clean` removes it; else `unbroken-runs` here.
pub(super) fn default_directory(here: &Path) -> PathBuf {
    let workspace = here.ancestors().find(|directory| is_workspace(directory));
    match workspace {
        Some(root) => root.join("target/unbroken"),
        None if here.join("Cargo.toml").is_file() => here.join("target/unbroken"),
        None => here.join("unbroken-runs"),
    }
}

fn is_workspace(directory: &Path) -> bool {
    let text = fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
    text.lines().any(|line| line.trim() == "[workspace]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], here: &str, want: &str) {
        let root =
            std::env::temp_dir().join(format!("unbroken-directory-{}-{}", std::process::id(), want.replace('/', "-")));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a scratch directory");
            fs::write(path, text).expect("a scratch file");
        }
        let here = root.join(here);
        fs::create_dir_all(&here).expect("a scratch directory");
        let got = default_directory(&here);
        fs::remove_dir_all(&root).expect("the scratch directory goes");
        assert_eq!(got, root.join(want));
    }

    #[test]
    fn a_workspace_keeps_its_runs_in_its_target() {
        let files = [("w/Cargo.toml", "[workspace]\nmembers = [\"a\"]\n"), ("w/a/Cargo.toml", "[package]\n")];
        check(&files, "w/a", "w/target/unbroken");
    }

    #[test]
    fn a_lone_package_keeps_them_in_its_target() {
        check(&[("p/Cargo.toml", "[package]\n")], "p", "p/target/unbroken");
    }

    #[test]
    fn elsewhere_they_have_a_directory_of_their_own() {
        check(&[], "plain", "plain/unbroken-runs");
    }
}

//! The further sockets of a master, as a file lists them: read anew for each version, and given up only when that serves.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::further::{self, Address, Further};

/// The sockets that serve, and those of a version that does not serve yet.
#[derive(Debug, Default)]
pub struct Listing {
    file: Option<PathBuf>,
    serving: Further,
    next: Option<Further>,
}

impl Listing {
    /// Nothing yet; later what this file lists, if there is one.
    #[must_use]
    pub fn of(file: Option<&Path>) -> Self {
        Self { file: file.map(Path::to_owned), ..Self::default() }
    }

    /// Reads the file anew: binds what is new there beside all that there is. While a version is starting it has what was made for it:
    /// another one that begins beside it gets the same.
    ///
    /// # Errors
    /// What is wrong with the file, or cannot be bound; nothing has changed then.
    pub fn renew(&mut self) -> Result<(), String> {
        if self.next.is_some() || self.file.is_none() {
            return Ok(());
        }
        let copies = self.serving.sockets().iter().map(OwnedFd::try_clone).collect::<Result<_, _>>();
        let copies = copies.map_err(|error| format!("keep its further listeners: {error}"))?;
        self.next = Some(Further::take(&Address::listed(self.file.as_deref())?, copies)?);
        Ok(())
    }

    /// What the next process is to be handed.
    #[must_use]
    pub fn sockets(&self) -> &[OwnedFd] {
        self.next.as_ref().unwrap_or(&self.serving).sockets()
    }

    /// The version that they were made for serves: those that it does not list are closed, and their files go.
    pub fn settle(&mut self) {
        if let Some(next) = self.next.take() {
            self.serving = next;
            self.serving.settle();
        }
    }

    /// The version that they were made for never serves: what was made for it is undone.
    pub fn abandon(&mut self) {
        self.next = None;
    }

    /// Nobody is to be taken in any more; the files are removed.
    pub fn close(&mut self) {
        self.next = None;
        further::remove(std::mem::take(&mut self.serving).files());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_version_that_serves_has_what_it_lists_and_one_that_does_not_changes_nothing() {
        let scratch = Scratch::new("listing");
        let path = |name: &str| scratch.path().join(name);
        let list = |names: &[&str]| {
            let lines: Vec<String> = names.iter().map(|name| format!("unix:{}", path(name).display())).collect();
            fs::write(path("list"), lines.join("\n")).expect("write");
        };
        let listens = |name: &str| UnixStream::connect(path(name)).is_ok();
        let mut listing = Listing::of(Some(&path("list")));
        list(&["kept", "dropped"]);
        listing.renew().expect("bind");
        listing.settle();
        list(&["kept", "added"]);
        listing.renew().expect("bind");
        assert!(listens("kept") && listens("dropped") && listens("added"));
        assert_eq!(listing.sockets().len(), 2);
        let held: Vec<_> = listing.sockets().iter().map(|it| it.try_clone().expect("dup")).collect();
        listing.renew().expect("another version that begins beside it");
        drop(held);
        listing.abandon();
        assert!(listens("dropped") && !path("added").exists());
        fs::write(path("list"), "nonsense").expect("write");
        listing.renew().expect_err("it is no address");
        assert_eq!(listing.sockets().len(), 2, "those before");
        list(&["kept", "added"]);
        listing.renew().expect("bind");
        listing.settle();
        assert!(listens("kept") && listens("added") && !path("dropped").exists());
        listing.close();
        assert!(!path("kept").exists() && !path("added").exists());
    }

    #[test]
    fn without_a_file_there_is_nothing() {
        let mut listing = Listing::of(None);
        listing.renew().expect("nothing to read");
        listing.settle();
        assert_eq!(listing.sockets().len(), 0);
    }
}

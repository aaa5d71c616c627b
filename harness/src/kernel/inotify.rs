//! inotify(7) on one name of one directory.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

/// About 300 events of a short name; what does not fit is read by the next call.
const BUFFER_BYTES: usize = 16 * 1024;

/// What happened to the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameEvent {
    /// IN_CREATE.
    Created,
    /// IN_MODIFY.
    Modified,
    /// IN_CLOSE_WRITE.
    ClosedAfterWrite,
    /// IN_DELETE.
    Deleted,
    /// IN_MOVED_FROM.
    MovedFrom,
    /// IN_MOVED_TO.
    MovedTo,
    /// IN_OPEN, which only [`NameWatch::of_readers`] tells.
    Opened,
    /// IN_Q_OVERFLOW: events were lost.
    Overflow,
    /// The directory itself was moved, deleted or unmounted: nothing more will come.
    Blind,
}

/// A watch for one name in a directory. Identical events in a row that nobody has read yet are one (inotify(7)):
/// a truncation and a write may be one `Modified`, nothing else of ours can merge.
#[derive(Debug)]
pub struct NameWatch {
    inotify: OwnedFd,
    name: OsString,
}

impl NameWatch {
    /// Watches `name` in `directory`, which must exist. Events from here on are kept.
    ///
    /// # Errors
    /// When the directory is absent or unreadable, or the user's inotify limits are used up.
    pub fn open(directory: &Path, name: &OsStr) -> io::Result<NameWatch> {
        // EXCL_UNLINK: a process that still writes to a file already unlinked or renamed over does not change the name.
        let flags = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVE_SELF
            | WatchFlags::EXCL_UNLINK
            | WatchFlags::ONLYDIR;
        NameWatch::add(directory, name, flags)
    }

    /// Watches `name` for what is renamed to it and for who opens it.
    ///
    /// # Errors
    /// As [`NameWatch::open`].
    pub fn of_readers(directory: &Path, name: &OsStr) -> io::Result<NameWatch> {
        NameWatch::add(directory, name, WatchFlags::MOVED_TO | WatchFlags::OPEN | WatchFlags::ONLYDIR)
    }

    fn add(directory: &Path, name: &OsStr, flags: WatchFlags) -> io::Result<NameWatch> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        add_watch(&inotify, directory, flags)?;
        Ok(NameWatch { inotify, name: name.to_owned() })
    }

    /// One read: the events of the name among what it returned, in their order; `None` when the queue was empty.
    ///
    /// # Errors
    /// When read(2) fails.
    pub fn read(&mut self) -> io::Result<Option<Vec<NameEvent>>> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let ours = event.file_name().is_some_and(|name| name.to_bytes() == self.name.as_bytes());
                    events.extend(classify(event.events(), ours));
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            if reader.is_buffer_empty() {
                return Ok(Some(events));
            }
        }
    }
}

impl AsFd for NameWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn classify(flags: ReadFlags, ours: bool) -> Option<NameEvent> {
    const NAMED: [(ReadFlags, NameEvent); 7] = [
        (ReadFlags::CREATE, NameEvent::Created),
        (ReadFlags::MODIFY, NameEvent::Modified),
        (ReadFlags::CLOSE_WRITE, NameEvent::ClosedAfterWrite),
        (ReadFlags::DELETE, NameEvent::Deleted),
        (ReadFlags::MOVED_FROM, NameEvent::MovedFrom),
        (ReadFlags::MOVED_TO, NameEvent::MovedTo),
        (ReadFlags::OPEN, NameEvent::Opened),
    ];
    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
        return Some(NameEvent::Overflow);
    }
    if flags.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT | ReadFlags::MOVE_SELF) {
        return Some(NameEvent::Blind);
    }
    if !ours {
        return None;
    }
    NAMED.into_iter().find(|(flag, _)| flags.contains(*flag)).map(|(_, event)| event)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_the_name_is_told_and_a_lost_directory_too() {
        let directory = std::env::temp_dir().join(format!("unbroken-inotify-{}", std::process::id()));
        fs::create_dir(&directory).expect("mkdir");
        let mut watch = NameWatch::open(&directory, OsStr::new("pid")).expect("watch");
        assert_eq!(watch.read().expect("read"), None);
        fs::write(directory.join("other"), "1").expect("write");
        fs::rename(directory.join("other"), directory.join("pid")).expect("rename");
        assert_eq!(watch.read().expect("read"), Some(vec![NameEvent::MovedTo]));
        fs::remove_dir_all(&directory).expect("remove");
        assert_eq!(watch.read().expect("read"), Some(vec![NameEvent::Deleted, NameEvent::Blind]));
    }

    #[test]
    fn a_writer_of_an_unlinked_file_does_not_touch_the_name() {
        use std::io::Write;
        let directory = std::env::temp_dir().join(format!("unbroken-inotify-unlinked-{}", std::process::id()));
        fs::create_dir(&directory).expect("mkdir");
        let mut old = fs::File::create(directory.join("pid")).expect("create");
        let mut watch = NameWatch::open(&directory, OsStr::new("pid")).expect("watch");
        fs::write(directory.join("new"), "2").expect("write");
        fs::rename(directory.join("new"), directory.join("pid")).expect("rename");
        old.write_all(b"1").expect("write");
        drop(old);
        assert_eq!(watch.read().expect("read"), Some(vec![NameEvent::MovedTo]));
        fs::remove_dir_all(&directory).expect("remove");
    }

    #[test]
    fn an_absent_directory_is_an_error() {
        assert!(NameWatch::open(Path::new("/absent/for/sure"), OsStr::new("pid")).is_err());
    }
}

//! A file system in memory, which can be full to the last byte (tmpfs(5)).

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::mount::{MountFlags, mount, mount_remount};

/// Room for all that a target writes, and for several copies of its executable. Only what is written takes memory.
const ROOM: u64 = 4 << 30;

/// How often a size is tried that somebody has outgrown meanwhile.
const TRIES: u32 = 100;

/// One, where it is mounted in the mount namespace of the calling thread.
#[derive(Debug)]
pub struct Tmpfs {
    place: PathBuf,
}

impl Tmpfs {
    /// Mounts an empty one.
    ///
    /// # Errors
    /// Those of mount(2): EPERM without CAP_SYS_ADMIN over the mount namespace.
    pub fn mount(place: &Path) -> io::Result<Tmpfs> {
        let options = CString::new(format!("mode=0755,size={ROOM}")).expect("there is no NUL in it");
        mount("tmpfs", place, "tmpfs", MountFlags::NODEV, options.as_c_str())?;
        Ok(Tmpfs { place: place.to_owned() })
    }

    /// Takes all the room that is left: whoever writes more than what somebody gives free gets ENOSPC. Gives its size, and how
    /// much of that is in use, in bytes.
    ///
    /// # Errors
    /// When it grows faster than it can be bounded.
    pub fn fill(&self) -> io::Result<(u64, u64)> {
        for _ in 0..TRIES {
            let (_size, used) = self.size()?;
            match self.bound(used) {
                Ok(()) => return self.size(),
                // Somebody has written meanwhile.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "somebody writes without a pause"))
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// Those of mount(2).
    pub fn widen(&self) -> io::Result<()> {
        self.bound(ROOM)
    }

    /// Nobody can write a byte to it: we have tried.
    ///
    /// # Errors
    /// Others than ENOSPC.
    pub fn is_full(&self) -> io::Result<bool> {
        let probe = self.place.join("probe-of-a-full-disk");
        let written = fs::File::create(&probe).and_then(|mut file| file.write_all(b"x"));
        match fs::remove_file(&probe) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match written {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(true),
            written => written.map(|()| false),
        }
    }

    fn size(&self) -> io::Result<(u64, u64)> {
        let told = statfs(&self.place)?;
        let block = told.f_bsize.unsigned_abs();
        Ok((told.f_blocks * block, (told.f_blocks - told.f_bfree) * block))
    }

    fn bound(&self, size: u64) -> io::Result<()> {
        let options = CString::new(format!("size={size}")).expect("there is no NUL in it");
        Ok(mount_remount(&self.place, MountFlags::NODEV, options.as_c_str())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::namespace::enter_mount_namespace;

    #[test]
    fn a_full_one_takes_no_byte_until_there_is_room_again() {
        let place = std::env::temp_dir().join(format!("unbroken-tmpfs-{}", std::process::id()));
        fs::create_dir(&place).expect("mkdir");
        let tried = std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                enter_mount_namespace().map_err(io::Error::other)?;
                let disk = Tmpfs::mount(&place)?;
                fs::write(place.join("small"), "12\n").expect("there is room");
                let (size, used) = disk.fill().expect("fill");
                assert_eq!(size, used);
                assert!(disk.is_full().expect("probe"));
                // The name is there, and nothing in it: what an unchecked write leaves.
                fs::write(place.join("other"), "13\n").expect_err("it is full");
                assert_eq!(fs::read(place.join("other")).expect("read"), b"");
                disk.widen().expect("widen");
                assert!(!disk.is_full().expect("probe"));
                fs::write(place.join("other"), "13\n").expect("there is room");
                Ok::<(), io::Error>(())
            });
            there.join().expect("it does not panic")
        });
        if let Err(error) = tried {
            let _told = writeln!(io::stderr(), "unavailable: mount namespaces ({error})");
        }
        assert_eq!(fs::read_dir(&place).expect("read").count(), 0, "nothing of it is seen from here");
        fs::remove_dir(&place).expect("nothing is mounted here");
    }
}

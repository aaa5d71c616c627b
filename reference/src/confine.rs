//! Giving up what a daemon needs only to begin: the rest of the file tree (chroot(2)) and its privileges.
//!
//! The order decides everything:
//!
//! 1. In the launcher, names become numbers: `/etc/passwd` may be out of reach later, and whoever made a typing error is told.
//! 2. What needs privileges is had: a low port, the pidfile in `/run`, the log in `/var/log`.
//! 3. chroot(2), and chdir(2) into it: without that the working directory lies outside, and `..` leads on.
//! 4. setgroups(2), setgid(2), setuid(2): each needs what the next one takes away. What they did is read back, because a
//!    half-dropped privilege serves as well as one that is dropped, until somebody makes use of it.
//! 5. Only then does the daemon say that it is ready.
//!
//! Afterwards its pidfile and its log are open as before, and their paths may not be reachable: see [`crate::pidfile::Pidfile::remove`]
//! and [`crate::logfile::LogFile::reopen`]. The pidfile stays root's: whoever can write into it names the process that the next `stop`
//! signals (CVE-2017-11747).
//!
//! A chroot is no cage for root, and none for a descriptor of a directory outside: keep none.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};

use crate::defect::{Defect, KeptGroups};

/// Who a daemon is, once it has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    user: Uid,
    group: Gid,
    /// All of them, sorted.
    groups: Vec<Gid>,
}

/// What a daemon is left with. The default takes nothing away.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// The new root; absolute and without links.
    root: Option<PathBuf>,
    credentials: Option<Credentials>,
    defect: Option<Defect>,
}

/// Why it is not confined.
#[derive(Debug)]
pub enum ConfineError {
    /// There is no such user; or a number without an account, for which no group was given.
    User(String),
    /// There is no such group.
    Group(String),
    /// A system call failed.
    Call(&'static str, io::Error),
    /// The calls succeeded, and the process has other credentials than it was to have.
    NotDropped(&'static str),
}

impl fmt::Display for ConfineError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => {
                write!(out, "become user {name}: no such user (a number without an account needs a group)")
            }
            Self::Group(name) => write!(out, "become group {name}: no such group"),
            Self::Call(what, error) => write!(out, "{what}: {error}"),
            Self::NotDropped(what) => write!(out, "drop its privileges: it has another {what} than it was to have"),
        }
    }
}

impl std::error::Error for ConfineError {}

fn call(what: &'static str) -> impl Fn(nix::Error) -> ConfineError {
    move |errno| ConfineError::Call(what, errno.into())
}

impl Credentials {
    /// Of a user and a group, each by name or by number. Without a user only the group changes, without a group it is the user's own.
    /// The user's further groups (initgroups(3)) come along, the launcher's never do.
    ///
    /// # Errors
    /// [`ConfineError::User`], [`ConfineError::Group`], or what reading the databases reports.
    pub fn of(user: Option<&str>, group: Option<&str>) -> Result<Option<Self>, ConfineError> {
        if user.is_none() && group.is_none() {
            return Ok(None);
        }
        let account = user.map(find_user).transpose()?;
        let group = match (group, &account) {
            (Some(group), _) => find_group(group)?,
            (None, Some((_, Some(account)))) => account.gid,
            (None, _) => return Err(ConfineError::User(user.unwrap_or_default().to_owned())),
        };
        let (user, account) = account.unwrap_or((Uid::effective(), None));
        let mut groups = match account {
            Some(account) => {
                let name = CString::new(account.name).expect("a name of an account holds no NUL");
                nix::unistd::getgrouplist(&name, group).map_err(call("find its groups"))?
            }
            None => vec![group],
        };
        groups.sort_by_key(|group| group.as_raw());
        groups.dedup();
        Ok(Some(Self { user, group, groups }))
    }

    /// Whom a file of the daemon's is to belong to.
    #[must_use]
    pub fn owner(&self) -> (Uid, Gid) {
        (self.user, self.group)
    }

    /// Becomes them, for ever: real, effective and saved.
    fn assume(&self, defect: Option<Defect>) -> Result<(), ConfineError> {
        if defect != Some(Defect::Privileges(KeptGroups::Supplementary)) {
            nix::unistd::setgroups(&self.groups).map_err(call("set its groups"))?;
        }
        if defect != Some(Defect::Privileges(KeptGroups::Own)) {
            nix::unistd::setresgid(self.group, self.group, self.group).map_err(call("set its group"))?;
        }
        nix::unistd::setresuid(self.user, self.user, self.user).map_err(call("set its user"))?;
        // Whoever reads it back would know.
        if matches!(defect, Some(Defect::Privileges(_))) { Ok(()) } else { self.verify() }
    }

    /// Reads back what the kernel says, and tries the way back.
    fn verify(&self) -> Result<(), ConfineError> {
        let users = nix::unistd::getresuid().map_err(call("read its user"))?;
        if [users.real, users.effective, users.saved] != [self.user; 3] {
            return Err(ConfineError::NotDropped("user"));
        }
        let groups = nix::unistd::getresgid().map_err(call("read its group"))?;
        if [groups.real, groups.effective, groups.saved] != [self.group; 3] {
            return Err(ConfineError::NotDropped("group"));
        }
        let mut further = nix::unistd::getgroups().map_err(call("read its groups"))?;
        further.sort_by_key(|group| group.as_raw());
        if further != self.groups {
            return Err(ConfineError::NotDropped("list of groups"));
        }
        // A capability that survived (securebits, CAP_SETUID in a user namespace) would lead back.
        if !self.user.is_root() && nix::unistd::setuid(Uid::from_raw(0)).is_ok() {
            return Err(ConfineError::NotDropped("way back"));
        }
        Ok(())
    }
}

/// By name, else by number; with its account, if it has one.
fn find_user(user: &str) -> Result<(Uid, Option<User>), ConfineError> {
    let failed = call("look its user up");
    if let Some(account) = User::from_name(user).map_err(&failed)? {
        return Ok((account.uid, Some(account)));
    }
    let uid = Uid::from_raw(number(user).ok_or_else(|| ConfineError::User(user.to_owned()))?);
    Ok((uid, User::from_uid(uid).map_err(&failed)?))
}

fn find_group(group: &str) -> Result<Gid, ConfineError> {
    match Group::from_name(group).map_err(call("look its group up"))? {
        Some(found) => Ok(found.gid),
        None => number(group).map(Gid::from_raw).ok_or_else(|| ConfineError::Group(group.to_owned())),
    }
}

/// -1 is no id: to setresuid(2) it means "as it is".
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

impl Confinement {
    /// To this directory, and to these credentials; either may be none.
    ///
    /// # Errors
    /// What finding the directory reports.
    pub fn new(root: Option<&Path>, credentials: Option<Credentials>) -> Result<Self, ConfineError> {
        let failed = |error| ConfineError::Call("find its new root", error);
        let root = root.map(|root| root.canonicalize()).transpose().map_err(failed)?;
        Ok(Self { root, credentials, defect: None })
    }

    /// The same, entered with this bug.
    #[must_use]
    pub fn with_defect(self, defect: Option<Defect>) -> Self {
        Self { defect, ..self }
    }

    /// Whether there will be another root.
    #[must_use]
    pub fn has_root(&self) -> bool {
        self.root.is_some()
    }

    /// Whom files are to belong to that the daemon has to open again.
    #[must_use]
    pub fn owner(&self) -> Option<(Uid, Gid)> {
        self.credentials.as_ref().map(Credentials::owner)
    }

    /// How an absolute path is called inside; `None` when it lies outside. Ask before entering.
    #[must_use]
    pub fn inside(&self, path: &Path) -> Option<PathBuf> {
        let Some(root) = &self.root else { return Some(path.to_owned()) };
        // The file need not exist, its directory does.
        let directory = path.parent()?.canonicalize().ok()?;
        Some(Path::new("/").join(directory.strip_prefix(root).ok()?).join(path.file_name()?))
    }

    /// Enters it, for ever; `directory` is the working directory, as seen from inside. Call it before the first thread, when everything
    /// is had that needs a privilege, and before saying that the service is there.
    ///
    /// # Errors
    /// [`ConfineError`]; the process is something in between then, and is to end.
    pub fn enter(&self, directory: &Path) -> Result<(), ConfineError> {
        if let Some(root) = &self.root {
            nix::unistd::chroot(root.as_path()).map_err(call("change its root"))?;
            let moved = rustix::process::chdir("/").and_then(|()| rustix::process::chdir(directory));
            moved.map_err(|errno| ConfineError::Call("change its directory inside its root", errno.into()))?;
        }
        self.credentials.as_ref().map_or(Ok(()), |credentials| credentials.assume(self.defect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        let ids = |user, group| {
            Credentials::of(user, group).expect("they exist").map(|it| (it.user.as_raw(), it.group.as_raw()))
        };
        assert_eq!(ids(None, None), None);
        assert_eq!(ids(Some("root"), None), Some((0, 0)));
        assert_eq!(ids(Some("0"), Some("12345")), Some((0, 12345)));
        assert_eq!(ids(None, Some("root")), Some((Uid::effective().as_raw(), 0)));
        let bare = Credentials::of(Some("54321"), Some("12345")).expect("numbers").expect("some");
        assert_eq!(bare.groups, [Gid::from_raw(12345)], "nothing of the launcher's");
    }

    #[test]
    fn what_names_nobody_is_refused() {
        let refused = |user, group| Credentials::of(user, group).expect_err("nobody").to_string();
        assert!(refused(Some("no-such-user"), None).contains("no such user"));
        assert!(refused(Some("4294967295"), Some("0")).contains("no such user"), "-1 would change nothing");
        assert!(refused(Some("-1"), Some("0")).contains("no such user"));
        assert!(refused(Some("54321"), None).contains("needs a group"));
        assert!(refused(None, Some("no-such-group")).contains("no such group"));
    }

    #[test]
    fn a_path_inside_has_another_name_there_and_one_outside_has_none() {
        let scratch = Scratch::new("confine");
        let root = scratch.path().join("root");
        std::fs::create_dir_all(root.join("run")).expect("mkdir");
        std::os::unix::fs::symlink(&root, scratch.path().join("link")).expect("symlink");
        let through_link = scratch.path().join("link");
        let confined = Confinement::new(Some(&through_link), None).expect("it exists");
        assert_eq!(confined.inside(&root.join("run/pid")), Some(PathBuf::from("/run/pid")));
        assert_eq!(confined.inside(&through_link.join("pid")), Some(PathBuf::from("/pid")));
        assert_eq!(confined.inside(&scratch.path().join("pid")), None);
        let free = Confinement::default();
        assert_eq!(free.inside(&scratch.path().join("pid")), Some(scratch.path().join("pid")));
    }
}

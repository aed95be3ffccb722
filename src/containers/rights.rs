//! With whose rights a thread looks at files: its own, or those of the user whose
//! containers it keeps.
//!
//! A user's links and paths then lead nowhere where the user could not go. But the
//! other users of a rootless container (subuid(5)) are the user's, too: what belongs
//! to one of them, and is reached without a link, is opened by root.

use std::cell::RefCell;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::unistd::{Gid, Uid, getegid, geteuid, setfsgid, setfsuid};

use crate::sys;

/// Host users: the first, and how many.
pub type Range = (u32, u32);

struct User {
    uid: Uid,
    gid: Gid,
    /// Those of the user's containers.
    others: Vec<Range>,
}

thread_local! {
    static USER: RefCell<Option<User>> = const { RefCell::new(None) };
}

/// Makes this thread look at files as a user from now on.
///
/// # Errors
/// `EPERM` where the caller is not root.
pub fn become_user(uid: Uid, gid: Gid) -> io::Result<()> {
    sys::read_files_as(uid, gid)?;
    let others = Vec::new();
    USER.set(Some(User { uid, gid, others }));
    Ok(())
}

/// Adds users who are the user's: those that a process of the user has in its user
/// namespace. The kernel made sure of them (newuidmap(1)).
pub fn add_users(ranges: &[Range]) {
    USER.with_borrow_mut(|user| {
        let Some(user) = user else { return };
        for range in ranges {
            // All users are known only where there is no namespace.
            if range.1 != u32::MAX && !user.others.contains(range) {
                user.others.push(*range);
            }
        }
    });
}

/// Does `work` with the directory `dir`: as the user, or, where that is refused and
/// the directory belongs to a user's other user, as root with another name for it.
///
/// # Errors
/// Those of `work`.
pub fn within<T>(dir: &Path, work: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    match work(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => USER.with_borrow(|user| {
            let Some(user) = user else { return Err(error) };
            let _root = AsRoot::new(user);
            match user.open(dir)? {
                Some(open) => work(&name(&open)),
                None => Err(error),
            }
        }),
        done => done,
    }
}

/// As [`within`], for work that tells no more than that something is there.
///
/// # Errors
/// Those of `work`.
pub fn look<T>(work: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match work() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => USER.with_borrow(|user| {
            let Some(user) = user else { return Err(error) };
            let _root = AsRoot::new(user);
            work()
        }),
        done => done,
    }
}

/// A name for an open directory; with the dot it is no link.
fn name(open: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/.", open.as_raw_fd()))
}

impl User {
    fn open(&self, dir: &Path) -> io::Result<Option<File>> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let open = File::from(openat2(AT_FDCWD, dir, how)?);
        let owner = open.metadata()?.uid();
        Ok(contains(&self.others, owner).then_some(open))
    }
}

/// Whether a thing belongs to the thread's user, or to one of the user's others. Of
/// root's stores everything does.
pub fn is_ours(data: &Metadata) -> bool {
    USER.with_borrow(|user| match user {
        Some(user) => data.uid() == user.uid.as_raw() || contains(&user.others, data.uid()),
        None => true,
    })
}

/// Whether one of the ranges has the user.
pub fn contains(ranges: &[Range], uid: u32) -> bool {
    let has = |&(first, count): &Range| uid.checked_sub(first).is_some_and(|n| n < count);
    ranges.iter().any(has)
}

/// Root's rights, until it goes out of scope.
struct AsRoot<'a>(&'a User);

impl<'a> AsRoot<'a> {
    fn new(user: &'a User) -> Self {
        setfsuid(geteuid());
        setfsgid(getegid());
        AsRoot(user)
    }
}

impl Drop for AsRoot<'_> {
    fn drop(&mut self) {
        setfsgid(self.0.gid);
        setfsuid(self.0.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    const USER_ID: u32 = 54_321;
    const OTHER_ID: u32 = 654_321;

    fn made(dir: &Path, name: &str, owner: u32) -> PathBuf {
        let path = dir.join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("f"), name).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        path
    }

    #[test]
    fn a_thread_sees_what_its_user_and_the_containers_users_own() {
        if !geteuid().is_root() {
            eprintln!("skipped: not root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        fs::set_permissions(base, fs::Permissions::from_mode(0o755)).unwrap();
        let own = made(base, "own", USER_ID);
        let other = made(base, "other", OTHER_ID);
        let roots = made(base, "roots", 0);
        symlink(&other, base.join("link")).unwrap();
        let read = |dir: &Path| within(dir, |dir| fs::read_to_string(dir.join("f"))).ok();
        let user = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                become_user(Uid::from_raw(USER_ID), Gid::from_raw(USER_ID)).unwrap();
                assert_eq!(read(&other), None);
                add_users(&[(OTHER_ID, 1), (0, u32::MAX)]);
                [&own, &other, &roots, &base.join("link")].map(|dir| read(dir))
            });
            thread.join().unwrap()
        });
        assert_eq!(user, [Some("own".into()), Some("other".into()), None, None]);
        assert_eq!(
            read(&roots).as_deref(),
            Some("roots"),
            "other threads are root"
        );
    }
}

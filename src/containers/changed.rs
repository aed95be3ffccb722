//! How much of a container changed: what its upper layer holds that is newer than
//! the start of its program.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use nix::dir::{Dir, Type};
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::libc;
use nix::sys::stat::{Mode, fstatat};

/// No more entries of a layer are looked at.
pub const MOST: u64 = 100_000;
/// Nor deeper directories; each open one takes a descriptor.
const DEEPEST: usize = 64;

/// A count, and whether it would have gone on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Files, links, sockets and whiteouts (a deleted file of the image); no directories.
    pub files: u64,
    /// True where [`MOST`] entries or [`DEEPEST`] directories were not enough.
    pub more: bool,
    looked: u64,
}

/// Counts in the upper layer `dir` what changed at or after `since`; None where it
/// cannot be read. Links are never followed.
pub fn changed(dir: &Path, since: SystemTime) -> Option<Changed> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let dir = File::options()
        .read(true)
        .custom_flags(flags)
        .open(dir)
        .ok()?;
    let since = since.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let mut changed = Changed::default();
    let since = (
        i64::try_from(since.as_secs()).ok()?,
        i64::from(since.subsec_nanos()),
    );
    changed.count(dir.into(), since, 0);
    Some(changed)
}

impl Changed {
    fn count(&mut self, dir: OwnedFd, since: (i64, i64), depth: usize) {
        let Ok(mut dir) = Dir::from_fd(dir) else {
            return;
        };
        let mut below: Vec<CString> = Vec::new();
        let names: Vec<_> = dir
            .iter()
            .flatten()
            .map(|entry| (entry.file_name().to_owned(), entry.file_type()))
            .collect();
        for (name, kind) in names {
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            if self.looked >= MOST {
                self.more = true;
                return;
            }
            self.looked += 1;
            match kind {
                Some(Type::Directory) => below.push(name),
                _ => self.files += u64::from(is_newer(&dir, &name, since)),
            }
        }
        for name in below {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            match openat(dir.as_fd(), name.as_c_str(), flags, Mode::empty()) {
                Ok(_) if depth >= DEEPEST => self.more = true,
                Ok(dir) => self.count(dir, since, depth + 1),
                Err(_) => {} // gone meanwhile
            }
        }
    }
}

fn is_newer(dir: &Dir, name: &CStr, since: (i64, i64)) -> bool {
    let stat = fstatat(dir.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| (stat.st_ctime, stat.st_ctime_nsec) >= since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    #[test]
    fn files_and_links_that_are_newer() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/f"), "").unwrap();
        symlink("/", dir.path().join("a/link")).unwrap();
        let now = SystemTime::now();
        let count = |since| changed(dir.path(), since).unwrap();
        let all = count(now - Duration::from_secs(60));
        assert_eq!((all.files, all.more), (2, false));
        assert_eq!(count(now + Duration::from_secs(60)).files, 0);
        assert_eq!(changed(&dir.path().join("a/link"), now), None);
    }

    #[test]
    fn there_is_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut deep = dir.path().to_owned();
        (0..100).for_each(|_| deep.push("d"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f"), "").unwrap();
        let found = changed(dir.path(), SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!((found.files, found.more), (0, true));
    }
}

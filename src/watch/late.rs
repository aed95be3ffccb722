//! Files that get their name late: made without one (`O_TMPFILE`), written, and
//! named by linkat(2) while they are still open. The kernel goes on calling such a
//! file `#` and its inode's number, so the close that ends the writing has to be
//! told under the name that the file has by then.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::openat;
use nix::sys::stat::Mode;

use super::inotify::Inotify;
use super::kernel::Wd;
use super::look::with_nul;
use super::parse::{self, Raw};
use super::scan::{dir_flags, path_flags};
use crate::sys::inotify as sys;
use crate::table::Mask;

/// Pieces of a directory (32 KiB, about 1000 names) that are searched for a file.
const MOST_PIECES: usize = 32;
/// Directories in which files were named last that are searched for one.
pub(super) const MOST_DIRECTORIES: usize = 8;

/// The inode number in a name that the kernel has made up (`d_mark_tmpfile`).
pub(super) fn number(name: &[u8]) -> Option<u64> {
    let digits = name.strip_prefix(b"#")?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl Inotify {
    /// The name that the file has now of which the kernel says, under the number
    /// of its inode, that it was closed after writing.
    pub(super) fn late_name(&mut self, raw: &Raw<'_>) -> Option<Vec<u8>> {
        if !raw.mask.intersects(Mask::CLOSE_WRITE) {
            return None;
        }
        let inode = number(raw.name)?;
        let dir = self.open_watched(raw.wd)?;
        if with_nul(raw.name, |n| sys::stat(dir.as_fd(), n)).is_ok() {
            return None; // a real name that looks like one of these
        }
        self.name_in(raw.wd, &dir, inode)
    }

    /// The directory of a watch, if it still is where it was.
    pub(super) fn open_watched(&mut self, wd: Wd) -> Option<OwnedFd> {
        let places = self.places(self.kernel.get(wd)?.nodes);
        let found = places
            .iter()
            .find_map(|&id| self.open_node(id, path_flags()).ok());
        found.or_else(|| self.open_guard(wd))
    }

    /// The name of the file `inode` in a directory, open as `dir`.
    fn name_in(&mut self, wd: Wd, dir: &OwnedFd, inode: u64) -> Option<Vec<u8>> {
        let places = self.places(self.kernel.get(wd)?.nodes);
        // Our reading is heard by the directory and by the one it is in.
        let mut heard = vec![(wd, Box::default())];
        for node in places.iter().filter_map(|&id| self.tree.get(id)) {
            if let Some(parent) = self.tree.get(node.parent) {
                heard.push((parent.wd, node.name.clone()));
            }
        }
        heard.sort();
        heard.dedup();
        for (wd, name) in heard {
            if self.hears_reading(wd) {
                self.seen.expect_own(wd, &name);
            }
        }
        let name = search(dir, inode, &mut self.entries);
        self.seen.own_done(self.total + self.kernel.queued());
        name
    }

    /// A file was named: it may be one that was made without a name elsewhere.
    pub(super) fn note_created(&mut self, raw: &Raw<'_>) {
        if raw.mask.intersects(Mask::CREATE) && !raw.mask.intersects(Mask::ISDIR) {
            self.created.retain(|wd| *wd != raw.wd);
            self.created.insert(0, raw.wd);
            self.created.truncate(MOST_DIRECTORIES);
        }
    }

    /// Where the file has its name that was written without one in the directory of
    /// `raw`, under which the kernel tells of its close: in the directories in which
    /// files were named of late.
    pub(super) fn named_elsewhere(&mut self, raw: &Raw<'_>) -> Option<(Wd, Vec<u8>)> {
        if !raw.mask.intersects(Mask::CLOSE_WRITE) {
            return None;
        }
        let inode = number(raw.name)?;
        let from = self.open_watched(raw.wd)?;
        if with_nul(raw.name, |n| sys::stat(from.as_fd(), n)).is_ok() {
            return None;
        }
        let device = |dir: &OwnedFd| sys::stat(dir.as_fd(), c"").ok().map(|s| s.device);
        for wd in self.created.clone() {
            let Some(dir) = self.open_watched(wd).filter(|_| wd != raw.wd) else {
                continue;
            };
            if device(&dir) == device(&from)
                && let Some(name) = self.name_in(wd, &dir, inode)
            {
                return Some((wd, name));
            }
        }
        None
    }
}

/// The name of the regular file `inode` in a directory.
pub(super) fn search(dir: &OwnedFd, inode: u64, entries: &mut [u8]) -> Option<Vec<u8>> {
    let list = openat(dir, c".", dir_flags(), Mode::empty()).ok()?;
    let is = |name: &[u8]| {
        with_nul(name, |n| sys::stat(dir.as_fd(), n))
            .is_ok_and(|s| s.inode == inode && s.kind() == libc::S_IFREG)
    };
    for _ in 0..MOST_PIECES {
        let n @ 1.. = sys::getdents(list.as_fd(), entries).ok()? else {
            return None;
        };
        let mut rest = entries.get(..n).unwrap_or_default();
        while let Some((entry, len)) = parse::entry(rest) {
            rest = rest.get(len..).unwrap_or_default();
            if entry.inode == inode && is(entry.name) {
                return Some(entry.name.to_vec());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_names_are_numbers() {
        assert_eq!(number(b"#123"), Some(123));
        for name in [&b"#"[..], b"123", b"#12a", b"#+1", b"#99999999999999999999"] {
            assert_eq!(number(name), None);
        }
    }
}

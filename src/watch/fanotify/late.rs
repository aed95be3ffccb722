//! Files that get their name late (`O_TMPFILE`, linkat(2)): the kernel goes on calling
//! such a file by the number of its inode, and its close is told under the name that it
//! has by then, as `watch/late` does for inotify.

use std::os::fd::{AsFd, OwnedFd};

use super::Fanotify;
use super::tree::{Known, NodeId};
use crate::sys::inotify;
use crate::table::Mask;
use crate::watch::late::{MOST_DIRECTORIES, number, search};
use crate::watch::look::with_nul;

/// A directory, its handle, and a name in it.
type Place = (NodeId, Box<[u8]>, Box<[u8]>);

impl Fanotify {
    /// A file was named in the directory of this handle: it may be one that was made
    /// without a name elsewhere.
    pub(super) fn note_created(&mut self, dir: &[u8]) {
        if self.created.first().is_some_and(|known| **known == *dir) {
            return;
        }
        self.created.retain(|known| **known != *dir);
        self.created.insert(0, dir.into());
        self.created.truncate(MOST_DIRECTORIES);
    }

    /// Where the file is by now of which the kernel says, by its number, that it was
    /// closed after writing: in the directory in which it was made, or in one in which
    /// files were named of late.
    pub(super) fn late_place(
        &mut self,
        id: NodeId,
        (key, name): (&[u8], &[u8]),
        file: &[u8],
        bit: Mask,
    ) -> Option<Place> {
        if bit != Mask::CLOSE_WRITE {
            return None;
        }
        let inode = number(name)?;
        let dir = self.group.open(&self.mounts, key).ok()?;
        if with_nul(name, |n| inotify::stat(dir.as_fd(), n)).is_ok() {
            return None; // a real name that looks like one of these
        }
        // The number may be another file's by now.
        if let Some(name) = search(&dir, inode, &mut self.buffer)
            && self.is_there(key, &name, file)
        {
            return Some((id, key.into(), name.into()));
        }
        let device = |dir: &OwnedFd| inotify::stat(dir.as_fd(), c"").ok().map(|s| s.device);
        for other in self.created.clone() {
            let Known::Node(at) = self.tree.known(&other) else {
                continue;
            };
            let Ok(there) = self.group.open(&self.mounts, &other) else {
                continue;
            };
            if device(&there) == device(&dir)
                && let Some(name) = search(&there, inode, &mut self.buffer)
                && self.is_there(&other, &name, file)
            {
                return Some((at, other, name.into()));
            }
        }
        None
    }
}

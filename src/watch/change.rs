//! Keeping the picture true: directories that come, go and move.
//!
//! Nothing here believes the queue further than "look at this name again". A
//! directory whose name was taken away is in limbo until the kernel says where it
//! went (it is met again), that it went elsewhere (`IN_MOVE_SELF` while still in
//! limbo), or that it is gone (`IN_IGNORED`).

use std::io;
use std::os::fd::AsFd;

use nix::fcntl::openat;
use nix::sys::stat::Mode;

use super::Report;
use super::found::How;
use super::inotify::Inotify;
use super::meet::Met;
use super::parse::Raw;
use super::root::RootId;
use super::scan::{dir_flags, path_flags};
use super::tree::{INSIDE, LEFT, LIMBO, NodeId};
use crate::sys::inotify as sys;
use crate::table::Mask;

/// Names below mounts that are kept: a few, since few make directories in one and
/// then hide it before we look.
const MOST_COVERED: usize = 1024;

/// Whether a directory is where an event put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    There,
    /// Gone from there by now.
    Absent,
    /// Its root does not want it.
    Never,
}

impl Inotify {
    /// Brings the place `id` up to date after an event of its inode.
    pub(super) fn change(&mut self, id: NodeId, raw: &Raw<'_>, out: &mut Vec<Report>) {
        let Some(node) = self.tree.get(id) else {
            return;
        };
        let root = node.root;
        if raw.name.is_empty() {
            if raw.mask.intersects(Mask::MOVE_SELF) && node.flags & LIMBO != 0 {
                // It went where nobody tells of it, unless a name in the tree
                // took it that leads to something else by now.
                if node.flags & (INSIDE | LEFT) == LEFT {
                    self.drop_subtree(id);
                } else if let Some(node) = self.tree.get_mut(id) {
                    node.flags &= !INSIDE;
                }
            }
            return;
        }
        let Some(r) = self.roots.get(root) else {
            return;
        };
        let arrived = raw.mask.intersects(Mask::CREATE | Mask::MOVED_TO);
        let (plain, bounded) = (r.pattern.is_none(), r.key.depth.is_some());
        if r.keeps_names() {
            if arrived {
                if !self.note_name(id, raw.name) {
                    self.replaced.push((id, raw.name.into()));
                }
            } else if !raw.mask.intersects(Mask::ATTRIB) {
                self.drop_name(id, raw.name);
            }
        }
        if !raw.mask.intersects(Mask::ISDIR) {
            return;
        }
        if raw.mask.intersects(Mask::ATTRIB) {
            self.mode_changed(root, id, raw.name, out);
        } else if raw.mask.intersects(Mask::MOVED_FROM | Mask::DELETE) {
            // An exchange puts the new thing there before it takes the old away.
            let child = self.tree.find(id, raw.name);
            let child = child.filter(|&c| !self.still_there(c));
            if let Some(child) = child {
                self.tree.limbo(child);
            }
            if let Some(child) = self.tree.stray(id, raw.name) {
                self.flag(child, LEFT);
                self.cookies.leaves(raw.cookie, child);
            }
        } else if arrived {
            let within = plain && self.cookies.came_from(raw.cookie, root);
            let child = self
                .cookies
                .left(raw.cookie, root, &self.tree)
                .filter(|_| plain);
            let how = match child {
                // Only what comes into reach by it is met, and that is not new.
                Some(child) if bounded => How::Kept(self.tree.get(child).map_or(-1, |n| n.wd)),
                _ if raw.mask.intersects(Mask::MOVED_TO) && !within => How::Moved,
                _ => How::Made,
            };
            match (self.enter(root, id, raw.name, how, out), child) {
                (Entered::Absent, Some(child)) => self.believe(child, id, raw.name),
                (Entered::There, Some(child)) if self.in_limbo(child) => {
                    self.passes(child, id, raw.name);
                }
                _ => {}
            }
        }
    }

    fn in_limbo(&self, id: NodeId) -> bool {
        self.tree.get(id).is_some_and(|n| n.flags & LIMBO != 0)
    }

    /// A directory was renamed to a name that does not lead to it any more: its
    /// next name is in the queue, and is found if it has this one until then.
    fn believe(&mut self, child: NodeId, parent: NodeId, name: &[u8]) {
        let Some(root) = self.tree.get(parent).map(|n| n.root) else {
            return;
        };
        if self.entry(root, parent, name).is_some() && !self.tree.within(parent, child) {
            self.supplant(parent, name);
            self.tree.relocate(child, parent, name);
        }
    }

    /// A directory was renamed to a name that leads to another one by now: what was
    /// made in it meanwhile has that name, though nobody finds it there.
    fn passes(&mut self, child: NodeId, parent: NodeId, name: &[u8]) {
        let wd = |id| self.tree.get(id).map(|n| n.wd);
        if self.tree.find(parent, name).map(wd) == Some(wd(child)) {
            return; // it leads there from another of the places that it had
        }
        if !self.tree.within(parent, child) {
            self.tree.relocate_in_limbo(child, parent, name);
        }
        self.flag(child, INSIDE);
    }

    /// Watches and scans the directory `name` in `parent`, if it is (still) there.
    /// Says what became of it.
    pub(super) fn enter(
        &mut self,
        root: RootId,
        parent: NodeId,
        name: &[u8],
        how: How,
        out: &mut Vec<Report>,
    ) -> Entered {
        let Some(r) = self.roots.get(root) else {
            return Entered::Never;
        };
        if !r.descends() || self.entry(root, parent, name).is_none() {
            return Entered::Never;
        }
        let dir = match self.open_node(parent, path_flags()) {
            Ok(dir) => dir,
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                self.shut_out(parent);
                return Entered::Absent;
            }
            Err(_) => {
                // The parent itself is on the move; what is in the queue says where to.
                self.dirty.push((parent, name.into(), how));
                return Entered::Absent;
            }
        };
        match openat(&dir, name, dir_flags(), Mode::empty()) {
            Ok(fd) => {
                let how = match how {
                    How::Kept(wd) if self.kernel.is(fd.as_fd(), wd) => How::Known,
                    How::Kept(_) => How::Made,
                    how => how,
                };
                match self.meet(parent, name, fd.as_fd()) {
                    Ok(Met::New(id, _)) => {
                        let stat = sys::stat(fd.as_fd(), c"");
                        self.tree.number(id, stat.map_or(0, |stat| stat.inode));
                        self.scan(id, fd, how, out);
                    }
                    Ok(Met::Known(_) | Met::Moved(..)) => self.read_in_vain(parent, name),
                    Err(e) => self.refused(root, parent, name, &e),
                }
            }
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::ELOOP) => {
                self.supplant(parent, name);
                return Entered::Absent;
            }
            Err(e) => self.refused(root, parent, name, &e.into()),
        }
        Entered::There
    }

    /// We opened a directory only to find that it is known.
    fn read_in_vain(&mut self, parent: NodeId, name: &[u8]) {
        let Some(wd) = self.tree.get(parent).map(|n| n.wd) else {
            return;
        };
        if self
            .kernel
            .get(wd)
            .is_some_and(|w| Mask(w.mask).intersects(super::root::NOISE))
        {
            self.seen.expect_own(wd, name);
        }
        // The closing is queued when `enter` returns, before the next read.
        self.seen
            .own_done(self.total + self.kernel.queued() + 64 * 1024);
    }

    /// Directories that could not be reached in the middle of a change, or were
    /// too deep to be held open.
    pub(super) fn retry_deferred(&mut self, out: &mut Vec<Report>) {
        while let Some((id, how)) = self.deferred.pop() {
            if let Ok(fd) = self.open_node(id, dir_flags()) {
                self.scan(id, fd, how, out);
            }
        }
        self.returned.clear();
        let again = self.dirty.len();
        for (parent, name, how) in std::mem::take(&mut self.dirty) {
            if let Some(root) = self.tree.get(parent).map(|n| n.root) {
                self.enter(root, parent, &name, how, out);
            }
        }
        if again > 0 && self.dirty.len() == again && !self.kernel.waits() {
            // Nothing more is known of them: their parents left the tree, or are below
            // a mount.
            let mut dirty = std::mem::take(&mut self.dirty);
            dirty.retain(|(parent, ..)| self.tree.get(*parent).is_some());
            self.covered.append(&mut dirty);
            let old = self.covered.len().saturating_sub(MOST_COVERED);
            self.covered.drain(..old);
        }
    }
}

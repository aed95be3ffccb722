//! Keeping the picture true: directories that come, go and move.
//!
//! Nothing here believes the queue further than "look at this name again". A
//! directory whose name was taken away is in limbo until the kernel says where it
//! went (it is met again), that it went elsewhere (`IN_MOVE_SELF` while still in
//! limbo), or that it is gone (`IN_IGNORED`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::openat;
use nix::sys::stat::Mode;

use super::Report;
use super::found::How;
use super::inotify::Inotify;
use super::kernel::{NO_GUARD, Wd};
use super::look::{is_open_for_writing, with_nul};
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
        if !self.tree.within(parent, child) {
            self.tree.relocate(child, parent, name);
            self.tree.limbo(child);
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
                    Ok(Met::New(id, _)) => self.scan(id, fd, how, out),
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

    /// The kernel has ended a watch: its inode is gone.
    pub(super) fn ended(&mut self, wd: Wd) {
        let Some(watch) = self.kernel.get(wd) else {
            return;
        };
        let (first, guard) = (watch.nodes, watch.guard);
        for id in self.places(first) {
            if let Some(node) = self.tree.get(id)
                && node.parent == NodeId::NONE
            {
                self.stale.push((node.root, How::Made));
            }
            self.drop_subtree(id);
        }
        if guard != NO_GUARD {
            self.guard_ended(guard);
        }
        self.kernel.ended(wd);
    }

    /// Forgets a place and all below it, and gives back watches nobody needs.
    pub(super) fn drop_subtree(&mut self, top: NodeId) {
        let all = self.tree.subtree(top);
        if let Some(node) = self.tree.get(top).filter(|n| n.parent == NodeId::NONE) {
            let mut held: Vec<u64> = all.iter().map(|&id| self.tree.place(id)).collect();
            held.sort_unstable();
            if let Some(root) = self.roots.get_mut(node.root) {
                root.held = held;
            }
        }
        for id in all.into_iter().rev() {
            self.drop_place(id);
        }
    }

    fn drop_place(&mut self, id: NodeId) {
        let Some(node) = self.tree.get(id) else {
            return;
        };
        let (wd, twin, root, top) = (node.wd, node.twin, node.root, node.parent == NodeId::NONE);
        if let Some(watch) = self.kernel.get_mut(wd) {
            if watch.nodes == id {
                watch.nodes = twin;
            } else {
                let mut at = watch.nodes;
                while let Some(n) = self.tree.get_mut(at) {
                    if n.twin == id {
                        n.twin = twin;
                        break;
                    }
                    at = n.twin;
                }
            }
        }
        self.tree.remove(id);
        self.names.remove(&id.0);
        self.unclosed.forget(wd);
        self.shut.remove(&id);
        self.kernel.release(wd);
        if top {
            self.lose(root);
        }
    }

    /// The mask of an inode: the union of what everybody needs of it.
    pub(super) fn needed(&self, wd: Wd) -> u32 {
        let Some(watch) = self.kernel.get(wd) else {
            return 0;
        };
        let excl = Mask::EXCL_UNLINK.0;
        let (mut mask, mut all) = (0, excl);
        for id in self.places(watch.nodes) {
            let root = self.tree.get(id).and_then(|n| self.roots.get(n.root));
            let m = root.map_or(0, |r| r.tree_mask());
            mask |= m;
            all &= m;
        }
        if watch.guard != NO_GUARD {
            let enough = watch.mask & !Mask::DELETE_SELF.0;
            let guards = self.guard_mask(watch.guard, enough);
            mask |= guards;
            all &= guards;
        }
        mask & !excl | all
    }

    /// Tells the kernel the masks of a tree again, after lines came or left.
    pub(super) fn remask(&mut self, top: NodeId) {
        for id in self.tree.subtree(top) {
            let Some(wd) = self.tree.get(id).map(|n| n.wd) else {
                continue;
            };
            let mask = self.needed(wd);
            if self
                .kernel
                .get(wd)
                .is_none_or(|w| w.mask == mask | Mask::DELETE_SELF.0)
            {
                continue;
            }
            if let Ok(fd) = self.open_node(id, path_flags()) {
                self.kernel.narrow(fd.as_fd(), wd, mask);
            }
        }
    }

    /// True where the event means that a file is all there: it was closed by
    /// its last writer, or came by a rename, or was linked in with content.
    pub(super) fn is_complete(&mut self, dir: NodeId, raw: &Raw<'_>) -> bool {
        let Ok(fd) = self.open_node(dir, path_flags()) else {
            return false;
        };
        self.completes(fd.as_fd(), raw)
    }

    /// As `is_complete`, in the directory itself.
    pub(super) fn completes(&mut self, dir: BorrowedFd<'_>, raw: &Raw<'_>) -> bool {
        let Ok(stat) = with_nul(raw.name, |n| sys::stat(dir, n)) else {
            return false;
        };
        let linked = stat.links > 1 && stat.size > 0;
        if stat.kind() != libc::S_IFREG || raw.mask.intersects(Mask::CREATE) && !linked {
            return false;
        }
        if !self.hears_reading(raw.wd) {
            return !is_open_for_writing(dir, raw.name);
        }
        self.seen.expect_own(raw.wd, raw.name);
        let open = is_open_for_writing(dir, raw.name);
        self.seen.own_done(self.total + self.kernel.queued());
        !open
    }
}

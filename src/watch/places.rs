//! Giving places up: directories that are gone, and what is still asked of an inode
//! when somebody who needed it does not any more.

use std::os::fd::AsFd;

use super::found::How;
use super::inotify::Inotify;
use super::kernel::{NO_GUARD, Wd};
use super::scan::path_flags;
use super::tree::NodeId;
use crate::table::Mask;

impl Inotify {
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
            let place = |&id| Some(self.tree.place(id, self.tree.get(id)?.inode));
            let mut held: Vec<u64> = all.iter().filter_map(place).collect();
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
}

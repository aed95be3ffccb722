//! From an open directory to its place in a tree, and back.
//!
//! A directory is known by its watch: the kernel gives the same descriptor for the
//! same inode, so a directory met under another name is recognised, and one that
//! is opened by its path is known to be the right one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::inotify::Inotify;
use super::root::{NOISE, RootId};
use super::scan::path_flags;
use super::tree::{LEFT, LIMBO, MET, Node, NodeId};

/// What became of a directory that was met.
pub(super) enum Met {
    /// A new place, for a directory that was known by the other name if any.
    New(NodeId, Option<Name>),
    /// Known here.
    Known(NodeId),
    /// Known by another name until now.
    Moved(NodeId, Option<Name>),
}

/// A directory and a name in it, of which it has not been told that it is free now.
pub(super) type Name = (NodeId, Box<[u8]>);

impl Inotify {
    /// Watches the directory `fd`, which is `name` in `parent`, and gives it its
    /// place. What was known elsewhere and is there no longer moves here.
    pub(super) fn meet(
        &mut self,
        parent: NodeId,
        name: &[u8],
        fd: BorrowedFd<'_>,
    ) -> io::Result<Met> {
        let Some(root) = self.tree.get(parent).map(|n| n.root) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mask = self.roots.get(root).map_or(0, |r| r.tree_mask()) & !NOISE.0;
        let wd = self.kernel.watch(fd, mask)?;
        let head = self.kernel.get(wd).map_or(NodeId::NONE, |w| w.nodes);
        let mut elsewhere = Vec::new();
        let mut at = head;
        while let Some(n) = self.tree.get(at) {
            if n.root == root {
                if n.parent == parent && *n.name == *name {
                    if n.flags & LIMBO != 0 {
                        self.supplant(parent, name);
                        self.tree.relocate(at, parent, name);
                    }
                    self.flag(at, MET);
                    return Ok(Met::Known(at));
                }
                elsewhere.push(at);
            }
            at = n.twin;
        }
        if self.mounting {
            elsewhere.clear();
        }
        for id in elsewhere {
            let top = self.tree.get(id).is_none_or(|n| n.parent == NodeId::NONE);
            if !top && !self.tree.within(parent, id) && !self.still_there(id) {
                let told = |n: &&Node| n.flags & LEFT == 0;
                let old = self
                    .tree
                    .get(id)
                    .filter(told)
                    .map(|n| (n.parent, n.name.clone()));
                if self.reaches_otherwise(root, id, parent) {
                    // As if it were new.
                    self.drop_subtree(id);
                    return Ok(match self.meet(parent, name, fd)? {
                        Met::New(id, other) => Met::New(id, old.or(other)),
                        met => met,
                    });
                }
                self.supplant(parent, name);
                self.tree.relocate(id, parent, name);
                self.flag(id, MET);
                return Ok(Met::Moved(id, old));
            }
        }
        self.supplant(parent, name);
        let standing = self.entry(root, parent, name).unwrap_or_default();
        let id = self.tree.insert(parent, root, name, wd, head);
        self.flag(id, MET | standing);
        if let Some(w) = self.kernel.get_mut(wd) {
            w.nodes = id;
        }
        Ok(Met::New(id, None))
    }

    /// True where, of what is below `id`, the lines of `root` want another part once it
    /// is in `parent`.
    fn reaches_otherwise(&self, root: RootId, id: NodeId, parent: NodeId) -> bool {
        let sinks = || self.tree.depth(id) != self.tree.depth(parent) + 1;
        self.roots
            .get(root)
            .is_some_and(|r| r.pattern.is_some() || r.key.depth.is_some() && sinks())
    }

    pub(super) fn flag(&mut self, id: NodeId, flag: u8) {
        if let Some(n) = self.tree.get_mut(id) {
            n.flags |= flag;
        }
    }

    /// Whoever was known by this name no longer is.
    pub(super) fn supplant(&mut self, parent: NodeId, name: &[u8]) {
        if let Some(old) = self.tree.find(parent, name) {
            self.tree.limbo(old);
        }
    }

    /// True where the path of `id` still leads to it.
    pub(super) fn still_there(&mut self, id: NodeId) -> bool {
        self.tree.get(id).is_some_and(|n| n.flags & LIMBO == 0)
            && self.open_node(id, path_flags()).is_ok()
    }

    /// Opens the directory of a place, without following any link below the
    /// path as written, and makes sure that it is the one watched there.
    pub(super) fn open_node(&mut self, id: NodeId, flags: OFlag) -> io::Result<OwnedFd> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let node = self.tree.get(id).ok_or_else(gone)?;
        let (wd, root) = (node.wd, self.roots.get(node.root).ok_or_else(gone)?);
        let mut rest = Vec::new();
        self.tree.path(id, &mut rest);
        let mut fd = nix::fcntl::open(
            &*root.route,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        for name in rest.split(|&b| b == b'/').filter(|n| !n.is_empty()) {
            fd = openat(&fd, name, path_flags() | OFlag::O_DIRECTORY, Mode::empty())?;
        }
        if !self.kernel.leads_to(fd.as_fd(), wd)? {
            return Err(gone());
        }
        if flags.contains(OFlag::O_PATH) {
            return Ok(fd);
        }
        Ok(openat(&fd, c".", flags, Mode::empty())?)
    }
}

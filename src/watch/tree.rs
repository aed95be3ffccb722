//! Watched directories as places in trees: compact nodes that know their parent
//! and their name, so that a path is made when it is needed and a renamed
//! subtree needs no other change than its top.
//!
//! 64 bytes a node, its name, and an entry in the index by parent and name.

use std::hash::{BuildHasher, RandomState};

use super::kernel::{PlainMap, Wd};
use super::root::RootId;

/// A place in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(pub u32);

impl NodeId {
    pub const NONE: NodeId = NodeId(u32::MAX);
}

/// Moved away or replaced, until the kernel tells where to, or that it is gone.
pub(super) const LIMBO: u8 = 1;
/// Seen by the rescan that is going on.
pub(super) const MET: u8 = 2;
/// The root of a mount: its parent does not hear of events of itself.
pub(super) const MOUNT: u8 = 4;
/// Its events are told: everywhere but in the tree of a pattern, where it is a
/// directory that matches, or is inside one.
pub(super) const SERVED: u8 = 8;
/// Below it a pattern may match.
pub(super) const EXPLORE: u8 = 16;
/// In limbo, but its name of that time was in the tree.
pub(super) const INSIDE: u8 = 64;
/// In limbo, and the lines have been told that it left its name.
pub(super) const LEFT: u8 = 128;
/// The top of what matches.
pub(super) const MATCH: u8 = 32;

/// One watched directory.
#[derive(Debug)]
pub(super) struct Node {
    /// Empty for the top of a tree.
    pub name: Box<[u8]>,
    pub parent: NodeId,
    pub root: RootId,
    pub wd: Wd,
    /// The number of its inode, where it was found; 0: not known.
    pub inode: u64,
    /// The next place with the same inode.
    pub twin: NodeId,
    child: NodeId,
    next: NodeId,
    prev: NodeId,
    pub flags: u8,
}

/// All trees of a source.
pub(super) struct Tree {
    nodes: Vec<Node>,
    free: NodeId,
    live: usize,
    /// Places in limbo, and some that were.
    limbo: Vec<NodeId>,
    /// Hash of parent and name to node. A collision hides one of the two, which
    /// is then found along the siblings.
    index: PlainMap<u64, NodeId>,
    hash: RandomState,
}

impl Tree {
    pub fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: NodeId::NONE,
            live: 0,
            limbo: Vec::new(),
            index: PlainMap::default(),
            hash: RandomState::new(),
        }
    }

    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize).filter(|n| n.wd >= 0)
    }

    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0 as usize).filter(|n| n.wd >= 0)
    }

    /// A new place; it heads the chain of its inode, so `twin` is the old head.
    pub fn insert(
        &mut self,
        parent: NodeId,
        root: RootId,
        name: &[u8],
        wd: Wd,
        twin: NodeId,
    ) -> NodeId {
        let node = Node {
            name: name.into(),
            parent: NodeId::NONE,
            root,
            wd,
            inode: 0,
            twin,
            child: NodeId::NONE,
            next: NodeId::NONE,
            prev: NodeId::NONE,
            flags: 0,
        };
        let id = if let Some(slot) = self.nodes.get_mut(self.free.0 as usize) {
            let id = self.free;
            self.free = slot.next;
            *slot = node;
            id
        } else {
            let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX - 1));
            self.nodes.push(node);
            id
        };
        self.live += 1;
        self.attach(id, parent);
        id
    }

    fn key(&self, parent: NodeId, name: &[u8]) -> u64 {
        self.hash.hash_one((parent.0, name))
    }

    /// The place called `name` in `parent`; not one in limbo.
    pub fn find(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let fits = |id: NodeId| {
            self.get(id)
                .is_some_and(|n| n.parent == parent && *n.name == *name && n.flags & LIMBO == 0)
        };
        let &hit = self.index.get(&self.key(parent, name))?;
        if fits(hit) {
            return Some(hit);
        }
        self.children(parent).find(|&id| fits(id))
    }

    /// The places right below `parent`, limbo included.
    pub fn children(&self, parent: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let mut at = self.get(parent).map_or(NodeId::NONE, |n| n.child);
        std::iter::from_fn(move || {
            let id = at;
            at = self.get(id)?.next;
            Some(id)
        })
    }

    /// `top` and all below it, each after its parent.
    pub fn subtree(&self, top: NodeId) -> Vec<NodeId> {
        let mut all = vec![top];
        let mut at = 0;
        while let Some(&id) = all.get(at) {
            all.extend(self.children(id));
            at += 1;
        }
        all
    }

    fn attach(&mut self, id: NodeId, parent: NodeId) {
        self.link(id, parent);
        let Some(n) = self.get_mut(id) else { return };
        if parent != NodeId::NONE {
            let name = std::mem::take(&mut n.name);
            let key = self.key(parent, &name);
            self.index.insert(key, id);
            if let Some(n) = self.get_mut(id) {
                n.name = name;
            }
        }
    }

    /// Among the children of `parent`.
    fn link(&mut self, id: NodeId, parent: NodeId) {
        let mut first = NodeId::NONE;
        if let Some(p) = self.get_mut(parent) {
            first = std::mem::replace(&mut p.child, id);
        }
        if let Some(f) = self.get_mut(first) {
            f.prev = id;
        }
        let Some(n) = self.get_mut(id) else { return };
        n.parent = parent;
        n.next = first;
        n.prev = NodeId::NONE;
        n.flags &= !(LIMBO | INSIDE | LEFT);
    }

    fn detach(&mut self, id: NodeId) {
        self.unindex(id);
        let Some(n) = self.get(id) else { return };
        let (parent, next, prev) = (n.parent, n.next, n.prev);
        if let Some(p) = self.get_mut(prev) {
            p.next = next;
        } else if let Some(p) = self.get_mut(parent) {
            p.child = next;
        }
        if let Some(x) = self.get_mut(next) {
            x.prev = prev;
        }
    }

    fn unindex(&mut self, id: NodeId) {
        let Some(n) = self.get(id) else { return };
        if n.parent == NodeId::NONE {
            return;
        }
        let key = self.key(n.parent, &n.name);
        if self.index.get(&key) == Some(&id) {
            self.index.remove(&key);
        }
    }

    /// Its name no longer leads to it; it keeps its path for what still comes.
    pub fn limbo(&mut self, id: NodeId) {
        self.unindex(id);
        if let Some(n) = self.get_mut(id) {
            n.flags = n.flags & !INSIDE | LIMBO;
            self.limbo.retain(|&other| other != id);
            self.limbo.push(id);
        }
    }

    /// A place in limbo that was called `name` in `parent`, and of whose leaving
    /// nothing has been heard.
    pub fn stray(&mut self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let mut limbo = std::mem::take(&mut self.limbo);
        limbo.retain(|&id| {
            self.get(id)
                .is_some_and(|n| n.flags & (LIMBO | LEFT) == LIMBO)
        });
        let fits = |id: &NodeId| {
            self.get(*id)
                .is_some_and(|n| n.parent == parent && *n.name == *name)
        };
        // The one that lost its name first is the one that leaves it first.
        let found = limbo.iter().position(fits).map(|at| limbo.remove(at));
        self.limbo = limbo;
        found
    }

    /// Puts `id`, with all below it, elsewhere in its tree.
    pub fn relocate(&mut self, id: NodeId, parent: NodeId, name: &[u8]) {
        self.detach(id);
        if let Some(n) = self.get_mut(id) {
            n.name = name.into();
        }
        self.attach(id, parent);
    }

    /// The same, in limbo: the name leads to another one there.
    pub fn relocate_in_limbo(&mut self, id: NodeId, parent: NodeId, name: &[u8]) {
        self.detach(id);
        if let Some(n) = self.get_mut(id) {
            n.name = name.into();
        }
        self.link(id, parent);
        self.limbo(id);
    }

    /// Forgets a place that has nothing below it.
    pub fn remove(&mut self, id: NodeId) {
        if self.get(id).is_none() {
            return;
        }
        self.detach(id);
        let free = self.free;
        if let Some(n) = self.get_mut(id) {
            n.wd = -1;
            n.name = Box::default();
            n.next = free;
            self.free = id;
            self.live -= 1;
        }
    }

    /// Levels below the top of its tree.
    pub fn depth(&self, id: NodeId) -> u32 {
        let mut depth = 0;
        let mut at = id;
        while let Some(n) = self.get(at) {
            if n.parent == NodeId::NONE {
                break;
            }
            depth += 1;
            at = n.parent;
        }
        depth
    }

    /// True where `id` is `top` or below it.
    pub fn within(&self, mut id: NodeId, top: NodeId) -> bool {
        while id != top {
            match self.get(id) {
                Some(n) => id = n.parent,
                None => return false,
            }
        }
        true
    }

    /// What stands for the path of `id` below the top of its tree and for the inode that
    /// it leads to: 8 bytes, so that a tree can be known again at a small price.
    pub fn place(&self, id: NodeId, inode: u64) -> u64 {
        let mut path = Vec::new();
        self.path(id, &mut path);
        self.hash.hash_one((path, inode))
    }

    /// Notes which inode a place is.
    pub fn number(&mut self, id: NodeId, inode: u64) {
        if let Some(n) = self.get_mut(id) {
            n.inode = inode;
        }
    }

    /// Appends the path of `id` below the top of its tree: `a/b/c`, or nothing.
    pub fn path(&self, id: NodeId, out: &mut Vec<u8>) {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = id;
        while let Some(n) = self.get(at) {
            if n.parent == NodeId::NONE {
                break;
            }
            names.push(&n.name);
            at = n.parent;
        }
        for (i, name) in names.iter().rev().enumerate() {
            if i > 0 {
                out.push(b'/');
            }
            out.extend_from_slice(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(tree: &Tree, id: NodeId) -> Vec<u8> {
        let mut p = Vec::new();
        tree.path(id, &mut p);
        p
    }

    #[test]
    fn a_renamed_subtree_takes_its_paths_along() {
        let mut t = Tree::new();
        let r = RootId(0);
        let top = t.insert(NodeId::NONE, r, b"", 1, NodeId::NONE);
        let a = t.insert(top, r, b"a", 2, NodeId::NONE);
        let b = t.insert(top, r, b"b", 3, NodeId::NONE);
        let c = t.insert(a, r, b"c", 4, NodeId::NONE);
        t.limbo(a);
        assert_eq!(t.find(top, b"a"), None);
        t.relocate(a, b, b"x");
        assert_eq!(name(&t, c), b"b/x/c");
        assert_eq!(t.find(b, b"x"), Some(a));
        assert_eq!(t.subtree(top), vec![top, b, a, c]);
        assert!(t.within(c, b) && !t.within(b, a));
        for id in [c, a] {
            t.remove(id);
        }
        assert_eq!(t.live, 2);
        assert_eq!(t.children(b).count(), 0);
        let d = t.insert(b, r, b"d", 9, NodeId::NONE);
        assert_eq!(name(&t, d), b"b/d");
        let e = t.insert(top, r, b"e", 10, NodeId::NONE);
        t.relocate_in_limbo(d, top, b"e");
        assert_eq!(name(&t, d), b"e");
        assert_eq!(t.find(top, b"e"), Some(e), "the name still leads there");
        assert_eq!(t.stray(top, b"e"), Some(d));
    }
}

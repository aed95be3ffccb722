//! Directories by their handles, each with its parent and its name, as they were
//! at the place in the stream of records that has been told: a renamed directory
//! takes all below it along. Of a directory that is nothing to any line only that
//! is kept, and only so many of them.

mod foreign;
mod prune;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use foreign::Foreign;

use super::reach::Reach;
use crate::watch::kernel::PlainMap;

/// A directory, by its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NodeId(u32);

impl NodeId {
    pub const NONE: NodeId = NodeId(u32::MAX);
}

/// What is known of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Node(NodeId),
    /// Nothing to any line.
    Foreign,
    No,
}

/// One directory.
pub(super) struct Node {
    pub key: Box<[u8]>,
    pub name: Box<[u8]>,
    pub parent: NodeId,
    /// The top of a file system, or of what of it is mounted here; `name` is its path.
    pub top: bool,
    kids: u32,
    /// It has left all that is known, or is gone; the generation in which it did.
    away: Option<u32>,
    reach: Option<(u32, Rc<Reach>)>,
}

/// All of them.
pub(super) struct Tree {
    nodes: Vec<Option<Node>>,
    free: Vec<u32>,
    by_key: HashMap<Box<[u8]>, Result<NodeId, Foreign>>,
    by_place: PlainMap<u64, NodeId>,
    hash: RandomState,
    generation: u32,
    foreign: usize,
    /// The foreign directory that was met last: noise is mostly of one.
    last: Vec<u8>,
    /// Records of it in a row, which are not yet counted as its own.
    row: u32,
    /// Changes with everything that may change a node's reach.
    epoch: u32,
    swept: usize,
}

impl Tree {
    pub fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            by_place: PlainMap::default(),
            hash: RandomState::new(),
            generation: 0,
            foreign: 0,
            last: Vec::new(),
            row: 0,
            epoch: 0,
            swept: 4096,
        }
    }

    pub fn known(&self, key: &[u8]) -> Known {
        match self.by_key.get(key) {
            Some(Ok(id)) => Known::Node(*id),
            Some(Err(foreign)) if foreign.generation == self.generation => Known::Foreign,
            _ => Known::No,
        }
    }

    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)?.as_ref()
    }

    fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0 as usize)?.as_mut()
    }

    /// Directories kept, foreign ones included.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Reaches are to be worked out anew.
    pub fn touch(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// A new directory, or a known one at its place.
    pub fn insert(&mut self, key: &[u8], parent: NodeId, name: &[u8], top: bool) -> NodeId {
        if let Some(Ok(id)) = self.by_key.get(key) {
            let id = *id;
            self.relocate(id, parent, name);
            return id;
        }
        self.last.clear();
        let node = Node {
            key: key.into(),
            name: name.into(),
            parent: NodeId::NONE,
            top,
            kids: 0,
            away: None,
            reach: None,
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(None);
            u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX - 1)
        });
        if let Some(slot) = self.nodes.get_mut(at as usize) {
            *slot = Some(node);
        }
        let id = NodeId(at);
        if let Some(Err(_)) = self.by_key.insert(key.into(), Ok(id)) {
            self.foreign = self.foreign.saturating_sub(1);
        }
        self.attach(id, parent);
        id
    }

    fn place(&self, parent: NodeId, name: &[u8]) -> u64 {
        self.hash.hash_one((parent.0, name))
    }

    fn attach(&mut self, id: NodeId, parent: NodeId) {
        if let Some(p) = self.get_mut(parent) {
            p.kids += 1;
        }
        let Some(node) = self.get_mut(id) else { return };
        node.parent = parent;
        node.away = None;
        node.reach = None;
        let place = self.get(id).map(|n| self.place(parent, &n.name));
        if let Some(place) = place {
            self.by_place.insert(place, id);
        }
    }

    fn detach(&mut self, id: NodeId) {
        let Some(node) = self.get(id) else { return };
        let (parent, place) = (node.parent, self.place(node.parent, &node.name));
        if self.by_place.get(&place) == Some(&id) {
            self.by_place.remove(&place);
        }
        if let Some(p) = self.get_mut(parent) {
            p.kids = p.kids.saturating_sub(1);
        }
        if let Some(node) = self.get_mut(id) {
            node.parent = NodeId::NONE;
        }
    }

    /// The directory called `name` in `parent`.
    pub fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let id = *self.by_place.get(&self.place(parent, name))?;
        let node = self.get(id)?;
        (node.parent == parent && *node.name == *name && node.away.is_none()).then_some(id)
    }

    /// Puts a directory, with all below it, elsewhere.
    pub fn relocate(&mut self, id: NodeId, parent: NodeId, name: &[u8]) {
        let kids = self.get(id).is_some_and(|n| n.kids > 0);
        self.detach(id);
        if let Some(node) = self.get_mut(id) {
            node.name = name.into();
        }
        self.attach(id, parent);
        if kids {
            self.touch();
        }
    }

    /// A directory is gone, or went where nothing is known.
    pub fn away(&mut self, id: NodeId) {
        let Some(node) = self.get(id) else { return };
        if node.top {
            return;
        }
        let (kids, key, generation) = (node.kids, node.key.clone(), self.generation);
        self.detach(id);
        if kids > 0 {
            if let Some(node) = self.get_mut(id) {
                node.away = Some(generation);
                node.reach = None;
            }
            self.touch();
            return;
        }
        self.by_key.remove(&key);
        if let Some(slot) = self.nodes.get_mut(id.0 as usize) {
            *slot = None;
        }
        self.free.push(id.0);
    }

    /// The directory and those it is in, upwards.
    pub fn chain(&self, id: NodeId) -> impl Iterator<Item = &Node> {
        let mut at = id;
        std::iter::from_fn(move || {
            let node = self.get(at)?;
            at = node.parent;
            Some(node)
        })
    }

    /// The uppermost directory that `id` is in, where that had left all that was known
    /// and may be back.
    pub fn strayed(&self, id: NodeId) -> Option<&Node> {
        if self.reach(id).is_some() {
            return None;
        }
        let top = self.chain(id).last()?;
        let since = top.away?;
        (since != self.generation).then_some(top)
    }

    /// The number of its file system and its path there, without a slash at the
    /// end; None where its way up is not known.
    pub fn path(&self, id: NodeId) -> Option<Vec<u8>> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut last = None;
        for node in self.chain(id) {
            names.push(&node.name);
            last = Some(node);
        }
        let top = last.filter(|n| n.top)?;
        let mut path = top.key.get(..8)?.to_vec();
        path.extend_from_slice(&top.name);
        for name in names.iter().rev().skip(1) {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        Some(path)
    }

    /// What is known of its reach, if nothing has changed since.
    pub fn reach(&self, id: NodeId) -> Option<Rc<Reach>> {
        let (epoch, reach) = self.get(id)?.reach.as_ref()?;
        (*epoch == self.epoch).then(|| Rc::clone(reach))
    }

    pub fn set_reach(&mut self, id: NodeId, reach: Rc<Reach>) {
        let epoch = self.epoch;
        if let Some(node) = self.get_mut(id) {
            node.reach = Some((epoch, reach));
        }
    }
}

//! Directories by their handles, each with its parent and its name, as they were
//! at the place in the stream of records that has been told: a renamed directory
//! takes all below it along. Of a directory that is nothing to any line only that
//! is kept, and only so many of them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use super::reach::Reach;
use crate::watch::kernel::PlainMap;

/// Foreign directories that are remembered.
pub(super) const MOST_FOREIGN: usize = 65_536;

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

/// A directory that is nothing to any line.
#[derive(Clone, Copy)]
struct Foreign {
    /// In which it was found to be that.
    generation: u32,
    /// Records of it.
    met: u32,
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

    /// The same, of a directory in which something has happened.
    pub fn met(&mut self, key: &[u8]) -> Known {
        if !key.is_empty() && *self.last == *key {
            self.row = self.row.saturating_add(1);
            return Known::Foreign;
        }
        let known = self.known(key);
        if known == Known::Foreign {
            self.count_row();
            self.last.clear();
            self.last.extend_from_slice(key);
            self.row = 1;
        }
        known
    }

    fn count_row(&mut self) -> u32 {
        let row = std::mem::take(&mut self.row);
        match self.by_key.get_mut(&*self.last) {
            Some(Err(foreign)) if foreign.generation == self.generation => {
                foreign.met = foreign.met.saturating_add(row);
                foreign.met
            }
            _ => 0,
        }
    }

    /// The foreign directory that was met last, where so many records of it were that it
    /// is loud; they are counted anew then. Of many, the loudest is met last most often.
    pub fn loud(&mut self, many: u32) -> Option<Box<[u8]>> {
        if self.count_row() < many {
            return None;
        }
        let key: Box<[u8]> = (*self.last).into();
        if let Some(Err(foreign)) = self.by_key.get_mut(&key) {
            foreign.met = 0;
        }
        Some(key)
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

    /// The directory is nothing to any line.
    pub fn set_foreign(&mut self, key: &[u8]) {
        if let Some(Ok(id)) = self.by_key.get(key) {
            let id = *id;
            self.away(id);
            return;
        }
        if self.foreign >= MOST_FOREIGN {
            self.forget_foreign();
        }
        let foreign = Foreign {
            generation: self.generation,
            met: 0,
        };
        if self.by_key.insert(key.into(), Err(foreign)).is_none() {
            self.foreign += 1;
        }
    }

    /// What was foreign may be so no longer.
    pub fn forget_foreign(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.last.clear();
        self.row = 0;
        self.touch();
        if self.foreign >= MOST_FOREIGN {
            self.by_key.retain(|_, slot| slot.is_ok());
            self.foreign = 0;
        }
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

    /// True once in a while: nodes that nobody needs should be given up.
    pub fn wants_sweep(&self) -> bool {
        self.nodes.len() - self.free.len() > self.swept
    }

    /// Gives up all but `keep` and what they are in.
    pub fn sweep(&mut self, keep: impl Fn(&Self, NodeId) -> bool) {
        let all: Vec<NodeId> = (0..self.nodes.len()).map(|i| NodeId(i as u32)).collect();
        let mut needed = vec![false; self.nodes.len()];
        for &id in &all {
            if !keep(self, id) {
                continue;
            }
            let mut at = id;
            while let Some(node) = self.get(at) {
                match needed.get_mut(at.0 as usize) {
                    Some(mark @ false) => *mark = true,
                    _ => break,
                }
                at = node.parent;
            }
        }
        for &id in &all {
            let Some(node) = self.get(id) else { continue };
            if node.top || needed.get(id.0 as usize) == Some(&true) {
                continue;
            }
            let (key, place) = (node.key.clone(), self.place(node.parent, &node.name));
            if self.by_place.get(&place) == Some(&id) {
                self.by_place.remove(&place);
            }
            self.by_key.remove(&key);
            if let Some(slot) = self.nodes.get_mut(id.0 as usize) {
                *slot = None;
            }
            self.free.push(id.0);
        }
        let kept: Vec<NodeId> = all
            .into_iter()
            .filter(|&id| self.get(id).is_some())
            .collect();
        let mut kids: HashMap<NodeId, u32> = HashMap::new();
        for id in &kept {
            if let Some(node) = self.get(*id) {
                *kids.entry(node.parent).or_default() += 1;
            }
        }
        for id in &kept {
            if let Some(node) = self.get_mut(*id) {
                node.kids = kids.get(id).copied().unwrap_or(0);
            }
        }
        self.swept = (kept.len() * 2).max(4096);
    }

    /// Forgets everything of one file system, or of all.
    pub fn forget(&mut self, fs: Option<&[u8]>) {
        let of = |key: &[u8]| fs.is_none_or(|fs| key.starts_with(fs));
        let ids: Vec<u32> = (0..self.nodes.len() as u32).collect();
        for id in ids {
            let Some(node) = self.get(NodeId(id)).filter(|n| of(&n.key)) else {
                continue;
            };
            let (key, place) = (node.key.clone(), self.place(node.parent, &node.name));
            if self.by_place.get(&place) == Some(&NodeId(id)) {
                self.by_place.remove(&place);
            }
            self.by_key.remove(&key);
            if let Some(slot) = self.nodes.get_mut(id as usize) {
                *slot = None;
            }
            self.free.push(id);
        }
        self.generation = self.generation.wrapping_add(1);
        self.last.clear();
        self.touch();
    }
}

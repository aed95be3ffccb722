//! Directories that nobody needs any more are forgotten.

use std::collections::HashMap;

use super::{NodeId, Tree};

impl Tree {
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

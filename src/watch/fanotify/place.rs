//! Where a directory was at a place in the stream of records, of which nothing was
//! known before.
//!
//! Its handle leads to where it is now. Whether that is where it was then, the
//! records in between say: the first of them that renames or removes it names the
//! place that it had. So a look is followed by reading all that was queued by then.
//! A directory that is gone is named by the record of its removal.

use std::time::{Duration, Instant};

use super::Fanotify;
use super::batch::{self, Batch};
use super::group::Spot;
use super::parse::Span;
use super::tree::{Known, NodeId};

/// More directories than this in each other are a mistake.
const MOST_DEEP: usize = 100_000;
/// Times that the record of a removal is waited for, which the kernel queues a
/// moment after the handle has become invalid.
const MOST_WAITS: u32 = 50;
/// Nor longer than this: with every processor taken, a wait is a turn of all others, and
/// each directory that is gone without a trace would hold up the reading for half a second.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

enum Place {
    Top(Box<[u8]>),
    In(Box<[u8]>, Box<[u8]>),
    Hidden,
    Lost,
}

impl Fanotify {
    /// What is known of the directory `key` at the record `at`, or can be found out.
    pub(super) fn find(&mut self, key: &[u8], batch: &mut Batch, at: usize) -> Known {
        let mut chain: Vec<batch::Place> = Vec::new();
        let mut here: Box<[u8]> = key.into();
        let base = loop {
            match self.tree.known(&here) {
                Known::Node(id) => match self.tree.strayed(id) {
                    Some(top) => here = top.key.clone(),
                    None => break Some(id),
                },
                Known::Foreign => break None,
                Known::No if chain.len() > MOST_DEEP => break None,
                Known::No => {}
            }
            match self.place(&here, batch, at) {
                Place::Top(path) => {
                    break Some(self.tree.insert(&here, NodeId::NONE, &path, true));
                }
                Place::In(parent, name) => {
                    chain.push((here, name));
                    here = parent;
                }
                Place::Hidden => {
                    self.tree.set_foreign(&here);
                    break None;
                }
                Place::Lost => return Known::No,
            }
        };
        let found = self.hang(base, chain);
        match self.tree.known(key) {
            Known::No => found,
            known => known,
        }
    }

    /// Gives directories their places below `base`, the uppermost last in `chain`.
    fn hang(&mut self, base: Option<NodeId>, chain: Vec<batch::Place>) -> Known {
        let mut base = base;
        for (key, name) in chain.into_iter().rev() {
            base = base.filter(|&id| self.matters(id, &name));
            match base {
                Some(parent) => base = Some(self.tree.insert(&key, parent, &name, false)),
                None => self.tree.set_foreign(&key),
            }
        }
        base.map_or(Known::Foreign, Known::Node)
    }

    /// True where the directory `name` in `parent` is something to a line.
    pub(super) fn matters(&mut self, parent: NodeId, name: &[u8]) -> bool {
        let Some(mut path) = self.tree.path(parent) else {
            return false;
        };
        path.push(b'/');
        path.extend_from_slice(name);
        !self.reach_of(&path).is_empty()
    }

    fn place(&mut self, key: &[u8], batch: &mut Batch, at: usize) -> Place {
        let told = |batch: &mut Batch| {
            let record = batch.leaves(key, at)?;
            let of = |span: Span, batch: &Batch| -> Box<[u8]> { batch.text(span).into() };
            Some(Place::In(
                of(record.from.0, batch),
                of(record.from.1, batch),
            ))
        };
        if let Some(place) = told(batch) {
            return place;
        }
        let spot = self.group.spot(&self.mounts, key);
        self.extend(batch);
        if let Some(place) = told(batch) {
            return place;
        }
        match spot {
            Ok(Spot::Top(path)) => return Place::Top(path),
            Ok(Spot::In(parent, name)) => return Place::In(parent, name),
            Ok(Spot::Hidden) => return Place::Hidden,
            Err(_) => {}
        }
        let end = Instant::now() + LONGEST_WAIT;
        for _ in (0..MOST_WAITS).take_while(|_| Instant::now() < end) {
            std::thread::yield_now();
            if self.extend(batch)
                && let Some(place) = told(batch)
            {
                return place;
            }
        }
        Place::Lost
    }

    /// Forgets directories that are nothing to any line by now.
    pub(super) fn sweep(&mut self) {
        let roots = &self.roots;
        let mut tree = std::mem::replace(&mut self.tree, super::tree::Tree::new());
        tree.sweep(|tree, id| {
            tree.path(id).is_some_and(|path| {
                let ends = (8..path.len()).filter(|&at| path.get(at) == Some(&b'/'));
                let mut ends = ends.chain([path.len()]);
                let part = |end: usize| path.get(..end).and_then(|p| roots.here(p));
                ends.any(|end| part(end).is_some_and(|h| !h.areas.is_empty() || end == path.len()))
            })
        });
        self.tree = tree;
    }
}

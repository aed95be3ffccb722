//! Renames: one record with both names. A directory takes all below it along; what
//! comes into the reach of a root by it is scanned for that root.

use std::collections::HashMap;
use std::rc::Rc;

use super::Fanotify;
use super::areas::Gone;
use super::batch::{self, Batch, ONDIR, RENAME};
use super::exchange::{Half, NEAR, partner};
use super::job::{Job, What};
use super::parse::{Record, Span};
use super::reach::{Hit, Reach, within};
use super::root::RootId;
use super::tree::{Known, NodeId};
use super::unfold::{kind, target};
use crate::event::Actor;
use crate::table::Mask;
use crate::watch::Report;
use crate::watch::found::How;

impl Fanotify {
    /// The directory of one half of a rename, if it is something to a line.
    fn half(&mut self, batch: &mut Batch, at: usize, dir: Span) -> Option<NodeId> {
        if dir.is_empty() {
            return None;
        }
        match self.tree.known(batch.text(dir)) {
            Known::Node(id) if self.tree.strayed(id).is_none() => return Some(id),
            Known::Foreign => return None,
            _ => {}
        }
        let key: Box<[u8]> = batch.text(dir).into();
        match self.find(&key, batch, at) {
            Known::Node(id) => Some(id),
            Known::Foreign => None,
            Known::No => {
                self.figures.stale += 1;
                None
            }
        }
    }

    /// Something was renamed.
    pub(super) fn rename(
        &mut self,
        batch: &mut Batch,
        at: usize,
        record: Record,
        out: &mut Vec<Report>,
    ) {
        if record.mask & ONDIR != 0 {
            self.wandered.note(batch.text(record.target), self.number);
        }
        let from = self.half(batch, at, record.from.0);
        let to = self.half(batch, at, record.to.0);
        if from.is_none() && to.is_none() {
            self.figures.foreign += 1;
            return;
        }
        self.renamed.push(at);
        if at + 1 == batch.records.len() {
            self.extend(batch); // the second half of an exchange
        }
        let text = |span: Span| -> Box<[u8]> { batch.text(span).into() };
        let old = (text(record.from.0), text(record.from.1));
        let new = (text(record.to.0), text(record.to.1));
        let isdir = !kind(record).is_empty();
        let was = from.map(|id| self.reach(id)).unwrap_or_default();
        // As it was before the first half of an exchange, where this is the second.
        let second = self.exchanged.iter().position(|(second, _)| *second == at);
        let second = second.map(|i| self.exchanged.swap_remove(i).1);
        let first = second.is_none() && isdir && from.is_some() && to.is_some();
        let half = match first.then(|| partner(batch, at, record)).flatten() {
            Some(other) => Half::First(other),
            None if second.is_some() => Half::Second,
            None => Half::None,
        };
        let before = |this: &Self| {
            let dir = from.filter(|_| isdir)?;
            Some(this.reach_at(dir, &old.1))
        };
        let itself = second.or_else(|| before(self)).unwrap_or_default();
        let owner = (&*old.0, &*old.1);
        // Said of what has taken the name just now, it stays.
        let other = self.is_taken(batch, record);
        let words = other.then(|| self.told.take(owner));
        self.tell_name(batch, at, &was, owner, record, Mask::MOVED_FROM, None, out);
        self.steps(batch, at, &was, owner, record, Mask::MOVED_FROM, out);
        if let Some(words) = words {
            self.told.put_back(owner, words);
        }
        if isdir {
            self.carry_mounts(batch, record, half, (from, to));
            self.take_along(batch, record, half, to, &new.1, out);
        }
        let is = to.map(|id| self.reach(id)).unwrap_or_default();
        let owner = (&*new.0, &*new.1);
        self.tell_name(
            batch,
            at,
            &is,
            owner,
            record,
            Mask::MOVED_TO,
            Some(&was),
            out,
        );
        if isdir {
            let now = to.map(|id| self.reach_at(id, &new.1)).unwrap_or_default();
            self.tell_moved(batch, record, &itself, &now, out);
            self.newcomers(batch, record, from, (&was, &itself, &now));
        }
        self.steps_from(
            batch,
            at,
            (&is, Some(&was)),
            owner,
            record,
            Mask::MOVED_TO,
            out,
        );
        self.arrived.truncate(NEAR - 1);
        self.arrived.insert(0, (old, new, target(batch, record)));
    }

    /// The kernel makes one record of equal renames that nobody has read: there, back
    /// and there again ends there, though the records end with the way back. Where a
    /// thing may have gone on from where they left it, it is looked for at its former
    /// places. True: it was found there, and that is told next.
    pub(super) fn set_right(&mut self, batch: &mut Batch) -> bool {
        let mut ways: HashMap<Box<[u8]>, Vec<Record>> = HashMap::new();
        for at in std::mem::take(&mut self.renamed) {
            if let Some(record) = batch.get(at) {
                let target = target(batch, record);
                ways.entry(target).or_default().push(record);
            }
        }
        let mut found = false;
        for (target, way) in ways {
            if let Some(record) = self.went_on(batch, &target, &way) {
                batch.add(record);
                found = true;
            }
        }
        found
    }

    /// The rename of a thing that the records of its `way` do not show.
    fn went_on(&mut self, batch: &mut Batch, target: &[u8], way: &[Record]) -> Option<Record> {
        let last = way.last().filter(|_| way.len() > 1)?;
        let same = |batch: &Batch, one: (Span, Span), other: (Span, Span)| {
            batch.text(one.0) == batch.text(other.0) && batch.text(one.1) == batch.text(other.1)
        };
        let left = |batch: &Batch, to| way.iter().any(|r| same(batch, r.from, to));
        let is_at = |this: &mut Self, batch: &Batch, to: (Span, Span)| {
            this.is_there(batch.text(to.0), batch.text(to.1), target)
        };
        if !left(batch, last.to) || is_at(self, batch, last.to) {
            return None;
        }
        // Another link to it may be where it never left, or have been made where it was.
        let mut places = way.iter().map(|r| r.to).filter(|&to| left(batch, to));
        let to = places.find(|&to| is_at(self, batch, to))?;
        let (dir, name): batch::Place = (batch.text(to.0).into(), batch.text(to.1).into());
        let (_, came) = batch.arrival(&dir, &name)?;
        (came.mask & RENAME != 0).then_some(Record {
            from: last.to,
            to,
            pidfd: -1,
            ..*last
        })
    }

    /// What is mounted in the directory goes with it.
    fn carry_mounts(
        &mut self,
        batch: &Batch,
        record: Record,
        half: Half,
        (from, to): (Option<NodeId>, Option<NodeId>),
    ) {
        let path = |dir: NodeId, name: Span| {
            let mut path = self.tree.path(dir)?;
            path.push(b'/');
            path.extend_from_slice(batch.text(name));
            Some(path)
        };
        let old = from.and_then(|dir| path(dir, record.from.1));
        let new = to.and_then(|dir| path(dir, record.to.1));
        let (Some(from), Some(old)) = (from, old) else {
            return;
        };
        let mut users = self.users(from, batch.text(record.from.1));
        let (Some(to), Some(new)) = (to, new) else {
            return self.carry(&old, &Gone::Away, &users);
        };
        match half {
            Half::First(second) => {
                let name = batch.text(record.to.1);
                users.extend(self.users(to, name));
                users.sort_unstable();
                users.dedup();
                let other = self.reach_at(to, name);
                self.exchanged.push((second, other));
                return self.carry(&old, &Gone::Exchanged(&new), &users);
            }
            Half::Second => return, // the first has done it
            Half::None => {}
        }
        let replaced = self.users(to, batch.text(record.to.1));
        self.carry(&new, &Gone::Removed, &replaced);
        self.carry(&old, &Gone::To(&new), &users);
    }

    /// Gives the directory its new place in the picture.
    fn take_along(
        &mut self,
        batch: &mut Batch,
        record: Record,
        half: Half,
        to: Option<NodeId>,
        name: &[u8],
        out: &mut Vec<Report>,
    ) {
        let target = target(batch, record);
        let Some(parent) = to.filter(|&id| self.matters(id, name)) else {
            return self.tree.set_foreign(&target);
        };
        let there = self.tree.child(parent, name);
        let other = there.filter(|&id| self.tree.get(id).is_some_and(|n| n.key != target));
        if let Some(other) = other
            && half == Half::None
        {
            let gone = self.reach(other);
            for hit in gone.hits.iter().filter(|h| h.served) {
                self.tell_self(
                    batch,
                    (hit.root, &hit.watch),
                    record,
                    Mask::DELETE_SELF,
                    out,
                );
            }
            self.tree.away(other);
        }
        self.tree.insert(&target, parent, name, false);
    }

    fn tell_moved(
        &mut self,
        batch: &Batch,
        record: Record,
        itself: &Reach,
        now: &Reach,
        out: &mut Vec<Report>,
    ) {
        for hit in itself.hits.iter().filter(|h| h.served) {
            let new = now.of(hit.root).filter(|h| h.served && !hit.top);
            let watch = new.map_or(&hit.watch, |h| &h.watch);
            self.tell_self(batch, (hit.root, watch), record, Mask::MOVE_SELF, out);
        }
    }

    /// Roots that have the directory in their trees now, and had it not before.
    fn newcomers(
        &mut self,
        batch: &Batch,
        record: Record,
        from: Option<NodeId>,
        (was, itself, now): (&Reach, &Reach, &Reach),
    ) {
        let trees = itself.hits.iter().filter(|h| !self.is_pattern(h.root));
        let had: Vec<&Hit> = trees.chain(&now.hits).collect();
        for hit in had {
            self.heard.note(record, hit, Mask::ISDIR);
        }
        let target = target(batch, record);
        let mut open = now.here.is_some() && itself.here.is_none();
        for hit in &now.hits {
            let Some(root) = self.roots.get(hit.root) else {
                continue;
            };
            let pattern = root.pattern.is_some();
            let bounded = root.key.depth.is_some() || root.excluded.is_some();
            if itself
                .hits
                .iter()
                .any(|h| (h.root, &h.watch) == (hit.root, &hit.watch))
            {
                continue; // a mount shows it there all the time
            }
            let had = itself.of(hit.root).is_some();
            open |= !had || bounded || pattern;
            if had && !pattern {
                match self.pending(hit.root, from) {
                    Some((how, by)) => {
                        self.ask(Job::dir(hit.root, &target, how).at(&hit.watch).by(by));
                    }
                    None if self.scanning => {
                        self.settled.insert((hit.root, target.clone()));
                    }
                    None => {}
                }
            } else if pattern || !hit.top {
                let within = !pattern && was.serves(hit.root);
                let how = if within { How::Made } else { How::Moved };
                self.settled.remove(&(hit.root, target.clone()));
                let by = self.actor(hit.root, record);
                self.ask(Job::dir(hit.root, &target, how).at(&hit.watch).by(by));
            }
        }
        if open {
            // What was foreign in it is so no longer.
            self.tree.forget_foreign();
            self.hear_all();
            // And what is mounted in it.
            self.carried = true;
        }
    }

    pub(super) fn is_pattern(&self, root: RootId) -> bool {
        self.roots.get(root).is_some_and(|r| r.pattern.is_some())
    }

    /// How, and as whose doing, the content of the directory `id` is still to be told to
    /// a root, if it is.
    fn pending(&self, root: RootId, id: Option<NodeId>) -> Option<(How, Option<Rc<Actor>>)> {
        let above = |key: &[u8]| id.is_some_and(|id| self.tree.chain(id).any(|n| *n.key == *key));
        let in_mount = |mount: u64| {
            let path = self.tree.path(id?)?;
            let areas = &self.roots.get(root)?.way.areas;
            let area = areas.iter().find(|a| a.mount == mount)?;
            within(&path, &area.dir).then_some(())
        };
        let covers = |job: &&Job| {
            job.root == root
                && match &job.what {
                    What::Top => true,
                    What::Area(mount) => in_mount(*mount).is_some(),
                    What::Dir(key) => above(key),
                }
        };
        let job = self.jobs.iter().find(covers)?;
        Some((job.how, job.by.clone()))
    }
}

//! What a change of the table of mounts means for roots.
//!
//! The table and the queue are two things: what was queued before the table was known
//! to have changed may be of before the change or of after it. So all that is queued
//! is told by the table of before; then the table is read, until it did not change
//! meanwhile; and what nobody heard of by the old one is told by the new one (`replay`).
//! Only then trees are scanned, as they are in the new table.

use std::collections::BTreeSet;

use super::Fanotify;
use super::batch::{Batch, DELETE, ONDIR, RENAME};
use super::group::{FsId, fs_of};
use super::job::Job;
use super::mounts::Mount;
use super::reach::within;
use super::root::{Area, At, RootId, Way};
use crate::sys::inotify::{Stamp, file_clock};
use crate::time::Moment;
use crate::watch::Report;
use crate::watch::found::How;

/// Times that a table which changes all the time is read again.
const MOST_READS: u32 = 8;

/// Where a look at the mounts is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing has changed.
    #[default]
    Idle,
    /// What was queued by this time is told by the old table; so often it was begun.
    Asked(Stamp, u32),
}

/// Where a way has mounts that have `changed`: renames have taken them along since the table
/// was read, in which they were already something else.
fn carried(way: &Way, changed: &[Mount]) -> impl Iterator<Item = Box<[u8]>> {
    let is = |area: &&Area| changed.iter().any(|m| m.id == area.mount);
    let below = way.areas.iter().skip(1).filter(is);
    below.map(|area| [&*way.real, b"/", &*area.below].concat().into())
}

impl Fanotify {
    /// As that of `Source`.
    pub fn mounts_changed(&mut self, now: Moment, out: &mut Vec<Report>) -> bool {
        self.carried = true;
        // An error comes again with the next read.
        let _ = self.read(now, out);
        false
    }

    /// All `told` records of `batch` have been told. True: there is more to tell now.
    pub(super) fn look_at_mounts(
        &mut self,
        batch: &mut Batch,
        told: usize,
        out: &mut Vec<Report>,
    ) -> bool {
        let reads = match self.look {
            Look::Idle => {
                if !self.mounts.changed() && !self.carried {
                    return false;
                }
                0
            }
            Look::Asked(since, reads) => {
                let table = self.mounts.fetch();
                let from = batch.records.len();
                self.extend(batch);
                let new = batch.records.get(from..).unwrap_or_default();
                let moves = |mask: u64| mask & ONDIR != 0 && mask & (RENAME | DELETE) != 0;
                let moved = new.iter().any(|r| moves(r.mask));
                if (self.mounts.changed() || moved) && reads < MOST_READS {
                    reads + 1
                } else {
                    self.look = Look::Idle;
                    self.serve_mounts(table, since, (batch, told), out);
                    return true;
                }
            }
        };
        self.carried = false;
        self.look = Look::Asked(file_clock(), reads);
        self.extend(batch);
        true
    }

    /// Serves what has changed in the table of mounts.
    fn serve_mounts(
        &mut self,
        table: Vec<Mount>,
        since: Stamp,
        (batch, told): (&mut Batch, usize),
        out: &mut Vec<Report>,
    ) {
        let mut changed = self.mounts.put(table);
        let ended = self.group.ended();
        changed.extend(self.remade(&ended));
        let last = std::mem::replace(&mut self.drained, since);
        if changed.is_empty() && ended.is_empty() {
            return;
        }
        let moved = self.group.forget_doors(&self.mounts);
        for fs in ended.iter().chain(&moved) {
            self.tree.forget(Some(fs));
        }
        let mut points: Vec<Box<[u8]>> = changed.iter().map(|m| m.point.clone()).collect();
        for id in self.roots.ids() {
            let Some(root) = self.roots.get(id) else {
                continue;
            };
            points.extend(carried(&root.way, &changed));
            let touches = |m: &Mount| {
                within(&root.way.real, &m.point)
                    || within(&m.point, &root.way.real)
                    || root.way.lack.is_some()
                    || root.way.steps.iter().any(|s| s.link)
            };
            if changed.iter().any(touches) || root.way.is_on(&ended) {
                self.mounts_touch(id, (&changed, &ended), out);
            }
        }
        self.back_again(&ended, last);
        self.give_up();
        self.replay(batch, told, points, out);
    }

    /// Roots of which a part was unmounted and mounted again: nobody heard of it since the
    /// `last` look.
    fn back_again(&mut self, ended: &[FsId], last: Stamp) {
        for id in self.roots.ids() {
            let areas = self.roots.get(id).map(|r| &r.way.areas);
            let on = |a: &Area| fs_of(&a.dir).is_some_and(|fs| ended.contains(&fs));
            if areas.is_some_and(|all| all.iter().any(on)) {
                self.ask(Job::top(id, How::Since(last)));
            }
        }
    }

    /// Mounts that are others than before, though the table has the same of them: numbers
    /// of mounts and devices are used again at once.
    fn remade(&self, ended: &[FsId]) -> Vec<Mount> {
        let ids = self.roots.ids();
        let roots = ids.iter().filter_map(|&id| self.roots.get(id));
        let areas = roots.flat_map(|r| r.way.areas.iter().filter(|a| !a.hidden));
        let on = |a: &&Area| fs_of(&a.dir).is_some_and(|fs| ended.contains(&fs));
        let all: BTreeSet<u64> = areas.filter(on).map(|a| a.mount).collect();
        let same = all.into_iter().filter_map(|id| self.mounts.get(id));
        same.cloned().collect()
    }

    /// Something was mounted or unmounted on the way to a root, or below it.
    fn mounts_touch(
        &mut self,
        id: RootId,
        (changed, ended): (&[Mount], &[FsId]),
        out: &mut Vec<Report>,
    ) {
        let Some(root) = self.roots.get(id) else {
            return;
        };
        let (mount, identity) = (root.way.mount, root.way.identity.clone());
        let gone = changed.iter().find(|m| m.id == mount);
        let unmounted =
            gone.is_some_and(|m| !self.mounts.table.iter().any(|o| o.device == m.device));
        let fs = identity.as_deref().and_then(fs_of);
        let ended = unmounted || fs.is_some_and(|fs| ended.contains(&fs));
        if ended && root.way.at == At::Dir {
            self.tell_unmount(id, out);
        }
        self.lose_if_other(id);
        let Some(root) = self.roots.get_mut(id) else {
            return;
        };
        let now = root.way.identity.clone();
        let other = now != identity;
        let back = |key: &[u8]| root.lost.iter().any(|l| *l.identity == *key);
        let new = other && !now.as_deref().is_some_and(back);
        if let Some(area) = root.way.areas.first_mut() {
            area.fresh |= new;
        }
        let fresh = |a: &&Area| a.fresh && !a.hidden && !a.below.is_empty();
        let fresh = root.way.areas.iter().filter(fresh).map(|a| a.mount);
        for mount in fresh.collect::<Vec<_>>() {
            self.ask(Job::area(id, mount, How::Moved));
        }
        if other {
            self.ask(Job::top(id, How::Moved));
        }
    }

    /// What is in the tree of a root by now is known, or is told.
    pub(super) fn all_told(&mut self, id: RootId) {
        if let Some(root) = self.roots.get_mut(id) {
            root.way.areas.iter_mut().for_each(|a| a.fresh = false);
        }
    }
}

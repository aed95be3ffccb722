//! What a change of the table of mounts, or of what a path leads to, means for roots.

use super::Fanotify;
use super::group::FsId;
use super::job::Job;
use super::mounts;
use super::reach;
use super::root::{Area, At, RootId};
use crate::sys::inotify::Stamp;
use crate::time::Moment;
use crate::watch::Report;
use crate::watch::found::How;

/// Records that are read of what comes after a change of the mounts before these are
/// looked at.
const MOST_LATER: u64 = 20_000;

impl Fanotify {
    /// As that of `Source`.
    pub fn mounts_changed(&mut self, now: Moment, out: &mut Vec<Report>) -> bool {
        // What happened before on a file system that is gone now waits in the queue,
        // which has no bound: a writer that never stops does not put the look off for ever.
        let queued = || self.figures.records + self.group.queued() + MOST_LATER;
        let until = *self.mounts_after.get_or_insert_with(queued);
        if matches!(self.drain(now, out), Ok(true)) && self.figures.records < until {
            return true;
        }
        self.mounts_after = None;
        self.look_at_mounts(out);
        let _ = self.drain(now, out);
        false
    }

    /// Reads the table of mounts again, and serves what has changed.
    pub(super) fn look_at_mounts(&mut self, out: &mut Vec<Report>) {
        self.carried = false;
        let changed = self.mounts.read();
        let ended = self.group.ended();
        let moved = self.group.forget_doors(&self.mounts);
        for fs in ended.iter().chain(&moved) {
            self.tree.forget(Some(fs));
        }
        for id in self.roots.ids() {
            let Some(root) = self.roots.get(id) else {
                continue;
            };
            let touches = |m: &mounts::Mount| {
                reach::within(&root.way.real, &m.point)
                    || reach::within(&m.point, &root.way.real)
                    || root.way.lack.is_some()
            };
            if changed.iter().any(touches) || root.way.is_on(&ended) {
                self.mounts_touch(id, &changed, &ended, out);
            }
        }
        self.give_up();
    }

    /// Something was mounted or unmounted on the way to a root, or below it.
    fn mounts_touch(
        &mut self,
        id: RootId,
        changed: &[mounts::Mount],
        ended: &[FsId],
        out: &mut Vec<Report>,
    ) {
        let Some(root) = self.roots.get(id) else {
            return;
        };
        let before = (
            root.way.areas.clone(),
            root.way.mount,
            root.way.identity.clone(),
        );
        let gone = changed.iter().find(|m| m.id == before.1);
        let unmounted =
            gone.is_some_and(|m| !self.mounts.table.iter().any(|o| o.device == m.device));
        let ended = before
            .2
            .as_deref()
            .is_some_and(|key| ended.iter().any(|fs| key.starts_with(fs)));
        if (ended || unmounted) && self.roots.get(id).is_some_and(|r| r.way.at == At::Dir) {
            self.tell_unmount(id, out);
        }
        self.lose_if_other(id);
        let areas = self
            .roots
            .get(id)
            .map(|r| r.way.areas.clone())
            .unwrap_or_default();
        let now = self.roots.get(id).and_then(|r| r.way.identity.clone());
        if now != before.2 {
            self.ask(Job::top(id, How::Moved));
        }
        // One whose mount point was renamed with its directory is not new.
        let times = |of: &[Area], area: &Area| of.iter().filter(|a| a.dir == area.dir).count();
        for area in areas
            .iter()
            .filter(|a| !before.0.contains(a) && !a.below.is_empty())
            .filter(|a| times(&areas, a) > times(&before.0, a))
        {
            self.ask(Job::area(id, &area.dir, How::Moved));
        }
        let mut batch = std::mem::take(&mut self.batch);
        self.work(&mut batch, out);
        self.batch = batch;
    }

    /// Looks at a path again, and remembers what was there if it is another thing.
    pub(super) fn lose_if_other(&mut self, id: RootId) {
        let before = self.roots.get(id).and_then(|r| r.way.identity.clone());
        let settled = self.roots.get(id).map_or(Stamp::default(), |r| r.settled);
        self.resolve(id);
        let Some(root) = self.roots.get_mut(id) else {
            return;
        };
        if let Some(old) = before
            && root.way.identity.as_deref() != Some(&old)
        {
            root.lose(old, self.drained.max(settled));
        }
    }
}

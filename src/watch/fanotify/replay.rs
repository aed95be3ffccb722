//! What happened while the table of mounts changed, told a second time: by the new
//! table to those who heard nothing of it by the old one, or by a path that a mount or
//! the end of one has taken from it. What was done in a directory just before a mount hid
//! it, and in one just after the end of a mount uncovered it, comes from one queue, which
//! does not say when the mount was.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::batch::{Batch, RENAME};
use super::job::Job;
use super::parse::{Record, Span};
use super::reach::{Hit, Reach, within};
use super::root::RootId;
use super::tree::{Known, NodeId};
use super::unfold::{ORDER, kind, target};
use super::{Fanotify, bits_of};
use crate::table::Mask;
use crate::watch::Report;
use crate::watch::found::How;

/// Which roots heard of which records of the batch at hand, and by which path.
#[derive(Default)]
pub(super) struct Heard {
    all: Vec<Word>,
    /// So many of them are in order.
    sorted: usize,
    /// `$@` of words, as they came.
    watches: Vec<OsString>,
    /// They are told again.
    again: bool,
    /// Where something was mounted or unmounted.
    changed: Vec<Box<[u8]>>,
}

/// The place of a record, a root, the event that it was told as, and the place of its `$@`
/// among all. `ISDIR`: the root had the directory in its tree, wherever; a pattern there.
type Word = (u32, RootId, u32, u32);

impl Heard {
    pub fn note(&mut self, record: Record, hit: &Hit, bit: Mask) {
        if self.watches.last() != Some(&hit.watch) {
            self.watches.push(hit.watch.clone());
        }
        let watch = u32::try_from(self.watches.len() - 1).unwrap_or(u32::MAX);
        self.all.push((record.place(), hit.root, bit.0, watch));
    }

    /// The paths by which the root has heard of it.
    fn paths(&self, record: Record, root: RootId, bit: Mask) -> impl Iterator<Item = &OsStr> {
        let first = (record.place(), root, bit.0, 0);
        let sorted = self.all.get(..self.sorted).unwrap_or_default();
        let from = sorted.partition_point(|word| *word < first);
        let words = sorted.get(from..).unwrap_or_default().iter();
        let same = move |word: &&Word| (word.0, word.1, word.2) == (first.0, first.1, first.2);
        let words = words.take_while(same);
        words.filter_map(|word| self.watches.get(word.3 as usize).map(OsString::as_os_str))
    }

    fn begin(&mut self, changed: Vec<Box<[u8]>>) {
        self.all.sort_unstable();
        (self.sorted, self.again, self.changed) = (self.all.len(), true, changed);
    }

    pub fn clear(&mut self) {
        self.all.clear();
        self.watches.clear();
        self.sorted = 0;
    }
}

impl Fanotify {
    /// Tells the first `count` records of `batch` to those who have them in their trees
    /// by now, below places where the mounts have `changed`, and heard nothing of them.
    pub(super) fn replay(
        &mut self,
        batch: &mut Batch,
        count: usize,
        changed: Vec<Box<[u8]>>,
        out: &mut Vec<Report>,
    ) {
        self.heard.begin(changed);
        for at in 0..count {
            let Some(mut record) = batch.get(at) else {
                break;
            };
            if record.mask & libc::FAN_Q_OVERFLOW != 0 || record.from.0.is_empty() {
                continue;
            }
            self.quieten(&mut record);
            if record.mask & RENAME != 0 {
                self.rename_again(batch, at, record, out);
            } else {
                self.name_again(batch, at, record, out);
            }
        }
        self.heard.again = false;
    }

    fn name_again(&mut self, batch: &mut Batch, at: usize, record: Record, out: &mut Vec<Report>) {
        let bits = bits_of(record.mask);
        let itself = batch.text(record.from.1) == b".";
        let Some(id) = self.place_now(batch, at, record.from.0).filter(|_| !itself) else {
            return;
        };
        let key: Box<[u8]> = batch.text(record.from.0).into();
        let name: Box<[u8]> = batch.text(record.from.1).into();
        if kind(record).is_empty() && bits.intersects(Mask::CREATE) {
            self.note_created(&key);
        }
        for bit in ORDER.into_iter().filter(|&bit| bits.intersects(bit)) {
            let file = batch.text(record.target);
            let late = self.late_place(id, (&key, &name), file, bit);
            let (id, key, name) = late.unwrap_or_else(|| (id, key.clone(), name.clone()));
            let reach = self.reach(id);
            self.tell_name(batch, at, &reach, (&key, &name), record, bit, None, out);
        }
    }

    fn half_again(
        &mut self,
        batch: &mut Batch,
        at: usize,
        reach: &Reach,
        (place, record): ((Span, Span), Record),
        bit: Mask,
        out: &mut Vec<Report>,
    ) {
        let (dir, name): (Box<[u8]>, Box<[u8]>) =
            (batch.text(place.0).into(), batch.text(place.1).into());
        self.tell_name(batch, at, reach, (&dir, &name), record, bit, None, out);
    }

    fn rename_again(
        &mut self,
        batch: &mut Batch,
        at: usize,
        record: Record,
        out: &mut Vec<Report>,
    ) {
        let from = self.place_now(batch, at, record.from.0);
        let to = self.place_now(batch, at, record.to.0);
        let mut had = Vec::new();
        if let Some(id) = from {
            let reach = self.reach(id);
            let half = (record.from, record);
            self.half_again(batch, at, &reach, half, Mask::MOVED_FROM, out);
            let before = self.reach_at(id, batch.text(record.from.1));
            had = before.hits;
        }
        let Some(id) = to else { return };
        let reach = self.reach(id);
        let half = (record.to, record);
        self.half_again(batch, at, &reach, half, Mask::MOVED_TO, out);
        if kind(record).is_empty() {
            return;
        }
        let target = target(batch, record);
        let now = self.reach_at(id, batch.text(record.to.1));
        let mut path = self.tree.path(id).unwrap_or_default();
        path.push(b'/');
        path.extend_from_slice(batch.text(record.to.1));
        let known = |hit: &&Hit| {
            let root = self.roots.get(hit.root);
            let area = root.and_then(|r| r.way.areas.get(hit.area));
            if area.is_some_and(|a| !a.below.is_empty() && *a.dir == *path) {
                return true; // a mount shows it there, whatever its name
            }
            let same = |h: &Hit| h.root == hit.root && h.watch == hit.watch;
            let tree = |h: &Hit| h.root == hit.root && !self.is_pattern(h.root);
            had.iter().any(|h| same(h) || tree(h))
        };
        let new: Vec<&Hit> = now.hits.iter().filter(|hit| !known(hit)).collect();
        for hit in new {
            if !self.heard_before(record, (hit, &now), Mask::ISDIR) {
                self.ask(Job::dir(hit.root, &target, How::Moved).at(&hit.watch));
            }
        }
    }

    /// True where that is told again, and was heard before, or is told as new, or was
    /// not to be heard: no mount has hidden it. `now`: what the directory is by now.
    pub(super) fn heard_before(
        &self,
        record: Record,
        (hit, now): (&Hit, &Reach),
        bit: Mask,
    ) -> bool {
        let stays = |watch: &OsStr| {
            if bit == Mask::ISDIR {
                // A pattern has some of what is in it at one place, and all at another.
                return !self.is_pattern(hit.root) || hit.watch == watch;
            }
            let mut now = now.hits.iter().filter(|other| other.root == hit.root);
            now.any(|other| other.watch == watch) || !self.is_changed(hit.root, watch)
        };
        let heard = || self.heard.paths(record, hit.root, bit).any(stays);
        let known = || self.is_fresh(hit.root, hit.area) || heard();
        self.heard.again && (!self.is_changed(hit.root, &hit.watch) || known())
    }

    /// What the root calls so is below a place where something was mounted or unmounted.
    fn is_changed(&self, root: RootId, watch: &OsStr) -> bool {
        let Some(root) = self.roots.get(root) else {
            return false;
        };
        let route = root.route.strip_suffix(b"/").unwrap_or(&root.route);
        let below = watch.as_bytes().strip_prefix(route);
        let real = [&*root.way.real, below.unwrap_or_default()].concat();
        let real = real.strip_suffix(b"/").unwrap_or(&real);
        self.heard.changed.iter().any(|point| within(real, point))
    }

    /// A directory where it is by now, or was last.
    fn place_now(&mut self, batch: &mut Batch, at: usize, dir: Span) -> Option<NodeId> {
        let key: Box<[u8]> = batch.text(dir).into();
        if key.is_empty() {
            return None;
        }
        let end = batch.records.len();
        let found = match self.find(&key, batch, end) {
            Known::No => self.find(&key, batch, at),
            known => known,
        };
        match found {
            Known::Node(id) => Some(id),
            _ => None,
        }
    }

    /// What is there is told as something new.
    fn is_fresh(&self, root: RootId, area: usize) -> bool {
        let root = self.roots.get(root);
        root.and_then(|r| r.way.areas.get(area))
            .is_some_and(|a| a.fresh)
    }
}

//! One record may be several events: the kernel adds what happens to the same
//! thing, by the same process, to a record that nobody has read yet, wherever that
//! stands. Here it is taken apart again: one event for each bit, in an order that
//! may have been, and what cannot have been there yet is told later.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::openat;
use nix::sys::stat::Mode;

use super::batch::{Batch, ONDIR};
use super::parse::Record;
use super::root::RootId;
use super::tree::NodeId;
use super::{Fanotify, bits_of, resolve};
use crate::table::Mask;
use crate::watch::Report;
use crate::watch::look::with_nul;
use crate::watch::scan::path_flags;

/// The order in which the bits of one record are told.
pub(super) const ORDER: [Mask; 9] = [
    Mask::CREATE,
    Mask::OPEN,
    Mask::OPEN_EXEC,
    Mask::ATTRIB,
    Mask::ACCESS,
    Mask::MODIFY,
    Mask::CLOSE_WRITE,
    Mask::CLOSE_NOWRITE,
    Mask::DELETE,
];

/// Bits that may be of a time after the directory was renamed.
const CONTENT: Mask = Mask(
    Mask::MODIFY.0 | Mask::CLOSE_WRITE.0 | Mask::ATTRIB.0 | Mask::ACCESS.0 | Mask::CLOSE_NOWRITE.0,
);

/// A part of a record that is told after another record.
pub(super) struct Part {
    pub record: Record,
    pub bits: Mask,
    /// Roots that knew it by another path, which they may have left since.
    pub before: Vec<(RootId, OsString, bool)>,
}

impl Fanotify {
    /// A record of a name in the directory `id`.
    pub(super) fn named(
        &mut self,
        batch: &mut Batch,
        at: usize,
        id: NodeId,
        record: Record,
        out: &mut Vec<Report>,
    ) {
        let mut bits = bits_of(record.mask);
        if batch.text(record.from.1) == b"." {
            return self.itself(batch, at, id, record, out);
        }
        if bits.intersects(Mask::DELETE) && bits != Mask::DELETE {
            let (dir, name) = (batch.text(record.from.0), batch.text(record.from.1));
            let back = bits.intersects(Mask::CREATE)
                && self.is_there(dir, name, batch.text(record.target));
            if back {
                self.one(batch, at, id, record, Mask::DELETE, out);
                bits = bits & !Mask::DELETE;
            } else if let Some(last) = batch.last_of(&target(batch, record), at) {
                self.put_off(last, record, Mask::DELETE, Vec::new());
                bits = bits & !Mask::DELETE;
            }
        }
        if bits.intersects(CONTENT)
            && let Some(last) = self.renamed_after(batch, at, id)
        {
            let before = self.known_by(batch, id, record);
            self.put_off(last, record, bits & CONTENT, before);
            bits = bits & !CONTENT;
        }
        for bit in ORDER.into_iter().filter(|&bit| bits.intersects(bit)) {
            self.one(batch, at, id, record, bit, out);
        }
    }

    /// As `named`, of what was put off until now.
    pub(super) fn named_part(
        &mut self,
        batch: &mut Batch,
        at: usize,
        id: NodeId,
        part: Part,
        out: &mut Vec<Report>,
    ) {
        if part.bits.intersects(CONTENT)
            && let Some(last) = self.renamed_after(batch, at, id)
        {
            return self.put_off(last, part.record, part.bits, part.before);
        }
        let bits = part.bits;
        for bit in ORDER.into_iter().filter(|&bit| bits.intersects(bit)) {
            self.one(batch, at, id, part.record, bit, out);
        }
        let now = self.known_by(batch, id, part.record);
        self.tell_former(batch, &part, &now, out);
    }

    /// Tells those who knew a thing before, and are not among those who know it now.
    pub(super) fn tell_former(
        &mut self,
        batch: &Batch,
        part: &Part,
        now: &[(RootId, OsString, bool)],
        out: &mut Vec<Report>,
    ) {
        let left = |(root, _, file): &&(RootId, OsString, bool)| {
            !now.iter().any(|(other, _, f)| other == root && f == file)
        };
        let bits = part.bits;
        for (root, watch, file) in part.before.iter().filter(left) {
            for bit in ORDER.into_iter().filter(|&bit| bits.intersects(bit)) {
                let who = (*root, watch, *file);
                self.tell_before(batch, who, part.record, bit, out);
            }
        }
    }

    fn put_off(
        &mut self,
        after: usize,
        record: Record,
        bits: Mask,
        before: Vec<(RootId, OsString, bool)>,
    ) {
        let parts = self.later.entry(after).or_default();
        parts.push(Part {
            record,
            bits,
            before,
        });
    }

    /// The last rename after the record at `at` of a directory that `id` is in.
    fn renamed_after(&self, batch: &mut Batch, at: usize, id: NodeId) -> Option<usize> {
        let all = self.tree.chain(id);
        all.filter_map(|node| batch.renamed_after(&node.key, at))
            .max()
    }

    /// Roots that hear of a name in `id`, and whether as their own file.
    fn known_by(
        &mut self,
        batch: &Batch,
        id: NodeId,
        record: Record,
    ) -> Vec<(RootId, OsString, bool)> {
        let reach = self.reach(id);
        let served = reach.hits.iter().filter(|h| h.served);
        let mut all: Vec<_> = served.map(|h| (h.root, h.watch.clone(), false)).collect();
        let name = batch.text(record.from.1);
        let users = reach.here.as_ref().and_then(|h| h.names.get(name));
        for &(root, step) in users.into_iter().flatten() {
            let Some(r) = self.roots.get(root) else {
                continue;
            };
            if r.way.steps.get(step).is_some_and(|s| s.last) {
                let route = OsStr::from_bytes(&r.route).to_owned();
                all.push((root, route, true));
            }
        }
        all
    }

    /// The thing `target` is called `name` in the directory `dir` now.
    pub(super) fn is_there(&mut self, dir: &[u8], name: &[u8], target: &[u8]) -> bool {
        let Ok(dir) = self.group.open(&self.mounts, dir) else {
            return false;
        };
        let open = openat(&dir, name, path_flags(), Mode::empty());
        open.is_ok_and(|fd| resolve::is(fd.as_fd(), target).unwrap_or(false))
    }

    /// True where the name of a record leads to something now.
    pub(super) fn exists(&mut self, dir: &[u8], name: &[u8]) -> Option<crate::sys::inotify::Stat> {
        let dir = self.group.open(&self.mounts, dir).ok()?;
        with_nul(name, |n| crate::sys::inotify::stat(dir.as_fd(), n)).ok()
    }
}

pub(super) fn target(batch: &Batch, record: Record) -> Box<[u8]> {
    batch.text(record.target).into()
}

/// `ISDIR` or nothing.
pub(super) fn kind(record: Record) -> Mask {
    if record.mask & ONDIR != 0 {
        Mask::ISDIR
    } else {
        Mask(0)
    }
}

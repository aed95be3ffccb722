//! What a path led to before, and may lead to again: a directory that was renamed away
//! and back, one that a mount hid, one behind a link. Nothing of it is told meanwhile;
//! what changed since then is told when the path leads there again.
//!
//! Files show by their stamps that they changed, or got another name. A directory's are
//! those of what is in it, too; so directories that are renamed are noted as long as a
//! path has lost anything.

use std::collections::HashMap;

use super::Fanotify;
use super::root::{At, Root, RootId};
use crate::sys::inotify::Stamp;

/// Former things of a path that are known again when they come back.
const MOST_LOST: usize = 4;
/// Renamed directories that are remembered.
const MOST_WANDERED: usize = 4096;

/// What a path led to before.
pub(super) struct Lost {
    pub identity: Box<[u8]>,
    /// Changes from then on are not told.
    pub since: Stamp,
    /// The number of the record from which on renames are not told.
    pub number: u64,
    /// A file has been at the path since, and is gone.
    pub passed: bool,
}

/// Directories that were renamed since something was lost, by their handles, with the
/// number of the last record that says so.
#[derive(Default)]
pub(super) struct Wandered {
    all: HashMap<Box<[u8]>, u64>,
    /// Of what was renamed before, not all is remembered.
    dropped: u64,
    wanted: bool,
}

impl Wandered {
    pub fn note(&mut self, key: &[u8], number: u64) {
        if !self.wanted {
            return;
        }
        if self.all.len() >= MOST_WANDERED {
            self.all.clear();
            self.dropped = number;
        }
        self.all.insert(key.into(), number);
    }

    /// True where the directory `key` has got its name since that record. `changed`: by
    /// its stamps it may have.
    pub fn since(&self, key: &[u8], number: u64, changed: impl FnOnce() -> bool) -> bool {
        let last = self.all.get(key).copied();
        last.is_some_and(|last| last >= number) || number < self.dropped && changed()
    }
}

impl Root {
    /// Remembers what the path was.
    fn lose(&mut self, lost: Lost) {
        self.lost.retain(|other| other.identity != lost.identity);
        self.lost.truncate(MOST_LOST - 1);
        self.lost.insert(0, lost);
    }
}

impl Fanotify {
    /// The path leads nowhere any more.
    pub(super) fn lose_way(&mut self, id: RootId) {
        let root = self.roots.get(id);
        if let Some(identity) = root.and_then(|r| r.way.identity.clone()) {
            self.lose(id, identity);
        }
        self.set_at(id, At::Nothing, None);
    }

    /// Looks at a path again, and remembers what was there if it is another thing.
    pub(super) fn lose_if_other(&mut self, id: RootId) {
        let identity = |this: &Self| this.roots.get(id).and_then(|r| r.way.identity.clone());
        let before = identity(self);
        let settled = self.roots.get(id).map(|r| r.settled);
        self.resolve(id);
        let now = identity(self);
        if let Some(old) = before.filter(|old| now.as_ref() != Some(old)) {
            if let (Some(root), Some(settled)) = (self.roots.get_mut(id), settled) {
                root.settled = settled;
            }
            self.lose(id, old);
        }
    }

    fn lose(&mut self, id: RootId, identity: Box<[u8]>) {
        if self.jobs.iter().any(|job| job.is_of_top(id)) {
            return; // it has not been told yet what is there
        }
        let (drained, number) = (self.drained, self.number);
        if let Some(root) = self.roots.get_mut(id) {
            let since = drained.max(root.settled);
            root.lose(Lost {
                identity,
                since,
                number,
                passed: false,
            });
        }
        self.wandered.wanted = true;
    }

    /// The file that the path leads to is gone.
    pub(super) fn lose_file(&mut self, id: RootId) {
        if let Some(root) = self.roots.get_mut(id) {
            root.lost.iter_mut().for_each(|lost| lost.passed = true);
        }
        self.set_at(id, At::Nothing, None);
    }

    /// The path of a root leads to this: what it was when the path led there before. A
    /// file is another one than that which was there meanwhile, so it is new.
    pub(super) fn regain(&mut self, id: RootId, identity: &[u8]) -> Option<Lost> {
        let root = self.roots.get_mut(id)?;
        let found = root.lost.iter().position(|l| *l.identity == *identity)?;
        let back = root.lost.remove(found);
        let replaced = root.way.at == At::File && (found > 0 || back.passed);
        (!replaced).then_some(back)
    }

    /// Nothing is to be scanned any more: who was renamed is forgotten when no path has
    /// lost anything.
    pub(super) fn forget_wandered(&mut self) {
        let lost = |id: RootId| self.roots.get(id).is_some_and(|r| !r.lost.is_empty());
        if self.wandered.wanted && !self.roots.ids().into_iter().any(lost) {
            self.wandered = Wandered::default();
        }
    }
}

//! Guards: what must be heard of the way to a root, beside the root's own tree.
//!
//! A guard is one inode on the way: a directory or link that may be moved or
//! removed, or a directory in which a name may come, go, or be a watched file.
//! Foreign names end at one look into a map.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::open;
use nix::sys::stat::Mode;

use super::Report;
use super::found::{self, How};
use super::inotify::Inotify;
use super::kernel::{NO_GUARD, Wd};
use super::memory::Owner;
use super::parse::Raw;
use super::root::{Link, RootId, State};
use super::scan::path_flags;
use super::tell::{News, Place};
use crate::event::Origin;
use crate::table::Mask;

/// One guarded inode.
#[derive(Debug)]
struct Guard {
    wd: Wd,
    /// Where it was when a root was looked up through it.
    path: Box<[u8]>,
    /// Roots whose way leads through it.
    selfs: BTreeSet<RootId>,
    /// Roots that wait for a name in it, or watch a file by it.
    names: HashMap<Box<[u8]>, BTreeSet<RootId>>,
}

/// All guards.
#[derive(Debug, Default)]
pub(super) struct Guards {
    slots: Vec<Option<Guard>>,
    /// Slots without one.
    free: Vec<u32>,
}

impl Guards {
    fn get(&self, at: u32) -> Option<&Guard> {
        self.slots.get(at as usize)?.as_ref()
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut Guard> {
        self.slots.get_mut(at as usize)?.as_mut()
    }

    /// Where the guarded directory was last seen.
    pub fn path(&self, at: u32) -> Option<&[u8]> {
        self.get(at).map(|g| &*g.path)
    }

    /// Roots that watch a file by `name`, or wait for that name.
    pub fn users(&self, at: u32, name: &[u8]) -> impl Iterator<Item = RootId> {
        let users = self.get(at).and_then(|g| g.names.get(name));
        users.into_iter().flatten().copied()
    }

    fn insert(&mut self, wd: Wd, path: &[u8]) -> u32 {
        let guard = Guard {
            wd,
            path: path.into(),
            selfs: BTreeSet::new(),
            names: HashMap::new(),
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(NO_GUARD)
        });
        if let Some(slot) = self.slots.get_mut(at as usize) {
            *slot = Some(guard);
        }
        at
    }

    fn remove(&mut self, at: u32) -> Option<Guard> {
        let guard = self.slots.get_mut(at as usize)?.take()?;
        self.free.push(at);
        Some(guard)
    }
}

impl Inotify {
    /// Hangs `root` on the guard of a link, making one where there is none.
    pub(super) fn link(&mut self, root: RootId, link: &Link, path: &[u8]) {
        let Some(watch) = self.kernel.get_mut(link.wd) else {
            return;
        };
        if watch.guard == NO_GUARD {
            watch.guard = self.guards.insert(link.wd, path);
        }
        let Some(guard) = self.guards.get_mut(watch.guard) else {
            return;
        };
        if *guard.path != *path {
            guard.path = path.into();
        }
        let users = match &link.name {
            None => &mut guard.selfs,
            Some(name) => guard.names.entry(name.clone()).or_default(),
        };
        users.insert(root);
    }

    /// Takes `root` off a link, unless `kept` still needs the same.
    pub(super) fn unlink(&mut self, root: RootId, link: &Link, kept: &[Link]) {
        if kept.iter().any(|k| k.wd == link.wd && k.name == link.name) {
            return;
        }
        let Some(at) = self.kernel.get(link.wd).map(|w| w.guard) else {
            return;
        };
        let Some(guard) = self.guards.get_mut(at) else {
            return;
        };
        match &link.name {
            None => drop(guard.selfs.remove(&root)),
            Some(name) => {
                if let Some(users) = guard.names.get_mut(name) {
                    users.remove(&root);
                    if users.is_empty() {
                        guard.names.remove(name);
                    }
                }
            }
        }
        if guard.selfs.is_empty() && guard.names.is_empty() {
            self.guards.remove(at);
            if let Some(watch) = self.kernel.get_mut(link.wd) {
                watch.guard = NO_GUARD;
            }
            self.kernel.release(link.wd);
        }
    }

    /// The union of the links that hang on a guard, or as much of it as makes `enough`:
    /// most ask for the same, and there may be many.
    pub(super) fn guard_mask(&self, at: u32, enough: u32) -> u32 {
        let Some(guard) = self.guards.get(at) else {
            return 0;
        };
        let excl = Mask::EXCL_UNLINK.0;
        let (mut mask, mut all) = (0, excl);
        for root in guard.selfs.iter().chain(guard.names.values().flatten()) {
            let links = self.roots.get(*root).map_or(&[][..], |r| &r.links);
            for link in links.iter().filter(|l| l.wd == guard.wd) {
                mask |= link.mask;
                all &= link.mask;
            }
            // Who asks for it, and who does not, is known where the kernel has been asked.
            let known = all == 0 || enough & excl != 0;
            if known && enough & !mask & !excl == 0 {
                break;
            }
        }
        mask & !excl | all
    }

    /// The inode of a guard is gone.
    pub(super) fn guard_ended(&mut self, at: u32) {
        let Some(guard) = self.guards.remove(at) else {
            return;
        };
        for root in guard
            .selfs
            .into_iter()
            .chain(guard.names.into_values().flatten())
        {
            if let Some(r) = self.roots.get_mut(root) {
                r.links.retain(|l| l.wd != guard.wd);
            }
            self.stale.push((root, How::Made));
        }
    }

    /// An event of a guarded inode.
    pub(super) fn guard_event(&mut self, at: u32, raw: &Raw<'_>, out: &mut Vec<Report>) {
        let Some(guard) = self.guards.get(at) else {
            return;
        };
        if raw.name.is_empty() {
            for root in guard.selfs.clone() {
                self.way_event(root, raw, out);
            }
        } else if let Some(users) = guard.names.get(raw.name) {
            for root in users.clone() {
                self.name_event(root, raw, out);
            }
        }
    }

    /// Something happened to a directory or link on the way, or to a watched file.
    fn way_event(&mut self, root: RootId, raw: &Raw<'_>, out: &mut Vec<Report>) {
        let Some(r) = self.roots.get_mut(root) else {
            return;
        };
        let asks = r
            .links
            .iter()
            .any(|l| l.wd == raw.wd && l.name.is_none() && l.mask & raw.mask.0 != 0);
        let named = r.leaf.is_some();
        if let State::File(file) = &mut r.state
            && file.inode == Some(raw.wd)
        {
            let ends = Mask::DELETE_SELF | Mask::MOVE_SELF;
            let echo =
                !file.full || file.echo.intersects(raw.mask) || named && raw.mask.intersects(ends);
            file.echo = file.echo & !raw.mask;
            if !echo {
                self.tell_file(root, raw, (false, false), out);
            }
        }
        let lost = Mask::DELETE_SELF | Mask::MOVE_SELF | Mask::UNMOUNT | Mask::ATTRIB;
        if asks && raw.mask.intersects(lost) {
            self.stale.push((root, How::Moved));
        }
    }

    /// Something happened to a name that `root` watches or waits for.
    fn name_event(&mut self, root: RootId, raw: &Raw<'_>, out: &mut Vec<Report>) {
        let Some(r) = self.roots.get_mut(root) else {
            return;
        };
        let is = |l: &Link| l.wd == raw.wd && l.name.as_deref() == Some(raw.name);
        let asks = r.links.iter().any(|l| is(l) && l.mask & raw.mask.0 != 0);
        let leaf = r
            .leaf
            .as_ref()
            .is_some_and(|(wd, name)| *wd == raw.wd && **name == *raw.name);
        if leaf && !raw.mask.intersects(Mask::ISDIR) {
            let mut look = false;
            if let State::File(file) = &mut r.state {
                let written = raw.mask.intersects(Mask::CLOSE_WRITE | Mask::MODIFY);
                if written {
                    file.told = self.total;
                }
                look = written && !file.full;
                if file.full {
                    file.echo |= raw.mask & Mask::ALL_EVENTS;
                    self.echoes.push(root);
                }
            }
            if look {
                self.note_write(root, raw);
            }
            let news = self.arrival(root, raw);
            if !self.exchanged(raw) {
                self.tell_file(root, raw, news, out);
            }
        }
        let names = Mask::CREATE | Mask::DELETE | Mask::MOVE;
        if asks && raw.mask.intersects(names) {
            let how = if raw.mask.intersects(Mask::MOVED_TO) {
                How::Moved
            } else {
                How::Made
            };
            self.stale.push((root, how));
        }
    }

    /// The directory of a guard, if it still is where it was.
    pub(super) fn open_guard(&mut self, wd: Wd) -> Option<OwnedFd> {
        let at = self.kernel.get(wd)?.guard;
        let fd = open(self.guards.path(at)?, path_flags(), Mode::empty()).ok()?;
        self.kernel.is(fd.as_fd(), wd).then_some(fd)
    }

    fn tell_file(
        &mut self,
        root: RootId,
        raw: &Raw<'_>,
        (complete, linked): (bool, bool),
        out: &mut Vec<Report>,
    ) {
        let owner = Owner::File(root);
        let news = News {
            place: Place::Root,
            name: b"",
            owner: (owner, b""),
            kind: Mask(0),
            origin: Origin::Kernel,
            old_path: self.old_path(root, raw),
            known: self.seen.known(owner, b"", self.position),
        };
        self.tell(
            root,
            &news,
            |line| found::for_file(line.mask, raw.mask, complete, linked),
            out,
        );
        if raw.mask.intersects(Mask::DELETE | Mask::MOVED_FROM) {
            self.seen.forget(owner, b"");
        }
    }

    /// The queue is empty: no second halves of doubly watched events are left.
    pub(super) fn forget_echoes(&mut self) {
        for root in std::mem::take(&mut self.echoes) {
            if let Some(State::File(file)) = self.roots.get_mut(root).map(|r| &mut r.state) {
                file.echo = Mask(0);
            }
        }
    }
}

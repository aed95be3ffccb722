//! Guards: what must be heard of the way to a root, beside the root's own tree.
//!
//! A guard is one inode on the way: a directory or link that may be moved or
//! removed, or a directory in which a name may come, go, or be a watched file.
//! Foreign names end at one look into a map.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::open;
use nix::sys::stat::Mode;

use super::Report;
use super::found::{self, How};
use super::inotify::Inotify;
use super::kernel::{NO_GUARD, Wd};
use super::look::with_nul;
use super::memory::Owner;
use super::parse::Raw;
use super::root::{Link, RootId, State};
use super::scan::path_flags;
use super::tell::{News, Place};
use crate::event::Origin;
use crate::sys::inotify as sys;
use crate::table::Mask;

/// One guarded inode.
#[derive(Debug)]
struct Guard {
    wd: Wd,
    /// Where it was when a root was looked up through it.
    path: Box<[u8]>,
    /// Roots whose way leads through it.
    selfs: Vec<RootId>,
    /// Roots that wait for a name in it, or watch a file by it.
    names: HashMap<Box<[u8]>, Vec<RootId>>,
}

/// All guards.
#[derive(Debug, Default)]
pub(super) struct Guards {
    slots: Vec<Option<Guard>>,
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

    fn insert(&mut self, wd: Wd, path: &[u8]) -> u32 {
        let guard = Guard {
            wd,
            path: path.into(),
            selfs: Vec::new(),
            names: HashMap::new(),
        };
        let at = self
            .slots
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.slots.len());
        if at == self.slots.len() {
            self.slots.push(None);
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Some(guard);
        }
        u32::try_from(at).unwrap_or(NO_GUARD)
    }

    fn remove(&mut self, at: u32) -> Option<Guard> {
        self.slots.get_mut(at as usize)?.take()
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
        if !users.contains(&root) {
            users.push(root);
        }
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
            None => guard.selfs.retain(|&r| r != root),
            Some(name) => {
                if let Some(users) = guard.names.get_mut(name) {
                    users.retain(|&r| r != root);
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

    /// The union of the links that hang on a guard.
    pub(super) fn guard_mask(&self, at: u32) -> u32 {
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
            if let State::File(file) = &mut r.state {
                if raw.mask.intersects(Mask::CLOSE_WRITE | Mask::MODIFY) {
                    file.told = self.total;
                }
                if file.full {
                    file.echo |= raw.mask & Mask::ALL_EVENTS;
                    self.echoes.push(root);
                }
            }
            let news = self.arrival(root, raw);
            self.tell_file(root, raw, news, out);
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

    /// Our own opening of a watched file: its own watch tells of it once more.
    pub(super) fn echo_own(&mut self, at: u32, raw: &Raw<'_>) {
        let users = self.guards.get(at).and_then(|g| g.names.get(raw.name));
        for root in users.cloned().unwrap_or_default() {
            if let Some(State::File(file)) = self.roots.get_mut(root).map(|r| &mut r.state)
                && file.full
            {
                file.echo |= raw.mask & Mask::ALL_EVENTS;
                self.echoes.push(root);
            }
        }
    }

    /// Whether a file is complete, and whether it was linked in with content.
    fn arrival(&mut self, root: RootId, raw: &Raw<'_>) -> (bool, bool) {
        let Some(r) = self.roots.get(root) else {
            return (false, false);
        };
        let writes = Mask::CLOSE_WRITE | Mask::MODIFY;
        let created =
            raw.mask.intersects(Mask::CREATE) && r.asked.intersects(writes | Mask::COMPLETE);
        let finish = Mask::CLOSE_WRITE | Mask::MOVED_TO | Mask::CREATE;
        let completes = r.asked.intersects(Mask::COMPLETE) && raw.mask.intersects(finish);
        if !created && !completes {
            return (false, false);
        }
        let Some(dir) = self.open_guard(raw.wd) else {
            return (false, false);
        };
        let complete = completes && self.completes(dir.as_fd(), raw);
        let stat = with_nul(raw.name, |n| sys::stat(dir.as_fd(), n));
        let filled = stat.is_ok_and(|s| s.kind() == libc::S_IFREG && s.links > 1 && s.size > 0);
        (complete, created && filled)
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

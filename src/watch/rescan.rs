//! After a full queue: everything changed since the last event read.
//!
//! What the kernel dropped is not known, so all roots are looked at again. A thing
//! that changed since the queue was last empty is told with origin `Rescan`, as
//! far as the lines were not told of it meanwhile. What is gone can be told only
//! where its name was kept: sub-directories always, files for roots whose lines
//! ask for deletions (a set of names a directory, about 50 bytes a name).

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;

use nix::fcntl::openat;
use nix::sys::stat::Mode;

use super::Report;
use super::found::{How, Thing};
use super::inotify::Inotify;
use super::look::with_nul;
use super::memory::Owner;
use super::root::{RootId, State};
use super::scan::{dir_flags, path_flags};
use super::tell::{News, Place};
use super::tree::{LEFT, MET, NodeId, SERVED};
use crate::event::Origin;
use crate::sys::inotify as sys;
use crate::table::Mask;

/// Names by directory.
pub(super) type Names = HashMap<u32, HashSet<Box<[u8]>>>;

impl Inotify {
    /// The queue was full: events were lost after those read so far.
    pub(super) fn overflow(&mut self, out: &mut Vec<Report>) {
        self.figures.overflows += 1;
        let since = self.safe;
        let now = sys::file_clock();
        log::warn!(overflows = self.figures.overflows; "inotify queue overflow: looking for what changed");
        self.told_before = std::mem::take(&mut self.told);
        self.told.since = Some(now);
        for root in self.roots.ids() {
            self.rescan(root, How::Since(since), out);
        }
        self.told_before.clear();
        // The next rescan need not look further back than this one; what this one has
        // told since then it must know, so `told` is kept until no other can follow.
        self.safe = now;
        self.behind = false;
        self.before = now;
        self.drained = now;
        self.lingers = true;
    }

    /// Tells what changed at a root: `Since` a time, or where watches were lacking.
    pub(super) fn rescan(&mut self, id: RootId, how: How, out: &mut Vec<Report>) {
        let Some(root) = self.roots.get(id) else {
            return;
        };
        self.figures.rescans += 1;
        let settled = root.settled;
        let how = match how {
            How::Since(since) => How::Since(since.max(settled)),
            how => how,
        };
        let (top, identity) = (root.top(), root.identity);
        let was_file = matches!(root.state, State::File(_));
        self.resolve(id, How::Moved, out);
        let Some(root) = self.roots.get(id) else {
            return;
        };
        match &root.state {
            State::Dir(now) if top == Some(*now) => self.rescan_tree(*now, how, out),
            State::File(_) => {
                let how = if root.identity == identity {
                    how
                } else {
                    How::Moved
                };
                self.rescan_file(id, how, out);
            }
            State::Missing if was_file => self.tell_file_gone(id, out),
            _ => {}
        }
    }

    fn rescan_tree(&mut self, top: NodeId, how: How, out: &mut Vec<Report>) {
        for id in self.tree.subtree(top) {
            if let Some(n) = self.tree.get_mut(id) {
                n.flags &= !MET;
            }
        }
        let Ok(fd) = self.open_node(top, dir_flags()) else {
            return;
        };
        self.flag(top, MET);
        self.rescanning = Some(how);
        self.scan(top, fd, how, out);
        while let Some((id, how)) = self.deferred.pop() {
            if let Ok(fd) = self.open_node(id, dir_flags()) {
                self.scan(id, fd, how, out);
            }
        }
        self.rescanning = None;
        for id in self.tree.subtree(top) {
            if self.tree.get(id).is_some_and(|n| n.flags & MET == 0) {
                self.tell_dir_gone(id, out);
                self.drop_subtree(id);
            }
        }
    }

    /// A sub-directory is gone, and the kernel may not say so.
    fn tell_dir_gone(&mut self, id: NodeId, out: &mut Vec<Report>) {
        let Some(node) = self.tree.get(id) else {
            return;
        };
        let (root, parent, name) = (node.root, node.parent, node.name.clone());
        let free = self
            .tree
            .find(parent, &name)
            .is_none_or(|other| other == id);
        if node.flags & LEFT == 0 && free {
            self.tell_parting(root, parent, &name, Mask::ISDIR, out);
        }
        let news = News::found(Owner::Node(id), Place::Node(id), b"", Mask(0));
        self.tell(root, &news, |line| line.mask & Mask::DELETE_SELF, out);
    }

    /// Names that a rescan no longer found.
    pub(super) fn tell_gone(
        &mut self,
        root: RootId,
        node: NodeId,
        old: &HashSet<Box<[u8]>>,
        found: &mut Vec<(Owner, Box<[u8]>, Thing)>,
        out: &mut Vec<Report>,
    ) {
        let now = self.names.get(&node.0);
        let gone: Vec<_> = old
            .iter()
            .filter(|n| !now.is_some_and(|now| now.contains(*n)))
            .cloned()
            .collect();
        for name in gone {
            // Sub-directories with a place of their own are told with that.
            if self.tree.find(node, &name).is_some() {
                continue;
            }
            self.tell_parting(root, node, &name, Mask(0), out);
            found.push((
                Owner::Node(node),
                name,
                Thing {
                    gone: true,
                    ..Thing::default()
                },
            ));
        }
    }

    pub(super) fn tell_parting(
        &mut self,
        root: RootId,
        dir: NodeId,
        name: &[u8],
        kind: Mask,
        out: &mut Vec<Report>,
    ) {
        let owner = Owner::Node(dir);
        if self.tree.get(dir).is_some_and(|n| n.flags & SERVED == 0) {
            if let Some(path) = self.matched(root, dir, name).filter(|_| kind.is_empty()) {
                let news = News {
                    owner: (owner, name),
                    ..News::found(owner, Place::Path(&path), b"", kind)
                };
                let choose = |line: &super::root::Line| {
                    super::found::for_file(line.mask, Mask::DELETE, false, false)
                };
                self.tell(root, &news, choose, out);
            }
            return;
        }
        let gone = Thing {
            gone: true,
            ..Thing::default()
        };
        let news = News::found(owner, Place::Node(dir), name, kind);
        self.tell(root, &news, |line| super::found::due(line.mask, gone), out);
    }

    /// A file that was and is there.
    fn rescan_file(&mut self, id: RootId, how: How, out: &mut Vec<Report>) {
        let Some((wd, name)) = self.roots.get(id).and_then(|r| r.leaf.clone()) else {
            return;
        };
        let Some(dir) = self.open_guard(wd) else {
            return;
        };
        let Ok(fd) = openat(&dir, &*name, path_flags(), Mode::empty()) else {
            return;
        };
        let Ok(stat) = sys::stat(fd.as_fd(), c"") else {
            return;
        };
        let Some(thing) = self.look(id, wd, dir.as_fd(), (&name, stat.kind()), (how, None)) else {
            return;
        };
        self.tell_found(
            id,
            (Place::Root, b""),
            (Owner::File(id), b""),
            thing,
            how,
            out,
        );
        let until = self.total + self.kernel.queued();
        self.seen.insert(Owner::File(id), b"", thing, until);
        self.seen.own_done(until);
    }

    fn tell_file_gone(&mut self, id: RootId, out: &mut Vec<Report>) {
        let told = self.told_before.of(Owner::File(id), b"");
        let news = News::found(Owner::File(id), Place::Root, b"", Mask(0));
        let choose = |line: &super::root::Line| {
            if told.parted(line.id) {
                Mask(0)
            } else {
                super::found::for_file(line.mask, Mask::DELETE, false, false)
            }
        };
        self.tell(id, &news, choose, out);
    }

    /// Keeps a name for a later rescan. False: it was there.
    pub(super) fn note_name(&mut self, dir: NodeId, name: &[u8]) -> bool {
        self.names.entry(dir.0).or_default().insert(name.into())
    }

    fn exists(&mut self, dir: NodeId, name: &[u8]) -> bool {
        let Ok(fd) = self.open_node(dir, path_flags()) else {
            return false;
        };
        with_nul(name, |n| sys::stat(fd.as_fd(), n)).is_ok()
    }

    /// A name is gone, and told.
    pub(super) fn drop_name(&mut self, dir: NodeId, name: &[u8]) {
        // An exchange brings the new thing before it takes the old one away.
        let again = self
            .replaced
            .iter()
            .position(|(d, n)| *d == dir && **n == *name);
        if let Some(at) = again {
            self.replaced.swap_remove(at);
            if self.exists(dir, name) {
                return;
            }
        }
        if let Some(names) = self.names.get_mut(&dir.0) {
            names.remove(name);
        }
    }
}

impl<'a> News<'a> {
    /// News of a rescan.
    fn found(owner: Owner, place: Place<'a>, name: &'a [u8], kind: Mask) -> Self {
        News {
            place,
            name,
            owner: (owner, name),
            kind,
            origin: Origin::Rescan,
            old_path: None,
            known: None,
        }
    }
}

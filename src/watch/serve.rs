//! Serving what a path is: a tree, a file, or nothing yet; and ending that.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::openat;
use nix::sys::stat::Mode;

use super::Report;
use super::found::{How, Part, Thing};
use super::inotify::Inotify;
use super::memory::Owner;
use super::resolve::REPLACED;
use super::root::{File, Link, Lost, NOISE, Root, RootId, State};
use super::scan::{dir_flags, path_flags};
use super::tell::Place;
use super::tree::NodeId;
use crate::sys::inotify::{self as sys, Identity, Stamp, Stat};
use crate::table::Mask;

/// Former inodes of a path that are known again when they come back.
const MOST_LOST: usize = 4;

impl Inotify {
    /// The path is a directory.
    pub(super) fn serve_dir(
        &mut self,
        id: RootId,
        fd: OwnedFd,
        stat: &Stat,
        how: How,
        out: &mut Vec<Report>,
    ) {
        let Some(root) = self.roots.get(id) else {
            return;
        };
        let mask = root.tree_mask();
        let wd = match self.kernel.watch(fd.as_fd(), mask & !NOISE.0) {
            Ok(wd) => wd,
            Err(e) => {
                self.serve_nothing(id);
                return self.refused_root(id, &e);
            }
        };
        if let Some(top) = self.roots.get(id).and_then(Root::top)
            && self.tree.get(top).is_some_and(|n| n.wd == wd)
        {
            return;
        }
        self.leave(id);
        let head = self.kernel.get(wd).map_or(NodeId::NONE, |w| w.nodes);
        let top = self.tree.insert(NodeId::NONE, id, b"", wd, head);
        if let Some(watch) = self.kernel.get_mut(wd) {
            watch.nodes = top;
        }
        self.tree.number(top, stat.inode);
        let standing = self.top_standing(id);
        self.flag(top, standing);
        // Which names it had then is not known: what is new in it its times say.
        let how = match self.settle(id, State::Dir(top), stat.identity(), how) {
            How::Since(since) => How::Regain(since, Part::Lacked),
            how => how,
        };
        match openat(&fd, c".", dir_flags(), Mode::empty()) {
            Ok(dir) => self.scan(top, dir, how, out),
            Err(e) => self.refused_root(id, &e.into()),
        }
    }

    /// The path is something else. `same_name`: the kernel has told of it by
    /// that name all the time.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn serve_file(
        &mut self,
        id: RootId,
        (dir, name): (OwnedFd, &[u8]),
        fd: OwnedFd,
        stat: &Stat,
        same_name: bool,
        how: How,
        out: &mut Vec<Report>,
    ) {
        let Some(root) = self.roots.get(id) else {
            return;
        };
        if root.only_dir() {
            return self.serve_nothing(id);
        }
        let same = root.identity == Some(stat.identity());
        let named = root.leaf.is_some();
        let mask = root.leaf_mask() & !(Mask::CREATE | Mask::DELETE | Mask::MOVE).0 | REPLACED;
        let leaf_wd = root.leaf.as_ref().map_or(-1, |(wd, _)| *wd);
        let before = match &root.state {
            State::File(file) => Some((file.inode, file.full, file.told, file.modified)),
            _ => None,
        };
        if before.is_none() {
            self.leave(id);
        }
        // A write through another link is told by the file itself alone. That a
        // link is added is told by it too.
        let full = stat.links > 1 || stat.mount_root || !named;
        let mut file = File {
            full,
            told: before.map_or(0, |b| b.2),
            modified: self.exact(fd.as_fd(), stat),
            ..File::default()
        };
        let mask = if full { mask } else { REPLACED };
        match self.kernel.watch(fd.as_fd(), mask) {
            Ok(wd) => file.inode = Some(wd),
            Err(e) if !named => self.refused_root(id, &e),
            Err(_) => {}
        }
        if let Some((Some(old), ..)) = before.filter(|b| b.0 != file.inode) {
            self.drop_inode(id, old);
        }
        if let Some(wd) = file.inode {
            let link = Link {
                wd,
                name: None,
                mask,
            };
            self.link(id, &link, &[]);
            if let Some(root) = self.roots.get_mut(id) {
                root.links.retain(|l| l.wd != wd);
                root.links.push(link);
            }
        }
        let newly_linked = same && before.is_some_and(|b| !b.1 && b.2 < self.position) && full;
        let as_known = before.is_some_and(|b| b.3 == Some(stat.modified));
        let (how, same, same_name) = if newly_linked && how != How::Known {
            (How::Since(self.before), false, false)
        } else {
            (how, same, same_name)
        };
        let how = self.settle(id, State::File(file), stat.identity(), how);
        if same && how != How::Known && !matches!(how, How::Since(_))
            || same_name
            || how == How::Known
        {
            return;
        }
        let owner = Owner::File(id);
        let Some(thing) = self.look(id, leaf_wd, dir.as_fd(), (name, stat.kind()), (how, None))
        else {
            return;
        };
        // A write through the new name may have come before our own watch did.
        let thing = Thing {
            linked: newly_linked,
            written: thing.written && !(newly_linked && as_known),
            ..thing
        };
        self.tell_found(id, (Place::Root, b""), (owner, b""), thing, how, out);
        let until = self.total + self.kernel.queued();
        self.seen.insert(owner, b"", thing, until);
        self.seen.own_done(until);
    }

    /// When a file was last written, if a later write would show.
    pub(super) fn exact(&mut self, dir: BorrowedFd<'_>, stat: &Stat) -> Option<Stamp> {
        self.shows(dir, stat, stat.modified)
            .then_some(stat.modified)
    }

    pub(super) fn serve_nothing(&mut self, id: RootId) {
        self.leave(id);
    }

    /// Ends the own watch of a file.
    fn drop_inode(&mut self, id: RootId, wd: i32) {
        let Some(root) = self.roots.get_mut(id) else {
            return;
        };
        let links = std::mem::take(&mut root.links);
        let (gone, kept): (Vec<_>, Vec<_>) = links.into_iter().partition(|l| l.wd == wd);
        root.links = kept;
        for link in gone {
            self.unlink(id, &link, &[]);
        }
    }

    /// Gives up what the path was.
    pub(super) fn leave(&mut self, id: RootId) {
        if let Some(State::File(File {
            inode: Some(wd), ..
        })) = self.roots.get(id).map(|r| &r.state)
        {
            self.drop_inode(id, *wd);
        }
        if let Some(top) = self.roots.get(id).and_then(Root::top) {
            self.drop_subtree(top);
        }
        self.lose(id);
    }

    /// Remembers what the path was and since when it is not.
    pub(super) fn lose(&mut self, id: RootId) {
        let drained = self.drained;
        let Some(root) = self.roots.get_mut(id) else {
            return;
        };
        root.state = State::Missing;
        let held = std::mem::take(&mut root.held);
        if let Some(identity) = root.identity.take() {
            let since = drained.max(root.settled);
            root.lost.truncate(MOST_LOST - 1);
            let lost = Lost {
                identity,
                since,
                held,
            };
            root.lost.insert(0, lost);
        }
    }

    /// Notes what the path is. A thing that comes back is not new: only what
    /// changed while it was away is told.
    fn settle(&mut self, id: RootId, state: State, identity: Identity, how: How) -> How {
        let Some(root) = self.roots.get_mut(id) else {
            return how;
        };
        root.state = state;
        root.identity = Some(identity);
        root.settled = sys::file_clock();
        let back = root.lost.iter().position(|lost| lost.identity == identity);
        match back.map(|at| root.lost.remove(at)) {
            Some(lost) if how != How::Known => {
                self.returned.insert(id, lost.held);
                How::Since(lost.since)
            }
            _ => how,
        }
    }

    /// The lines of `root` ask for more than before.
    pub(super) fn ask_again(&mut self, id: RootId, out: &mut Vec<Report>) {
        if let Some(top) = self.roots.get(id).and_then(Root::top) {
            self.remask(top);
        }
        self.resolve(id, How::Known, out);
    }

    /// The lines of `root` ask for less than before.
    pub(super) fn narrow_root(&mut self, id: RootId) {
        if let Some(top) = self.roots.get(id).and_then(Root::top) {
            self.remask(top);
        }
        let mask = self.roots.get(id).map_or(0, |r| r.leaf_mask());
        let Some(root) = self.roots.get_mut(id) else {
            return;
        };
        let Some((wd, name)) = root.leaf.clone() else {
            return;
        };
        for link in root
            .links
            .iter_mut()
            .filter(|l| l.wd == wd && l.name.as_ref() == Some(&name))
        {
            link.mask = mask;
        }
        self.narrow(wd);
    }

    /// Asks the kernel for what is needed of an inode now, and no more.
    fn narrow(&mut self, wd: i32) {
        let needed = self.needed(wd);
        let Some(watch) = self.kernel.get(wd) else {
            return;
        };
        let (first, has) = (watch.nodes, watch.mask);
        if has == needed | Mask::DELETE_SELF.0 {
            return;
        }
        let open = self.open_node(first, path_flags()).ok();
        if let Some(fd) = open.or_else(|| self.open_guard(wd)) {
            self.kernel.narrow(fd.as_fd(), wd, needed);
        }
    }

    /// Nobody asks for `root` any more.
    pub(super) fn drop_root(&mut self, id: RootId) {
        let tree = self
            .roots
            .get(id)
            .and_then(Root::top)
            .map_or(Vec::new(), |top| self.tree.subtree(top));
        let wds: Vec<_> = tree
            .into_iter()
            .filter_map(|n| self.tree.get(n).map(|n| n.wd))
            .collect();
        self.leave(id);
        let Some(root) = self.roots.remove(id) else {
            return;
        };
        for link in &root.links {
            self.unlink(id, link, &[]);
        }
        for wd in root.links.iter().map(|l| l.wd).chain(wds) {
            self.narrow(wd);
        }
    }
}

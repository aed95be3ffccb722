//! Reading directories: watch first, then scan, so that a thing is either found
//! here or told by the kernel. What both saw is told once (`tell::Seen`).
//!
//! The walk goes from descriptor to descriptor. A directory renamed while it is
//! scanned is scanned to its end; the events of the renaming are in the queue and
//! put it in its place.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::Report;
use super::found::{How, Part, Thing};
use super::inotify::Inotify;
use super::look::kind_of;
use super::meet::Met;
use super::memory::Owner;
use super::parse;
use super::root::{NOISE, RootId};
use super::tree::NodeId;
use crate::sys::inotify as sys;
use crate::table::Mask;

/// Directories held open at once; below that depth they are opened by path.
const OPEN_AT_ONCE: usize = 64;

/// A directory being scanned.
struct Frame {
    fd: OwnedFd,
    node: NodeId,
    /// Names of sub-directories to enter, each ended by NUL, and their inodes.
    subs: Vec<u8>,
    inodes: VecDeque<u64>,
    at: usize,
    how: How,
}

pub(super) fn dir_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK
}

pub(super) fn path_flags() -> OFlag {
    OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

impl Inotify {
    /// Scans `top`, which is watched already and open as `fd`, and all new
    /// directories below it.
    pub(super) fn scan(&mut self, top: NodeId, fd: OwnedFd, how: How, out: &mut Vec<Report>) {
        let Some(node) = self.tree.get(top) else {
            return;
        };
        let root = node.root;
        // Opening is told by the parent; for the top of a tree, by itself.
        let (heard, name) = self
            .tree
            .get(node.parent)
            .map_or((node.wd, &b""[..]), |p| (p.wd, &node.name));
        if self.hears_reading(heard) {
            self.seen.expect_own(heard, name);
        }
        let mut found = Vec::new();
        let mut stack = Vec::new();
        self.open_frame(root, top, fd, how, &mut stack, &mut found, out);
        while let Some(frame) = stack.last_mut() {
            let Some((name, inode)) = next_name(frame) else {
                self.close_frame(&mut stack, root);
                continue;
            };
            let how = frame.how;
            // What is known may have moved into what is new.
            let again = if how.again() {
                Some(how)
            } else {
                self.rescanning
            };
            let (parent, dir) = (frame.node, frame.fd.as_fd());
            if again.is_some() {
                self.hush_known(parent, dir, &name);
            }
            match openat(dir, name.as_slice(), dir_flags(), Mode::empty()) {
                Ok(fd) => {
                    let met = self.meet(parent, &name, fd.as_fd());
                    if let Ok(Met::New(id, _)) = met {
                        self.tree.number(id, inode);
                    }
                    if matches!(
                        (how, &met),
                        (How::Since(_), Ok(Met::New(..) | Met::Moved(..)))
                    ) {
                        let entry = (&*name, libc::S_IFDIR);
                        self.find(root, parent, dir, entry, (how, Some(true)), &mut found, out);
                    }
                    if let (Some(How::Since(_)), Ok(Met::New(_, old) | Met::Moved(_, old))) =
                        (again, &met)
                        && let Some((dir, name)) = old
                    {
                        self.tell_parting(root, *dir, name, Mask::ISDIR, out);
                        let gone = Thing {
                            gone: true,
                            ..Thing::default()
                        };
                        found.push((Owner::Node(*dir), name.clone(), gone));
                    }
                    let next = match met {
                        Ok(Met::New(id, _))
                            if self.came_meanwhile(root, id, fd.as_fd())
                                || self.remade(root, fd.as_fd(), how) =>
                        {
                            let how = arrival(fd.as_fd(), how);
                            let entry = (&*name, libc::S_IFDIR);
                            self.find(root, parent, dir, entry, (how, None), &mut found, out);
                            Some((id, how))
                        }
                        Ok(Met::New(id, _)) => Some((id, newcomer(fd.as_fd(), how))),
                        Ok(Met::Known(id) | Met::Moved(id, _)) => again.map(|how| (id, known(how))),
                        Err(e) => {
                            self.refused(root, parent, &name, &e);
                            None
                        }
                    };
                    let Some((id, how)) = next else { continue };
                    if stack.len() >= OPEN_AT_ONCE {
                        self.deferred.push((id, how));
                    } else {
                        self.open_frame(root, id, fd, how, &mut stack, &mut found, out);
                    }
                }
                // Gone or replaced since it was listed: the queue tells.
                Err(nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::ELOOP) => {}
                Err(e) => self.refused(root, parent, &name, &e.into()),
            }
        }
        let until = self.total + self.kernel.queued();
        for (owner, name, thing) in found {
            self.seen.insert(owner, &name, thing, until);
        }
        self.seen.own_done(until);
    }

    /// True for a directory that a tree did not have by this name before it was away for
    /// a while.
    fn came_meanwhile(&self, root: RootId, id: NodeId, dir: BorrowedFd<'_>) -> bool {
        let (Some(held), Some(node)) = (self.returned.get(&root), self.tree.get(id)) else {
            return false;
        };
        let had = |inode| held.binary_search(&self.tree.place(id, inode)).is_ok();
        // Where something is mounted, a listing has the number of what that hides.
        !had(node.inode) && !sys::stat(dir, c"").is_ok_and(|stat| had(stat.inode))
    }

    /// True for a directory of such a tree that was made anew by its old name.
    fn remade(&self, root: RootId, dir: BorrowedFd<'_>, how: How) -> bool {
        self.returned.contains_key(&root) && how.again() && arrival(dir, how) == How::Made
    }

    /// Lists a directory: tells what is in it, and remembers what to enter.
    #[allow(clippy::too_many_arguments)]
    fn open_frame(
        &mut self,
        root: RootId,
        node: NodeId,
        fd: OwnedFd,
        how: How,
        stack: &mut Vec<Frame>,
        found: &mut Vec<(Owner, Box<[u8]>, Thing)>,
        out: &mut Vec<Report>,
    ) {
        let mut frame = Frame {
            fd,
            node,
            subs: Vec::new(),
            inodes: VecDeque::new(),
            at: 0,
            how,
        };
        let Some(r) = self.roots.get(root) else {
            return;
        };
        let (recursive, keeps) = (r.descends(), r.keeps_names());
        let rescan = matches!(how, How::Since(_));
        let old_names = if rescan {
            self.names.remove(&node.0).unwrap_or_default()
        } else {
            HashSet::default()
        };
        self.hush(node, frame.fd.as_fd());
        if how == How::Known && !recursive && !keeps {
            return stack.push(frame);
        }
        let mut entries = std::mem::take(&mut self.entries);
        // ENOENT: removed meanwhile. Other errors: what was listed is kept.
        while let Ok(n @ 1..) = sys::getdents(frame.fd.as_fd(), &mut entries) {
            let mut rest = entries.get(..n).unwrap_or_default();
            while let Some((entry, len)) = parse::entry(rest) {
                rest = rest.get(len..).unwrap_or_default();
                if matches!(entry.name, b"." | b".." | b"") {
                    continue;
                }
                let kind = kind_of(frame.fd.as_fd(), entry);
                if kind == libc::S_IFDIR
                    && recursive
                    && self.entry(root, node, entry.name).is_some()
                {
                    frame.subs.extend_from_slice(entry.name);
                    frame.subs.push(0);
                    frame.inodes.push_back(entry.inode);
                }
                let arrived = (rescan && keeps).then(|| !old_names.contains(entry.name));
                // A rescan knows only when it meets a directory whether it is new here.
                let later = (rescan || self.returned.contains_key(&root))
                    && kind == libc::S_IFDIR
                    && frame.enters(entry.name);
                if !how.silent() && !later {
                    self.find(
                        root,
                        node,
                        frame.fd.as_fd(),
                        (entry.name, kind),
                        (how, arrived),
                        found,
                        out,
                    );
                }
                if keeps {
                    self.note_name(node, entry.name);
                }
            }
        }
        self.entries = entries;
        if rescan {
            self.tell_gone(root, node, &old_names, found, out);
        }
        stack.push(frame);
    }

    /// A directory is done: close it, and only then ask for the events that
    /// reading it would have caused.
    fn close_frame(&mut self, stack: &mut Vec<Frame>, root: RootId) {
        let Some(frame) = stack.pop() else { return };
        let node = frame.node;
        drop(frame);
        let Some(r) = self.roots.get(root) else {
            return;
        };
        let mask = r.tree_mask();
        if !Mask(mask).intersects(NOISE) {
            return;
        }
        let Some(n) = self.tree.get(node) else { return };
        let open = match stack.last() {
            Some(parent) => openat(&parent.fd, &*n.name, path_flags(), Mode::empty()).ok(),
            None => self.open_node(node, path_flags()).ok(),
        };
        let Some(wd) = self.tree.get(node).map(|n| n.wd) else {
            return;
        };
        if let Some(fd) = open.filter(|fd| self.kernel.is(fd.as_fd(), wd)) {
            let _ = self.kernel.watch(fd.as_fd(), mask);
        }
    }

    /// True where opening and reading what is in a directory is heard.
    pub(super) fn hears_reading(&self, wd: i32) -> bool {
        self.kernel
            .get(wd)
            .is_some_and(|w| Mask(w.mask).intersects(NOISE))
    }

    /// Stops the events that our reading would cause, until `close_frame`.
    fn hush(&mut self, node: NodeId, fd: BorrowedFd<'_>) {
        let Some(wd) = self.tree.get(node).map(|n| n.wd) else {
            return;
        };
        if self.hears_reading(wd) {
            let mask = self.needed(wd) & !NOISE.0;
            self.kernel.narrow(fd, wd, mask);
        }
    }

    /// As `hush`, before a directory that is watched is opened at all.
    fn hush_known(&mut self, parent: NodeId, dir: BorrowedFd<'_>, name: &[u8]) {
        let Some(id) = self.tree.find(parent, name) else {
            return;
        };
        if self.tree.get(id).is_some_and(|n| self.hears_reading(n.wd))
            && let Ok(fd) = openat(dir, name, path_flags(), Mode::empty())
        {
            self.hush(id, fd.as_fd());
        }
    }
}

impl Frame {
    /// True where the directory `name` will be entered from here.
    fn enters(&self, name: &[u8]) -> bool {
        self.subs
            .strip_suffix(&[0])
            .is_some_and(|s| s.rsplit(|&b| b == 0).next() == Some(name))
    }
}

/// How a directory that a rescan met for the first time came to be there.
fn newcomer(fd: BorrowedFd<'_>, how: How) -> How {
    match how {
        How::Since(_) => arrival(fd, how),
        How::Regain(since, _) => How::Regain(since, Part::Lacked),
        _ => how,
    }
}

/// How a directory that was not there before came to be there.
fn arrival(fd: BorrowedFd<'_>, how: How) -> How {
    let (How::Since(since) | How::Regain(since, _)) = how else {
        return how;
    };
    let born = sys::stat(fd, c"").ok().and_then(|s| s.born);
    if born.is_some_and(|b| b.latest() >= since) {
        How::Made
    } else {
        How::Moved
    }
}

/// How to look again at a directory that is known.
fn known(how: How) -> How {
    match how {
        How::Regain(since, _) => How::Regain(since, Part::Held),
        _ => how,
    }
}

/// The next sub-directory to enter, and its inode.
fn next_name(frame: &mut Frame) -> Option<(Vec<u8>, u64)> {
    let rest = frame.subs.get(frame.at..)?;
    let name = rest
        .split(|&b| b == 0)
        .next()
        .filter(|n| !n.is_empty())?
        .to_vec();
    frame.at += name.len() + 1;
    Some((name, frame.inodes.pop_front().unwrap_or_default()))
}

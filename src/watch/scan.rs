//! Reading directories: watch first, then scan, so that a thing is either found
//! here or told by the kernel. What both saw is told once (`tell::Seen`).
//!
//! The walk goes from descriptor to descriptor. A directory renamed while it is
//! scanned is scanned to its end; the events of the renaming are in the queue and
//! put it in its place.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::Report;
use super::found::{self, How, Part, Thing};
use super::inotify::Inotify;
use super::parse;
use super::root::{Line, NOISE, RootId};
use super::tell::{News, Owner, Place};
use super::tree::{LIMBO, MET, NodeId, SERVED};
use crate::event::Origin;
use crate::sys::inotify as sys;
use crate::table::Mask;

/// Directories held open at once; below that depth they are opened by path.
const OPEN_AT_ONCE: usize = 64;

/// A directory being scanned.
struct Frame {
    fd: OwnedFd,
    node: NodeId,
    /// Names of sub-directories to enter, each ended by NUL.
    subs: Vec<u8>,
    at: usize,
    how: How,
}

/// What became of a directory that was met.
pub(super) enum Met {
    /// A new place.
    New(NodeId),
    /// Known, here or by an older name.
    Known(NodeId),
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
            let Some(name) = next_name(frame) else {
                self.close_frame(&mut stack, root);
                continue;
            };
            let how = frame.how;
            let (parent, dir) = (frame.node, frame.fd.as_fd());
            if how.again() {
                self.hush_known(parent, dir, &name);
            }
            match openat(dir, name.as_slice(), dir_flags(), Mode::empty()) {
                Ok(fd) => {
                    let met = self.meet(parent, &name, fd.as_fd());
                    let next = match met {
                        Ok(Met::New(id)) => Some((id, newcomer(fd.as_fd(), how))),
                        Ok(Met::Known(id)) => how.again().then_some((id, known(how))),
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
                if kind == libc::S_IFDIR {
                    if recursive && self.entry(root, node, entry.name).is_some() {
                        frame.subs.extend_from_slice(entry.name);
                        frame.subs.push(0);
                    }
                }
                let known = rescan && self.tree.find(node, entry.name).is_some();
                let arrived = match (rescan, keeps) {
                    (true, true) => Some(!old_names.contains(entry.name) && !known),
                    (true, false) if kind == libc::S_IFDIR && recursive => {
                        Some(!known).filter(|_| frame.enters(entry.name))
                    }
                    _ => None,
                };
                if !how.silent() {
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
        if self.tree.get(id).is_some_and(|n| self.hears_reading(n.wd)) {
            if let Ok(fd) = openat(dir, name, path_flags(), Mode::empty()) {
                self.hush(id, fd.as_fd());
            }
        }
    }

    /// Watches the directory `fd`, which is `name` in `parent`, and gives it its
    /// place. What was known elsewhere and is there no longer moves here.
    pub(super) fn meet(
        &mut self,
        parent: NodeId,
        name: &[u8],
        fd: BorrowedFd<'_>,
    ) -> io::Result<Met> {
        let Some(root) = self.tree.get(parent).map(|n| n.root) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mask = self.roots.get(root).map_or(0, |r| r.tree_mask()) & !NOISE.0;
        let wd = self.kernel.watch(fd, mask)?;
        let head = self.kernel.get(wd).map_or(NodeId::NONE, |w| w.nodes);
        let mut elsewhere = Vec::new();
        let mut at = head;
        while let Some(n) = self.tree.get(at) {
            if n.root == root {
                if n.parent == parent && *n.name == *name {
                    if n.flags & LIMBO != 0 {
                        self.supplant(parent, name);
                        self.tree.relocate(at, parent, name);
                    }
                    self.flag(at, MET);
                    return Ok(Met::Known(at));
                }
                elsewhere.push(at);
            }
            at = n.twin;
        }
        for id in elsewhere {
            let top = self.tree.get(id).is_none_or(|n| n.parent == NodeId::NONE);
            if !top && !self.tree.within(parent, id) && !self.still_there(id) {
                if self.roots.get(root).is_some_and(|r| r.pattern.is_some()) {
                    // Other names may match otherwise: as if it were new.
                    self.drop_subtree(id);
                    return self.meet(parent, name, fd);
                }
                self.supplant(parent, name);
                self.tree.relocate(id, parent, name);
                self.flag(id, MET);
                return Ok(Met::Known(id));
            }
        }
        self.supplant(parent, name);
        let standing = self.entry(root, parent, name).unwrap_or_default();
        let id = self.tree.insert(parent, root, name, wd, head);
        self.flag(id, MET | standing);
        if let Some(w) = self.kernel.get_mut(wd) {
            w.nodes = id;
        }
        Ok(Met::New(id))
    }

    pub(super) fn flag(&mut self, id: NodeId, flag: u8) {
        if let Some(n) = self.tree.get_mut(id) {
            n.flags |= flag;
        }
    }

    /// Whoever was known by this name no longer is.
    fn supplant(&mut self, parent: NodeId, name: &[u8]) {
        if let Some(old) = self.tree.find(parent, name) {
            self.tree.limbo(old);
        }
    }

    /// True where the path of `id` still leads to it.
    fn still_there(&mut self, id: NodeId) -> bool {
        self.tree.get(id).is_some_and(|n| n.flags & LIMBO == 0)
            && self.open_node(id, path_flags()).is_ok()
    }

    /// Opens the directory of a place, without following any link below the
    /// path as written, and makes sure that it is the one watched there.
    pub(super) fn open_node(&mut self, id: NodeId, flags: OFlag) -> io::Result<OwnedFd> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let node = self.tree.get(id).ok_or_else(gone)?;
        let (wd, root) = (node.wd, self.roots.get(node.root).ok_or_else(gone)?);
        let mut rest = Vec::new();
        self.tree.path(id, &mut rest);
        let mut fd = nix::fcntl::open(
            &*root.route,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        for name in rest.split(|&b| b == b'/').filter(|n| !n.is_empty()) {
            fd = openat(&fd, name, path_flags() | OFlag::O_DIRECTORY, Mode::empty())?;
        }
        if !self.kernel.is(fd.as_fd(), wd) {
            return Err(gone());
        }
        if flags.contains(OFlag::O_PATH) {
            return Ok(fd);
        }
        Ok(openat(&fd, c".", flags, Mode::empty())?)
    }

    /// A scan has found `name` in the directory `node`, open as `dir`.
    #[allow(clippy::too_many_arguments)]
    fn find(
        &mut self,
        root: RootId,
        node: NodeId,
        dir: BorrowedFd<'_>,
        (name, kind): (&[u8], u32),
        (how, arrived): (How, Option<bool>),
        found: &mut Vec<(Owner, Box<[u8]>, Thing)>,
        out: &mut Vec<Report>,
    ) {
        let wd = self.tree.get(node).map_or(-1, |n| n.wd);
        let Some(thing) = self.look(root, wd, dir, (name, kind), (how, arrived)) else {
            return;
        };
        let owner = (Owner::Node(node), name);
        let served = self.tree.get(node).is_some_and(|n| n.flags & SERVED != 0);
        if served {
            self.tell_found(root, (Place::Node(node), name), owner, thing, how, out);
        } else if let Some(path) = self.matched(root, node, name).filter(|_| !thing.dir) {
            self.tell_found(root, (Place::Path(&path), b""), owner, thing, how, out);
        } else {
            return;
        }
        found.push((Owner::Node(node), name.into(), thing));
    }

    /// Looks at a thing as closely as the lines of `root` need it.
    pub(super) fn look(
        &mut self,
        root: RootId,
        wd: i32,
        dir: BorrowedFd<'_>,
        (name, kind): (&[u8], u32),
        (how, arrived): (How, Option<bool>),
    ) -> Option<Thing> {
        let asked = self.roots.get(root)?.asked;
        let content = Mask::MODIFY | Mask::CLOSE_WRITE | Mask::COMPLETE;
        let closes = kind == libc::S_IFREG && asked.intersects(Mask::CLOSE_WRITE | Mask::COMPLETE);
        let needs = how.again() || kind == libc::S_IFREG && asked.intersects(content);
        let stat = if needs {
            with_nul(name, |n| sys::stat(dir, n)).ok()
        } else {
            None
        };
        if needs && stat.is_none() {
            return None; // gone again: the queue tells
        }
        let thing = Thing::new(kind, stat.as_ref(), arrived, how)?;
        if !closes || !(thing.written || thing.moved) {
            return Some(thing);
        }
        if self.hears_reading(wd) {
            self.seen.expect_own(wd, name);
        }
        Some(Thing {
            open: is_open_for_writing(dir, name),
            ..thing
        })
    }

    /// Tells the lines of `root` of a thing that was found.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn tell_found(
        &mut self,
        root: RootId,
        (place, name): (Place<'_>, &[u8]),
        owner: (Owner, &[u8]),
        thing: Thing,
        how: How,
        out: &mut Vec<Report>,
    ) {
        let Some(r) = self.roots.get(root) else {
            return;
        };
        let due = found::due(r.asked, thing);
        let mut any = Mask(0);
        for line in &r.lines {
            any |= found::due(line.mask, thing);
        }
        if (due | any).is_empty() {
            return;
        }
        let origin = if how.again() {
            Origin::Rescan
        } else {
            Origin::Scan
        };
        let kind = if thing.dir { Mask::ISDIR } else { Mask(0) };
        let told = if origin == Origin::Rescan {
            self.told_before.of(owner.0, owner.1)
        } else {
            Vec::new()
        };
        for bit in found::ORDER.into_iter().filter(|&b| any.intersects(b)) {
            let news = News {
                place,
                name,
                owner,
                kind,
                origin,
                old_path: None,
                known: None,
            };
            let choose = |line: &Line| {
                let due = found::due(line.mask, thing);
                let before = told.iter().filter(|(l, ..)| *l == line.id);
                let left = before.fold(due, |left, (_, told, at)| {
                    found::left(left, *told, *at, thing)
                });
                found::step(left, bit, thing)
            };
            self.tell(root, &news, choose, out);
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
    let since = match how {
        How::Since(since) => since,
        How::Regain(since, _) => return How::Regain(since, Part::Lacked),
        _ => return how,
    };
    let born = sys::stat(fd, c"").ok().and_then(|s| s.born);
    if born.is_some_and(|b| b >= since) {
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

/// The next sub-directory to enter.
fn next_name(frame: &mut Frame) -> Option<Vec<u8>> {
    let rest = frame.subs.get(frame.at..)?;
    let name = rest
        .split(|&b| b == 0)
        .next()
        .filter(|n| !n.is_empty())?
        .to_vec();
    frame.at += name.len() + 1;
    Some(name)
}

/// Calls `f` with `name` ended by NUL.
pub(super) fn with_nul<T>(name: &[u8], f: impl FnOnce(&CStr) -> io::Result<T>) -> io::Result<T> {
    let mut buffer = [0u8; 256];
    let room = buffer.get_mut(..name.len()).filter(|_| name.len() < 256);
    room.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?
        .copy_from_slice(name);
    f(CStr::from_bytes_until_nul(&buffer).map_err(io::Error::other)?)
}

/// The file type bits of an entry, asked of the file system where it did not say.
fn kind_of(dir: BorrowedFd<'_>, entry: parse::Entry<'_>) -> u32 {
    match entry.kind {
        libc::DT_UNKNOWN => with_nul(entry.name, |n| sys::stat(dir, n)).map_or(0, |s| s.kind()),
        kind => u32::from(kind) << 12,
    }
}

/// True where somebody is known to have `name` open for writing. Opens it: by a
/// path descriptor first, so that nothing but a regular file is ever opened.
pub(super) fn is_open_for_writing(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    let look = || -> io::Result<Option<bool>> {
        let path = openat(dir, name, path_flags(), Mode::empty())?;
        if sys::stat(path.as_fd(), c"")?.kind() != libc::S_IFREG {
            return Ok(None);
        }
        let file = sys::reopen(path.as_fd())?;
        Ok(sys::written_by_others(file.as_fd()))
    };
    look().ok().flatten().unwrap_or(false)
}

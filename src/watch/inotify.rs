//! The inotify source: one instance, any number of lines, one thread.
//!
//! An event is looked up by its watch descriptor and told to the lines of every
//! place with that inode (`tell`); then the picture of the trees is brought up
//! to date (`change`, `resolve`). The picture follows what is true now, not the
//! history in the queue: every change of a directory's name is checked against
//! the file system, so that whatever was lost, merged or overtaken on the way
//! corrects itself with the next event that names it.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::SystemTime;

use super::found::How;
use super::guard::Guards;
use super::kernel::Kernel;
use super::limits::Retry;
use super::memory::{Cookies, Seen, Told};
use super::mounts::Mounts;
use super::parse::{self, Raw};
use super::rescan::Names;
use super::root::{Key, Line, Root, RootId, Roots};
use super::tree::{NodeId, Tree};
use super::{Report, Request, Source};
use crate::event::LineId;
use crate::sys::inotify::{self as sys, Stamp};
use crate::table::Mask;
use crate::time::Moment;

/// Bytes of one read.
const BUFFER: usize = 64 * 1024;

/// Figures for status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Kernel watches held.
    pub watches: usize,
    /// Watched paths and patterns.
    pub roots: usize,
    /// Times the kernel's queue was full.
    pub overflows: u64,
    /// Rescans done, after a full queue or a limit.
    pub rescans: u64,
}

/// Events from inotify(7).
pub struct Inotify {
    pub(super) kernel: Kernel,
    pub(super) tree: Tree,
    pub(super) roots: Roots,
    pub(super) guards: Guards,
    pub(super) lines: HashMap<LineId, RootId>,
    keys: HashMap<Key, RootId>,
    /// What scans have told while the kernel's word on it may still wait.
    pub(super) seen: Seen,
    pub(super) cookies: Cookies,
    /// Roots whose path must be looked at again.
    pub(super) stale: Vec<(RootId, How)>,
    /// Directories too deep to be held open by the scan that met them.
    pub(super) deferred: Vec<(NodeId, How)>,
    /// Names to look at when their directory can be reached again.
    pub(super) dirty: Vec<(NodeId, Box<[u8]>, How)>,
    /// Names in directories whose lines ask for deletions: a rescan compares.
    pub(super) names: Names,
    /// The name that was last taken by something else, and its directory.
    pub(super) replaced: Option<(NodeId, Box<[u8]>)>,
    pub(super) told: Told,
    /// What had been told when the rescan began that is going on.
    pub(super) told_before: Told,
    /// The rescan that is going on.
    pub(super) rescanning: Option<How>,
    /// Roots whose file is watched twice and has an event to come.
    pub(super) echoes: Vec<RootId>,
    pub(super) mounts: Mounts,
    /// Some root lacks watches and its lines have not been told.
    pub(super) lacking: bool,
    pub(super) retry: Retry,
    buffer: Vec<u8>,
    /// For getdents64, used again and again.
    pub(super) entries: Vec<u8>,
    /// Bytes read from the kernel so far, and of them dispatched.
    pub(super) total: u64,
    pub(super) position: u64,
    /// Every event before this time has been read.
    pub(super) drained: Stamp,
    /// As `drained`, before the events at hand were read.
    pub(super) before: Stamp,
    /// When the events at hand were read.
    pub(super) time: SystemTime,
    pub(super) figures: Figures,
}

impl Inotify {
    /// A source without lines.
    ///
    /// # Errors
    /// `EMFILE`: the limit of instances of this user, or of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            kernel: Kernel::new()?,
            tree: Tree::new(),
            roots: Roots::default(),
            guards: Guards::default(),
            lines: HashMap::new(),
            keys: HashMap::new(),
            seen: Seen::default(),
            cookies: Cookies::default(),
            stale: Vec::new(),
            deferred: Vec::new(),
            dirty: Vec::new(),
            names: Names::default(),
            replaced: None,
            told: Told::default(),
            told_before: Told::default(),
            rescanning: None,
            echoes: Vec::new(),
            mounts: Mounts::new(),
            lacking: false,
            retry: Retry::default(),
            buffer: vec![0; BUFFER],
            entries: vec![0; BUFFER / 2],
            total: 0,
            position: 0,
            drained: sys::file_clock(),
            before: sys::file_clock(),
            time: SystemTime::now(),
            figures: Figures::default(),
        })
    }

    /// Figures for status.
    pub fn figures(&self) -> Figures {
        Figures {
            watches: self.kernel.len(),
            roots: self.roots.len(),
            ..self.figures
        }
    }

    /// What one event means: first to the lines, then to the picture.
    fn dispatch(&mut self, raw: &Raw<'_>, out: &mut Vec<Report>) {
        if raw.mask.intersects(Mask::Q_OVERFLOW) {
            self.overflow(out);
            return;
        }
        let Some(watch) = self.kernel.get(raw.wd) else {
            return;
        };
        let (first, guard) = (watch.nodes, watch.guard);
        if raw.mask.intersects(Mask::IGNORED) {
            self.ended(raw.wd);
            return;
        }
        if self.seen.is_own(raw, self.position) {
            self.echo_own(guard, raw);
            return;
        }
        if raw.mask.intersects(Mask::MOVED_FROM) {
            self.remember_cookie(first, guard, raw);
        }
        let mut at = first;
        while let Some(node) = self.tree.get(at) {
            let next = node.twin;
            self.tell_place(at, raw, out);
            at = next;
        }
        if first != NodeId::NONE && structural(raw) {
            for node in self.places(first) {
                self.change(node, raw, out);
            }
        }
        self.guard_event(guard, raw, out);
    }

    /// The places with one inode.
    pub(super) fn places(&self, first: NodeId) -> Vec<NodeId> {
        let mut all = Vec::new();
        let mut at = first;
        while let Some(node) = self.tree.get(at) {
            all.push(at);
            at = node.twin;
        }
        all
    }

    /// Looks again at every path that something has happened to.
    pub(super) fn refresh(&mut self, out: &mut Vec<Report>) {
        // Each look may find another one out of date; never without end.
        for _ in 0..8 {
            let mut stale = std::mem::take(&mut self.stale);
            if stale.is_empty() {
                return;
            }
            // The last word on a root is the one that counts.
            stale.reverse();
            stale.sort_by_key(|(root, _)| *root);
            stale.dedup_by_key(|(root, _)| *root);
            for (root, how) in stale {
                self.resolve(root, how, out);
            }
        }
    }
}

/// True where the queue was full at some point of these events.
fn overflows(mut bytes: &[u8]) -> bool {
    while let Some(raw) = parse::event(bytes) {
        if raw.mask.intersects(Mask::Q_OVERFLOW) {
            return true;
        }
        bytes = bytes.get(raw.len..).unwrap_or_default();
    }
    false
}

/// True for events after which the picture may be wrong.
fn structural(raw: &Raw<'_>) -> bool {
    let names = Mask::CREATE | Mask::DELETE | Mask::MOVE;
    raw.mask.intersects(Mask::MOVE_SELF | names)
        || raw.mask.contains(Mask::ATTRIB | Mask::ISDIR) && !raw.name.is_empty()
}

impl Source for Inotify {
    fn fd(&self) -> BorrowedFd<'_> {
        self.kernel.fd()
    }

    fn add(&mut self, request: Request, out: &mut Vec<Report>) {
        self.time = SystemTime::now();
        let key = Key::of(&request);
        let line = Line {
            id: request.line,
            mask: request.mask,
            spent: false,
        };
        if let Some(&id) = self.keys.get(&key) {
            let Some(root) = self.roots.get_mut(id) else {
                return;
            };
            let before = (root.tree_mask(), root.leaf_mask());
            root.lines.push(line);
            root.sum();
            let grown = before != (root.tree_mask(), root.leaf_mask());
            self.lines.insert(request.line, id);
            if grown {
                self.ask_again(id, out);
                self.tell_lacks(out);
            }
            return;
        }
        let mut root = Root::new(key.clone());
        root.lines.push(line);
        root.sum();
        let id = self.roots.insert(root);
        self.lines.insert(request.line, id);
        self.keys.insert(key, id);
        self.resolve(id, How::Known, out);
        self.refresh(out);
        self.retry_deferred(out);
        self.tell_lacks(out);
    }

    fn remove(&mut self, line: LineId) {
        let Some(id) = self.lines.remove(&line) else {
            return;
        };
        let Some(root) = self.roots.get_mut(id) else {
            return;
        };
        root.lines.retain(|l| l.id != line);
        root.sum();
        if root.lines.is_empty() {
            self.keys.retain(|_, &mut r| r != id);
            self.drop_root(id);
            self.retry.soon();
        } else {
            self.narrow_root(id);
        }
    }

    fn read(&mut self, now: Moment, out: &mut Vec<Report>) -> io::Result<bool> {
        self.retry.now = now;
        let started = sys::file_clock();
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = nix::unistd::read(self.kernel.fd(), &mut buffer);
        self.time = SystemTime::now();
        let result = match read {
            Ok(n) => {
                let more = n + parse::LARGEST > buffer.len();
                self.total += n as u64;
                self.before = self.drained;
                if !more {
                    self.drained = started;
                }
                let mut rest = buffer.get(..n).unwrap_or_default();
                if overflows(rest) {
                    // This read made room: what was lost was lost before it, so what
                    // it brings covers whatever state a thing had then.
                    self.told.since = Some(Stamp::NEVER);
                } else if more || self.told.since.is_some() {
                    self.told.since = Some(started);
                }
                while let Some(raw) = parse::event(rest) {
                    self.position += raw.len as u64;
                    self.dispatch(&raw, out);
                    rest = rest.get(raw.len..).unwrap_or_default();
                }
                self.position = self.total;
                Ok(more)
            }
            Err(nix::Error::EAGAIN) => {
                self.drained = started;
                Ok(false)
            }
            Err(nix::Error::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        };
        self.buffer = buffer;
        self.refresh(out);
        self.retry_deferred(out);
        self.tell_lacks(out);
        if matches!(result, Ok(false)) {
            self.forget_echoes();
            self.told.clear();
        }
        self.seen.expire(self.position);
        result
    }

    fn deadline(&self) -> Option<Moment> {
        self.retry.at
    }

    fn tick(&mut self, now: Moment, out: &mut Vec<Report>) {
        self.time = SystemTime::now();
        self.retry_lacks(now, out);
    }

    fn mounts(&self) -> Option<BorrowedFd<'_>> {
        self.mounts.fd()
    }

    fn mounts_changed(&mut self, now: Moment, out: &mut Vec<Report>) {
        self.retry.now = now;
        // What happened before on a file system that is gone now waits in the queue.
        // The queue is bounded, so a writer that never stops does not hold us here.
        for _ in 0..64 {
            if !matches!(self.read(now, out), Ok(true)) {
                break;
            }
        }
        self.time = SystemTime::now();
        self.mounts_moved(out);
        self.retry_deferred(out);
        self.tell_lacks(out);
    }
}

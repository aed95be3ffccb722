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
use std::time::SystemTime;

use super::Report;
use super::closing::Closing;
use super::found::How;
use super::guard::Guards;
use super::kernel::{Kernel, Wd};
use super::limits::Retry;
use super::memory::{Cookies, Seen, Told, Unclosed};
use super::mounts::Mounts;
use super::parse::{self, Raw};
use super::rescan::Names;
use super::root::{Key, RootId, Roots};
use super::tell::Telling;
use super::tree::{NodeId, Tree};
use crate::event::LineId;
use crate::sys::inotify::{self as sys, Stamp};
use crate::table::Mask;

/// Bytes of one read.
pub(super) const BUFFER: usize = 64 * 1024;

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
    pub(super) keys: HashMap<Key, RootId>,
    pub(super) unclosed: Unclosed,
    pub(super) closing: Closing<Wd>,
    /// Directories that are watched and may no longer be looked into, and since when.
    pub(super) shut: HashMap<NodeId, Stamp>,
    /// Directories in which a file got its name, the latest first.
    pub(super) created: Vec<Wd>,
    /// What scans have told while the kernel's word on it may still wait.
    pub(super) seen: Seen,
    pub(super) cookies: Cookies,
    /// Roots whose path must be looked at again.
    pub(super) stale: Vec<(RootId, How)>,
    /// Directories too deep to be held open by the scan that met them.
    pub(super) deferred: Vec<(NodeId, How)>,
    /// Trees that came back, with the directories they had.
    pub(super) returned: HashMap<RootId, Vec<u64>>,
    /// Names to look at when their directory can be reached again.
    pub(super) dirty: Vec<(NodeId, Box<[u8]>, How)>,
    /// Those whose directory is not reached though nothing says that it left: a file
    /// system is mounted over it. Looked at when the mounts change.
    pub(super) covered: Vec<(NodeId, Box<[u8]>, How)>,
    /// Names in directories whose lines ask for deletions: a rescan compares.
    pub(super) names: Names,
    /// The name that was last taken by something else, in each place of its directory.
    pub(super) replaced: Vec<(NodeId, Box<[u8]>)>,
    pub(super) told: Told,
    /// Room for what is being told, kept from event to event.
    pub(super) telling: Telling,
    /// What had been told when the rescan began that is going on.
    pub(super) told_before: Told,
    /// The name that a watched file was last renamed to, its directory, and the
    /// rename's number.
    pub(super) arrived: Option<(Wd, u32, Box<[u8]>)>,
    /// The rescan that is going on.
    pub(super) rescanning: Option<How>,
    /// What is met is what a mount shows by now: what was known elsewhere has not moved,
    /// but may be hidden.
    pub(super) mounting: bool,
    /// Roots whose file is watched twice and has an event to come.
    pub(super) echoes: Vec<RootId>,
    pub(super) mounts: Mounts,
    /// They have changed, and are looked at when this much has been read in `total`.
    pub(super) mounts_after: Option<u64>,
    /// Some root lacks watches and its lines have not been told.
    pub(super) lacking: bool,
    pub(super) retry: Retry,
    pub(super) buffer: Vec<u8>,
    /// For getdents64, used again and again.
    pub(super) entries: Vec<u8>,
    /// Bytes read from the kernel so far, and of them dispatched.
    pub(super) total: u64,
    pub(super) position: u64,
    /// Every event before this time has been read.
    pub(super) drained: Stamp,
    /// As `drained`, before the events at hand were read.
    pub(super) before: Stamp,
    /// No event before this time has been dropped that is not told by a rescan.
    pub(super) safe: Stamp,
    /// The queue may have been full, and its end has not been reached since.
    pub(super) behind: bool,
    /// When the events at hand were read.
    pub(super) time: SystemTime,
    pub(super) figures: Figures,
    /// By device: a file that was looked at gets another stamp with its next change.
    pub(super) fine: HashMap<(u32, u32), bool>,
    /// `told` is that of a rescan, after which nothing was read.
    pub(super) lingers: bool,
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
            unclosed: Unclosed::default(),
            closing: Closing::default(),
            shut: HashMap::new(),
            created: Vec::new(),
            seen: Seen::default(),
            cookies: Cookies::default(),
            stale: Vec::new(),
            deferred: Vec::new(),
            returned: HashMap::new(),
            dirty: Vec::new(),
            covered: Vec::new(),
            names: Names::default(),
            replaced: Vec::new(),
            told: Told::default(),
            telling: Telling::default(),
            told_before: Told::default(),
            arrived: None,
            rescanning: None,
            mounting: false,
            echoes: Vec::new(),
            mounts: Mounts::new(),
            mounts_after: None,
            lacking: false,
            retry: Retry::default(),
            buffer: vec![0; BUFFER],
            entries: vec![0; BUFFER / 2],
            total: 0,
            position: 0,
            drained: sys::file_clock(),
            before: sys::file_clock(),
            safe: sys::file_clock(),
            behind: false,
            time: SystemTime::now(),
            figures: Figures::default(),
            fine: HashMap::new(),
            lingers: false,
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
    pub(super) fn dispatch(&mut self, raw: &Raw<'_>, out: &mut Vec<Report>) {
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
        self.note_created(raw);
        let late = self.late_name(raw);
        if late.is_none()
            && let Some((wd, name)) = self.named_elsewhere(raw)
        {
            let name = &name;
            return self.dispatch(&Raw { wd, name, ..*raw }, out);
        }
        let raw = &Raw {
            name: late.as_deref().unwrap_or(raw.name),
            ..*raw
        };
        if raw
            .mask
            .intersects(Mask::CLOSE_WRITE | Mask::MOVED_FROM | Mask::DELETE)
        {
            self.unclosed.take(raw.wd, raw.name);
        }
        if raw.mask.intersects(Mask::MOVED_FROM) {
            self.remember_cookie(first, guard, raw);
        }
        // The second half of an exchange frees no name: what came to it is still there.
        let log = self.told.since;
        if self.exchanged(raw) {
            self.told.since = None;
        }
        let mut at = first;
        while let Some(node) = self.tree.get(at) {
            let next = node.twin;
            self.tell_place(at, raw, out);
            at = next;
        }
        self.told.since = log;
        if first != NodeId::NONE && parse::structural(raw) {
            if raw.mask.intersects(Mask::CREATE | Mask::MOVED_TO) {
                self.replaced.clear();
            }
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

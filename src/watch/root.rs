//! What lines ask for: a root is one watched path with one way of watching it,
//! and the lines that share it.

use super::kernel::Wd;
use super::limits::Lack;
use super::tree::NodeId;
use crate::event::{LineId, LineIds};
use crate::sys::inotify::{Identity, Stamp};
use crate::table::{Filter, Mask, PathSpec, Pattern};
use crate::watch::Request;
use std::os::unix::ffi::OsStrExt;

/// A root, by its place in the table of roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RootId(pub u32);

/// Lines with the same key share a root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub path: PathSpec,
    pub recursive: bool,
    pub depth: Option<u32>,
    pub dotdirs: bool,
    pub exclude: Vec<String>,
    /// `ONLYDIR`, `DONT_FOLLOW`, `EXCL_UNLINK`.
    pub flags: Mask,
}

impl Key {
    pub fn of(request: &Request) -> Self {
        let recursive = request.recursive && request.depth != Some(0);
        let flags = Mask::ONLYDIR | Mask::DONT_FOLLOW | Mask::EXCL_UNLINK;
        Self {
            path: request.path.clone(),
            recursive,
            depth: if recursive { request.depth } else { None },
            dotdirs: recursive && request.dotdirs,
            exclude: if recursive && !request.path.pattern {
                request.exclude.clone()
            } else {
                Vec::new()
            },
            flags: request.mask & flags,
        }
    }
}

/// A line as its root serves it.
#[derive(Debug)]
pub(super) struct Line {
    pub id: LineId,
    pub mask: Mask,
    /// `IN_ONESHOT` has been served.
    pub spent: bool,
}

/// What the path is at present.
#[derive(Debug)]
pub(super) enum State {
    /// Waited for.
    Missing,
    /// A directory, the top of a tree.
    Dir(NodeId),
    /// Anything else, watched by its name in its directory.
    File(File),
}

/// A path that is no directory.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Its own watch: of its link count, or of everything where that of its
    /// directory does not tell all.
    pub inode: Option<Wd>,
    /// The directory does not tell all.
    pub full: bool,
    /// Where in the stream a write was last told through the directory.
    pub told: u64,
    /// When it was last written as far as is known; None: a later write may
    /// have the same stamp.
    pub modified: Option<Stamp>,
    /// Bits told through the directory that its own watch will tell again.
    pub echo: Mask,
}

/// A watch that guards the way to a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub wd: Wd,
    /// Events of this name; None: of the watched thing itself.
    pub name: Option<Box<[u8]>>,
    pub mask: u32,
}

/// What a path was before.
#[derive(Debug)]
pub(super) struct Lost {
    pub identity: Identity,
    /// Since when what happens to it is unknown.
    pub since: Stamp,
    /// Directories it had, as `Tree::place` names them, in order.
    pub held: Vec<u64>,
}

/// One watched path and its lines.
#[derive(Debug)]
pub(super) struct Root {
    pub key: Key,
    /// For a path with wildcards.
    pub pattern: Option<Box<Pattern>>,
    /// Where its tree begins: the path as written, or what of it has no wildcard.
    /// Ends in a slash where `$@` does.
    pub route: Box<[u8]>,
    /// Directories that need not be entered.
    pub excluded: Option<Box<Filter>>,
    /// In the order of their numbers.
    pub lines: Vec<Line>,
    /// Lists of lines that were lately told something together, to be shared.
    pub lists: Vec<LineIds>,
    /// What the lines ask for together.
    pub asked: Mask,
    pub state: State,
    /// Of what `state` is; None while missing.
    pub identity: Option<Identity>,
    /// What it was before, and since when the changes of that are unknown.
    pub lost: Vec<Lost>,
    /// What directories its tree had when it was given up.
    pub held: Vec<u64>,
    /// The path without links, as far as it exists.
    pub real: Box<[u8]>,
    /// What could not be watched.
    pub lack: Option<Lack>,
    /// When `state` was found: what is older was there, and is not told.
    pub settled: Stamp,
    pub links: Vec<Link>,
    /// Directory and name by which the last component is watched.
    pub leaf: Option<(Wd, Box<[u8]>)>,
}

/// Events that a directory's own watch and its parent's both tell.
pub(super) const TWICE: Mask =
    Mask(Mask::ACCESS.0 | Mask::ATTRIB.0 | Mask::CLOSE_NOWRITE.0 | Mask::OPEN.0);
/// Events that reading a directory causes.
pub(super) const NOISE: Mask = Mask(Mask::ACCESS.0 | Mask::CLOSE_NOWRITE.0 | Mask::OPEN.0);
/// Everything that can be an event of a line.
const EVENTS: u32 = Mask::ALL_EVENTS.0;

impl Root {
    pub fn new(key: Key) -> Self {
        let spec = &key.path;
        let pattern = if spec.pattern {
            Pattern::compile(spec).ok()
        } else {
            None
        };
        let mut route = spec.written.as_bytes().to_vec();
        if let Some(pattern) = &pattern {
            route = pattern.base().as_os_str().as_bytes().to_vec();
            if pattern.directories_only() && route.last() != Some(&b'/') {
                route.push(b'/');
            }
        }
        let excluded = (!key.exclude.is_empty()).then(|| Filter::excluding(&key.exclude).into());
        Self {
            key,
            excluded,
            pattern: pattern.map(Box::new),
            route: route.into(),
            lines: Vec::new(),
            lists: Vec::new(),
            asked: Mask(0),
            state: State::Missing,
            identity: None,
            lost: Vec::new(),
            held: Vec::new(),
            settled: Stamp::default(),
            real: Box::default(),
            lack: None,
            links: Vec::new(),
            leaf: None,
        }
    }

    /// Adds a line.
    pub fn serve(&mut self, line: Line) {
        let at = self.lines.partition_point(|other| other.id <= line.id);
        self.lines.insert(at, line);
        self.sum();
    }

    /// A list of these lines; the same one for the same lines, as far as they were
    /// told something lately.
    pub fn list(&mut self, ids: &[LineId]) -> LineIds {
        /// Lines that ask for different things make different lists by event; an
        /// event has few bits.
        const MOST: usize = 8;
        if let [one] = ids {
            return LineIds::from(*one);
        }
        if let Some(known) = self.lists.iter().find(|list| list.as_slice() == ids) {
            return known.clone();
        }
        if self.lists.len() >= MOST {
            self.lists.remove(0);
        }
        let list = LineIds::new(ids);
        self.lists.push(list.clone());
        list
    }

    /// Brings `asked` up to date with `lines`.
    pub fn sum(&mut self) {
        self.asked = self
            .lines
            .iter()
            .filter(|l| !l.spent)
            .fold(Mask(0), |m, l| m | l.mask);
    }

    /// The path as written.
    pub fn written(&self) -> &[u8] {
        self.key.path.written.as_bytes()
    }

    /// Bits the lines ask of the kernel, pseudo-events translated.
    fn kernel_bits(&self) -> u32 {
        let mut bits = self.asked.0 & EVENTS;
        if self.asked.intersects(Mask::COMPLETE) {
            bits |= (Mask::CLOSE_WRITE | Mask::MOVED_TO | Mask::CREATE).0;
        }
        if bits & Mask::MOVED_TO.0 != 0 {
            bits |= Mask::MOVED_FROM.0; // for old_path
        }
        bits | self.key.flags.0 & Mask::EXCL_UNLINK.0
    }

    /// The mask of every directory of the tree.
    pub fn tree_mask(&self) -> u32 {
        let mut bits = self.kernel_bits();
        if self.pattern.is_some() {
            bits |= self.leaf_mask();
        }
        if self.key.recursive || self.pattern.is_some() {
            bits |= (Mask::CREATE | Mask::MOVE | Mask::MOVE_SELF).0;
        }
        if self.keeps_names() {
            bits |= (Mask::CREATE | Mask::DELETE | Mask::MOVE).0;
        }
        bits
    }

    /// The mask of the directory in which a file of this path lies.
    pub fn leaf_mask(&self) -> u32 {
        self.kernel_bits() | (Mask::CREATE | Mask::DELETE | Mask::MOVE).0
    }

    /// True where a rescan must be able to tell what is gone.
    pub fn keeps_names(&self) -> bool {
        self.asked.intersects(Mask::DELETE | Mask::MOVED_FROM)
    }

    /// True where sub-directories are entered at all.
    pub fn descends(&self) -> bool {
        self.key.recursive || self.pattern.is_some()
    }

    /// True where a directory called `name`, `depth` levels below the path, is entered.
    pub fn enters(&self, name: &[u8], depth: u32) -> bool {
        self.key.recursive
            && (self.key.dotdirs || name.first() != Some(&b'.'))
            && self.key.depth.is_none_or(|max| depth <= max)
    }

    /// True where only a directory will do.
    pub fn only_dir(&self) -> bool {
        self.pattern.is_some() || self.key.flags.intersects(Mask::ONLYDIR)
    }

    /// The top of its tree.
    pub fn top(&self) -> Option<NodeId> {
        match self.state {
            State::Dir(top) => Some(top),
            _ => None,
        }
    }
}

/// All roots.
#[derive(Default)]
pub(super) struct Roots {
    slots: Vec<Option<Root>>,
    /// Slots without one.
    free: Vec<RootId>,
}

impl Roots {
    pub fn get(&self, id: RootId) -> Option<&Root> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, id: RootId) -> Option<&mut Root> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    pub fn insert(&mut self, root: Root) -> RootId {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            RootId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
        });
        if let Some(slot) = self.slots.get_mut(at.0 as usize) {
            *slot = Some(root);
        }
        at
    }

    pub fn remove(&mut self, id: RootId) -> Option<Root> {
        let root = self.slots.get_mut(id.0 as usize)?.take()?;
        self.free.push(id);
        Some(root)
    }

    pub fn ids(&self) -> Vec<RootId> {
        let all = self.slots.iter().enumerate();
        all.filter(|(_, s)| s.is_some())
            .map(|(i, _)| RootId(i as u32))
            .collect()
    }

    pub fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }
}

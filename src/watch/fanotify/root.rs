//! What lines ask for: a root is one path with one way of watching it, and the
//! lines that share it. Where it is stands in paths of file systems, so that it is
//! found whatever mount a change came through.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::group::FsId;
use super::lost::Lost;
use crate::event::LineId;
use crate::sys::inotify::Stamp;
use crate::table::{Filter, Mask, Pattern};
use crate::watch::root::Key;

/// A root, by its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RootId(pub u32);

/// A line as its root serves it.
#[derive(Debug)]
pub(super) struct Line {
    pub id: LineId,
    pub mask: Mask,
    /// It asks for the actor.
    pub who: bool,
    /// `IN_ONESHOT` has been served.
    pub spent: bool,
}

/// A part of a root's tree that lies in one file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Area {
    /// The number of the file system, and the path in it.
    pub dir: Box<[u8]>,
    /// How much of that is the top of its mount.
    pub top: usize,
    /// What leads there from the root's path; empty for the path itself.
    pub below: Box<[u8]>,
    /// Its mount, and the one that this is on.
    pub mount: u64,
    pub parent: u64,
    /// Its mount's number that no other one will have; 0: not known.
    pub unique: u64,
    /// The directory that it is mounted on, as `dir`; empty where that is not known.
    pub point: Box<[u8]>,
    /// Something is mounted over it.
    pub hidden: bool,
    /// What it holds is still to be told.
    pub fresh: bool,
}

/// One name on the way to the path; the last one is the path itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The directory: number of the file system, and the path in it.
    pub dir: Box<[u8]>,
    pub name: Box<[u8]>,
    /// How much of that is the top of its mount.
    pub top: usize,
    /// It was a symbolic link that is followed.
    pub link: bool,
    pub last: bool,
    /// It is no name of the path, but one by which a mounted part is in its file system.
    pub inner: bool,
}

/// What is at the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum At {
    #[default]
    Nothing,
    Dir,
    File,
}

/// Where a path leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    pub areas: Vec<Area>,
    pub steps: Vec<Step>,
    pub at: At,
    /// The handle of what is there.
    pub identity: Option<Box<[u8]>>,
    /// The path without links.
    pub real: Box<[u8]>,
    /// The mount that it is on.
    pub mount: u64,
    /// What cannot be watched below it.
    pub lack: Option<String>,
}

impl Way {
    /// It leads through one of these file systems, or into it.
    pub fn is_on(&self, systems: &[FsId]) -> bool {
        let steps = self.steps.iter().map(|step| &step.dir);
        let mut all = self.areas.iter().map(|area| &area.dir).chain(steps);
        all.any(|dir| systems.iter().any(|fs| dir.starts_with(fs)))
    }
}

/// One watched path and its lines.
pub(super) struct Root {
    pub key: Key,
    pub pattern: Option<Pattern>,
    /// The path as written, or what of it has no wildcard.
    pub route: Box<[u8]>,
    pub excluded: Option<Filter>,
    pub lines: Vec<Line>,
    /// What the lines ask for together.
    pub asked: Mask,
    pub way: Way,
    /// What was at the path before, the latest first.
    pub lost: Vec<Lost>,
    /// When `way` was found.
    pub settled: Stamp,
}

impl Root {
    pub fn new(key: Key) -> Self {
        let pattern = key
            .path
            .pattern
            .then(|| Pattern::compile(&key.path).ok())
            .flatten();
        let mut route = key.path.written.as_bytes().to_vec();
        if let Some(pattern) = &pattern {
            route = pattern.base().as_os_str().as_bytes().to_vec();
            if pattern.directories_only() && route.last() != Some(&b'/') {
                route.push(b'/');
            }
        }
        Self {
            excluded: (!key.exclude.is_empty()).then(|| Filter::excluding(&key.exclude)),
            key,
            pattern,
            route: route.into(),
            lines: Vec::new(),
            asked: Mask(0),
            way: Way::default(),
            lost: Vec::new(),
            settled: Stamp::default(),
        }
    }

    /// Brings `asked` up to date with `lines`.
    pub fn sum(&mut self) {
        let served = self.lines.iter().filter(|l| !l.spent);
        self.asked = served.fold(Mask(0), |m, l| m | l.mask);
    }

    /// `$@` of what happens at the path itself.
    pub fn watch(&self) -> OsString {
        OsStr::from_bytes(&self.route).to_owned()
    }

    /// The path as written, for messages.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(self.key.path.written.as_bytes()).into_owned()
    }

    pub fn follows(&self) -> bool {
        !self.key.flags.intersects(Mask::DONT_FOLLOW)
    }

    /// True where sub-directories are entered at all.
    pub fn descends(&self) -> bool {
        self.key.recursive || self.pattern.is_some()
    }

    /// True where only a directory will do.
    pub fn only_dir(&self) -> bool {
        self.pattern.is_some() || self.key.flags.intersects(Mask::ONLYDIR)
    }

    /// The bits of fanotify that its lines need.
    pub fn kernel_bits(&self) -> u64 {
        let direct = Mask::ACCESS | Mask::MODIFY | Mask::ATTRIB | Mask::CLOSE | Mask::OPEN;
        let mut bits = self.asked & (direct | Mask::OPEN_EXEC);
        if self.asked.intersects(Mask::COMPLETE) {
            bits |= Mask::CLOSE_WRITE;
        }
        bits.0.into()
    }
}

/// All roots, and which of them are where.
#[derive(Default)]
pub(super) struct Roots {
    slots: Vec<Option<Root>>,
    index: HashMap<Box<[u8]>, std::rc::Rc<Here>>,
}

/// What one directory is to roots.
#[derive(Clone, Default)]
pub(super) struct Here {
    /// Roots and the places of their areas that begin here.
    pub areas: Vec<(RootId, usize)>,
    /// Names in it that are steps on the way to a root.
    pub names: HashMap<Box<[u8]>, Vec<(RootId, usize)>>,
}

impl Roots {
    pub fn get(&self, id: RootId) -> Option<&Root> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, id: RootId) -> Option<&mut Root> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    pub fn insert(&mut self, root: Root) -> RootId {
        let free = self.slots.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Some(root);
        }
        RootId(u32::try_from(at).unwrap_or(u32::MAX))
    }

    pub fn remove(&mut self, id: RootId) -> Option<Root> {
        self.unlink(id);
        self.slots.get_mut(id.0 as usize)?.take()
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

    pub fn here(&self, dir: &[u8]) -> Option<&std::rc::Rc<Here>> {
        self.index.get(dir)
    }

    /// What the kernel is to be asked of a file system.
    pub fn needed(&self, fs: FsId) -> u64 {
        let on = |r: &&Root| r.way.areas.iter().any(|a| a.dir.starts_with(&fs));
        let all = self.slots.iter().flatten().filter(on);
        all.fold(0, |bits, r| bits | r.kernel_bits() | PICTURE)
    }

    /// Puts a root where its path leads to now.
    pub fn settle(&mut self, id: RootId, way: Way) {
        self.unlink(id);
        for (at, area) in way.areas.iter().enumerate() {
            self.entry(&area.dir).areas.push((id, at));
        }
        for (at, step) in way.steps.iter().enumerate() {
            let names = &mut self.entry(&step.dir).names;
            names.entry(step.name.clone()).or_default().push((id, at));
        }
        if let Some(root) = self.get_mut(id) {
            root.way = way;
        }
    }

    fn unlink(&mut self, id: RootId) {
        let Some(root) = self.get_mut(id) else { return };
        let way = std::mem::take(&mut root.way);
        for area in &way.areas {
            self.entry(&area.dir).areas.retain(|(r, _)| *r != id);
            self.drop_empty(&area.dir);
        }
        for step in &way.steps {
            let names = &mut self.entry(&step.dir).names;
            if let Some(users) = names.get_mut(&step.name) {
                users.retain(|(r, _)| *r != id);
                if users.is_empty() {
                    names.remove(&step.name);
                }
            }
            self.drop_empty(&step.dir);
        }
    }

    fn entry(&mut self, dir: &[u8]) -> &mut Here {
        if !self.index.contains_key(dir) {
            self.index.insert(dir.into(), Default::default());
        }
        std::rc::Rc::make_mut(self.index.entry(dir.into()).or_default())
    }

    fn drop_empty(&mut self, dir: &[u8]) {
        let empty = |h: &std::rc::Rc<Here>| h.areas.is_empty() && h.names.is_empty();
        if self.index.get(dir).is_some_and(empty) {
            self.index.remove(dir);
        }
    }
}

/// What is always asked for: names that come, go and change.
pub(super) const PICTURE: u64 =
    libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_RENAME | libc::FAN_ONDIR;

//! What has been told, for as long as the kernel may tell it again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;

use super::found::Thing;
use super::kernel::{PlainMap, Wd};
use super::parse::Raw;
use super::root::{NOISE, RootId};
use super::tree::{LIMBO, NodeId, Tree};
use super::words::Words;
use crate::event::LineIds;
use crate::sys::inotify::Stamp;
use crate::table::Mask;

/// Something for each of some names.
type ByName<T> = HashMap<Box<[u8]>, T>;

/// What is still to be heard of our own opening of one thing.
#[derive(Debug, Default)]
struct Own {
    until: u64,
    opens: u32,
    closes: u32,
}

/// Things told by scans, each until the kernel's events of that time are read.
#[derive(Default)]
pub(super) struct Seen {
    things: PlainMap<u64, ByName<(u64, Thing)>>,
    /// What we have opened and read ourselves: events of that are nobody's.
    own: HashMap<Wd, ByName<Own>>,
    until: u64,
}

/// What was told since the queue was last empty: after an overflow, what need
/// not be told again. Kept only while the queue is not empty.
#[derive(Default)]
pub(super) struct Told {
    /// When the events at hand were read, while a log is kept.
    pub since: Option<Stamp>,
    names: PlainMap<u64, ByName<Words>>,
    /// What rescans have seen: when a thing was changed last, where any later
    /// change shows.
    seen: PlainMap<u64, ByName<Stamp>>,
}

impl Told {
    /// `lines` were told `mask` of `name`.
    pub fn insert(&mut self, owner: Owner, name: &[u8], lines: &LineIds, mask: Mask) {
        let Some(at) = self.since else {
            return;
        };
        let names = self.names.entry(owner.key()).or_default();
        match names.get_mut(name) {
            Some(words) => words.say(lines, mask, at),
            None => names.entry(name.into()).or_default().say(lines, mask, at),
        }
    }

    /// What lines were told of `name`, and when.
    pub fn of(&self, owner: Owner, name: &[u8]) -> Words {
        self.names
            .get(&owner.key())
            .and_then(|n| n.get(name))
            .cloned()
            .unwrap_or_default()
    }

    /// A rescan has looked at `name` and tells of it.
    pub fn saw(&mut self, owner: Owner, name: &[u8], thing: Thing) {
        if self.since.is_some() && thing.exact {
            let names = self.seen.entry(owner.key()).or_default();
            names.insert(name.into(), thing.changed);
        }
    }

    /// True where `name` has not changed since a rescan told of it.
    pub fn unchanged(&self, owner: Owner, name: &[u8], thing: Thing) -> bool {
        let seen = self.seen.get(&owner.key()).and_then(|n| n.get(name));
        seen == Some(&thing.changed)
    }

    pub fn clear(&mut self) {
        self.since = None;
        self.names.clear();
        self.seen.clear();
    }
}

/// Files that a scan has found open for writing, until their close is heard: a
/// close changes no time of a file, so a rescan would not know of it.
#[derive(Default)]
pub(super) struct Unclosed(HashMap<Wd, HashSet<Box<[u8]>>>);

impl Unclosed {
    pub fn insert(&mut self, dir: Wd, name: &[u8]) {
        self.0.entry(dir).or_default().insert(name.into());
    }

    /// True where `name` was found open; it is closed now, or looked at again.
    pub fn take(&mut self, dir: Wd, name: &[u8]) -> bool {
        !self.0.is_empty() && self.0.get_mut(&dir).is_some_and(|names| names.remove(name))
    }

    /// The watch of the directory has ended.
    pub fn forget(&mut self, dir: Wd) {
        self.0.remove(&dir);
    }
}

/// Whose name it is: a place in a tree, or a root that is a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Node(NodeId),
    File(RootId),
}

impl Owner {
    pub fn key(self) -> u64 {
        match self {
            Owner::Node(id) => id.0.into(),
            Owner::File(id) => 1 << 32 | u64::from(id.0),
        }
    }
}

impl Seen {
    /// `thing` was told as `name`; the kernel's events up to `until` say the same.
    pub fn insert(&mut self, owner: Owner, name: &[u8], thing: Thing, until: u64) {
        self.until = self.until.max(until);
        self.things
            .entry(owner.key())
            .or_default()
            .insert(name.into(), (until, thing));
    }

    /// What was told of `name`, for an event that ends at `position` of the stream.
    pub fn known(&self, owner: Owner, name: &[u8], position: u64) -> Option<Thing> {
        if self.things.is_empty() {
            return None;
        }
        let (until, thing) = self.things.get(&owner.key())?.get(name)?;
        (position <= *until).then_some(*thing)
    }

    /// `name` is gone: what comes next under it is new.
    pub fn forget(&mut self, owner: Owner, name: &[u8]) {
        if let Some(names) = self.things.get_mut(&owner.key()) {
            names.remove(name);
        }
    }

    /// We are about to open, read and close `name` in the directory of `wd`.
    pub fn expect_own(&mut self, wd: Wd, name: &[u8]) {
        let names = self.own.entry(wd).or_default();
        let own = names.entry(name.into()).or_default();
        own.until = u64::MAX;
        own.opens += 1;
        own.closes += 1;
    }

    /// All our opening and reading is in the queue now.
    pub fn own_done(&mut self, until: u64) {
        for own in self.own.values_mut().flat_map(HashMap::values_mut) {
            own.until = own.until.min(until);
        }
        if !self.own.is_empty() {
            self.until = self.until.max(until);
        }
    }

    /// True for an event that our own reading caused.
    pub fn is_own(&mut self, raw: &Raw<'_>, position: u64) -> bool {
        if self.own.is_empty() || !raw.mask.intersects(NOISE) {
            return false;
        }
        let Some(own) = self.own.get_mut(&raw.wd).and_then(|n| n.get_mut(raw.name)) else {
            return false;
        };
        let left = match raw.mask & NOISE {
            // A directory may be read in several steps.
            Mask::ACCESS => return position <= own.until && own.closes > 0,
            Mask::OPEN => &mut own.opens,
            _ => &mut own.closes,
        };
        if position > own.until || *left == 0 {
            return false;
        }
        *left -= 1;
        true
    }

    /// Forgets what can no longer be told twice.
    pub fn expire(&mut self, position: u64) {
        if self.until != 0 && position >= self.until {
            self.things.clear();
            self.own.clear();
            self.until = 0;
        }
    }
}

/// First halves of renames, until their second halves come.
#[derive(Default)]
pub(super) struct Cookies {
    from: VecDeque<(u32, Vec<(RootId, PathBuf)>)>,
    /// Directories that are on the move.
    places: VecDeque<(u32, NodeId)>,
}

impl Cookies {
    /// The second half follows at once in the queue, but others may come between.
    const MOST: usize = 256;

    pub fn insert(&mut self, cookie: u32, from: Vec<(RootId, PathBuf)>) {
        if self.from.len() >= Self::MOST {
            self.from.pop_front();
        }
        self.from.push_back((cookie, from));
    }

    /// The directory `place` has left its name.
    pub fn leaves(&mut self, cookie: u32, place: NodeId) {
        if self.places.len() >= Self::MOST {
            self.places.pop_front();
        }
        self.places.push_back((cookie, place));
    }

    /// The place in the tree of `root` that is being renamed, if it is in limbo still.
    pub fn left(&self, cookie: u32, root: RootId, tree: &Tree) -> Option<NodeId> {
        let of = self.places.iter().filter(|(c, _)| *c == cookie);
        let fits = |id: &NodeId| {
            tree.get(*id)
                .is_some_and(|n| n.root == root && n.flags & LIMBO != 0)
        };
        of.map(|(_, id)| *id).find(fits)
    }

    /// Old path of a rename, as `root` writes it where it can.
    pub fn old_path(&self, cookie: u32, root: RootId) -> Option<PathBuf> {
        let (_, from) = self.from.iter().rev().find(|(c, _)| *c == cookie)?;
        let own = from.iter().find(|(r, _)| *r == root);
        own.or(from.first()).map(|(_, path)| path.clone())
    }

    /// True where the thing was in the tree of `root` before.
    pub fn came_from(&self, cookie: u32, root: RootId) -> bool {
        let of = self.from.iter().rev().find(|(c, _)| *c == cookie);
        of.is_some_and(|(_, from)| from.iter().any(|(r, _)| *r == root))
    }
}

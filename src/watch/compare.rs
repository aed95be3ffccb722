//! What happened between two snapshots of one path: made, written, changed,
//! renamed, removed. Pure.
//!
//! A thing is the same as before where type, number and birth are. What is found
//! under another path was renamed; a directory takes what it holds along, so
//! that one rename is one difference.

use std::collections::{BTreeMap, HashMap};

use super::snapshot::{Entry, Snapshot, join, parent};

/// What happened to one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// It is not there any more.
    Gone,
    /// It came here from `old_path`.
    Moved,
    /// It is new.
    Made,
    /// Another file took its place.
    Replaced,
    /// Its content changed.
    Written,
    /// It was being written then: nobody saw the close of that.
    Closed,
    /// Its permissions, owner or the like changed.
    Attributes,
    /// Nothing that a line is told; the entry is out of date all the same.
    Nothing,
}

/// One difference. A path can have several: moved and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What happened.
    pub what: What,
    /// Of the snapshot.
    pub path: Box<[u8]>,
    /// Where it was, for `Moved`.
    pub old_path: Option<Box<[u8]>>,
    /// As it is now; for `Gone` as it was.
    pub entry: Entry,
}

/// Type, number, birth.
type Id = (u32, u64, i64);

/// The differences in an order in which they may have happened: what is gone,
/// what was renamed, then the rest, a directory before what it holds.
pub fn compare(old: &Snapshot, new: &Snapshot) -> Vec<Difference> {
    let mut found = Found::default();
    let (mut left, mut fresh) = (Vec::new(), Fresh::new());
    for (path, was) in old {
        match new.get(path) {
            Some(is) if same(was, is) => found.changes(path, was, is, false),
            _ => left.push((&**path, was)),
        }
    }
    for (path, is) in new {
        if !old.get(path).is_some_and(|was| same(was, is)) {
            fresh.insert(&**path, is);
        }
    }
    if !left.is_empty() {
        found.settle(left, &mut fresh);
    }
    for (path, is) in fresh {
        found.add(What::Made, path, None, is);
    }
    found.sorted()
}

/// Whether a path still holds the thing it held. A file system may number its
/// files anew (FUSE); what nothing has happened to is the same under any number.
fn same(was: &Entry, is: &Entry) -> bool {
    let untouched = was.modified == is.modified && was.changed == is.changed && was.size == is.size;
    was.identity() == is.identity() || was.kind() == is.kind() && untouched && was.mode == is.mode
}

/// Whether a thing elsewhere is this one. Numbers are used again: where no birth
/// tells, a file must have kept its content.
fn moved(was: &Entry, is: &Entry) -> bool {
    let kept = was.modified == is.modified && was.size == is.size;
    was.identity() == is.identity() && (was.born.0 != 0 || was.is_dir() || kept)
}

/// What is not where it was.
type Fresh<'a> = BTreeMap<&'a [u8], &'a Entry>;
/// Where to look for it.
type Places<'a> = HashMap<Id, Vec<&'a [u8]>>;

#[derive(Default)]
struct Found(Vec<Difference>);

impl Found {
    fn add(&mut self, what: What, path: &[u8], old_path: Option<&[u8]>, entry: &Entry) {
        self.0.push(Difference {
            what,
            path: path.into(),
            old_path: old_path.map(Into::into),
            entry: *entry,
        });
    }

    /// What happened to a thing besides its rename.
    fn changes(&mut self, path: &[u8], was: &Entry, is: &Entry, renamed: bool) {
        let written = was.is_file() && (was.modified != is.modified || was.size != is.size);
        if written {
            self.add(What::Written, path, None, is);
        } else if was.owed && is.is_file() {
            self.add(What::Closed, path, None, is);
        }
        // A directory's times tell of its names, a link count of other names; a
        // rename is a change of times, too.
        let elsewhere = was.is_dir() || written || renamed || was.links != is.links;
        let touched = was.changed != is.changed && !elsewhere;
        if was.mode != is.mode || was.owner != is.owner || touched {
            self.add(What::Attributes, path, None, is);
        } else if !renamed && !written && differs(was, is) {
            self.add(What::Nothing, path, None, is);
        }
    }

    /// Where everything went that is not where it was. Parents come first.
    fn settle<'a>(&mut self, left: Vec<(&'a [u8], &Entry)>, fresh: &mut Fresh<'a>) {
        let mut places: Places<'a> = HashMap::new();
        for (path, is) in fresh.iter().rev() {
            places.entry(is.identity()).or_default().push(path);
        }
        // Where directories that are not where they were are now.
        let mut went: HashMap<&[u8], Box<[u8]>> = HashMap::new();
        let mut missing = Vec::new();
        for (path, was) in left {
            let expected = expected(path, &went);
            let now = match fresh.get(&*expected) {
                Some(is) if moved(was, is) => Some(expected.clone()),
                _ => elsewhere(was, fresh, &places),
            };
            match &now {
                Some(now) => {
                    if let Some(is) = fresh.remove(&**now) {
                        let along = *now == expected;
                        if !along {
                            self.add(What::Moved, now, Some(path), is);
                        }
                        self.changes(now, was, is, true);
                        if along && **now != *path {
                            // Its entry is to be found under its new path.
                            self.add(What::Nothing, now, Some(path), is);
                        }
                    }
                }
                None => missing.push((path, was, expected.clone())),
            }
            if was.is_dir() {
                went.insert(path, now.unwrap_or(expected));
            }
        }
        for (path, was, expected) in missing {
            match fresh.get(&*expected) {
                Some(is) if !was.is_dir() && was.kind() == is.kind() => {
                    self.add(What::Replaced, &expected, None, is);
                    if *expected != *path {
                        self.add(What::Nothing, path, None, was);
                    }
                    fresh.remove(&*expected);
                }
                _ => self.add(What::Gone, path, None, was),
            }
        }
    }

    fn sorted(mut self) -> Vec<Difference> {
        // Stable: what was found first of a path stays first.
        let order = |what: What| match what {
            What::Gone => 0,
            What::Moved => 1,
            _ => 2,
        };
        self.0.sort_by(|a, b| {
            let ranks = order(a.what).cmp(&order(b.what));
            // What a directory held went before it.
            let paths = match a.what {
                What::Gone => b.path.cmp(&a.path),
                _ => a.path.cmp(&b.path),
            };
            ranks.then(paths)
        });
        self.0
    }
}

fn differs(was: &Entry, is: &Entry) -> bool {
    Entry {
        owed: false,
        ..*was
    } != *is
}

/// Where a thing is if it only went along with its directory.
fn expected(path: &[u8], went: &HashMap<&[u8], Box<[u8]>>) -> Box<[u8]> {
    let Some(dir) = parent(path) else {
        return path.into();
    };
    let Some(now) = went.get(dir) else {
        return path.into();
    };
    let name = path.get(dir.len()..).unwrap_or_default();
    join(now, name.strip_prefix(b"/").unwrap_or(name))
}

/// The place of the thing among those that nothing else was found at.
fn elsewhere(was: &Entry, fresh: &Fresh<'_>, places: &Places<'_>) -> Option<Box<[u8]>> {
    let candidates = places.get(&was.identity())?;
    let free = |path: &&&[u8]| fresh.get(**path).is_some_and(|is| moved(was, is));
    candidates
        .iter()
        .rev()
        .find(free)
        .map(|path| (*path).into())
}

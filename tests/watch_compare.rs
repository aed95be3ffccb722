//! `compare` as a property: whatever happens to a tree, each thing that was
//! made, renamed, written or removed is a difference, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use incron::sys::inotify::Stamp;
use incron::watch::compare::{What, compare};
use incron::watch::snapshot::{Entry, Snapshot, join, parent};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    File(u8, u8),
    Dir(u8, u8),
    Write(u8),
    Chmod(u8),
    Rename(u8, u8, u8),
    Remove(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (any::<u8>(), 0..6u8).prop_map(|(dir, name)| Op::File(dir, name)),
        (any::<u8>(), 0..6u8).prop_map(|(dir, name)| Op::Dir(dir, name)),
        any::<u8>().prop_map(Op::Write),
        any::<u8>().prop_map(Op::Chmod),
        (any::<u8>(), any::<u8>(), 0..6u8)
            .prop_map(|(from, dir, name)| Op::Rename(from, dir, name)),
        any::<u8>().prop_map(Op::Remove),
    ]
}

/// A tree in memory; the clock counts its changes.
struct Model {
    tree: Snapshot,
    clock: i64,
}

impl Model {
    fn new() -> Self {
        let mut model = Self {
            tree: Snapshot::new(),
            clock: 1,
        };
        model.make(b"", libc::S_IFDIR);
        model
    }

    fn make(&mut self, path: &[u8], kind: u32) {
        self.clock += 1;
        let now = Stamp(self.clock);
        let entry = Entry {
            mode: kind | 0o644,
            inode: self.clock as u64,
            born: now,
            changed: now,
            modified: now,
            links: 1,
            ..Entry::default()
        };
        self.tree.insert(path.into(), entry);
    }

    fn pick(&self, number: u8, wanted: impl Fn(&[u8], &Entry) -> bool) -> Option<Box<[u8]>> {
        let all: Vec<_> = self
            .tree
            .iter()
            .filter(|(path, entry)| wanted(path, entry))
            .collect();
        let at = usize::from(number).checked_rem(all.len())?;
        Some(all[at].0.clone())
    }

    fn dir(&self, number: u8) -> Box<[u8]> {
        self.pick(number, |_, entry| entry.is_dir()).unwrap()
    }

    fn below(&self, dir: &[u8]) -> Vec<Box<[u8]>> {
        let inside = |path: &[u8]| path == dir || path.starts_with(&[dir, b"/"].concat());
        self.tree
            .keys()
            .filter(|path| inside(path))
            .cloned()
            .collect()
    }

    fn does(&mut self, op: &Op) {
        self.clock += 1;
        let now = Stamp(self.clock);
        match op {
            Op::File(dir, name) | Op::Dir(dir, name) => {
                let path = join(&self.dir(*dir), &[b'a' + name]);
                let kind = if matches!(op, Op::File(..)) {
                    libc::S_IFREG
                } else {
                    libc::S_IFDIR
                };
                if !self.tree.contains_key(&path) {
                    self.make(&path, kind);
                }
            }
            Op::Write(number) => {
                if let Some(path) = self.pick(*number, |_, entry| entry.is_file()) {
                    let entry = self.tree.get_mut(&path).unwrap();
                    (entry.modified, entry.changed) = (now, now);
                }
            }
            Op::Chmod(number) => {
                if let Some(path) = self.pick(*number, |_, _| true) {
                    let entry = self.tree.get_mut(&path).unwrap();
                    (entry.mode, entry.changed) = (entry.mode ^ 0o100, now);
                }
            }
            Op::Rename(from, dir, name) => self.rename(*from, *dir, *name),
            Op::Remove(number) => {
                if let Some(path) = self.pick(*number, |path, _| !path.is_empty()) {
                    for path in self.below(&path) {
                        self.tree.remove(&path);
                    }
                }
            }
        }
    }

    fn rename(&mut self, from: u8, dir: u8, name: u8) {
        let Some(from) = self.pick(from, |path, _| !path.is_empty()) else {
            return;
        };
        let to = join(&self.dir(dir), &[b'a' + name]);
        let inside = self.below(&from);
        let fits = match (self.tree[&from].is_dir(), self.tree.get(&to)) {
            (false, Some(other)) => other.is_file() && from != to,
            (true, Some(_)) => false,
            (_, None) => true,
        };
        if !fits
            || inside.contains(&to)
            || inside
                .iter()
                .any(|path| to.starts_with(&[&**path, b"/"].concat()))
        {
            return;
        }
        for path in inside {
            let mut entry = self.tree.remove(&path).unwrap();
            if path == from {
                entry.changed = Stamp(self.clock);
            }
            self.tree
                .insert([&to, &path[from.len()..]].concat().into(), entry);
        }
    }
}

fn check(old: &Snapshot, new: &Snapshot) {
    let found = compare(old, new);
    let place = |tree: &Snapshot| -> BTreeMap<u64, Box<[u8]>> {
        tree.iter()
            .map(|(path, entry)| (entry.inode, path.clone()))
            .collect()
    };
    let (was, is) = (place(old), place(new));
    let of = |what: What| -> BTreeSet<&[u8]> {
        found
            .iter()
            .filter(|found| found.what == what)
            .map(|found| &*found.path)
            .collect()
    };
    let (made, replaced, gone) = (of(What::Made), of(What::Replaced), of(What::Gone));
    let (written, attributes) = (of(What::Written), of(What::Attributes));
    let moved: BTreeMap<&[u8], &[u8]> = found
        .iter()
        .filter(|found| found.what == What::Moved)
        .map(|found| (&*found.path, found.old_path.as_deref().unwrap()))
        .collect();
    for (path, entry) in new {
        let Some(before) = was.get(&entry.inode) else {
            assert!(
                made.contains(&**path) != replaced.contains(&**path),
                "new: {path:?}"
            );
            continue;
        };
        assert!(
            !made.contains(&**path) && !replaced.contains(&**path),
            "not new: {path:?}"
        );
        let name = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().unwrap().to_vec();
        let parents = |tree: &Snapshot, path: &[u8]| parent(path).map(|dir| tree[dir].inode);
        let along = name(path) == name(before) && parents(new, path) == parents(old, before);
        assert_eq!(
            moved.get(&**path).copied(),
            (!along && before != path).then_some(&**before),
            "{path:?}"
        );
        let before = &old[before];
        assert_eq!(
            written.contains(&**path),
            before.modified != entry.modified,
            "{path:?}"
        );
        if before.mode != entry.mode {
            assert!(attributes.contains(&**path), "{path:?}");
        }
    }
    for (path, entry) in old {
        if is.contains_key(&entry.inode) {
            assert!(!gone.contains(&**path), "still there: {path:?}");
        } else if !gone.contains(&**path) {
            assert!(entry.is_file() && !replaced.is_empty(), "gone: {path:?}");
        }
    }
    let lost = old
        .values()
        .filter(|entry| !is.contains_key(&entry.inode))
        .count();
    assert_eq!(lost, gone.len() + replaced.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn each_thing_is_told_once(
        first in prop::collection::vec(op(), 0..40),
        then in prop::collection::vec(op(), 0..25),
    ) {
        let mut model = Model::new();
        first.iter().for_each(|op| model.does(op));
        let old = model.tree.clone();
        prop_assert_eq!(compare(&old, &old), vec![]);
        then.iter().for_each(|op| model.does(op));
        check(&old, &model.tree);
    }
}

fn tree(entries: &[(&str, Entry)]) -> Snapshot {
    entries
        .iter()
        .map(|(path, entry)| (path.as_bytes().into(), *entry))
        .collect()
}

fn file(inode: u64) -> Entry {
    Entry {
        mode: libc::S_IFREG | 0o644,
        inode,
        born: Stamp(inode as i64),
        links: 1,
        ..Entry::default()
    }
}

#[test]
fn a_number_used_again_is_no_rename_where_no_birth_tells() {
    let unborn = |inode, modified| Entry {
        born: Stamp(0),
        modified: Stamp(modified),
        ..file(inode)
    };
    let what = |old: &Snapshot, new: &Snapshot| -> Vec<What> {
        compare(old, new).iter().map(|found| found.what).collect()
    };
    let old = tree(&[("a", unborn(7, 1))]);
    assert_eq!(
        what(&old, &tree(&[("b", unborn(7, 2))])),
        [What::Gone, What::Made]
    );
    assert_eq!(what(&old, &tree(&[("b", unborn(7, 1))])), [What::Moved]);
}

#[test]
fn numbers_given_anew_are_no_changes() {
    // As FUSE does after a mount: other numbers, the same files.
    let old = tree(&[("a", file(1)), ("b", file(2))]);
    let new = tree(&[
        (
            "a",
            Entry {
                born: Stamp(1),
                ..file(21)
            },
        ),
        (
            "b",
            Entry {
                born: Stamp(2),
                ..file(22)
            },
        ),
    ]);
    assert!(
        compare(&old, &new)
            .iter()
            .all(|found| found.what == What::Nothing)
    );
}

#[test]
fn a_close_that_nobody_saw() {
    let old = tree(&[(
        "a",
        Entry {
            owed: true,
            ..file(1)
        },
    )]);
    let found = compare(&old, &tree(&[("a", file(1))]));
    assert_eq!(
        found.iter().map(|found| found.what).collect::<Vec<_>>(),
        [What::Closed]
    );
}

#[test]
fn a_further_name_changes_nothing_of_the_first() {
    let linked = Entry {
        links: 2,
        changed: Stamp(9),
        ..file(1)
    };
    let found = compare(
        &tree(&[("a", file(1))]),
        &tree(&[("a", linked), ("b", linked)]),
    );
    let told: Vec<_> = found
        .iter()
        .filter(|found| found.what != What::Nothing)
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].what, &*told[0].path), (What::Made, &b"b"[..]));
}

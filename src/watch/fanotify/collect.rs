//! Looking through a tree, by the handles of its directories.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{open, openat};
use nix::sys::stat::Mode;

use super::Fanotify;
use super::group::{fs_of, key_of};
use super::job::Job;
use super::reach::{Hit, within};
use super::resolve::dir_flags;
use super::root::{Area, RootId};
use crate::sys::{fanotify, inotify as sys};
use crate::table::Mask;
use crate::watch::found::{How, Thing};
use crate::watch::look::{is_open_for_writing, kind_of, with_nul};
use crate::watch::parse;
use crate::watch::scan::path_flags;

/// One thing found.
pub(super) struct Found {
    pub watch: OsString,
    pub name: Box<[u8]>,
    /// Handle of its directory, and its name there.
    pub owner: (Box<[u8]>, Box<[u8]>),
    /// Its directory is in the tree at another place, too.
    pub twice: bool,
    pub thing: Thing,
}

/// A tree in one file system that is looked through.
pub(super) struct Part {
    pub key: Box<[u8]>,
    pub path: Vec<u8>,
    /// Where its root has it; None: where it has it first.
    pub watch: Option<Vec<u8>>,
    /// The mount of which it is the top, where it is one.
    pub mount: Option<u64>,
}

impl Fanotify {
    /// What is in the directory of `part`, and below it.
    pub(super) fn collect(
        &mut self,
        job: &Job,
        part: &Part,
        touched: &mut HashSet<Box<[u8]>>,
        found: &mut Vec<Found>,
    ) {
        let root = job.root;
        let mut todo = vec![(
            part.key.clone(),
            part.path.clone(),
            part.watch.clone(),
            job.how,
        )];
        let mut buffer = vec![0; 32 * 1024];
        // A mount may show, at a second place, what is looked through already.
        let mut visited: HashSet<Box<[u8]>> = HashSet::from([part.key.clone()]);
        while let Some((key, path, watch, how)) = todo.pop() {
            let Some(hit) = self.hit_in(&path, root, watch.as_deref()) else {
                continue;
            };
            let places = self.reach_of(&path);
            let twice = places.hits.iter().filter(|h| h.root == root).count() > 1;
            let open = self.group.open(&self.mounts, &key);
            let Some(dir) = open
                .ok()
                .and_then(|d| openat(&d, ".", dir_flags(), Mode::empty()).ok())
            else {
                continue; // gone again: the stream tells
            };
            while let Ok(n @ 1..) = sys::getdents(dir.as_fd(), &mut buffer) {
                let mut rest = buffer.get(..n).unwrap_or_default();
                while let Some((entry, len)) = parse::entry(rest) {
                    rest = rest.get(len..).unwrap_or_default();
                    if matches!(entry.name, b"." | b".." | b"") {
                        continue;
                    }
                    let kind = kind_of(dir.as_fd(), entry);
                    let mut how = how;
                    if kind == libc::S_IFDIR {
                        let below = [&*path, b"/", entry.name].concat();
                        let watch = watch.as_ref().map(|w| [&**w, b"/", entry.name].concat());
                        // What is mounted there is another part.
                        let here = (dir.as_fd(), &*key);
                        let sub = self.group.child(&self.mounts, here, entry.name);
                        if let Ok(sub) = sub {
                            how = self.how_of(job, how, &sub, (dir.as_fd(), entry.name));
                            if self.hit_in(&below, root, watch.as_deref()).is_some()
                                && visited.insert(sub.clone())
                                && !self.settled.contains(&(root, sub.clone()))
                            {
                                touched.insert(sub.clone());
                                todo.push((sub, below, watch, how));
                            }
                        }
                    }
                    if how.silent() {
                        continue;
                    }
                    let Some((watch, name)) = self.called(&hit, entry.name, kind) else {
                        continue;
                    };
                    let thing = self.look(root, dir.as_fd(), (entry.name, kind), how);
                    let owner = (key.clone(), entry.name.into());
                    found.extend(thing.map(|thing| Found {
                        watch,
                        name,
                        owner,
                        twice,
                        thing,
                    }));
                }
            }
        }
    }

    /// How a directory in a tree that is looked through came there: one that is known may
    /// have been renamed while nobody looked, with all it holds.
    fn how_of(&self, job: &Job, how: How, key: &[u8], at: (BorrowedFd<'_>, &[u8])) -> How {
        let (How::Regain(since, _), Some(number)) = (how, job.lost) else {
            return how;
        };
        let stat = || with_nul(at.1, |n| sys::stat(at.0, n)).ok();
        let changed = || stat().is_some_and(|s| s.changed.latest() >= since);
        match self.wandered.since(key, number, changed) {
            true => How::Moved,
            false => how,
        }
    }

    /// Mounted parts of a tree.
    pub(super) fn parts(&self, root: RootId, of: impl Fn(&Area) -> bool) -> Vec<Part> {
        let Some(r) = self.roots.get(root) else {
            return Vec::new();
        };
        let shown = |(at, area): &(usize, &Area)| {
            !area.below.is_empty() && of(area) && r.hit(root, *at, b"").is_some()
        };
        let part = |(_, area): (usize, &Area)| {
            let path = [&*r.way.real, b"/", &*area.below].concat();
            let top = open(&*path, path_flags(), Mode::empty()).ok()?;
            // Another one may be mounted over it by now.
            let is = fanotify::mount_id(top.as_fd()).ok() == Some(area.mount);
            let key = key_of(top.as_fd()).ok()?;
            let marked = fs_of(&key)? == fs_of(&area.dir)?;
            let route = r.route.strip_suffix(b"/").unwrap_or(&r.route);
            (is && marked).then_some(Part {
                key,
                path: area.dir.to_vec(),
                watch: Some([route, b"/", &*area.below].concat()),
                mount: Some(area.mount),
            })
        };
        let areas = r.way.areas.iter().enumerate();
        areas.filter(shown).filter_map(part).collect()
    }

    /// What is mounted below a directory that `root` has as `watch`.
    pub(super) fn parts_below(&self, root: RootId, watch: &[u8]) -> Vec<Part> {
        let watch = watch.strip_suffix(b"/").unwrap_or(watch);
        let mut parts = self.parts(root, |_| true);
        let inside = |place: &Vec<u8>| place.len() > watch.len() && within(place, watch);
        parts.retain(|p| p.watch.as_ref().is_some_and(inside));
        parts
    }

    /// What `root` has in a directory, as `watch`: it may have it at two places.
    pub(super) fn hit_in(&self, path: &[u8], root: RootId, watch: Option<&[u8]>) -> Option<Hit> {
        let is = |hit: &Hit, watch: &[u8]| {
            let place = hit.watch.as_bytes();
            place.strip_suffix(b"/").unwrap_or(place) == watch
        };
        let of = |hit: &&Hit| hit.root == root && watch.is_none_or(|watch| is(hit, watch));
        self.reach_of(path).hits.iter().find(of).cloned()
    }

    /// `$@` and `$#` of a thing in a directory of a root.
    pub(super) fn called(
        &self,
        hit: &Hit,
        name: &[u8],
        kind: u32,
    ) -> Option<(OsString, Box<[u8]>)> {
        if hit.served {
            return Some((hit.watch.clone(), name.into()));
        }
        let pattern = self.roots.get(hit.root)?.pattern.as_ref()?;
        let mut path = hit.watch.as_bytes().to_vec();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let file = kind != libc::S_IFDIR && !pattern.directories_only();
        (file && pattern.matches(&path))
            .then(|| (OsStr::from_bytes(&path).to_owned(), Box::default()))
    }

    /// Looks at a thing as closely as the lines of `root` need it.
    pub(super) fn look(
        &self,
        root: RootId,
        dir: BorrowedFd<'_>,
        (name, kind): (&[u8], u32),
        how: How,
    ) -> Option<Thing> {
        let asked = self.roots.get(root)?.asked;
        let stat = with_nul(name, |n| sys::stat(dir, n)).ok()?;
        let thing = Thing::new(kind, Some(&stat), None, how)?;
        let closes = kind == libc::S_IFREG && asked.intersects(Mask::CLOSE_WRITE | Mask::COMPLETE);
        if !closes || !(thing.written || thing.moved) {
            return Some(thing);
        }
        Some(Thing {
            open: is_open_for_writing(dir, name),
            ..thing
        })
    }
}

//! The parts of a tree that are mounted below its path: found in the table of mounts,
//! and carried along with the directories that they are in, or that they show, when
//! these are renamed. That a mount has another place then, the kernel does not tell.

use std::os::fd::AsFd;

use nix::fcntl::open;
use nix::sys::stat::Mode;

use super::Fanotify;
use super::mounts::{DELETED, Mount};
use super::reach::{join, within};
use super::refuse::Refusal;
use super::root::{Area, RootId, Step, Way};
use super::tree::NodeId;
use crate::sys::fanotify;
use crate::watch::scan::path_flags;

/// Where a directory is of which that is not known; no path has two slashes.
const NOWHERE: &[u8] = b"//";

/// What happened to a directory, by its path in its file system.
pub(super) enum Gone<'a> {
    To(&'a [u8]),
    /// It has the other's place, which has its own.
    Exchanged(&'a [u8]),
    /// Where nothing is known.
    Away,
    Removed,
}

impl Fanotify {
    /// What is mounted below the path belongs to the tree, too. `known`: the areas of
    /// before, of which some may be below another mount by now.
    pub(super) fn mounts_inside(&mut self, way: &mut Way, known: &[Area], bits: u64) {
        let below: Vec<(Mount, Vec<u8>)> = self
            .mounts
            .below(&way.real)
            .map(|(mount, rest)| (mount.clone(), rest.to_vec()))
            .collect();
        for (mount, rest) in below {
            let Ok(fd) = open(&*mount.point, path_flags(), Mode::empty()) else {
                continue;
            };
            if fanotify::mount_id(fd.as_fd()).ok() != Some(mount.id) {
                let known = known.iter().find(|a| a.mount == mount.id);
                way.areas.extend(known.map(|a| Area {
                    hidden: true,
                    ..a.clone()
                }));
                continue;
            }
            let marked = fanotify::fsid(fd.as_fd())
                .and_then(|fs| self.group.mark(fs, &mount, fd.as_fd(), bits).map(|()| fs));
            let mut dir = match marked {
                Ok(fs) => fs.to_vec(),
                Err(e) => {
                    let why = Refusal::mark(&e, &mount.kind);
                    way.lack.get_or_insert(format!(
                        "not below {}: {why}",
                        String::from_utf8_lossy(&mount.point)
                    ));
                    Vec::new()
                }
            };
            dir.extend_from_slice(&mount.root);
            // The number of a mount is given to the next one.
            let unique = fanotify::unique_mount_id(fd.as_fd()).unwrap_or(0);
            let same = |a: &&Area| {
                let is = match a.unique.min(unique) {
                    0 => *a.dir == *dir,
                    _ => a.unique == unique,
                };
                a.mount == mount.id && a.dir.get(..8) == dir.get(..8) && is
            };
            let known = known.iter().find(same);
            way.areas.push(Area {
                fresh: known.is_none_or(|a| a.fresh),
                top: dir.len(),
                dir: dir.into(),
                below: rest.into(),
                mount: mount.id,
                parent: mount.parent,
                unique,
                ..Area::default()
            });
        }
        self.find_points(way);
    }

    /// The directories that areas are mounted on. What is below another mount all the time
    /// is not known: what is on it is taken to be on what that is on.
    fn find_points(&self, way: &mut Way) {
        for at in 1..way.areas.len() {
            let found = way.areas.get(at).and_then(|area| {
                let known = |mount: u64| way.areas.iter().find(|a| a.mount == mount);
                let mut on = self.mounts.get(area.parent)?;
                while known(on.id).is_none() {
                    on = self.mounts.get(on.parent).filter(|next| next.id != on.id)?;
                }
                let inside = on.inside(&self.mounts.get(area.mount)?.point)?;
                Some((on.id, [known(on.id)?.dir.get(..8)?, &inside].concat()))
            });
            if let Some(area) = way.areas.get_mut(at) {
                let (parent, point) = found.unwrap_or((area.parent, Vec::new()));
                (area.parent, area.point) = (parent, point.into());
            }
        }
    }

    /// Roots to which the directory `name` is something.
    pub(super) fn users(&self, dir: NodeId, name: &[u8]) -> Vec<RootId> {
        let Some(path) = self.tree.path(dir) else {
            return Vec::new();
        };
        let steps = self.roots.here(&path).and_then(|h| h.names.get(name));
        let steps = steps.into_iter().flatten().map(|(id, _)| *id);
        let itself = self.reach_at(dir, name);
        let mut ids: Vec<_> = itself.hits.iter().map(|h| h.root).chain(steps).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The directory at `path` was renamed or removed: mounts go with it, and those that
    /// show it show it still.
    pub(super) fn carry(&mut self, path: &[u8], gone: &Gone<'_>, users: &[RootId]) {
        for &id in users {
            let Some(root) = self.roots.get(id).filter(|r| r.way.has_mounts()) else {
                continue;
            };
            let mut way = root.way.clone();
            way.carry(path, gone);
            if way != root.way {
                way.complete_steps();
                self.roots.settle(id, way);
                self.tree.touch();
                // What became of it the table of mounts says.
                self.carried = true;
            }
        }
    }
}

impl Way {
    /// True where a rename may change more than whether the path leads anywhere.
    fn has_mounts(&self) -> bool {
        let part = self.areas.iter().any(|a| a.top > 8) || self.steps.iter().any(|s| s.top > 8);
        part || self.areas.len() > 1
    }

    /// The names by which a mounted part of a file system is in it, and those of the
    /// directory that it is mounted on, may change, too.
    pub(super) fn complete_steps(&mut self) {
        self.steps.retain(|s| !s.inner);
        let mut more = Vec::new();
        for path in self.areas.iter().flat_map(|area| [&area.dir, &area.point]) {
            for at in (8..path.len()).filter(|&at| path.get(at) == Some(&b'/')) {
                let dir: Box<[u8]> = path.get(..at).unwrap_or_default().into();
                let name = path.get(at + 1..).unwrap_or_default();
                let name = name.split(|&b| b == b'/').next().unwrap_or_default();
                let known = |s: &Step| s.dir == dir && *s.name == *name;
                if !self.steps.iter().chain(&more).any(known) {
                    more.push(Step {
                        top: dir.len(),
                        dir,
                        name: name.into(),
                        link: false,
                        last: false,
                        inner: true,
                    });
                }
            }
        }
        self.steps.extend(more);
    }

    /// As [`Fanotify::carry`].
    fn carry(&mut self, path: &[u8], gone: &Gone<'_>) {
        for step in self.steps.iter_mut().filter(|s| !s.inner) {
            step.top = replace(&mut step.dir, step.top, path, gone);
        }
        for area in &mut self.areas {
            area.top = replace(&mut area.dir, area.top, path, gone);
            if !area.point.is_empty() {
                let all = area.point.len();
                replace(&mut area.point, all, path, gone);
            }
        }
        // A mount may be on another one, in any order.
        for _ in 1..self.areas.len() {
            for at in 1..self.areas.len() {
                self.carry_below(at);
            }
        }
    }

    /// Where the area at `at` is now, by the one that it is on.
    fn carry_below(&mut self, at: usize) {
        let Some(area) = self.areas.get(at).filter(|a| !a.point.is_empty()) else {
            return;
        };
        let mut all = self.areas.iter();
        let on = all.find(|a| a.mount == area.parent && within(&area.point, &a.dir));
        // One over it hides it, and is on it.
        let below = on
            .filter(|on| !on.hidden || !on.point.is_empty())
            .map(|on| {
                let rest = area.point.get(on.dir.len()..).unwrap_or_default();
                join(&on.below, rest.strip_prefix(b"/").unwrap_or(rest))
            });
        if let Some(area) = self.areas.get_mut(at) {
            match below {
                Some(below) => area.below = below.into(),
                None => area.hidden = true,
            }
        }
    }
}

/// A path of a file system, `top` bytes of which are what a mount shows, after what
/// happened to the directory `path`. Gives how much of it the mount shows then.
fn replace(dir: &mut Box<[u8]>, top: usize, path: &[u8], gone: &Gone<'_>) -> usize {
    let (shown, rest) = dir.split_at(top.min(dir.len()));
    let moved = |from: &[u8], to: &[u8]| {
        within(shown, from).then(|| [to, shown.get(from.len()..).unwrap_or_default()].concat())
    };
    let new = match gone {
        Gone::To(to) => moved(path, to),
        Gone::Exchanged(other) => moved(path, other).or_else(|| moved(other, path)),
        Gone::Away => {
            within(shown, path).then(|| [shown.get(..8).unwrap_or_default(), NOWHERE].concat())
        }
        Gone::Removed => within(shown, path).then(|| [shown, DELETED].concat()),
    };
    let Some(mut new) = new else { return top };
    let top = new.len();
    new.extend_from_slice(rest);
    *dir = new.into();
    top
}

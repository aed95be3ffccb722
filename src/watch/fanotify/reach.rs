//! What a directory is to the roots: which of them have it in their trees, and how
//! they call it. Worked out from its path, and kept at its node.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

use super::Fanotify;
use super::root::{Here, Root, RootId};
use super::tree::NodeId;

/// What one root has in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub root: RootId,
    /// Which of its areas the directory is in.
    pub area: usize,
    /// `$@` of what happens in it.
    pub watch: OsString,
    /// Events in it are told; else it is on the way to what a pattern matches.
    pub served: bool,
    /// The root's own path, or what a pattern matches.
    pub top: bool,
    /// Levels below the path.
    pub depth: u32,
}

/// All of it.
#[derive(Default)]
pub(super) struct Reach {
    pub hits: Vec<Hit>,
    pub here: Option<Rc<Here>>,
}

impl Reach {
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty() && self.here.is_none()
    }

    pub fn of(&self, root: RootId) -> Option<&Hit> {
        self.hits.iter().find(|h| h.root == root)
    }

    pub fn serves(&self, root: RootId) -> bool {
        self.of(root).is_some_and(|h| h.served)
    }
}

/// `a` and `b` with a slash between them where both are something.
pub(super) fn join(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut path = a.to_vec();
    if !a.is_empty() && !b.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(b);
    path
}

/// True where `path` is `top` or below it.
pub(super) fn within(path: &[u8], top: &[u8]) -> bool {
    match path.strip_prefix(top) {
        Some(rest) => top.is_empty() || rest.is_empty() || rest.first() == Some(&b'/'),
        None => false,
    }
}

impl Root {
    /// What the root has in the directory that is `rest` below one of its areas.
    pub(super) fn hit(&self, id: RootId, at: usize, rest: &[u8]) -> Option<Hit> {
        let area = self.way.areas.get(at).filter(|a| !a.hidden)?;
        let below = join(&area.below, rest);
        let covers = |b: &[u8]| b.len() > area.below.len() && within(&below, b);
        let mut others = self.way.areas.iter().filter(|a| !a.hidden);
        if others.any(|other| covers(&other.below)) {
            return None; // something is mounted over it
        }
        let mut watch = self.route.to_vec();
        let slash = watch.last() == Some(&b'/');
        if !below.is_empty() {
            if !slash {
                watch.push(b'/');
            }
            watch.extend_from_slice(&below);
            if slash {
                watch.push(b'/');
            }
        }
        let (served, top, depth) = match self.pattern {
            Some(_) => self.standing(&watch)?,
            None => {
                let depth = self.enters(&below)?;
                (true, below.is_empty(), depth)
            }
        };
        Some(Hit {
            root: id,
            area: at,
            watch: OsString::from_vec(watch),
            served,
            top,
            depth,
        })
    }

    /// How deep the directory `below` the path is; None where it is not entered.
    fn enters(&self, below: &[u8]) -> Option<u32> {
        let mut depth = 0;
        for (at, name) in components(below) {
            depth += 1;
            let end = at + name.len();
            let excluded = self.excluded.as_ref();
            let prunes = excluded.is_some_and(|e| e.prunes(below.get(..end).unwrap_or_default()));
            if !self.enters_name(name, depth) || prunes {
                return None;
            }
        }
        Some(depth)
    }

    fn enters_name(&self, name: &[u8], depth: u32) -> bool {
        self.key.recursive
            && (self.key.dotdirs || name.first() != Some(&b'.'))
            && self.key.depth.is_none_or(|max| depth <= max)
    }

    /// What the directory `path` is to a pattern: served, itself a match, how deep
    /// in one.
    fn standing(&self, path: &[u8]) -> Option<(bool, bool, u32)> {
        let pattern = self.pattern.as_ref()?;
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let start = self.route.strip_suffix(b"/").unwrap_or(&self.route).len();
        let mut inside: Option<u32> = None;
        let mut state = None;
        let rest = path.get(start..).unwrap_or_default();
        let ends = components(rest).map(|(at, name)| (start + at + name.len(), Some(name)));
        for (end, name) in std::iter::once((start, None)).chain(ends) {
            let whole = path.get(..end).unwrap_or_default();
            inside = match (inside, name) {
                (Some(depth), Some(name)) if self.enters_name(name, depth + 1) => Some(depth + 1),
                _ => None,
            };
            let top = inside.is_none() && pattern.matches(whole);
            if top {
                inside = Some(0);
            }
            let on_way = pattern.could_contain(whole);
            if inside.is_none() && !on_way {
                return None;
            }
            state = Some((inside.is_some(), top, inside.unwrap_or(0)));
        }
        state
    }
}

/// The names of a path and where they begin.
fn components(path: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    path.split(|&b| b == b'/').filter_map(move |name| {
        let start = at;
        at += name.len() + 1;
        (!name.is_empty()).then_some((start, name))
    })
}

impl Fanotify {
    /// What the directory at `path` (number of its file system, path there) is.
    pub(super) fn reach_of(&self, path: &[u8]) -> Reach {
        let mut reach = Reach {
            hits: Vec::new(),
            here: self.roots.here(path).cloned(),
        };
        let ends = (8..path.len()).filter(|&at| path.get(at) == Some(&b'/'));
        for end in ends.chain([path.len()]) {
            let Some(here) = path.get(..end).and_then(|dir| self.roots.here(dir)) else {
                continue;
            };
            let rest = path.get(end..).unwrap_or_default();
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            for &(id, area) in &here.areas {
                let hit = self.roots.get(id).and_then(|r| r.hit(id, area, rest));
                reach.hits.extend(hit);
            }
        }
        reach
    }

    /// What the directory `id` is.
    pub(super) fn reach(&mut self, id: NodeId) -> Rc<Reach> {
        if let Some(reach) = self.tree.reach(id) {
            return reach;
        }
        let reach = match self.tree.path(id) {
            Some(path) => self.reach_of(&path),
            None => Reach::default(),
        };
        let reach = Rc::new(reach);
        self.tree.set_reach(id, Rc::clone(&reach));
        reach
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_is_by_whole_names() {
        assert!(within(b"a/b", b"a") && within(b"a", b"a") && within(b"a", b""));
        assert!(!within(b"ab", b"a") && !within(b"a", b"a/b"));
        let names: Vec<_> = components(b"/a//bc").collect();
        assert_eq!(names, [(1, &b"a"[..]), (4, b"bc")]);
    }
}

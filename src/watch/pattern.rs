//! Lines whose path is a pattern: one tree from the deepest directory without a
//! wildcard, of which only what may lead to a match is entered.
//!
//! A place in such a tree is on the way (`EXPLORE`), or inside a directory that
//! matches (`SERVED`, its top also `MATCH`), or both. A matching directory is served
//! as if its path had been written; a matching file is told by the directory in
//! which it lies, as a file line would be: `$@` is the path that matched.
//! A thing inside a matching directory that matches as well (`**`) is told once,
//! by the directory.

use super::found;
use super::inotify::Inotify;
use super::memory::Owner;
use super::parse::Raw;
use super::root::{Root, RootId};
use super::tell::{News, Place};
use super::tree::{EXPLORE, MATCH, NodeId, SERVED};
use super::{Problem, Report};
use crate::event::Origin;
use crate::table::Mask;

impl Inotify {
    /// What the directory `name` in `parent` is to its root; None: not entered.
    pub(super) fn entry(&self, root: RootId, parent: NodeId, name: &[u8]) -> Option<u8> {
        let r = self.roots.get(root)?;
        if r.pattern.is_none() {
            let depth = if r.key.depth.is_some() {
                self.tree.depth(parent) + 1
            } else {
                0
            };
            let entered = r.enters(name, depth) && !self.excludes(r, parent, name);
            return entered.then_some(SERVED);
        }
        let mut flags = self.standing(r, &self.path_of(r, parent, name));
        let above = self.tree.get(parent)?.flags;
        if above & SERVED != 0 && r.enters(name, self.depth_in_match(parent) + 1) {
            flags = flags & !MATCH | SERVED;
        }
        (flags != 0).then_some(flags)
    }

    /// True where the lines of `root` exclude all of the directory `name`.
    fn excludes(&self, root: &Root, parent: NodeId, name: &[u8]) -> bool {
        let Some(excluded) = &root.excluded else {
            return false;
        };
        let mut below = Vec::new();
        self.tree.path(parent, &mut below);
        if !below.is_empty() {
            below.push(b'/');
        }
        below.extend_from_slice(name);
        excluded.prunes(&below)
    }

    /// What the top of the tree of `root` is.
    pub(super) fn top_standing(&self, root: RootId) -> u8 {
        match self.roots.get(root) {
            Some(r) if r.pattern.is_some() => self.standing(r, &r.route),
            _ => SERVED,
        }
    }

    fn standing(&self, root: &Root, path: &[u8]) -> u8 {
        let Some(pattern) = &root.pattern else {
            return SERVED;
        };
        let on_way = if pattern.could_contain(path) {
            EXPLORE
        } else {
            0
        };
        let served = if pattern.matches(path) {
            SERVED | MATCH
        } else {
            0
        };
        on_way | served
    }

    fn depth_in_match(&self, mut id: NodeId) -> u32 {
        let mut depth = 0;
        while let Some(n) = self.tree.get(id).filter(|n| n.flags & MATCH == 0) {
            depth += 1;
            id = n.parent;
        }
        depth
    }

    /// The path of `name` in the directory `node`.
    fn path_of(&self, root: &Root, node: NodeId, name: &[u8]) -> Vec<u8> {
        let mut path = Place::Node(node)
            .path(root, &self.tree)
            .into_encoded_bytes();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// The path of `name` in `node` if it is not inside a match but one itself.
    pub(super) fn matched(&self, root: RootId, node: NodeId, name: &[u8]) -> Option<Vec<u8>> {
        let r = self.roots.get(root)?;
        let pattern = r.pattern.as_ref()?;
        if name.is_empty() || self.tree.get(node)?.flags & SERVED != 0 || pattern.directories_only()
        {
            return None;
        }
        let path = self.path_of(r, node, name);
        pattern.matches(&path).then_some(path)
    }

    /// An event of a file whose path matches.
    pub(super) fn tell_match(&mut self, id: NodeId, raw: &Raw<'_>, out: &mut Vec<Report>) {
        let Some(root) = self.tree.get(id).map(|n| n.root) else {
            return;
        };
        let Some(path) = self.matched(root, id, raw.name) else {
            return;
        };
        if raw.mask.intersects(Mask::ISDIR) || self.seen.is_own(raw, self.position) {
            return;
        }
        let finish = Mask::CLOSE_WRITE | Mask::MOVED_TO | Mask::CREATE;
        let asks = self
            .roots
            .get(root)
            .is_some_and(|r| r.asked.intersects(Mask::COMPLETE));
        let complete = asks && raw.mask.intersects(finish) && self.is_complete(id, raw);
        let owner = Owner::Node(id);
        let news = News {
            place: Place::Path(&path),
            name: b"",
            owner: (owner, raw.name),
            kind: Mask(0),
            origin: Origin::Kernel,
            old_path: self.old_path(root, raw),
            known: self.seen.known(owner, raw.name, self.position),
        };
        let choose =
            |line: &super::root::Line| found::for_file(line.mask, raw.mask, complete, false);
        self.tell(root, &news, choose, out);
        if raw.mask.intersects(Mask::DELETE | Mask::MOVED_FROM) {
            self.seen.forget(owner, raw.name);
        }
    }

    /// The pattern of a root stands for more than can be served.
    pub(super) fn tell_bad_pattern(&self, root: RootId, out: &mut Vec<Report>) {
        let Some(r) = self
            .roots
            .get(root)
            .filter(|r| r.key.path.pattern && r.pattern.is_none())
        else {
            return;
        };
        let path = String::from_utf8_lossy(r.written()).into_owned();
        for line in &r.lines {
            let message = format!("{path}: not watched: its braces stand for too many patterns");
            out.push(Report::Problem(
                line.id,
                Problem {
                    message,
                    serious: true,
                },
            ));
        }
    }
}

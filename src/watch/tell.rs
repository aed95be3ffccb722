//! Telling lines: which of them an event concerns, under which path, and what
//! they know already.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::rc::Rc;

use super::Report;
use super::found::{self, Thing};
use super::inotify::Inotify;
use super::kernel::NO_GUARD;
use super::memory::Owner;
use super::parse::Raw;
use super::root::{Line, Root, RootId, TWICE};
use super::tree::{MATCH, MOUNT, NodeId, SERVED, Tree};
use crate::event::{Event, LineId, Origin, next_seq};
use crate::table::Mask;

/// Where an event is told to have happened: `$@`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// A directory of a tree.
    Node(NodeId),
    /// The path of the root as written.
    Root,
    /// A path that matched a pattern.
    Path(&'a [u8]),
}

impl Place<'_> {
    /// `$@`: the path as written, and below it the directory; with a slash at
    /// the end where the written path has one, so that `$@$#` is a path.
    pub fn path(self, root: &Root, tree: &Tree) -> OsString {
        let written = &*root.route;
        let Place::Node(id) = self else {
            return match self {
                Place::Path(path) => OsStr::from_bytes(path).to_owned(),
                _ => OsStr::from_bytes(written).to_owned(),
            };
        };
        let mut path = written.to_vec();
        let slash = path.last() == Some(&b'/');
        let before = path.len();
        if !slash {
            path.push(b'/');
        }
        let start = path.len();
        tree.path(id, &mut path);
        if path.len() == start {
            path.truncate(before);
        } else if slash {
            path.push(b'/');
        }
        OsString::from_vec(path)
    }
}

/// One thing to be told.
pub(super) struct News<'a> {
    pub place: Place<'a>,
    pub name: &'a [u8],
    /// Under what it is remembered that this was told.
    pub owner: (Owner, &'a [u8]),
    /// `ISDIR` or nothing.
    pub kind: Mask,
    pub origin: Origin,
    pub old_path: Option<PathBuf>,
    /// What a scan has already told of it.
    pub known: Option<Thing>,
}

/// What each line of a root is about to be told, and those that are told the same.
#[derive(Default)]
pub(super) struct Telling {
    chosen: Vec<(Mask, LineId)>,
    together: Vec<LineId>,
}

impl Inotify {
    /// Tells the lines of `root` what `choose` makes of what each asks for: one event
    /// to all that hear the same.
    pub(super) fn tell(
        &mut self,
        root: RootId,
        news: &News<'_>,
        choose: impl Fn(&Line) -> Mask,
        out: &mut Vec<Report>,
    ) {
        let Some(r) = self.roots.get_mut(root) else {
            return;
        };
        let Telling { chosen, together } = &mut self.telling;
        chosen.clear();
        for line in r.lines.iter_mut().filter(|line| !line.spent) {
            let bits = choose(line);
            let told_before = news
                .known
                .is_some_and(|t| found::covers(found::due(line.mask, t), bits));
            if !bits.is_empty() && !told_before {
                chosen.push((bits | news.kind, line.id));
                line.spent = line.mask.intersects(Mask::ONESHOT);
            }
        }
        while let Some(&(mask, _)) = chosen.first() {
            together.clear();
            chosen.retain(|(other, line)| {
                let same = *other == mask;
                if same {
                    together.push(*line);
                }
                !same
            });
            let event = Rc::new(Event {
                seq: next_seq(),
                mask,
                watch: news.place.path(r, &self.tree),
                name: OsStr::from_bytes(news.name).to_owned(),
                old_path: news.old_path.clone(),
                time: self.time,
                origin: news.origin,
                actor: None,
                labels: None,
            });
            let lines = r.list(together);
            self.told.insert(news.owner.0, news.owner.1, &lines, mask);
            out.push(Report::Event(lines, event));
        }
    }

    /// An event of a directory of a tree, or of a name in it.
    pub(super) fn tell_place(&mut self, id: NodeId, raw: &Raw<'_>, out: &mut Vec<Report>) {
        let Some(node) = self.tree.get(id) else {
            return;
        };
        let first = self.kernel.get(raw.wd).map_or(id, |w| w.nodes);
        let alone = first == id && node.twin == NodeId::NONE;
        if !alone && self.is_hidden(id) && self.is_seen(first) {
            return; // told where it is seen
        }
        if node.flags & SERVED == 0 {
            return self.tell_match(id, raw, out);
        }
        let spoken_for = node.parent != NodeId::NONE && node.flags & (MOUNT | MATCH) == 0;
        let (root, below) = (node.root, spoken_for);
        let Some(r) = self.roots.get(root) else {
            return;
        };
        let mut bits = raw.mask & (Mask::ALL_EVENTS | Mask::UNMOUNT);
        let itself = raw.name.is_empty();
        // The parent's watch tells these, with the name; an unmount is one event.
        if itself && below && bits.intersects(TWICE | Mask::UNMOUNT) {
            return;
        }
        let asked = r.asked;
        let file = !itself && !raw.mask.intersects(Mask::ISDIR);
        let finish = Mask::CLOSE_WRITE | Mask::MOVED_TO | Mask::CREATE;
        let completes = asked.intersects(Mask::COMPLETE) && file && bits.intersects(finish);
        if !completes && !asked.intersects(bits) {
            return;
        }
        if completes && self.is_complete(id, raw) {
            bits |= Mask::COMPLETE;
        }
        let owner = Owner::Node(id);
        let news = News {
            place: Place::Node(id),
            name: raw.name,
            owner: (owner, raw.name),
            kind: raw.mask & Mask::ISDIR,
            origin: Origin::Kernel,
            old_path: self.old_path(root, raw),
            known: self.seen.known(owner, raw.name, self.position),
        };
        let back =
            news.known.is_some_and(|t| t.gone) && bits.intersects(Mask::CREATE | Mask::MOVED_TO);
        self.tell(root, &news, |line| line.mask & bits, out);
        if back || bits.intersects(Mask::DELETE | Mask::MOVED_FROM) {
            self.seen.forget(owner, raw.name);
        }
    }

    /// The old path of a rename whose first half was seen.
    pub(super) fn old_path(&self, root: RootId, raw: &Raw<'_>) -> Option<PathBuf> {
        if !raw.mask.intersects(Mask::MOVED_TO) {
            return None;
        }
        self.cookies.old_path(raw.cookie, root)
    }

    /// Keeps the first half of a rename under each path that a line knows it by.
    pub(super) fn remember_cookie(&mut self, first: NodeId, guard: u32, raw: &Raw<'_>) {
        let mut from = Vec::new();
        let mut at = first;
        while let Some(node) = self.tree.get(at) {
            if let Some(root) = self.roots.get(node.root) {
                let dir = Place::Node(at).path(root, &self.tree);
                from.push((
                    node.root,
                    PathBuf::from(dir).join(OsStr::from_bytes(raw.name)),
                ));
            }
            at = node.twin;
        }
        if guard != NO_GUARD
            && let Some(dir) = self.guards.path(guard)
        {
            let path = PathBuf::from(OsStr::from_bytes(dir)).join(OsStr::from_bytes(raw.name));
            from.push((RootId(u32::MAX), path));
        }
        if !from.is_empty() {
            self.cookies.insert(raw.cookie, from);
        }
    }
}

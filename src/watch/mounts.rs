//! File systems that are mounted over watched paths, and unmounted from them.
//!
//! inotify sees inodes, not paths: a mount hides a watched directory without a
//! word. /proc/self/mountinfo becomes readable (POLLPRI) when the table changes.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};

use super::Report;
use super::found::How;
use super::inotify::Inotify;
use super::look::with_nul;
use super::root::RootId;
use super::scan::path_flags;
use super::tree::{LIMBO, MOUNT, NodeId};
use crate::sys::inotify as sys;

/// The table of mounts, as last read.
pub(super) struct Mounts {
    file: Option<File>,
    /// Sorted.
    table: Vec<Mount>,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mount {
    number: u32,
    place: Vec<u8>,
    /// `major:minor` of its file system.
    device: Vec<u8>,
}

/// A place where something was mounted or unmounted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    place: Vec<u8>,
    /// What was unmounted there is still mounted elsewhere: its watches do not end.
    lives_on: bool,
}

impl Mounts {
    pub fn new() -> Self {
        let mut mounts = Self {
            file: File::open("/proc/self/mountinfo").ok(),
            table: Vec::new(),
        };
        mounts.table = mounts.read();
        mounts
    }

    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    fn read(&mut self) -> Vec<Mount> {
        let Some(file) = &mut self.file else {
            return Vec::new();
        };
        let mut text = Vec::new();
        if file.rewind().is_err() || file.read_to_end(&mut text).is_err() {
            return Vec::new();
        }
        let mut table: Vec<_> = text.split(|&b| b == b'\n').filter_map(parse).collect();
        table.sort();
        table
    }

    /// What was mounted or unmounted since the last call.
    fn changes(&mut self) -> Vec<Change> {
        let now = self.read();
        let old = std::mem::replace(&mut self.table, now);
        let mounted = |device: &[u8]| self.table.iter().any(|m| m.device == device);
        let gone = old.iter().filter(|m| self.table.binary_search(m).is_err());
        let gone = gone.map(|m| (&m.place, mounted(&m.device)));
        let new = self.table.iter().filter(|m| old.binary_search(m).is_err());
        let new = new.map(|m| (&m.place, false));
        let changes = gone.chain(new).map(|(place, lives_on)| Change {
            place: place.clone(),
            lives_on,
        });
        let mut changes: Vec<_> = changes.collect();
        // What is mounted below may be hidden by it, or uncovered.
        let below = |place: &[u8]| {
            let within = |change: &Change| under(place, &change.place);
            changes
                .iter()
                .filter_map(within)
                .any(|rest| !rest.is_empty())
        };
        let below = self.table.iter().filter(|mount| below(&mount.place));
        let below: Vec<_> = below.map(|mount| mount.place.clone()).collect();
        changes.extend(below.into_iter().map(|place| Change {
            place,
            lives_on: false,
        }));
        changes.sort();
        // One for each place, and that something lives on there outweighs the rest.
        changes.reverse();
        changes.dedup_by(|a, b| a.place == b.place);
        changes.reverse();
        changes
    }

    /// Places of mounts below `path`.
    fn below(&self, path: &[u8]) -> impl Iterator<Item = &[u8]> {
        self.table
            .iter()
            .filter_map(move |mount| under(&mount.place, path))
            .filter(|rest| !rest.is_empty())
    }
}

/// A line of mountinfo (proc(5)).
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let number = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = fields.nth(1)?.to_vec();
    let place = unescape(fields.nth(1)?);
    Some(Mount {
        number,
        place,
        device,
    })
}

/// `\040` and its like are bytes.
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| first == b'\\');
        let byte = code
            .and_then(|c| std::str::from_utf8(c).ok())
            .and_then(|c| u8::from_str_radix(c, 8).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

/// What follows `path` in `place`, if `place` is `path` or below it.
pub(super) fn under<'a>(place: &'a [u8], path: &[u8]) -> Option<&'a [u8]> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let rest = place.strip_prefix(path)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix(b"/")
    }
}

impl Inotify {
    /// The table of mounts has changed.
    pub(super) fn mounts_moved(&mut self, out: &mut Vec<Report>) {
        // A device's number may be another file system's now.
        self.fine.clear();
        for Change { place, lives_on } in self.mounts.changes() {
            for id in self.roots.ids() {
                let Some(root) = self.roots.get(id) else {
                    continue;
                };
                let on_way =
                    under(&root.real, &place).is_some() || under(&root.route, &place).is_some();
                if on_way {
                    self.stale.push((id, How::Moved));
                } else if let (Some(rest), Some(top)) = (under(&place, &root.real), root.top()) {
                    let rest = rest.to_vec();
                    self.mount_inside(id, top, (&rest, lives_on), out);
                }
            }
        }
        self.refresh(out);
        self.dirty.append(&mut self.covered);
    }

    /// Something was mounted or unmounted below the top of a tree; `lives_on`: what was
    /// unmounted is not at its end.
    fn mount_inside(
        &mut self,
        root: RootId,
        top: NodeId,
        (rest, lives_on): (&[u8], bool),
        out: &mut Vec<Report>,
    ) {
        let (parents, name) = match rest.iter().rposition(|&b| b == b'/') {
            Some(at) => (
                rest.get(..at).unwrap_or_default(),
                rest.get(at + 1..).unwrap_or_default(),
            ),
            None => (&b""[..], rest),
        };
        let Some(parent) = self.node_at(top, parents) else {
            return;
        };
        if lives_on && let Some(old) = self.tree.find(parent, name) {
            self.drop_unmounted(old);
        }
        self.mounting = self.is_mount(parent, name);
        self.enter(root, parent, name, How::Moved, out);
        self.mounting = false;
        self.flag_mounts(root);
    }

    fn is_mount(&mut self, parent: NodeId, name: &[u8]) -> bool {
        let Ok(dir) = self.open_node(parent, path_flags()) else {
            return false;
        };
        with_nul(name, |name| sys::stat(dir.as_fd(), name)).is_ok_and(|stat| stat.mount_root)
    }

    /// A bind mount leaves without a word: the kernel watches what it showed as before,
    /// and would go on to tell of it under a path that does not lead there.
    fn drop_unmounted(&mut self, id: NodeId) {
        let mounted = self.tree.get(id).is_some_and(|n| n.flags & MOUNT != 0);
        if mounted && !self.still_there(id) {
            self.drop_subtree(id);
        }
    }

    /// True for a place that is below a mount by now.
    pub(super) fn is_hidden(&self, id: NodeId) -> bool {
        let mut at = id;
        while let Some(node) = self.tree.get(at) {
            if node.flags & LIMBO != 0
                && let Some(over) = self.tree.find(node.parent, &node.name)
                && self.tree.get(over).is_some_and(|n| n.flags & MOUNT != 0)
            {
                return true;
            }
            at = node.parent;
        }
        false
    }

    /// True where a place of that inode, of which `first` is one, is in sight.
    pub(super) fn is_seen(&self, first: NodeId) -> bool {
        self.places(first).iter().any(|&id| !self.is_hidden(id))
    }

    fn node_at(&self, top: NodeId, path: &[u8]) -> Option<NodeId> {
        let mut names = path.split(|&b| b == b'/').filter(|n| !n.is_empty());
        names.try_fold(top, |node, name| self.tree.find(node, name))
    }

    /// Marks the places that are roots of mounts: no parent speaks for them.
    pub(super) fn flag_mounts(&mut self, id: RootId) {
        let Some(root) = self.roots.get(id) else {
            return;
        };
        let Some(top) = root.top() else { return };
        let places: Vec<_> = self
            .mounts
            .below(&root.real)
            .filter_map(|rest| self.node_at(top, rest))
            .collect();
        for place in places {
            self.flag(place, MOUNT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read_with_its_escapes() {
        let line = b"36 35 98:0 /mnt1 /mnt\\0402\\134x rw,noatime master:1 - ext3 /dev/root rw";
        let mount = Mount {
            number: 36,
            place: b"/mnt 2\\x".to_vec(),
            device: b"98:0".to_vec(),
        };
        assert_eq!(parse(line), Some(mount));
        assert_eq!(parse(b""), None);
        assert_eq!(unescape(b"\\9\\"), b"\\9\\");
    }

    #[test]
    fn a_place_is_under_whole_components_only() {
        assert_eq!(under(b"/a/b/c", b"/a/b"), Some(&b"c"[..]));
        assert_eq!(under(b"/a/b", b"/"), Some(&b"a/b"[..]));
        assert_eq!(under(b"/a/b", b"/a/b/"), Some(&b""[..]));
        assert_eq!(under(b"/a/bc", b"/a/b"), None);
    }
}

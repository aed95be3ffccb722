//! Looking at what a scan found, as closely as its lines need it, and telling them.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::SystemTime;

use nix::fcntl::openat;
use nix::sys::stat::Mode;

use super::Report;
use super::found::{self, How, Thing};
use super::inotify::Inotify;
use super::memory::Owner;
use super::parse;
use super::root::{Line, RootId};
use super::scan::path_flags;
use super::tell::{News, Place};
use super::tree::{NodeId, SERVED};
use super::words::Words;
use crate::event::Origin;
use crate::sys::inotify::{self as sys, Stamp, Stat};
use crate::table::Mask;

/// Looks at a file that is written again and again.
const MOST_LOOKS: u32 = 8;

impl Inotify {
    /// A scan has found `name` in the directory `node`, open as `dir`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn find(
        &mut self,
        root: RootId,
        node: NodeId,
        dir: BorrowedFd<'_>,
        (name, kind): (&[u8], u32),
        (how, arrived): (How, Option<bool>),
        found: &mut Vec<(Owner, Box<[u8]>, Thing)>,
        out: &mut Vec<Report>,
    ) {
        let wd = self.tree.get(node).map_or(-1, |n| n.wd);
        let Some(thing) = self.look(root, wd, dir, (name, kind), (how, arrived)) else {
            return;
        };
        let owner = (Owner::Node(node), name);
        let served = self.tree.get(node).is_some_and(|n| n.flags & SERVED != 0);
        if served {
            self.tell_found(root, (Place::Node(node), name), owner, thing, how, out);
        } else if let Some(path) = self.matched(root, node, name).filter(|_| !thing.dir) {
            self.tell_found(root, (Place::Path(&path), b""), owner, thing, how, out);
        } else {
            return;
        }
        found.push((Owner::Node(node), name.into(), thing));
    }

    /// Looks at a thing as closely as the lines of `root` need it.
    pub(super) fn look(
        &mut self,
        root: RootId,
        wd: i32,
        dir: BorrowedFd<'_>,
        (name, kind): (&[u8], u32),
        (how, arrived): (How, Option<bool>),
    ) -> Option<Thing> {
        let asked = self.roots.get(root)?.asked;
        let content = Mask::MODIFY | Mask::CLOSE_WRITE | Mask::COMPLETE;
        let closes = kind == libc::S_IFREG && asked.intersects(Mask::CLOSE_WRITE | Mask::COMPLETE);
        let needs = how.again() || kind == libc::S_IFREG && asked.intersects(content);
        let stat = if needs {
            with_nul(name, |n| sys::stat(dir, n)).ok()
        } else {
            None
        };
        if needs && stat.is_none() {
            return None; // gone again: the queue tells
        }
        let exact = stat.as_ref().is_some_and(|s| self.shows(dir, s, s.changed));
        let changed = Thing::new(kind, stat.as_ref(), arrived, how);
        let unclosed = self.unclosed.take(wd, name) && kind == libc::S_IFREG && how.again();
        let thing = match changed.filter(|t| t.written || !unclosed) {
            Some(thing) => thing,
            None if unclosed => Thing::closing(stat.as_ref()?),
            None => return None,
        };
        let thing = Thing { exact, ..thing };
        if !closes || !(thing.written || thing.moved) {
            return Some(thing);
        }
        if self.hears_reading(wd) {
            self.seen.expect_own(wd, name);
        }
        let mut thing = thing;
        for _ in 0..MOST_LOOKS {
            thing.open = is_open_for_writing(dir, name);
            if thing.open || !exact {
                break;
            }
            // Written and closed between the two looks: as if the first came now.
            match with_nul(name, |n| sys::stat(dir, n)) {
                Ok(now) if now.changed != thing.changed => {
                    thing.changed = now.changed;
                    thing.nonempty = now.size > 0;
                }
                _ => break,
            }
        }
        if thing.open {
            self.unclosed.insert(wd, name);
            self.closing.insert(wd, name, (false, None), self.retry.now);
        }
        Some(thing)
    }

    /// True where any change after this look at `stat`, of something in `dir`, gives it
    /// another stamp than `stamp`.
    pub(super) fn shows(&mut self, dir: BorrowedFd<'_>, stat: &Stat, stamp: Stamp) -> bool {
        let clock = self.told.since.filter(|s| *s != Stamp::NEVER);
        if stamp < clock.unwrap_or(self.drained) {
            return true;
        }
        // What is mounted over a name is on another file system than `dir`.
        !stat.mount_root
            && *self
                .fine
                .entry(stat.device)
                .or_insert_with(|| sys::keeps_fine_stamps(dir))
    }

    /// Tells the lines of `root` of a thing that was found.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn tell_found(
        &mut self,
        root: RootId,
        (place, name): (Place<'_>, &[u8]),
        owner: (Owner, &[u8]),
        thing: Thing,
        how: How,
        out: &mut Vec<Report>,
    ) {
        let Some(r) = self.roots.get(root) else {
            return;
        };
        let due = found::due(r.asked, thing);
        let mut any = Mask(0);
        for line in &r.lines {
            any |= found::due(line.mask, thing);
        }
        if (due | any).is_empty() {
            return;
        }
        // It may have changed after the events at hand were read.
        self.time = SystemTime::now();
        let origin = if how.again() {
            Origin::Rescan
        } else {
            Origin::Scan
        };
        let kind = if thing.dir { Mask::ISDIR } else { Mask(0) };
        let again = origin == Origin::Rescan;
        let told = match again {
            true => self.told_before.of(owner.0, owner.1),
            false => Words::default(),
        };
        // What has not changed since it was told is older than that, whatever its stamps.
        let state = match again && self.told_before.unchanged(owner.0, owner.1, thing) {
            true => thing.of_old(),
            false => thing,
        };
        if again {
            self.told.saw(owner.0, owner.1, thing);
        }
        for bit in found::ORDER.into_iter().filter(|&b| any.intersects(b)) {
            let news = News {
                place,
                name,
                owner,
                kind,
                origin,
                old_path: None,
                known: None,
            };
            let choose = |line: &Line| {
                let due = found::due(line.mask, thing);
                found::step(told.left(line.id, due, state), bit, thing)
            };
            self.tell(root, &news, choose, out);
        }
    }
}

/// Calls `f` with `name` ended by NUL.
pub(super) fn with_nul<T>(name: &[u8], f: impl FnOnce(&CStr) -> io::Result<T>) -> io::Result<T> {
    let mut buffer = [0u8; 256];
    let room = buffer.get_mut(..name.len()).filter(|_| name.len() < 256);
    room.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?
        .copy_from_slice(name);
    f(CStr::from_bytes_until_nul(&buffer).map_err(io::Error::other)?)
}

/// The file type bits of an entry, asked of the file system where it did not say.
pub(super) fn kind_of(dir: BorrowedFd<'_>, entry: parse::Entry<'_>) -> u32 {
    match entry.kind {
        libc::DT_UNKNOWN => with_nul(entry.name, |n| sys::stat(dir, n)).map_or(0, |s| s.kind()),
        kind => u32::from(kind) << 12,
    }
}

/// True where somebody is known to have `name` open for writing. Opens it: by a
/// path descriptor first, so that nothing but a regular file is ever opened.
pub(super) fn is_open_for_writing(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    let look = || -> io::Result<Option<bool>> {
        let path = openat(dir, name, path_flags(), Mode::empty())?;
        if sys::stat(path.as_fd(), c"")?.kind() != libc::S_IFREG {
            return Ok(None);
        }
        let file = sys::reopen(path.as_fd())?;
        Ok(sys::written_by_others(file.as_fd()))
    };
    look().ok().flatten().unwrap_or(false)
}

//! What an event of a file's name means beyond its bits: whether the file is
//! complete, was linked in, or has only changed places with another.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::inotify::Inotify;
use super::look::with_nul;
use super::parse::Raw;
use super::root::{RootId, State};
use super::scan::path_flags;
use super::tree::NodeId;
use crate::sys::inotify as sys;
use crate::table::Mask;

impl Inotify {
    /// Whether a file is complete, and whether it was linked in with content.
    pub(super) fn arrival(&mut self, root: RootId, raw: &Raw<'_>) -> (bool, bool) {
        let Some(r) = self.roots.get(root) else {
            return (false, false);
        };
        let writes = Mask::CLOSE_WRITE | Mask::MODIFY;
        let created =
            raw.mask.intersects(Mask::CREATE) && r.asked.intersects(writes | Mask::COMPLETE);
        let finish = Mask::CLOSE_WRITE | Mask::MOVED_TO | Mask::CREATE;
        let completes = r.asked.intersects(Mask::COMPLETE) && raw.mask.intersects(finish);
        if !created && !completes {
            return (false, false);
        }
        let Some(dir) = self.open_guard(raw.wd) else {
            return (false, false);
        };
        let complete = completes && self.completes(dir.as_fd(), raw);
        let stat = with_nul(raw.name, |n| sys::stat(dir.as_fd(), n));
        let filled = stat.is_ok_and(|s| s.kind() == libc::S_IFREG && s.links > 1 && s.size > 0);
        (complete, created && filled)
    }

    /// True for the second half of an exchange (renameat2(2)): the kernel tells it
    /// as two renames, next to each other, of which the second takes the old file
    /// away from a name that leads to the new one.
    pub(super) fn exchanged(&mut self, raw: &Raw<'_>) -> bool {
        if raw.mask.intersects(Mask::MOVED_TO) {
            self.arrived = Some((raw.wd, raw.cookie, raw.name.into()));
        }
        if !raw.mask.intersects(Mask::MOVED_FROM) {
            return false;
        }
        let second = self.arrived.as_ref().is_some_and(|(wd, cookie, name)| {
            *wd == raw.wd && cookie.wrapping_add(1) == raw.cookie && **name == *raw.name
        });
        let is = |dir: OwnedFd| with_nul(raw.name, |n| sys::stat(dir.as_fd(), n)).is_ok();
        second && self.open_watched(raw.wd).is_some_and(is)
    }

    /// Remembers when a file was written, to know whether it was again.
    pub(super) fn note_write(&mut self, root: RootId, raw: &Raw<'_>) {
        let dir = self.open_guard(raw.wd);
        let exact = dir.and_then(|dir| {
            let stat = with_nul(raw.name, |n| sys::stat(dir.as_fd(), n)).ok()?;
            self.exact(dir.as_fd(), &stat)
        });
        if let Some(State::File(file)) = self.roots.get_mut(root).map(|r| &mut r.state) {
            file.modified = exact;
        }
    }

    /// Our own opening of a watched file: its own watch tells of it once more.
    pub(super) fn echo_own(&mut self, at: u32, raw: &Raw<'_>) {
        let users: Vec<_> = self.guards.users(at, raw.name).collect();
        for root in users {
            if let Some(State::File(file)) = self.roots.get_mut(root).map(|r| &mut r.state)
                && file.full
            {
                file.echo |= raw.mask & Mask::ALL_EVENTS;
                self.echoes.push(root);
            }
        }
    }

    /// True where the event means that a file is all there: it was closed by
    /// its last writer, or came by a rename, or was linked in with content.
    pub(super) fn is_complete(&mut self, dir: NodeId, raw: &Raw<'_>) -> bool {
        let Ok(fd) = self.open_node(dir, path_flags()) else {
            return false;
        };
        self.completes(fd.as_fd(), raw)
    }

    /// As `is_complete`, in the directory itself.
    pub(super) fn completes(&mut self, dir: BorrowedFd<'_>, raw: &Raw<'_>) -> bool {
        let Ok(stat) = with_nul(raw.name, |n| sys::stat(dir, n)) else {
            return false;
        };
        let linked = stat.links > 1 && stat.size > 0;
        if stat.kind() != libc::S_IFREG || raw.mask.intersects(Mask::CREATE) && !linked {
            return false;
        }
        let open = self.is_open(raw.wd, dir, raw.name);
        if open {
            self.closing
                .insert(raw.wd, raw.name, (true, None), self.retry.now);
        } else {
            self.closing.take(&raw.wd, raw.name);
        }
        !open
    }
}

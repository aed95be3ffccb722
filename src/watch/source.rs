//! The source as its owner calls it.
//!
//! Directories are watched from inside (`Kernel::call`), so each call here ends where
//! it began: in the working directory of the process.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::SystemTime;

use super::found::How;
use super::inotify::{BUFFER, Inotify};
use super::root::{Key, Line, Root};
use super::{Report, Request, Source};
use crate::event::LineId;
use crate::time::Moment;

/// Bytes that are read of what comes after a change of the mounts before these are looked at.
const MOST_LATER: u64 = 8 * BUFFER as u64;

impl Source for Inotify {
    fn fd(&self) -> BorrowedFd<'_> {
        self.kernel.fd()
    }

    fn add(&mut self, request: Request, out: &mut Vec<Report>) {
        self.add_line(request, out);
        self.kernel.go_home();
    }

    fn remove(&mut self, line: LineId) {
        self.remove_line(line);
        self.kernel.go_home();
    }

    fn read(&mut self, now: Moment, out: &mut Vec<Report>) -> io::Result<bool> {
        let result = self.read_once(now, out);
        self.kernel.go_home();
        result
    }

    fn deadline(&self) -> Option<Moment> {
        if self.lingers {
            return Some(self.retry.now);
        }
        self.retry.at.into_iter().chain(self.closing.at()).min()
    }

    fn tick(&mut self, now: Moment, out: &mut Vec<Report>) {
        self.forget_rescan();
        self.time = SystemTime::now();
        self.look_at_closing(now, out);
        self.retry_lacks(now, out);
        self.kernel.go_home();
    }

    fn mounts(&self) -> Option<BorrowedFd<'_>> {
        self.mounts.fd()
    }

    fn mounts_changed(&mut self, now: Moment, out: &mut Vec<Report>) -> bool {
        // What happened before on a file system that is gone now waits in the queue. A
        // writer that never stops does not put the look at the mounts off for ever.
        let queued = || self.total + self.kernel.queued() + MOST_LATER;
        let until = *self.mounts_after.get_or_insert_with(queued);
        if matches!(self.read_once(now, out), Ok(true)) && self.total < until {
            self.kernel.go_home();
            return true;
        }
        self.mounts_after = None;
        self.time = SystemTime::now();
        self.mounts_moved(out);
        self.retry_deferred(out);
        self.tell_lacks(out);
        self.kernel.go_home();
        false
    }
}

impl Inotify {
    fn add_line(&mut self, request: Request, out: &mut Vec<Report>) {
        self.time = SystemTime::now();
        let key = Key::of(&request);
        let line = Line {
            id: request.line,
            mask: request.mask,
            spent: false,
        };
        if let Some(&id) = self.keys.get(&key) {
            let Some(root) = self.roots.get_mut(id) else {
                return;
            };
            let before = (root.tree_mask(), root.leaf_mask());
            root.serve(line);
            let grown = before != (root.tree_mask(), root.leaf_mask());
            self.lines.insert(request.line, id);
            if grown {
                self.ask_again(id, out);
                self.tell_lacks(out);
            }
            return;
        }
        let mut root = Root::new(key.clone());
        root.serve(line);
        let id = self.roots.insert(root);
        self.lines.insert(request.line, id);
        self.keys.insert(key, id);
        self.resolve(id, How::Known, out);
        self.refresh(out);
        self.retry_deferred(out);
        self.tell_lacks(out);
    }

    fn remove_line(&mut self, line: LineId) {
        let Some(id) = self.lines.remove(&line) else {
            return;
        };
        let Some(root) = self.roots.get_mut(id) else {
            return;
        };
        let before = (root.tree_mask(), root.leaf_mask());
        root.lines.retain(|l| l.id != line);
        root.lists.clear();
        root.sum();
        if root.lines.is_empty() {
            let key = root.key.clone();
            self.keys.remove(&key);
            self.drop_root(id);
            self.retry.soon();
        } else if before != (root.tree_mask(), root.leaf_mask()) {
            self.narrow_root(id);
        }
    }
}

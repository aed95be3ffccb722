//! What overlayfs does besides: events that follow another one of its own within
//! the same system call, and are nobody's.
//!
//! Each is waited for once, and only for a moment after the event that announces it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::event::Event;
use crate::table::Mask;

/// Longer than any system call between the two, queue and reading included.
const MOMENT: Duration = Duration::from_secs(1);
/// Waited for at most.
const MOST: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// ATTRIB of a directory: its times are put back after each copy in it.
    Mark,
    /// ATTRIB of a directory: overlay.opaque, after it was made.
    Seal,
    /// CLOSE_WRITE of a copy: by fuse-overlayfs itself.
    Close,
    /// MOVED_FROM of a directory that was exchanged for another or for a whiteout.
    LeaveDir,
    /// MOVED_FROM of a whiteout that was exchanged for a directory.
    LeaveFile,
    /// `LeaveDir`, when it has come.
    Left,
    /// A copied directory may be on its way out.
    End,
    /// ATTRIB of a copied directory that has been told.
    Again,
}

/// What is waited for.
#[derive(Default)]
pub(super) struct Artefacts {
    waiting: HashMap<(Kind, Vec<u8>), SystemTime>,
}

impl Artefacts {
    fn expect(&mut self, kind: Kind, path: &[u8], now: SystemTime) {
        if self.waiting.len() >= MOST {
            self.waiting.retain(|_, since| is_recent(*since, now));
            if self.waiting.len() >= MOST {
                self.waiting.clear();
            }
        }
        self.waiting.insert((kind, path.to_vec()), now);
    }

    fn take(&mut self, kind: Kind, path: &[u8], now: SystemTime) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let since = self.waiting.remove(&(kind, path.to_vec()));
        since.is_some_and(|since| is_recent(since, now))
    }

    /// Something was copied into the directory.
    pub fn expect_mark(&mut self, dir: &[u8], now: SystemTime) {
        self.expect(Kind::Mark, dir, now);
    }

    fn is_waiting(&self, kind: Kind, path: &[u8], now: SystemTime) -> bool {
        let since = self.waiting.get(&(kind, path.to_vec()));
        since.is_some_and(|since| is_recent(*since, now))
    }

    pub fn expect_seal(&mut self, dir: &[u8], now: SystemTime) {
        self.expect(Kind::Seal, dir, now);
    }

    pub fn expect_close(&mut self, path: &[u8], now: SystemTime) {
        self.expect(Kind::Close, path, now);
    }

    pub fn expect_again(&mut self, dir: &[u8], now: SystemTime) {
        self.expect(Kind::Again, dir, now);
    }

    pub fn expect_end(&mut self, dir: &[u8], now: SystemTime) {
        self.expect(Kind::End, dir, now);
    }

    /// True where the directory was copied just now.
    pub fn was_copied(&self, dir: &[u8], now: SystemTime) -> bool {
        self.is_waiting(Kind::End, dir, now)
    }

    /// What was at `path` may leave for the work directory; `dir`: a directory.
    pub fn expect_leave(&mut self, path: &[u8], dir: bool, now: SystemTime) {
        let kind = if dir { Kind::LeaveDir } else { Kind::LeaveFile };
        self.expect(kind, path, now);
    }

    /// True where this MOVED_FROM was waited for.
    pub fn is_leave(&mut self, event: &Event, path: &[u8]) -> bool {
        if !event.mask.intersects(Mask::ISDIR) {
            return self.take(Kind::LeaveFile, path, event.time);
        }
        let is = self.take(Kind::LeaveDir, path, event.time);
        if is {
            self.expect(Kind::Left, path, event.time);
        }
        is
    }

    /// True where a MOVED_FROM of `path` was taken for overlayfs's own just now.
    pub fn was_hidden(&mut self, path: &[u8], now: SystemTime) -> bool {
        self.take(Kind::Left, path, now)
    }

    /// True where this event, which is not of a name, was waited for.
    pub fn is_own(&mut self, event: &Event, path: &[u8]) -> bool {
        match event.mask {
            mask if mask == Mask::ATTRIB | Mask::ISDIR => [Kind::Mark, Kind::Seal, Kind::Again]
                .into_iter()
                .any(|kind| self.take(kind, path, event.time)),
            Mask::CLOSE_WRITE => self.take(Kind::Close, path, event.time),
            _ => false,
        }
    }
}

/// A clock that was set back ends all waiting.
fn is_recent(since: SystemTime, now: SystemTime) -> bool {
    now.duration_since(since).is_ok_and(|age| age <= MOMENT)
}

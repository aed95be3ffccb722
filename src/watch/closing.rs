//! Files that are still open for writing when it is heard that they were closed.
//!
//! The kernel tells of a close before it takes the right to write back (`__fput`): in
//! between, a file system may write out what it holds of the file, which takes
//! milliseconds on ext4, and nothing tells of the end of that. So such a file is looked
//! at again, a few times within some seconds. If it is open then, somebody else writes
//! it, and his close is told.

use std::borrow::Borrow;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::Report;
use super::inotify::Inotify;
use super::kernel::Wd;
use super::look::{is_open_for_writing, with_nul};
use super::memory::Owner;
use super::root::{RootId, State};
use super::tell::{News, Place};
use super::tree::SERVED;
use crate::event::{Actor, Origin};
use crate::sys::inotify as sys;
use crate::table::Mask;
use crate::time::Moment;

const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The last one after four seconds.
const MOST_LOOKS: u32 = 12;
/// Files at once; of more, the oldest are left to their next close.
const MOST: usize = 1024;

/// A file that was closed, as far as is known. `D` names its directory.
pub(super) struct Closed<D> {
    pub dir: D,
    pub name: Box<[u8]>,
    /// Its close, or that it came, was told: all but that it is complete.
    pub told: bool,
    /// Who closed it.
    pub actor: Option<Rc<Actor>>,
    looks: u32,
    pub at: Moment,
    /// It was found closed when this much of the kernel's stream was there: if that has a
    /// later close, that is told.
    closed: Option<u64>,
}

/// All of them.
pub(super) struct Closing<D>(Vec<Closed<D>>);

impl<D> Default for Closing<D> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<D: PartialEq> Closing<D> {
    /// When to look again, if ever.
    pub fn at(&self) -> Option<Moment> {
        self.0.iter().map(|closed| closed.at).min()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has<Q: ?Sized + PartialEq>(&self, dir: &Q, name: &[u8]) -> bool
    where
        D: Borrow<Q>,
    {
        let is = |closed: &Closed<D>| closed.dir.borrow() == dir && *closed.name == *name;
        self.0.iter().any(is)
    }

    /// `name` is open.
    pub fn insert(
        &mut self,
        dir: D,
        name: &[u8],
        (told, actor): (bool, Option<Rc<Actor>>),
        now: Moment,
    ) {
        let known = self.take(&dir, name);
        let before = known.as_ref().is_some_and(|known| known.told);
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(Closed {
            dir,
            name: name.into(),
            told: told || before,
            actor: actor.or_else(|| known?.actor),
            looks: 0,
            at: now + FIRST_PAUSE,
            closed: None,
        });
    }

    /// Nothing is left to be told of `name`.
    pub fn take<Q: ?Sized + PartialEq>(&mut self, dir: &Q, name: &[u8]) -> Option<Closed<D>>
    where
        D: Borrow<Q>,
    {
        let is = |closed: &Closed<D>| closed.dir.borrow() == dir && *closed.name == *name;
        let at = self.0.iter().position(is)?;
        Some(self.0.remove(at))
    }

    pub fn due(&mut self, now: Moment) -> Vec<Closed<D>> {
        self.0.extract_if(.., |closed| closed.at <= now).collect()
    }

    pub fn again(&mut self, closed: Closed<D>, now: Moment) {
        let looks = closed.looks + 1;
        if looks < MOST_LOOKS {
            let at = now + FIRST_PAUSE * (1 << looks);
            self.0.push(Closed {
                looks,
                at,
                ..closed
            });
        }
    }

    /// It waits for what the kernel has queued.
    pub fn put(&mut self, closed: Closed<D>) {
        self.0.push(closed);
    }
}

impl Inotify {
    /// True where somebody has `name` open for writing; our own look is nobody's event.
    pub(super) fn is_open(&mut self, wd: Wd, dir: BorrowedFd<'_>, name: &[u8]) -> bool {
        if !self.hears_reading(wd) {
            return is_open_for_writing(dir, name);
        }
        self.seen.expect_own(wd, name);
        let open = is_open_for_writing(dir, name);
        self.seen.own_done(self.total + self.kernel.queued());
        open
    }

    /// Looks again at the files whose time has come.
    pub(super) fn look_at_closing(&mut self, now: Moment, out: &mut Vec<Report>) {
        for mut closed in self.closing.due(now) {
            if self.kernel.get(closed.dir).is_none() {
                continue;
            }
            let Some(dir) = self.open_watched(closed.dir) else {
                self.closing.again(closed, now); // on the move
                continue;
            };
            let stat = with_nul(&closed.name, |n| sys::stat(dir.as_fd(), n));
            if !stat.is_ok_and(|stat| stat.kind() == libc::S_IFREG) {
                continue; // by another name it is told anew
            }
            if closed.closed.is_none() {
                if self.is_open(closed.dir, dir.as_fd(), &closed.name) {
                    self.closing.again(closed, now);
                    continue;
                }
                closed.closed = Some(self.total + self.kernel.queued());
            }
            if closed.closed > Some(self.total) {
                closed.at = now + FIRST_PAUSE;
                self.closing.put(closed);
            } else if self.unclosed.take(closed.dir, &closed.name) {
                let bits = Mask::CLOSE_WRITE | Mask::COMPLETE;
                self.tell_closed(&closed, (bits, Origin::Scan), out);
            } else if closed.told {
                self.tell_closed(&closed, (Mask::COMPLETE, Origin::Kernel), out);
            }
        }
    }

    /// Tells whoever knows the file by its name in its directory.
    fn tell_closed(&mut self, closed: &Closed<Wd>, end: (Mask, Origin), out: &mut Vec<Report>) {
        let Some(watch) = self.kernel.get(closed.dir) else {
            return;
        };
        let (first, guard) = (watch.nodes, watch.guard);
        self.time = SystemTime::now();
        let name = &*closed.name;
        for id in self.places(first) {
            let Some((root, flags)) = self.tree.get(id).map(|n| (n.root, n.flags)) else {
                continue;
            };
            let owner = (Owner::Node(id), name);
            if flags & SERVED != 0 {
                self.tell_end(root, (Place::Node(id), name), owner, end, out);
            } else if let Some(path) = self.matched(root, id, name) {
                self.tell_end(root, (Place::Path(&path), b""), owner, end, out);
            }
        }
        let users: Vec<_> = self.guards.users(guard, name).collect();
        for root in users {
            let state = self.roots.get(root).map(|root| &root.state);
            if matches!(state, Some(State::File(_))) {
                let owner = (Owner::File(root), &b""[..]);
                self.tell_end(root, (Place::Root, b""), owner, end, out);
            }
        }
    }

    fn tell_end(
        &mut self,
        root: RootId,
        (place, name): (Place<'_>, &[u8]),
        owner: (Owner, &[u8]),
        (bits, origin): (Mask, Origin),
        out: &mut Vec<Report>,
    ) {
        let news = News {
            place,
            name,
            owner,
            kind: Mask(0),
            origin,
            old_path: None,
            known: self.seen.known(owner.0, owner.1, self.position),
        };
        self.tell(root, &news, |line| line.mask & bits, out);
    }
}

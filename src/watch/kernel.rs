//! The inotify instance and its table of watches.
//!
//! The kernel keeps one watch an inode. Whoever needs events of that inode (places
//! in trees, guards of paths) hangs on its entry here, and the entry knows the
//! union of what they asked for. A watch that nobody needs is given back.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::inside::Inside;
use super::limit_texts;
use super::parse;
use super::root::NOISE;
use super::tree::NodeId;
use crate::sys::inotify as sys;
use crate::table::Mask;

/// A watch descriptor: a small number, never used twice before 2^31 of them.
pub(super) type Wd = i32;

/// No guard.
pub(super) const NO_GUARD: u32 = u32::MAX;

/// Events that are counted at each read: those that a queue holds as it usually is.
const COUNTED: u64 = 16_384;

const QUEUE_LIMIT: &str = "/proc/sys/fs/inotify/max_queued_events";

/// Always asked for: it costs nothing and makes every mask non-empty.
const ALWAYS: u32 = Mask::DELETE_SELF.0;

/// One kernel watch and who needs it.
#[derive(Debug)]
pub(super) struct Watch {
    /// What the kernel was told.
    pub mask: u32,
    /// First of the places with this inode; the others follow in the tree.
    pub nodes: NodeId,
    /// The guard of this inode, or `NO_GUARD`.
    pub guard: u32,
}

/// Spreads small consecutive numbers; the kernel chooses them, nobody hostile.
#[derive(Default)]
pub(super) struct WdHasher(u64);

impl Hasher for WdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = (self.0 ^ u64::from(b)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
    fn write_i32(&mut self, n: i32) {
        self.write_u64(u64::from(n.cast_unsigned()));
    }
    fn write_u64(&mut self, n: u64) {
        let x = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = x ^ (x >> 32);
    }
}

/// A map whose keys need no protection from attackers.
pub(super) type PlainMap<K, V> = HashMap<K, V, BuildHasherDefault<WdHasher>>;

/// The inotify instance.
pub(super) struct Kernel {
    fd: OwnedFd,
    table: PlainMap<Wd, Watch>,
    /// Events that its queue holds.
    room: u64,
    inside: Inside,
}

impl Kernel {
    pub fn new() -> io::Result<Self> {
        // The limit is taken when the instance is made. Unknown: never enough.
        let limit = std::fs::read_to_string(QUEUE_LIMIT);
        let room = limit.ok().and_then(|limit| limit.trim().parse().ok());
        Ok(Self {
            fd: sys::init().map_err(limit_texts::no_instance)?,
            table: PlainMap::default(),
            room: room.unwrap_or(0),
            inside: Inside::new(),
        })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// How many watches the kernel holds for us.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn get(&self, wd: Wd) -> Option<&Watch> {
        self.table.get(&wd)
    }

    pub fn get_mut(&mut self, wd: Wd) -> Option<&mut Watch> {
        self.table.get_mut(&wd)
    }

    /// Watches the inode of `target` at least for `mask`. `IN_EXCL_UNLINK` is
    /// a flag of the whole watch: it stays only while all who share it ask for it.
    pub fn watch(&mut self, target: BorrowedFd<'_>, mask: u32) -> io::Result<Wd> {
        let excl = Mask::EXCL_UNLINK.0;
        let mask = mask | ALWAYS;
        let wd = self.call(target, mask & !excl | sys::MASK_ADD)?;
        match self.table.get_mut(&wd) {
            None => {
                if mask & excl != 0 {
                    self.call(target, mask | sys::MASK_ADD)?;
                }
                self.table.insert(
                    wd,
                    Watch {
                        mask,
                        nodes: NodeId::NONE,
                        guard: NO_GUARD,
                    },
                );
            }
            Some(known) => {
                let union = known.mask | mask;
                if known.mask & !mask & excl != 0 {
                    known.mask = union & !excl;
                    let mask = known.mask;
                    self.call(target, mask)?;
                } else {
                    known.mask = union & !(excl & !known.mask);
                }
            }
        }
        Ok(wd)
    }

    /// True where `target` is the inode of `wd`.
    pub fn is(&mut self, target: BorrowedFd<'_>, wd: Wd) -> bool {
        self.leads_to(target, wd).unwrap_or(false)
    }

    /// As `is`; an error where it may not be known (any more).
    pub fn leads_to(&mut self, target: BorrowedFd<'_>, wd: Wd) -> io::Result<bool> {
        let found = self.call(target, ALWAYS | sys::MASK_ADD)?;
        if found != wd {
            self.release(found);
        }
        Ok(found == wd)
    }

    /// Asks for `mask`, where `target` still is the inode of `wd`.
    ///
    /// The kernel empties a mask before it sets another, and an event of that moment
    /// is lost (inotify_update_existing_watch, Linux 6.18). So bits are added by
    /// IN_MASK_ADD, and only those that cost (of reading) are ever taken from a watch
    /// that serves lines; each line filters its own.
    pub fn narrow(&mut self, target: BorrowedFd<'_>, wd: Wd, mask: u32) {
        let mask = mask | ALWAYS;
        let Some(known) = self.table.get(&wd) else {
            return;
        };
        let (extra, serves) = (known.mask & !mask, known.nodes != NodeId::NONE);
        let keep = serves && extra & NOISE.0 == 0;
        let (asked, now) = match keep {
            true if mask & !known.mask == 0 => return,
            true => (mask | sys::MASK_ADD, known.mask | mask),
            false => (mask, mask),
        };
        if self.is(target, wd)
            && self.call(target, asked).is_ok()
            && let Some(w) = self.table.get_mut(&wd)
        {
            w.mask = now;
        }
    }

    /// Gives the watch back if nobody needs it.
    pub fn release(&mut self, wd: Wd) {
        let needed = self
            .table
            .get(&wd)
            .is_some_and(|w| w.nodes != NodeId::NONE || w.guard != NO_GUARD);
        if !needed {
            self.table.remove(&wd);
            // EINVAL: the inode is gone and IN_IGNORED is on its way.
            let _ = sys::rm_watch(self.fd.as_fd(), wd);
        }
    }

    /// The kernel has ended the watch (`IN_IGNORED`).
    pub fn ended(&mut self, wd: Wd) {
        self.table.remove(&wd);
    }

    /// Bytes that wait in the queue.
    pub fn queued(&self) -> u64 {
        sys::queued(self.fd.as_fd()).unwrap_or(0)
    }

    /// Whether anything waits in the queue.
    pub fn waits(&self) -> bool {
        let mut fds = [PollFd::new(self.fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).map_or(true, |ready| ready > 0)
    }

    /// True where as many events as `bytes` may hold fill the queue, or are too many to
    /// be counted again and again.
    pub fn fills(&self, bytes: u64) -> bool {
        bytes / parse::SMALLEST as u64 >= self.room.min(COUNTED)
    }

    /// To be called before anybody else may ask where the process is.
    pub fn go_home(&mut self) {
        self.inside.leave();
    }

    /// By descriptor, so that what is watched is what was opened, whatever
    /// happens to its path meanwhile. A directory is watched from inside: that takes
    /// half the time of the way through /proc.
    fn call(&mut self, target: BorrowedFd<'_>, mask: u32) -> io::Result<Wd> {
        if self.inside.enter(target) {
            return sys::add_watch(self.fd.as_fd(), c".", mask);
        }
        let mut path = [0u8; 32];
        write!(&mut path[..], "/proc/self/fd/{}\0", target.as_raw_fd())?;
        let path = std::ffi::CStr::from_bytes_until_nul(&path).map_err(io::Error::other)?;
        sys::add_watch(self.fd.as_fd(), path, mask)
    }
}

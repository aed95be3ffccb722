//! When to read. Each read that brings one record costs the process that made it
//! as much as the work it did; so when nearly all records are foreign, reading
//! waits a few milliseconds, and they come together, merged.
//!
//! The gate is a descriptor that is readable when the group is, but not while
//! reading is put off, so that a loop which polls it sleeps.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::time::Moment;

/// Records of one read from which on its share of foreign ones means something.
const ENOUGH: u64 = 16;
/// Shortest and longest pause, in nanoseconds.
const SHORTEST: u64 = 1_000_000;
const LONGEST: u64 = 5_000_000;
/// Foreign records in a row after which reads are put off.
const NOISY: u64 = 256;

/// The descriptor, and whether it is shut.
#[derive(Clone)]
pub struct Gate(Rc<Inner>);

struct Inner {
    epoll: Epoll,
    group: Cell<RawFd>,
    until: Cell<Option<Moment>>,
    pause: Cell<u64>,
    /// Foreign records since one that was not.
    row: Cell<u64>,
    delays: Cell<u64>,
}

impl Gate {
    /// One without a group behind it.
    ///
    /// # Errors
    /// `EMFILE`
    pub fn new() -> io::Result<Self> {
        Ok(Self(Rc::new(Inner {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            group: Cell::new(-1),
            until: Cell::new(None),
            pause: Cell::new(0),
            row: Cell::new(0),
            delays: Cell::new(0),
        })))
    }

    /// To be polled for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.epoll.0.as_fd()
    }

    pub(super) fn open(&self, group: BorrowedFd<'_>) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, 0);
        self.0.epoll.add(group, event)?;
        self.0.group.set(group.as_raw_fd());
        Ok(())
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.0.until.get()
    }

    pub(super) fn delays(&self) -> u64 {
        self.0.delays.get()
    }

    /// A read has brought `records`, of which `foreign` were nothing to any line.
    pub(super) fn after(&self, group: BorrowedFd<'_>, now: Moment, records: u64, foreign: u64) {
        let inner = &self.0;
        let quiet = records == 0 || foreign * 10 < records * 9;
        let row = if quiet { 0 } else { inner.row.get() + foreign };
        inner.row.set(row);
        let pause = match () {
            () if quiet || row < NOISY => 0,
            // So few after a pause: the noise has ended.
            () if inner.pause.get() > 0 && records < ENOUGH => 0,
            () => (inner.pause.get() * 2).clamp(SHORTEST, LONGEST),
        };
        if pause == 0 && inner.pause.get() > 0 {
            inner.row.set(0);
        }
        inner.pause.set(pause);
        let shut = inner.until.get().is_some();
        inner.until.set((pause > 0).then(|| Moment(now.0 + pause)));
        inner.delays.set(inner.delays.get() + u64::from(pause > 0));
        if shut != (pause > 0) {
            let flags = if pause > 0 {
                EpollFlags::empty()
            } else {
                EpollFlags::EPOLLIN
            };
            // Without it the loop reads at once, which is right, too.
            let _ = inner.epoll.modify(group, &mut EpollEvent::new(flags, 0));
        }
    }
}

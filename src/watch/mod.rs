//! Where events come from: one trait, [`Source`], and what implements it.
//!
//! CONTRACT (the watch room owns and fills this in).

pub mod actor;
mod change;
mod choice;
mod closing;
pub mod compare;
mod coverage;
pub mod differences;
pub mod fanotify;
pub mod filesystems;
mod found;
mod guard;
mod inotify;
mod inside;
mod kernel;
mod late;
mod leaf;
mod limit_texts;
mod limits;
mod look;
mod meet;
mod memory;
mod mounts;
pub mod overlay;
mod parse;
mod pattern;
mod places;
pub mod poll;
mod reading;
mod rescan;
mod resolve;
mod root;
mod scan;
mod serve;
mod shut;
pub mod snapshot;
mod source;
mod sources;
mod tell;
mod tree;
pub mod walk;
mod words;

pub use coverage::Coverage;
pub use fanotify::Fanotify;
pub use inotify::{Figures, Inotify};
pub use sources::{Sources, Waker};

use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use crate::event::{Event, LineId, LineIds};
use crate::table::{Mask, PathSpec, Source as Choice};
use crate::time::Moment;

/// What one line asks of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub line: LineId,
    /// Path or pattern, as written.
    pub path: PathSpec,
    /// Event bits, and the flags `ONLYDIR`, `DONT_FOLLOW`, `ONESHOT`, `EXCL_UNLINK`.
    pub mask: Mask,
    /// Watch the whole subtree.
    pub recursive: bool,
    /// How deep below the path; None: without end.
    pub depth: Option<u32>,
    /// Enter directories whose name starts with a dot.
    pub dotdirs: bool,
    /// `exclude=`: a directory that these globs exclude is not entered.
    pub exclude: Vec<String>,
    /// Look every so often instead of being told by the kernel.
    pub poll: Option<Duration>,
    /// `source=`
    pub source: Choice,
    /// Each event is to carry its actor.
    pub who: bool,
}

/// What a source has to say.
#[derive(Clone, Debug)]
pub enum Report {
    /// `event` happened, and the masks of all these lines, which watch one path, ask
    /// for it.
    Event(LineIds, Rc<Event>),
    /// Something an operator must know about a line (limit reached, path missing ...).
    Problem(LineId, Problem),
}

/// Why a line does not get all it asked for, or that it does again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One line for the log: names the path, the reason, the limit and its value.
    pub message: String,
    /// False: worth a note only (a path that is waited for).
    pub serious: bool,
}

/// One source of events.
pub trait Source {
    /// Readable when `read` has something to do.
    fn fd(&self) -> BorrowedFd<'_>;
    /// Starts serving a line. Adding before removing keeps what both share.
    fn add(&mut self, request: Request, out: &mut Vec<Report>);
    /// Ends serving a line; nothing is reported for it afterwards.
    fn remove(&mut self, line: LineId);
    /// Reads once (64 KiB) and appends what it means. True: the buffer was full
    /// enough that more may be waiting.
    fn read(&mut self, now: Moment, out: &mut Vec<Report>) -> io::Result<bool>;
    /// When `tick` wants to be called, if ever.
    fn deadline(&self) -> Option<Moment>;
    /// Does what was waiting for `deadline`.
    fn tick(&mut self, now: Moment, out: &mut Vec<Report>);
    /// A second descriptor, to be polled for POLLPRI (EPOLLPRI) only: the table of
    /// mounts. Apart from `fd`, so that the way of an event is one wait and one read.
    fn mounts(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// `mounts` has become ready. What was queued before is told first, one read a call,
    /// so that it can be acted on before the next: true while more of it waits, and then
    /// this is to be called again.
    fn mounts_changed(&mut self, _now: Moment, _out: &mut Vec<Report>) -> bool {
        false
    }
}

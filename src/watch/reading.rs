//! Reading the queue, and up to what time its events are known: what a rescan
//! need not look at, and how long it must be remembered what was told.
//!
//! After each read the clock that stamps files is looked at, and then what waits in
//! the queue. If all that was in the queue since the last such look is less than it
//! can hold, nothing was dropped up to that time: a rescan need not look further
//! back, and what was told before it need not be known. So a log of what was told
//! is kept only while the queue is about to overflow.

use std::io;
use std::time::SystemTime;

use super::Report;
use super::inotify::Inotify;
use super::parse;
use crate::sys::inotify::{self as sys, Stamp};
use crate::time::Moment;

impl Inotify {
    /// See `Source::read`.
    pub(super) fn read_once(&mut self, now: Moment, out: &mut Vec<Report>) -> io::Result<bool> {
        self.retry.now = now;
        let started = match self.behind {
            true => sys::file_clock(),
            false => self.drained.max(sys::last_tick()),
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = nix::unistd::read(self.kernel.fd(), &mut buffer);
        self.time = SystemTime::now();
        let result = match read {
            Ok(n) => {
                let more = n + parse::LARGEST > buffer.len();
                let mut rest = buffer.get(..n).unwrap_or_default();
                self.total += n as u64;
                self.note_read(n, !more, started, parse::overflows(rest));
                while let Some(raw) = parse::event(rest) {
                    self.position += raw.len as u64;
                    self.dispatch(&raw, out);
                    rest = rest.get(raw.len..).unwrap_or_default();
                }
                self.position = self.total;
                Ok(more)
            }
            Err(nix::Error::EAGAIN) => {
                self.note_read(0, true, started, false);
                Ok(false)
            }
            Err(nix::Error::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        };
        self.buffer = buffer;
        self.refresh(out);
        self.retry_deferred(out);
        self.tell_lacks(out);
        if matches!(result, Ok(false)) {
            self.forget_echoes();
        }
        self.seen.expire(self.position);
        result
    }

    /// `bytes` were read, which took the whole queue as it was at the time `started`
    /// where `all`; `overflows`: what was dropped before this read is told after it.
    fn note_read(&mut self, bytes: usize, all: bool, started: Stamp, overflows: bool) {
        let clock = sys::file_clock();
        // Behind, it counts only whether anything waits: the kernel walks a long queue to
        // say how much, and for each read that would take longer than all else.
        let queued = match self.behind {
            true => u64::from(self.kernel.waits()),
            false => self.kernel.queued(),
        };
        self.before = self.drained;
        if queued == 0 {
            self.drained = clock;
        } else if all {
            self.drained = started;
        }
        // All that was in the queue since the last look was read just now or is in it
        // still: if that is less than it can hold, nothing was dropped.
        let full = self.kernel.fills(bytes as u64 + queued);
        self.behind = queued != 0 && (self.behind || full);
        self.lingers = false;
        if overflows {
            // This read made room: what was lost was lost before it, so what it
            // brings covers whatever state a thing had then.
            self.told.since = Some(Stamp::NEVER);
        } else if self.behind {
            self.told.since = Some(started);
        } else {
            self.safe = clock;
            self.told.clear();
        }
    }

    /// What a rescan has told need not be kept where nothing came after it.
    pub(super) fn forget_rescan(&mut self) {
        let clock = sys::file_clock();
        if std::mem::take(&mut self.lingers) && self.kernel.queued() == 0 {
            self.safe = clock;
            self.told.clear();
        }
    }
}

//! The pipe through which a command's output arrives.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::Report;
use super::capture::Capture;
use crate::schedule::RunId;
use crate::sys::memory::above_stdio;
use crate::time::Moment;

/// Bytes read from one pipe in one turn.
pub(crate) const READ: usize = 64 * 1024;
/// Bytes read from a pipe when its process has ended: the most that a pipe holds
/// by default (fs.pipe-max-size).
const DRAIN: usize = 1 << 20;

/// A pipe's end for reading (non-blocking) and one for writing.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) read: File,
    pub(crate) write: OwnedFd,
}

impl Pipe {
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = io::pipe()?; // close-on-exec
        let read = above_stdio(read.into())?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self {
            read: read.into(),
            write: above_stdio(write.into())?,
        })
    }
}

/// What a run has printed, and will.
#[derive(Debug)]
pub(super) struct Outlet {
    /// None when its output goes elsewhere, or nobody holds the other end.
    pub(super) pipe: Option<File>,
    pub(super) capture: Capture,
}

impl Outlet {
    /// Reads once. At the end of the output the pipe is closed.
    pub(super) fn read(
        &mut self,
        run: RunId,
        buffer: &mut [u8],
        now: Moment,
        out: &mut Vec<Report>,
    ) {
        self.read_some(run, buffer, now, out);
        if self.pipe.is_none() {
            self.capture.flush(run, out);
        }
    }

    /// Reads what is in the pipe when its process has ended.
    pub(super) fn drain(
        &mut self,
        run: RunId,
        buffer: &mut [u8],
        now: Moment,
        out: &mut Vec<Report>,
    ) {
        let mut taken = 0;
        while taken < DRAIN {
            match self.read_some(run, buffer, now, out) {
                0 => break,
                size => taken += size,
            }
        }
        self.capture.flush(run, out);
    }

    /// How much was read; 0: nothing is there now, or (the pipe is gone) ever.
    fn read_some(
        &mut self,
        run: RunId,
        buffer: &mut [u8],
        now: Moment,
        out: &mut Vec<Report>,
    ) -> usize {
        let Some(pipe) = &mut self.pipe else { return 0 };
        match pipe.read(buffer) {
            Ok(size) if size > 0 => {
                self.capture
                    .take(run, buffer.get(..size).unwrap_or_default(), now, out);
                size
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                0
            }
            Ok(_) | Err(_) => {
                self.pipe = None;
                0
            }
        }
    }
}

//! Standard input, line by line, with a time until which the next one is waited for.

use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::time::{Clock, Moment};

/// No event's line is longer: a path has 4096 bytes, a command line is bounded, and
/// labels have their bounds.
const LONGEST: usize = 1 << 20;
const BLOCK: usize = 64 << 10;

/// What came.
pub(super) enum Next<'a> {
    /// A line without its newline, and its number.
    Line(u64, &'a [u8]),
    /// A line that was not kept.
    TooLong(u64),
    /// The time came first.
    Time,
    /// There is no more; why, where it is not simply the end.
    End(Option<io::Error>),
}

/// Lines of standard input.
pub(super) struct Input {
    buffer: Vec<u8>,
    /// Bytes of it that are done with, and that are known to hold no newline.
    start: usize,
    searched: usize,
    lines: u64,
    /// The rest of the line is not kept.
    skipping: bool,
    ended: bool,
}

impl Input {
    pub fn new() -> Self {
        Self {
            buffer: Vec::with_capacity(2 * BLOCK),
            start: 0,
            searched: 0,
            lines: 0,
            skipping: false,
            ended: false,
        }
    }

    /// The next line. Before it waits for more, `idle` is asked until when.
    pub fn next(&mut self, clock: &Clock, mut idle: impl FnMut() -> Option<Moment>) -> Next<'_> {
        loop {
            if let Some(end) = self.newline() {
                let from = self.start;
                self.start = end + 1;
                self.searched = self.start;
                self.lines += 1;
                if std::mem::take(&mut self.skipping) {
                    return Next::TooLong(self.lines);
                }
                return Next::Line(self.lines, self.buffer.get(from..end).unwrap_or_default());
            }
            if self.ended {
                return self.rest();
            }
            self.make_room();
            if !ready(Some(0)) {
                let left = idle().map(|until| left(until, clock.now()));
                if !ready(left) {
                    return Next::Time;
                }
            }
            match self.fill() {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended = true;
                    self.buffer.clear();
                    return Next::End(Some(error));
                }
            }
        }
    }

    fn newline(&mut self) -> Option<usize> {
        let rest = self.buffer.get(self.searched..)?;
        match rest.iter().position(|&b| b == b'\n') {
            Some(at) => Some(self.searched + at),
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }

    /// A last line without a newline.
    fn rest(&mut self) -> Next<'_> {
        let from = std::mem::replace(&mut self.start, self.buffer.len());
        self.lines += 1;
        match self.buffer.get(from..) {
            _ if std::mem::take(&mut self.skipping) => Next::TooLong(self.lines),
            None | Some([]) => Next::End(None),
            Some(line) => Next::Line(self.lines, line),
        }
    }

    fn make_room(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.skipping || self.buffer.len() > LONGEST {
            self.skipping = true;
            self.buffer.clear();
        }
        self.searched = self.buffer.len();
    }

    fn fill(&mut self) -> io::Result<usize> {
        let before = self.buffer.len();
        self.buffer.resize(before + BLOCK, 0);
        let room = self.buffer.get_mut(before..).unwrap_or_default();
        // Not through std's own buffer: poll would not see what waits there.
        let read = nix::unistd::read(io::stdin().as_fd(), room).map_err(io::Error::from);
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        read
    }
}

/// Milliseconds from `now` until `until`, rounded up.
fn left(until: Moment, now: Moment) -> u32 {
    let left = until - now;
    u32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// True when there is something to read, or nothing more to come.
fn ready(milliseconds: Option<u32>) -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let timeout = match milliseconds {
        Some(left) => PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
        None => PollTimeout::NONE,
    };
    // An error shows in the read.
    poll(&mut fds, timeout).map_or(true, |ready| ready > 0)
}

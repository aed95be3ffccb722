//! All sources of one worker behind one face: inotify for what the kernel
//! tells, and, once a line asks for it, polling. What inotify has to say takes
//! the same way as without polling: one read, no lock, no second descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::poll::Poll;
use super::{Coverage, Figures, Inotify, Problem, Report, Request, Source, filesystems};
use crate::event::LineId;
use crate::time::Moment;

/// Wakes the loop from another thread; readable when it was.
#[derive(Clone, Debug)]
pub struct Waker(Arc<EventFd>);

impl Waker {
    /// One that nobody has woken.
    ///
    /// # Errors
    /// `EMFILE`
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Wakes the loop.
    pub fn wake(&self) {
        // It cannot fail but for a counter of 2^64 wake-ups that nobody read.
        let _ = self.0.write(1);
    }

    /// Takes the wake-up back before its reason is looked at.
    pub fn clear(&self) {
        let _ = self.0.read();
    }

    /// To be polled for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The sources of a worker.
pub struct Sources {
    inotify: Inotify,
    poll: Option<Poll>,
    waker: Waker,
}

impl Sources {
    /// Without lines.
    ///
    /// # Errors
    /// `EMFILE`: a limit of inotify instances or descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: Inotify::new()?,
            poll: None,
            waker: Waker::new()?,
        })
    }

    /// Wakes the loop for what threads have found; to be waited for beside
    /// [`Source::fd`], and followed by [`Sources::woken`].
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Reports what polling has found.
    pub fn woken(&mut self, now: Moment, out: &mut Vec<Report>) {
        self.waker.clear();
        if let Some(poll) = &mut self.poll {
            poll.collect(now, out);
        }
    }

    /// What an operator should know of the file system that a line is on.
    pub fn explain(&self, request: &Request, out: &mut Vec<Report>) {
        if let Some(message) = filesystems::note(request) {
            out.push(Report::Problem(
                request.line,
                Problem {
                    message,
                    serious: false,
                },
            ));
        }
    }

    /// How far a line gets what it asks for; None for a line that is polled.
    pub fn coverage(&self, line: LineId) -> Option<Coverage> {
        self.inotify.coverage(line)
    }

    /// Figures for status.
    pub fn figures(&self) -> Figures {
        let mut figures = self.inotify.figures();
        figures.roots += self.poll.as_ref().map_or(0, Poll::roots);
        figures
    }
}

impl Source for Sources {
    fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.fd()
    }

    fn add(&mut self, request: Request, out: &mut Vec<Report>) {
        if request.poll.is_none() {
            return self.inotify.add(request, out);
        }
        let poll = self
            .poll
            .get_or_insert_with(|| Poll::new(self.waker.clone()));
        poll.add(request, out);
    }

    fn remove(&mut self, line: LineId) {
        self.inotify.remove(line);
        if let Some(poll) = &mut self.poll {
            poll.remove(line);
        }
    }

    fn read(&mut self, now: Moment, out: &mut Vec<Report>) -> io::Result<bool> {
        self.inotify.read(now, out)
    }

    fn deadline(&self) -> Option<Moment> {
        self.inotify.deadline()
    }

    fn tick(&mut self, now: Moment, out: &mut Vec<Report>) {
        self.inotify.tick(now, out);
    }

    fn mounts(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.mounts()
    }

    fn mounts_changed(&mut self, now: Moment, out: &mut Vec<Report>) {
        self.inotify.mounts_changed(now, out);
    }
}

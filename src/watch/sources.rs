//! All sources of one worker behind one face: inotify for what the kernel
//! tells, and, once a line asks for it, fanotify or polling. What inotify has to
//! say takes the same way as without them: one read, no lock, no second descriptor.

use std::cell::Ref;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::actor::{self, Actors};
use super::choice::{self, Ask};
use super::fanotify::{self, Fanotify, Gate, Refusal};
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
    /// Made for the first line that it is to serve.
    fanotify: Option<Result<Box<Fanotify>, Refusal>>,
    gate: Gate,
    actors: actor::Shared,
    /// The lines for which actors are known.
    who: HashSet<LineId>,
    /// `source=auto` may take fanotify.
    system: bool,
    /// Why `source=auto` did not, as far as it has been told.
    noted: Vec<Refusal>,
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
            fanotify: None,
            gate: Gate::new()?,
            actors: actor::Shared::default(),
            who: HashSet::new(),
            system: false,
            noted: Vec::new(),
            poll: None,
            waker: Waker::new()?,
        })
    }

    /// Wakes the loop for what threads have found; to be waited for beside
    /// [`Source::fd`], and followed by [`Sources::woken`].
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// The lines are the system's: `source=auto` may take fanotify for them.
    pub fn set_system(&mut self, system: bool) {
        self.system = system;
    }

    /// To be polled for reading beside [`Source::fd`], and followed by
    /// [`Sources::read_fanotify`]. Never readable while no line is served by it.
    pub fn fanotify(&self) -> BorrowedFd<'_> {
        self.gate.fd()
    }

    /// Reports what fanotify tells.
    ///
    /// # Errors
    /// As read(2).
    pub fn read_fanotify(&mut self, now: Moment, out: &mut Vec<Report>) -> io::Result<bool> {
        match self.group() {
            Some(group) => group.read(now, out),
            None => Ok(false),
        }
    }

    /// True while reading fanotify is put off, for the noise of others.
    pub fn fanotify_waits(&self) -> bool {
        matches!(&self.fanotify, Some(Ok(group)) if group.waits())
    }

    /// Reads once of what fanotify has heard by now, whatever it waits for. True: more
    /// waits.
    ///
    /// # Errors
    /// As read(2).
    pub fn drain_fanotify(&mut self, now: Moment, out: &mut Vec<Report>) -> io::Result<bool> {
        self.group()
            .map_or(Ok(false), |group| group.drain(now, out))
    }

    fn group(&mut self) -> Option<&mut Fanotify> {
        match &mut self.fanotify {
            Some(Ok(group)) => Some(group),
            _ => None,
        }
    }

    /// Knows processes for `line` from now on, because paths like that of `request` may come
    /// at any time: to begin when one has come takes so long that what happens first in it
    /// is missed. Until `line` is removed.
    pub fn know_actors(&mut self, line: LineId, request: &Request, out: &mut Vec<Report>) {
        if request.who && choice::of(request, self.system) == Ask::Written {
            self.make_fanotify();
            self.want_actors(line, out);
        }
    }

    fn make_fanotify(&mut self) {
        let (gate, actors) = (&self.gate, &self.actors);
        let make = || {
            let mut group = Fanotify::new(gate.clone(), fanotify::Options::default())?;
            group.actors = Rc::clone(actors);
            Ok(Box::new(group))
        };
        self.fanotify.get_or_insert_with(make);
    }

    /// Has fanotify serve a line.
    fn add_fanotify(&mut self, request: &Request, out: &mut Vec<Report>) -> Result<(), Refusal> {
        self.make_fanotify();
        if request.who {
            // First: a process that changes something has begun before.
            self.want_actors(request.line, out);
        }
        let added = match &mut self.fanotify {
            Some(Ok(group)) => group.add(request, out),
            Some(Err(why)) => Err(why.clone()),
            None => Ok(()), // made above
        };
        if added.is_err() {
            self.forget_actors(request.line);
        }
        added
    }

    /// A line wants to know who did it.
    fn want_actors(&mut self, line: LineId, out: &mut Vec<Report>) {
        self.who.insert(line);
        let mut actors = self.actors.borrow_mut();
        if actors.is_some() || !matches!(self.fanotify, Some(Ok(_))) {
            return;
        }
        let (begun, note) = Actors::start();
        *actors = Some(begun);
        if let Some(message) = note {
            let serious = true;
            out.push(Report::Problem(line, Problem { message, serious }));
        }
    }

    /// A line does not, or no more: with the last one it ends.
    fn forget_actors(&mut self, line: LineId) {
        if self.who.remove(&line) && self.who.is_empty() {
            *self.actors.borrow_mut() = None;
        }
    }

    /// Who knows the processes behind events; None: no line wants it.
    pub fn actors(&self) -> Ref<'_, Option<Actors>> {
        self.actors.borrow()
    }

    /// Says that a line is served by inotify, and why.
    fn tell_refusal(&mut self, request: &Request, ask: Ask, why: Refusal, out: &mut Vec<Report>) {
        if ask == Ask::Chosen {
            if self.noted.contains(&why) {
                return;
            }
            self.noted.push(why.clone());
        }
        out.push(Report::Problem(
            request.line,
            Problem {
                message: choice::refused(request, &why),
                serious: ask == Ask::Written,
            },
        ));
    }

    /// Figures of fanotify, where it serves.
    pub fn fanotify_figures(&self) -> Option<fanotify::Figures> {
        match &self.fanotify {
            Some(Ok(group)) => Some(group.figures()),
            _ => None,
        }
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
        if let Some(Ok(group)) = &self.fanotify
            && let Some(coverage) = group.coverage(line)
        {
            return Some(coverage);
        }
        self.inotify.coverage(line)
    }

    /// Figures for status.
    pub fn figures(&self) -> Figures {
        let mut figures = self.inotify.figures();
        figures.roots += self.poll.as_ref().map_or(0, Poll::roots);
        if let Some(more) = self.fanotify_figures() {
            figures.watches += more.marks;
            figures.roots += more.roots;
            figures.overflows += more.overflows;
            figures.rescans += more.rescans;
        }
        figures
    }
}

impl Source for Sources {
    fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.fd()
    }

    fn add(&mut self, request: Request, out: &mut Vec<Report>) {
        if request.poll.is_none() {
            let ask = choice::of(&request, self.system);
            if ask == Ask::Inotify {
                return self.inotify.add(request, out);
            }
            // A line that is armed again may have been served otherwise.
            return match self.add_fanotify(&request, out) {
                Ok(()) => self.inotify.remove(request.line),
                Err(why) => {
                    self.tell_refusal(&request, ask, why, out);
                    self.inotify.add(request, out);
                }
            };
        }
        let poll = self
            .poll
            .get_or_insert_with(|| Poll::new(self.waker.clone()));
        poll.add(request, out);
    }

    fn remove(&mut self, line: LineId) {
        self.inotify.remove(line);
        if let Some(group) = self.group() {
            group.remove(line);
        }
        self.forget_actors(line);
        if let Some(poll) = &mut self.poll {
            poll.remove(line);
        }
    }

    fn read(&mut self, now: Moment, out: &mut Vec<Report>) -> io::Result<bool> {
        self.inotify.read(now, out)
    }

    fn deadline(&self) -> Option<Moment> {
        let other = match &self.fanotify {
            Some(Ok(group)) => group.deadline(),
            _ => None,
        };
        self.inotify.deadline().into_iter().chain(other).min()
    }

    fn tick(&mut self, now: Moment, out: &mut Vec<Report>) {
        if self.inotify.deadline().is_some_and(|at| at <= now) {
            self.inotify.tick(now, out);
        }
        if let Some(group) = self.group() {
            group.tick(now, out);
        }
    }

    fn mounts(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.mounts()
    }

    fn mounts_changed(&mut self, now: Moment, out: &mut Vec<Report>) -> bool {
        self.inotify.mounts_changed(now, out)
            || self
                .group()
                .is_some_and(|group| group.mounts_changed(now, out))
    }
}

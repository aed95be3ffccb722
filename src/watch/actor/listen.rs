//! Hears of processes on threads that go before all ordinary work, because a
//! process may end before anybody else gets a turn: of 2,000 that do nothing but
//! remove a file, an ordinary thread names 1,004 to 1,763.
//!
//! Each processor has its own, which the kernel wakes for the programs that are executed
//! there (`inbox`). It reads the program, then tells the cache what has happened until
//! then, while the process still waits for its turn. Where somebody else has the cache,
//! that is left to him. Each processor has a second thread, for the time that the first
//! waits for what a process holds that it looks at.
//!
//! Whoever asks takes in first what has happened before, so that it is always known.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::cache::Cache;
use super::inbox::{Inbox, Looked, Post};
use super::merge::Merge;
use super::message::{self, What};
use super::proc::Proc;
use super::process::Reader;
use super::share::Share;
use crate::sys::{netlink, realtime};

/// Programs looked at between two looks at how long a thread has been busy.
const ONCE: usize = 64;
/// Whoever asks waits so long for the threads: longer than they rest.
const PATIENCE: Duration = Duration::from_millis(10);
/// Processors with threads of their own, at most: each costs every message a filter.
const PROCESSORS: usize = 32;
/// Threads on each.
const THREADS: usize = 2;
/// What a thread waits for.
const MESSAGES: u64 = 0;
const STOP: u64 = 1;
/// It names a dozen processes, each with a path; nothing is built on the stack.
const STACK: usize = 256 * 1024;

/// A cache that listens.
pub struct Listener {
    shared: Arc<Shared>,
    stop: Arc<EventFd>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    inbox: Inbox,
    heard: realtime::Mutex<Heard>,
}

/// A processor, and what its threads share.
struct Place {
    nth: usize,
    cpu: u32,
    waits: Epoll,
    share: realtime::Mutex<Share>,
}

struct Heard {
    cache: Cache<Proc>,
    merge: Merge,
    /// Times of loss after which all that live have been looked for.
    healed: u64,
}

impl Listener {
    /// Listens from now on, and knows who lives. The error of the second part: the
    /// threads are ordinary ones.
    ///
    /// # Errors
    /// The kernel's, or that it is silent; then there are no process events.
    pub fn start() -> io::Result<(Self, io::Result<()>)> {
        let mut processors = realtime::processors();
        processors.truncate(PROCESSORS);
        let own = std::process::id().cast_signed();
        let heard = Heard {
            cache: Cache::new(Proc::new(), own),
            merge: Merge::default(),
            healed: 0,
        };
        let shared = Shared {
            inbox: Inbox::new(&processors, subscribe)?,
            heard: realtime::Mutex::new(heard)?,
        };
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let mut listener = Self {
            shared: Arc::new(shared),
            stop: Arc::new(EventFd::from_value_and_flags(0, flags)?),
            threads: Vec::new(),
        };
        let mut first = Ok(());
        for (nth, cpu) in processors.into_iter().enumerate() {
            first = first.and(listener.occupy(nth, cpu)?);
        }
        listener.scan();
        Ok((listener, first))
    }

    /// Starts the threads of a processor; whether they go before others.
    fn occupy(&mut self, nth: usize, cpu: u32) -> io::Result<io::Result<()>> {
        let place = Arc::new(Place {
            nth,
            cpu,
            waits: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            share: realtime::Mutex::new(Share::new(Instant::now()))?,
        });
        // One of the threads is woken for each message, once.
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        if let Some(post) = self.shared.inbox.posts().get(nth) {
            let event = EpollEvent::new(edge, MESSAGES);
            place.waits.add(post.socket(), event)?;
        }
        let stop = EpollEvent::new(EpollFlags::EPOLLIN, STOP);
        place.waits.add(&*self.stop, stop)?;
        let mut first = Ok(());
        for _ in 0..THREADS {
            first = first.and(self.spawn(&place)?);
        }
        Ok(first)
    }

    fn spawn(&mut self, place: &Arc<Place>) -> io::Result<io::Result<()>> {
        let (shared, place) = (Arc::clone(&self.shared), Arc::clone(place));
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("actors".into())
            .stack_size(STACK);
        self.threads.push(thread.spawn(move || {
            realtime::stay_on(place.cpu);
            let _ = tell.send(realtime::run_first());
            if let Some(post) = shared.inbox.posts().get(place.nth) {
                shared.listen(&place, post);
            }
        })?);
        told.recv().map_err(io::Error::other)
    }

    /// One by one, so that the threads have their turn in between.
    fn scan(&self) {
        let pids = self.shared.heard.lock().cache.reader().pids();
        for pid in pids {
            self.ask(|cache| cache.scan(pid));
        }
    }

    /// Asks the cache; all that has happened before is in it.
    pub fn ask<T>(&self, question: impl FnOnce(&mut Cache<Proc>) -> T) -> T {
        let answer = question(&mut self.shared.heard.lock().cache);
        self.shared.tidy();
        answer
    }

    /// Takes in all that has happened before; the moment of that.
    pub fn settle(&self) -> u64 {
        let Shared { inbox, heard } = &*self.shared;
        let now = heard.lock().cache.reader().now();
        // Left to the threads that go first, even where it takes them a moment: a
        // thread which does not may lose its turn with a message in its hand.
        let mut end = None;
        while heard.lock().take_in(inbox, now) < now {
            let end = end.get_or_insert_with(|| Instant::now() + PATIENCE);
            if Instant::now() < *end {
                std::thread::yield_now();
            } else {
                for post in inbox.posts() {
                    while inbox.look(post) == Looked::Something {}
                }
                inbox.give_up();
            }
        }
        self.shared.tidy();
        now
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // Before Linux 6.6 the kernel counts its listeners, and does not see them go.
        for socket in self.shared.inbox.sockets() {
            let _ = netlink::tell_kernel(socket.as_fd(), &message::ignore());
        }
    }
}

impl Shared {
    fn listen(&self, place: &Place, post: &Post) {
        let mut more = false;
        loop {
            let mut ready = [EpollEvent::empty(); 2];
            let most = if more {
                EpollTimeout::ZERO
            } else {
                EpollTimeout::NONE
            };
            let count = match place.waits.wait(&mut ready, most) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(_) => return, // not this thread's to solve: whoever asks reads himself
            };
            if ready.iter().take(count).any(|event| event.data() == STOP) {
                return;
            }
            let rest = place.share.lock().rest(Instant::now());
            if let Some(rest) = rest {
                std::thread::sleep(rest);
            }
            let began = Instant::now();
            more = (0..ONCE).all(|_| self.step(post));
            place.share.lock().used(began, Instant::now());
        }
    }

    /// Looks at one program, and tells the cache; false: no other one waits.
    fn step(&self, post: &Post) -> bool {
        match self.inbox.look(post) {
            // Where another has the cache, he looks again when he goes.
            Looked::Something => self
                .heard
                .try_lock()
                .is_none_or(|mut heard| !heard.take_in_now(&self.inbox)),
            Looked::Full => {
                self.heard.lock().take_in_now(&self.inbox);
                if post.is_full() {
                    self.inbox.give_up();
                }
                true
            }
            Looked::Nothing => {
                self.tidy();
                false
            }
        }
    }

    /// Does what a thread has left to whoever had the cache; no more than there was.
    fn tidy(&self) {
        for _ in 0..ONCE {
            if !self.inbox.has_looked() {
                return;
            }
            let Some(mut heard) = self.heard.try_lock() else {
                return;
            };
            heard.take_in_now(&self.inbox);
        }
    }
}

impl Heard {
    /// All that has happened until now; false: not all can be told yet.
    fn take_in_now(&mut self, inbox: &Inbox) -> bool {
        let now = self.cache.reader().now();
        self.take_in(inbox, now) >= now
    }

    /// Tells the cache what has happened until `now`, and returns the moment until which
    /// that was possible.
    fn take_in(&mut self, inbox: &Inbox, now: u64) -> u64 {
        let complete = inbox.collect(now, &mut self.merge);
        self.merge.tell(&mut self.cache, complete);
        if std::mem::replace(&mut self.healed, self.cache.lost) != self.cache.lost {
            self.cache.heal();
        }
        complete
    }
}

/// Asks for the events: for all, since only then the kernel answers, then for those that
/// we read.
pub(super) fn subscribe(socket: &OwnedFd) -> io::Result<()> {
    netlink::tell_kernel(socket.as_fd(), &message::listen(false))?;
    // The kernel answers before the call returns.
    let mut buffer = [0; netlink::MAX];
    while let Some(length) = netlink::hear_kernel(socket.as_fd(), &mut buffer)? {
        let message = message::parse(buffer.get(..length).unwrap_or_default());
        match message.map(|message| message.what) {
            Some(What::Answer(0)) => {
                return netlink::tell_kernel(socket.as_fd(), &message::listen(true));
            }
            Some(What::Answer(error)) => {
                return Err(io::Error::from_raw_os_error(error.cast_signed().abs()));
            }
            _ => {}
        }
    }
    Err(io::Error::other(
        "the kernel does not answer, as in a pid or user namespace other than its own",
    ))
}

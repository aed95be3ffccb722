//! Hears of processes on threads that go before all ordinary work, because a
//! process may end before anybody else gets a turn: of 2,000 that do nothing but
//! remove a file, an ordinary thread names 1,004 to 1,763.
//!
//! They are on two processors. A kernel without preemption lets even
//! a real-time thread wait until the system call that its processor is in has come
//! to an end, for milliseconds on a busy machine; the other is likely to be free.
//! All take messages (`inbox`), which is urgent; one at a time tells the cache, and
//! the others are back at once for what begins meanwhile. Each processor has a second
//! one, for the time that the first waits for what a process holds that it looks at.
//!
//! Whoever asks waits until all messages of before have been told: what had happened
//! before the question is always known.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::cache::Cache;
use super::inbox::{Inbox, Received, Told};
use super::message::{self, What};
use super::proc::Proc;
use super::process::Reader;
use super::share::Share;
use crate::sys::{netlink, realtime};

/// Room for messages: some 25,000, in bytes of the kernel's memory while they wait.
const BUFFER: usize = 32 << 20;
/// Steps between two looks at how long it has been busy.
const ONCE: usize = 64;
/// Whoever asks waits so long for the threads: longer than they rest.
const PATIENCE: Duration = Duration::from_millis(10);
/// Processors at most, and threads on each.
const PROCESSORS: usize = 2;
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
    waits: Epoll,
    share: realtime::Mutex<Share>,
}

struct Heard {
    cache: Cache<Proc>,
    /// Times of loss after which all that live have been looked for.
    healed: u64,
}

impl Listener {
    /// Listens from now on, and knows who lives. The error of the second part: the
    /// thread is an ordinary one.
    ///
    /// # Errors
    /// The kernel's, or that it is silent; then there are no process events.
    pub fn start() -> io::Result<(Self, io::Result<()>)> {
        let socket = netlink::process_events(BUFFER)?;
        subscribe(&socket)?;
        let own = std::process::id().cast_signed();
        let heard = Heard {
            cache: Cache::new(Proc::new(), own),
            healed: 0,
        };
        let shared = Shared {
            inbox: Inbox::new(socket)?,
            heard: realtime::Mutex::new(heard)?,
        };
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let mut listener = Self {
            shared: Arc::new(shared),
            stop: Arc::new(EventFd::from_value_and_flags(0, flags)?),
            threads: Vec::new(),
        };
        let mut first = Ok(());
        for nth in 0..realtime::count_processors().min(PROCESSORS) {
            first = first.and(listener.occupy(nth)?);
        }
        listener.scan();
        Ok((listener, first))
    }

    /// Starts the threads of a processor; whether they go before others.
    fn occupy(&mut self, nth: usize) -> io::Result<io::Result<()>> {
        let place = Arc::new(Place {
            nth,
            waits: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            share: realtime::Mutex::new(Share::new(Instant::now()))?,
        });
        // Woken for each message once: a thread elsewhere may be at it already.
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        let socket = self.shared.inbox.socket();
        place.waits.add(socket, EpollEvent::new(edge, MESSAGES))?;
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
            realtime::stay_on(place.nth);
            let first = realtime::run_first();
            let goes_first = first.is_ok();
            let _ = tell.send(first);
            shared.listen(&place, goes_first);
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
        let end = Instant::now() + PATIENCE;
        while inbox.is_behind(now) {
            if Instant::now() < end {
                std::thread::yield_now();
            } else if inbox.receive(false) == Received::Full {
                heard.lock().tell_all(inbox);
                inbox.give_up();
            }
        }
        while heard.lock().tell_all(inbox) == Told::Looking {
            if Instant::now() < end {
                std::thread::yield_now();
            } else {
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
        let _ = netlink::tell_kernel(self.shared.inbox.socket().as_fd(), &message::ignore());
    }
}

impl Shared {
    fn listen(&self, place: &Place, first: bool) {
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
            more = (0..ONCE).all(|_| self.step(first));
            place.share.lock().used(began, Instant::now());
        }
    }

    /// Does what is most urgent; false: nothing is left to this thread.
    fn step(&self, first: bool) -> bool {
        match self.inbox.receive(first) {
            Received::Something(_) => true,
            // Or a look has to end before: whoever looks comes back.
            Received::Full => self.heard.lock().digest(&self.inbox, first),
            Received::Nothing => match self.heard.try_lock() {
                Some(mut heard) => heard.digest(&self.inbox, first) || self.is_left(heard),
                None => false, // whoever has it looks again before he goes
            },
        }
    }

    /// What came in the last moment is left to nobody else.
    fn is_left(&self, heard: realtime::Guard<'_, Heard>) -> bool {
        drop(heard);
        self.inbox.is_tellable()
    }

    /// Does what a thread has left to whoever had the cache; no more than there was.
    fn tidy(&self) {
        for _ in 0..2 * ONCE {
            let Some(mut heard) = self.heard.try_lock() else {
                return;
            };
            if !heard.digest(&self.inbox, false) && !self.is_left(heard) {
                return;
            }
        }
    }
}

impl Heard {
    /// Tells the cache all that waits, up to a look that has not ended.
    fn tell_all(&mut self, inbox: &Inbox) -> Told {
        loop {
            match inbox.tell_one(&mut self.cache, false) {
                Told::Something => {}
                told => return told,
            }
        }
    }

    /// One step; false: all is done.
    fn digest(&mut self, inbox: &Inbox, first: bool) -> bool {
        let told = inbox.tell_one(&mut self.cache, first);
        if told == Told::Something || self.cache.finish_one() {
            return true;
        }
        let lost = self.cache.lost;
        let heal = std::mem::replace(&mut self.healed, lost) != lost;
        if heal {
            self.cache.heal();
        }
        heal
    }
}

/// Asks for the events; with the choice of events that Linux 6.6 understands, or,
/// where that is met with silence, without.
fn subscribe(socket: &OwnedFd) -> io::Result<()> {
    for chosen in [true, false] {
        netlink::tell_kernel(socket.as_fd(), &message::listen(chosen))?;
        // The kernel answers before the call returns.
        let mut buffer = [0; message::MAX];
        while let Some(length) = netlink::hear_kernel(socket.as_fd(), &mut buffer)? {
            let message = message::parse(buffer.get(..length).unwrap_or_default());
            match message.map(|message| message.what) {
                Some(What::Answer(0)) => return Ok(()),
                Some(What::Answer(error)) => {
                    return Err(io::Error::from_raw_os_error(error.cast_signed().abs()));
                }
                _ => {}
            }
        }
    }
    Err(io::Error::other(
        "the kernel does not answer, as in a pid or user namespace other than its own",
    ))
}

//! Hears of processes on threads that go before all ordinary work, because a
//! process may end before anybody else gets a turn: of 2,000 that do nothing but
//! remove a file, an ordinary thread names 1,004 to 1,763.
//!
//! There are two of them, on two processors. A kernel without preemption lets even
//! a real-time thread wait until the system call that its processor is in has come
//! to an end, for milliseconds on a busy machine; the other is likely to be free.
//! Whichever comes first does the work.
//!
//! Whoever asks takes the messages that wait out of the socket himself first, under
//! the same lock: what had happened before the question is always known.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::cache::Cache;
use super::message::{self, What};
use super::proc::Proc;
use super::process::Reader;
use crate::sys::{netlink, realtime};

/// Room for messages: some 25,000, in bytes of the kernel's memory while they wait.
const BUFFER: usize = 32 << 20;
/// Messages taken under one lock.
const ONCE: usize = 64;
/// See above.
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
    socket: OwnedFd,
    heard: realtime::Mutex<Heard>,
    /// One of the threads is at work.
    at_work: AtomicBool,
}

struct Heard {
    cache: Cache<Proc>,
    /// Messages were lost since the last look at who lives.
    heal: bool,
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
            heal: false,
        };
        let heard = realtime::Mutex::new(heard)?;
        let at_work = AtomicBool::new(false);
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let mut listener = Self {
            shared: Arc::new(Shared {
                socket,
                heard,
                at_work,
            }),
            stop: Arc::new(EventFd::from_value_and_flags(0, flags)?),
            threads: Vec::new(),
        };
        let mut first = Ok(());
        for nth in 0..THREADS {
            first = first.and(listener.spawn(nth)?);
        }
        listener.scan();
        Ok((listener, first))
    }

    /// Starts a thread; whether it goes before others.
    fn spawn(&mut self, nth: usize) -> io::Result<io::Result<()>> {
        let (shared, stop) = (Arc::clone(&self.shared), Arc::clone(&self.stop));
        let waits = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // Woken for each message once: the other thread may be at it already.
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        waits.add(&shared.socket, EpollEvent::new(edge, MESSAGES))?;
        waits.add(&*stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("actors".into())
            .stack_size(STACK);
        self.threads.push(thread.spawn(move || {
            realtime::stay_on(nth);
            let _ = tell.send(realtime::run_first());
            shared.listen(&waits);
        })?);
        told.recv().map_err(io::Error::other)
    }

    /// One by one, so that the thread has its turn in between.
    fn scan(&self) {
        let pids = self.shared.heard.lock().cache.reader().pids();
        for pid in pids {
            self.shared.heard.lock().cache.scan(pid);
        }
    }

    /// Asks the cache; all that has happened before is in it.
    pub fn ask<T>(&self, question: impl FnOnce(&mut Cache<Proc>) -> T) -> T {
        question(&mut self.shared.heard.lock().cache)
    }

    /// Takes in all that has happened before; the moment of that.
    pub fn settle(&self) -> u64 {
        let mut heard = self.shared.heard.lock();
        let now = heard.cache.reader().now();
        while heard.take(&self.shared.socket, now) {}
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
        let _ = netlink::tell_kernel(self.shared.socket.as_fd(), &message::ignore());
    }
}

impl Shared {
    fn listen(&self, waits: &Epoll) {
        let mut share = Share::new(Instant::now());
        loop {
            let mut ready = [EpollEvent::empty(); 2];
            let count = match waits.wait(&mut ready, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(_) => return, // not this thread's to solve: whoever asks reads himself
            };
            if ready.iter().take(count).any(|event| event.data() == STOP) {
                return;
            }
            // What comes when the other has found nothing more wakes that one, too.
            if self.at_work.swap(true, Ordering::AcqRel) {
                continue;
            }
            let mut more = true;
            while more {
                let began = Instant::now();
                more = self.heard.lock().take(&self.socket, u64::MAX);
                if let Some(pause) = share.used(began, Instant::now()) {
                    std::thread::sleep(pause);
                }
            }
            self.at_work.store(false, Ordering::Release);
        }
    }
}

impl Heard {
    /// Takes some messages; true where more may wait that are not later than `until`.
    fn take(&mut self, socket: &OwnedFd, until: u64) -> bool {
        let mut buffer = [0; message::MAX];
        for _ in 0..ONCE {
            match netlink::hear_kernel(socket.as_fd(), &mut buffer) {
                Ok(Some(length)) => {
                    let message = message::parse(buffer.get(..length).unwrap_or_default());
                    if let Some(message) = message {
                        self.cache.tell(message);
                        if message.at > until {
                            return false;
                        }
                    }
                }
                // Time for the rest; then more may have come.
                Ok(None) if self.cache.finish_one() => {}
                Ok(None) => {
                    if std::mem::take(&mut self.heal) {
                        self.cache.heal();
                    }
                    return false;
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.cache.tell_lost();
                    self.heal = true;
                }
                Err(_) => return false,
            }
        }
        true
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

/// The share of a processor that the thread may take: four fifths of each
/// window. A fork bomb must leave the machine to its administrator.
struct Share {
    window: Instant,
    busy: Duration,
}

impl Share {
    const WINDOW: Duration = Duration::from_millis(20);
    const MOST: Duration = Duration::from_millis(16);
    const PAUSE: Duration = Duration::from_millis(4);

    fn new(now: Instant) -> Self {
        Self {
            window: now,
            busy: Duration::ZERO,
        }
    }

    /// It was busy from `began` to `now`; how long it has to rest.
    fn used(&mut self, began: Instant, now: Instant) -> Option<Duration> {
        if now.duration_since(self.window) >= Self::WINDOW {
            let tired = self.busy + now.duration_since(began) >= Self::MOST;
            *self = Self::new(now);
            return tired.then_some(Self::PAUSE);
        }
        self.busy += now.duration_since(began);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_always_busy_rests() {
        let start = Instant::now();
        let mut share = Share::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        let rests = (0..40).filter(|ms| share.used(at(*ms), at(ms + 1)).is_some());
        assert_eq!(rests.count(), 2);
        let mut share = Share::new(start);
        let idle = (0..40).filter(|ms| share.used(at(ms * 10), at(ms * 10 + 5)).is_some());
        assert_eq!(idle.count(), 0);
    }
}

//! What the kernel has told and the cache has not been told yet, in order.
//!
//! A process may end some 50 us after it has executed its program, and then the
//! program is gone. So it is looked at here, before anything else is done with the
//! message. The kernel wakes a thread on the processor that the process is on before
//! the process has its turn; where another thread has the message, that one turns
//! round until the look is done, and the process does not run meanwhile. No lock is held
//! during a look: it may have to wait for what the process holds.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::cache::{Cache, Look};
use super::message::{self, Message, What};
use super::proc::Proc;
use super::process::Reader;
use crate::sys::{netlink, realtime};

/// Looks that wait: each holds a descriptor.
const MOST_LOOKS: usize = 64;
/// Messages that wait; the kernel keeps what is more.
const MOST: usize = 4096;
/// A thread that goes first waits so many nanoseconds, turning round, for another of
/// its kind: a processor of a virtual machine may be away for as long.
const TURNS: u64 = 1_000_000;

/// See above.
pub(super) struct Inbox {
    socket: OwnedFd,
    proc: Proc,
    queue: realtime::Mutex<Queue>,
    /// The cache can be told something.
    tellable: AtomicBool,
    /// Looks that have begun and not ended, and when the last of them began.
    looking: AtomicUsize,
    since: AtomicU64,
    /// Whoever holds the lock goes first, and has a processor.
    first: AtomicBool,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// The number of the first of them, of all that there ever were.
    first: u64,
    looks: usize,
}

enum Entry {
    Message(Message),
    /// Somebody is looking at the program.
    Looking(Message),
    Executed(Message, Look<OwnedFd>),
    Lost,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.looks >= MOST_LOOKS || self.entries.len() >= MOST
    }

    fn is_tellable(&self) -> bool {
        let first = self.entries.front();
        first.is_some_and(|entry| !matches!(entry, Entry::Looking(_)))
    }

    /// Adds one; its number.
    fn push(&mut self, entry: Entry) -> u64 {
        self.looks += usize::from(matches!(entry, Entry::Looking(_)));
        self.entries.push_back(entry);
        self.first + self.entries.len() as u64 - 1
    }

    /// The look has ended, unless nobody waits for it any more.
    fn looked(&mut self, number: u64, look: Look<OwnedFd>) {
        let at = number.checked_sub(self.first);
        let at = at.and_then(|at| usize::try_from(at).ok());
        if let Some(entry) = at.and_then(|at| self.entries.get_mut(at))
            && let Entry::Looking(message) = *entry
        {
            *entry = Entry::Executed(message, look);
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.is_tellable().then(|| self.entries.pop_front())??;
        self.first += 1;
        self.looks -= usize::from(matches!(entry, Entry::Executed(..)));
        Some(entry)
    }
}

/// What a look into the socket has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Something that happened then, or at a moment that is not known.
    Something(u64),
    Nothing,
    /// There is no room: the cache is to be told first.
    Full,
}

/// What was told to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// One thing, and more may wait.
    Something,
    Nothing,
    /// Nothing before a look has ended.
    Looking,
}

impl Inbox {
    /// Of a socket that was subscribed.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket,
            proc: Proc::new(),
            queue: realtime::Mutex::new(Queue::default())?,
            tellable: AtomicBool::new(false),
            looking: AtomicUsize::new(0),
            since: AtomicU64::new(0),
            first: AtomicBool::new(false),
        })
    }

    /// To be waited for.
    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// True where the cache can be told something.
    pub fn is_tellable(&self) -> bool {
        self.tellable.load(Ordering::SeqCst)
    }

    /// Takes one message out of the socket. `first`: the thread goes before all
    /// ordinary ones.
    pub fn receive(&self, first: bool) -> Received {
        let mut queue = self.lock(first);
        if queue.is_full() {
            return Received::Full;
        }
        let mut buffer = [0; message::MAX];
        let message = match netlink::hear_kernel(self.socket.as_fd(), &mut buffer) {
            Ok(Some(length)) => message::parse(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                queue.push(Entry::Lost);
                self.release(queue);
                return Received::Something(0);
            }
            Ok(None) | Err(_) => {
                drop(queue);
                if first {
                    self.hold();
                }
                return Received::Nothing;
            }
        };
        let Some(message) = message else {
            return Received::Something(0); // nothing that concerns us
        };
        match message.what {
            What::Exec { pid } => {
                let number = queue.push(Entry::Looking(message));
                self.since.store(self.proc.now(), Ordering::SeqCst);
                self.looking.fetch_add(1, Ordering::SeqCst);
                self.release(queue);
                let look = Look::new(&self.proc, pid);
                self.looking.fetch_sub(1, Ordering::SeqCst);
                let mut queue = self.lock(first);
                queue.looked(number, look);
                self.release(queue);
            }
            _ => {
                queue.push(Entry::Message(message));
                self.release(queue);
            }
        }
        Received::Something(message.at)
    }

    /// Keeps the processor while others look: what they look at may be waiting for it.
    /// Not for a look that takes long: it waits for something else.
    fn hold(&self) {
        let ends = || self.since.load(Ordering::SeqCst) + TURNS;
        while self.looking.load(Ordering::SeqCst) > 0 && self.proc.now() < ends() {
            std::hint::spin_loop();
        }
    }

    /// True where a message waits in the socket that is not later than `until`.
    pub fn is_behind(&self, until: u64) -> bool {
        let mut buffer = [0; message::MAX];
        let Some(length) = netlink::peek_kernel(self.socket.as_fd(), &mut buffer) else {
            return false;
        };
        let message = message::parse(buffer.get(..length).unwrap_or_default());
        message.is_none_or(|message| message.at <= until)
    }

    /// Tells the cache what waits longest.
    pub fn tell_one(&self, cache: &mut Cache<Proc>, first: bool) -> Told {
        let mut queue = self.lock(first);
        let (entry, more) = (queue.pop(), !queue.entries.is_empty());
        self.release(queue);
        match entry {
            Some(Entry::Message(message)) => cache.tell_with(message, None),
            Some(Entry::Executed(message, look)) => cache.tell_with(message, Some(look)),
            Some(Entry::Lost) => cache.tell_lost(),
            Some(Entry::Looking(_)) | None if more => return Told::Looking,
            Some(Entry::Looking(_)) | None => return Told::Nothing,
        }
        Told::Something
    }

    /// The look that the first in the queue waits for takes too long: what it would
    /// have told is not known.
    pub fn give_up(&self) {
        let mut queue = self.lock(false);
        let number = queue.first;
        queue.looked(number, Look::default());
        self.release(queue);
    }

    fn release(&self, queue: realtime::Guard<'_, Queue>) {
        self.tellable.store(queue.is_tellable(), Ordering::SeqCst);
    }

    fn lock(&self, first: bool) -> realtime::Guard<'_, Queue> {
        let mut end = None;
        let guard = loop {
            if let Some(guard) = self.queue.try_lock() {
                break guard;
            }
            let end = *end.get_or_insert_with(|| self.proc.now() + TURNS);
            // An ordinary thread may be waiting for this very processor.
            if !first || !self.first.load(Ordering::SeqCst) || self.proc.now() > end {
                break self.queue.lock();
            }
            std::hint::spin_loop();
        };
        self.first.store(first, Ordering::SeqCst);
        guard
    }
}

//! What the kernel has told and the cache has not been told yet, in order.
//!
//! A process may end some 50 us after it has executed its program, and then the
//! program is gone. So it is read here, before anything else is done with the message,
//! and under the lock: the kernel wakes a thread on the processor that the process is
//! on before the process has its turn, and as long as that thread waits, turning round,
//! for another one that is reading, the process does not run.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::cache::{Cache, Look};
use super::message::{self, Message, What};
use super::proc::Proc;
use crate::sys::{netlink, realtime};

/// Looks that wait: each holds a descriptor.
const MOST_LOOKS: usize = 64;
/// Messages that wait; the kernel keeps what is more.
const MOST: usize = 4096;
/// A thread that goes first waits so long, turning round, for another of its kind: a
/// processor of a virtual machine may be away in the midst of it.
const TURNS: Duration = Duration::from_millis(1);

/// See above.
pub(super) struct Inbox {
    socket: OwnedFd,
    proc: Proc,
    queue: realtime::Mutex<Queue>,
    /// As many as there are in the queue.
    waiting: AtomicUsize,
    /// Whoever holds the lock goes first, and has a processor.
    first: AtomicBool,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    looks: usize,
}

type ProcLook = Look<OwnedFd>;

enum Entry {
    Message(Message, Option<ProcLook>),
    Lost,
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

impl Inbox {
    /// Of a socket that was subscribed.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket,
            proc: Proc::new(),
            queue: realtime::Mutex::new(Queue::default())?,
            waiting: AtomicUsize::new(0),
            first: AtomicBool::new(false),
        })
    }

    /// To be waited for.
    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// True where the cache has been told all.
    pub fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Takes one message out of the socket. `first`: the thread goes before all
    /// ordinary ones.
    pub fn receive(&self, first: bool) -> Received {
        let mut queue = self.lock(first);
        if queue.looks >= MOST_LOOKS || queue.entries.len() >= MOST {
            return Received::Full;
        }
        let mut buffer = [0; message::MAX];
        let entry = match netlink::hear_kernel(self.socket.as_fd(), &mut buffer) {
            Ok(Some(length)) => {
                let message = message::parse(buffer.get(..length).unwrap_or_default());
                let Some(message) = message else {
                    return Received::Something(0); // nothing that concerns us
                };
                let look = match message.what {
                    What::Exec { pid } => Some(Look::new(&self.proc, pid)),
                    _ => None,
                };
                queue.looks += usize::from(look.is_some());
                Entry::Message(message, look)
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Entry::Lost,
            Ok(None) | Err(_) => return Received::Nothing,
        };
        let at = match &entry {
            Entry::Message(message, _) => message.at,
            Entry::Lost => 0,
        };
        queue.entries.push_back(entry);
        self.waiting.store(queue.entries.len(), Ordering::SeqCst);
        Received::Something(at)
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

    /// Tells the cache what waits longest; false: nothing does.
    pub fn tell_one(&self, cache: &mut Cache<Proc>, first: bool) -> bool {
        let mut queue = self.lock(first);
        let entry = queue.entries.pop_front();
        self.waiting.store(queue.entries.len(), Ordering::SeqCst);
        if matches!(entry, Some(Entry::Message(_, Some(_)))) {
            queue.looks -= 1;
        }
        drop(queue);
        match entry {
            Some(Entry::Message(message, look)) => cache.tell_with(message, look),
            Some(Entry::Lost) => cache.tell_lost(),
            None => return false,
        }
        true
    }

    fn lock(&self, first: bool) -> realtime::Guard<'_, Queue> {
        let mut end = None;
        let guard = loop {
            if let Some(guard) = self.queue.try_lock() {
                break guard;
            }
            let end = *end.get_or_insert_with(|| Instant::now() + TURNS);
            // An ordinary thread may be waiting for this very processor.
            if !first || !self.first.load(Ordering::SeqCst) || Instant::now() > end {
                break self.queue.lock();
            }
            std::hint::spin_loop();
        };
        self.first.store(first, Ordering::SeqCst);
        guard
    }
}

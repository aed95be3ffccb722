//! What the kernel has told and the cache has not been told yet.
//!
//! A process may end some 50 us after it has executed its program, and then the program
//! is gone. So each processor has a socket of its own for the programs that it executes,
//! and threads that go first: the kernel wakes one before the process has its turn, and
//! it looks at the program before it does anything else. No lock is held during a look:
//! it may have to wait for what the process holds.
//!
//! All else that happens waits in one more socket, and nobody is woken for it. It is
//! taken out at once, when somebody wants to know, and put in order by the time that the
//! kernel has written into each message. A message of a process is in its socket before
//! its next one is made, so whatever is older than the moment at which one began to look
//! into all of them is complete, and may be told.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::cache::Look;
use super::filter::{self, Cpus};
use super::merge::{Entry, Merge};
use super::message::{self, Message, What};
use super::proc::Proc;
use crate::sys::{netlink, realtime};

/// Looks that wait on a processor: each holds a descriptor. The kernel keeps the rest.
const MOST_LOOKS: usize = 64;
/// Room for messages, in bytes of the kernel's memory while they wait: some 25,000, and
/// 3,000 of programs on each processor.
const BUFFER: usize = 32 << 20;
const POST_BUFFER: usize = 4 << 20;
/// Turns that a thread waits for whoever has the lock, before it goes to sleep: nobody
/// has it for longer, unless he has lost his processor.
const TURNS: usize = 500;

/// See above.
pub(super) struct Inbox {
    posts: Vec<Post>,
    others: OwnedFd,
    /// Looks that have ended and were not told.
    looked: AtomicUsize,
}

/// Of one processor.
pub(super) struct Post {
    socket: OwnedFd,
    proc: Proc,
    looks: realtime::Mutex<Looks>,
}

#[derive(Default)]
struct Looks {
    /// In the order of the messages; None: somebody is looking.
    queue: VecDeque<(Message, Option<Look<OwnedFd>>)>,
    /// The number of the first of them, of all that there ever were.
    first: u64,
    lost: bool,
}

/// What a look into the socket of a processor has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// A program, or the bell.
    Something,
    Nothing,
    /// There is no room: the cache is to be told first.
    Full,
}

impl Looks {
    /// The look has ended, unless nobody waits for it any more.
    fn looked(&mut self, number: u64, look: Look<OwnedFd>) -> bool {
        let at = number.checked_sub(self.first);
        let at = at.and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| self.queue.get_mut(at)) {
            Some((_, waits @ None)) => *waits = Some(look),
            _ => return false,
        }
        true
    }

    fn pop_ended(&mut self) -> Option<(Message, Look<OwnedFd>)> {
        let ended = self.queue.front().is_some_and(|(_, look)| look.is_some());
        let (message, look) = ended.then(|| self.queue.pop_front())??;
        self.first += 1;
        Some((message, look?))
    }
}

impl Inbox {
    /// Sockets for these processors, all of which are asked for by `subscribe`; `others`
    /// first, whose program tells of none.
    ///
    /// # Errors
    /// The kernel's, or those of `subscribe`.
    pub fn new(
        processors: &[u32],
        subscribe: impl Fn(&OwnedFd) -> io::Result<()>,
    ) -> io::Result<Self> {
        let socket = |filter: &[_], buffer| {
            let socket = netlink::process_events(filter, buffer)?;
            subscribe(&socket).map(|()| socket)
        };
        let others = socket(&filter::happened(), BUFFER)?;
        // What is executed on a processor that has no thread goes to the first one.
        let posts = (0..).zip(processors).map(|(nth, cpu)| {
            let cpus = match (nth, processors) {
                (0, [_, rest @ ..]) => Cpus::AllBut(rest.to_vec()),
                _ => Cpus::One(*cpu),
            };
            Ok(Post {
                socket: socket(&filter::executed(&cpus), POST_BUFFER)?,
                proc: Proc::new(),
                looks: realtime::Mutex::new(Looks::default())?,
            })
        });
        Ok(Self {
            posts: posts.collect::<io::Result<_>>()?,
            others,
            looked: AtomicUsize::new(0),
        })
    }

    /// One for each processor.
    pub fn posts(&self) -> &[Post] {
        &self.posts
    }

    /// Everything that is listened to.
    pub fn sockets(&self) -> impl Iterator<Item = &OwnedFd> {
        let executed = self.posts.iter().map(|post| &post.socket);
        executed.chain([&self.others])
    }

    /// True where a look has ended and was not told.
    pub fn has_looked(&self) -> bool {
        self.looked.load(Ordering::SeqCst) > 0
    }

    /// Takes one message out of the socket of a processor, and looks at the program that
    /// it tells of.
    pub fn look(&self, post: &Post) -> Looked {
        let mut looks = post.lock();
        if looks.queue.len() >= MOST_LOOKS {
            return Looked::Full;
        }
        let mut buffer = [0; netlink::MAX];
        let message = match netlink::hear_kernel(post.socket.as_fd(), &mut buffer) {
            Ok(Some(length)) => message::parse(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                looks.lost = true;
                return Looked::Something;
            }
            Ok(None) | Err(_) => return Looked::Nothing,
        };
        // Else it was the bell.
        let Some((message, pid)) = message.and_then(executed) else {
            return Looked::Something;
        };
        looks.queue.push_back((message, None));
        let number = looks.first + looks.queue.len() as u64 - 1;
        drop(looks);
        let look = Look::new(&post.proc, pid);
        if post.lock().looked(number, look) {
            self.looked.fetch_add(1, Ordering::SeqCst);
        }
        Looked::Something
    }

    /// Brings into `merge` all that has happened until `now`. What it returns is the
    /// moment until which that is complete; `now`, unless a program is still to be
    /// looked at: then whoever waits for programs does not sleep.
    pub fn collect(&self, now: u64, merge: &mut Merge) -> u64 {
        // From what is last to what is first: what a thread takes out of a socket
        // meanwhile is seen among the looks.
        let unheard = self.unheard();
        let mut complete = unheard.map_or(now, |at| now.min(at.saturating_sub(1)));
        for post in &self.posts {
            let mut looks = post.lock();
            while let Some((message, look)) = looks.pop_ended() {
                self.looked.fetch_sub(1, Ordering::SeqCst);
                merge.add(Entry::Executed(message, look));
            }
            if let Some((message, _)) = looks.queue.front() {
                complete = complete.min(message.at.saturating_sub(1));
            }
            merge.lost |= std::mem::take(&mut looks.lost);
        }
        loop {
            let add = |bytes: &[u8]| {
                if let Some(message) = message::parse(bytes) {
                    merge.add(Entry::Message(message));
                }
            };
            match netlink::hear_many(self.others.as_fd(), add) {
                Ok(true) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => merge.lost = true,
                Ok(false) | Err(_) => return complete,
            }
        }
    }

    /// The moment of the first message of a program that nobody has taken yet.
    fn unheard(&self) -> Option<u64> {
        let sockets = self.posts.iter().map(|post| post.socket.as_fd());
        let mut polled: Vec<_> = sockets
            .map(|socket| PollFd::new(socket, PollFlags::POLLIN))
            .collect();
        if poll(&mut polled, PollTimeout::ZERO) == Ok(0) {
            return None;
        }
        let first = |post: &Post| {
            let mut buffer = [0; netlink::MAX];
            let length = netlink::peek_kernel(post.socket.as_fd(), &mut buffer)?;
            let message = message::parse(buffer.get(..length).unwrap_or_default());
            message.map(|message| message.at)
        };
        self.posts.iter().filter_map(first).min()
    }

    /// The looks that have begun take too long: what they would have told is not known.
    pub fn give_up(&self) {
        for post in &self.posts {
            let mut looks = post.lock();
            for (_, look) in &mut looks.queue {
                if look.is_none() {
                    *look = Some(Look::default());
                    self.looked.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    }
}

fn executed(message: Message) -> Option<(Message, i32)> {
    match message.what {
        What::Exec { pid } => Some((message, pid)),
        _ => None,
    }
}

impl Post {
    /// True where there is no room for another look.
    pub fn is_full(&self) -> bool {
        self.lock().queue.len() >= MOST_LOOKS
    }

    /// To be waited for.
    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    fn lock(&self) -> realtime::Guard<'_, Looks> {
        for _ in 0..TURNS {
            if let Some(guard) = self.looks.try_lock() {
                return guard;
            }
            std::hint::spin_loop();
        }
        self.looks.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::actor::listen::subscribe;
    use crate::watch::actor::process::Reader;
    use std::process::Command;

    /// What waits in the sockets of the processors: programs, and all else.
    fn waits(inbox: &Inbox) -> (usize, usize) {
        let (mut programs, mut bells) = (0, 0);
        for post in inbox.posts() {
            let mut buffer = [0; netlink::MAX];
            while let Ok(Some(length)) = netlink::hear_kernel(post.socket.as_fd(), &mut buffer) {
                match message::parse(&buffer[..length]).and_then(executed) {
                    Some(_) => programs += 1,
                    None => bells += 1,
                }
            }
        }
        (programs, bells)
    }

    #[test]
    fn who_forks_and_never_executes_wakes_somebody_now_and_then() {
        let Ok(inbox) = Inbox::new(&realtime::processors(), subscribe) else {
            eprintln!("left out: the kernel tells nothing");
            return;
        };
        let script = "i=0; while [ $i -lt 3000 ]; do (:); i=$((i+1)); done";
        let sh = Command::new("sh").args(["-c", script]).status();
        assert!(sh.unwrap().success());
        let mut merge = Merge::default();
        let now = Proc::new().now();
        inbox.collect(now, &mut merge);
        // They began and ended: all of it is there, and some of it was told aloud.
        let (programs, bells) = waits(&inbox);
        assert!(merge.waits() >= 6000, "{}", merge.waits());
        assert!(programs >= 1 && (1..1000).contains(&bells), "{bells}");
    }
}

//! The one wait: an epoll instance whose tokens say what is ready.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::time::Moment;

/// What a descriptor is. Numbers are never used twice, so a token that comes
/// late meets nobody instead of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A signal came.
    Signals,
    /// A directory changed.
    Places,
    /// Somebody connects.
    Listener,
    /// A worker speaks.
    Channel(u64),
    /// A worker ended.
    Exit(u64),
    /// A client speaks, or takes more.
    Client(u64),
}

impl Token {
    fn encode(self) -> u64 {
        match self {
            Self::Signals => 0,
            Self::Places => 1,
            Self::Listener => 2,
            Self::Channel(id) => 3 | id << 3,
            Self::Exit(id) => 4 | id << 3,
            Self::Client(id) => 5 | id << 3,
        }
    }

    fn decode(data: u64) -> Option<Self> {
        let id = data >> 3;
        match data & 7 {
            0 => Some(Self::Signals),
            1 => Some(Self::Places),
            2 => Some(Self::Listener),
            3 => Some(Self::Channel(id)),
            4 => Some(Self::Exit(id)),
            5 => Some(Self::Client(id)),
            _ => None,
        }
    }
}

/// The epoll instance.
#[derive(Debug)]
pub struct Poll {
    epoll: Epoll,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read.
    Read,
    /// Room to write.
    Write,
    /// Both.
    Both,
    /// Only that the other end is gone.
    Gone,
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Read => EpollFlags::EPOLLIN,
            Self::Write => EpollFlags::EPOLLOUT,
            Self::Both => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
            Self::Gone => EpollFlags::empty(),
        }
    }
}

impl Poll {
    /// Waits for nothing yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        })
    }

    /// Waits for a descriptor from now on.
    pub fn add(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        Ok(self
            .epoll
            .add(fd, EpollEvent::new(Interest::Read.flags(), token.encode()))?)
    }

    /// Waits for something else of it.
    pub fn modify(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        let mut event = EpollEvent::new(interest.flags(), token.encode());
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// Waits for it no more.
    pub fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = self.epoll.delete(fd);
    }

    /// Waits until something is ready or `until` has come.
    pub fn wait(&self, now: Moment, until: Option<Moment>) -> io::Result<Vec<Token>> {
        let mut events = [EpollEvent::empty(); 64];
        let count = match self.epoll.wait(&mut events, timeout(now, until)) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(events
            .iter()
            .take(count)
            .filter_map(|event| Token::decode(event.data()))
            .collect())
    }
}

/// Rounded up: waking a little early would only make the loop turn in vain.
fn timeout(now: Moment, until: Option<Moment>) -> EpollTimeout {
    let Some(until) = until else {
        return EpollTimeout::NONE;
    };
    let millis = (until - now).as_nanos().div_ceil(1_000_000);
    EpollTimeout::try_from(millis.min(3_600_000) as u32).unwrap_or(EpollTimeout::MAX)
}

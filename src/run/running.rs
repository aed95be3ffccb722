//! One running command, and the words in which epoll speaks of it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::Job;
use super::pipe::Outlet;
use crate::schedule::RunId;
use crate::sys::process;
use crate::time::Moment;

#[derive(Debug)]
pub(super) struct Run {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) started: Moment,
    pub(super) output: Outlet,
    pub(super) stop: Stop,
    pub(super) kill_after: Duration,
    /// The entry of this run in `due`.
    pub(super) due: Option<Moment>,
    /// What the mail is to say, for `output=mail`.
    pub(super) mail: Option<Box<Job>>,
}

/// How far we are in ending a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Running,
    Termed,
    Killed,
}

/// What an epoll event is about, as its 64 bits of data.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Process(RunId),
    Pipe(RunId),
}

impl Source {
    pub(super) fn token(self) -> u64 {
        match self {
            Self::Process(run) => run.0 << 1,
            Self::Pipe(run) => run.0 << 1 | 1,
        }
    }

    pub(super) fn from_token(token: u64) -> Self {
        let run = RunId(token >> 1);
        if token & 1 == 0 {
            Self::Process(run)
        } else {
            Self::Pipe(run)
        }
    }
}

impl Run {
    /// To the group. A set-user-id command may be out of reach.
    pub(super) fn signal(&self, number: i32) {
        if let Err(error) = process::signal_group(self.pid, self.pidfd.as_fd(), number)
            && error.raw_os_error() != Some(libc::ESRCH)
        {
            log::warn!(
                "cannot send signal {number} to process {}: {error}",
                self.pid
            );
        }
    }
}

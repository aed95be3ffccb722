//! The lives of one stream command: a process, a pause, a process.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::super::{Job, Outcome, Runner};
use super::StreamId;
use super::queue::{Limits, Queue};
use crate::schedule::RunId;
use crate::sys::memory::above_stdio;
use crate::sys::pipe::unread;
use crate::time::Moment;

/// Asked of the kernel for the pipe: fewer, larger writes and reads.
const PIPE_SIZE: i32 = 256 << 10;
/// The size of a pipe that could not be changed (pipe(7)).
const DEFAULT_PIPE_SIZE: usize = 64 << 10;
/// System calls for one stream in one turn.
const WRITES: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// A life this long makes the next restart an immediate one again.
const HEALTHY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) job: Job,
    pub(super) queue: Queue,
    pub(super) life: Life,
    /// Before the start after the next death.
    pub(super) pause: Duration,
    /// What was lost when the log was told last.
    pub(super) lost_told: u64,
    /// Set by `close`: no further start; TERM then.
    pub(super) closing: Option<Moment>,
    /// It has been sent TERM.
    pub(super) termed: bool,
}

/// Whether a process reads.
#[derive(Debug)]
pub(super) enum Life {
    /// None; one is started then.
    Pause(Moment),
    Running(Process),
    /// None, and none to come.
    Over,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) run: RunId,
    pub(super) started: Moment,
    /// None after end of file.
    pub(super) write: Option<File>,
    /// Its standard input, ours only to ask what is unread.
    pub(super) read: OwnedFd,
    pub(super) capacity: usize,
    /// The pipe is full: epoll tells when it is not.
    pub(super) full: bool,
}

impl Stream {
    pub(super) fn new(job: Job, limits: Limits, now: Moment) -> Self {
        Self {
            job: Job {
                stdin: Vec::new(),
                timeout: None,
                ..job
            },
            queue: Queue::new(limits),
            life: Life::Pause(now),
            pause: Duration::ZERO,
            lost_told: 0,
            closing: None,
            termed: false,
        }
    }

    pub(super) fn run(&self) -> Option<RunId> {
        match &self.life {
            Life::Running(process) => Some(process.run),
            Life::Pause(_) | Life::Over => None,
        }
    }

    /// When something is to be done: a start, or the TERM of a closing one.
    pub(super) fn due(&self) -> Option<Moment> {
        match &self.life {
            Life::Pause(due) => Some(*due),
            Life::Running(_) if self.termed => None,
            Life::Running(_) => self.closing,
            Life::Over => None,
        }
    }

    pub(super) fn terminate(&mut self, now: Moment, runner: &mut Runner) {
        if let Some(run) = self.run() {
            runner.kill(run, now);
        }
        // The runner's own deadline is the next one.
        self.termed = true;
    }

    /// Why it could not be, if it could not.
    pub(super) fn start(
        &mut self,
        run: RunId,
        id: StreamId,
        epoll: &Epoll,
        now: Moment,
        runner: &mut Runner,
    ) -> Option<String> {
        match Process::start(run, id, &self.job, epoll, now, runner) {
            Ok(process) => {
                self.life = Life::Running(process);
                None
            }
            Err(error) => {
                let pause = self.next_pause(Duration::ZERO);
                self.life = Life::Pause(now + pause);
                let (when, waiting) = (when(pause), self.queue.len());
                Some(format!(
                    "{error}; tried again {when}, {waiting} events wait for it"
                ))
            }
        }
    }

    fn next_pause(&mut self, lived: Duration) -> Duration {
        let pause = if lived >= HEALTHY {
            Duration::ZERO
        } else {
            self.pause
        };
        self.pause = (pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE);
        pause
    }

    /// What is to be told of it, where it is started again.
    pub(super) fn ended(&mut self, outcome: Outcome, now: Moment) -> Option<String> {
        let Life::Running(process) = &self.life else {
            return None;
        };
        // Where the kernel does not answer, all that the pipe may hold is given again.
        let rest = unread(process.read.as_fd()).unwrap_or(process.capacity);
        let lived = now - process.started;
        self.queue.take_back(rest);
        if self.closing.is_some() {
            self.life = Life::Over;
            return None;
        }
        let pause = self.next_pause(lived);
        self.life = Life::Pause(now + pause);
        let (when, waiting) = (when(pause), self.queue.len());
        Some(format!(
            "the stream's command {outcome}; started again {when}, {waiting} events wait for it"
        ))
    }

    /// Writes until nothing waits or the pipe is full.
    pub(super) fn write(&mut self, id: StreamId, epoll: &Epoll) {
        let Life::Running(process) = &mut self.life else {
            return;
        };
        let Some(pipe) = &mut process.write else {
            return;
        };
        for _ in 0..WRITES {
            if process.full || self.queue.is_empty() {
                return;
            }
            match pipe.write_vectored(&self.queue.slices()) {
                Ok(size) => self.queue.written(size, process.capacity),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // We hold the other end ourselves, so that the only error is a full pipe.
                Err(_) => process.full = true,
            }
        }
        // More than a turn's share: as if it had just become writable.
        let mut event = pipe_event(id);
        let _ = epoll.modify(pipe, &mut event);
    }

    /// Once when a loss begins to grow, by powers of ten after that.
    pub(super) fn loss(&mut self) -> Option<String> {
        let lost = self.queue.counts.lost;
        if lost == 0 || lost < self.lost_told.saturating_mul(10) {
            return None;
        }
        self.lost_told = lost;
        Some(format!(
            "the stream's command does not read fast enough: {lost} events lost so far"
        ))
    }
}

/// `at once`, `in 2s`
fn when(pause: Duration) -> String {
    match pause {
        Duration::ZERO => "at once".into(),
        _ => format!("in {pause:?}"),
    }
}

fn pipe_event(id: StreamId) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLOUT | EpollFlags::EPOLLET, id.0.into())
}

impl Process {
    fn start(
        run: RunId,
        id: StreamId,
        job: &Job,
        epoll: &Epoll,
        now: Moment,
        runner: &mut Runner,
    ) -> io::Result<Self> {
        let (read, write) = io::pipe()?; // close-on-exec
        let read = above_stdio(read.into())?;
        let write = above_stdio(write.into())?;
        // An unprivileged user may have used up fs.pipe-user-pages-soft.
        let capacity = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE))
            .or_else(|_| fcntl(&write, FcntlArg::F_GETPIPE_SZ));
        let capacity = capacity.ok().and_then(|size| usize::try_from(size).ok());
        // Of this end only: the command's end is a description of its own.
        fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        epoll.add(&write, pipe_event(id))?;
        runner.start_reading(run, job, read.as_fd(), now)?;
        Ok(Self {
            run,
            started: now,
            write: Some(write.into()),
            read,
            capacity: capacity.unwrap_or(DEFAULT_PIPE_SIZE),
            full: false,
        })
    }
}

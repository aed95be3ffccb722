//! `run=stream`: one long-lived command that reads events as JSON lines from its
//! standard input.
//!
//! It is started at once, and again when it ends: at once the first time, then
//! after 1, 2, 4 ... 60 seconds, until it has lived for a minute. What it was
//! given and had not finished reading goes to the next one: we keep the reading
//! end of its pipe too, so the kernel can say how many bytes are unread. (For
//! the same reason a command that closes its input is one that never reads: the
//! queue fills, merges by path, and loses with a count.)
//!
//! On shutdown the politest comes first: end of file, when it can still read all
//! it was given; after a grace TERM, after `kill_after` KILL. What is unread
//! then can be saved.
//!
//! Writes are gathered: `push` only queues, `process`, at the end of a turn of
//! the caller's loop, writes many lines with one system call.

mod life;
mod queue;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};

use self::life::{Life, Stream};
pub use self::queue::{Counts, Limits};
use super::{Job, Outcome, Runner};
use crate::schedule::RunId;
use crate::time::Moment;

/// Runs of streams are numbered from here; each life is a run of its own.
const FIRST_RUN: u64 = 1 << 61;

/// One stream of a [`Streams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

/// What an operator should know of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which.
    pub stream: StreamId,
    /// Its command could not be started.
    pub failed: bool,
    /// One line for the log.
    pub text: String,
}

/// All stream commands of a worker.
#[derive(Debug)]
pub struct Streams {
    /// Edge-triggered: it says which pipes have room again.
    epoll: Epoll,
    streams: BTreeMap<StreamId, Stream>,
    next: u32,
    next_run: u64,
    told: Vec<Told>,
}

impl Streams {
    /// None yet.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self {
            epoll,
            streams: BTreeMap::new(),
            next: 0,
            next_run: FIRST_RUN,
            told: Vec::new(),
        })
    }

    /// Readable (an epoll descriptor) when `process` can write on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// A stream of this command (its `stdin` and `timeout` are not used). The
    /// next `process` starts it.
    pub fn open(&mut self, job: Job, limits: Limits, now: Moment) -> StreamId {
        let id = StreamId(self.next);
        self.next += 1;
        self.streams.insert(id, Stream::new(job, limits, now));
        id
    }

    /// Hands over one event: a line of JSON without its newline, and its path.
    /// It is written by the next `process`.
    pub fn push(&mut self, id: StreamId, line: &[u8], path: &[u8]) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.queue.push(line, path);
        }
    }

    /// Which stream a run is a life of, for the reports of the [`Runner`].
    pub fn of(&self, run: RunId) -> Option<StreamId> {
        self.streams
            .iter()
            .find(|(_, stream)| stream.run() == Some(run))
            .map(|(&id, _)| id)
    }

    /// The [`Runner`] reported the end of a run. True when it was a stream's.
    pub fn ended(&mut self, run: RunId, outcome: Outcome, now: Moment) -> bool {
        let mut streams = self.streams.iter_mut();
        let Some((&stream, it)) = streams.find(|(_, stream)| stream.run() == Some(run)) else {
            return false;
        };
        let text = it.ended(outcome, now);
        self.told.extend(text.map(|text| Told {
            stream,
            failed: false,
            text,
        }));
        true
    }

    /// What is to be told since the last call.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Starts what is due, writes what there is room for; bounded, never blocks.
    pub fn process(&mut self, now: Moment, runner: &mut Runner) {
        let mut events = [EpollEvent::empty(); 64];
        let count = self
            .epoll
            .wait(&mut events, EpollTimeout::ZERO)
            .unwrap_or(0);
        for event in events.iter().take(count) {
            let id = u32::try_from(event.data()).ok().map(StreamId);
            if let Some(stream) = id.and_then(|id| self.streams.get_mut(&id))
                && let Life::Running(process) = &mut stream.life
            {
                process.full = false;
            }
        }
        for (&id, stream) in &mut self.streams {
            if stream.due().is_some_and(|due| due <= now) {
                if stream.closing.is_some() {
                    stream.terminate(now, runner);
                } else {
                    let run = RunId(self.next_run);
                    self.next_run += 1;
                    let error = stream.start(run, id, &self.epoll, now, runner);
                    self.told.extend(error.map(|text| Told {
                        stream: id,
                        failed: true,
                        text,
                    }));
                }
            }
            stream.write(id, &self.epoll);
            self.told.extend(stream.loss().map(|text| Told {
                stream: id,
                failed: false,
                text,
            }));
        }
    }

    /// When `process` must be called without any event.
    pub fn deadline(&self) -> Option<Moment> {
        self.streams.values().filter_map(Stream::due).min()
    }

    /// No more events for this stream: end of file now, TERM after `grace`.
    pub fn close(&mut self, id: StreamId, grace: Duration, now: Moment) {
        if let Some(stream) = self.streams.get_mut(&id) {
            // What fits is still written.
            stream.write(id, &self.epoll);
            stream.closing = Some(now + grace);
            match &mut stream.life {
                Life::Running(process) => process.write = None,
                life => *life = Life::Over,
            }
        }
    }

    /// [`close`](Self::close) of every stream.
    pub fn close_all(&mut self, grace: Duration, now: Moment) {
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in ids {
            self.close(id, grace, now);
        }
    }

    /// True when the process of a closed stream is gone.
    pub fn is_over(&self, id: StreamId) -> bool {
        self.streams
            .get(&id)
            .is_none_or(|stream| matches!(stream.life, Life::Over))
    }

    /// Forgets a stream that is over; the lines (each with its newline) that no
    /// process has read.
    pub fn remove(&mut self, id: StreamId) -> Vec<Vec<u8>> {
        let stream = self.streams.remove(&id);
        stream.map_or_else(Vec::new, |mut stream| stream.queue.take_all())
    }

    /// True while it has a process.
    pub fn is_running(&self, id: StreamId) -> bool {
        self.streams
            .get(&id)
            .is_some_and(|stream| stream.run().is_some())
    }

    /// What was merged, lost and given again; and how many lines wait.
    pub fn counts(&self, id: StreamId) -> Option<(Counts, usize)> {
        self.streams
            .get(&id)
            .map(|stream| (stream.queue.counts, stream.queue.len()))
    }
}

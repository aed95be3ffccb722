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

mod queue;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use self::queue::Queue;
pub use self::queue::{Counts, Limits};
use super::{Job, Outcome, Runner};
use crate::schedule::RunId;
use crate::sys::memory::above_stdio;
use crate::sys::pipe::unread;
use crate::time::Moment;

/// Runs of streams are numbered from here; each life is a run of its own.
const FIRST_RUN: u64 = 1 << 61;
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

/// One stream of a [`Streams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

/// All stream commands of a worker.
#[derive(Debug)]
pub struct Streams {
    /// Edge-triggered: it says which pipes have room again.
    epoll: Epoll,
    streams: BTreeMap<StreamId, Stream>,
    next: u32,
    next_run: u64,
}

#[derive(Debug)]
struct Stream {
    job: Job,
    queue: Queue,
    life: Life,
    /// Before the start after the next death.
    pause: Duration,
    /// What was lost when the log was told last.
    lost_told: u64,
    /// Set by `close`: no further start; TERM then.
    closing: Option<Moment>,
}

/// Whether a process reads.
#[derive(Debug)]
enum Life {
    /// None; one is started then.
    Pause(Moment),
    Running(Process),
    /// None, and none to come.
    Over,
}

#[derive(Debug)]
struct Process {
    run: RunId,
    started: Moment,
    /// None after end of file.
    write: Option<File>,
    /// Its standard input, ours only to ask what is unread.
    read: OwnedFd,
    capacity: usize,
    /// The pipe is full: epoll tells when it is not.
    full: bool,
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
        let stream = Stream {
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
        };
        self.streams.insert(id, stream);
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
        let mut streams = self.streams.values_mut();
        match streams.find(|stream| stream.run() == Some(run)) {
            Some(stream) => stream.ended(outcome, now),
            None => return false,
        }
        true
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
                    stream.start(run, id, &self.epoll, now, runner);
                }
            }
            stream.write(id, &self.epoll);
            stream.tell_loss();
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

    /// What was merged, lost and given again; and how many lines wait.
    pub fn counts(&self, id: StreamId) -> Option<(Counts, usize)> {
        self.streams
            .get(&id)
            .map(|stream| (stream.queue.counts, stream.queue.len()))
    }
}

impl Stream {
    fn run(&self) -> Option<RunId> {
        match &self.life {
            Life::Running(process) => Some(process.run),
            Life::Pause(_) | Life::Over => None,
        }
    }

    /// When something is to be done: a start, or the TERM of a closing one.
    fn due(&self) -> Option<Moment> {
        match &self.life {
            Life::Pause(due) => Some(*due),
            Life::Running(_) => self.closing,
            Life::Over => None,
        }
    }

    fn terminate(&mut self, now: Moment, runner: &mut Runner) {
        if let Some(run) = self.run() {
            runner.kill(run, now);
        }
        // The runner's own deadline is the next one.
        self.closing = Some(Moment(u64::MAX));
    }

    fn start(&mut self, run: RunId, id: StreamId, epoll: &Epoll, now: Moment, runner: &mut Runner) {
        let started = Process::start(run, id, &self.job, epoll, now, runner);
        match started {
            Ok(process) => self.life = Life::Running(process),
            Err(error) => {
                let pause = self.next_pause(Duration::ZERO);
                self.life = Life::Pause(now + pause);
                log::error!("stream: {error}; tried again in {pause:?}");
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

    fn ended(&mut self, outcome: Outcome, now: Moment) {
        let Life::Running(process) = &self.life else {
            return;
        };
        // Where the kernel does not answer, all that the pipe may hold is given again.
        let rest = unread(process.read.as_fd()).unwrap_or(process.capacity);
        let lived = now - process.started;
        self.queue.take_back(rest);
        if self.closing.is_some() {
            self.life = Life::Over;
            return;
        }
        let pause = self.next_pause(lived);
        self.life = Life::Pause(now + pause);
        let name = self
            .job
            .argv
            .first()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default();
        let waiting = self.queue.len();
        log::warn!(
            "stream: {name} {outcome}; started again in {pause:?}, {waiting} events wait for it"
        );
    }

    /// Writes until nothing waits or the pipe is full.
    fn write(&mut self, id: StreamId, epoll: &Epoll) {
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
    fn tell_loss(&mut self) {
        let lost = self.queue.counts.lost;
        if lost > 0 && lost >= self.lost_told.saturating_mul(10) {
            self.lost_told = lost;
            let name = self
                .job
                .argv
                .first()
                .map(|name| name.to_string_lossy())
                .unwrap_or_default();
            log::warn!("stream: {name} does not read fast enough: {lost} events lost so far");
        }
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

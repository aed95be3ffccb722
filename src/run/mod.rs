//! How a command is run: spawned, its output read, its end noticed.
//!
//! CONTRACT (the run room owns and fills this in).

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::schedule::RunId;
use crate::table::Output;
use crate::time::Moment;

/// One command, ready to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// argv; the first is looked up in `env`'s PATH when it has no slash.
    pub argv: Vec<OsString>,
    /// The whole environment, each name once.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory; None: that of the worker.
    pub cwd: Option<PathBuf>,
    /// File mode mask; None: that of the worker.
    pub umask: Option<u32>,
    /// Added to the worker's nice value.
    pub nice: Option<i32>,
    /// Another user to run as (system tables, root only).
    pub identity: Option<Identity>,
    /// What it reads; empty: /dev/null.
    pub stdin: Vec<u8>,
    /// Where its output goes.
    pub output: Output,
    /// TERM to its process group after this.
    pub timeout: Option<Duration>,
    /// KILL this long after TERM.
    pub kill_after: Duration,
}

/// A user to run as, looked up before the spawn.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code.
    Exited(i32),
    /// Ended by this signal.
    Signaled(i32),
}

/// What the runner has to say.
#[derive(Clone, Debug)]
pub enum Report {
    /// One line of output, without its newline, bounded, any bytes.
    Output(RunId, Vec<u8>),
    /// The run is over. Its process has been reaped.
    Ended {
        /// Which.
        run: RunId,
        /// Its process.
        pid: i32,
        /// How.
        outcome: Outcome,
        /// How long it ran.
        duration: Duration,
        /// True when `timeout` or `kill` ended it.
        killed: bool,
        /// The last output, bounded.
        tail: Vec<u8>,
    },
}

/// All running commands of a worker, behind one descriptor.
pub struct Runner {}

impl Runner {
    /// Opens /dev/null and an epoll instance.
    pub fn new() -> io::Result<Self> {
        Ok(Self {})
    }
    /// Readable (an epoll descriptor) when `process` has something to do.
    pub fn fd(&self) -> BorrowedFd<'_> {
        unimplemented!()
    }
    /// Starts a command at posix_spawn speed in its own process group; its pid.
    pub fn start(&mut self, run: RunId, job: &Job, now: Moment) -> io::Result<i32> {
        let _ = (run, job, now);
        unimplemented!()
    }
    /// TERM to the group of this run, KILL after its `kill_after`.
    pub fn kill(&mut self, run: RunId, now: Moment) {
        let _ = (run, now);
    }
    /// Reads output and reaps, without ever blocking.
    pub fn process(&mut self, now: Moment, out: &mut Vec<Report>) {
        let _ = (now, out);
    }
    /// The next timeout.
    pub fn deadline(&self) -> Option<Moment> {
        None
    }
    /// Acts on timeouts.
    pub fn tick(&mut self, now: Moment) {
        let _ = now;
    }
    /// Prepares what the next start needs (pipes), while nothing is urgent.
    pub fn prepare(&mut self) {}
    /// How many processes run.
    pub fn running(&self) -> usize {
        0
    }
}

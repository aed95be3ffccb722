//! How a command is run: spawned, its output read, its end noticed.
//!
//! ```text
//!  runner   all running commands behind one descriptor; timeouts, reaping
//!  pipe     the way of their output        capture  lines, tail, bounds
//!  input    what a command reads           file     output=PATH
//!  mail     output=mail                    error    why a start failed
//!  stream   run=stream: one command that reads many events
//! ```

mod capture;
mod error;
mod file;
mod input;
pub mod mail;
mod mailer;
mod pipe;
mod runner;
mod running;
pub mod stream;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

pub(crate) use capture::{Capture, Keep};
pub use capture::{MAX_LINE, TAIL};
pub use error::StartError;
pub(crate) use pipe::{Pipe, READ};
pub use runner::Runner;

use crate::schedule::RunId;
use crate::table::Output;

/// One command, ready to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// argv; the first is looked up in `env`'s PATH when it has no slash.
    pub argv: Vec<OsString>,
    /// What the environment of all runs of a line has in common: shared, not copied.
    pub base: Rc<[(OsString, OsString)]>,
    /// The rest of the environment; no name stands in both.
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

impl Job {
    /// A command as its options are by default: no environment, output to the log.
    pub fn new<A: Into<OsString>>(argv: impl IntoIterator<Item = A>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            base: Rc::from([]),
            env: Vec::new(),
            cwd: None,
            umask: None,
            nice: None,
            identity: None,
            stdin: Vec::new(),
            output: Output::Log,
            timeout: None,
            kill_after: Duration::from_secs(5),
        }
    }
}

impl Job {
    /// The whole environment, each name once.
    pub fn variables(&self) -> impl Iterator<Item = &(OsString, OsString)> {
        self.base.iter().chain(&self.env)
    }
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

impl Outcome {
    /// True for exit code 0.
    pub fn success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for Outcome {
    /// `exited with 3`, `was ended by SIGTERM`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::Signaled(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "was ended by {signal}"),
                Err(_) => write!(f, "was ended by signal {number}"),
            },
        }
    }
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

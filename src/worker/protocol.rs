//! What supervisor and worker say to each other: one JSON message a packet of a
//! SOCK_SEQPACKET pair, some with a descriptor attached (SCM_RIGHTS).
//!
//! The supervisor treats what a worker says as hostile: a packet is at most
//! [`MAX_PACKET`] bytes; malformed ones, and those nobody asked for, are counted
//! and dropped, and too many of them end the worker.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::LogTarget;
use crate::table::Dialect;

/// No packet is larger.
pub const MAX_PACKET: usize = 64 * 1024;

/// From the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ToWorker {
    /// First packet: who the worker is. Again: what has changed of it by a
    /// reload of the configuration; owner and system never do.
    Hello(Settings),
    /// A table appeared or changed; its open file (or a memfd) is attached,
    /// positioned at the start. The same name again replaces the table.
    Load {
        /// Name in its directory (system) or of the user.
        table: String,
        /// Its path, for messages.
        origin: String,
    },
    /// A table is gone.
    Drop {
        /// As in `Load`.
        table: String,
    },
    /// The initial set is complete: answer `Ready` when all of it is watched.
    Begin,
    /// Work saved by an earlier worker of this owner; a file of JSON lines is
    /// attached. Comes after the first `Load`s, whose lines it belongs to. `Ready`
    /// says that it was taken up; the file is removed then.
    Resume,
    /// Send `Status`.
    Status,
    /// No new runs; wait for the running ones, save what waits, exit.
    Stop,
}

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum FromWorker {
    /// Every line of every table loaded before `Begin` is watched.
    Ready,
    /// A table was loaded: exactly one of these for each `Load`, in their order,
    /// good or bad. Clients of the control socket wait for it.
    Loaded {
        /// As in `Load`.
        table: String,
        /// Lines that are served.
        lines: u32,
        /// Lines that are not.
        errors: u32,
    },
    /// Work that could not be started before `Stop`, once in a worker's life; a
    /// memfd (and nothing else) of JSON lines is attached, 16 MiB at most.
    Saved {
        /// How many events.
        events: u64,
    },
    /// Figures of this worker: one of these for each `ToWorker::Status`.
    Status(Status),
}

/// Who a worker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Account name; "system" for the worker of the system tables.
    pub owner: String,
    /// True for the worker of the system tables.
    pub system: bool,
    /// Dialect of lines before the first INCRON_DIALECT.
    pub dialect: Dialect,
    /// Commands at once.
    pub max_jobs: u32,
    /// Seconds that running commands get at shutdown.
    pub stop_grace: u64,
    /// What then: killed (true) or left alone.
    pub stop_kill: bool,
    /// The file in which what `catch-up=` lines need is kept; None: nowhere.
    pub state: Option<PathBuf>,
    /// Where it logs: where its supervisor does.
    pub log: LogChoice,
}

/// Where a worker logs; `supervisor::logging::start` puts it into effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChoice {
    /// `log=` of incron.conf.
    pub target: LogTarget,
    /// Another socket of syslogd than /dev/log.
    pub syslog_socket: Option<PathBuf>,
    /// Down to the debug level.
    pub debug: bool,
}

/// Figures of a worker since its start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Tables loaded.
    pub tables: u32,
    /// Lines served.
    pub lines: u32,
    /// Kernel watches held.
    pub watches: u64,
    /// Events that matched a line.
    pub events: u64,
    /// Commands started.
    pub runs: u64,
    /// Runs that ended with another status than 0.
    pub failed: u64,
    /// Runs going on.
    pub running: u64,
    /// Events that wait.
    pub waiting: u64,
}

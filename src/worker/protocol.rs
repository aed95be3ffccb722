//! What supervisor and worker say to each other: one JSON message a packet of a
//! SOCK_SEQPACKET pair, some with a descriptor attached (SCM_RIGHTS).
//!
//! The supervisor treats what a worker says as hostile: a packet is at most
//! [`MAX_PACKET`] bytes, unknown or malformed ones are counted and dropped.

use serde::{Deserialize, Serialize};

use crate::table::Dialect;

/// No packet is larger.
pub const MAX_PACKET: usize = 64 * 1024;

/// From the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ToWorker {
    /// First packet: who the worker is.
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
    /// Work saved by an earlier worker of this owner; a file of JSON lines is attached.
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
    /// A table was loaded.
    Loaded {
        /// As in `Load`.
        table: String,
        /// Lines that are served.
        lines: u32,
        /// Lines that are not.
        errors: u32,
    },
    /// Work that could not be started before `Stop`; a memfd of JSON lines is attached.
    Saved {
        /// How many events.
        events: u64,
    },
    /// Figures of this worker.
    Status(Status),
}

/// Who a worker is.
#[derive(Clone, Debug, Serialize, Deserialize)]
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

//! The control socket: one request a line of JSON, one answer a line of JSON.
//!
//! `SO_PEERCRED` says who asks: a user manages the own table, root any. The
//! bounds hold for the server; a client that breaks them is disconnected.

pub mod client;

pub use client::{Client, ClientError};

use serde::{Deserialize, Serialize};

use crate::worker::protocol::LineFigures;

/// A request line, newline included, is no longer (a table of 1 MiB in base64, and room).
pub const MAX_REQUEST: usize = 1536 * 1024;
/// A table is no larger.
pub const MAX_TABLE: usize = 1024 * 1024;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Replace the user's table by these bytes (base64).
    Install {
        /// Whose.
        user: String,
        /// The table, base64.
        table: String,
        /// Only in place of this version (of `Answer::Table`); empty: only where
        /// there is none. Absent: whatever is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expect: Option<String>,
    },
    /// The user's table.
    Get {
        /// Whose.
        user: String,
    },
    /// Remove the user's table.
    Remove {
        /// Whose.
        user: String,
        /// As for `Install`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expect: Option<String>,
    },
    /// Read the user's table again.
    Reload {
        /// Whose.
        user: String,
    },
    /// Figures of the daemon: root gets all workers, a user the own.
    Status,
    /// Figures of some lines of one worker, as root or its owner.
    Lines {
        /// Whose worker, as in the answer to `Status`.
        owner: String,
        /// The worker of the system tables.
        system: bool,
        /// Those with a greater `id`: 0, then `next` of the answer before.
        after: u32,
    },
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Done. For install and reload: the worker has loaded the table; for
    /// remove: the worker has dropped it, or ended. A worker that does not say
    /// so within 5 s is waited for no longer.
    Done {
        /// Lines served, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lines: Option<u32>,
        /// Lines with errors, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        errors: Option<u32>,
    },
    /// The table (base64).
    Table {
        /// base64
        table: String,
        /// Changes whenever the file is written or replaced; opaque, never empty.
        #[serde(default)]
        version: String,
    },
    /// There is no table for this user.
    NoTable,
    /// Status, one object a worker: `owner`, `pid`, `state` (running, starting,
    /// waiting, stopping), `since`, `restarts`, and the figures of `worker::protocol::Status`.
    Status {
        /// Version of the daemon.
        version: String,
        /// Workers.
        workers: Vec<serde_json::Value>,
    },
    /// Some lines of a worker, by `id`.
    Lines {
        /// The lines.
        lines: Vec<LineFigures>,
        /// There are more, after this `id`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u32>,
    },
    /// Refused or failed; nothing was changed.
    Refused {
        /// denied (allow/deny files), permission (other's table), unknown_user,
        /// too_large, bad_request, busy, changed (not the expected version), failed
        reason: String,
        /// One line for a person.
        message: String,
    },
}

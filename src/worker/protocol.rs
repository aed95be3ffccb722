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
use crate::watch::actor;

/// No packet is larger.
pub const MAX_PACKET: usize = 64 * 1024;
/// One owner's work that waits at a stop can fill no more of the disk, in bytes:
/// about a hundred thousand events.
pub const MAX_SAVED: u64 = 64 * 1024 * 1024;

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
    /// Send a page of `Lines`: those whose `id` is greater than this.
    Lines {
        /// 0 for the first page.
        after: u32,
    },
    /// No new runs; wait for the running ones, save what waits, exit.
    Stop,
}

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum FromWorker {
    /// Every line of every table loaded before `Begin` is watched.
    Ready,
    /// A table was loaded, or dropped (then of no lines): exactly one of these
    /// for each `Load` and each `Drop`, in their order, good or bad. Clients of
    /// the control socket wait for it.
    Loaded {
        /// As in `Load`.
        table: String,
        /// Lines that are served.
        lines: u32,
        /// Lines that are not.
        errors: u32,
    },
    /// Work that could not be started before `Stop`, once in a worker's life; a
    /// memfd (and nothing else) of JSON lines is attached, [`MAX_SAVED`] at most.
    Saved {
        /// How many events.
        events: u64,
    },
    /// Figures of this worker: one of these for each `ToWorker::Status`.
    Status(Box<Status>),
    /// Figures of some of its lines: one of these for each `ToWorker::Lines`.
    Lines(Page),
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
    /// What takes mail for `output=mail`.
    pub mailer: PathBuf,
    /// Where the programs of providers are.
    pub provider_dir: PathBuf,
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
    /// Times the kernel's queue was full.
    pub overflows: u64,
    /// Rescans, after a full queue or a limit.
    pub rescans: u64,
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
    /// Events that waited for a line, or whose line was removed: dropped with it.
    pub removed: u64,
    /// The first of its providers, by name.
    #[serde(default)]
    pub providers: Vec<ProviderFigures>,
    /// How many it has.
    #[serde(default)]
    pub all_providers: u32,
    /// Of the processes behind events, while a line asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actors: Option<actor::Figures>,
    /// What fanotify does, where it serves a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fanotify: Option<FanotifyFigures>,
}

/// A program that says which paths `@NAME` stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderFigures {
    /// NAME.
    pub name: String,
    /// Its process; None: it does not run.
    pub pid: Option<i32>,
    /// The process has said all that it has.
    pub ready: bool,
    /// Paths of its set.
    pub members: u64,
    /// Lines that name it.
    pub lines: u32,
    /// Times that it was started again.
    pub restarts: u64,
    /// Why it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Figures of fanotify since it began to serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FanotifyFigures {
    /// File systems, and directories on the way to them, that are marked.
    pub marks: u64,
    /// Directories remembered by their handles.
    pub handles: u64,
    /// Records read.
    pub records: u64,
    /// Of them, those that were nothing to any line.
    pub foreign: u64,
    /// Reads put off because nearly all was foreign.
    pub delays: u64,
    /// Directories that are left out now, because nobody asks for their many events.
    #[serde(default)]
    pub hushed: u64,
    /// Events of directories that were gone before it was known where they were.
    pub stale: u64,
}

/// Some of a worker's lines, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// As in `ToWorker::Lines`.
    pub after: u32,
    /// As many as a packet holds.
    pub lines: Vec<LineFigures>,
    /// There are lines with greater numbers.
    pub more: bool,
}

/// What became of one line and its events since its worker, or the line, began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineFigures {
    /// The line's number in its worker; a reload that keeps the line keeps it.
    pub id: u32,
    /// Its table.
    pub table: String,
    /// Its number in the table, from 1.
    pub line: u32,
    /// `key=`, else the table's name.
    pub key: String,
    /// Its path as written; what is not UTF-8 replaced.
    pub path: String,
    /// base64 of the path, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_raw: Option<String>,
    /// Its events, as in a table.
    pub mask: String,
    /// Whether it is watched.
    pub state: LineState,
    /// Why it is not, or not completely.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Events that its filters wanted.
    pub events: u64,
    /// Commands started, retries included; of a stream, its processes that ended,
    /// and the one that runs.
    pub runs: u64,
    /// Runs going on.
    pub running: u64,
    /// Runs that failed or could not be started.
    pub failed: u64,
    /// Runs that were a retry.
    pub retried: u64,
    /// Retries that a newer event made needless.
    pub abandoned: u64,
    /// Runs that busy=restart ended early.
    pub restarted: u64,
    /// Events that wait.
    pub waiting: u64,
    /// Events that joined another of the same path.
    pub merged: u64,
    /// Events dropped by busy=skip.
    pub skipped: u64,
    /// Events dropped by IN_NO_LOOP.
    pub looped: u64,
    /// Events that `by=` or `exe=` might have wanted, of actors that were not known.
    pub unknown: u64,
    /// Runs that started later than they were due: busy, jobs or limit held them.
    pub waited: u64,
    /// Times that the limit began to slow the line.
    pub slowed: u64,
    /// Starts that the machine refused and that were put off.
    pub postponed: u64,
    /// Of a line with run=stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamFigures>,
    /// Its latest run that has started, or of a stream that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastRun>,
}

/// Whether a line is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineState {
    /// Completely.
    Served,
    /// Its path does not exist and is waited for.
    Waiting,
    /// In part; `reason` says what keeps the rest.
    Partly,
    /// Not at all; `reason` says why.
    Unwatched,
    /// IN_ONESHOT has had its event.
    Spent,
}

/// The process that a stream line feeds, and what became of what it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFigures {
    /// Lines that feed the same process; these figures are of all of them.
    pub lines: u32,
    /// Replaced by a later event of the same path, while the queue was full.
    pub merged: u64,
    /// Dropped: the queue was full.
    pub lost: u64,
    /// Given again: an earlier process had not read them.
    pub again: u64,
    /// Waiting to be read.
    pub waiting: u64,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it started, RFC 3339.
    pub time: String,
    /// Its process.
    pub pid: i32,
    /// How it ended; None: it runs, or a signal ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How long it ran; None: it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

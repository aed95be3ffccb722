//! The options of a line, as one typed value that cannot be wrong.

use std::path::PathBuf;
use std::time::Duration;

use super::Dialect;

/// Everything in the mask field that is not a mask.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named and documented as in incrontab(5)
pub struct Options {
    pub recursive: bool,
    pub depth: Option<u32>,
    pub dotdirs: bool,
    /// Globs as written; compiled by `table::filter`.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    pub kind: Option<Kind>,
    pub source: Source,
    pub poll: Option<Duration>,
    pub who: bool,
    /// Users as written, `!` before those who are not meant.
    pub by: Vec<String>,
    /// Globs of programs, likewise.
    pub exe: Vec<String>,
    pub settle: Duration,
    /// None: ten times `settle`.
    pub max_wait: Option<Duration>,
    pub batch: Option<Batch>,
    pub busy: Busy,
    /// None: only the worker's `max_jobs` bounds it.
    pub jobs: Option<u32>,
    /// The guard: 10000 in 10 s.
    pub limit: Limit,
    pub no_loop: bool,
    pub stream: bool,
    pub stdin: Stdin,
    pub shell: Shell,
    pub timeout: Option<Duration>,
    /// 5 s.
    pub kill_after: Duration,
    pub retry: u32,
    pub user: Option<String>,
    pub group: Option<String>,
    pub cwd: Option<PathBuf>,
    pub umask: Option<u32>,
    pub nice: Option<i32>,
    pub output: Output,
    pub key: Option<String>,
    pub catch_up: bool,
}

/// `type=`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    File,
    Dir,
}

/// `source=`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Source {
    #[default]
    Auto,
    Inotify,
    Fanotify,
    Poll,
}

/// `batch=`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Batch {
    Time(Duration),
    Count(u32),
}

/// `busy=`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Busy {
    #[default]
    Parallel,
    Queue,
    Skip,
    Restart,
}

/// `limit=N/D`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Limit {
    pub runs: u32,
    pub per: Duration,
}

/// `stdin=`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Stdin {
    #[default]
    None,
    Json,
    Paths,
    Paths0,
}

/// `shell=`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Shell {
    #[default]
    Auto,
    Yes,
    No,
}

/// `output=`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Output {
    #[default]
    Log,
    Discard,
    Mail,
    File(PathBuf),
}

impl Options {
    /// What a line without options means in a dialect.
    pub fn for_dialect(dialect: Dialect) -> Self {
        Self {
            recursive: dialect == Dialect::V0_5_12,
            ..Self::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            recursive: true,
            depth: None,
            dotdirs: false,
            include: Vec::new(),
            exclude: Vec::new(),
            kind: None,
            source: Source::Auto,
            poll: None,
            who: false,
            by: Vec::new(),
            exe: Vec::new(),
            settle: Duration::ZERO,
            max_wait: None,
            batch: None,
            busy: Busy::Parallel,
            jobs: None,
            limit: Limit {
                runs: 10_000,
                per: Duration::from_secs(10),
            },
            no_loop: false,
            stream: false,
            stdin: Stdin::None,
            shell: Shell::Auto,
            timeout: None,
            kill_after: Duration::from_secs(5),
            retry: 0,
            user: None,
            group: None,
            cwd: None,
            umask: None,
            nice: None,
            output: Output::Log,
            key: None,
            catch_up: false,
        }
    }
}

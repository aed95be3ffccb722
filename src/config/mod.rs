//! incron.conf: where things are and how much is allowed.
//!
//! The format is that of incron: `key = value`, `#` comments, the first of two
//! equal keys counts. It is read by hand and not as TOML because
//! `editor = vim` has to stay right.

mod keys;
mod parse;
mod personal;
mod value;

pub use parse::{Parsed, parse};
pub use value::JournalKeep;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::paths;
use crate::table::Dialect;

/// Where log lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTarget {
    /// syslog(3), facility cron.
    #[default]
    Syslog,
    /// The journal of systemd, with its native fields.
    Journal,
    /// Standard error, for people.
    Stderr,
    /// Standard error, one JSON object a line.
    Json,
}

/// The values of incron.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Tables run as root; None: no tables of the system (`incrond --user`).
    pub system_table_dir: Option<PathBuf>,
    /// One table a user, or with `personal` the tables of one user.
    pub user_table_dir: PathBuf,
    /// Users who may have a table.
    pub allowed_users: PathBuf,
    /// Users who may not.
    pub denied_users: PathBuf,
    /// Directory of the lock file.
    pub lockfile_dir: PathBuf,
    /// Its name without `.pid`.
    pub lockfile_name: String,
    /// The program that takes mail for `output=mail`, as sendmail(8) does.
    pub mailer: PathBuf,
    /// The editor when $VISUAL and $EDITOR are not set; may be empty, may have arguments.
    pub editor: String,
    /// The socket `incrontab` connects to.
    pub control_socket: PathBuf,
    /// What outlives a restart.
    pub state_dir: PathBuf,
    /// Programs that keep sets of paths.
    pub provider_dir: PathBuf,
    /// Where log lines go.
    pub log: LogTarget,
    /// The socket of syslogd.
    pub syslog_socket: PathBuf,
    /// Dialect of lines before the first `INCRON_DIALECT=`.
    pub dialect: Dialect,
    /// Commands at once, a worker.
    pub max_jobs: u32,
    /// What running commands get at shutdown.
    pub stop_grace: Duration,
    /// What then: killed (true) or left to themselves.
    pub stop_kill: bool,
    /// Where figures are served, once they are; None: nowhere.
    pub metrics_listen: Option<String>,
    /// How much the journal keeps, once there is one.
    pub journal_keep: JournalKeep,
    /// The whole is for the calling user: `incrond --user`.
    pub personal: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            system_table_dir: Some(paths::SYSTEM_TABLE_DIR.into()),
            user_table_dir: paths::USER_TABLE_DIR.into(),
            allowed_users: paths::ALLOWED_USERS.into(),
            denied_users: paths::DENIED_USERS.into(),
            lockfile_dir: paths::LOCKFILE_DIR.into(),
            lockfile_name: paths::LOCKFILE_NAME.into(),
            mailer: crate::run::mail::MAILER.into(),
            editor: String::new(),
            control_socket: paths::CONTROL_SOCKET.into(),
            state_dir: paths::STATE_DIR.into(),
            provider_dir: paths::PROVIDER_DIR.into(),
            log: LogTarget::default(),
            syslog_socket: paths::SYSLOG_SOCKET.into(),
            dialect: Dialect::default(),
            max_jobs: 64,
            stop_grace: Duration::from_secs(10),
            stop_kill: false,
            metrics_listen: None,
            journal_keep: JournalKeep::default(),
            personal: false,
        }
    }
}

/// Something wrong at one place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: u32,
    /// Byte column, from 1.
    pub column: u32,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file.display(),
            self.line,
            self.column,
            self.message
        )
    }
}

/// Why there is no configuration. The program ends with 78.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {}: {source}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A user's directories are not known.
    #[error("{0} is not set to an absolute path; `incrond --user` needs it")]
    Variable(&'static str),
    /// Values that cannot be used: all of them, so that one edit mends all.
    #[error("{}", join(.0))]
    Values(Vec<Problem>),
}

fn join(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

impl Config {
    /// Reads `named`, or /etc/incron.conf. The defaults hold when the latter
    /// does not exist; a file that was named must be readable. Returns
    /// warnings, too: unknown and repeated keys, keys without effect yet.
    pub fn load(named: Option<&Path>) -> Result<(Self, Vec<Problem>), ConfigError> {
        Self::load_over(Self::default(), Path::new(paths::CONFIG), named)
    }

    /// For `incrond --user`: reads `named`, or `$XDG_CONFIG_HOME/incron/incron.conf`,
    /// over the paths of the calling user.
    pub fn load_personal(named: Option<&Path>) -> Result<(Self, Vec<Problem>), ConfigError> {
        let (base, file) = personal::defaults(|name| std::env::var_os(name))?;
        Self::load_over(base, &file, named)
    }

    fn load_over(
        base: Self,
        usual: &Path,
        named: Option<&Path>,
    ) -> Result<(Self, Vec<Problem>), ConfigError> {
        let file = named.unwrap_or(usual);
        let text = match read_bounded(file) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                return Err(ConfigError::Read {
                    file: file.to_owned(),
                    source,
                });
            }
        };
        let parsed = parse::parse_over(base, file, &text);
        if parsed.errors.is_empty() {
            Ok((parsed.config, parsed.warnings))
        } else {
            Err(ConfigError::Values(parsed.errors))
        }
    }

    /// The lock file: `<lockfile_dir>/<lockfile_name>.pid`.
    pub fn lock_file(&self) -> PathBuf {
        self.lockfile_dir
            .join(format!("{}.pid", self.lockfile_name))
    }
}

/// No configuration is larger; a device named by mistake must not fill memory.
const MAX_CONFIG: u64 = 1024 * 1024;

fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;

    let mut text = Vec::new();
    // Not blocking: a FIFO named by mistake must not hang the program.
    let open = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(file)?;
    if !open.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    open.take(MAX_CONFIG + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_CONFIG {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    Ok(text)
}

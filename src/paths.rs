//! Every well-known path, in one place. Each is only a default: a key of
//! incron.conf moves it, so a second instance lives in a prefix of its own.

/// The configuration file that is read when none is named.
pub const CONFIG: &str = "/etc/incron.conf";
/// Tables of the system, run as root.
pub const SYSTEM_TABLE_DIR: &str = "/etc/incron.d";
/// Tables of users; the file's name is the account's.
pub const USER_TABLE_DIR: &str = "/var/spool/incron";
/// Who may have a table.
pub const ALLOWED_USERS: &str = "/etc/incron.allow";
/// Who may not, where the file above does not exist.
pub const DENIED_USERS: &str = "/etc/incron.deny";
/// Where the lock file stands; `.pid` is added to its name.
pub const LOCKFILE_DIR: &str = "/run";
/// The lock file's name without `.pid`.
pub const LOCKFILE_NAME: &str = "incrond";
/// Where `incrontab` reaches the daemon.
pub const CONTROL_SOCKET: &str = "/run/incron/control.sock";
/// What outlives a restart.
pub const STATE_DIR: &str = "/var/lib/incron";
/// Programs that keep sets of paths.
pub const PROVIDER_DIR: &str = "/usr/libexec/incron/providers";
/// Where syslogd listens.
pub const SYSLOG_SOCKET: &str = "/dev/log";
/// Accounts and their groups; watched so that an account that goes takes its
/// worker along, and one that joins a group gets a worker that is in it.
pub const ACCOUNTS: [&str; 2] = ["/etc/passwd", "/etc/group"];
/// PATH of users' commands (of root's tables: that of the daemon).
pub const USER_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The shell of an account that names none, passwd(5).
pub const SHELL: &str = "/bin/sh";

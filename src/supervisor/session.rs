//! A PAM session around a user's worker (feature `pam`), through the service
//! file `incrond`; where there is no such file, there is no session.
//!
//! Modules run code of the system's choice and may wait for a network, so they
//! run neither in the supervisor nor in the worker but before the worker, in
//! the process that becomes it:
//!
//! ```text
//!  supervisor ── incrond --worker --session     root: opens the session, which
//!                 │        │                    changes this process's limits and login uid
//!                 │        └── keeper           root: waits for that process's end,
//!                 │                             then closes the session
//!                 └─ exec: incrond --worker     the user: reads the table
//! ```
//!
//! So the supervisor holds the worker itself, a worker that is killed leaves no
//! open session, and a module that hangs keeps one user waiting. As cron does,
//! it asks for account and session but for no password.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};

use super::accounts::Account;
use super::logging;
use crate::exit::Exit;
use crate::sys::{self, Forked, Identity, PamSession};
use crate::worker::protocol::LogChoice;

/// The service file's name.
const SERVICE: &str = "incrond";
/// Where libpam looks for it: the administrator's, the system's.
const DIRS: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];
/// Another place for it, for tests.
const DIR: &str = "INCRON_PAM_DIR";

/// What the process in between is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Session {
    user: String,
    identity: Identity,
    log: LogChoice,
    /// Instead of /etc/pam.d.
    dir: Option<PathBuf>,
}

impl Session {
    /// The session that `account` needs; None where the system has no service file.
    pub fn of(account: &Account, log: &LogChoice) -> Option<Self> {
        let dir = std::env::var_os(DIR).map(PathBuf::from);
        let exists = |dir: &Path| dir.join(SERVICE).exists();
        let wanted = match &dir {
            Some(dir) => exists(dir),
            None => DIRS.iter().any(|dir| exists(Path::new(dir))),
        };
        wanted.then(|| Self {
            user: account.name.clone(),
            identity: account.identity(),
            log: log.clone(),
            dir,
        })
    }

    /// As it goes on the command line.
    pub fn to_argument(&self) -> io::Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

/// Opens the session, then turns into the worker. Comes back only when it cannot.
pub fn main(channel: RawFd, cwd: Option<&Path>, session: &str) -> ExitCode {
    let Ok(session) = serde_json::from_str::<Session>(session) else {
        eprintln!("incrond: --session is for incrond itself");
        return Exit::Usage.into();
    };
    let Ok(channel) = sys::adopt_channel(channel) else {
        eprintln!("incrond: --worker is for incrond itself");
        return Exit::Usage.into();
    };
    let (exit, why) = match begin(&session) {
        Ok((environment, keeper)) => match keeper {
            Some(keeper) => keep(keeper, channel),
            None => {
                let error = exec(&session, environment, channel, cwd);
                (Exit::Failure, format!("cannot become the worker: {error}"))
            }
        },
        Err(why) => (Exit::Refused, why),
    };
    if !why.is_empty() {
        let _ = logging::start(&session.log); // the only logger here
        log::error!("user {}: {why}", session.user);
    }
    exit.into()
}

/// Both sides of a fork come back: the worker-to-be without, the keeper with
/// the session and a descriptor of the worker.
type Begun = (Vec<(OsString, OsString)>, Option<Keeper>);

struct Keeper {
    session: PamSession,
    worker: OwnedFd,
}

fn begin(session: &Session) -> Result<Begun, String> {
    let failed = |error: io::Error| format!("cannot open a PAM session: {error}");
    let _ = nix::sys::prctl::set_name(c"incrond");
    std::env::set_current_dir("/").map_err(failed)?;
    // The modules are root's; they shall not find the user's HOME.
    let given: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    sys::clear_environment().map_err(failed)?;
    // Before pam_setcred(3), so that pam_group can add to them.
    sys::join_groups(&session.identity).map_err(failed)?;
    let opened = PamSession::open(SERVICE, &session.user, session.dir.as_deref())
        .map_err(|error| format!("PAM refuses a session: {error}"))?;
    let environment = merge(given, opened.environment());
    let forked = sys::pidfd_of(std::process::id() as libc::pid_t)
        .and_then(|worker| Ok((sys::fork_single_threaded()?, worker)));
    match forked {
        // The keeper's copy of the handle is the one that counts from here on.
        Ok((Forked::Parent(_), _)) => Ok((environment, None)),
        Ok((Forked::Child, worker)) => {
            let session = opened;
            Ok((environment, Some(Keeper { session, worker })))
        }
        Err(error) => {
            let _ = opened.close();
            Err(failed(error))
        }
    }
}

/// What PAM says holds, but for the variables that say whose the process is.
fn merge(
    mut given: Vec<(OsString, OsString)>,
    added: Vec<(OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    const OURS: [&str; 5] = ["HOME", "LOGNAME", "USER", "USERNAME", "SHELL"];
    let is_ours = |name: &OsStr| OURS.iter().any(|ours| name == *ours);
    for (name, value) in added.into_iter().filter(|(name, _)| !is_ours(name)) {
        given.retain(|(known, _)| *known != name);
        given.push((name, value));
    }
    given
}

fn exec(
    session: &Session,
    environment: Vec<(OsString, OsString)>,
    channel: OwnedFd,
    cwd: Option<&Path>,
) -> io::Error {
    use std::os::fd::AsRawFd;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("incrond")
        .arg("--worker")
        .arg(channel.as_raw_fd().to_string());
    if let Some(cwd) = cwd {
        command.arg("--worker-cwd").arg(cwd);
    }
    command.env_clear().envs(environment);
    sys::exec_worker(&mut command, channel.as_fd(), &session.identity)
}

/// Waits for the worker's end and closes the session. What would end it before
/// is meant for the worker, in whose process group it is.
fn keep(keeper: Keeper, channel: OwnedFd) -> (Exit, String) {
    // Held here, it would never seem closed to the supervisor.
    drop(channel);
    let _ = nix::sys::prctl::set_name(c"incrond-session");
    let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    let _ = signals.into_iter().collect::<SigSet>().thread_block();
    loop {
        let mut fds = [PollFd::new(keeper.worker.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            _ => break,
        }
    }
    match keeper.session.close() {
        Ok(()) => (Exit::Success, String::new()),
        Err(error) => {
            let why = format!("the PAM session is not closed: {error}");
            (Exit::Failure, why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pam_adds_variables_but_does_not_say_whose_a_worker_is() {
        let pairs = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect::<Vec<(OsString, OsString)>>()
        };
        let given = pairs(&[("HOME", "/home/a"), ("PATH", "/bin")]);
        let added = pairs(&[("PATH", "/opt/bin"), ("HOME", "/root"), ("LANG", "C")]);
        let merged = pairs(&[("HOME", "/home/a"), ("PATH", "/opt/bin"), ("LANG", "C")]);
        assert_eq!(merge(given, added), merged);
    }
}

//! The environment of a command: what its owner has, what the table sets, and
//! what the event says (incron-events(7)).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use nix::unistd::User;

use super::lines::Served;
use crate::event::Event;

/// Left by whoever started the daemon, and of no business of a command.
const NOT_INHERITED: [&str; 8] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
];

/// The environment this worker was started with, for its commands.
pub fn inherited() -> Vec<(OsString, OsString)> {
    let mut env: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| !is_ours(name) && !NOT_INHERITED.iter().any(|left| name == left))
        .collect();
    env.sort();
    env
}

/// Sets a variable, replacing an earlier value.
pub fn set(env: &mut Vec<(OsString, OsString)>, name: &OsStr, value: &OsStr) {
    match env.iter_mut().find(|(known, _)| known == name) {
        Some(slot) => slot.1 = value.to_owned(),
        None => env.push((name.to_owned(), value.to_owned())),
    }
}

/// The account variables of a line with `user=`.
pub fn become_user(env: &mut Vec<(OsString, OsString)>, user: &User) {
    let name = OsStr::new(&user.name);
    for variable in ["LOGNAME", "USER", "USERNAME"] {
        set(env, OsStr::new(variable), name);
    }
    set(env, OsStr::new("HOME"), user.dir.as_os_str());
    set(env, OsStr::new("SHELL"), user.shell.as_os_str());
}

/// The shell of lines that need one: `SHELL=` of the table, else what incron
/// used (bash for users' tables where it is there, /bin/sh for the system's).
pub fn shell(served: &Served, system: bool) -> OsString {
    let named = served.line.env.iter().find(|(name, _)| name == "SHELL");
    named.map_or_else(|| usual_shell(system).into(), |(_, shell)| shell.clone())
}

/// The shell of lines without `SHELL=`.
pub fn usual_shell(system: bool) -> &'static OsStr {
    let bash = !system && Path::new("/bin/bash").exists();
    OsStr::new(if bash { "/bin/bash" } else { "/bin/sh" })
}

/// What the last of its events adds to the environment of a run.
pub fn of_events(served: &Served, events: &[Rc<Event>]) -> Vec<(OsString, OsString)> {
    let mut env = Vec::with_capacity(16);
    if let Some(event) = events.last() {
        event.variables(&served.context(), &mut env);
    }
    if events.len() > 1 {
        env.push(("INCRON_COUNT".into(), events.len().to_string().into()));
    }
    env
}

/// True for the variables that an event sets: no other value may stand beside them.
pub fn is_ours(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"INCRON_")
}

//! The environment of a command: what its owner has, what the table sets, and
//! what the event says (incron-events(7)).

use std::ffi::{OsStr, OsString};
use std::path::Path;

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
        .filter(|(name, _)| !NOT_INHERITED.iter().any(|left| name == left))
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

/// A variable's value.
pub fn get<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
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
    match named {
        Some((_, shell)) => shell.clone(),
        None if !system && Path::new("/bin/bash").exists() => "/bin/bash".into(),
        None => "/bin/sh".into(),
    }
}

/// The whole environment of one run: the line's, the command's own variables,
/// and what the last of its events says.
pub fn of_run(
    served: &Served,
    events: &[std::rc::Rc<Event>],
    own: Vec<(OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let mut env = Vec::with_capacity(served.env.len() + own.len() + 12);
    env.extend(served.env.iter().filter(|(name, _)| !is_ours(name)).cloned());
    env.extend(own);
    let Some(event) = events.last() else { return env };
    let mut put = |name: &str, value: OsString| {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.into(), value));
        }
    };
    put("INCRON_WATCH", event.watch.clone());
    put("INCRON_FILE", event.name.clone());
    put("INCRON_TARGET", event.target());
    put("INCRON_EVENT", event.mask.to_string().into());
    put("INCRON_MASK", event.mask.0.to_string().into());
    put("INCRON_TIME", crate::event::timestamp(event.time).into());
    put("INCRON_TABLE", (&*served.table).into());
    put("INCRON_LINE", served.line.number.to_string().into());
    put("INCRON_KEY", served.key().into());
    if let Some(old) = &event.old_path {
        put("INCRON_OLD", old.clone().into());
    }
    if events.len() > 1 {
        put("INCRON_COUNT", events.len().to_string().into());
    }
    env
}

fn is_ours(name: &OsStr) -> bool {
    use std::os::unix::ffi::OsStrExt;
    name.as_bytes().starts_with(b"INCRON_")
}

//! The provider `homes` (incron-provider(7)): the home directory of every account
//! that has a shell to log in with, as lines of a table name it by `@homes`.
//!
//! A program of its own and not a part of the worker, so that what the name
//! service loads and connects to stays out of it. The accounts are those that
//! getent(1) lists: it asks what /etc/nsswitch.conf names, and a new process each
//! time forgets nothing and leaks nothing.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use serde_json::{Value, json};

use crate::exit::Exit;

/// The files whose change means other accounts. Their directory is watched: they
/// are saved by rename.
const DIRECTORY: &str = "/etc";
const FILES: [&str; 2] = ["passwd", "nsswitch.conf"];
/// Of accounts that a server keeps nothing is heard: they are listed anew this often.
const EVERY: i32 = 300_000; // milliseconds
/// Shells that let nobody in.
const NO_SHELLS: [&[u8]; 6] = [b"nologin", b"false", b"true", b"sync", b"halt", b"shutdown"];

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Home {
    path: Vec<u8>,
    uid: u32,
}

/// By account.
type Homes = BTreeMap<String, Home>;

/// The program.
pub fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!("homes: a provider of incron, see incron-provider(7); it takes no arguments");
        return Exit::Usage.into();
    }
    match serve() {
        Ok(()) => Exit::Success.into(),
        // Nobody reads what it says any more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success.into(),
        Err(error) => {
            eprintln!("{error}");
            Exit::Failure.into()
        }
    }
}

fn serve() -> io::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    // Before the first look: what changes meanwhile is looked at again.
    let saved = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO;
    inotify.add_watch(DIRECTORY, saved)?;
    let mut known = say(&Homes::new(), list()?)?;
    line(&json!({"ready": true}))?;
    while wait(&inotify)? {
        match list() {
            Ok(homes) => known = say(&known, homes)?,
            Err(error) => eprintln!("{error}; the accounts are as they were"),
        }
    }
    Ok(())
}

/// Until the accounts may have changed. False: nobody reads standard output.
fn wait(inotify: &Inotify) -> io::Result<bool> {
    let out = io::stdout();
    loop {
        let mut ready = [
            PollFd::new(inotify.as_fd(), PollFlags::POLLIN),
            PollFd::new(out.as_fd(), PollFlags::empty()),
        ];
        let every = PollTimeout::try_from(EVERY).unwrap_or(PollTimeout::NONE);
        match poll(&mut ready, every) {
            Err(Errno::EINTR) => continue,
            Ok(0) => return Ok(true),
            other => other?,
        };
        if ready[1].any().unwrap_or(true) {
            return Ok(false);
        }
        let about = |event: &InotifyEvent| {
            event.name.is_none()
                || FILES
                    .iter()
                    .any(|file| event.name.as_deref() == Some(file.as_ref()))
        };
        match inotify.read_events() {
            Ok(events) if events.iter().any(about) => return Ok(true),
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Says what `homes` has that `known` has not, and the reverse; then that is known.
fn say(known: &Homes, homes: Homes) -> io::Result<Homes> {
    for user in known.keys().filter(|user| !homes.contains_key(*user)) {
        line(&json!({ "remove": user }))?;
    }
    for (user, home) in homes
        .iter()
        .filter(|(user, home)| known.get(*user) != Some(home))
    {
        let mut add = json!({
            "id": user,
            "labels": {"user": user, "uid": home.uid.to_string()},
        });
        match std::str::from_utf8(&home.path) {
            Ok(path) => add["path"] = path.into(),
            Err(_) => add["path_raw"] = BASE64.encode(&home.path).into(),
        }
        line(&json!({ "add": add }))?;
    }
    Ok(homes)
}

fn line(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

/// The accounts there are.
fn list() -> io::Result<Homes> {
    let wrong = |why: String| io::Error::other(format!("getent passwd: {why}"));
    let output = Command::new("getent").arg("passwd").output();
    let output = output.map_err(|error| wrong(error.to_string()))?;
    if !output.status.success() {
        return Err(wrong(output.status.to_string()));
    }
    let homes: Homes = output
        .stdout
        .split(|b| *b == b'\n')
        .filter_map(account)
        .collect();
    Ok(homes)
}

/// A line of passwd(5), where its account can log in and has a home of its own.
fn account(line: &[u8]) -> Option<(String, Home)> {
    let mut fields = line.split(|b| *b == b':');
    let mut field = || fields.next();
    let user = std::str::from_utf8(field()?).ok()?;
    let uid = std::str::from_utf8(field().and_then(|_| field())?).ok()?;
    let path = field().and_then(|_| field()).and_then(|_| field())?;
    // Without one, it is /bin/sh.
    let shell = field()?.rsplit(|b| *b == b'/').next()?;
    let home = Home {
        path: path.to_vec(),
        uid: uid.parse().ok()?,
    };
    let is_home = path.starts_with(b"/") && path.iter().any(|b| !matches!(b, b'/' | b'.'));
    (is_home && !user.is_empty() && !NO_SHELLS.contains(&shell)).then(|| (user.to_owned(), home))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_home() {
        let (user, home) = account(b"ann:x:1000:1000:Ann,,,:/home/ann:/bin/bash").unwrap();
        assert_eq!((user.as_str(), home.uid), ("ann", 1000));
        assert_eq!(home.path, b"/home/ann");
        assert!(account(b"bob:x:1001:1001::/home/bob:").is_some());
        for line in [
            "",
            "#",
            "x",
            "sync:x:4:65534:sync:/bin:/bin/sync",
            "www:x:33:33:www:/var/www:/usr/sbin/nologin",
            "r:x:5:5::/:/bin/sh",
            "s:x:5:5::relative:/bin/sh",
            "t:x:5:5:::/bin/sh",
            "u:x:-1:5::/home/u:/bin/sh",
            ":x:5:5::/home/v:/bin/sh",
            "w:x:5:5::/home/w",
        ] {
            assert!(account(line.as_bytes()).is_none(), "{line}");
        }
    }
}

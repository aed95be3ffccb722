//! Options whose value is one word of a list, or has a form of its own.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use super::option_values::{self as values, Wrong};
use super::{Batch, Busy, Kind, Limit, Output, Shell, Source, Stdin};

/// Polling more often would be a busy loop.
const SHORTEST_POLL: Duration = Duration::from_millis(100);

pub(super) const KINDS: [(&str, Kind); 2] = [("file", Kind::File), ("dir", Kind::Dir)];
pub(super) const SOURCES: [(&str, Source); 4] = [
    ("auto", Source::Auto),
    ("inotify", Source::Inotify),
    ("fanotify", Source::Fanotify),
    ("poll", Source::Poll),
];
pub(super) const BUSY: [(&str, Busy); 4] = [
    ("parallel", Busy::Parallel),
    ("queue", Busy::Queue),
    ("skip", Busy::Skip),
    ("restart", Busy::Restart),
];
pub(super) const STDIN: [(&str, Stdin); 4] = [
    ("none", Stdin::None),
    ("json", Stdin::Json),
    ("paths", Stdin::Paths),
    ("paths0", Stdin::Paths0),
];
pub(super) const SHELL: [(&str, Shell); 3] = [
    ("auto", Shell::Auto),
    ("yes", Shell::Yes),
    ("no", Shell::No),
];

pub(super) fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

pub(super) fn poll(value: &[u8]) -> Result<Duration, Wrong> {
    let every = values::time(value)?;
    if every < SHORTEST_POLL {
        Err("the shortest is `100ms`".into())
    } else {
        Ok(every)
    }
}

pub(super) fn batch(value: &[u8]) -> Result<Batch, Wrong> {
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        return Ok(Batch::Count(values::number(value, 1, 1_000_000)?));
    }
    match values::positive(value) {
        Ok(time) => Ok(Batch::Time(time)),
        Err(why) => Err(format!(
            "write a duration (`2s`) or a number of paths (`100`): {why}"
        )),
    }
}

pub(super) fn limit(value: &[u8]) -> Result<Limit, Wrong> {
    let slash = value.iter().position(|b| *b == b'/');
    let (Some(runs), Some(per)) = (
        slash.and_then(|at| value.get(..at)),
        slash.and_then(|at| value.get(at + 1..)),
    ) else {
        return Err("write runs and a time: `100/10s`".into());
    };
    Ok(Limit {
        runs: values::number(runs, 1, 1_000_000_000)?,
        per: values::positive(per)?,
    })
}

pub(super) fn output(value: &[u8]) -> Result<Output, Wrong> {
    match value {
        b"log" => Ok(Output::Log),
        b"discard" => Ok(Output::Discard),
        b"mail" => Ok(Output::Mail),
        file => values::absolute(file)
            .map(|bytes| Output::File(path(bytes)))
            .map_err(|_| "write `log`, `discard`, `mail` or an absolute path".into()),
    }
}

/// Users joined by `:`, `!` before those who are not meant.
pub(super) fn users(value: &[u8]) -> Result<Vec<String>, Wrong> {
    let one = |word: &[u8]| {
        let (mark, name) = match word.strip_prefix(b"!") {
            Some(name) => ("!", name),
            None => ("", word),
        };
        let name = values::account(name)
            .map_err(|_| "write names or numbers of accounts: `alice:bob`, `!root`".to_string())?;
        Ok(format!("{mark}{name}"))
    };
    value.split(|b| *b == b':').map(one).collect()
}

/// Globs of programs joined by `:`, `!` before those that are not meant.
pub(super) fn programs(value: &[u8]) -> Result<Vec<String>, Wrong> {
    let globs = values::globs(value)?;
    let is_right = |glob: &String| {
        let glob = glob.strip_prefix('!').unwrap_or(glob);
        !glob.is_empty() && (glob.starts_with('/') || !glob.contains('/')) && glob != "/"
    };
    match globs.iter().all(is_right) {
        true => Ok(globs),
        false => Err("write names or whole paths: `dpkg`, `/usr/bin/*`, `!/usr/bin/dpkg`".into()),
    }
}

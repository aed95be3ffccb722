//! Lists of events to simulate: recorded ones (JSON lines of incron-events(7)), or typed
//! by hand, mixed as one likes:
//!
//! ```text
//! # blank lines and comments are skipped
//! +0s    IN_CREATE            /srv/in/a.jpg
//! +1.5s  IN_CLOSE_WRITE       /srv/in/a.jpg
//! +2s    IN_CREATE,IN_ISDIR   /srv/in/a directory
//! {"time":"2026-01-01T00:00:00Z","events":["IN_DELETE"],"path":"/srv/in/a.jpg"}
//! {"at":"3s","mask":8,"path":"/srv/in/b.jpg"}
//! ```
//!
//! `+D` and `at` count from the beginning of the simulation; the first `time` of the list
//! is its beginning, too. The path is the rest of the line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::table::Mask;

/// Something that happens to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Since the beginning.
    pub at: Duration,
    /// Event bits, and `ISDIR` for a directory.
    pub mask: Mask,
    /// Absolute, no slash at its end.
    pub path: OsString,
    /// Of a rename.
    pub old_path: Option<PathBuf>,
}

/// Why a list of events cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct ChangeError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub why: Wrong,
}

/// What is wrong with a line of a list of events.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// Neither form.
    #[error("write `+1.5s IN_CLOSE_WRITE /path`, or an event as JSON")]
    Shape,
    /// As serde_json says.
    #[error("not an event: {0}")]
    Json(#[from] serde_json::Error),
    /// Neither a duration nor seconds.
    #[error("not a time: write `+200ms`, `+1.5s`, `+2m` or `+1h`")]
    At,
    /// Not RFC 3339.
    #[error("not a moment: write `\"time\": \"2026-01-01T00:00:00Z\"`")]
    Time,
    /// An unknown event name.
    #[error("unknown event `{0}`")]
    Event(String),
    /// No event at all.
    #[error("an event needs `events` or `mask`")]
    NoEvent,
    /// A relative path, or none.
    #[error("the path must be absolute")]
    Path,
    /// `path_raw` is not base64.
    #[error("`path_raw` must be base64")]
    Base64,
}

#[derive(Deserialize)]
struct Json {
    at: Option<Number>,
    time: Option<Number>,
    path: Option<String>,
    path_raw: Option<String>,
    old_path: Option<String>,
    #[serde(default)]
    events: Vec<String>,
    mask: Option<u32>,
    #[serde(default)]
    dir: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Seconds(f64),
    Text(String),
}

/// Reads a list, and sorts it by time.
pub fn parse_changes(bytes: &[u8]) -> Result<Vec<Change>, ChangeError> {
    let mut changes = Vec::new();
    let mut begin = None;
    for (number, line) in (1..).zip(bytes.split(|b| *b == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        let change = match line.first() {
            None | Some(b'#') => continue,
            Some(b'{') => json(line, &mut begin),
            Some(_) => plain(line),
        };
        changes.push(change.map_err(|why| ChangeError { line: number, why })?);
    }
    changes.sort_by_key(|change| change.at);
    Ok(changes)
}

fn plain(line: &[u8]) -> Result<Change, Wrong> {
    let rest = line.strip_prefix(b"+").ok_or(Wrong::Shape)?;
    let (at, rest) = word(rest).ok_or(Wrong::Shape)?;
    let (mask, path) = word(rest).ok_or(Wrong::Shape)?;
    let at = duration(at).ok_or(Wrong::At)?;
    let mask = events(mask.split(','))?;
    Ok(Change {
        at,
        mask,
        path: absolute(path.to_vec())?,
        old_path: None,
    })
}

fn json(line: &[u8], begin: &mut Option<Duration>) -> Result<Change, Wrong> {
    let json: Json = serde_json::from_slice(line)?;
    let at = match (&json.at, &json.time) {
        (Some(Number::Text(text)), _) => {
            duration(text.strip_prefix('+').unwrap_or(text)).ok_or(Wrong::At)?
        }
        (Some(Number::Seconds(seconds)), _) => {
            Duration::try_from_secs_f64(*seconds).map_err(|_| Wrong::At)?
        }
        (None, Some(time)) => {
            let time = since_1970(time)?;
            time.saturating_sub(*begin.get_or_insert(time))
        }
        (None, None) => return Err(Wrong::At),
    };
    let mut mask = events(json.events.iter().map(String::as_str))?;
    mask |= Mask(json.mask.unwrap_or(0));
    if json.dir {
        mask |= Mask::ISDIR;
    }
    if !mask.intersects(Mask::ALL_EVENTS | Mask::UNMOUNT | Mask::COMPLETE) {
        return Err(Wrong::NoEvent);
    }
    let path = match (json.path_raw, json.path) {
        (Some(raw), _) => STANDARD.decode(raw).map_err(|_| Wrong::Base64)?,
        (None, path) => path.unwrap_or_default().into_bytes(),
    };
    Ok(Change {
        at,
        mask,
        path: absolute(path)?,
        old_path: json.old_path.map(PathBuf::from),
    })
}

/// The first word, which must be UTF-8, and what follows the blanks behind it.
fn word(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.iter().position(|b| matches!(b, b' ' | b'\t'))?;
    let (word, rest) = text.split_at(end);
    Some((std::str::from_utf8(word).ok()?, rest.trim_ascii_start()))
}

fn events<'a>(names: impl Iterator<Item = &'a str>) -> Result<Mask, Wrong> {
    let mut mask = Mask::default();
    for name in names {
        mask |= Mask::from_word(name).ok_or_else(|| Wrong::Event(name.to_owned()))?;
    }
    Ok(mask)
}

fn absolute(path: Vec<u8>) -> Result<OsString, Wrong> {
    if !path.starts_with(b"/") || path.contains(&0) {
        return Err(Wrong::Path);
    }
    let mut path = path;
    while path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    Ok(OsString::from_vec(path))
}

/// Unlike in tables, with decimals: `1.5s`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b'.')
        .count();
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        "" if number == 0.0 => 0.0,
        _ => return None,
    };
    // Whole microseconds: a sum of decimals is not to show.
    let exact = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from((exact + Duration::from_nanos(500)).as_micros())
        .ok()
        .map(Duration::from_micros)
}

fn since_1970(time: &Number) -> Result<Duration, Wrong> {
    match time {
        Number::Seconds(seconds) => Duration::try_from_secs_f64(*seconds).map_err(|_| Wrong::Time),
        Number::Text(text) => {
            let time: jiff::Timestamp = text.parse().map_err(|_| Wrong::Time)?;
            let nanos = u64::try_from(time.as_nanosecond()).map_err(|_| Wrong::Time)?;
            Ok(Duration::from_nanos(nanos))
        }
    }
}

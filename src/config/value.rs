//! The kinds of values in incron.conf. Each function says what would be right,
//! because its error is all an administrator sees.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::LogTarget;
use crate::table::Dialect;

/// How much the journal keeps; whichever is reached first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalKeep {
    /// No older than this.
    pub age: Option<Duration>,
    /// No more bytes than this.
    pub size: Option<u64>,
}

pub(super) fn text(value: &[u8]) -> Result<&str, String> {
    let value = std::str::from_utf8(value).map_err(|_| "not UTF-8".to_owned())?;
    if value.chars().any(char::is_control) {
        return Err("has a control character".to_owned());
    }
    Ok(value)
}

pub(super) fn path(value: &[u8]) -> Result<PathBuf, String> {
    if value.contains(&0) {
        return Err("a path has no NUL".to_owned());
    }
    if value.first() != Some(&b'/') {
        return Err("must be an absolute path, such as /etc/incron.d".to_owned());
    }
    Ok(PathBuf::from(OsStr::from_bytes(value)))
}

pub(super) fn file_name(value: &[u8]) -> Result<String, String> {
    let name = text(value)?;
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Err("must be a file name without a slash, such as incrond".to_owned());
    }
    Ok(name.to_owned())
}

pub(super) fn boolean(value: &[u8]) -> Result<bool, String> {
    match value {
        b"yes" | b"true" | b"on" | b"1" => Ok(true),
        b"no" | b"false" | b"off" | b"0" => Ok(false),
        _ => Err("must be yes or no".to_owned()),
    }
}

pub(super) fn count(value: &[u8]) -> Result<u32, String> {
    text(value)?
        .parse()
        .ok()
        .filter(|n| (1..=100_000).contains(n))
        .ok_or_else(|| "must be a number from 1 to 100000".to_owned())
}

pub(super) fn duration(value: &[u8]) -> Result<Duration, String> {
    let wrong = || "must be a duration such as 500ms, 10s, 5m, 1h or 30d".to_owned();
    let value = text(value)?;
    let digits = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

pub(super) fn log(value: &[u8]) -> Result<LogTarget, String> {
    match value {
        b"syslog" => Ok(LogTarget::Syslog),
        b"journal" => Ok(LogTarget::Journal),
        b"stderr" => Ok(LogTarget::Stderr),
        b"json" => Ok(LogTarget::Json),
        _ => Err("must be syslog, journal, stderr or json".to_owned()),
    }
}

pub(super) fn dialect(value: &[u8]) -> Result<Dialect, String> {
    match value {
        b"0.5.10" => Ok(Dialect::V0_5_10),
        b"0.5.12" => Ok(Dialect::V0_5_12),
        _ => Err("must be 0.5.12 or 0.5.10".to_owned()),
    }
}

/// Empty, `ADDRESS:PORT`, or the absolute path of a socket.
pub(super) fn listen(value: &[u8]) -> Result<Option<String>, String> {
    let value = text(value)?;
    let good =
        value.is_empty() || value.starts_with('/') || value.parse::<std::net::SocketAddr>().is_ok();
    if good {
        Ok(Some(value.to_owned()).filter(|v| !v.is_empty()))
    } else {
        Err("must be ADDRESS:PORT, such as 127.0.0.1:9101, or the path of a socket".to_owned())
    }
}

/// An age, a size, or both: `30d 512M`.
pub(super) fn keep(value: &[u8]) -> Result<JournalKeep, String> {
    let wrong = || "must be an age, a size or both, such as 30d 512M".to_owned();
    let mut keep = JournalKeep::default();
    for word in text(value)?.split_ascii_whitespace() {
        if let Ok(age) = duration(word.as_bytes()) {
            if keep.age.replace(age).is_some() {
                return Err(wrong());
            }
        } else if keep.size.replace(size(word).ok_or_else(wrong)?).is_some() {
            return Err(wrong());
        }
    }
    Ok(keep)
}

fn size(word: &str) -> Option<u64> {
    let (number, shift) = match word.as_bytes().last()? {
        b'K' => (word.strip_suffix('K')?, 10),
        b'M' => (word.strip_suffix('M')?, 20),
        b'G' => (word.strip_suffix('G')?, 30),
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration(b"500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration(b"2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "10", "s", "-1s", "1.5s", "99999999999999999999s", "1 s"] {
            assert!(duration(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(duration(format!("{}d", u64::MAX).as_bytes()).is_err());
    }

    #[test]
    fn what_the_journal_keeps() {
        let both = keep(b"30d 512M").unwrap();
        assert_eq!(both.age, Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(both.size, Some(512 << 20));
        assert!(keep(b"30d 40d").is_err());
        assert!(keep(b"lots").is_err());
    }

    #[test]
    fn paths_are_absolute_bytes() {
        assert!(path(b"etc").is_err());
        assert!(path(b"").is_err());
        assert_eq!(path(b"/\xff").unwrap().as_os_str().as_bytes(), b"/\xff");
    }
}

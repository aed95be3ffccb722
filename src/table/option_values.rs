//! The values of options: each reader returns the value, or what would be right.

use std::time::Duration;

use super::duration;

/// What would be right instead.
pub(super) type Wrong = String;

/// Takes the backslashes out: `\,` is a comma, `\ ` a blank.
pub(super) fn plain(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        let literal = if byte == b'\\' {
            bytes.next().copied().unwrap_or(b'\\')
        } else {
            byte
        };
        plain.push(literal);
    }
    plain
}

pub(super) fn text(value: &[u8]) -> Result<String, Wrong> {
    String::from_utf8(plain(value)).map_err(|_| "this must be UTF-8".into())
}

/// Globs joined by `:`. Backslashes stay, for the glob, but before `,` and blanks.
pub(super) fn globs(value: &[u8]) -> Result<Vec<String>, Wrong> {
    let text = std::str::from_utf8(value)
        .map_err(|_| "a glob must be UTF-8: write `?` for another byte".to_string())?;
    let mut globs = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        if c == ':' {
            globs.push(String::new());
        } else if let Some(glob) = globs.last_mut() {
            match escaped {
                Some(next @ (',' | ' ' | '\t')) => glob.push(next),
                Some(next) => glob.extend(['\\', next]),
                None => glob.push(c),
            }
        }
    }
    if globs.iter().any(|g| g.is_empty() || g == "/") {
        return Err("globs are joined by `:`, and none is empty: `*.jpg:*.png`".into());
    }
    Ok(globs)
}

pub(super) fn boolean(value: &[u8]) -> Result<bool, Wrong> {
    match value {
        b"true" => Ok(true),
        b"false" => Ok(false),
        _ => Err("write `true` or `false`".into()),
    }
}

/// A word of a list.
pub(super) fn choice<T: Copy>(value: &[u8], choices: &[(&str, T)]) -> Result<T, Wrong> {
    choices
        .iter()
        .find(|(name, _)| name.as_bytes() == value)
        .map(|(_, v)| *v)
        .ok_or_else(|| {
            let names: Vec<String> = choices
                .iter()
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            let list = format!("write {}", names.join(" or "));
            let given = std::str::from_utf8(value).unwrap_or_default();
            match super::diagnostics::nearest(given, choices.iter().map(|(name, _)| *name)) {
                Some(near) => format!("did you mean `{near}`? {list}"),
                None => list,
            }
        })
}

pub(super) fn number(value: &[u8], least: u32, most: u32) -> Result<u32, Wrong> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|n| digits && (least..=most).contains(n))
        .ok_or_else(|| format!("write a number from {least} to {most}"))
}

pub(super) fn time(value: &[u8]) -> Result<Duration, Wrong> {
    duration::parse(std::str::from_utf8(value).unwrap_or_default()).map_err(|e| e.to_string())
}

/// A duration that cannot be nothing.
pub(super) fn positive(value: &[u8]) -> Result<Duration, Wrong> {
    match time(value)? {
        Duration::ZERO => Err("this must be more than 0".into()),
        duration => Ok(duration),
    }
}

pub(super) fn absolute(value: &[u8]) -> Result<Vec<u8>, Wrong> {
    let path = plain(value);
    if path.starts_with(b"/") && path.len() < 4096 {
        Ok(path)
    } else {
        Err("write an absolute path, shorter than 4096 bytes".into())
    }
}

/// An account or group: a name or a number.
pub(super) fn account(value: &[u8]) -> Result<String, Wrong> {
    text(value)
        .ok()
        .filter(|t| is_name(t) && t.len() <= 256 && !t.contains(':'))
        .ok_or_else(|| "write the name of an account or a group, or its number".into())
}

/// auditctl(8) allows keys of 31 bytes; file names are the longest keys anyone has.
pub(super) fn key(value: &[u8]) -> Result<String, Wrong> {
    text(value)
        .ok()
        .filter(|t| is_name(t) && t.len() <= 255)
        .ok_or_else(|| "write a word of at most 255 bytes, without blanks".into())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

pub(super) fn umask(value: &[u8]) -> Result<u32, Wrong> {
    std::str::from_utf8(value)
        .ok()
        .filter(|t| t.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|t| u32::from_str_radix(t, 8).ok())
        .filter(|m| *m <= 0o777)
        .ok_or_else(|| "write an octal mode such as `022`, at most 777".into())
}

pub(super) fn nice(value: &[u8], least: i32) -> Result<i32, Wrong> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.parse()
        .ok()
        .filter(|n| (least..=19).contains(n))
        .ok_or_else(|| format!("write a number from {least} to 19"))
}

//! `key = value`, line by line, each complaint with its place.

use std::path::Path;

use super::keys::{KEYS, nearest};
use super::{Config, Problem};

/// What a file says, and what is wrong with it.
#[derive(Debug)]
pub struct Parsed {
    /// The base, changed by the good lines.
    pub config: Config,
    /// Values that cannot be used.
    pub errors: Vec<Problem>,
    /// What was passed over.
    pub warnings: Vec<Problem>,
}

/// Parses the text of `file`, which it does not read, over the defaults.
///
/// An unknown key is a warning, so that one file serves two versions; a value
/// that cannot be used is an error, because running with another one than the
/// administrator wrote would be a surprise.
pub fn parse(file: &Path, text: &[u8]) -> Parsed {
    parse_over(Config::default(), file, text)
}

/// The same over other values than the defaults.
pub(super) fn parse_over(base: Config, file: &Path, text: &[u8]) -> Parsed {
    let mut parsed = Parsed {
        config: base,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let mut seen: Vec<(&'static str, u32)> = Vec::new();
    for (line, number) in text.split(|&b| b == b'\n').zip(1u32..) {
        let problem = |column: usize, message: String| Problem {
            file: file.to_owned(),
            line: number,
            column: u32::try_from(column + 1).unwrap_or(u32::MAX),
            message,
        };
        let Some(field) = split(line) else { continue };
        let Some((name, value)) = field.assignment else {
            parsed
                .errors
                .push(problem(field.start, "expected `key = value`".to_owned()));
            continue;
        };
        let name = String::from_utf8_lossy(name);
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            parsed.warnings.push(problem(field.start, unknown(&name)));
            continue;
        };
        if let Some((_, first)) = seen.iter().find(|(seen, _)| *seen == key.name) {
            let message = format!(
                "`{}` was set in line {first}; this line is ignored",
                key.name
            );
            parsed.warnings.push(problem(field.start, message));
            continue;
        }
        seen.push((key.name, number));
        if let Err(what) = (key.set)(&mut parsed.config, value) {
            let value = String::from_utf8_lossy(value).escape_debug().to_string();
            let message = format!("`{}`: `{value}` {what}", key.name);
            parsed.errors.push(problem(field.value_start, message));
        } else if key.later {
            let message = format!("`{}` is known but has no effect in this version", key.name);
            parsed.warnings.push(problem(field.start, message));
        }
    }
    parsed
}

fn unknown(name: &str) -> String {
    let name_shown = name.escape_debug();
    match nearest(name) {
        Some(near) => format!("unknown key `{name_shown}` is ignored; did you mean `{near}`?"),
        None => format!("unknown key `{name_shown}` is ignored; see incron.conf(5)"),
    }
}

/// A line that is neither blank nor a comment. Columns count from 0.
struct Field<'a> {
    start: usize,
    value_start: usize,
    assignment: Option<(&'a [u8], &'a [u8])>,
}

fn split(line: &[u8]) -> Option<Field<'_>> {
    let start = line.iter().position(|b| !b.is_ascii_whitespace())?;
    let rest = line.get(start..)?;
    if rest.first() == Some(&b'#') {
        return None;
    }
    let mut field = Field {
        start,
        value_start: start,
        assignment: None,
    };
    if let Some(equals) = rest.iter().position(|&b| b == b'=') {
        let (name, value) = rest.split_at(equals);
        let value = value.get(1..).unwrap_or_default();
        let blanks = value.len() - value.trim_ascii_start().len();
        field.value_start = start + equals + 1 + blanks;
        field.assignment = Some((name.trim_ascii_end(), value.trim_ascii()));
    }
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogTarget;
    use std::path::PathBuf;

    fn read(text: &str) -> Parsed {
        parse(Path::new("/etc/incron.conf"), text.as_bytes())
    }

    #[test]
    fn incrons_own_example_is_read() {
        let parsed = read("# comment\n\n  editor =  vim -n  \nlockfile_name=x\r\nlog = json");
        assert_eq!(parsed.errors, []);
        assert_eq!(parsed.warnings, []);
        assert_eq!(parsed.config.editor, "vim -n");
        assert_eq!(parsed.config.lockfile_name, "x");
        assert_eq!(parsed.config.log, LogTarget::Json);
    }

    #[test]
    fn the_first_of_two_counts() {
        let parsed = read("user_table_dir = /a\nuser_table_dir = /b\n");
        assert_eq!(parsed.config.user_table_dir, PathBuf::from("/a"));
        assert_eq!(
            parsed.warnings[0].to_string(),
            "/etc/incron.conf:2:1: `user_table_dir` was set in line 1; this line is ignored"
        );
    }

    #[test]
    fn an_unknown_key_is_a_warning_that_helps() {
        let parsed = read("  user_tabel_dir = /a\nxyzzy = 1\n");
        assert_eq!(parsed.errors, []);
        assert_eq!(
            parsed.warnings[0].to_string(),
            "/etc/incron.conf:1:3: unknown key `user_tabel_dir` is ignored; \
             did you mean `user_table_dir`?"
        );
        assert!(parsed.warnings[1].message.contains("incron.conf(5)"));
    }

    #[test]
    fn every_bad_value_is_reported_at_its_column() {
        let parsed = read("max_jobs =  0\nstate_dir = var\nnonsense\n");
        let shown: Vec<String> = parsed.errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "/etc/incron.conf:1:13: `max_jobs`: `0` must be a number from 1 to 100000",
                "/etc/incron.conf:2:13: `state_dir`: `var` must be an absolute path, \
                 such as /etc/incron.d",
                "/etc/incron.conf:3:1: expected `key = value`",
            ]
        );
    }

    #[test]
    fn keys_of_later_versions_are_validated_and_noted() {
        let parsed = read("metrics_listen = 127.0.0.1:9101\njournal_keep = soon\n");
        assert!(parsed.warnings[0].message.contains("no effect"));
        assert!(parsed.errors[0].message.contains("30d 512M"));
    }

    #[test]
    fn no_bytes_upset_it() {
        proptest::proptest!(|(text: Vec<u8>)| { parse(Path::new("x"), &text); });
    }
}

//! The path field: blanks by `\ ` or `"..."`, patterns, absolute.
//!
//! A path is data: nothing here or later gives it to a shell. (incron 0.5.12 gave it
//! to `sh` as root.)

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::diagnostics::{Reporter, Span, quoted};
use super::{Dialect, Pattern, provider};

/// PATH_MAX of <linux/limits.h> without its NUL.
const LONGEST: usize = 4095;

/// The path field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathSpec {
    /// As written after unescaping: absolute, or `@NAME/rest` ([`PathSpec::provider`]);
    /// a trailing slash kept.
    pub written: OsString,
    /// True when an unescaped `*`, `?`, `[` or `{` makes it a pattern; `written`
    /// is then a glob of [`Pattern`], whose literal characters are escaped by `\`.
    pub pattern: bool,
}

/// A byte of the field and whether it was protected by `\` or quotes.
type Protected = (u8, bool);

/// Reads the path field at the start of `text`. None after an error; else the path
/// and how many bytes the field took.
pub(super) fn parse(
    text: &[u8],
    start: usize,
    dialect: Dialect,
    report: &mut Reporter,
) -> Option<(PathSpec, usize)> {
    let (bytes, length) = unescape(text, start, report)?;
    let span = Span { start, length };
    let field = text.get(..length).unwrap_or_default();
    check_start(&bytes, field, span, report)?;
    let literal: Vec<u8> = bytes.iter().map(|(b, _)| *b).collect();
    let from = match literal.first() {
        Some(b'@') => provider::name_end(&literal, span, report)?,
        _ => 0,
    };
    if literal.len() > LONGEST {
        report.error(span, format!("the path is longer than {LONGEST} bytes"), "");
        return None;
    }
    let special = |&(b, protected): &Protected| !protected && matches!(b, b'*' | b'?' | b'[');
    let pattern = bytes.iter().any(special) || has_braces(&bytes);
    if !pattern || dialect == Dialect::V0_5_10 {
        if pattern {
            report.note(
                span,
                "in the 0.5.10 dialect `*`, `?`, `[` and `{` in a path are themselves",
            );
        }
        return Some((
            PathSpec {
                written: OsString::from_vec(literal),
                pattern: false,
            },
            length,
        ));
    }
    let spec = PathSpec {
        written: OsString::from_vec(escape(&bytes, from)),
        pattern: true,
    };
    if let Err(e) = Pattern::compile(&spec) {
        report.error(
            span,
            e.to_string(),
            "write several lines, or a pattern with `*`",
        );
        return None;
    }
    Some((spec, length))
}

fn unescape(text: &[u8], start: usize, report: &mut Reporter) -> Option<(Vec<Protected>, usize)> {
    let mut bytes = Vec::new();
    let mut at = 0;
    let mut quote: Option<usize> = None;
    while let Some(&byte) = text.get(at) {
        match (byte, quote) {
            (b'"', None) => quote = Some(at),
            (b'"', Some(_)) => quote = None,
            (b'\\', None) => {
                at += 1;
                bytes.push((text.get(at).copied().unwrap_or(b'\\'), true));
            }
            (b'\\', Some(_)) => match text.get(at + 1) {
                Some(&next @ (b'"' | b'\\')) => {
                    at += 1;
                    bytes.push((next, true));
                }
                _ => bytes.push((b'\\', true)),
            },
            (b' ' | b'\t', None) => break,
            (other, quote) => bytes.push((other, quote.is_some())),
        }
        at += 1;
    }
    if let Some(open) = quote {
        report.error(
            Span {
                start: start + open,
                length: 1,
            },
            "this quote is not closed",
            "close it, or write `\\\"` for the character itself",
        );
        return None;
    }
    Some((bytes, at.min(text.len())))
}

fn check_start(bytes: &[Protected], field: &[u8], span: Span, report: &mut Reporter) -> Option<()> {
    match bytes.first() {
        Some((b'/' | b'@', _)) => return Some(()),
        Some((b'~', _)) => report.error(
            span,
            format!("the path {} is relative", quoted(field)),
            "`~` is not expanded here: write the whole path, from `/`",
        ),
        Some((b'$', _)) => report.error(
            span,
            format!("the path {} is relative", quoted(field)),
            "variables are not expanded here: write the whole path, from `/`",
        ),
        _ => report.error(
            span,
            format!("the path {} is relative", quoted(field)),
            "a line is `PATH MASK COMMAND`, and a path starts with `/`",
        ),
    }
    None
}

/// A `{` with a `,` and a `}` after it, none protected.
fn has_braces(bytes: &[Protected]) -> bool {
    let plain: Vec<u8> = bytes
        .iter()
        .filter(|(b, protected)| !protected && matches!(b, b'{' | b',' | b'}'))
        .map(|(b, _)| *b)
        .collect();
    !super::glob::expand_braces(&plain).is_ok_and(|all| all.len() == 1)
}

/// Protected bytes that mean something to a glob keep a backslash, from `from` on.
fn escape(bytes: &[Protected], from: usize) -> Vec<u8> {
    let mut glob = Vec::with_capacity(bytes.len());
    for (at, &(byte, protected)) in bytes.iter().enumerate() {
        if protected && at >= from && is_special(byte) {
            glob.push(b'\\');
        }
        glob.push(byte);
    }
    glob
}

/// True where a backslash makes a difference to what the byte means in a glob.
pub(super) fn is_special(byte: u8) -> bool {
    matches!(
        byte,
        b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b',' | b'\\' | b'!' | b'^' | b'-'
    )
}

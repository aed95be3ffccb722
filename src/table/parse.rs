//! A table's bytes into lines: what is a comment, a variable, a line, an error.

use super::diagnostics::{Reporter, Span};
use super::differences::{self, Parts};
use super::environment::Environment;
use super::{Command, Context, Diagnostic, Line, Table, command, mask_field, path};

/// No line is longer.
pub const MAX_LINE: usize = 64 * 1024;
/// No table is larger.
pub const MAX_TABLE: usize = crate::control::MAX_TABLE;

/// Parses a whole table. Never fails: what cannot be served is in the diagnostics,
/// ordered by line. A line with an error is not in the table; the others are.
pub fn parse(bytes: &[u8], context: &Context) -> (Table, Vec<Diagnostic>) {
    let mut report = Reporter::default();
    let mut lines = Vec::new();
    if bytes.len() > MAX_TABLE {
        report.begin(1);
        report.error(
            Span {
                start: 0,
                length: 0,
            },
            format!(
                "the table has {} bytes; the most is {MAX_TABLE}",
                bytes.len()
            ),
            "divide it into several tables",
        );
    } else {
        let mut environment = Environment::new(context.dialect);
        for (number, text) in (1..).zip(bytes.split(|b| *b == b'\n')) {
            report.begin(number);
            lines.extend(line(text, number, context, &mut environment, &mut report));
        }
    }
    (
        Table {
            name: context.name.clone(),
            lines,
        },
        report.finish(),
    )
}

fn line(
    text: &[u8],
    number: u32,
    context: &Context,
    environment: &mut Environment,
    report: &mut Reporter,
) -> Option<Line> {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    // The mark that some editors put at the start of a file is no part of the table.
    let at = if number == 1 && text.starts_with(b"\xef\xbb\xbf") {
        3
    } else {
        0
    };
    let mut cursor = Cursor { text, at };
    cursor.skip_blanks();
    if matches!(cursor.rest().first(), None | Some(b'#')) {
        return None;
    }
    check_bytes(text, report)?;
    if environment.take(cursor.rest(), cursor.at, report) {
        return None;
    }
    let dialect = environment.dialect;
    let (path, length) = path::parse(cursor.rest(), cursor.at, dialect, report)?;
    let path_span = cursor.take(length);
    cursor.skip_blanks();
    let mask_length = mask_field::length(cursor.rest());
    if mask_length == 0 {
        report.error(path_span, "the mask and the command are missing", SHAPE);
        return None;
    }
    let field = cursor.rest().get(..mask_length).unwrap_or_default();
    let (mask, options) = mask_field::parse(field, cursor.at, context, dialect, report);
    let mask_span = cursor.take(mask_length);
    cursor.skip_blanks();
    let text = command::trim(cursor.rest());
    if text.is_empty() {
        report.error(mask_span, "the command is missing", SHAPE);
        return None;
    }
    check_comma(field, text, mask_span, report);
    if path.provider().is_some() && options.catch_up {
        report.warning(
            mask_span,
            "catch-up= has no effect on the paths of a provider",
            "only what happens while they are in its set is told; take it out",
        );
    }
    let command = Command::compile(text, cursor.at, &options, dialect, report);
    let command = command.filter(|_| report.errors() == 0)?;
    let parts = Parts {
        path: &path,
        path_span,
        options: &options,
        mask_span,
        command: &command,
        text,
        command_at: cursor.at,
        dialect,
    };
    differences::note(&parts, report);
    Some(Line {
        number,
        path,
        mask,
        options,
        command,
        env: environment.share(),
    })
}

const SHAPE: &str = "a line is `PATH MASK COMMAND`: `/srv/in IN_CLOSE_WRITE /usr/bin/handle $@/$#`";

/// What no line may hold.
fn check_bytes(text: &[u8], report: &mut Reporter) -> Option<()> {
    if text.len() > MAX_LINE {
        report.error(
            Span {
                start: 0,
                length: 0,
            },
            format!("the line has {} bytes; the most is {MAX_LINE}", text.len()),
            "put the work into a script",
        );
        return None;
    }
    if let Some(start) = text.iter().position(|b| *b == 0) {
        report.error(
            Span { start, length: 1 },
            "a NUL byte",
            "no path and no command can hold it: is this file a table?",
        );
        return None;
    }
    Some(())
}

/// `IN_CREATE, IN_DELETE cmd`: the second event would be the command.
fn check_comma(field: &[u8], command: &[u8], span: Span, report: &mut Reporter) {
    let word = command
        .split(|b| matches!(b, b' ' | b'\t' | b','))
        .next()
        .unwrap_or_default();
    let is_mask = |word: &str| super::Mask::from_word(word).is_some() || word.contains('=');
    if field.ends_with(b",") && std::str::from_utf8(word).is_ok_and(is_mask) {
        report.error(
            span,
            "a blank ends the mask, and this one goes on after it",
            "write the mask without blanks: `IN_CREATE,IN_DELETE`",
        );
    }
}

/// A place in a line.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.at += self
            .rest()
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
    }

    fn take(&mut self, length: usize) -> Span {
        let span = Span {
            start: self.at,
            length,
        };
        self.at += length;
        span
    }
}

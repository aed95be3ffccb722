//! What incron 0.5.10 and 0.5.12 would make of a line: notes for `incrontab -T`.

use std::os::unix::ffi::OsStrExt;

use super::diagnostics::{Reporter, Span};
use super::{Command, Dialect, Options, PathSpec};

/// A line whose parts are known.
pub(super) struct Parts<'a> {
    pub path: &'a PathSpec,
    pub path_span: Span,
    pub options: &'a Options,
    pub mask_span: Span,
    pub command: &'a Command,
    pub text: &'a [u8],
    pub command_at: usize,
    pub dialect: Dialect,
}

/// Adds the notes for one line.
pub(super) fn note(line: &Parts<'_>, report: &mut Reporter) {
    path(line, report);
    if line.dialect == Dialect::V0_5_10 {
        report.note(
            line.mask_span,
            "incron 0.5.12 watches the subdirectories, and runs the command in a shell",
        );
        return;
    }
    if line.options.recursive {
        report.note(
            line.mask_span,
            "incron 0.5.10 does not watch the subdirectories",
        );
    }
    command(line, report);
}

fn path(line: &Parts<'_>, report: &mut Reporter) {
    let written = line.path.written.as_bytes();
    if line.path.pattern {
        report.note(
            line.path_span,
            "incron 0.5.12 looks for matches only when it loads the table; 0.5.10 takes the \
             characters as they are",
        );
    }
    if written.iter().any(|b| matches!(b, b' ' | b'\t')) {
        report.note(
            line.path_span,
            "incron 0.5.12 cannot read a path with blanks",
        );
    }
}

fn command(line: &Parts<'_>, report: &mut Reporter) {
    let span = Span {
        start: line.command_at,
        length: line.text.len(),
    };
    if line.command.script().is_some() {
        report.note(
            span,
            "incron 0.5.10 has no shell: it passes this command's operators as arguments",
        );
    } else if line.text.iter().any(|b| matches!(b, b'\'' | b'"')) {
        report.note(
            span,
            "incron 0.5.10 passes quotes as they are and splits at blanks in them",
        );
    }
    if let Some(at) = lone_name(line.text) {
        report.note(
            Span {
                start: line.command_at + at,
                length: 2,
            },
            "an empty `$#` (an event of the watched path itself) is an empty argument; \
             incron 0.5.12 leaves the argument out",
        );
    }
}

/// Where `$#` is a word of its own.
fn lone_name(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for word in text.split(|b| matches!(b, b' ' | b'\t')) {
        if word == b"$#" {
            return Some(at);
        }
        at += word.len() + 1;
    }
    None
}

//! Commands, compiled once and filled for each event.
//!
//! A file name is never code. In the direct form a wildcard fills its place in one
//! argument. In the shell form it becomes a reference to a variable of the run's
//! environment, quoted for the place where it stands: the shell expands the value
//! and never parses it.

mod direct;
mod inner;
mod shell;
mod template;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::rc::Rc;

use super::diagnostics::{Reporter, Span};
use super::{Dialect, Mask, Options, Shell};
use crate::event::Event;
use direct::{Piece, Word};
use template::Wild;

/// MAX_ARG_STRLEN of Linux (execve(2)): no argument is longer, its NUL included.
const LONGEST_ARGUMENT: usize = 128 * 1024;

/// A command with its wildcards compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The text as written (for the log and for comparing lines).
    pub text: OsString,
    form: Form,
}

/// How a command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// Executed as it is: one entry an argument.
    Direct(Vec<Word>),
    /// `SHELL -c` this script.
    Shell(OsString),
}

/// What to execute: the result of filling a [`Command`] for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// argv; the first is looked up in PATH when it has no slash.
    pub argv: Vec<OsString>,
    /// Variables that the command needs beside the INCRON_ ones every run gets
    /// ([`Event::variables`]). Empty: the shell form reads only those.
    pub env: Vec<(OsString, OsString)>,
}

impl Command {
    /// Compiles the text of a line, which starts at byte `start` of it. None after an error.
    pub(super) fn compile(
        text: &[u8],
        start: usize,
        options: &Options,
        dialect: Dialect,
        report: &mut Reporter,
    ) -> Option<Command> {
        let units = template::units(text, start);
        let mut inner_safe = false;
        let form = match (options.shell, dialect) {
            (Shell::Yes, _) => Form::Shell(shell::compile(&units, report)?),
            (Shell::Auto, Dialect::V0_5_10) => Form::Direct(direct::old_words(&units)),
            (Shell::No, _) => Form::Direct(direct::words(&units, true, report)?.ok()?),
            (Shell::Auto, Dialect::V0_5_12) => match direct::words(&units, false, report)? {
                Ok(mut words) => {
                    inner_safe = inner::compile(&mut words, start, report)?;
                    Form::Direct(words)
                }
                Err(_reason) => Form::Shell(shell::compile(&units, report)?),
            },
        };
        let span = Span {
            start,
            length: text.len(),
        };
        if let Form::Shell(script) = &form
            && script.len() >= LONGEST_ARGUMENT
        {
            report.error(
                span,
                "the command is too long for the shell",
                "put it into a script",
            );
            return None;
        }
        if let Form::Direct(words) = &form
            && words.first().is_none_or(Word::is_empty)
        {
            report.error(
                span,
                "the command is empty",
                "name a program: `/usr/bin/logger $@/$#`",
            );
            return None;
        }
        if options.stream && units.iter().any(|u| u.wild().is_some()) {
            report.warning(
                span,
                "a stream command runs for all events: its wildcards are empty",
                "read the events from the standard input; incron-events(7) has their fields",
            );
        }
        if inner_safe {
            report.warning(
                span,
                "file names reach this inner shell as variables, not as text",
                "leave `sh -c` out: the command may use shell syntax itself",
            );
        } else {
            inner::warn(&units, matches!(form, Form::Shell(_)), report);
        }
        Some(Command {
            text: OsString::from_vec(text.to_vec()),
            form,
        })
    }

    /// Fills the wildcards for `event`; `shell` is the value of SHELL to use
    /// for the shell form.
    pub fn invocation(&self, event: &Event, shell: &OsStr) -> Invocation {
        self.fill(Some(event), shell)
    }

    /// As `invocation`, for a run that gathered several events: the wildcards have
    /// the values of the last one (all of them are on the standard input, where
    /// `stdin=` says so). Without events (`run=stream`) they are empty.
    pub fn invocation_many(&self, events: &[Rc<Event>], shell: &OsStr) -> Invocation {
        self.fill(events.last().map(Rc::as_ref), shell)
    }

    fn fill(&self, event: Option<&Event>, shell: &OsStr) -> Invocation {
        let argv = match &self.form {
            Form::Direct(words) => words.iter().map(|word| fill_word(word, event)).collect(),
            Form::Shell(script) => vec![shell.to_owned(), "-c".into(), script.clone()],
        };
        Invocation {
            argv,
            env: Vec::new(),
        }
    }

    /// The script that `SHELL -c` runs; None when no shell takes part.
    pub fn script(&self) -> Option<&OsStr> {
        match &self.form {
            Form::Shell(script) => Some(script),
            Form::Direct(_) => None,
        }
    }

    /// The arguments of the direct form with wildcards as written; None with a shell.
    pub fn arguments(&self) -> Option<Vec<OsString>> {
        match &self.form {
            Form::Direct(words) => Some(words.iter().map(Word::written).collect()),
            Form::Shell(_) => None,
        }
    }
}

fn fill_word(word: &Word, event: Option<&Event>) -> OsString {
    if let [Piece::Literal(bytes)] = word.pieces() {
        return OsString::from_vec(bytes.to_vec());
    }
    let mut argument = Vec::with_capacity(64);
    for piece in word.pieces() {
        match (piece, event) {
            (Piece::Literal(bytes), _) => argument.extend_from_slice(bytes),
            (Piece::Wild(wild), Some(event)) => push_value(&mut argument, *wild, event),
            (Piece::Wild(_), None) => {}
        }
    }
    OsString::from_vec(argument)
}

fn push_value(argument: &mut Vec<u8>, wild: Wild, event: &Event) {
    match wild {
        Wild::Watch => argument.extend_from_slice(event.watch.as_bytes()),
        Wild::File => argument.extend_from_slice(event.name.as_bytes()),
        Wild::Names => push_names(argument, event.mask),
        Wild::Number => argument.extend_from_slice(event.mask.0.to_string().as_bytes()),
    }
}

fn push_names(argument: &mut Vec<u8>, mask: Mask) {
    for (i, name) in mask.names().enumerate() {
        if i > 0 {
            argument.push(b',');
        }
        argument.extend_from_slice(name.as_bytes());
    }
}

/// A command without the blanks at its end; one after a backslash stays.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let kept = text.trim_ascii_end();
    let backslashes = kept.iter().rev().take_while(|b| **b == b'\\').count();
    match text.get(..kept.len() + 1) {
        Some(with_blank) if backslashes % 2 == 1 => with_blank,
        _ => kept,
    }
}

//! The language of tables: `PATH MASK COMMAND`, its options, and its errors.
//!
//! Pure: bytes in, a [`Table`] and diagnostics out. The daemon, the editor and
//! the tests use this one parser.
//!
//! CONTRACT (types other rooms build on; the table room owns and fills them in).

mod mask;
mod options;

pub use mask::Mask;
pub use options::*;

use std::ffi::{OsStr, OsString};
use std::rc::Rc;

use crate::event::Event;

/// Which incron a line is written for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Dialect {
    /// No shell, no recursion.
    #[serde(rename = "0.5.10")]
    V0_5_10,
    /// Shell, recursion.
    #[serde(rename = "0.5.12")]
    #[default]
    V0_5_12,
}

/// What the parser must know of the table's place.
#[derive(Clone, Debug)]
pub struct Context {
    /// Shown in diagnostics: a path, or the user's name.
    pub origin: String,
    /// Value of INCRON_TABLE and of the default key.
    pub name: String,
    /// The dialect of lines before the first `INCRON_DIALECT=`.
    pub dialect: Dialect,
    /// True for tables of the system directory: `user=` and `who=` are allowed.
    pub system: bool,
}

/// A parsed table: its good lines, in order.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Value of INCRON_TABLE.
    pub name: String,
    /// The lines that can be served.
    pub lines: Vec<Line>,
}

/// One `PATH MASK COMMAND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Number in the file, from 1.
    pub number: u32,
    /// The path or pattern, unescaped.
    pub path: PathSpec,
    /// Event bits and flags (`ONLYDIR`, `DONT_FOLLOW`, `ONESHOT`, `EXCL_UNLINK`).
    pub mask: Mask,
    /// Everything else of the mask field.
    pub options: Options,
    /// The compiled command.
    pub command: Command,
    /// `NAME=value` lines before this one.
    pub env: Rc<Vec<(OsString, OsString)>>,
}

/// The path field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathSpec {
    /// As written after unescaping: absolute, a trailing slash kept.
    pub written: OsString,
    /// True when an unescaped `*`, `?`, `[` or `{` makes it a pattern; `written`
    /// is then in globset syntax with literal characters escaped.
    pub pattern: bool,
}

/// A command with its wildcards compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The text as written (for the log and for comparing lines).
    pub text: OsString,
}

/// What to execute: the result of filling a [`Command`] for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// argv; the first is looked up in PATH when it has no slash.
    pub argv: Vec<OsString>,
    /// Variables that the command needs beside the INCRON_ ones every run gets.
    pub env: Vec<(OsString, OsString)>,
}

impl Command {
    /// Fills the wildcards for `event`; `shell` is the value of SHELL to use
    /// for the shell form.
    pub fn invocation(&self, event: &Event, shell: &OsStr) -> Invocation {
        let _ = (event, shell);
        Invocation {
            argv: vec![],
            env: vec![],
        }
    }
}

/// An error or a warning about a table: file, line, column, what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error: the line is skipped. Warning: it is served. Note: it differs from 0.5.x.
    pub severity: Severity,
    /// Line number from 1.
    pub line: u32,
    /// Byte column from 1.
    pub column: u32,
    /// One line, no control characters.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For the curious: `-T` only.
    Note,
    /// Served, but probably not what was meant.
    Warning,
    /// Not served.
    Error,
}

/// Parses a whole table. Never fails: what cannot be served is in the diagnostics.
pub fn parse(bytes: &[u8], context: &Context) -> (Table, Vec<Diagnostic>) {
    let _ = bytes;
    (
        Table {
            name: context.name.clone(),
            lines: Vec::new(),
        },
        Vec::new(),
    )
}

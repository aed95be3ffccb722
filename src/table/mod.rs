//! The language of tables: `PATH MASK COMMAND`, its options, and its errors.
//!
//! Pure: bytes in, a [`Table`] and diagnostics out. The daemon, the editor and
//! the tests use this one parser.

mod command;
mod diagnostics;
mod differences;
pub mod duration;
mod environment;
mod explain;
mod filter;
mod glob;
mod mask;
mod mask_field;
mod option_choices;
mod option_values;
mod option_words;
mod options;
mod options_text;
mod parse;
mod path;
mod pattern;
mod provider;
mod render;
mod who_filter;

pub use command::{Command, Invocation};
pub use diagnostics::{Diagnostic, Severity};
pub use explain::explain;
pub use filter::{Below, Filter};
pub use glob::TooManyAlternatives;
pub use mask::Mask;
pub use options::*;
pub use parse::{MAX_LINE, MAX_TABLE, parse};
pub use path::PathSpec;
pub use pattern::Pattern;
pub use render::{render, visible};
pub use who_filter::{Wanted, WhoFilter};

use std::ffi::OsString;
use std::rc::Rc;

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
    /// True for tables of the system directory: `user=`, `who=`, `by=` and `exe=`
    /// are allowed.
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

/// The name of every option of the mask field, for completions and tests.
pub fn option_names() -> &'static [&'static str] {
    &option_words::NAMES
}

/// Every word of a mask field that names events or a flag, for completions and tests.
pub fn event_words() -> impl Iterator<Item = &'static str> {
    mask::words().map(|(_, word)| word)
}

impl Line {
    /// True where both ask for the same work: they differ at most in their number.
    /// A reload keeps the watches of such lines.
    pub fn same_work(&self, other: &Line) -> bool {
        self.path == other.path
            && self.mask == other.mask
            && self.options == other.options
            && self.command == other.command
            && self.env == other.env
    }
}

//! `NAME=value` lines, as in crontab(5): they hold for the lines after them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

use super::Dialect;
use super::diagnostics::{Reporter, Span, quoted};

/// Copying the environment for each line that follows a change is bounded to this
/// many variables a table, so that no table of 1 MiB takes gigabytes.
const MAX_COPIES: usize = 200_000;

/// A table sets no more; they are searched one by one.
const MAX_VARIABLES: usize = 200;

/// The environment and the dialect at one place of a table.
#[derive(Debug, Default)]
pub(super) struct Environment {
    variables: Vec<(OsString, OsString)>,
    shared: Option<Rc<Vec<(OsString, OsString)>>>,
    copied: usize,
    /// Of the lines from here on.
    pub dialect: Dialect,
}

impl Environment {
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            ..Self::default()
        }
    }

    /// The variables, shared by all lines between two changes.
    pub fn share(&mut self) -> Rc<Vec<(OsString, OsString)>> {
        let variables = &self.variables;
        Rc::clone(
            self.shared
                .get_or_insert_with(|| Rc::new(variables.clone())),
        )
    }

    /// Takes a line, without leading blanks, if it is `NAME=value`. False: it is not.
    pub fn take(&mut self, text: &[u8], start: usize, report: &mut Reporter) -> bool {
        let Some((name, value_at)) = split(text) else {
            return false;
        };
        let value = text.get(value_at..).unwrap_or_default();
        let whole = Span {
            start,
            length: text.len(),
        };
        let Some(value) = unquote(value) else {
            report.error(
                Span {
                    start: start + value_at,
                    length: value.len(),
                },
                "the quotes of this value do not match",
                "write `NAME=\"value\"`, with nothing after the closing quote",
            );
            return true;
        };
        if name == b"INCRON_DIALECT" {
            self.set_dialect(
                value,
                Span {
                    start: start + value_at,
                    length: value.len(),
                },
                report,
            );
            return true;
        }
        if name.starts_with(b"INCRON_") {
            report.warning(
                whole,
                format!("{} is set for each run by incron itself", quoted(name)),
                "choose a name that does not begin with `INCRON_`",
            );
        } else {
            report.note(whole, "incron 0.5.x has no `NAME=value` lines");
        }
        self.set(name, value, whole, report);
        true
    }

    fn set_dialect(&mut self, value: &[u8], span: Span, report: &mut Reporter) {
        match value {
            b"0.5.10" => self.dialect = Dialect::V0_5_10,
            b"0.5.12" => self.dialect = Dialect::V0_5_12,
            other => report.error(
                span,
                format!("unknown dialect {}", quoted(other)),
                "write `INCRON_DIALECT=0.5.10` or `INCRON_DIALECT=0.5.12`",
            ),
        }
    }

    fn set(&mut self, name: &[u8], value: &[u8], span: Span, report: &mut Reporter) {
        if self.shared.take().is_some() {
            self.copied += self.variables.len();
        }
        if self.copied > MAX_COPIES {
            report.error(
                span,
                "the environment changes too often in this table",
                "put the variables at the top of the table",
            );
            return;
        }
        let name = OsString::from_vec(name.to_vec());
        let value = OsString::from_vec(value.to_vec());
        // A table's variables are few: a search costs less than a second structure.
        let full = self.variables.len() >= MAX_VARIABLES;
        match self.variables.iter_mut().find(|(n, _)| *n == name) {
            Some(variable) => variable.1 = value,
            None if full => report.error(
                span,
                format!("a table has at most {MAX_VARIABLES} variables"),
                "set the others in the command",
            ),
            None => self.variables.push((name, value)),
        }
    }
}

/// The name, and where the value starts. Blanks may stand around the `=`.
fn split(text: &[u8]) -> Option<(&[u8], usize)> {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let length = text.iter().take_while(|b| is_name(b)).count();
    let name = text
        .get(..length)
        .filter(|n| n.first().is_some_and(|b| !b.is_ascii_digit()))?;
    let blanks = |from: usize| {
        text.iter()
            .skip(from)
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count()
            + from
    };
    let equals = blanks(length);
    (text.get(equals) == Some(&b'=')).then(|| (name, blanks(equals + 1)))
}

/// cron's rule: blanks at the ends go, quotes around the whole value go and keep blanks.
fn unquote(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii_end();
    match value.first() {
        Some(quote @ (b'"' | b'\'')) => {
            let inner = value.get(1..value.len().checked_sub(1)?.max(1))?;
            (value.len() > 1 && value.last() == Some(quote) && !inner.contains(quote))
                .then_some(inner)
        }
        _ => Some(value),
    }
}

//! What is wrong with a table, told to a person; and `-T`, which also tells
//! what its lines do.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use super::cli::Source;
use super::error::Error;
use super::scratch::read_bounded;
use crate::config::Config;
use crate::control::MAX_TABLE;
use crate::table::{self, Context, Severity};

/// A table that was looked through.
#[derive(Debug)]
pub struct Checked {
    /// Errors and warnings as the compiler would show them; empty for none.
    pub rendered: String,
    /// Lines that cannot be served.
    pub errors: usize,
}

/// Looks a table through. Notes on how it differs from 0.5.x are left out.
pub fn check(text: &[u8], context: &Context) -> Checked {
    let (_, diagnostics) = table::parse(text, context);
    let errors = diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .count();
    let rendered = table::render(
        &diagnostics,
        text,
        &context.origin,
        Severity::Warning,
        colour(),
    );
    Checked { rendered, errors }
}

/// True where standard error, to which all of this goes, can show colours.
fn colour() -> bool {
    io::stderr().is_terminal()
        && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Reads a table from where the command line says, with the caller's rights.
///
/// # Errors
/// It cannot be read, or is larger than a table may be.
pub fn read(source: &Source) -> Result<Vec<u8>, Error> {
    let bytes = open(source).and_then(|from| read_bounded(from, MAX_TABLE));
    let bytes = bytes.map_err(|error| match source {
        Source::Stdin => Error::Stdin(error),
        Source::File(path) => Error::Import {
            path: path.clone(),
            error,
        },
    })?;
    bytes.ok_or_else(|| Error::TooLarge {
        what: format!("{} is too large", name(source)),
    })
}

/// Opens what the command line names. A pipe may be named
/// (`incrontab <(generate)`), a directory may not.
///
/// # Errors
/// As open(2).
pub fn open(source: &Source) -> io::Result<Box<dyn Read>> {
    let path = match source {
        Source::Stdin => return Ok(Box::new(io::stdin().lock())),
        Source::File(path) => path,
    };
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(Box::new(file))
}

/// What it is called in messages.
pub fn name(source: &Source) -> String {
    match source {
        Source::Stdin => "standard input".to_owned(),
        Source::File(path) => path.display().to_string(),
    }
}

/// What the parser must know of a table from `source` that would be `owner`'s.
pub fn context(source: &Source, owner: &str, config: &Config) -> Context {
    let system = match source {
        Source::Stdin => false,
        Source::File(path) => is_system(path, config),
    };
    let table = match source {
        Source::File(path) if system => path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        _ => owner.to_owned(),
    };
    Context {
        origin: name(source),
        name: table,
        dialect: config.dialect,
        system,
    }
}

/// True for a file of the system's table directory, whose lines may say more.
fn is_system(path: &Path, config: &Config) -> bool {
    let parent = path
        .canonicalize()
        .ok()
        .and_then(|p| p.parent().map(Path::to_owned));
    let dir = config
        .system_table_dir
        .as_ref()
        .and_then(|dir| dir.canonicalize().ok());
    parent.is_some() && parent == dir
}

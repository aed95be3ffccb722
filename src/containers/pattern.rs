//! Paths of a fixed depth, some of whose components may be anything.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// This name.
    Name(&'static str),
    /// Any name that ends so.
    Ending(&'static str),
    /// Any name.
    Any,
}

/// A directory, and the components below it.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// Absolute.
    pub base: PathBuf,
    /// The last one is a file.
    pub parts: &'static [Part],
}

impl Part {
    /// Whether it is this name.
    pub fn matches(self, name: &OsStr) -> bool {
        match self {
            Part::Name(wanted) => name == wanted,
            Part::Ending(end) => name.as_bytes().ends_with(end.as_bytes()),
            Part::Any => true,
        }
    }
}

impl Pattern {
    /// Whether `file` is one of them.
    pub fn matches(&self, file: &Path) -> bool {
        let Ok(below) = file.strip_prefix(&self.base) else {
            return false;
        };
        below.components().count() == self.parts.len()
            && below
                .iter()
                .zip(self.parts)
                .all(|(name, part)| part.matches(name))
    }
}

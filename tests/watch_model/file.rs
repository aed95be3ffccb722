//! The line on one file, which follows its path: whatever is there by now, what was
//! written last must have been told, and that it is another file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::snapshot::{Id, id};

pub const FILE: &str = "d/a/f";

#[derive(Default)]
pub struct FileLine {
    /// When it was told anything.
    pub told: Vec<usize>,
    changed: Option<usize>,
    is: Option<Id>,
    /// What it was when the line last knew: what is back by now has not changed.
    was: Option<Id>,
    /// What it was before it was nothing: not new when it is back.
    away: BTreeSet<Id>,
    other: Option<usize>,
}

impl FileLine {
    /// At a check, all is told.
    pub fn settle(&mut self) {
        self.told.clear();
        self.changed = None;
        self.other = None;
        self.was = self.is.or(self.was);
        if let Some(file) = self.is {
            self.away.remove(&file);
        }
    }

    /// What an operation changed; `written` is the file that it wrote.
    pub fn happened(
        &mut self,
        top: &Path,
        now: usize,
        written: &Option<(Id, String)>,
        alive: &BTreeSet<Id>,
    ) {
        let file = fs::metadata(top.join(FILE)).ok();
        let file = file.filter(fs::Metadata::is_file).map(|meta| id(&meta));
        if file.is_some() && file == written.as_ref().map(|(id, _)| *id) {
            self.changed = Some(now);
        }
        if file != self.is {
            self.other = file.map(|_| now);
            if file.is_none() {
                self.changed = None;
                self.away.extend(self.is);
            }
            self.is = file;
        }
        self.away.retain(|id| alive.contains(id));
    }

    /// Something was read; `all`: nothing is left.
    pub fn read(&mut self, all: bool) {
        let told = |since| self.told.iter().any(|at| *at >= since);
        if all && self.other.is_none_or(told) {
            self.was = self.is.or(self.was);
        }
    }

    pub fn check(&self) -> Result<(), String> {
        let back = |id: &Id| self.away.contains(id);
        let other = self.is != self.was && !self.is.as_ref().is_some_and(back);
        match self.changed.max(self.other.filter(|_| other)) {
            Some(since) if !self.told.iter().any(|at| *at >= since) => {
                Err(format!("not told: the file line, changed at {since}"))
            }
            _ => Ok(()),
        }
    }
}

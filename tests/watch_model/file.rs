//! The line on one file, which follows its path: whatever is there by now, what was
//! written last must have been told, and that it is another file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::snapshot::{Id, id};

pub const FILE: &str = "d/a/f";

#[derive(Default)]
pub struct FileLine {
    /// When it was told anything.
    pub told: Vec<usize>,
    /// When each file that was there since it was last away was written.
    changed: BTreeMap<Id, usize>,
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
        self.changed.clear();
        self.other = None;
        self.was = self.is.or(self.was);
        if let Some(file) = self.is {
            self.away.remove(&file);
        }
    }

    /// What an operation changed; `written` is the file that it wrote; `alive` is None
    /// where a mount may hide what is.
    pub fn happened(
        &mut self,
        top: &Path,
        now: usize,
        written: &Option<(Id, String)>,
        alive: Option<&BTreeSet<Id>>,
    ) {
        let file = fs::metadata(top.join(FILE)).ok();
        let file = file.filter(fs::Metadata::is_file).map(|meta| id(&meta));
        if let Some(file) = file.filter(|file| written.as_ref().is_some_and(|(id, _)| id == file)) {
            self.changed.insert(file, now);
        }
        if file != self.is {
            self.other = file.map(|_| now);
            if file.is_none() {
                self.changed.clear();
                self.away.extend(self.is);
            }
            self.is = file;
        }
        self.away
            .retain(|id| alive.is_none_or(|alive| alive.contains(id)));
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
        let changed = self.is.and_then(|is| self.changed.get(&is).copied());
        match changed.max(self.other.filter(|_| other)) {
            Some(since) if !self.told.iter().any(|at| *at >= since) => {
                Err(format!("not told: the file line, changed at {since}"))
            }
            _ => Ok(()),
        }
    }
}

//! Directories that are nothing to any line: only that is kept of them, and how loud they
//! are.

use super::{Known, Tree};

/// As many are remembered.
const MOST_FOREIGN: usize = 65_536;

/// A directory that is nothing to any line.
#[derive(Clone, Copy)]
pub(super) struct Foreign {
    /// In which it was found to be that.
    pub generation: u32,
    /// Records of it.
    met: u32,
}

impl Tree {
    /// The same, of a directory in which something has happened.
    pub fn met(&mut self, key: &[u8]) -> Known {
        if !key.is_empty() && *self.last == *key {
            self.row = self.row.saturating_add(1);
            return Known::Foreign;
        }
        let known = self.known(key);
        if known == Known::Foreign {
            self.count_row();
            self.last.clear();
            self.last.extend_from_slice(key);
            self.row = 1;
        }
        known
    }

    fn count_row(&mut self) -> u32 {
        let row = std::mem::take(&mut self.row);
        match self.by_key.get_mut(&*self.last) {
            Some(Err(foreign)) if foreign.generation == self.generation => {
                foreign.met = foreign.met.saturating_add(row);
                foreign.met
            }
            _ => 0,
        }
    }

    /// The foreign directory that was met last, where so many records of it were that it
    /// is loud; they are counted anew then. Of many, the loudest is met last most often.
    pub fn loud(&mut self, many: u32) -> Option<Box<[u8]>> {
        if self.count_row() < many {
            return None;
        }
        let key: Box<[u8]> = (*self.last).into();
        if let Some(Err(foreign)) = self.by_key.get_mut(&key) {
            foreign.met = 0;
        }
        Some(key)
    }

    /// The directory is nothing to any line.
    pub fn set_foreign(&mut self, key: &[u8]) {
        if let Some(Ok(id)) = self.by_key.get(key) {
            let id = *id;
            self.away(id);
            return;
        }
        if self.foreign >= MOST_FOREIGN {
            self.forget_foreign();
        }
        let foreign = Foreign {
            generation: self.generation,
            met: 0,
        };
        if self.by_key.insert(key.into(), Err(foreign)).is_none() {
            self.foreign += 1;
        }
    }

    /// What was foreign may be so no longer.
    pub fn forget_foreign(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.last.clear();
        self.row = 0;
        self.touch();
        if self.foreign >= MOST_FOREIGN {
            self.by_key.retain(|_, slot| slot.is_ok());
            self.foreign = 0;
        }
    }
}

//! What an operator may see of the source.

use super::Fanotify;

/// Figures for status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Marks held.
    pub marks: usize,
    /// Watched paths and patterns.
    pub roots: usize,
    /// Directories remembered by their handles.
    pub handles: usize,
    /// Records read.
    pub records: u64,
    /// Of them, those that were nothing to any line.
    pub foreign: u64,
    /// Reads that were put off for the noise of others.
    pub delays: u64,
    /// Directories that are left out for their noise.
    pub hushed: usize,
    /// Events of directories that were gone before anybody knew where they were.
    pub stale: u64,
    /// Times the kernel had no memory for a record.
    pub overflows: u64,
    /// Rescans done.
    pub rescans: u64,
}

impl Fanotify {
    /// Figures for status.
    pub fn figures(&self) -> Figures {
        Figures {
            marks: self.group.marks(),
            roots: self.roots.len(),
            handles: self.tree.len(),
            delays: self.gate.delays(),
            hushed: self.hush.len(),
            ..self.figures
        }
    }
}

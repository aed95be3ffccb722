//! After a full queue: everything changed since the last event read.

use std::collections::{HashMap, HashSet};

use super::Report;
use super::found::How;
use super::inotify::Inotify;
use super::tell::Owner;
use super::tree::NodeId;
use crate::table::Mask;

/// Names by directory.
pub(super) type Names = HashMap<u32, HashSet<Box<[u8]>>>;

impl Inotify {
    pub(super) fn overflow(&mut self, out: &mut Vec<Report>) {
        self.figures.overflows += 1;
        let _ = out;
    }

    pub(super) fn note_name(&mut self, dir: NodeId, name: &[u8]) {
        self.names.entry(dir.0).or_default().insert(name.into());
    }

    pub(super) fn drop_name(&mut self, dir: NodeId, name: &[u8]) {
        if let Some(names) = self.names.get_mut(&dir.0) {
            names.remove(name);
        }
    }

    pub(super) fn miss(&mut self, _dir: NodeId, _out: &mut Vec<Report>) {}

    pub(super) fn told(&self, _owner: Owner, _name: &[u8], _how: How) -> Mask {
        Mask(0)
    }
}

//! Directories that nobody asks for and that make most of the noise: the kernel is told to
//! leave them out, by an ignore mark on each (Linux 6.0). A record that is never made costs
//! the process that would have caused it nothing.
//!
//! What is ignored are changes of files. Renames, and directories that come and go, are told
//! all the same, so a directory that comes into reach is heard of; then every ignore mark is
//! taken back before the scan that this leads to, which finds what was ignored in between.

use std::collections::HashMap;
use std::time::Duration;

use super::Fanotify;
use crate::time::Moment;

/// Directories that are left out at once. All marks are taken back together, and that
/// must not take long.
const MOST: usize = 128;
/// Records of a directory from which on it is loud.
const LOUD: u32 = 2048;
/// What was queued before still comes; what comes later than this shows that the kernel
/// has dropped the mark for want of memory.
const QUEUED: Duration = Duration::from_secs(1);

/// What is left out.
#[derive(Default)]
pub(super) struct Hush {
    /// By their handles, since when.
    hushed: HashMap<Box<[u8]>, Moment>,
    /// The kernel or the file system has no such marks.
    refused: bool,
    /// Marks that could not be taken back: there was no descriptor to be had.
    stuck: bool,
}

impl Hush {
    pub fn len(&self) -> usize {
        self.hushed.len()
    }
}

impl Fanotify {
    /// Leaves out the directory of which most was read lately, if that is too much. Where a
    /// file is watched it is not done: its other names may be in any directory.
    pub(super) fn hush(&mut self, now: Moment) {
        if self.hush.stuck {
            self.hear_all();
        }
        let full = self.hush.hushed.len() >= MOST || self.hush.refused;
        if full || !self.files.is_empty() || !self.jobs.is_empty() {
            return;
        }
        let Some(key) = self.tree.loud(self.options.loud.unwrap_or(LOUD)) else {
            return;
        };
        let since = self.hush.hushed.get(&key);
        if since.is_some_and(|since| now - *since < QUEUED) {
            return;
        }
        match self.group.ignore(&self.mounts, &key) {
            Ok(()) => {
                self.hush.hushed.insert(key, now);
            }
            Err(error) => self.hush.refused = error.raw_os_error() == Some(libc::EINVAL),
        }
    }

    /// Leaves nothing out any more: what was nothing to any line may be something now.
    pub(super) fn hear_all(&mut self) {
        let mut hushed = std::mem::take(&mut self.hush.hushed);
        hushed.retain(|key, _| self.group.heed(&self.mounts, key).is_err());
        self.hush.stuck = !hushed.is_empty();
        self.hush.hushed = hushed;
    }
}

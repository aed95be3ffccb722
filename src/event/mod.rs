//! What happened, where, and by whom: the one data model that flows from
//! `watch` through `schedule` into `run`.

mod actor;
pub(crate) mod json;
mod line_ids;
mod time;
mod variables;

pub use actor::{Actor, Confidence, Parent};
pub use json::{EventContext, JsonError, Recorded};
pub use line_ids::LineIds;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::table::Mask;

/// A time as it is written everywhere: RFC 3339, UTC, nine digits.
pub fn rfc3339(time: SystemTime) -> String {
    let mut text = String::with_capacity(30);
    time::push(&mut text, time);
    text
}

/// The number of a line within a worker; never used twice in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub u32);

/// How an event became known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The kernel reported it.
    #[default]
    Kernel,
    /// Found by the scan of a directory that had just appeared.
    Scan,
    /// Found by the scan that follows a full queue.
    Rescan,
    /// Happened while the daemon was away.
    Offline,
    /// Found by polling.
    Poll,
}

/// One thing that happened to one path, as one or more lines see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened: event bits, and `ISDIR` where it happened to a directory.
    pub mask: Mask,
    /// The watched path as written (`$@`); below a recursive line, the directory.
    pub watch: OsString,
    /// The name in `watch` (`$#`); empty for an event of `watch` itself.
    pub name: OsString,
    /// The whole old path, when both halves of a rename were seen.
    pub old_path: Option<PathBuf>,
    /// Wall clock when the event was read.
    pub time: SystemTime,
    /// How it became known.
    pub origin: Origin,
    /// Who did it, where that is known.
    pub actor: Option<Rc<Actor>>,
    /// Grows by one with each event of a worker; lines share an event and its number.
    pub seq: u64,
    /// Labels of the provider that named the path.
    pub labels: Option<Rc<BTreeMap<String, String>>>,
}

/// The number of the next event of this process; the first is 1.
pub fn next_seq() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

impl Event {
    /// The whole path of the thing that changed.
    pub fn target(&self) -> OsString {
        let mut path = Vec::with_capacity(self.watch.len() + 1 + self.name.len());
        self.write_target(&mut path);
        OsString::from_vec(path)
    }

    /// Appends the whole path to `path`, which is empty.
    pub fn write_target(&self, path: &mut Vec<u8>) {
        path.extend_from_slice(self.watch.as_bytes());
        if self.name.is_empty() {
            return;
        }
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(self.name.as_bytes());
    }
}

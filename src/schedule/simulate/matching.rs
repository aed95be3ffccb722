//! Which lines want a change, by the names alone.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::SystemTime;

use super::Change;
use crate::event::{Event, Origin};
use crate::table::{Filter, Line, Mask, Pattern};

/// A line's path and filters, compiled; and whether IN_ONESHOT has had its event.
pub(super) struct Matcher {
    pattern: Pattern,
    filter: Filter,
    done: bool,
}

impl Matcher {
    /// None for a line whose patterns the parser would have refused, and for one on
    /// the paths of a provider: which they are is not in its table.
    pub(super) fn new(line: &Line) -> Option<Self> {
        if line.path.provider().is_some() {
            return None;
        }
        let pattern = Pattern::compile(&line.path).ok()?;
        let filter = Filter::new(&line.options).ok()?;
        Some(Self {
            pattern,
            filter,
            done: false,
        })
    }

    /// The change as the line sees it, if it wants it.
    pub(super) fn event(&mut self, line: &Line, change: &Change) -> Option<Event> {
        if self.done {
            return None;
        }
        let path = change.path.as_bytes();
        let root = self.root(path)?;
        let below = path.get(root..).unwrap_or_default();
        let below = below.strip_prefix(b"/").unwrap_or(below);
        let is_dir = change.mask.intersects(Mask::ISDIR);
        if !reaches(line, below) || !self.filter.wants(below, is_dir) {
            return None;
        }
        let mask = seen(line.mask, change.mask, below.is_empty());
        if mask.is_empty() {
            return None;
        }
        self.done = line.mask.intersects(Mask::ONESHOT);
        let (watch, name) = place(line, path.get(..root).unwrap_or_default(), below);
        Some(Event {
            mask: mask | (change.mask & Mask::ISDIR),
            watch,
            name,
            old_path: change.old_path.clone(),
            time: SystemTime::UNIX_EPOCH + change.at,
            origin: Origin::Kernel,
            actor: None,
            seq: 1,
            labels: None,
        })
    }

    /// The length of the shortest beginning of `path` that the line watches.
    fn root(&self, path: &[u8]) -> Option<usize> {
        let slashes = path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(at, _)| at.max(1));
        slashes
            .chain([path.len()])
            .find(|end| self.pattern.matches(path.get(..*end).unwrap_or_default()))
    }
}

/// recursive=, depth= and dotdirs= let the line see this path below its own.
fn reaches(line: &Line, below: &[u8]) -> bool {
    let mut names = below.split(|b| *b == b'/').rev();
    names.next();
    let options = &line.options;
    let mut depth = 0;
    for directory in names {
        depth += 1;
        if !options.dotdirs && directory.starts_with(b".") {
            return false;
        }
    }
    depth == 0 || options.recursive && options.depth.is_none_or(|most| depth <= most)
}

/// The event bits that the line gets of a change.
fn seen(asked: Mask, change: Mask, itself: bool) -> Mask {
    let mut mask = asked & change & (Mask::ALL_EVENTS | Mask::UNMOUNT);
    let file = !change.intersects(Mask::ISDIR);
    let written = change.intersects(Mask::CLOSE_WRITE | Mask::MOVED_TO);
    if file && written && asked.intersects(Mask::COMPLETE) {
        mask |= Mask::COMPLETE;
    }
    // A file replaced by rename is a save to a line on that file.
    if itself && file && mask.is_empty() && change.intersects(Mask::MOVED_TO) {
        let save = [Mask::CLOSE_WRITE, Mask::MODIFY]
            .into_iter()
            .find(|m| asked.intersects(*m));
        mask |= save.unwrap_or_default();
    }
    mask
}

/// `$@` and `$#`: the path as written, below it the directory; with a slash at the end
/// where the written path has one.
fn place(line: &Line, root: &[u8], below: &[u8]) -> (OsString, OsString) {
    let written = line.path.written.as_bytes();
    let mut watch = if line.path.pattern {
        root.to_vec()
    } else {
        written.to_vec()
    };
    let slash = written.ends_with(b"/");
    let (directory, name) = match below.iter().rposition(|b| *b == b'/') {
        Some(at) => (
            below.get(..at).unwrap_or_default(),
            below.get(at + 1..).unwrap_or_default(),
        ),
        None => (&b""[..], below),
    };
    if !directory.is_empty() {
        if !watch.ends_with(b"/") {
            watch.push(b'/');
        }
        watch.extend_from_slice(directory);
    }
    if slash && !watch.ends_with(b"/") {
        watch.push(b'/');
    }
    (
        OsString::from_vec(watch),
        OsStr::from_bytes(name).to_owned(),
    )
}

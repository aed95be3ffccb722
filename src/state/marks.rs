//! Paths that were touched since they were last written down, and how.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::unix::ffi::OsStrExt;

use crate::event::{Event, Origin};
use crate::table::Mask;
use crate::watch::compare::Difference;
use crate::watch::snapshot::{Entry, Spec, parent};

/// Whether a file may have been written without its close having been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Close {
    /// Nothing new is known.
    #[default]
    AsBefore,
    /// Its close was seen.
    Seen,
    /// It was made: whoever made it may write it, unless it is a further name.
    DueIfNew,
    /// It was written.
    Due,
}

/// What is known of a touched path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The close of a write.
    pub close: Close,
}

impl Mark {
    /// Whether the file as found is owed a close; None: as it was.
    pub fn owed(self, entry: &Entry) -> Option<bool> {
        match self.close {
            Close::AsBefore => None,
            Close::Seen => Some(false),
            Close::DueIfNew => Some(entry.is_file() && entry.links <= 1),
            Close::Due => Some(entry.is_file()),
        }
    }

    /// What is known after `later`, too.
    fn then(self, later: Mark) -> Mark {
        let close = match later.close {
            Close::AsBefore => self.close,
            close => close,
        };
        Mark { close }
    }
}

/// Touched paths of one watch.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// By the path of the snapshot.
    pub paths: BTreeMap<Box<[u8]>, Mark>,
    /// Names from which or to which a directory went, with all it holds.
    pub moved: BTreeSet<Box<[u8]>>,
}

impl Marks {
    /// Nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.moved.is_empty()
    }

    /// True for a name of a directory that went elsewhere, and for what is below it.
    pub fn moves(&self, path: &[u8]) -> bool {
        let mut at = Some(path).filter(|_| !self.moved.is_empty());
        while let Some(dir) = at {
            if self.moved.contains(dir) {
                return true;
            }
            at = parent(dir);
        }
        false
    }

    /// What an event touches.
    pub fn event(&mut self, spec: &Spec, event: &Event) {
        let target = event.target();
        let Some(path) = spec.relative(target.as_bytes()) else {
            return;
        };
        let has = |mask: Mask| event.mask.intersects(mask);
        let dir = has(Mask::ISDIR);
        let close = match () {
            () if dir => Close::AsBefore,
            () if has(Mask::CLOSE_WRITE | Mask::MOVED_TO) => Close::Seen,
            () if has(Mask::MODIFY) => Close::Due,
            () if has(Mask::CREATE) => Close::DueIfNew,
            () => Close::AsBefore,
        };
        self.put(path, Mark { close });
        let old = event.old_path.as_ref();
        let old = old.filter(|_| dir && has(Mask::MOVED_TO));
        let old = old.and_then(|old| spec.relative(old.as_os_str().as_bytes()));
        // A rescan tells in one word that it left and all in it.
        let left =
            dir && (has(Mask::MOVED_FROM) || has(Mask::DELETE) && event.origin == Origin::Rescan);
        if left || old.is_some() {
            self.moved.insert(path.into());
            self.moved.extend(old.map(Box::from));
        }
    }

    /// What a difference touches: it is reported as it was found, which was
    /// before what is known by now.
    pub fn difference(&mut self, difference: &Difference) {
        // What a renamed directory holds has differences of its own.
        let old = difference.old_path.iter();
        for path in old.chain([&difference.path]) {
            self.put_back(path.clone(), Mark { close: Close::Seen });
        }
    }

    /// `mark` is the latest that is known of `path`.
    pub fn put(&mut self, path: &[u8], mark: Mark) {
        match self.paths.get_mut(path) {
            Some(known) => *known = known.then(mark),
            None => drop(self.paths.insert(path.into(), mark)),
        }
    }

    /// `mark` was known of `path` before what is known by now.
    pub fn put_back(&mut self, path: Box<[u8]>, mark: Mark) {
        let known = self.paths.entry(path).or_default();
        *known = mark.then(*known);
    }

    /// Takes out what `waits` does not hold back. `all`: directories that went elsewhere
    /// even while something in them waits.
    pub fn take(&mut self, waits: &HashSet<Box<[u8]>>, all: bool) -> Marks {
        let stays = !all && waits.iter().any(|path| self.moves(path));
        let touched = std::mem::take(&mut self.paths);
        let held = |path: &[u8]| waits.contains(path) || stays && self.moves(path);
        let (held, paths) = touched.into_iter().partition(|(path, _)| held(path));
        self.paths = held;
        let moved = match stays {
            true => BTreeSet::new(),
            false => std::mem::take(&mut self.moved),
        };
        Marks { paths, moved }
    }
}

//! Paths that were touched since they were last written down, and how.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use crate::event::Event;
use crate::table::Mask;
use crate::watch::compare::Difference;
use crate::watch::snapshot::{Entry, Spec};

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
    /// A directory went away with all it held.
    pub left: bool,
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
        Mark {
            close,
            left: self.left || later.left,
        }
    }
}

/// From, to.
pub type Rename = (Box<[u8]>, Box<[u8]>);

/// Touched paths of one watch.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// By the path of the snapshot.
    pub paths: BTreeMap<Box<[u8]>, Mark>,
    /// Directories renamed with all they hold: from, to, in order.
    pub renames: Vec<Rename>,
}

impl Marks {
    /// Nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.renames.is_empty()
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
        self.put(
            path,
            Mark {
                close,
                left: dir && has(Mask::MOVED_FROM),
            },
        );
        if let Some(old) = event
            .old_path
            .as_ref()
            .filter(|_| dir && has(Mask::MOVED_TO))
            && let Some(old) = spec.relative(old.as_os_str().as_bytes())
        {
            self.renames.push((old.into(), path.into()));
        }
    }

    /// What a difference touches: it is reported as it was found, which was
    /// before what is known by now.
    pub fn difference(&mut self, difference: &Difference) {
        let mark = Mark {
            close: Close::Seen,
            left: false,
        };
        self.put_back(difference.path.clone(), mark);
        if let Some(old) = &difference.old_path {
            self.put_back(
                old.clone(),
                Mark {
                    left: difference.entry.is_dir(),
                    ..mark
                },
            );
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

    /// Takes out what `waits` does not hold back.
    pub fn take(&mut self, waits: impl Fn(&[u8]) -> bool) -> Marks {
        let all = std::mem::take(&mut self.paths);
        let (held, paths) = all.into_iter().partition(|(path, _)| waits(path));
        self.paths = held;
        Marks {
            paths,
            renames: std::mem::take(&mut self.renames),
        }
    }
}

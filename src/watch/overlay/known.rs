//! What is there for a user inside, as far as it differs from the lower layers.
//!
//! Two things that happen to a name of the image look alike in the upper layer: a
//! whiteout and a new file both come from the work directory. Which of them it was
//! follows from what was there before, and that is kept here.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

/// Names kept at most; each is a change of a name that the image has.
const MOST: usize = 1 << 16;

/// What became of a name that the lower layers show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    Gone,
    /// A file in place of what the image has.
    File,
    /// A directory that hides what the image has.
    Dir,
}

impl Became {
    pub fn new(dir: bool) -> Self {
        if dir { Self::Dir } else { Self::File }
    }
}

/// All names of one overlay of which this is known.
#[derive(Default)]
pub(super) struct Known {
    names: BTreeMap<Vec<u8>, Became>,
    /// Directories that overlayfs marked when something was first copied into them.
    impure: HashSet<Vec<u8>>,
    /// Some have been forgotten: what is not here may be different, too.
    pub partial: bool,
}

impl Known {
    /// What is known of this very name.
    pub fn of(&self, path: &[u8]) -> Option<Became> {
        self.names.get(path).copied()
    }

    /// Whether what is at `path` for a user is a directory; None: nothing is there.
    /// `below` says so of the lower layers alone.
    pub fn shows(&self, path: &[u8], below: impl FnOnce() -> Option<bool>) -> Option<bool> {
        match self.of(path) {
            Some(Became::Gone) => None,
            Some(Became::File) => Some(false),
            Some(Became::Dir) => Some(true),
            None if self.is_cut_off(path) => None,
            None => below(),
        }
    }

    /// True where a directory above hides the lower layers.
    fn is_cut_off(&self, path: &[u8]) -> bool {
        !self.names.is_empty()
            && path
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte == b'/')
                .any(|(at, _)| path.get(..at).is_some_and(|dir| self.of(dir).is_some()))
    }

    /// The directory is marked; false where that was known.
    pub fn marked(&mut self, dir: &[u8]) -> bool {
        if self.impure.len() >= MOST {
            self.impure.clear();
        }
        self.impure.insert(dir.to_vec())
    }

    /// The directory is a fresh copy, or gone: it has no mark.
    pub fn unmarked(&mut self, dir: &[u8]) {
        self.impure.remove(dir);
    }

    /// Keeps what became of a name; what was known of names in it is over.
    pub fn note(&mut self, path: &[u8], became: Became) {
        let inside = |end| [path, end].concat();
        // '0' follows '/' in ASCII.
        let range = (Bound::Included(inside(b"/")), Bound::Excluded(inside(b"0")));
        let over: Vec<Vec<u8>> = self
            .names
            .range(range)
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            self.names.remove(&name);
        }
        if self.names.len() >= MOST {
            self.names.clear();
            self.partial = true;
        }
        self.names.insert(path.to_vec(), became);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replaces_a_directory_hides_what_was_in_it() {
        let mut known = Known::default();
        let image = || Some(false);
        assert_eq!(known.shows(b"d/f", image), Some(false));
        known.note(b"d/f", Became::Gone);
        assert_eq!(known.shows(b"d/f", image), None);
        assert_eq!(known.shows(b"d/g", image), Some(false));
        assert_eq!(known.shows(b"d0", image), Some(false));
        known.note(b"d", Became::Gone);
        known.note(b"d", Became::Dir);
        assert_eq!(known.shows(b"d", image), Some(true));
        assert_eq!(known.of(b"d/f"), None, "it is over");
        assert_eq!(known.shows(b"d/f", image), None, "hidden by the new one");
        known.note(b"d/f", Became::File);
        assert_eq!(known.shows(b"d/f", image), Some(false));
        assert_eq!(known.shows(b"dd", image), Some(false));
    }

    #[test]
    fn it_is_bounded() {
        let mut known = Known::default();
        for n in 0..=MOST {
            known.note(n.to_string().as_bytes(), Became::Gone);
        }
        assert!(known.partial && known.names.len() == 1);
    }
}

//! A tree that is to be scanned when all that is queued has been told.

use super::root::RootId;
use crate::watch::found::How;

/// What is to be scanned.
pub(super) enum What {
    /// The path of the root.
    Top,
    /// A directory, by its handle.
    Dir(Box<[u8]>),
    /// A mounted part of the tree, by its file system and path there.
    Area(Box<[u8]>),
}

pub(super) struct Job {
    pub root: RootId,
    pub what: What,
    pub how: How,
    /// How often it has been done.
    pub tries: u32,
}

impl Job {
    pub fn top(root: RootId, how: How) -> Self {
        Self {
            root,
            what: What::Top,
            how,
            tries: 0,
        }
    }

    pub fn dir(root: RootId, key: &[u8], how: How) -> Self {
        Self {
            root,
            what: What::Dir(key.into()),
            how,
            tries: 0,
        }
    }

    pub fn area(root: RootId, dir: &[u8], how: How) -> Self {
        Self {
            root,
            what: What::Area(dir.into()),
            how,
            tries: 0,
        }
    }

    /// How it will tell `root` of a directory, if that is in what is to be scanned:
    /// `above` knows what it is in.
    pub fn covers(&self, root: RootId, above: impl Fn(&[u8]) -> bool) -> Option<How> {
        let covers = match &self.what {
            What::Top | What::Area(_) => true,
            What::Dir(key) => above(key),
        };
        (covers && self.root == root).then_some(self.how)
    }
}

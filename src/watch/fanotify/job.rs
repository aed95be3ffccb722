//! A tree that is to be scanned when all that is queued has been told.

use super::root::RootId;
use crate::watch::found::How;

/// What is to be scanned.
pub(super) enum What {
    /// The path of the root.
    Top,
    /// A directory, by its handle.
    Dir(Box<[u8]>),
    /// What a mount shows of the tree.
    Area(u64),
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

    pub fn area(root: RootId, mount: u64, how: How) -> Self {
        Self {
            root,
            what: What::Area(mount),
            how,
            tries: 0,
        }
    }
}

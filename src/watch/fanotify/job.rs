//! A tree that is to be scanned when all that is queued has been told.

use std::ffi::{OsStr, OsString};
use std::rc::Rc;

use super::root::RootId;
use crate::event::Actor;
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
    /// It was asked for as that of the path.
    pub top: bool,
    pub how: How,
    /// Where the root has the directory.
    pub watch: Option<OsString>,
    /// What its path led to before: the number of the record with which that ended.
    pub lost: Option<u64>,
    /// Who brought all of it, where a line asks for that.
    pub by: Option<Rc<Actor>>,
    /// How often it has been done.
    pub tries: u32,
}

impl Job {
    pub fn top(root: RootId, how: How) -> Self {
        Self {
            root,
            what: What::Top,
            top: true,
            how,
            watch: None,
            lost: None,
            by: None,
            tries: 0,
        }
    }

    pub fn dir(root: RootId, key: &[u8], how: How) -> Self {
        Self {
            root,
            what: What::Dir(key.into()),
            top: false,
            how,
            watch: None,
            lost: None,
            by: None,
            tries: 0,
        }
    }

    /// As the root has it at that place.
    pub fn at(self, watch: &OsStr) -> Self {
        let watch = Some(watch.to_owned());
        Self { watch, ..self }
    }

    /// As what that process brought.
    pub fn by(self, by: Option<Rc<Actor>>) -> Self {
        Self { by, ..self }
    }

    /// True where it tells of all that is at the path of that root.
    pub fn is_of_top(&self, root: RootId) -> bool {
        self.root == root && self.top
    }

    pub fn area(root: RootId, mount: u64, how: How) -> Self {
        Self {
            root,
            what: What::Area(mount),
            top: false,
            how,
            watch: None,
            lost: None,
            by: None,
            tries: 0,
        }
    }
}

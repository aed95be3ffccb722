//! When the kernel refuses a watch.

use std::io;

use super::Report;
use super::inotify::Inotify;
use super::root::RootId;
use super::tree::NodeId;

impl Inotify {
    /// The directory `name` in `parent` cannot be watched.
    pub(super) fn refused(
        &mut self,
        root: RootId,
        parent: NodeId,
        name: &[u8],
        e: &io::Error,
        out: &mut Vec<Report>,
    ) {
        let _ = (parent, name);
        self.refused_root(root, b"", e, out);
    }

    /// The path of a root, or its way, cannot be watched.
    pub(super) fn refused_root(
        &mut self,
        root: RootId,
        path: &[u8],
        e: &io::Error,
        out: &mut Vec<Report>,
    ) {
        let _ = (root, path, e, out);
    }
}

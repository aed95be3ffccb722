//! Directories that may not be looked into: by their modes, which may change.
//!
//! A watch that was there before the mode was changed goes on telling; what cannot
//! be done any more is to watch what is made in there. A change of the mode is heard
//! by the nearest directory above that may be looked into, and then what came
//! meanwhile is found. No time is waited for.

use std::os::fd::AsFd;

use super::Report;
use super::found::{How, Part};
use super::inotify::Inotify;
use super::root::RootId;
use super::scan::{dir_flags, path_flags};
use super::tree::NodeId;
use crate::table::Mask;

impl Inotify {
    /// Something came in a directory that is watched and may not be looked into.
    pub(super) fn shut_out(&mut self, id: NodeId) {
        let since = self.before;
        self.shut.entry(id).or_insert(since);
        let mut at = id;
        while let Some(node) = self.tree.get(at) {
            let parent = node.parent;
            if self.hear_mode(parent) {
                return;
            }
            at = parent;
        }
        // The path itself: tried again as one that may not be read at all.
        let root = self.tree.get(id).map(|node| node.root);
        if let Some(root) = root {
            self.refused_root(root, &std::io::Error::from_raw_os_error(libc::EACCES));
        }
    }

    /// Has the changes of mode heard of what is in `dir`. False: it cannot be done.
    pub(super) fn hear_mode(&mut self, dir: NodeId) -> bool {
        let Some(wd) = self.tree.get(dir).map(|n| n.wd) else {
            return false;
        };
        let heard = |mask: u32| mask & Mask::ATTRIB.0 != 0;
        if self.kernel.get(wd).is_some_and(|w| heard(w.mask)) {
            return true;
        }
        let open = self.open_node(dir, path_flags());
        open.is_ok_and(|fd| self.kernel.watch(fd.as_fd(), Mask::ATTRIB.0).is_ok())
    }

    /// A directory that may not have been readable has changed its mode.
    pub(super) fn mode_changed(
        &mut self,
        root: RootId,
        parent: NodeId,
        name: &[u8],
        out: &mut Vec<Report>,
    ) {
        match self.tree.find(parent, name) {
            Some(known) => self.look_again(known, out),
            None => {
                let since = self.roots.get(root).map(|r| r.settled).unwrap_or_default();
                self.enter(root, parent, name, How::Regain(since, Part::Lacked), out);
            }
        }
    }

    /// Looks again into directories at and below `top` that were shut.
    fn look_again(&mut self, top: NodeId, out: &mut Vec<Report>) {
        let inside =
            |(id, since): (&NodeId, &_)| self.tree.within(*id, top).then_some((*id, *since));
        let shut: Vec<_> = self.shut.iter().filter_map(inside).collect();
        for (id, since) in shut {
            match self.open_node(id, dir_flags()) {
                Ok(fd) => {
                    self.shut.remove(&id);
                    self.scan(id, fd, How::Regain(since, Part::Held), out);
                }
                Err(_) => self.shut_out(id),
            }
        }
    }
}

//! Events of a container's upper layer, as a user inside would name them.
//!
//! overlayfs keeps what a container changes in an upper directory, and does so in
//! ways that show there as something else. Measured on Linux 6.18:
//!
//! ```text
//!  inside                           in the upper layer
//!  an image file is written         CREATE (the copy), then the event itself
//!  an image directory is touched    MOVED_TO,ISDIR from the work directory
//!  an image file is deleted         MOVED_TO of a whiteout from the work directory
//!  a file where one was deleted     MOVED_TO of it from the work directory
//!  an image directory is deleted    MOVED_TO of an opaque one, of a whiteout, and
//!                                   MOVED_FROM of what they replace
//!  the first copy in a directory    ATTRIB of the directory (overlay.impure), then
//!  every copy in a directory        ATTRIB of the directory, after it (its times)
//! ```
//!
//! The work directory lies outside the upper one, so its half of a rename is not
//! seen. What a name meant before (`known`) decides between these; the file
//! system is asked only for what the lower layers hold, which does not change, and
//! for what a scan has found. The attribute overlay.origin is no help: a copied file
//! that had hard links in the image has none.
//!
//! Not told exactly: the rename of an image's symbolic link or device is a DELETE of
//! the old name before the MOVED_TO; a directory that is renamed for the first time
//! has an ATTRIB more; with redirect_dir=on, what is changed in a renamed image
//! directory is told as made.

mod artefacts;
mod found;
mod gone;
mod known;
mod said;
mod stack;
mod young;

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use self::artefacts::Artefacts;
use self::known::{Became, Known};
use self::said::{is_dir, rest, with};
use self::stack::Stack;
use crate::event::{Event, Origin};
use crate::table::Mask;

/// Names that come and go.
const NAMES: Mask = Mask(Mask::CREATE.0 | Mask::DELETE.0 | Mask::MOVE.0);

/// What is added to what a line asks for, where it watches an upper layer: the
/// events that are told there in place of what it asks for. What
/// [`Layer::translate`] gives is to be compared with the line's own mask.
pub const ASKED: Mask = Mask(NAMES.0 | Mask::MODIFY.0 | Mask::CLOSE_WRITE.0 | Mask::ATTRIB.0);

/// One container's layers.
pub struct Layer {
    stack: Stack,
    known: Known,
    artefacts: Artefacts,
    /// The upper layer is written by fuse-overlayfs, which has ways of its own.
    fuse: bool,
    /// Directories that came from the work directory, the latest last.
    fresh: Vec<Vec<u8>>,
    /// What the last scan told of.
    scanned: Vec<u8>,
    /// What is told may be from before the layers were looked at.
    young: bool,
}

impl Layer {
    /// For the directory that a container's changes go to, and what lies below it,
    /// the top one first. Make it when `upper` is watched, before an event of it is
    /// translated: it notes what has been deleted by then. What is queued at that time
    /// may be noted already; [`Layer::settle`] says that all of it has come.
    pub fn new(upper: PathBuf, lower: Vec<PathBuf>) -> Layer {
        Self::with(upper, lower, false)
    }

    /// As [`Layer::new`], where fuse-overlayfs serves the container: it copies, makes
    /// and deletes by renames from and to its work directory. A rename inside is
    /// told as a DELETE of the old name and a MOVED_TO of the new one.
    pub fn fuse(upper: PathBuf, lower: Vec<PathBuf>) -> Layer {
        Self::with(upper, lower, true)
    }

    fn with(upper: PathBuf, lower: Vec<PathBuf>, fuse: bool) -> Layer {
        let mut layer = Layer {
            stack: Stack::new(upper, lower),
            known: Known::default(),
            artefacts: Artefacts::default(),
            fuse,
            fresh: Vec::new(),
            scanned: Vec::new(),
            young: true,
        };
        layer.look_around();
        layer
    }

    /// What the event means to a user inside; empty: nothing. An event of another
    /// place, and one of which nothing is known, comes back as it is.
    pub fn translate(&mut self, event: &Event) -> Vec<Event> {
        let Some(path) = self.inside(event.target().as_bytes()) else {
            return vec![event.clone()];
        };
        if self.fuse {
            let (dir, name) = stack::split(&path);
            if stack::fuse_marks(name) {
                return Vec::new();
            }
            if let Some(hidden) = stack::fuse_hides(name) {
                return self.whited_out(event, stack::join(dir, hidden));
            }
        }
        if event.origin != Origin::Kernel {
            return self.found(event, &path);
        }
        match event.mask & NAMES {
            Mask::CREATE => self.made(event, &path),
            Mask::MOVED_TO => match self.old_name(event) {
                Some(old) => self.renamed(event, &path, &old),
                None => self.arrived(event, &path),
            },
            Mask::MOVED_FROM => self.left(event, &path),
            Mask::DELETE => self.deleted(event, &path),
            Mask(0) if self.is_artefact(event, &path) => Vec::new(),
            // Merged events: nobody knows which of them came first.
            _ => vec![event.clone()],
        }
    }

    /// True where overlayfs changed an attribute of its own.
    fn is_artefact(&mut self, event: &Event, path: &[u8]) -> bool {
        let of_dir = event.mask == Mask::ATTRIB | Mask::ISDIR;
        if self.artefacts.is_own(event, path) {
            if of_dir && self.stack.is_impure(path) {
                self.known.marked(path);
            }
            return true;
        }
        of_dir
            && match self.stack.above(path) {
                // overlay.impure, before the first copy in it. Had a user changed the
                // directory, too, the kernel would have made one event of both.
                stack::Found::Thing(now) if now.kind() == libc::S_IFDIR => {
                    !self.is_changed(path) && self.stack.is_impure(path) && self.known.marked(path)
                }
                // A directory that was copied, marked and taken away again: had a user
                // changed it, nothing would be left of that.
                _ => self.artefacts.was_copied(path, event.time),
            }
    }

    /// The path inside, without its slash; None where it is of another place.
    fn inside(&self, path: &[u8]) -> Option<Vec<u8>> {
        let upper = self.stack.upper().as_os_str().as_bytes();
        let rest = path.strip_prefix(upper)?;
        match rest {
            [] => Some(Vec::new()),
            [b'/', rest @ ..] => Some(rest.strip_suffix(b"/").unwrap_or(rest).to_vec()),
            _ => None,
        }
    }

    fn old_name(&self, event: &Event) -> Option<Vec<u8>> {
        self.inside(event.old_path.as_ref()?.as_os_str().as_bytes())
    }

    /// Whether there is a directory at `path` for a user inside; None: nothing.
    fn shows(&mut self, path: &[u8]) -> Option<bool> {
        let Layer { stack, known, .. } = self;
        known.shows(path, || {
            stack.below(path).map(|found| found.kind() == libc::S_IFDIR)
        })
    }

    /// True where overlayfs has reason to hide or show `path` itself.
    fn matters(&mut self, path: &[u8]) -> bool {
        self.known.of(path).is_some() || self.stack.below(path).is_some()
    }

    fn note(&mut self, path: &[u8], became: Became) {
        if self.matters(path) {
            self.known.note(path, became);
        }
    }

    fn made(&mut self, event: &Event, path: &[u8]) -> Vec<Event> {
        if self.shows(path).is_some() {
            return self.copied(event, path, Mask::CREATE);
        }
        let dir = is_dir(event);
        if dir {
            self.artefacts.expect_seal(path, event.time);
        }
        self.note(path, Became::new(dir));
        vec![event.clone()]
    }

    /// The image's own was copied, to be changed: what changes comes next.
    fn copied(&mut self, event: &Event, path: &[u8], sign: Mask) -> Vec<Event> {
        let mut out = rest(event, sign);
        if is_dir(event) {
            self.remember(path);
            self.known.unmarked(path);
            self.artefacts.expect_end(path, event.time);
            if self.is_changed(path) {
                // fanotify merges its ATTRIB with those of the copying, which are not told.
                self.artefacts.expect_again(path, event.time);
                out.push(with(event, Mask::ATTRIB | Mask::ISDIR));
            }
        }
        if self.fuse {
            self.artefacts.expect_close(path, event.time);
        } else {
            self.artefacts.expect_mark(stack::split(path).0, event.time);
        }
        out
    }

    /// True where the copy of an image's directory has another mode or owner.
    fn is_changed(&mut self, path: &[u8]) -> bool {
        match (self.stack.above(path), self.stack.below(path)) {
            (stack::Found::Thing(now), Some(was)) => {
                now.kind() == was.kind() && (now.mode, now.owner) != (was.mode, was.owner)
            }
            _ => false,
        }
    }

    fn renamed(&mut self, event: &Event, path: &[u8], old: &[u8]) -> Vec<Event> {
        let mut out = Vec::new();
        if self.artefacts.was_hidden(old, event.time) {
            // What was taken for overlayfs's own was the rename's first half.
            out.push(self.synthetic(event, old, Mask::MOVED_FROM | event.mask & Mask::ISDIR));
            self.note(old, Became::Gone);
        }
        self.note(path, Became::new(is_dir(event)));
        out.push(event.clone());
        out
    }

    /// From the work directory, or from where nobody watches.
    fn arrived(&mut self, event: &Event, path: &[u8]) -> Vec<Event> {
        let before = self.shows(path);
        if let Some(noted) = self.noted(event, path, before) {
            return noted;
        }
        match (is_dir(event), before) {
            (true, Some(true)) => {
                self.artefacts.expect_leave(path, true, event.time);
                self.copied(event, path, Mask::MOVED_TO)
            }
            (false, Some(false)) if self.fuse || self.is_copy(path) => {
                self.copied(event, path, Mask::MOVED_TO)
            }
            (false, Some(dir)) => {
                self.artefacts.expect_leave(path, true, event.time);
                if !dir {
                    // It may be the copy of a link that was renamed since.
                    let parent = stack::split(path).0;
                    self.artefacts.expect_mark(parent, event.time);
                }
                self.vanished(event, path, dir)
            }
            (dir, _) if self.fuse || self.matters(path) => {
                self.note(path, Became::new(dir));
                if dir {
                    self.remember(path);
                    self.artefacts.expect_leave(path, false, event.time);
                }
                vec![with(event, event.mask & !Mask::MOVED_TO | Mask::CREATE)]
            }
            _ => vec![event.clone()],
        }
    }

    /// True where the upper layer holds what the image has, and not a whiteout.
    /// Regular files are copied in one step, which is a CREATE.
    fn is_copy(&mut self, path: &[u8]) -> bool {
        let Some(below) = self.stack.below(path) else {
            return false;
        };
        below.kind() != libc::S_IFREG
            && matches!(self.stack.above(path), stack::Found::Thing(above)
                if above.kind() == below.kind() && above.modified == below.modified)
    }

    fn left(&mut self, event: &Event, path: &[u8]) -> Vec<Event> {
        if !self.fuse && self.artefacts.is_leave(event, path)
            || self.known.of(path) == Some(Became::Gone)
        {
            return Vec::new();
        }
        if self.fuse {
            return self.vanished(event, path, is_dir(event));
        }
        self.note(path, Became::Gone);
        vec![event.clone()]
    }

    fn deleted(&mut self, event: &Event, path: &[u8]) -> Vec<Event> {
        if self.known.of(path) == Some(Became::Gone) {
            return Vec::new(); // its whiteout was removed with its directory
        }
        self.note(path, Became::Gone);
        vec![event.clone()]
    }

    /// fuse-overlayfs made or removed the mark that hides `path`.
    fn whited_out(&mut self, event: &Event, path: Vec<u8>) -> Vec<Event> {
        let arrival = event.mask.intersects(Mask::CREATE | Mask::MOVED_TO);
        match self.shows(&path).filter(|_| arrival) {
            Some(dir) => self.vanished(event, &path, dir),
            None => Vec::new(),
        }
    }

    fn remember(&mut self, path: &[u8]) {
        const MOST: usize = 64;
        if self.fresh.len() >= MOST {
            self.fresh.remove(0);
        }
        self.fresh.push(path.to_vec());
    }
}

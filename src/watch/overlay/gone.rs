//! What is not there for a user inside: names that go now, with all that the image
//! has in them, and those that were deleted before anything was watched.

use super::Layer;
use super::known::Became;
use super::stack::{self, Found};
use crate::event::Event;
use crate::table::Mask;

/// Names told of a directory that went as a whole; of a larger one only it is told.
const MOST_HIDDEN: usize = 1000;
/// Directory entries read when the layer is first looked at.
const MOST_LOOKED_AT: usize = 1 << 16;

impl Layer {
    /// A DELETE, after those of what the image has in the directory.
    pub(super) fn vanished(&mut self, event: &Event, path: &[u8], dir: bool) -> Vec<Event> {
        let mut out = Vec::new();
        if dir {
            out = self.hidden(event, path);
        }
        self.note(path, Became::Gone);
        let kind = if dir { Mask::ISDIR } else { Mask(0) };
        out.push(self.synthetic(event, path, Mask::DELETE | kind));
        out
    }

    /// What the lower layers show in a directory that is not there any more: a
    /// directory goes when it is empty, so all of it was deleted.
    fn hidden(&mut self, event: &Event, path: &[u8]) -> Vec<Event> {
        let mut names = Vec::new();
        if self.known.partial || self.list(path, &mut names).is_none() {
            return Vec::new();
        }
        let mut out = Vec::with_capacity(names.len());
        for (name, dir) in names {
            if matches!(self.stack.above(&name), Found::Thing(_)) {
                continue; // it was made again, and a scan has told so
            }
            let kind = if dir { Mask::ISDIR } else { Mask(0) };
            out.push(self.synthetic(event, &name, Mask::DELETE | kind));
        }
        out
    }

    /// All below `dir` that a user sees of the lower layers, the innermost first.
    /// None: too much.
    fn list(&mut self, dir: &[u8], out: &mut Vec<(Vec<u8>, bool)>) -> Option<()> {
        for name in self.stack.names_below(dir) {
            let path = stack::join(dir, name.as_bytes());
            let Some(kind) = self.shows(&path) else {
                continue;
            };
            if kind {
                self.list(&path, out)?;
            }
            if out.len() >= MOST_HIDDEN {
                return None;
            }
            out.push((path, kind));
        }
        Some(())
    }

    /// Notes what was deleted, and what is marked, before anything is watched. Only directories that the
    /// image has, too, can hold marks.
    pub(super) fn look_around(&mut self) {
        let mut todo = vec![Vec::new()];
        let mut seen = 0;
        while let Some(dir) = todo.pop() {
            if self.stack.is_impure(&dir) {
                self.known.marked(&dir);
            }
            for (name, whiteout) in self.stack.marks(&dir) {
                let path = stack::join(&dir, name.as_bytes());
                seen += 1;
                if seen > MOST_LOOKED_AT {
                    self.known.partial = true;
                    return;
                }
                if whiteout {
                    self.known.note(&path, Became::Gone);
                } else if self.stack.below(&path).is_some() {
                    match self.stack.above(&path) {
                        Found::Opaque(_) => self.known.note(&path, Became::Dir),
                        _ => todo.push(path),
                    }
                }
            }
        }
    }
}

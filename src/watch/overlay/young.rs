//! What comes while it may be from before the layers were looked at. A layer is watched before
//! it is looked at, and one mark serves all containers, so the look may have seen what records
//! tell of that are still queued: a whiteout's arrival would be taken for that of a file in
//! its place. Until all of them have come, what stands there decides.

use super::Layer;
use super::known::Became;
use super::said::{is_dir, with};
use super::stack::Found;
use crate::event::Event;
use crate::table::Mask;

impl Layer {
    /// What comes from now on happened after this was made.
    pub fn settle(&mut self) {
        self.young = false;
    }

    /// Something came from the work directory to `path`, where `before` was; None: it is
    /// what it looks like.
    pub(super) fn noted(
        &mut self,
        event: &Event,
        path: &[u8],
        before: Option<bool>,
    ) -> Option<Vec<Event>> {
        if !self.young || self.fuse {
            return None;
        }
        let known = self.known.of(path);
        match (self.stack.above(path), known) {
            (Found::Whiteout, Some(Became::Gone)) => Some(Vec::new()),
            // Gone by now, with the directory it was in.
            (Found::Nothing, _) if before.is_none() && self.matters(path) => Some(Vec::new()),
            // A whiteout was there, and a file is: one of both came now.
            (Found::Thing(now), _) if now.kind() != libc::S_IFDIR => {
                if is_dir(event) || before.is_none() || self.is_copy(path) {
                    return None;
                }
                self.note(path, Became::File);
                let told = event.mask & !Mask::MOVED_TO | Mask::CREATE;
                match known {
                    Some(Became::File) => Some(Vec::new()),
                    _ => Some(vec![with(event, told)]),
                }
            }
            _ => None,
        }
    }
}

//! What a scan has found in the upper layer. A scan sees a state, so the state is
//! compared with what the image has; the kernel's events of it may have come before
//! the directory was watched.

use super::Layer;
use super::known::Became;
use super::said::{is_dir, with};
use super::stack::Found;
use crate::event::Event;
use crate::sys::inotify::Stat;
use crate::table::Mask;

const ARRIVAL: Mask = Mask(Mask::CREATE.0 | Mask::MOVED_TO.0);

impl Layer {
    pub(super) fn found(&mut self, event: &Event, path: &[u8]) -> Vec<Event> {
        if event.mask.intersects(Mask::DELETE | Mask::MOVED_FROM) {
            return self.deleted(event, path);
        }
        if !event.mask.intersects(ARRIVAL) {
            // The scan tells all it knows of one name at once.
            return match self.scanned == path {
                true => Vec::new(),
                false => vec![event.clone()],
            };
        }
        self.scanned = Vec::new();
        let before = self.shows(path);
        let above = self.stack.above(path);
        let out = match (above, before) {
            // A whiteout, or a copy, that is gone by now: with the directory it was in.
            (Found::Nothing, None) if self.stack.below(path).is_some() => Vec::new(),
            (Found::Nothing, _) => return vec![event.clone()],
            (Found::Whiteout, Some(dir)) => self.vanished(event, path, dir),
            (Found::Whiteout, None) => Vec::new(),
            (Found::Thing(_), Some(true)) if is_dir(event) => self.copied(event, path, event.mask),
            (Found::Thing(now), Some(false)) if !is_dir(event) => self.changed(event, path, now),
            (Found::Opaque(_) | Found::Thing(_), Some(dir)) => {
                let mut out = self.vanished(event, path, dir);
                self.note(path, Became::new(is_dir(event)));
                out.push(with(event, Mask::CREATE | event.mask & Mask::ISDIR));
                out
            }
            (Found::Opaque(now) | Found::Thing(now), None) => {
                self.note(path, Became::new(is_dir(event)));
                match self.newcomer(event, path, now) {
                    Some(out) => out,
                    None => return vec![event.clone()],
                }
            }
        };
        self.scanned = path.to_vec();
        out
    }

    /// A file that is not as the image has it.
    fn changed(&mut self, event: &Event, path: &[u8], now: Stat) -> Vec<Event> {
        self.copied(event, path, event.mask);
        let was = self.stack.below(path);
        match was.filter(|was| was.kind() == now.kind()) {
            Some(was) if (was.size, was.modified) == (now.size, now.modified) => {
                match (was.mode, was.owner) == (now.mode, now.owner) {
                    true => Vec::new(),
                    false => vec![with(event, Mask::ATTRIB)],
                }
            }
            _ => self.written(event, path, now, Mask(0)),
        }
    }

    /// Something the image does not have, in a directory that came from the work
    /// directory a moment ago: to the scan that directory was renamed into place,
    /// but not to a user inside. What is younger than the directory was made in it.
    fn newcomer(&mut self, event: &Event, path: &[u8], now: Stat) -> Option<Vec<Event>> {
        if !event.mask.intersects(Mask::MOVED_TO) {
            return None;
        }
        let fresh = self.fresh.iter().rev();
        let dir = fresh.clone().find(|dir| {
            path.strip_prefix(dir.as_slice())
                .is_some_and(|rest| rest.first() == Some(&b'/'))
        })?;
        let (Found::Thing(dir) | Found::Opaque(dir)) = self.stack.above(dir) else {
            return None;
        };
        let made = now.born.zip(dir.born).is_some_and(|(it, dir)| it >= dir);
        made.then(|| self.written(event, path, now, Mask::CREATE))
    }

    /// `first`, and for a file that was written what its writer did.
    fn written(&self, event: &Event, path: &[u8], now: Stat, first: Mask) -> Vec<Event> {
        let mut told = vec![first | event.mask & Mask::ISDIR];
        if now.kind() == libc::S_IFREG {
            if now.size > 0 || first.is_empty() {
                told.push(Mask::MODIFY);
            }
            if !self.stack.is_being_written(path) {
                told.push(Mask::CLOSE_WRITE);
            }
        }
        told.retain(|mask| !(*mask & !Mask::ISDIR).is_empty());
        let all = told.into_iter().map(|mask| with(event, mask));
        all.collect()
    }
}

//! What the past of a line is told as, once each: without what the line has heard
//! of by itself since it was watched.

use crate::event::{Event, Origin};
use crate::state::WatchId;
use crate::sys::inotify::Stamp;
use crate::table::Mask;
use crate::watch::compare::{Difference, What};
use crate::watch::differences::{self, ARRIVAL, PARTING};
use crate::watch::snapshot::{Spec, parent};
use crate::worker::engine::Engine;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::sync::Arc;

impl Engine {
    /// The lines on a path are told what happened to it.
    pub(super) fn tell_past(&mut self, id: WatchId, found: &[Difference], at: Stamp) {
        let Some(watched) = self.catch_up.watches.get_mut(&id) else {
            return;
        };
        let (spec, lines) = (Arc::clone(&watched.spec), watched.lines.clone());
        for difference in found {
            watched.marks.difference(difference);
        }
        let now = self.clock.now();
        if !found.is_empty() {
            self.catch_up.wake_up(now);
        }
        let mut events: Vec<Rc<Event>> = Vec::new();
        for line in lines {
            let told = self.catch_up.told.remove(&line).unwrap_or_default();
            let Some(asked) = self.lines.get(line).map(|served| served.line.mask) else {
                continue;
            };
            for difference in found {
                let left = left(asked, difference, &spec, &told, at);
                differences::events(&spec, difference, asked, left, Origin::Offline, &mut events);
            }
            for event in events.drain(..) {
                self.event(&line.into(), &event, now);
            }
        }
        self.past_told(id);
    }

    pub(super) fn past_told(&mut self, id: WatchId) {
        let Some(watched) = self.catch_up.watches.get_mut(&id) else {
            return;
        };
        watched.caught_up = true;
        for line in &watched.lines {
            self.catch_up.told.remove(line);
        }
    }
}

/// The bits of `difference` that a line is told, without what it heard of by
/// itself, and without what it will hear: a file made, or written to, after the
/// line was watched is its sources' to tell.
fn left(
    asked: Mask,
    difference: &Difference,
    spec: &Spec,
    told: &HashMap<Box<[u8]>, Mask>,
    at: Stamp,
) -> Mask {
    let due = differences::due(asked, difference, spec.is_root(&difference.path));
    let entry = &difference.entry;
    if difference.what == What::Made && entry.born > at {
        return Mask(0);
    }
    let known = |path: &[u8]| {
        told.get(spec.absolute(path).as_bytes())
            .copied()
            .unwrap_or_default()
    };
    let of_path = known(&difference.path);
    let mut heard = of_path & Mask::ALL_EVENTS;
    if of_path.intersects(ARRIVAL) {
        heard |= ARRIVAL;
    }
    if difference.what == What::Gone {
        let mut above = parent(&difference.path);
        while let Some(dir) = above.filter(|_| !heard.intersects(PARTING)) {
            heard |= known(dir) & PARTING;
            above = parent(dir);
        }
        if heard.intersects(PARTING) {
            return Mask(0);
        }
    }
    let written_since =
        entry.modified > at && entry.changed > at && entry.modified <= entry.changed;
    if written_since && matches!(difference.what, What::Written | What::Made | What::Closed) {
        heard |= Mask::MODIFY | Mask::CLOSE_WRITE;
    }
    if heard.intersects(Mask::CLOSE_WRITE) {
        heard |= Mask::COMPLETE;
    }
    due & !heard
}

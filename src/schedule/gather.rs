//! Where events wait before they are due: `settle` until their path is quiet,
//! `batch` until there are enough of them.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::rc::Rc;

use super::merge::{key, merge};
use crate::event::Event;
use crate::time::Moment;

/// One path that is not quiet yet.
#[derive(Debug)]
struct Settling {
    event: Rc<Event>,
    first: Moment,
    /// Its key in `order`.
    place: (Moment, u64),
}

/// The paths of a line that are not quiet yet; one entry a path, however many events.
#[derive(Debug, Default)]
pub(super) struct Settle {
    paths: HashMap<Rc<OsStr>, Settling>,
    /// Due moment, then order of arrival.
    order: BTreeMap<(Moment, u64), Rc<OsStr>>,
    arrivals: u64,
}

impl Settle {
    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    /// `quiet` is when the path settles without another event; `latest(first)` is the
    /// last moment for a path whose first event came at `first`. True if it merged.
    pub(super) fn add(
        &mut self,
        event: Rc<Event>,
        now: Moment,
        quiet: Moment,
        latest: impl Fn(Moment) -> Moment,
    ) -> bool {
        let path = key(&event);
        if let Some(settling) = self.paths.get_mut(path.as_os_str()) {
            settling.event = merge(&settling.event, event);
            let place = (quiet.min(latest(settling.first)), settling.place.1);
            if place != settling.place
                && let Some(path) = self.order.remove(&settling.place)
            {
                self.order.insert(place, path);
                settling.place = place;
            }
            return true;
        }
        let path: Rc<OsStr> = path.into();
        let place = (quiet.min(latest(now)), self.arrivals);
        self.arrivals += 1;
        self.order.insert(place, Rc::clone(&path));
        self.paths.insert(
            path,
            Settling {
                event,
                first: now,
                place,
            },
        );
        false
    }

    /// In no order.
    pub(super) fn events(&self) -> impl Iterator<Item = &Rc<Event>> {
        self.paths.values().map(|settling| &settling.event)
    }

    /// When the next path is due.
    pub(super) fn due(&self) -> Option<Moment> {
        self.order.keys().next().map(|place| place.0)
    }

    /// A path that is due, with the moments of its first event and of its being due.
    pub(super) fn pop(&mut self, now: Moment) -> Option<(Rc<Event>, Moment, Moment)> {
        let first = self.order.first_entry().filter(|e| e.key().0 <= now)?;
        let path = first.remove();
        let settled = self.paths.remove(&path)?;
        if self.paths.is_empty() && self.paths.capacity() > 64 {
            self.paths = HashMap::new(); // a tree of a million files has settled
        }
        Some((settled.event, settled.first, settled.place.0))
    }
}

/// The paths gathered for one run.
#[derive(Debug, Default)]
pub(super) struct Batch {
    events: Vec<Rc<Event>>,
    index: HashMap<OsString, usize>,
    due: Option<Moment>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// `due` is when the batch ends if this event begins it, `latest` the last moment
    /// for this event in any case. True if it merged.
    pub(super) fn add(&mut self, event: Rc<Event>, due: Moment, latest: Moment) -> bool {
        self.due = Some(self.due.unwrap_or(due).min(latest));
        let place = *self.index.entry(key(&event)).or_insert(self.events.len());
        match self.events.get_mut(place) {
            Some(old) => {
                *old = merge(old, event);
                true
            }
            None => {
                self.events.push(event);
                false
            }
        }
    }

    /// In order.
    pub(super) fn events(&self) -> impl Iterator<Item = &Rc<Event>> {
        self.events.iter()
    }

    /// When it ends.
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    /// Ends it. In order of the first event of each path.
    pub(super) fn take(&mut self) -> Vec<Rc<Event>> {
        std::mem::take(self).events
    }
}

//! Work: the events of one run that has not started, and the queue in which a
//! line's work waits.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::rc::Rc;

use super::merge::{key, merge};
use crate::event::Event;
use crate::time::Moment;

/// The events of a run. One is the usual case and costs no allocation.
#[derive(Clone, Debug)]
pub(super) enum Events {
    One(Rc<Event>),
    /// In order, each path once; not empty.
    Many(Vec<Rc<Event>>),
}

impl Events {
    pub(super) fn as_slice(&self) -> &[Rc<Event>] {
        match self {
            Self::One(event) => std::slice::from_ref(event),
            Self::Many(events) => events,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn into_vec(self) -> Vec<Rc<Event>> {
        match self {
            Self::One(event) => vec![event],
            Self::Many(events) => events,
        }
    }

    fn push(&mut self, event: Rc<Event>) {
        match self {
            Self::Many(events) => events.push(event),
            Self::One(first) => *self = Self::Many(vec![Rc::clone(first), event]),
        }
    }

    fn get_mut(&mut self, position: usize) -> Option<&mut Rc<Event>> {
        match self {
            Self::One(event) => (position == 0).then_some(event),
            Self::Many(events) => events.get_mut(position),
        }
    }
}

/// What one run is for.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) events: Events,
    /// 0 until it has run once.
    pub(super) attempt: u32,
    /// When it was ready to start, but for jobs, limits and the like.
    pub(super) since: Moment,
    /// Counted as started later than that.
    pub(super) waited: bool,
}

impl Work {
    pub(super) fn one(event: Rc<Event>, since: Moment) -> Self {
        Self {
            events: Events::One(event),
            attempt: 0,
            since,
            waited: false,
        }
    }

    pub(super) fn many(events: Vec<Rc<Event>>, since: Moment) -> Self {
        Self {
            events: Events::Many(events),
            attempt: 0,
            since,
            waited: false,
        }
    }
}

/// Where an event waits: the number of its work, and its position there.
type Place = (u64, usize);

/// The work of one line that waits for its turn, first in first out.
#[derive(Debug)]
pub(super) struct Waiting {
    works: VecDeque<Work>,
    /// The number of the first work; numbers grow by one along the queue.
    first: u64,
    /// Of each path, its last place. Only kept while something merges.
    index: Option<HashMap<OsString, Place>>,
    events: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        // Far from zero: work that could not be started is put back at the front.
        Self {
            works: VecDeque::new(),
            first: 1 << 62,
            index: None,
            events: 0,
        }
    }
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.works.is_empty()
    }

    /// Runs that wait.
    pub(super) fn len(&self) -> usize {
        self.works.len()
    }

    /// Events that wait.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    /// In order.
    pub(super) fn works(&self) -> impl Iterator<Item = &Work> {
        self.works.iter()
    }

    /// Behind all others, as a run of its own.
    pub(super) fn push(&mut self, work: Work) {
        let number = self.first + self.works.len() as u64;
        if let Some(index) = &mut self.index {
            for (position, event) in work.events.as_slice().iter().enumerate() {
                index.insert(key(event), (number, position));
            }
        }
        self.events += work.events.len();
        self.works.push_back(work);
    }

    /// Before all others: it had its turn and could not be started.
    pub(super) fn push_front(&mut self, work: Work) {
        self.first -= 1;
        if let Some(index) = &mut self.index {
            for (position, event) in work.events.as_slice().iter().enumerate() {
                index.entry(key(event)).or_insert((self.first, position));
            }
        }
        self.events += work.events.len();
        self.works.push_front(work);
    }

    /// Each event joins the one of its path that waits; what is left of `work` is a
    /// run of its own. The number of events that merged.
    pub(super) fn push_merging(&mut self, work: Work) -> u64 {
        let (rest, merged) = self.merge_known(work.events);
        if !rest.is_empty() {
            self.push(Work {
                events: Events::Many(rest),
                ..work
            });
        }
        merged
    }

    /// All that waits is to be one run: like [`Self::push_merging`], but what is left
    /// joins the last run that waits.
    pub(super) fn gather(&mut self, work: Work) -> u64 {
        if self.works.is_empty() {
            self.push(work);
            return 0;
        }
        let (rest, merged) = self.merge_known(work.events);
        let number = self.first + self.works.len() as u64 - 1;
        let (Some(last), Some(index)) = (self.works.back_mut(), &mut self.index) else {
            return merged;
        };
        for event in rest {
            index.insert(key(&event), (number, last.events.len()));
            last.events.push(event);
            self.events += 1;
        }
        merged
    }

    /// The first to start.
    pub(super) fn pop(&mut self) -> Option<Work> {
        let work = self.works.pop_front()?;
        self.events -= work.events.len();
        if self.works.is_empty() {
            self.index = None;
        } else if let Some(index) = &mut self.index {
            for event in work.events.as_slice() {
                let path = key(event);
                if index.get(&path).is_some_and(|place| place.0 == self.first) {
                    index.remove(&path);
                }
            }
        }
        self.first += 1;
        Some(work)
    }

    /// All that waits as one run, and how many events merged to make it so.
    pub(super) fn pop_all(&mut self) -> Option<(Work, u64)> {
        let first = self.pop()?;
        if self.works.is_empty() {
            return Some((first, 0));
        }
        let mut all = Waiting::default();
        all.push(first);
        let mut merged = 0;
        while let Some(work) = self.pop() {
            merged += all.gather(work);
        }
        all.pop().map(|work| (work, merged))
    }

    fn merge_known(&mut self, events: Events) -> (Vec<Rc<Event>>, u64) {
        let mut rest = Vec::new();
        let mut merged = 0;
        let index = match &mut self.index {
            Some(index) => index,
            None => self.index.insert(places(&self.works, self.first)),
        };
        for event in events.into_vec() {
            let place = index.get(&key(&event)).copied();
            let waiting = place
                .and_then(|(number, _)| number.checked_sub(self.first))
                .and_then(|behind| self.works.get_mut(usize::try_from(behind).ok()?))
                .zip(place)
                .and_then(|(work, (_, position))| work.events.get_mut(position));
            match waiting {
                Some(old) => {
                    *old = merge(old, event);
                    merged += 1;
                }
                None => rest.push(event),
            }
        }
        (rest, merged)
    }
}

fn places(works: &VecDeque<Work>, first: u64) -> HashMap<OsString, Place> {
    let mut index = HashMap::new();
    for (number, work) in (first..).zip(works) {
        for (position, event) in work.events.as_slice().iter().enumerate() {
            index.insert(key(event), (number, position));
        }
    }
    index
}

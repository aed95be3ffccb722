//! One line: what it gathers, what waits, and whether one more run may start.

mod runs;

use std::rc::Rc;

use super::counters::Counters;
use super::flow::{BATCH_PATIENCE, Flow};
use super::gather::{Batch, Settle};
use super::guard::Guard;
use super::retry::Retries;
use super::window::Window;
use super::work::{Waiting, Work};
use crate::event::{Actor, Confidence, Event, LineId};
use crate::table::{self, Busy, Options};
use crate::time::Moment;

/// No moment is later: never.
const NEVER: Moment = Moment(u64::MAX);

/// The state of a line. The scheduler calls a method, then looks at `kill` and `notice`.
#[derive(Debug)]
pub(super) struct Line {
    id: LineId,
    flow: Flow,
    settle: Settle,
    batch: Batch,
    waiting: Waiting,
    retries: Retries,
    pub(super) window: Window,
    guard: Guard,
    /// Runs granted, whether or not the worker has fetched them.
    pub(super) active: u32,
    /// Runs that the worker has fetched.
    pub(super) live: u32,
    pub(super) counters: Counters,
    /// busy=restart: the current run is to be killed.
    pub(super) kill: bool,
    /// To be told.
    pub(super) notice: Option<String>,
    /// Stands in the scheduler's round.
    pub(super) listed: bool,
    /// Its entry among the scheduler's timers.
    pub(super) armed: Option<Moment>,
}

impl Line {
    pub(super) fn new(id: LineId, options: &Options) -> Self {
        Self {
            id,
            flow: Flow::new(options),
            settle: Settle::default(),
            batch: Batch::default(),
            waiting: Waiting::default(),
            retries: Retries::default(),
            window: Window::new(options.limit),
            guard: Guard::default(),
            active: 0,
            live: 0,
            counters: Counters::default(),
            kill: false,
            notice: None,
            listed: false,
            armed: None,
        }
    }

    /// Other options. What is gathered stays, and keeps the moment at which it is due;
    /// what gathered for an option that is gone is due now, so that no later event of
    /// its path passes it.
    pub(super) fn set(&mut self, options: &Options, now: Moment) {
        self.flow = Flow::new(options);
        if self.window.limit() != options.limit {
            self.window.set(options.limit);
        }
        if self.batch_full() {
            self.end_batch(now);
        }
        while self.flow.settle.is_zero()
            && let Some((event, first, _)) = self.settle.pop(NEVER)
        {
            self.settled(event, first, now, now);
        }
    }

    /// Its work goes to a process that runs already.
    pub(super) fn feeds(&self) -> bool {
        self.flow.feeds
    }

    pub(super) fn busy(&self) -> Busy {
        self.flow.busy
    }

    /// Events that have had no run yet.
    pub(super) fn waiting(&self) -> usize {
        self.settle.len() + self.batch.len() + self.waiting.events()
    }

    /// Calls `each` with every event that waits, retries included.
    pub(super) fn each_waiting(&self, each: &mut dyn FnMut(&Event)) {
        let works = self.waiting.works().chain(self.retries.works());
        let works = works.flat_map(|work| work.events.as_slice());
        for event in self.settle.events().chain(self.batch.events()).chain(works) {
            each(event);
        }
    }

    /// Nothing waits, not even a retry.
    pub(super) fn idle(&self) -> bool {
        self.waiting() == 0 && self.retries.is_empty()
    }

    /// The short way of a plain event: it may start before anything is set in motion.
    pub(super) fn passes(&mut self, event: &Event, now: Moment) -> bool {
        self.flow.immediate()
            && self.waiting.is_empty()
            && !self.retries.has_due()
            && self.may_start()
            && !self.loops(event)
            && self.window.is_free(now)
    }

    /// An event by the long way.
    pub(super) fn event(&mut self, event: Rc<Event>, now: Moment) {
        if self.loops(&event) {
            self.counters.looped += 1;
        } else if self.flow.settle.is_zero() {
            self.settled(event, now, now, now);
        } else {
            let max_wait = self.flow.max_wait;
            let quiet = now + self.flow.settle;
            let merged = self.settle.add(event, now, quiet, |first| first + max_wait);
            self.counters.merged += u64::from(merged);
        }
    }

    /// Events of its own commands and of all that they start, where the actor is
    /// known as it was; else events during a run.
    fn loops(&self, event: &Event) -> bool {
        let known = |actor: &&Rc<Actor>| actor.confidence == Confidence::Exact;
        self.flow.no_loop
            && match event.actor.as_ref().filter(known) {
                Some(actor) => actor.line == Some(self.id),
                None => self.live > 0,
            }
    }

    /// Its path was quiet `at` that moment; `first` is when its first event came.
    fn settled(&mut self, event: Rc<Event>, first: Moment, at: Moment, now: Moment) {
        let due = match self.flow.batch {
            None => return self.due(Work::one(event, now), now),
            Some(table::Batch::Time(time)) => at + time,
            Some(table::Batch::Count(_)) if self.flow.patience.is_none() => at + BATCH_PATIENCE,
            Some(table::Batch::Count(_)) => NEVER,
        };
        let latest = self
            .flow
            .patience
            .map_or(NEVER, |patience| first + patience);
        let merged = self.batch.add(event, due, latest);
        self.counters.merged += u64::from(merged);
        if self.batch_full() {
            self.end_batch(now);
        }
    }

    fn batch_full(&self) -> bool {
        self.batch.len() > 0
            && match self.flow.batch {
                None => true,
                Some(table::Batch::Time(_)) => false,
                Some(table::Batch::Count(paths)) => self.batch.len() as u64 >= u64::from(paths),
            }
    }

    fn end_batch(&mut self, now: Moment) {
        let work = Work::many(self.batch.take(), now);
        self.due(work, now);
    }

    /// Work is due: it waits for its turn, or `busy` decides otherwise.
    fn due(&mut self, work: Work, now: Moment) {
        let busy = self.active > 0 || !self.retries.is_empty();
        match self.flow.busy {
            Busy::Skip if busy => self.counters.skipped += work.events.len() as u64,
            Busy::Parallel | Busy::Skip => self.queue(work, now),
            Busy::Queue => self.counters.merged += self.waiting.gather(work),
            Busy::Restart => {
                self.counters.abandoned += self.retries.clear();
                self.kill |= self.active > 0;
                self.counters.merged += self.waiting.gather(work);
            }
        }
    }

    /// Every run waits for itself, as long as the limit would let all of them start
    /// within its D. What is beyond that merges by path.
    fn queue(&mut self, work: Work, now: Moment) {
        let free = self.window.is_free(now);
        let started = self.window.count() + self.waiting.len() as u64;
        if free && started < u64::from(self.window.limit().runs) {
            return self.waiting.push(work);
        }
        self.counters.merged += self.waiting.push_merging(work);
        self.hold(now);
    }

    fn hold(&mut self, now: Moment) {
        if let Some(text) = self.guard.hold(&self.window, self.counters.merged, now) {
            self.counters.slowed += 1;
            self.notice = Some(text);
        }
    }

    /// Everything whose time has come.
    pub(super) fn advance(&mut self, now: Moment) {
        while let Some((event, first, at)) = self.settle.pop(now) {
            self.settled(event, first, at, now);
        }
        if self.batch.due().is_some_and(|due| due <= now) {
            self.end_batch(now);
        }
        self.retries.advance(now);
        // What may start just now was held back until now.
        let held = self.wants();
        let (limit, merged) = (self.window.limit(), self.counters.merged);
        if let Some(text) = self.guard.check(limit, merged, held, now) {
            self.notice = Some(text);
        }
    }

    /// jobs and busy allow one more.
    fn may_start(&self) -> bool {
        let retry_first = !self.retries.is_empty() && !self.retries.has_due();
        if self.flow.solo() && (self.active > 0 || retry_first) {
            return false;
        }
        self.active < self.flow.jobs
    }

    /// Has work that only a limit may hold.
    fn wants(&self) -> bool {
        (!self.waiting.is_empty() || self.retries.has_due()) && self.may_start()
    }

    /// Has work that may start now; if its limit alone forbids it, the guard hears of it.
    pub(super) fn ready(&mut self, now: Moment) -> bool {
        if !self.wants() {
            return false;
        }
        let free = self.window.is_free(now);
        if !free {
            self.hold(now);
        }
        free
    }

    /// When `advance` or `ready` will say something else than now.
    pub(super) fn deadline(&mut self, now: Moment) -> Option<Moment> {
        let limit = (self.wants() && !self.window.is_free(now)).then(|| self.window.free_at());
        [
            self.settle.due(),
            self.batch.due(),
            self.retries.deadline(),
            limit,
            self.guard.due(),
        ]
        .into_iter()
        .flatten()
        .min()
        .filter(|due| *due < NEVER)
    }

    /// Takes out all that waits: in the order in which it would have started.
    pub(super) fn drain(&mut self) -> Drained {
        let mut drained = Drained::default();
        for work in self.retries.drain() {
            drained.retries += 1;
            drained.events.extend_from_slice(work.events.as_slice());
        }
        let begun = drained.events.len();
        while let Some(work) = self.waiting.pop() {
            drained.events.extend_from_slice(work.events.as_slice());
        }
        drained.events.extend(self.batch.take());
        while let Some((event, ..)) = self.settle.pop(NEVER) {
            drained.events.push(event);
        }
        drained.waiting = (drained.events.len() - begun) as u64;
        drained
    }
}

/// What a line gave up.
#[derive(Debug, Default)]
pub(super) struct Drained {
    pub(super) events: Vec<Rc<Event>>,
    /// How many of them never had a run.
    pub(super) waiting: u64,
    /// Retries among them, in runs.
    pub(super) retries: u64,
}

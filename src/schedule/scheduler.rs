//! The state machine itself: it owns the lines, their timers and the slots, and
//! turns every call into changes of these and actions for the worker.

mod figures;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::line::Line;
use super::slots::Slots;
use super::work::Work;
use super::{Action, Counters, RunId};
use crate::event::{Event, LineId};
use crate::table::{Busy, Options};
use crate::time::Moment;

/// The whole state of when.
#[derive(Debug)]
pub struct Scheduler {
    slots: Slots,
    lines: BTreeMap<LineId, Line>,
    /// When to look at which line again; one entry a line.
    timers: BTreeSet<(Moment, LineId)>,
    /// Kills and notices, not yet fetched.
    notes: VecDeque<Action>,
    /// The latest moment that was told: time does not go back.
    now: Moment,
    closed: bool,
    /// Counters of lines that are gone.
    gone: Counters,
}

impl Scheduler {
    /// At most `max_jobs` (0 means 1) runs at once over all lines.
    pub fn new(max_jobs: usize) -> Self {
        Self {
            slots: Slots::new(max_jobs),
            lines: BTreeMap::new(),
            timers: BTreeSet::new(),
            notes: VecDeque::new(),
            now: Moment(0),
            closed: false,
            gone: Counters::default(),
        }
    }

    /// From now on at most `max_jobs` runs at once; those that run are not ended.
    pub fn set_max_jobs(&mut self, max_jobs: usize) {
        self.slots.max_jobs = max_jobs.max(1);
        self.pump(self.now);
    }

    /// A line begins; or its options change and what it gathered stays.
    pub fn set_line(&mut self, line: LineId, options: &Options) {
        let now = self.now;
        let fed = self.lines.get(&line).map(Line::feeds);
        if fed.is_some_and(|fed| fed != options.stream) {
            self.requeue(line);
        }
        match self.lines.get_mut(&line) {
            Some(state) => state.set(options, now),
            None => {
                self.lines.insert(line, Line::new(line, options));
            }
        }
        self.refresh(line, now);
        self.pump(now);
    }

    /// A line ends: what waits for it is dropped (and counted), its runs go on.
    pub fn remove_line(&mut self, line: LineId) {
        self.take_back(line);
        let Some(mut state) = self.lines.remove(&line) else {
            return;
        };
        if let Some(due) = state.armed {
            self.timers.remove(&(due, line));
        }
        let drained = state.drain();
        state.counters.removed += drained.waiting;
        state.counters.abandoned += drained.retries;
        self.gone += state.counters;
        self.pump(self.now);
    }

    /// An event for a line, after its filters. What may start at once is decided here, so
    /// that it does not matter how many events the worker gives before it calls `next`.
    pub fn event(&mut self, line: LineId, event: Rc<Event>, now: Moment) {
        let now = self.clock(now);
        let Some(state) = self.lines.get_mut(&line) else {
            self.gone.events += 1;
            self.gone.removed += 1;
            return;
        };
        state.counters.events += 1;
        let free = !self.closed && self.slots.has_room(state.feeds(), now);
        if free && state.passes(&event, now) {
            let mut work = Work::one(event, now);
            state.started(&mut work, now);
            self.slots.grant(line, state.feeds(), work, now);
            return;
        }
        if state.busy() == Busy::Restart && state.active > state.live {
            self.take_back(line);
        }
        if let Some(state) = self.lines.get_mut(&line) {
            state.event(event, now);
        }
        self.refresh(line, now);
        self.pump(now);
    }

    /// A run ended, or could not be started. The worker has read its sources since the
    /// command's end (see above). A run that is not known is ignored.
    pub fn finished(&mut self, run: RunId, success: bool, now: Moment) {
        let now = self.clock(now);
        let Some(ended) = self.slots.remove(run) else {
            return;
        };
        self.slots.relax();
        if ended.killed {
            self.spare(run);
        }
        match self.lines.get_mut(&ended.line) {
            Some(line) => {
                if ended.fetched {
                    line.live = line.live.saturating_sub(1);
                }
                line.ended(ended.work, success, ended.killed, now);
            }
            None => self.gone.failed += u64::from(!success),
        }
        self.refresh(ended.line, now);
        self.pump(now);
    }

    /// The machine could not start this run now (EAGAIN). The same events are started
    /// again, before anything else of the line, under a new number; and no line starts
    /// anything for a short pause that grows from 20 ms to 5 s until a run has ended.
    /// To be called before the next call of `next`.
    pub fn postpone(&mut self, run: RunId, now: Moment) {
        let now = self.clock(now);
        let Some(refused) = self.slots.running.get(&run).filter(|r| r.fetched) else {
            return;
        };
        let line = refused.line;
        self.spare(run);
        // Taken back with those granted after it, in order.
        self.slots.unfetch(run);
        self.slots.refused(now);
        let Some(state) = self.lines.get_mut(&line) else {
            self.slots.remove(run);
            self.gone.failed += 1;
            return;
        };
        state.live = state.live.saturating_sub(1);
        state.counters.postponed += 1;
        self.take_back(line);
        self.refresh(line, now);
    }

    /// The next thing to do at `now`, until None.
    pub fn next(&mut self, now: Moment) -> Option<Action> {
        let now = self.clock(now);
        if !self.closed {
            self.advance(now);
        }
        if let Some(note) = self.notes.pop_front() {
            return Some(note);
        }
        if self.closed || self.slots.paused(now) {
            return None;
        }
        // What cannot be fetched any more may leave a notice.
        self.fetch(now).or_else(|| self.notes.pop_front())
    }

    /// When `next` will have something to do without any event. May be past.
    pub fn deadline(&self) -> Option<Moment> {
        if !self.notes.is_empty() {
            return Some(self.now);
        }
        if self.closed {
            return None;
        }
        let timer = self.timers.first().map(|t| t.0);
        [timer, self.slots.deadline(self.now)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Shutdown: no new starts from here on. Events are still taken, for `drain`.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// All that waits, retries included: line by line, each in the order in which it
    /// would have started. Nothing waits afterwards.
    pub fn drain(&mut self) -> Vec<(LineId, Rc<Event>)> {
        let lines: Vec<LineId> = self.lines.keys().copied().collect();
        let mut all = Vec::new();
        for line in lines {
            self.take_back(line);
            if let Some(state) = self.lines.get_mut(&line) {
                let drained = state.drain();
                state.counters.saved += drained.waiting;
                all.extend(drained.events.into_iter().map(|event| (line, event)));
            }
            self.refresh(line, self.now);
        }
        all
    }

    fn clock(&mut self, now: Moment) -> Moment {
        self.now = self.now.max(now);
        self.now
    }

    /// Looks at every line whose moment has come.
    fn advance(&mut self, now: Moment) {
        while let Some(&(due, line)) = self.timers.first() {
            if due > now {
                break;
            }
            match self.lines.get_mut(&line) {
                Some(state) => state.advance(now),
                None => drop(self.timers.pop_first()),
            }
            self.refresh(line, now);
        }
        self.pump(now);
    }

    /// After any change of a line: its kills and notices, its place in the round, its timer.
    fn refresh(&mut self, id: LineId, now: Moment) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        if !line.listed && line.ready(now) {
            line.listed = true;
            self.slots.join(id, line.feeds());
        }
        if let Some(text) = line.notice.take() {
            self.notes.push_back(Action::Notice(id, text));
        }
        let due = line.deadline(now);
        if due != line.armed {
            if let Some(old) = line.armed {
                self.timers.remove(&(old, id));
            }
            if let Some(new) = due {
                self.timers.insert((new, id));
            }
            line.armed = due;
        }
        if std::mem::take(&mut line.kill) {
            self.kill(id);
        }
    }

    /// Grants starts to the lines in turn while there is room.
    fn pump(&mut self, now: Moment) {
        if self.closed {
            return;
        }
        while let Some(id) = self.slots.turn(now) {
            let Some(line) = self.lines.get_mut(&id) else {
                continue;
            };
            line.listed = false;
            if line.ready(now)
                && let Some(mut work) = line.take()
            {
                line.started(&mut work, now);
                self.slots.grant(id, line.feeds(), work, now);
            }
            self.refresh(id, now);
        }
    }

    fn kill(&mut self, line: LineId) {
        for (&run, running) in &mut self.slots.running {
            if running.line == line && running.fetched && !running.killed {
                running.killed = true;
                self.notes.push_back(Action::Kill { run, line });
                if let Some(state) = self.lines.get_mut(&line) {
                    state.counters.restarted += 1;
                }
            }
        }
    }

    /// A run ended by itself before the worker fetched its kill.
    fn spare(&mut self, run: RunId) {
        self.notes
            .retain(|note| !matches!(note, Action::Kill { run: other, .. } if *other == run));
    }

    /// Hands the first granted start to the worker.
    fn fetch(&mut self, now: Moment) -> Option<Action> {
        loop {
            let (run, started) = self.slots.front()?;
            let id = started.line;
            let line = self.lines.get_mut(&id)?;
            if line.fetched(started.at, now) {
                started.at = now;
                started.fetched = true;
                let events = started.work.events.as_slice().to_vec();
                let attempt = started.work.attempt;
                self.slots.fetched();
                return Some(Action::Start {
                    run,
                    line: id,
                    events,
                    attempt,
                });
            }
            self.take_back(id);
            self.refresh(id, now);
            self.pump(now);
        }
    }

    /// What a line has granted and asked for is decided anew.
    fn requeue(&mut self, line: LineId) {
        self.take_back(line);
        self.slots.leave(line);
        if let Some(state) = self.lines.get_mut(&line) {
            state.listed = false;
        }
    }

    /// Undoes the starts of a line that the worker has not fetched.
    fn take_back(&mut self, line: LineId) {
        for run in self.slots.unfetched(line).into_iter().rev() {
            if let Some(running) = self.slots.remove(run)
                && let Some(state) = self.lines.get_mut(&line)
            {
                state.unstarted(running.work, running.at);
            }
        }
    }
}

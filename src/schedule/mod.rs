//! When a command may start: settle, batch, busy, jobs, limit, retry.
//!
//! Pure: `(state, event or end of a run or tick, now)` in, [`Action`]s out. No clock,
//! no I/O, and nothing depends on the order of a hash map: the same calls give the same
//! actions.
//!
//! The way of an event through its line:
//!
//! ```text
//! event -> IN_NO_LOOP -> settle -> batch -> busy -> waiting -> jobs, limit -> max_jobs -> Start
//! ```
//!
//! - **settle**: a path waits until it was quiet; its events merge into one. At the
//!   latest max-wait after its first event it goes on.
//! - **batch**: settled paths gather for D from the first of them, or until there are N.
//!   A max-wait that is written counts from the first event of a path to the end of its
//!   batch; the default of settle (10 x settle) does not shorten a batch. batch=N without
//!   max-wait waits 10 s for its Nth path.
//! - **busy** decides when work is due (settled, batch complete). queue and restart make
//!   one run of all that waits. skip drops what comes due while the command runs or waits
//!   for a retry; what only waits for a limit or a free job is not dropped. All three run
//!   one command of the line at a time. restart kills the run, and starts when it ended.
//! - **limit**: what could not start within D merges by path with what waits. So it is
//!   with a line whose jobs are all taken: once as many wait as the limit allows in D,
//!   further events merge by path, and memory is bounded by N and the number of paths.
//! - **retry**: 1 s, 2 s, 4 s ... at most 64 s after the failure. A retry counts for jobs
//!   and limit, and starts before what waits. With queue and skip the line is busy until
//!   its run has succeeded or its retries are used up; with restart a newer event takes
//!   the place of the retry; with parallel other runs pass it by.
//! - **max_jobs** is shared by all lines in turn: one run each.
//!
//! What the worker does:
//!
//! 1. It gives all events of one read to [`Scheduler::event`], then calls
//!    [`Scheduler::next`] until None. (With IN_NO_LOOP, an event that comes before the
//!    worker has fetched the Start is not an event of that run.)
//! 2. When a command has ended, it reads its sources once more until they are empty,
//!    gives those events, and only then calls [`Scheduler::finished`]: what the command
//!    did last is then still counted as done during its run.
//! 3. A Start that fails is `finished(run, false, now)`. One that would work later (EAGAIN:
//!    too many processes) is [`Scheduler::postpone`].
//! 4. To stop: [`Scheduler::close`], then [`Scheduler::drain`] after the last run ended.
//!
//! CONTRACT (the schedule room owns this).

mod counters;
mod gather;
mod guard;
mod line;
mod merge;
mod window;
mod work;

pub use counters::Counters;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use crate::event::{Event, LineId};
use crate::table::{Busy, Options};
use crate::time::Moment;
use line::Line;
use work::Work;

/// The first and the longest pause after a start that the machine refused.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// One execution of a line's command; never used twice in a worker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// What is to be done now.
#[derive(Clone, Debug)]
pub enum Action {
    /// Start the line's command once for these events (one, unless batch or busy gathered).
    Start {
        /// Its number.
        run: RunId,
        /// Whose command.
        line: LineId,
        /// In the order in which they happened; never empty.
        events: Vec<Rc<Event>>,
        /// 0 for the first try, then 1 .. retry.
        attempt: u32,
    },
    /// End the line's run early (busy=restart). The next one starts when it has ended.
    Kill {
        /// Which run.
        run: RunId,
        /// Whose command.
        line: LineId,
    },
    /// An operator must know (the limit slows a line; it is over). One line of text.
    Notice(LineId, String),
}

/// A run that has not ended.
#[derive(Debug)]
struct Running {
    line: LineId,
    work: Work,
    at: Moment,
    /// The worker has it.
    fetched: bool,
    killed: bool,
}

/// The whole state of when.
#[derive(Debug)]
pub struct Scheduler {
    max_jobs: usize,
    lines: BTreeMap<LineId, Line>,
    /// When to look at which line again; one entry a line.
    timers: BTreeSet<(Moment, LineId)>,
    /// Lines with work that waits only for one of `max_jobs`, in turn.
    round: VecDeque<LineId>,
    running: BTreeMap<RunId, Running>,
    /// Granted, not yet fetched by the worker.
    starts: VecDeque<RunId>,
    /// Kills and notices, not yet fetched.
    notes: VecDeque<Action>,
    next_run: u64,
    /// No start before this moment: the machine refused one.
    resume: Moment,
    pause: Duration,
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
            max_jobs: max_jobs.max(1),
            lines: BTreeMap::new(),
            timers: BTreeSet::new(),
            round: VecDeque::new(),
            running: BTreeMap::new(),
            starts: VecDeque::new(),
            notes: VecDeque::new(),
            next_run: 0,
            resume: Moment(0),
            pause: Duration::ZERO,
            now: Moment(0),
            closed: false,
            gone: Counters::default(),
        }
    }

    /// A line begins; or its options change and what it gathered stays.
    pub fn set_line(&mut self, line: LineId, options: &Options) {
        let now = self.now;
        match self.lines.get_mut(&line) {
            Some(state) => state.set(options, now),
            None => {
                self.lines.insert(line, Line::new(options));
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
        let free = self.has_room(now);
        let Some(state) = self.lines.get_mut(&line) else {
            self.gone.events += 1;
            self.gone.removed += 1;
            return;
        };
        state.counters.events += 1;
        if free && state.passes(&event, now) {
            let work = Work::one(event, now);
            state.started(&work, now);
            self.grant(line, work, now);
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
        let Some(ended) = self.running.remove(&run) else {
            return;
        };
        self.pause = Duration::ZERO;
        if ended.killed {
            self.notes
                .retain(|note| !matches!(note, Action::Kill { run: other, .. } if *other == run));
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
        let Some(refused) = self.running.get_mut(&run) else {
            return;
        };
        // As if it had not been fetched: taken back with those after it, in order.
        refused.fetched = false;
        self.notes
            .retain(|note| !matches!(note, Action::Kill { run: other, .. } if *other == run));
        let line = refused.line;
        self.starts.push_front(run);
        match self.lines.get_mut(&line) {
            Some(state) => {
                state.live = state.live.saturating_sub(1);
                state.counters.postponed += 1;
            }
            None => return self.forget(run),
        }
        self.take_back(line);
        if now >= self.resume {
            self.pause = (self.pause * 2).clamp(PAUSE.0, PAUSE.1);
            self.resume = now + self.pause;
        }
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
        if self.closed || now < self.resume {
            return None;
        }
        self.fetch(now)
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
        let held = !self.starts.is_empty() || !self.round.is_empty() && self.slots() > 0;
        let start = held.then_some(self.resume.max(self.now));
        [timer, start].into_iter().flatten().min()
    }

    /// True when nothing waits and nothing runs.
    pub fn idle(&self) -> bool {
        self.running.is_empty() && self.notes.is_empty() && self.lines.values().all(Line::idle)
    }

    /// Runs that have not ended, and starts not yet fetched.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Figures of a line; all zero for one that is not there.
    pub fn counters(&self, line: LineId) -> Counters {
        self.lines
            .get(&line)
            .map_or_else(Counters::default, |state| Counters {
                waiting: state.waiting(),
                ..state.counters
            })
    }

    /// Figures of all lines, those that are gone included.
    pub fn totals(&self) -> Counters {
        let mut totals = self.gone;
        for line in self.lines.keys() {
            totals += self.counters(*line);
        }
        totals
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

    fn slots(&self) -> usize {
        self.max_jobs.saturating_sub(self.running.len())
    }

    /// One more may start, as far as the lines together are concerned.
    fn has_room(&self, now: Moment) -> bool {
        self.running.len() < self.max_jobs && !self.closed && now >= self.resume
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
            self.round.push_back(id);
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
        while self.has_room(now) {
            let Some(id) = self.round.pop_front() else {
                return;
            };
            let Some(line) = self.lines.get_mut(&id) else {
                continue;
            };
            line.listed = false;
            if line.ready(now)
                && let Some(work) = line.take()
            {
                line.started(&work, now);
                self.grant(id, work, now);
            }
            self.refresh(id, now);
        }
    }

    fn grant(&mut self, line: LineId, work: Work, now: Moment) {
        let run = RunId(self.next_run);
        self.next_run += 1;
        let running = Running {
            line,
            work,
            at: now,
            fetched: false,
            killed: false,
        };
        self.running.insert(run, running);
        self.starts.push_back(run);
    }

    fn kill(&mut self, line: LineId) {
        for (&run, running) in &mut self.running {
            if running.line == line && running.fetched && !running.killed {
                running.killed = true;
                self.notes.push_back(Action::Kill { run, line });
                if let Some(state) = self.lines.get_mut(&line) {
                    state.counters.restarted += 1;
                }
            }
        }
    }

    /// Hands the first granted start to the worker.
    fn fetch(&mut self, now: Moment) -> Option<Action> {
        while let Some(&run) = self.starts.front() {
            let started = self.running.get_mut(&run)?;
            let id = started.line;
            let line = self.lines.get_mut(&id)?;
            if !line.fetched(&started.work, started.at, now) {
                self.take_back(id);
                self.refresh(id, now);
                self.pump(now);
                continue;
            }
            started.at = now;
            started.fetched = true;
            self.starts.pop_front();
            return Some(Action::Start {
                run,
                line: id,
                events: started.work.events.as_slice().to_vec(),
                attempt: started.work.attempt,
            });
        }
        None
    }

    /// Undoes the starts of a line that the worker has not fetched.
    fn take_back(&mut self, line: LineId) {
        let mut back: Vec<RunId> = self.starts.iter().copied().collect();
        back.retain(|run| self.running.get(run).is_some_and(|r| r.line == line));
        for run in back.into_iter().rev() {
            self.forget(run);
        }
    }

    fn forget(&mut self, run: RunId) {
        self.starts.retain(|other| *other != run);
        let Some(running) = self.running.remove(&run) else {
            return;
        };
        if let Some(line) = self.lines.get_mut(&running.line) {
            line.unstarted(running.work, running.at);
        }
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new(64)
    }
}

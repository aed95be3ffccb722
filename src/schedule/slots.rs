//! The runs of all lines: at most `max_jobs` at once, shared by taking turns.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::RunId;
use super::work::Work;
use crate::event::LineId;
use crate::time::Moment;

/// The first and the longest pause after a start that the machine refused.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// A run that has not ended.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) line: LineId,
    pub(super) work: Work,
    /// When it was granted, then when it was fetched.
    pub(super) at: Moment,
    /// The worker has it.
    pub(super) fetched: bool,
    /// busy=restart ended it early.
    pub(super) killed: bool,
    /// It counts for `max_jobs`.
    counts: bool,
}

/// Who runs, who is next.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) max_jobs: usize,
    pub(super) running: BTreeMap<RunId, Running>,
    /// Granted, not yet fetched by the worker.
    starts: VecDeque<RunId>,
    /// How many of `running` count for `max_jobs`.
    taken: usize,
    /// Lines with work that waits only for one of `max_jobs`.
    round: VecDeque<LineId>,
    /// Lines with work for a process that runs already.
    feeding: VecDeque<LineId>,
    next_run: u64,
    /// No start before this moment: the machine refused one.
    resume: Moment,
    pause: Duration,
}

impl Slots {
    pub(super) fn new(max_jobs: usize) -> Self {
        Self {
            max_jobs: max_jobs.max(1),
            running: BTreeMap::new(),
            starts: VecDeque::new(),
            taken: 0,
            round: VecDeque::new(),
            feeding: VecDeque::new(),
            next_run: 1,
            resume: Moment(0),
            pause: Duration::ZERO,
        }
    }

    /// One more may start; `feeds`: what costs no process of its own.
    pub(super) fn has_room(&self, feeds: bool, now: Moment) -> bool {
        (feeds || self.taken < self.max_jobs) && !self.paused(now)
    }

    pub(super) fn paused(&self, now: Moment) -> bool {
        now < self.resume
    }

    /// A line has work; it must not stand in the round already.
    pub(super) fn join(&mut self, line: LineId, feeds: bool) {
        match feeds {
            true => self.feeding.push_back(line),
            false => self.round.push_back(line),
        }
    }

    /// The line has no work, or other work than it had.
    pub(super) fn leave(&mut self, line: LineId) {
        self.round.retain(|other| *other != line);
        self.feeding.retain(|other| *other != line);
    }

    /// Whose turn it is, of those for whom there is room; it leaves the round.
    pub(super) fn turn(&mut self, now: Moment) -> Option<LineId> {
        if self.paused(now) {
            return None;
        }
        let fed = self.feeding.pop_front();
        if fed.is_some() || self.taken >= self.max_jobs {
            return fed;
        }
        self.round.pop_front()
    }

    /// Work gets a slot, and the worker may fetch it.
    pub(super) fn grant(&mut self, line: LineId, feeds: bool, work: Work, now: Moment) {
        let run = RunId(self.next_run);
        self.next_run += 1;
        let running = Running {
            line,
            work,
            at: now,
            fetched: false,
            killed: false,
            counts: !feeds,
        };
        self.taken += usize::from(!feeds);
        self.running.insert(run, running);
        self.starts.push_back(run);
    }

    /// The run that the worker is to fetch next.
    pub(super) fn front(&mut self) -> Option<(RunId, &mut Running)> {
        let run = *self.starts.front()?;
        self.running.get_mut(&run).map(|running| (run, running))
    }

    /// It has been fetched.
    pub(super) fn fetched(&mut self) {
        self.starts.pop_front();
    }

    /// A fetched run could not be started: as if it had not been fetched.
    pub(super) fn unfetch(&mut self, run: RunId) {
        if let Some(running) = self.running.get_mut(&run) {
            running.fetched = false;
            self.starts.push_front(run);
        }
    }

    /// A run is over, or undone.
    pub(super) fn remove(&mut self, run: RunId) -> Option<Running> {
        let running = self.running.remove(&run)?;
        self.taken -= usize::from(running.counts);
        if !running.fetched {
            self.starts.retain(|other| *other != run);
        }
        Some(running)
    }

    /// The starts of a line that the worker has not fetched, first granted first.
    pub(super) fn unfetched(&self, line: LineId) -> Vec<RunId> {
        let of_line = |run: &&RunId| self.running.get(run).is_some_and(|r| r.line == line);
        self.starts.iter().filter(of_line).copied().collect()
    }

    /// The machine refused a start: no other for a while, which grows until `relax`.
    pub(super) fn refused(&mut self, now: Moment) {
        if !self.paused(now) {
            self.pause = (self.pause * 2).clamp(PAUSE.0, PAUSE.1);
            self.resume = now + self.pause;
        }
    }

    /// A command has ended: the machine has room again.
    pub(super) fn relax(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// When there is something to fetch or to grant.
    pub(super) fn deadline(&self, now: Moment) -> Option<Moment> {
        let room = self.taken < self.max_jobs && !self.round.is_empty();
        let waits = room || !self.feeding.is_empty();
        (waits || !self.starts.is_empty()).then_some(self.resume.max(now))
    }
}

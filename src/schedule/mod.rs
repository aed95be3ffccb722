//! When a command may start: settle, batch, busy, jobs, limit, retry.
//!
//! Pure: `(state, event or end of a run or tick, now)` in, [`Action`]s out.
//!
//! CONTRACT (the schedule room owns and fills this in).

use std::rc::Rc;
use std::time::Duration;

use crate::event::{Event, LineId};
use crate::table::Options;
use crate::time::Moment;

/// One execution of a line's command; never used twice in a worker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// What is to be done now.
#[derive(Clone, Debug)]
pub enum Action {
    /// Start the line's command once for these events (one, unless batch or busy=queue gathered).
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
    /// Send the line's run this signal (busy=restart).
    Kill {
        /// Which run.
        run: RunId,
        /// Whose command.
        line: LineId,
    },
    /// An operator must know (the guard slows a line; it is over).
    Notice(LineId, String),
}

/// The whole state of when.
#[derive(Debug, Default)]
pub struct Scheduler {}

impl Scheduler {
    /// At most `max_jobs` runs at once over all lines.
    pub fn new(max_jobs: usize) -> Self {
        let _ = max_jobs;
        Self {}
    }

    /// A line begins; or its options change and what it gathered stays.
    pub fn set_line(&mut self, line: LineId, options: &Options) {
        let _ = (line, options);
    }

    /// A line ends: what waits for it is dropped (and counted), its runs go on.
    pub fn remove_line(&mut self, line: LineId) {
        let _ = line;
    }

    /// An event for a line, after its filters.
    pub fn event(&mut self, line: LineId, event: Rc<Event>, now: Moment) {
        let _ = (line, event, now);
    }

    /// A run ended (or could not be started).
    pub fn finished(&mut self, run: RunId, success: bool, now: Moment) {
        let _ = (run, success, now);
    }

    /// The next thing to do at `now`, until None.
    pub fn next(&mut self, now: Moment) -> Option<Action> {
        let _ = now;
        None
    }

    /// When `next` will have something to do without any event.
    pub fn deadline(&self) -> Option<Moment> {
        None
    }

    /// True when nothing waits and nothing runs.
    pub fn idle(&self) -> bool {
        true
    }

    /// Shutdown: no new starts from here on.
    pub fn close(&mut self) {}

    #[doc(hidden)]
    pub fn _unused(_: Duration) {}
}

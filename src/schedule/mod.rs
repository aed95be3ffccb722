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
//! - **max_jobs** is shared by all lines in turn: one run each. What has settled for a
//!   stream passes it by: the process that it goes to runs already.
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

mod counters;
mod flow;
mod gather;
mod guard;
mod line;
mod merge;
mod retry;
mod scheduler;
pub mod simulate;
mod slots;
pub mod stream;
mod window;
mod work;

pub use counters::Counters;
pub(crate) use merge::key;
pub use scheduler::Scheduler;

use std::rc::Rc;

use crate::event::{Event, LineId};

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

//! What became of every event: the figures by which an operator, and the
//! simulation, can tell that none was lost without a reason.

use std::ops::AddAssign;

use serde::Serialize;

/// Figures of one line, or of all, since the line (or the worker) began.
///
/// Always: `events = ran + merged + skipped + looped + removed + saved + waiting`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Events given to the line, after its filters.
    pub events: u64,
    /// Events handed to the first attempt of a run.
    pub ran: u64,
    /// Events that joined another of the same path.
    pub merged: u64,
    /// Events dropped by busy=skip.
    pub skipped: u64,
    /// Events dropped by IN_NO_LOOP.
    pub looped: u64,
    /// Events dropped because their line was removed, or is unknown.
    pub removed: u64,
    /// Events given back by `drain`.
    pub saved: u64,
    /// Events that wait now.
    pub waiting: u64,

    /// Runs started, first attempts and retries.
    pub started: u64,
    /// Runs that started later than they were due: jobs, limits or busy held them.
    pub waited: u64,
    /// Runs that failed, or could not be started.
    pub failed: u64,
    /// Runs that were a retry.
    pub retried: u64,
    /// Retries given up because a newer event restarted the line, or it was removed.
    pub abandoned: u64,
    /// Runs that busy=restart ended, or was about to end, early.
    pub restarted: u64,
    /// Starts that the machine refused and that were put off.
    pub postponed: u64,
    /// Times that the limit began to slow the line.
    pub slowed: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.ran += other.ran;
        self.merged += other.merged;
        self.skipped += other.skipped;
        self.looped += other.looped;
        self.removed += other.removed;
        self.saved += other.saved;
        self.waiting += other.waiting;
        self.started += other.started;
        self.waited += other.waited;
        self.failed += other.failed;
        self.retried += other.retried;
        self.abandoned += other.abandoned;
        self.restarted += other.restarted;
        self.postponed += other.postponed;
        self.slowed += other.slowed;
    }
}

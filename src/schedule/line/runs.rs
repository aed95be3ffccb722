//! A line's runs, from the moment in which the scheduler grants one to its end.
//!
//! A run is counted when it is granted. It really starts when the worker fetches it,
//! which may be later, or not at all: then all that was counted is taken back.

use super::Line;
use crate::schedule::work::Work;
use crate::table::Busy;
use crate::time::Moment;

impl Line {
    /// The work to start now; only after `ready`.
    pub(in crate::schedule) fn take(&mut self) -> Option<Work> {
        if let Some(work) = self.retries.pop() {
            return Some(work);
        }
        if matches!(self.flow.busy, Busy::Parallel | Busy::Skip) {
            return self.waiting.pop();
        }
        let (work, merged) = self.waiting.pop_all()?;
        self.counters.merged += merged;
        Some(work)
    }

    /// Work starts.
    pub(in crate::schedule) fn started(&mut self, work: &mut Work, now: Moment) {
        self.active += 1;
        self.window.start(now);
        self.counters.started += 1;
        work.waited = now > work.since;
        self.counters.waited += u64::from(work.waited);
        if work.attempt == 0 {
            self.counters.ran += work.events.len() as u64;
        } else {
            self.counters.retried += 1;
        }
    }

    /// The worker fetches work that was granted at `at`: this is when it really starts.
    /// False if the limit has no room for it any more.
    /// (Until then it was not held back: the worker had other things to do.)
    pub(in crate::schedule) fn fetched(&mut self, at: Moment, now: Moment) -> bool {
        if now > at {
            let free = self.window.is_free(now);
            if at + self.window.limit().per > now {
                self.window.forget(at);
            } else if !free {
                return false;
            }
            self.window.start(now);
        }
        self.live += 1;
        true
    }

    /// Work that started at `at` did not start after all: it is the first to start again.
    pub(in crate::schedule) fn unstarted(&mut self, work: Work, at: Moment) {
        self.active = self.active.saturating_sub(1);
        self.window.forget(at);
        self.counters.started -= 1;
        self.counters.waited -= u64::from(work.waited);
        if work.attempt == 0 {
            self.counters.ran -= work.events.len() as u64;
            self.waiting.push_front(work);
        } else {
            self.counters.retried -= 1;
            self.retries.push_front(work);
        }
    }

    /// A run ended; `killed` by busy=restart.
    pub(in crate::schedule) fn ended(
        &mut self,
        work: Work,
        success: bool,
        killed: bool,
        now: Moment,
    ) {
        self.active = self.active.saturating_sub(1);
        if success {
            return;
        }
        self.counters.failed += 1;
        if !killed && work.attempt < self.flow.retry {
            self.retries.add(work, now);
        }
    }
}

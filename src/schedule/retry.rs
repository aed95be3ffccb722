//! Runs that failed and are tried again: after 1 s, 2 s, 4 s ... at most 64 s.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::work::Work;
use crate::time::Moment;

/// The longest pause is 2 to the power of this, in seconds.
const LONGEST: u32 = 6;

/// The retries of a line.
#[derive(Debug, Default)]
pub(super) struct Retries {
    /// By the end of their pause, then in order of failure.
    paused: BTreeMap<(Moment, u64), Work>,
    /// Their pause is over; they start before anything else of the line.
    due: VecDeque<Work>,
    failures: u64,
}

impl Retries {
    pub(super) fn is_empty(&self) -> bool {
        self.paused.is_empty() && self.due.is_empty()
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// How many; none afterwards.
    pub(super) fn clear(&mut self) -> u64 {
        self.drain().count() as u64
    }

    /// In the order in which they would have started; none afterwards.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Work> {
        let due = std::mem::take(&mut self.due);
        due.into_iter()
            .chain(std::mem::take(&mut self.paused).into_values())
    }

    /// In no order.
    pub(super) fn works(&self) -> impl Iterator<Item = &Work> {
        self.due.iter().chain(self.paused.values())
    }

    /// This work has failed.
    pub(super) fn add(&mut self, work: Work, now: Moment) {
        let pause = Duration::from_secs(1 << work.attempt.min(LONGEST));
        let work = Work {
            attempt: work.attempt + 1,
            ..work
        };
        self.paused.insert((now + pause, self.failures), work);
        self.failures += 1;
    }

    /// Ends the pauses that are over.
    pub(super) fn advance(&mut self, now: Moment) {
        while let Some(first) = self.paused.first_entry().filter(|e| e.key().0 <= now) {
            let work = first.remove();
            self.due.push_back(Work { since: now, ..work });
        }
    }

    /// When the next pause is over.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.paused.keys().next().map(|key| key.0)
    }

    /// The first to start.
    pub(super) fn pop(&mut self) -> Option<Work> {
        self.due.pop_front()
    }

    /// It could not be started: it is the first again.
    pub(super) fn push_front(&mut self, work: Work) {
        self.due.push_front(work);
    }
}

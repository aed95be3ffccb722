//! `limit=N/D`: how many runs have started in the last D, exactly enough that no
//! window of D, wherever it begins, ever holds more than N.

use std::collections::VecDeque;
use std::time::Duration;

use crate::table::Limit;
use crate::time::Moment;

/// No more entries than this are kept, whatever the limit says: 64 KiB.
const ENTRIES: u32 = 4096;

/// The starts of the last D.
#[derive(Debug)]
pub(super) struct Window {
    limit: Limit,
    /// Starts within one grain (nanoseconds) share an entry, which carries the time of
    /// the last of them: the window may open a grain late, never early.
    grain: u64,
    starts: VecDeque<(Moment, u32)>,
    count: u64,
}

impl Window {
    pub(super) fn new(limit: Limit) -> Self {
        let mut window = Self {
            limit,
            grain: 1,
            starts: VecDeque::new(),
            count: 0,
        };
        window.set(limit);
        window
    }

    /// Another limit; the starts that were stay known.
    pub(super) fn set(&mut self, limit: Limit) {
        self.limit = Limit {
            runs: limit.runs.max(1),
            per: limit.per,
        };
        self.grain = 1;
        if limit.runs > ENTRIES {
            let nanos = u64::try_from(limit.per.as_nanos()).unwrap_or(u64::MAX);
            self.grain = (nanos / u64::from(ENTRIES)).max(1);
        }
    }

    pub(super) fn limit(&self) -> Limit {
        self.limit
    }

    /// True when one more run may start.
    pub(super) fn is_free(&mut self, now: Moment) -> bool {
        while let Some(&(at, starts)) = self.starts.front() {
            if at + self.limit.per > now {
                break;
            }
            self.starts.pop_front();
            self.count -= u64::from(starts);
        }
        if self.starts.is_empty() && self.starts.capacity() > 64 {
            self.starts = VecDeque::new(); // a flood is over
        }
        self.count < u64::from(self.limit.runs)
    }

    /// A run starts.
    pub(super) fn start(&mut self, now: Moment) {
        self.count += 1;
        match self.starts.back_mut() {
            Some((at, starts)) if at.0 / self.grain == now.0 / self.grain => {
                *at = now;
                *starts += 1;
            }
            _ => self.starts.push_back((now, 1)),
        }
    }

    /// The run that was to start at `at` did not.
    pub(super) fn forget(&mut self, at: Moment) {
        let grain = self.grain;
        let Some(found) = self
            .starts
            .iter()
            .rposition(|e| e.0.0 / grain == at.0 / grain)
        else {
            return;
        };
        self.count -= 1;
        self.starts[found].1 -= 1;
        if self.starts[found].1 == 0 {
            self.starts.remove(found);
        }
    }

    /// When the window will have room again.
    pub(super) fn free_at(&self) -> Moment {
        let limit = u64::from(self.limit.runs);
        let mut count = self.count;
        for &(at, starts) in &self.starts {
            count -= u64::from(starts);
            if count < limit {
                return at + self.limit.per;
            }
        }
        Moment(0)
    }

    /// Starts in the window.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How long ago the oldest of them was.
    pub(super) fn span(&self, now: Moment) -> Duration {
        self.starts.front().map_or(Duration::ZERO, |e| now - e.0)
    }
}

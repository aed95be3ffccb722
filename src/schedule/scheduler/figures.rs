//! What may be asked of the scheduler: how much waits and runs, and what became of
//! all it was given. Nothing here changes it.

use super::Scheduler;
use crate::event::{Event, LineId};
use crate::schedule::Counters;
use crate::schedule::line::Line;

impl Scheduler {
    /// True when nothing waits and nothing runs.
    pub fn idle(&self) -> bool {
        self.slots.running.is_empty()
            && self.notes.is_empty()
            && self.lines.values().all(Line::idle)
    }

    /// Runs that have not ended, and starts not yet fetched.
    pub fn running(&self) -> usize {
        self.slots.running.len()
    }

    /// Events that have had no run yet.
    pub fn waiting(&self) -> usize {
        self.lines.values().map(Line::waiting).sum()
    }

    /// Calls `each` with every event of a line that waits, be it to settle, in a
    /// batch, for its turn or for a retry; and with those of starts not yet fetched.
    pub fn each_waiting(&self, line: LineId, each: &mut dyn FnMut(&Event)) {
        if let Some(state) = self.lines.get(&line) {
            state.each_waiting(each);
            let starts = self.slots.running.values();
            let granted = starts.filter(|start| start.line == line && !start.fetched);
            for start in granted {
                start
                    .work
                    .events
                    .as_slice()
                    .iter()
                    .for_each(|event| each(event));
            }
        }
    }

    /// Figures of a line; all zero for one that is not there.
    pub fn counters(&self, line: LineId) -> Counters {
        self.lines
            .get(&line)
            .map_or_else(Counters::default, |state| Counters {
                waiting: state.waiting() as u64,
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
}

//! The way of an event through a worker: from the source to the lines that want
//! it, and from there to the scheduler or a stream.

use std::io;
use std::rc::Rc;

use super::engine::{Engine, TABLE};
use super::providers::Providers;
use crate::event::{Event, LineId, LineIds};
use crate::time::Moment;
use crate::watch::{self, Source, Sources};

impl Engine {
    /// Lets the source report, and acts on what it does.
    pub(super) fn report<T>(
        &mut self,
        ask: impl FnOnce(&mut Sources, Moment, &mut Vec<watch::Report>) -> T,
    ) -> T {
        let mut reports = std::mem::take(&mut self.reports);
        let answer = ask(&mut self.source, self.clock.now(), &mut reports);
        self.take_reports(&mut reports);
        self.reports = reports;
        answer
    }

    pub(super) fn read_source(&mut self) -> io::Result<bool> {
        self.report(|source, now, reports| source.read(now, reports))
    }

    /// Reads until the queue is empty, so that nothing which has happened
    /// before this call is still unknown after it.
    pub(super) fn drain_source(&mut self) -> io::Result<()> {
        // A writer that never stops cannot hold us here.
        for _ in 0..64 {
            if !self.read_source()? {
                break;
            }
        }
        for _ in 0..64 {
            if !self.report(|source, now, reports| source.drain_fanotify(now, reports))? {
                break;
            }
        }
        Ok(())
    }

    /// What other threads have found: polled changes, and the past.
    pub(super) fn read_woken(&mut self) -> io::Result<()> {
        self.report(|source, now, reports| source.woken(now, reports));
        self.hear_keeper()
    }

    pub(super) fn take_reports(&mut self, reports: &mut Vec<watch::Report>) {
        let now = self.clock.now();
        for report in reports.drain(..) {
            match report {
                watch::Report::Event(lines, event) => self.event(&lines, &event, now),
                watch::Report::Problem(line, problem) => {
                    if Providers::owns(line) {
                        self.provided_problem(line, &problem);
                    } else if let Some(served) = self.lines.get(line) {
                        self.view.problem(served, &problem);
                    }
                }
            }
        }
    }

    pub(super) fn event(&mut self, lines: &LineIds, event: &Rc<Event>, now: Moment) {
        let mut wanting = std::mem::take(&mut self.wanting);
        self.lines.wanting(lines, event, &mut wanting);
        for line in wanting.drain(..) {
            if line == TABLE {
                self.reload_followed();
            } else if Providers::owns(line) {
                self.provided(line, event, now);
            } else if !self.catch_up.hears(line, event, now) && self.lines.given(line, event) {
                self.catch_up.told(line, event);
                self.status.events += 1;
                self.hand_on(line, Rc::clone(event), now);
            }
        }
        self.wanting = wanting;
    }

    /// To the stream of its line, or to the scheduler. A stream line that
    /// settles goes through the scheduler first.
    pub(super) fn hand_on(&mut self, line: LineId, event: Rc<Event>, now: Moment) {
        let served = self.lines.get(line);
        match served.filter(|served| served.streams_at_once()) {
            Some(served) => {
                self.view.streamed(served, &event);
                self.streams.push(line, served, &event);
            }
            None => self.scheduler.event(line, event, now),
        }
    }
}

//! The runs of a worker: started when the scheduler says so, and heard of when
//! they print something or end.

use std::io;
use std::rc::Rc;

use super::engine::Engine;
use super::job;
use super::view::{End, RunInfo};
use crate::event::{Event, LineId};
use crate::run::{self, StartError};
use crate::schedule::{Action, RunId};
use crate::time::Moment;
use crate::watch::Problem;

impl Engine {
    pub(super) fn read_runner(&mut self) -> io::Result<()> {
        let mut ended = std::mem::take(&mut self.ended);
        self.runner.process(self.clock.now(), &mut ended);
        if ended
            .iter()
            .any(|report| matches!(report, run::Report::Ended { .. }))
        {
            // What a command did itself is known before its end is: IN_NO_LOOP.
            self.drain_source()?;
        }
        let now = self.clock.now();
        for report in ended.drain(..) {
            self.run_report(report, now);
        }
        self.ended = ended;
        Ok(())
    }

    fn run_report(&mut self, report: run::Report, now: Moment) {
        match report {
            run::Report::Output(run, text) => self.output(run, &text),
            run::Report::Ended {
                run,
                pid,
                outcome,
                duration,
                killed,
                ..
            } => {
                if self.streams.ended(run, pid, (outcome, duration), now) {
                    return;
                }
                let success = outcome.success();
                self.status.failed += u64::from(!success);
                self.scheduler.finished(run, success, now);
                if let Some((line, info)) = self.active.remove(&run) {
                    self.lines.ended(line, run, outcome, duration);
                    let end = End {
                        outcome,
                        duration,
                        killed,
                    };
                    self.view.ended(&info, end);
                }
            }
        }
    }

    fn output(&mut self, run: RunId, text: &[u8]) {
        if let Some((_, info)) = self.active.get(&run) {
            return self.view.output(Some(info), text);
        }
        let line = self.streams.line_of(run);
        match line.and_then(|line| self.lines.get(line)) {
            Some(served) => self.view.stream_output(served, text),
            None => self.view.output(None, text),
        }
    }

    /// Starts streams, writes to them, and says what became of them.
    pub(super) fn serve_streams(&mut self) {
        self.streams.process(self.clock.now(), &mut self.runner);
        for (line, told) in self.streams.take_told() {
            let Some(served) = self.lines.get(line) else {
                continue;
            };
            if told.failed {
                let (message, serious) = (told.text, true);
                self.view.problem(served, &Problem { message, serious });
            } else {
                self.view.notice(served, &told.text);
            }
        }
    }

    pub(super) fn start_ready(&mut self) {
        let now = self.clock.now();
        while let Some(action) = self.scheduler.next(now) {
            match action {
                Action::Start {
                    run,
                    line,
                    events,
                    attempt,
                } => {
                    self.start(run, line, events, attempt, now);
                }
                Action::Kill { run, .. } => self.runner.kill(run, now),
                Action::Notice(line, text) => {
                    if let Some(served) = self.lines.get(line) {
                        self.view.notice(served, &text);
                    }
                }
            }
        }
    }

    fn start(
        &mut self,
        run: RunId,
        line: LineId,
        events: Vec<Rc<Event>>,
        attempt: u32,
        now: Moment,
    ) {
        let Some(served) = self.lines.get(line) else {
            self.scheduler.finished(run, true, now);
            return;
        };
        if served.line.options.stream {
            for event in &events {
                self.view.streamed(served, event);
                self.streams.push(line, served, event);
            }
            self.scheduler.finished(run, true, now);
            return;
        }
        let job = job::build(served, &events, &self.settings);
        match self.runner.start(run, &job, now) {
            Ok(pid) => {
                self.status.runs += 1;
                let info = RunInfo::new(run, pid, served, &job, attempt);
                self.view.started(&info, served, &events);
                self.active.insert(run, (line, info));
                self.lines.started(line, run, pid);
                if let Some(actors) = &*self.source.actors() {
                    actors.began(pid, line);
                }
            }
            Err(error) if StartError::of(&error).is_some_and(StartError::is_temporary) => {
                self.view.not_started(served, &error, true);
                self.scheduler.postpone(run, now);
            }
            Err(error) => {
                self.status.failed += 1;
                self.view.not_started(served, &error, false);
                self.scheduler.finished(run, false, now);
            }
        }
    }
}

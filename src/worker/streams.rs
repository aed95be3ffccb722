//! Lines with `run=stream`: which of them share one process, and what is left
//! of their work when they go.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;

use super::job;
use super::lines::Served;
use super::protocol::{Settings, StreamFigures};
use super::status::Run;
use crate::event::{Event, LineId};
use crate::run::stream::{Limits, StreamId, Streams, Told};
use crate::run::{Job, Outcome, Runner};
use crate::schedule::{RunId, key};
use crate::time::Moment;

/// The streams of a worker, by the lines that feed them.
pub struct StreamLines {
    streams: Streams,
    by_line: HashMap<LineId, StreamId>,
    open: BTreeMap<StreamId, Open>,
    /// Their last line is gone; they end when they have read what they were given.
    closing: Vec<StreamId>,
    /// How many processes have ended, and of them not with 0.
    ended: (u64, u64),
    /// Events that no process had read when their last line went.
    removed: u64,
    /// For one event's JSON, used again and again.
    text: String,
}

/// A stream that lines feed: those of one table with equal commands share it.
struct Open {
    table: Rc<str>,
    job: Job,
    lines: u32,
    ends: Ends,
}

/// How the processes of a stream have ended.
#[derive(Default)]
pub struct Ends {
    /// How many have.
    pub count: u64,
    /// Of them, not with 0.
    pub failed: u64,
    /// The latest.
    pub last: Option<Run>,
}

impl StreamLines {
    /// None yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            streams: Streams::new()?,
            by_line: HashMap::new(),
            open: BTreeMap::new(),
            closing: Vec::new(),
            ended: (0, 0),
            removed: 0,
            text: String::new(),
        })
    }

    /// To be polled for reading: a process can take more.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.streams.fd()
    }

    /// A line with `run=stream` begins.
    pub fn add(&mut self, line: LineId, served: &Served, settings: &Settings, now: Moment) {
        if self.by_line.contains_key(&line) {
            return;
        }
        let job = job::build(served, &[], settings);
        let same = self
            .open
            .iter_mut()
            .find(|(_, open)| open.table == served.table && open.job == job);
        let id = match same {
            Some((id, open)) => {
                open.lines += 1;
                *id
            }
            None => {
                let id = self.streams.open(job.clone(), Limits::default(), now);
                let open = Open {
                    table: Rc::clone(&served.table),
                    job,
                    lines: 1,
                    ends: Ends::default(),
                };
                self.open.insert(id, open);
                id
            }
        };
        self.by_line.insert(line, id);
    }

    /// A line ends; its process, too, when no other line feeds it.
    pub fn remove(&mut self, line: LineId, grace: Duration, now: Moment) {
        let Some(id) = self.by_line.remove(&line) else {
            return;
        };
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        open.lines -= 1;
        if open.lines == 0 {
            self.open.remove(&id);
            self.streams.close(id, grace, now);
            self.closing.push(id);
        }
    }

    /// Gives an event to the process of its line.
    pub fn push(&mut self, line: LineId, served: &Served, event: &Event) {
        let Some(id) = self.by_line.get(&line) else {
            return;
        };
        self.text.clear();
        event.write_json(&served.context(), &mut self.text);
        self.streams
            .push(*id, self.text.as_bytes(), key(event).as_bytes());
    }

    /// Starts what is due and writes what there is room for.
    pub fn process(&mut self, now: Moment, runner: &mut Runner) {
        if self.open.is_empty() && self.closing.is_empty() {
            return;
        }
        self.streams.process(now, runner);
        let (streams, removed) = (&mut self.streams, &mut self.removed);
        self.closing.retain(|id| {
            let over = streams.is_over(*id);
            if over {
                let unread = streams.remove(*id).len();
                *removed += unread as u64;
                if unread > 0 {
                    log::warn!(
                        "the line of a stream is gone: {unread} events were not read by its command"
                    );
                }
            }
            !over
        });
    }

    /// What is to be told, each with a line that feeds the stream.
    pub fn take_told(&mut self) -> Vec<(LineId, Told)> {
        let told = self.streams.take_told();
        let fed = |told: Told| Some((*self.lines_of(told.stream).first()?, told));
        told.into_iter().filter_map(fed).collect()
    }

    /// A line that feeds the stream of which the run is a life.
    pub fn line_of(&self, run: RunId) -> Option<LineId> {
        let stream = self.streams.of(run)?;
        self.lines_of(stream).first().copied()
    }

    /// Events that were dropped with their lines.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// When `process` wants to be called.
    pub fn deadline(&self) -> Option<Moment> {
        self.streams.deadline()
    }

    /// True when the run was a life of a stream, which now knows of its end.
    pub fn ended(&mut self, run: RunId, pid: i32, end: (Outcome, Duration), now: Moment) -> bool {
        let Some(id) = self.streams.of(run) else {
            return false;
        };
        self.streams.ended(run, end.0, now);
        self.ended.0 += 1;
        self.ended.1 += u64::from(!end.0.success());
        if let Some(open) = self.open.get_mut(&id) {
            open.ends.count += 1;
            open.ends.failed += u64::from(!end.0.success());
            open.ends.last = Some(Run::ended(run, pid, end));
        }
        true
    }

    /// The figures of the stream that a line feeds, whether it has a process, and
    /// how its processes ended.
    pub fn figures(&self, line: LineId) -> Option<(StreamFigures, bool, &Ends)> {
        let id = *self.by_line.get(&line)?;
        let open = self.open.get(&id)?;
        let (counts, waiting) = self.streams.counts(id)?;
        let figures = StreamFigures {
            lines: open.lines,
            merged: counts.merged,
            lost: counts.lost,
            again: counts.again,
            waiting: waiting as u64,
        };
        Some((figures, self.streams.is_running(id), &open.ends))
    }

    /// A stop: end of file for all.
    pub fn close_all(&mut self, grace: Duration, now: Moment) {
        self.streams.close_all(grace, now);
    }

    /// After a stop: the JSON lines that no process has read, of each stream, and
    /// the lines of tables that feed it.
    pub fn unread(&mut self) -> Vec<(Vec<LineId>, Vec<Vec<u8>>)> {
        let ids: Vec<StreamId> = self.open.keys().copied().collect();
        let unread = |id| (self.lines_of(id), self.streams.remove(id));
        ids.into_iter().map(unread).collect()
    }

    fn lines_of(&self, stream: StreamId) -> Vec<LineId> {
        let feeds = self.by_line.iter().filter(|(_, id)| **id == stream);
        let mut lines: Vec<LineId> = feeds.map(|(line, _)| *line).collect();
        lines.sort_unstable();
        lines
    }

    /// Whether an event of the line, or of one that shares its process, waits.
    pub fn waits(&self, line: LineId) -> bool {
        let counts = self
            .by_line
            .get(&line)
            .and_then(|id| self.streams.counts(*id));
        counts.is_some_and(|(_, waiting)| waiting > 0)
    }

    /// Processes started, and of them ended with another status than 0.
    pub fn runs(&self) -> (u64, u64) {
        (self.ended.0 + self.running() as u64, self.ended.1)
    }

    /// How many have a process.
    pub fn running(&self) -> usize {
        let ids = self.open.keys().chain(&self.closing);
        ids.filter(|id| self.streams.is_running(**id)).count()
    }

    /// Events that wait for a process to read them.
    pub fn waiting(&self) -> u64 {
        let counts = self.open.keys().filter_map(|id| self.streams.counts(*id));
        counts.map(|(_, waiting)| waiting as u64).sum()
    }
}

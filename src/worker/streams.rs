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
use super::protocol::Settings;
use crate::event::{Event, LineId};
use crate::run::stream::{Limits, StreamId, Streams};
use crate::run::{Job, Outcome, Runner};
use crate::schedule::RunId;
use crate::time::Moment;

/// The streams of a worker, by the lines that feed them.
pub struct StreamLines {
    streams: Streams,
    by_line: HashMap<LineId, StreamId>,
    /// Open streams: their table and command (equal ones share a process), and
    /// how many lines feed each.
    open: BTreeMap<StreamId, (Rc<str>, Job, usize)>,
    /// Their last line is gone; they end when they have read what they were given.
    closing: Vec<StreamId>,
    /// For one event's JSON, used again and again.
    text: String,
}

impl StreamLines {
    /// None yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            streams: Streams::new()?,
            by_line: HashMap::new(),
            open: BTreeMap::new(),
            closing: Vec::new(),
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
            .find(|(_, (table, known, _))| *table == served.table && *known == job);
        let id = match same {
            Some((id, (_, _, lines))) => {
                *lines += 1;
                *id
            }
            None => {
                let id = self.streams.open(job.clone(), Limits::default(), now);
                self.open.insert(id, (Rc::clone(&served.table), job, 1));
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
        let Some((_, _, lines)) = self.open.get_mut(&id) else {
            return;
        };
        *lines -= 1;
        if *lines == 0 {
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
            .push(*id, self.text.as_bytes(), event.target().as_bytes());
    }

    /// Starts what is due and writes what there is room for.
    pub fn process(&mut self, now: Moment, runner: &mut Runner) {
        if self.open.is_empty() && self.closing.is_empty() {
            return;
        }
        self.streams.process(now, runner);
        let streams = &mut self.streams;
        self.closing.retain(|id| {
            let over = streams.is_over(*id);
            if over {
                let unread = streams.remove(*id).len();
                if unread > 0 {
                    log::warn!("stream: its line is gone, {unread} events were not read");
                }
            }
            !over
        });
    }

    /// When `process` wants to be called.
    pub fn deadline(&self) -> Option<Moment> {
        self.streams.deadline()
    }

    /// True when the run was a life of a stream, which now knows of its end.
    pub fn ended(&mut self, run: RunId, outcome: Outcome, now: Moment) -> bool {
        self.streams.ended(run, outcome, now)
    }

    /// A stop: end of file for all.
    pub fn close_all(&mut self, grace: Duration, now: Moment) {
        self.streams.close_all(grace, now);
    }

    /// After a stop: the JSON lines that no process has read.
    pub fn unread(&mut self) -> Vec<Vec<u8>> {
        let ids: Vec<StreamId> = self.open.keys().copied().collect();
        ids.into_iter()
            .flat_map(|id| self.streams.remove(id))
            .collect()
    }

    /// Whether an event of the line, or of one that shares its process, waits.
    pub fn waits(&self, line: LineId) -> bool {
        let counts = self.by_line.get(&line).and_then(|id| self.streams.counts(*id));
        counts.is_some_and(|(_, waiting)| waiting > 0)
    }

    /// Events that wait for a process to read them.
    pub fn waiting(&self) -> u64 {
        let counts = self.open.keys().filter_map(|id| self.streams.counts(*id));
        counts.map(|(_, waiting)| waiting as u64).sum()
    }
}

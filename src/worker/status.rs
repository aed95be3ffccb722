//! What an operator may ask a worker: its figures, and those of each line.
//!
//! Nothing is gathered until somebody asks; on the way of an event there are
//! only counters. Lines are told in pages that fit a packet, so that neither
//! end ever holds all of them.

use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::engine::Engine;
use super::lines::Served;
use super::protocol::{FanotifyFigures, LastRun, LineFigures, LineState, MAX_PACKET, Page, Status};
use crate::event::{self, LineId};
use crate::run::Outcome;
use crate::schedule::RunId;
use crate::watch::Coverage;
use crate::watch::actor::Actors;
use crate::watch::fanotify::Figures;

/// What a page's lines may take of a packet; the rest is for what is around them.
const PAGE: usize = MAX_PACKET - 1024;
/// No path that a file system knows is longer (`PATH_MAX`), in bytes.
const MAX_PATH: usize = 4096;
/// Of any other text of a line, in bytes.
const MAX_TEXT: usize = 1024;

/// What a worker remembers of a line, beside what its scheduler counts.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Events that its filters wanted.
    pub events: u64,
    /// Events that `by=` or `exe=` might have wanted, of actors that were not known.
    pub unknown: u64,
    /// Commands started.
    pub runs: u64,
    /// The latest of them.
    pub last: Option<Run>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Which.
    pub run: RunId,
    pid: i32,
    since: SystemTime,
    /// How it ended, and after how long.
    pub end: Option<(Outcome, Duration)>,
}

impl Run {
    /// Started just now.
    pub fn started(run: RunId, pid: i32) -> Self {
        Self {
            run,
            pid,
            since: SystemTime::now(),
            end: None,
        }
    }

    /// Ended just now.
    pub fn ended(run: RunId, pid: i32, end: (Outcome, Duration)) -> Self {
        let now = SystemTime::now();
        Self {
            run,
            pid,
            since: now.checked_sub(end.1).unwrap_or(now),
            end: Some(end),
        }
    }

    fn told(&self) -> LastRun {
        let (exit, signal) = match self.end {
            Some((Outcome::Exited(code), _)) => (Some(code), None),
            Some((Outcome::Signaled(number), _)) => (None, Some(number)),
            None => (None, None),
        };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        LastRun {
            time: event::rfc3339(self.since),
            pid: self.pid,
            exit,
            signal,
            milliseconds: self.end.map(|(_, duration)| millis(duration)),
        }
    }
}

impl Engine {
    /// The figures of this worker.
    pub(super) fn status(&self) -> Status {
        let source = self.source.figures();
        let (runs, failed) = self.streams.runs();
        let (providers, all_providers) = self.providers.figures();
        Status {
            tables: self.lines.tables() as u32,
            lines: self.lines.len() as u32,
            watches: source.watches as u64,
            overflows: source.overflows,
            rescans: source.rescans,
            runs: self.status.runs + runs,
            failed: self.status.failed + failed,
            running: self.runner.running() as u64,
            waiting: self.scheduler.waiting() as u64 + self.streams.waiting(),
            removed: self.scheduler.totals().removed + self.streams.removed(),
            providers,
            all_providers,
            actors: self.source.actors().as_ref().map(Actors::figures),
            fanotify: self.source.fanotify_figures().map(fanotify),
            ..self.status.clone()
        }
    }

    /// The figures of the lines after `after`, as many as a packet holds.
    ///
    /// # Errors
    /// None in practice: figures that cannot be written as JSON.
    pub(super) fn page(&self, after: u32) -> serde_json::Result<Page> {
        let mut page = Page {
            after,
            lines: Vec::new(),
            more: false,
        };
        let mut room = PAGE;
        for id in self.lines.ids_after(LineId(after)) {
            let Some(served) = self.lines.get(id) else {
                continue;
            };
            let figures = self.figures(id, served);
            let size = serde_json::to_vec(&figures)?.len() + 1;
            if size > room {
                page.more = true;
                break;
            }
            room -= size;
            page.lines.push(figures);
        }
        Ok(page)
    }

    fn figures(&self, id: LineId, served: &Served) -> LineFigures {
        let counters = self.scheduler.counters(id);
        let (state, reason) = match served.line.path.provider() {
            Some((name, _)) => self.provided_state(id, name),
            None => state(self.source.coverage(id)),
        };
        let path = served.line.path.written.as_bytes();
        let path = path.get(..MAX_PATH).unwrap_or(path);
        let running = self.active.values().filter(|(line, _)| *line == id).count();
        let mut figures = LineFigures {
            id: id.0,
            table: bounded(&served.table),
            line: served.line.number,
            key: bounded(served.key()),
            path: String::from_utf8_lossy(path).into_owned(),
            path_raw: std::str::from_utf8(path)
                .is_err()
                .then(|| BASE64.encode(path)),
            mask: served.line.mask.written(),
            state,
            reason: reason.as_deref().map(bounded),
            events: served.record.events,
            runs: served.record.runs,
            running: running as u64,
            failed: counters.failed,
            retried: counters.retried,
            abandoned: counters.abandoned,
            restarted: counters.restarted,
            waiting: counters.waiting,
            merged: counters.merged,
            skipped: counters.skipped,
            looped: counters.looped,
            unknown: served.record.unknown,
            waited: counters.waited,
            slowed: counters.slowed,
            postponed: counters.postponed,
            stream: None,
            last: served.record.last.as_ref().map(Run::told),
        };
        if let Some((stream, running, ends)) = self.streams.figures(id) {
            figures.running = u64::from(running);
            figures.runs = ends.count + figures.running;
            figures.failed = ends.failed;
            figures.last = ends.last.as_ref().map(Run::told);
            figures.stream = Some(stream);
        }
        figures
    }
}

fn fanotify(figures: Figures) -> FanotifyFigures {
    FanotifyFigures {
        marks: figures.marks as u64,
        handles: figures.handles as u64,
        records: figures.records,
        foreign: figures.foreign,
        delays: figures.delays,
        hushed: figures.hushed as u64,
        stale: figures.stale,
    }
}

fn state(coverage: Option<Coverage>) -> (LineState, Option<String>) {
    match coverage {
        None | Some(Coverage::Served) => (LineState::Served, None),
        Some(Coverage::Waiting) => (LineState::Waiting, None),
        Some(Coverage::Partly(why)) => (LineState::Partly, Some(why)),
        Some(Coverage::Unwatched(why)) => (LineState::Unwatched, Some(why)),
        Some(Coverage::Spent) => (LineState::Spent, None),
    }
}

/// The start of a text; no character is cut.
fn bounded(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

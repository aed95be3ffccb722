//! `catch-up=`: lines that are told, too, what happened while nothing served
//! them. What must hold stands in `state`; this is the loop's part of it.
//!
//! Beside each such line the sources serve a line of our own that asks for every
//! change of the same path: what the line asked for is only a part of what the
//! state must follow.

mod past;
mod writing;

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use crate::event::{Event, LineId};
use crate::state::{Job, Keeper, Mark, Marks, Reply, WatchId, key};
use crate::table::{Filter, Mask};
use crate::time::Moment;
use crate::watch::snapshot::Spec;
use crate::watch::{Report, Request, Source, Waker};

/// Our own lines have numbers from here on.
const OWN: u32 = 1 << 31;
/// Every change of what the state holds.
const CHANGES: Mask = Mask(
    Mask::CREATE.0
        | Mask::DELETE.0
        | Mask::MOVE.0
        | Mask::MODIFY.0
        | Mask::CLOSE_WRITE.0
        | Mask::ATTRIB.0,
);
/// What was touched is written down this often.
const EVERY: Duration = Duration::from_secs(1);
/// Where all of it still waits for its command, at last this seldom.
const SELDOM: Duration = Duration::from_secs(60);
/// The thread is waited for no longer, at a stop or an edit of a table.
const PATIENCE: Duration = Duration::from_secs(5);

/// One remembered path and the lines on it.
struct Watched {
    spec: Arc<Spec>,
    key: Vec<u8>,
    lines: Vec<LineId>,
    /// Its past has been told.
    caught_up: bool,
    marks: Marks,
}

/// All of a worker.
#[derive(Default)]
pub(super) struct CatchUp {
    path: Option<PathBuf>,
    keeper: Option<Keeper>,
    watches: HashMap<WatchId, Watched>,
    by_key: HashMap<Vec<u8>, WatchId>,
    by_line: HashMap<LineId, WatchId>,
    last: u32,
    /// What lines on a path whose past is not told yet were told of its present.
    told: HashMap<LineId, HashMap<Box<[u8]>, Mask>>,
    /// What the thread is at.
    flight: Option<HashMap<WatchId, Marks>>,
    /// Some of what was looked at last must be looked at again, in the next tick of
    /// the clock that stamps files.
    fresh: bool,
    next: Option<Moment>,
    pause: Duration,
    /// All tables are loaded and saved work is taken up.
    begun: bool,
    early: Vec<Reply>,
}

impl CatchUp {
    /// With its file; None: nothing is remembered here.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            pause: EVERY,
            ..Self::default()
        }
    }

    /// When something is to be written down.
    pub fn deadline(&self) -> Option<Moment> {
        self.next
    }

    /// The past of every line has been told.
    pub fn caught_up(&self) -> bool {
        self.watches.values().all(|watched| watched.caught_up)
    }

    /// The thread has something to say that is waited for: without it, what was
    /// told since could not be written down.
    fn is_busy(&self) -> bool {
        self.flight.is_some() || self.begun && self.keeper.is_some() && !self.caught_up()
    }

    /// True for an event of one of our own lines: it is nobody else's.
    pub fn hears(&mut self, line: LineId, event: &Event, now: Moment) -> bool {
        if line.0 & OWN == 0 {
            return false;
        }
        if let Some(watched) = self.watches.get_mut(&WatchId(line.0 & !OWN)) {
            watched.marks.event(&watched.spec, event);
            self.wake_up(now);
        }
        true
    }

    /// A line is told of an event: not again from the past.
    pub fn told(&mut self, line: LineId, event: &Event) {
        if self.told.is_empty() {
            return;
        }
        if let Some(told) = self.told.get_mut(&line) {
            let known = told.entry(event.target().as_bytes().into()).or_default();
            *known |= event.mask;
        }
    }

    fn wake_up(&mut self, now: Moment) {
        if self.flight.is_none() && self.next.is_none() {
            self.next = Some(now + EVERY);
        }
    }

    fn open(&mut self, waker: &Waker) {
        if let (None, Some(path)) = (&self.keeper, &self.path) {
            match Keeper::start(path.clone(), waker.clone()) {
                Ok(keeper) => self.keeper = Some(keeper),
                Err(error) => log::error!("catch-up= has no effect: no thread for it: {error}"),
            }
        }
    }

    fn ask(&self, job: Job) {
        if let Some(keeper) = &self.keeper {
            keeper.ask(job);
        }
    }

    fn end(&mut self, id: WatchId) {
        if let Some(watched) = self.watches.remove(&id) {
            self.by_key.remove(&watched.key);
        }
        self.ask(Job::End(id));
        if let Some(flight) = &mut self.flight {
            flight.remove(&id);
        }
    }
}

fn own(id: WatchId) -> LineId {
    LineId(id.0 | OWN)
}

impl Engine {
    /// Remembers what a line's path holds from here on, and asks what happened to
    /// it before. Comes just before the line itself is watched.
    pub(super) fn remember(&mut self, line: LineId, reports: &mut Vec<Report>) {
        let Some(served) = self
            .lines
            .get(line)
            .filter(|served| served.line.options.catch_up)
        else {
            return;
        };
        let request = served.request(line);
        let spec = Spec::new(&request, Filter::excluding(&request.exclude));
        let key = key(&spec, &served.line.options.exclude);
        self.catch_up.open(self.source.waker());
        if self.catch_up.keeper.is_none() {
            if self.catch_up.path.is_none() {
                self.view.notice(
                    served,
                    "catch-up= has no effect: nothing is remembered here",
                );
            }
            return;
        }
        let known = self.catch_up.by_key.get(&key).copied();
        if let Some((id, watched)) =
            known.and_then(|id| Some((id, self.catch_up.watches.get_mut(&id)?)))
        {
            // A line that is armed again is known already.
            if self.catch_up.by_line.insert(line, id).is_none() {
                watched.lines.push(line);
            }
            if !watched.caught_up {
                self.catch_up.told.entry(line).or_default();
            }
            return;
        }
        self.catch_up.last += 1;
        let id = WatchId(self.catch_up.last);
        let spec = Arc::new(spec);
        let flags = request.mask & (Mask::DONT_FOLLOW | Mask::ONLYDIR | Mask::EXCL_UNLINK);
        let request = Request {
            line: own(id),
            mask: CHANGES | flags,
            ..request
        };
        // Watched first: what happens from here on is heard of.
        self.source.add(request, reports);
        self.catch_up.told.entry(line).or_default();
        self.catch_up.by_key.insert(key.clone(), id);
        self.catch_up.by_line.insert(line, id);
        self.catch_up.watches.insert(
            id,
            Watched {
                spec: Arc::clone(&spec),
                key: key.clone(),
                lines: vec![line],
                caught_up: false,
                marks: Marks::default(),
            },
        );
        self.catch_up.ask(Job::Begin { id, key, spec });
    }

    /// A line goes.
    pub(super) fn unremember(&mut self, line: LineId) {
        let Some(id) = self.catch_up.by_line.remove(&line) else {
            return;
        };
        self.catch_up.told.remove(&line);
        let last = self
            .catch_up
            .watches
            .get(&id)
            .is_some_and(|watched| watched.lines.len() == 1);
        if last {
            // Its table may come back under another name, with the next order.
            self.write_down();
            self.source.remove(own(id));
            self.catch_up.end(id);
        } else if let Some(watched) = self.catch_up.watches.get_mut(&id) {
            watched.lines.retain(|other| *other != line);
        }
    }

    /// All tables are loaded, and saved work is taken up: the past may be told.
    pub(super) fn begin_catching_up(&mut self) -> io::Result<()> {
        self.catch_up.begun = true;
        self.catch_up.ask(Job::Loaded);
        for reply in std::mem::take(&mut self.catch_up.early) {
            self.hear(reply)?;
        }
        Ok(())
    }

    /// Takes what the thread has to say.
    pub(super) fn hear_keeper(&mut self) -> io::Result<()> {
        while let Some(reply) = self.catch_up.keeper.as_ref().and_then(Keeper::reply) {
            self.hear(reply)?;
        }
        Ok(())
    }

    fn hear(&mut self, reply: Reply) -> io::Result<()> {
        match reply {
            reply @ Reply::Compared { .. } if !self.catch_up.begun => {
                self.catch_up.early.push(reply)
            }
            Reply::Compared { id, found, at } => {
                // All that the look could have seen is heard of now.
                self.drain_source()?;
                match found {
                    Some(found) => self.tell_past(id, &found, at),
                    None => {
                        let mut except = self.waiting(id, None);
                        if let Some(watched) = self.catch_up.watches.get(&id) {
                            except.extend(watched.marks.paths.keys().cloned());
                        }
                        self.catch_up.ask(Job::Remember(id, except));
                    }
                }
            }
            Reply::Remembered(id, again) => {
                self.catch_up.fresh |= !again.is_empty();
                let again = again.into_iter().map(|path| (id, path, Mark::default()));
                self.put_back(again.collect());
                self.past_told(id);
            }
            Reply::Looked => self.commit()?,
            Reply::Committed(again) => {
                self.catch_up.flight = None;
                self.catch_up.fresh |= !again.is_empty();
                self.put_back(again);
                let now = self.clock.now();
                if self
                    .catch_up
                    .watches
                    .values()
                    .any(|watched| !watched.marks.is_empty())
                {
                    self.catch_up.wake_up(now);
                }
            }
        }
        Ok(())
    }

    fn put_back(&mut self, again: Vec<(WatchId, Box<[u8]>, Mark)>) {
        let now = self.clock.now();
        for (id, path, mark) in again {
            if let Some(watched) = self.catch_up.watches.get_mut(&id) {
                watched.marks.put_back(path, mark);
                self.catch_up.wake_up(now);
            }
        }
    }
}

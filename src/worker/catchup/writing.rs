//! When what was touched is written down, and what of it is not yet: paths whose
//! events still wait for their command.

use super::{EVERY, PATIENCE, SELDOM, Watched};
use crate::state::{Job, Marks, WatchId};
use crate::time::Moment;
use crate::worker::engine::Engine;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

impl Engine {
    /// Touched paths, `known` among them, of which an event still waits for its
    /// command; all of them while the process of a stream has some to read.
    pub(super) fn waiting(&self, id: WatchId, known: Option<&Marks>) -> HashSet<Box<[u8]>> {
        let mut all = HashSet::new();
        let Some(watched) = self.catch_up.watches.get(&id) else {
            return all;
        };
        for line in &watched.lines {
            if self.streams.waits(*line) {
                let touched = known.into_iter().chain([&watched.marks]);
                all.extend(touched.flat_map(|marks| marks.paths.keys().cloned()));
            }
            self.scheduler.each_waiting(*line, &mut |event| {
                let old = event
                    .old_path
                    .as_ref()
                    .map(|path| path.as_os_str().to_owned());
                for path in old.into_iter().chain([event.target()]) {
                    all.extend(watched.spec.relative(path.as_bytes()).map(Box::from));
                }
            });
        }
        all
    }

    /// Has the touched paths looked at. False: there is nothing to look at. `last`: there
    /// may be no later look.
    fn look(&mut self, last: bool) -> bool {
        self.catch_up.next = None;
        if self.catch_up.flight.is_some() {
            return false;
        }
        let ids: Vec<WatchId> = self.catch_up.watches.keys().copied().collect();
        let mut flight = HashMap::new();
        let mut held = false;
        for id in ids {
            let touched = |watched: &&Watched| watched.caught_up && !watched.marks.is_empty();
            if self.catch_up.watches.get(&id).filter(touched).is_none() {
                continue;
            }
            let waiting = self.waiting(id, None);
            let Some(watched) = self.catch_up.watches.get_mut(&id) else {
                continue;
            };
            let marks = watched.marks.take(&waiting, last);
            held |= !watched.marks.is_empty();
            if !marks.is_empty() {
                flight.insert(id, marks);
            }
        }
        if flight.is_empty() {
            if held {
                self.catch_up.next = Some(self.clock.now() + self.catch_up.pause);
                self.catch_up.pause = (self.catch_up.pause * 2).min(SELDOM);
            }
            return false;
        }
        self.catch_up.pause = EVERY;
        let job = flight
            .iter()
            .map(|(id, marks)| (*id, marks.clone()))
            .collect();
        self.catch_up.flight = Some(flight);
        self.catch_up.ask(Job::Look(job));
        true
    }

    /// The touched paths were looked at: what is not known to be told to its end
    /// by now is not written down.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        self.drain_source()?;
        let flight = self.catch_up.flight.take().unwrap_or_default();
        let mut except = HashMap::new();
        for (id, marks) in &flight {
            let mut held = self.waiting(*id, Some(marks));
            if let Some(watched) = self.catch_up.watches.get_mut(id) {
                held.extend(watched.marks.paths.keys().cloned());
                held.retain(|path| marks.paths.contains_key(path) || marks.moves(path));
                if held.iter().any(|path| marks.moves(path)) {
                    watched.marks.moved.extend(marks.moved.iter().cloned());
                }
                for (path, mark) in held
                    .iter()
                    .filter_map(|path| marks.paths.get_key_value(path))
                {
                    watched.marks.put_back(path.clone(), *mark);
                }
            }
            except.insert(*id, held);
        }
        self.catch_up.flight = Some(flight);
        self.catch_up.ask(Job::Commit(except));
        Ok(())
    }

    /// Does what was waiting for `deadline`.
    pub(in crate::worker) fn tick_catch_up(&mut self, now: Moment) {
        if self.catch_up.next.is_some_and(|at| at <= now) {
            self.look(false);
        }
    }

    /// Writes down all that can be, and waits until it is: at a stop, and when a
    /// line goes. What takes too long is told again at the next start.
    pub(in crate::worker) fn write_down(&mut self) {
        // After what is under way, all that is touched, and once more what changed
        // in the tick of that look.
        for _ in 0..3 {
            if !self.catch_up.is_busy() && !self.look(true) {
                return;
            }
            self.catch_up.fresh = false;
            let until = self.clock.now() + PATIENCE;
            while self.catch_up.is_busy() {
                let rest = until - self.clock.now();
                let Some(keeper) = &self.catch_up.keeper else {
                    return;
                };
                let Some(reply) = keeper.wait(rest) else {
                    return;
                };
                if self.hear(reply).is_err() {
                    return;
                }
            }
            if self.catch_up.fresh {
                // A tick of that clock lasts 10 ms at most (HZ=100); from Linux 6.13 on
                // it need not be waited for.
                std::thread::sleep(Duration::from_millis(11));
            }
        }
    }
}

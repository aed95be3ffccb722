//! How a process becomes another program. The program itself is read at once, for it
//! is gone as soon as the process is; the rest when no other message waits.

use std::sync::Arc;

use super::{Cache, GRAIN};
use crate::watch::actor::process::{Known, Process, Program, Reader, Reading, Rest};

/// Each holds a descriptor.
const MOST_BEGUN: usize = 64;

/// What /proc showed of a program as soon as it was known that it is executed.
#[derive(Debug)]
pub struct Look<F> {
    /// Before the look.
    now: u64,
    found: Option<(F, Program)>,
}

impl<F> Default for Look<F> {
    fn default() -> Self {
        let found = None;
        Self { now: 0, found }
    }
}

impl<F> Look<F> {
    /// Of the process that has this number.
    pub fn new(reader: &impl Reader<Found = F>, pid: i32) -> Self {
        let now = reader.now();
        let found = reader.open(pid);
        Self { now, found }
    }
}

/// One that has executed, of which only the program has been read yet.
pub(super) struct Begun<F> {
    pid: i32,
    at: u64,
    look: Look<F>,
}

impl<R: Reader> Cache<R> {
    /// Its program has been read, the rest is when there is time: `finish`.
    pub(super) fn exec(&mut self, pid: i32, at: u64, look: Look<R::Found>) {
        if self.knows(pid, at) {
            return;
        }
        if self.begun.len() >= MOST_BEGUN {
            self.finish();
        }
        self.begun.push_back(Begun { pid, at, look });
    }

    /// Finishes one process that has executed; false: there is none.
    pub fn finish_one(&mut self) -> bool {
        let begun = self.begun.pop_front();
        begun.map(|begun| self.executed(begun)).is_some()
    }

    /// Finishes all that have executed.
    pub(super) fn finish(&mut self) {
        while self.finish_one() {}
    }

    /// Finishes one, of which more is to be told.
    pub(super) fn finish_of(&mut self, pid: i32) {
        while self.begun.iter().any(|begun| begun.pid == pid) {
            self.finish_one();
        }
    }

    fn executed(&mut self, begun: Begun<R::Found>) {
        let Begun { pid, at, look } = begun;
        let Look { now, found } = look;
        let was = self.slots.get(&pid).map(|slot| slot.now.clone());
        let Some(was) = was else {
            // Its beginning was lost.
            self.read_executed(pid, at, None);
            return;
        };
        let sure = !was.guessed() && was.as_of >= self.gap && was.uid.is_some();
        if !sure && self.read_executed(pid, at, Some(&was)) {
            return;
        }
        let (program, rest) = match found {
            Some((found, program)) => {
                let rest = self.reader.rest(&found, Some(&was.image));
                (program, rest)
            }
            None => Default::default(),
        };
        let (as_of, mut reading) = match rest {
            Some(rest) if rest.start.abs_diff(was.start) <= GRAIN => {
                (now, Reading::new(program, rest))
            }
            // Another process has the number.
            Some(_) => (at, Reading::new(Program::default(), was.rest())),
            // Reaped meanwhile: the rest comes from its parent, as it does in the kernel.
            None => (at, Reading::new(program, was.rest())),
        };
        if sure {
            // The kernel has told of its user before it told of this, and will tell of
            // what comes after; what /proc says now may be of any later moment.
            (reading.rest.uid, reading.rest.gid) = (was.uid, was.gid);
        }
        let ids_as_of = if sure { was.ids_as_of } else { as_of };
        let known = match reading.whole && sure {
            true => Known::Exact,
            false => Known::Late,
        };
        let Rest {
            uid,
            gid,
            ns_pid,
            image,
            ..
        } = reading.rest;
        let next = Process {
            since: at,
            as_of,
            ids_as_of,
            uid: uid.or(was.uid),
            gid: gid.or(was.gid),
            ns_pid,
            image: Arc::new(image),
            known,
            inherited: !sure,
            ..was
        };
        self.put(pid, next);
    }

    /// One that has executed, of whose past nothing is sure: what it is now, all at one
    /// moment. False: it is gone, or is another than the one that `was`.
    fn read_executed(&mut self, pid: i32, at: u64, was: Option<&Process>) -> bool {
        let now = self.reader.now();
        let Some(reading) = self.reader.read(pid, None).filter(|reading| reading.whole) else {
            return false;
        };
        let start = reading.rest.start;
        let same = was.map_or(start <= self.reader.ticks(at), |was| {
            start.abs_diff(was.start) <= GRAIN
        });
        if !same {
            return false;
        }
        self.insert(pid, reading, now, Known::Exact);
        if let Some(slot) = self.slots.get_mut(&pid) {
            slot.now.since = at;
            if let Some(was) = was {
                // Its parent may be gone meanwhile.
                slot.now.ppid = was.ppid;
                slot.now.parents = Arc::clone(&was.parents);
                slot.now.run.clone_from(&was.run);
            }
        }
        true
    }
}

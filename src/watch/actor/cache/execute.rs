//! How a process becomes another program. The program itself was read at once, for it
//! is gone as soon as the process is; the rest is read now, or is as in its parent.

use std::sync::Arc;

use super::{Cache, GRAIN};
use crate::watch::actor::process::{Image, Known, Process, Program, Reader, Reading};

/// Children of a process that have executed and were looked at whole, until the next are
/// taken to be like it: who puts children into other cgroups or sessions does so with
/// each of them, or has other children first.
const TRIED: u32 = 8;
/// One of so many of those that follow is looked at all the same.
const TRIED_AGAIN: u32 = 16;

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

impl<R: Reader> Cache<R> {
    pub(super) fn exec(&mut self, pid: i32, at: u64, look: Look<R::Found>) {
        if self.knows(pid, at) {
            return;
        }
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
        let next = if sure && self.is_taken_to_be_like(&was, at, &look) {
            Self::like(&was, at, look)
        } else {
            self.looked_at(&was, at, look, sure)
        };
        self.put(pid, next);
    }

    /// Whether what a process, which has executed nothing before, has from its parent is
    /// still so without a look. Not where the look at its program came so late that it
    /// may have been at another process of the same number.
    fn is_taken_to_be_like(&mut self, was: &Process, at: u64, look: &Look<R::Found>) -> bool {
        let late = self.reader.ticks(look.now).abs_diff(self.reader.ticks(at)) > GRAIN;
        let Some((found, program)) = look.found.as_ref().filter(|_| !late) else {
            return false;
        };
        let parent = self.slots.get_mut(&was.ppid);
        let Some(parent) = parent.filter(|slot| Arc::ptr_eq(&slot.now.image, &was.image)) else {
            return false;
        };
        // Without a program it may have ended; a number of its own is to be looked up.
        if program.exe.is_none() || was.ns_pid.is_some() {
            return false;
        }
        if parent.alike >= TRIED && !parent.alike.is_multiple_of(TRIED_AGAIN) {
            parent.alike += 1;
            return true;
        }
        match self.reader.is_like(found, &was.image) {
            Some(true) => parent.alike = parent.alike.saturating_add(1),
            Some(false) => parent.alike = 0,
            None => {} // reaped: nothing can be read of it any more
        }
        parent.alike > 0
    }

    /// The same process with this program.
    fn like(was: &Process, at: u64, look: Look<R::Found>) -> Process {
        let program = look.found.map(|(_, program)| program).unwrap_or_default();
        let last = &*was.image;
        let image = Image {
            exe: program.exe,
            cmdline: program.cmdline,
            login_uid: last.login_uid,
            session: last.session,
            cgroup: last.cgroup.clone(),
            container: last.container.clone(),
            marks: last.marks,
        };
        Process {
            since: at,
            as_of: look.now,
            image: Arc::new(image),
            known: Known::Exact,
            inherited: false,
            ..was.clone()
        }
    }

    /// What /proc says of it now, as far as it is still there.
    fn looked_at(&self, was: &Process, at: u64, look: Look<R::Found>, sure: bool) -> Process {
        let Look { now, found } = look;
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
        let rest = reading.rest;
        Process {
            since: at,
            as_of,
            ids_as_of: if sure { was.ids_as_of } else { as_of },
            uid: rest.uid.or(was.uid),
            gid: rest.gid.or(was.gid),
            ns_pid: rest.ns_pid,
            image: Arc::new(rest.image),
            known: match reading.whole && sure {
                true => Known::Exact,
                false => Known::Late,
            },
            inherited: !sure,
            ..was.clone()
        }
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

//! What /proc shows of processes that no message has told of, or after a loss.

use std::sync::Arc;

use super::{Cache, GRAIN, Slot};
use crate::watch::actor::process::{Known, Process, Reader, Reading};

impl<R: Reader> Cache<R> {
    /// Looks at a process that began before there were messages.
    pub fn scan(&mut self, pid: i32) {
        if self.slots.contains_key(&pid) {
            return;
        }
        let at = self.reader.now();
        if let Some(reading) = self.reader.read(pid, None) {
            let known = if reading.whole {
                Known::Exact
            } else {
                Known::Late
            };
            self.insert(pid, reading, at, known);
        }
    }

    /// Ends those whose end was lost; to be called when no message waits.
    pub fn heal(&mut self) {
        let at = self.reader.now();
        let living = self.reader.pids();
        let gone = |(pid, slot): (&i32, &Slot)| {
            let gone = slot.ended.is_none() && living.binary_search(pid).is_err();
            gone.then_some(*pid)
        };
        for pid in self.slots.iter().filter_map(gone).collect::<Vec<_>>() {
            self.end(pid, at);
        }
    }

    /// With CLONE_PARENT a process has another parent than the one that made it, and
    /// the kernel names that other one: what it inherits is compared with what it is.
    /// Not when it begins: in the midst of an exec, /proc waits for the end of that.
    pub(super) fn look_once(&mut self, pid: i32) {
        let Some(slot) = self.slots.get_mut(&pid) else {
            return;
        };
        let guessed = slot.now.guessed();
        slot.now.inherited = guessed;
        let (at, ppid) = (slot.now.since, slot.now.ppid);
        let Some((_, program)) = self.reader.open(pid) else {
            return;
        };
        let other = program.exe.is_some() && program.exe != slot.now.image.exe;
        if guessed || other || slot.now.ns_pid.is_some() {
            self.read_child(pid, at, ppid);
        }
    }

    /// A process that no message has told of.
    pub(super) fn read_now(&mut self, pid: i32, when: u64) -> Option<Process> {
        let at = self.reader.now();
        let reading = self.reader.read(pid, None)?;
        if reading.rest.start > self.reader.ticks(when) {
            return None; // it began after what happened
        }
        self.insert_as_of(pid, reading, at, None);
        self.slots.get(&pid).map(|slot| slot.at(when))
    }

    /// A process that may have become another while messages were lost.
    pub(super) fn verify(&mut self, pid: i32, when: u64) -> Option<Process> {
        if self.find_again(pid, when) {
            return self.slots.get(&pid).map(|slot| slot.at(when));
        }
        // Gone. What was known of it may be out of date.
        self.slots.get(&pid).map(|slot| {
            let process = slot.at(when);
            let known = process.known.min(Known::Late);
            Process { known, ..process }
        })
    }

    /// Reads a process again; whether what is known of it now holds.
    pub(super) fn find_again(&mut self, pid: i32, when: u64) -> bool {
        let at = self.reader.now();
        let Some(reading) = self.reader.read(pid, None) else {
            return false;
        };
        let Some(slot) = self.slots.get_mut(&pid) else {
            self.insert_as_of(pid, reading, at, None);
            return true;
        };
        if reading.rest.start.abs_diff(slot.now.start) > GRAIN {
            let began = reading.rest.start <= self.reader.ticks(when);
            if began {
                self.insert_as_of(pid, reading, at, None);
            }
            return began;
        }
        let (old, new) = (&slot.now.image, &reading.rest.image);
        let same = (&old.exe, &old.cmdline) == (&new.exe, &new.cmdline);
        if same && slot.now.uid == reading.rest.uid {
            (slot.now.as_of, slot.now.ids_as_of) = (at, at);
            return true;
        }
        if !reading.whole {
            return false;
        }
        let was = slot.now.clone();
        let (parents, run) = (Arc::clone(&was.parents), was.run.clone());
        self.insert_as_of(pid, reading, at, Some(was));
        if let Some(slot) = self.slots.get_mut(&pid) {
            (slot.now.parents, slot.now.run) = (parents, run);
        }
        true
    }

    /// One that /proc has shown, of whose past no message has told: from now on it is
    /// known as it is. `before`: what it, and no other, was at some time.
    fn insert_as_of(&mut self, pid: i32, reading: Reading, at: u64, before: Option<Process>) {
        let known = if reading.whole {
            Known::Exact
        } else {
            Known::Number
        };
        self.insert(pid, reading, at, known);
        if let Some(slot) = self.slots.get_mut(&pid) {
            slot.now.since = at;
            slot.before = before.map(|was| {
                let known = was.known.min(Known::Late);
                Box::new(Process { known, ..was })
            });
        }
    }
}

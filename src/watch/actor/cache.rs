//! The processes of the machine, from the kernel's messages and from /proc.
//!
//! Pure: it is fed messages and asks a [`Reader`], so that any order of messages,
//! any loss and any reuse of a number can be simulated. Three rules keep two
//! processes apart:
//!
//! 1. A message that is not later than the last look at /proc tells nothing new.
//! 2. What /proc shows counts for a process only if it began when that one did.
//! 3. After a loss nothing is believed until it was looked at again.

mod begin;
mod execute;
mod look;

use std::collections::HashMap;
use std::sync::Arc;

use super::ended::{End, Ended};
use super::message::{Message, What};
use super::process::{Ancestor, Known, PARENTS, Process, Reader, Reading};
pub use execute::Look;

/// Clock ticks by which a message and /proc may differ about one process's start.
const GRAIN: u64 = 2;
/// Known processes, living and ended ones.
pub struct Cache<R: Reader> {
    reader: R,
    /// Whose children are runs of lines: the worker itself.
    own: i32,
    slots: HashMap<i32, Slot>,
    ended: Ended,
    /// The last moment at which messages were lost.
    gap: u64,
    /// Times that messages were lost.
    pub lost: u64,
}

struct Slot {
    now: Process,
    /// What had this number, or what this process was, before `now.since`.
    before: Option<Box<Process>>,
    /// What its children have above them.
    children: Option<Arc<[Ancestor]>>,
    /// Of its children that have executed, so many in a row were like it.
    alike: u32,
    /// Since when it is among the ended.
    ended: Option<u64>,
}

impl<R: Reader> Cache<R> {
    /// Empty; `own` is the process whose children are runs.
    pub fn new(reader: R, own: i32) -> Self {
        Self {
            reader,
            own,
            slots: HashMap::new(),
            ended: Ended::default(),
            gap: 0,
            lost: 0,
        }
    }

    /// The machine it reads.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// Processes known.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True where none is known.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes in what happened.
    pub fn tell(&mut self, message: Message) {
        let look = match message.what {
            What::Exec { pid } => Some(Look::new(&self.reader, pid)),
            _ => None,
        };
        self.tell_with(message, look);
    }

    /// The same; the program of one that has executed has been looked at.
    pub fn tell_with(&mut self, message: Message, look: Option<Look<R::Found>>) {
        let Message { at, what } = message;
        match what {
            What::Fork { parent, child } => self.fork(parent, child, at),
            What::Exec { pid } => self.exec(pid, at, look.unwrap_or_default()),
            What::Uid { pid, uid } => self.change(pid, at, |process| process.uid = Some(uid)),
            What::Gid { pid, gid } => self.change(pid, at, |process| process.gid = Some(gid)),
            What::Exit { pid } => self.exit(pid, at),
            What::Answer(_) => {}
        }
    }

    /// Messages were lost.
    pub fn tell_lost(&mut self) {
        self.lost += 1;
        self.gap = self.reader.now();
    }

    /// The process of this number as it was at the moment `when`, which is past.
    pub fn find(&mut self, pid: i32, when: u64) -> Option<Process> {
        let Some(slot) = self.slots.get(&pid) else {
            return self.read_now(pid, when);
        };
        if slot.now.as_of < self.gap {
            return self.verify(pid, when);
        }
        if slot.now.inherited && slot.ended.is_none() {
            self.look_once(pid);
        }
        self.slots.get(&pid).map(|slot| slot.at(when))
    }

    fn change(&mut self, pid: i32, at: u64, change: impl FnOnce(&mut Process)) {
        let slot = self.slots.get(&pid);
        if let Some(slot) = slot.filter(|slot| slot.now.ids_as_of < at) {
            let mut next = slot.now.clone();
            next.since = at; // as_of stays: nobody has looked
            change(&mut next);
            self.put(pid, next);
        }
    }

    fn exit(&mut self, pid: i32, at: u64) {
        // The kernel says so when the parent may have reaped it already: a process
        // of the same number that began after this moment is another.
        if !self.knows(pid, at) {
            self.end(pid, at);
        }
    }

    fn end(&mut self, pid: i32, at: u64) {
        if let Some(slot) = self.slots.get_mut(&pid).filter(|slot| slot.ended.is_none()) {
            slot.ended = Some(at);
            let image = &slot.now.image;
            // What it shares with others that live is not its own to pay for.
            let weight = image.weight() / Arc::strong_count(image).max(1);
            let slots = &mut self.slots;
            self.ended.push(End { pid, at, weight }, |end| {
                if slots
                    .get(&end.pid)
                    .is_some_and(|slot| slot.ended == Some(end.at))
                {
                    slots.remove(&end.pid);
                }
            });
        }
    }

    /// /proc was read after this moment.
    fn knows(&self, pid: i32, at: u64) -> bool {
        self.slots
            .get(&pid)
            .is_some_and(|slot| slot.now.as_of >= at)
    }

    fn put(&mut self, pid: i32, process: Process) {
        let before = self.slots.remove(&pid).map(|slot| Box::new(slot.now));
        let slot = Slot {
            now: process,
            before,
            children: None,
            alike: 0,
            ended: None,
        };
        self.slots.insert(pid, slot);
    }

    /// A process that /proc has shown.
    fn insert(&mut self, pid: i32, reading: Reading, at: u64, known: Known) {
        let (ppid, ended) = (reading.rest.ppid, reading.rest.ended);
        let mut process = Process::new(reading, at, known);
        let above = self.slots.get_mut(&ppid);
        let run = above.and_then(|slot| {
            process.parents = slot.parents_of_children(ppid);
            slot.now.run.clone()
        });
        process.run = self.run_of_child(ppid, run);
        self.put(pid, process);
        if ended {
            self.end(pid, at);
        }
    }
}

impl Slot {
    /// As it was at that moment.
    fn at(&self, when: u64) -> Process {
        if self.now.since <= when {
            return self.now.clone();
        }
        match &self.before {
            Some(before) if before.since <= when => (**before).clone(),
            // It has changed more than once meanwhile.
            _ => Process {
                known: self.now.known.min(Known::Late),
                ..self.now.clone()
            },
        }
    }

    /// What the children of this process have above them.
    fn parents_of_children(&mut self, pid: i32) -> Arc<[Ancestor]> {
        let image = &self.now.image;
        let parents = self.children.get_or_insert_with(|| {
            let own = Ancestor {
                pid,
                image: Arc::clone(image),
            };
            let above = self.now.parents.iter().take(PARENTS - 1).cloned();
            std::iter::once(own).chain(above).collect()
        });
        Arc::clone(parents)
    }
}

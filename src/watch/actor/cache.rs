//! The processes of the machine, from the kernel's messages and from /proc.
//!
//! Pure: it is fed messages and asks a [`Reader`], so that any order of messages,
//! any loss and any reuse of a number can be simulated. Three rules keep two
//! processes apart:
//!
//! 1. A message that is not later than the last look at /proc tells nothing new.
//! 2. What /proc shows counts for a process only if it began when that one did.
//! 3. After a loss nothing is believed until it was looked at again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::ended::{End, Ended};
use super::message::{Message, What};
use super::process::{Ancestor, Known, PARENTS, Process, Program, Reader, Reading, Rest, Run};

/// Clock ticks by which a message and /proc may differ about one process's start.
const GRAIN: u64 = 2;
/// Each holds a descriptor.
const MOST_BEGUN: usize = 64;

/// Known processes, living and ended ones.
pub struct Cache<R: Reader> {
    reader: R,
    /// Whose children are runs of lines: the worker itself.
    own: i32,
    slots: HashMap<i32, Slot>,
    ended: Ended,
    begun: VecDeque<Begun<R::Found>>,
    /// The last moment at which messages were lost.
    gap: u64,
    /// Times that messages were lost.
    pub lost: u64,
}

/// One that has executed, of which only the program has been read yet.
struct Begun<F> {
    pid: i32,
    at: u64,
    now: u64,
    found: Option<(F, Program)>,
}

struct Slot {
    now: Process,
    /// What had this number, or what this process was, before `now.since`.
    before: Option<Box<Process>>,
    /// What its children have above them.
    children: Option<Arc<[Ancestor]>>,
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
            begun: VecDeque::new(),
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
        let Message { at, what } = message;
        match what {
            What::Fork { parent: pid, .. }
            | What::Exec { pid }
            | What::Uid { pid, .. }
            | What::Gid { pid, .. }
            | What::Exit { pid } => self.finish_of(pid),
            What::Answer(_) => {}
        }
        match what {
            What::Fork { parent, child } => self.fork(parent, child, at),
            What::Exec { pid } => self.exec(pid, at),
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
        self.finish();
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

    /// The process of this number as it was at the moment `when`, which is past.
    pub fn find(&mut self, pid: i32, when: u64) -> Option<Process> {
        self.finish_of(pid);
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

    /// With CLONE_PARENT a process has another parent than the one that made it, and
    /// the kernel names that other one: what it inherits is compared with what it is.
    /// Not when it begins: in the midst of an exec, /proc waits for the end of that.
    fn look_once(&mut self, pid: i32) {
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

    fn fork(&mut self, parent: i32, child: i32, at: u64) {
        if self.knows(child, at) {
            return;
        }
        if self
            .slots
            .get(&parent)
            .is_none_or(|slot| slot.now.as_of < self.gap)
        {
            let now = self.reader.now();
            self.find_again(parent, now);
        }
        let run_of_parent = |slot: Option<&Slot>| slot.and_then(|slot| slot.now.run.clone());
        let run = self.run_of_child(parent, run_of_parent(self.slots.get(&parent)));
        let gap = self.gap;
        let above = self.slots.get_mut(&parent);
        let above = above.map(|slot| (slot.now.clone(), slot.parents_of_children(parent)));
        // Of a parent seen too late, or unsure, or without a program as a kernel
        // thread, nothing is taken on trust while the child itself can be asked.
        let sure = above.as_ref().is_some_and(|(parent, _)| {
            let seen = parent.as_of <= at && parent.as_of >= gap && !parent.guessed();
            seen && parent.image.exe.is_some()
        });
        if !sure && self.read_child(child, at, parent) {
            return;
        }
        let (like, parents) = above.unwrap_or_else(|| (Process::unknown(at), Arc::default()));
        let process = Process {
            since: at,
            as_of: at,
            ids_as_of: at,
            start: self.reader.ticks(at),
            ppid: parent,
            parents,
            run,
            ns_pid: like.ns_pid.map(|_| 0),
            // However late the parent was looked at, it was so when this one began.
            known: if sure {
                Known::Exact
            } else {
                like.known.min(Known::Late)
            },
            inherited: true,
            ..like
        };
        self.put(child, process);
    }

    /// A new process of which /proc shall tell all. False: it is gone.
    fn read_child(&mut self, pid: i32, at: u64, parent: i32) -> bool {
        let now = self.reader.now();
        let start = self.reader.ticks(at);
        let Some(mut reading) = self.reader.read(pid, None) else {
            return false;
        };
        if !reading.whole || reading.rest.start.abs_diff(start) > GRAIN {
            return false;
        }
        reading.rest.ppid = parent;
        self.insert(pid, reading, now, Known::Exact);
        if let Some(slot) = self.slots.get_mut(&pid) {
            slot.now.since = at;
        }
        true
    }

    /// Its program is read at once, the rest when there is time: `finish`.
    fn exec(&mut self, pid: i32, at: u64) {
        if self.knows(pid, at) {
            return;
        }
        if self.begun.len() >= MOST_BEGUN {
            self.finish();
        }
        let now = self.reader.now();
        let found = self.reader.open(pid);
        self.begun.push_back(Begun {
            pid,
            at,
            now,
            found,
        });
    }

    /// Finishes one process that has executed; false: there is none.
    pub fn finish_one(&mut self) -> bool {
        let begun = self.begun.pop_front();
        begun.map(|begun| self.executed(begun)).is_some()
    }

    /// Finishes all that have executed.
    fn finish(&mut self) {
        while self.finish_one() {}
    }

    /// Finishes one, of which more is to be told.
    fn finish_of(&mut self, pid: i32) {
        while self.begun.iter().any(|begun| begun.pid == pid) {
            self.finish_one();
        }
    }

    fn executed(&mut self, begun: Begun<R::Found>) {
        let Begun {
            pid,
            at,
            now,
            found,
        } = begun;
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

    fn run_of_child(&self, parent: i32, of_parent: Option<Arc<Run>>) -> Option<Arc<Run>> {
        match parent == self.own {
            true => Some(Arc::default()),
            false => of_parent,
        }
    }

    /// A process that no message has told of.
    fn read_now(&mut self, pid: i32, when: u64) -> Option<Process> {
        let at = self.reader.now();
        let reading = self.reader.read(pid, None)?;
        if reading.rest.start > self.reader.ticks(when) {
            return None; // it began after what happened
        }
        self.insert_as_of(pid, reading, at, None);
        self.slots.get(&pid).map(|slot| slot.at(when))
    }

    /// A process that may have become another while messages were lost.
    fn verify(&mut self, pid: i32, when: u64) -> Option<Process> {
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
    fn find_again(&mut self, pid: i32, when: u64) -> bool {
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

//! Who did it: the process behind an event, known even when it has lived for a
//! millisecond only.
//!
//! The kernel tells of each process that begins, executes a program, changes its
//! user or ends (the proc connector); threads keep what /proc says of it at that
//! moment. An event brings a number, and the number is looked up here. Started
//! when the first line wants it, stopped with the last: it costs CPU for each process
//! that the machine begins (docs/benchmarks.md).

mod build;
pub mod cache;
mod container;
mod ended;
mod filter;
mod inbox;
mod listen;
pub mod merge;
pub mod message;
mod names;
mod proc;
pub mod process;
mod share;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use self::listen::Listener;
use self::names::Names;
pub use self::proc::Proc;
use self::process::{Known, Process, Reader};
use crate::event::{Actor, Confidence, LineId};

/// Actors that were told lately and are kept as they were told.
const TOLD: usize = 1024;

/// What is known of the processes of the machine.
pub struct Actors {
    way: Way,
    names: Names,
    /// What was told of a number, and of which state of which process.
    told: HashMap<i32, (State, Rc<Actor>)>,
    told_since: Instant,
    /// Everything until here has been taken in; `CLOCK_MONOTONIC`, nanoseconds. None:
    /// events have been read since.
    settled: Option<u64>,
    figures: Figures,
}

/// As the source that asks and the one who starts and stops it share it; None: no
/// line wants it.
pub type Shared = Rc<RefCell<Option<Actors>>>;

/// Which process in which state: since when, when it began, how it is known.
type State = (u64, u64, Known);

enum Way {
    Listening(Listener),
    /// The kernel tells nothing: /proc is read when an event has come.
    Looking(Proc),
}

/// What became of the questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Figures {
    /// Processes known.
    pub known: u64,
    /// Times that messages of the kernel were lost.
    pub lost: u64,
    /// Actors known as they were.
    pub exact: u64,
    /// Actors read after the event, or in part.
    pub late: u64,
    /// Actors of whom only the number is known, or not even that.
    pub unknown: u64,
}

impl Actors {
    /// Begins; and what an operator should know of how well it can.
    pub fn start() -> (Self, Option<String>) {
        let (way, note) = match Listener::start() {
            Ok((listener, first)) => (Way::Listening(listener), first.err().map(slow)),
            Err(error) => (Way::Looking(Proc::new()), Some(blind(&error))),
        };
        let actors = Self {
            way,
            names: Names::default(),
            told: HashMap::new(),
            told_since: Instant::now(),
            settled: None,
            figures: Figures::default(),
        };
        (actors, note)
    }

    /// Events have been read: whoever is asked for next, what happened before is taken
    /// in first.
    pub fn events_read(&mut self) {
        self.settled = None;
    }

    fn settle(&mut self) -> u64 {
        if let Some(settled) = self.settled {
            return settled;
        }
        let settled = match &self.way {
            Way::Listening(listener) => listener.settle(),
            Way::Looking(proc) => {
                self.told.clear(); // the next event of a number may be of another process
                proc.now()
            }
        };
        self.settled = Some(settled);
        settled
    }

    /// Whose number it is, in the events that were read last.
    pub fn of(&mut self, pid: i32) -> Rc<Actor> {
        let actor = if pid > 0 {
            self.find(pid)
        } else {
            Rc::new(Actor::default())
        };
        let counter = match actor.confidence {
            Confidence::Exact => &mut self.figures.exact,
            Confidence::Late => &mut self.figures.late,
            Confidence::Pid | Confidence::None => &mut self.figures.unknown,
        };
        *counter += 1;
        actor
    }

    /// A command of a line has begun: it, and all it starts, are the line's.
    pub fn began(&self, pid: i32, line: LineId) {
        let Way::Listening(listener) = &self.way else {
            return;
        };
        let now = listener.settle();
        let run = listener.ask(|cache| cache.find(pid, now)?.run);
        if let Some(run) = run {
            run.set(line);
        }
    }

    /// Figures for status.
    pub fn figures(&self) -> Figures {
        let (known, lost) = match &self.way {
            Way::Listening(listener) => listener.ask(|cache| (cache.len() as u64, cache.lost)),
            Way::Looking(_) => (0, 0),
        };
        Figures {
            known,
            lost,
            ..self.figures
        }
    }

    fn find(&mut self, pid: i32) -> Rc<Actor> {
        let settled = self.settle();
        let process = match &self.way {
            Way::Listening(listener) => listener.ask(|cache| cache.find(pid, settled)),
            Way::Looking(proc) => {
                if let Some((_, actor)) = self.told.get(&pid) {
                    return Rc::clone(actor);
                }
                build::look(proc, pid, settled)
            }
        };
        match process {
            Some(process) => self.tell(pid, &process),
            None => Rc::new(Actor::of_pid(pid)),
        }
    }

    fn tell(&mut self, pid: i32, process: &Process) -> Rc<Actor> {
        let state = (process.since, process.start, process.known);
        if let Some((told, actor)) = self.told.get(&pid)
            && *told == state
        {
            return Rc::clone(actor);
        }
        let now = Instant::now();
        if self.told.len() >= TOLD || now.duration_since(self.told_since).as_secs() >= 60 {
            self.told.clear(); // names are asked for again, too
            self.told_since = now;
        }
        let names = &mut self.names;
        let actor = Rc::new(build::actor(pid, process, |uid| names.of(uid, now)));
        self.told.insert(pid, (state, Rc::clone(&actor)));
        actor
    }
}

fn slow(error: io::Error) -> String {
    format!(
        "the thread that follows processes may not run at real-time priority ({error}; it needs \
         CAP_SYS_NICE, and a cgroup that has a real-time share where the kernel divides that): of \
         processes that end at once, up to half are known late or by their number alone"
    )
}

fn blind(error: &io::Error) -> String {
    format!(
        "the kernel's process events cannot be had ({error}; they need the machine's own pid, user \
         and network namespaces, and CAP_NET_ADMIN before Linux 6.7): actors are read from /proc \
         when their event has come, and of processes that end at once most are known by their \
         number alone"
    )
}

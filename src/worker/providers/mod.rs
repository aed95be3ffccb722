//! Providers: programs that say which paths `@NAME` stands for (incron-provider(7)).
//!
//! One process a name, however many lines name it, for as long as one does. What
//! it says becomes members; each member of each line is watched as a line of its
//! own (`aliases`), and its events come back to the line of the table (`shown`).
//!
//! ```text
//!  program    the file, and whether it may be run     message  a line of its output
//!  process    its pipes and its end                   reader   lines of any length
//!  members    the set, across restarts                aliases  members -> lines
//!  shown      the event as the line sees it           overlay  layers of containers
//!  serve      lines begin and end                     hear     what processes say
//!  watch      members are watched, and told of        figures  for status
//! ```
//!
//! A provider that ends, hangs or talks nonsense changes nothing of what is
//! watched: only what a process says takes a path out.

mod aliases;
mod complaints;
mod figures;
mod hear;
mod members;
mod message;
mod overlay;
mod process;
mod program;
mod reader;
mod serve;
mod shown;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

pub use program::{about, find};

use crate::event::LineId;
use crate::run::{Job, Outcome};
use crate::sys::spawn::Spawner;
use crate::time::Moment;
use aliases::Aliases;
use complaints::Complaints;
use members::Members;
use process::{Heard, Process};
use shown::Shown;

/// Before a process that has ended is started again: at first, and at most.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// `ready` of the worker waits no longer for that of a provider.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an epoll event is about: the process's number, and in the last two bits
/// which of its descriptors.
const ENDED: u64 = 0;
const OUTPUT: u64 = 1;

/// One name.
struct Provider {
    lines: Vec<LineId>,
    members: Members,
    /// In `processes`.
    process: Option<u64>,
    /// The program's file, as a watched path.
    program: LineId,
    /// Why it was not started, as it was told.
    refused: Option<String>,
    /// When it is started again, and how long the pause after that is.
    again: Option<Moment>,
    pause: Duration,
    /// Processes there were.
    starts: u64,
    /// The process that runs has said all that it has.
    ready: bool,
    /// Nobody waits for that until then; None: nobody does any more.
    patience: Option<Moment>,
    malformed: Complaints,
    problems: Complaints,
    full: Complaints,
}

/// All of a worker.
pub(super) struct Providers {
    by_name: BTreeMap<Rc<str>, Provider>,
    /// With those that no line names any more, until they have ended.
    processes: BTreeMap<u64, Process>,
    last: u64,
    aliases: Aliases,
    shown: Shown,
    epoll: Epoll,
    spawner: Option<Spawner>,
    stopping: bool,
}

/// What has become of a process.
enum Turn {
    Heard(Heard),
    /// How, and after how long.
    Ended(Outcome, Duration),
}

impl Providers {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            by_name: BTreeMap::new(),
            processes: BTreeMap::new(),
            last: 0,
            aliases: Aliases::default(),
            shown: Shown::default(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            spawner: None,
            stopping: false,
        })
    }

    /// To be polled for reading: a process says something or ends.
    pub fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.epoll.0.as_fd()
    }

    /// True for the number of a member of a set: it is no line of a table.
    pub fn owns(line: LineId) -> bool {
        Aliases::owns(line)
    }

    /// Nobody waits for a provider to say that it is ready.
    pub fn are_ready(&self) -> bool {
        self.by_name.values().all(|known| known.patience.is_none())
    }

    /// Processes that have not ended.
    pub fn running(&self) -> usize {
        self.processes.len()
    }

    /// When something is to be done.
    pub fn deadline(&self) -> Option<Moment> {
        let ends = self.processes.values().filter_map(Process::deadline);
        let known = self.by_name.values().flat_map(|known| {
            [
                known.again.filter(|_| !self.stopping),
                known.patience,
                known.malformed.deadline(),
                known.problems.deadline(),
                known.full.deadline(),
            ]
        });
        ends.chain(known.flatten()).min()
    }

    /// Starts the program at `path`, whose output is heard of from now on.
    fn start(&mut self, name: &Rc<str>, path: &Path, job: &mut Job, now: Moment) -> io::Result<()> {
        let spawner = match &mut self.spawner {
            Some(spawner) => spawner,
            none => none.insert(Spawner::new()?),
        };
        let process = Process::start(spawner, (name, path), job, now)?;
        self.last += 1;
        let number = self.last;
        for (tag, fd) in (0..).zip(process.descriptors()) {
            if let Some(fd) = fd {
                let event = EpollEvent::new(EpollFlags::EPOLLIN, number << 2 | tag);
                // Without it nobody would hear of its end: dropped, it is killed.
                self.epoll.add(fd, event)?;
            }
        }
        self.processes.insert(number, process);
        if let Some(known) = self.by_name.get_mut(name) {
            known.process = Some(number);
            known.starts += 1;
            known.members.begin_life();
            known.ready = false;
        }
        Ok(())
    }

    /// What the processes have said since; each with the name it belongs to, if any
    /// still does.
    fn read(&mut self, now: Moment) -> io::Result<Vec<(Option<Rc<str>>, Turn)>> {
        let mut events = [EpollEvent::empty(); 16];
        let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        let mut turns = Vec::new();
        for event in events.iter().take(count) {
            let (number, tag) = (event.data() >> 2, event.data() & 3);
            let Some(process) = self.processes.get_mut(&number) else {
                continue;
            };
            let provider = process.provider.clone();
            let mut heard = Vec::new();
            let mut end = None;
            match tag {
                ENDED => end = process.end(now, &mut heard),
                // Whoever closes its output can say nothing any more.
                OUTPUT if !process.read_output(&mut heard) => process.terminate(now),
                OUTPUT => {}
                _ => process.read_errors(now, &mut heard),
            }
            let heard = heard.into_iter().map(Turn::Heard);
            turns.extend(heard.map(|heard| (provider.clone(), heard)));
            if let Some(end) = end {
                let lived = now - process.started;
                self.processes.remove(&number);
                turns.push((provider, Turn::Ended(end, lived)));
            }
        }
        Ok(turns)
    }

    /// No line names it any more.
    fn give_up(&mut self, name: &str, now: Moment) -> Option<Provider> {
        let known = self.by_name.remove(name)?;
        if let Some(number) = known.process
            && let Some(process) = self.processes.get_mut(&number)
        {
            process.provider = None;
            process.terminate(now);
        }
        Some(known)
    }

    /// A stop: all are asked to end, and none is started again. What they have named
    /// stays watched.
    pub fn stop(&mut self, now: Moment) {
        self.stopping = true;
        for process in self.processes.values_mut() {
            process.terminate(now);
        }
    }

    /// Ends what did not end when it was asked.
    pub fn kill(&mut self) {
        for process in self.processes.values_mut() {
            process.kill();
        }
    }
}

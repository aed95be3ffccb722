//! The fanotify source: one group and one mark for a whole file system, however
//! many lines and directories. The kernel tells a directory's handle and a name;
//! which path that is, and whether a line asks for it, is found out here.
//!
//! A record is told as of its place in the stream: directories are kept by handle
//! as they were there (`tree`), and one that is met for the first time is put where
//! it was then (`place`). Trees that come into reach all at once are scanned when
//! the stream has been read to its end (`scan`).

mod about;
mod areas;
mod batch;
mod change;
mod closing;
mod collect;
mod exchange;
mod figures;
mod gate;
mod group;
mod hush;
mod job;
mod late;
mod lost;
mod mounts;
mod moved;
mod parse;
mod place;
mod reach;
mod read;
mod refuse;
mod remount;
mod replay;
mod resolve;
mod root;
mod said;
mod scan;
mod tell;
mod tree;
mod unfold;

pub use figures::Figures;
pub use gate::Gate;
pub use refuse::Refusal;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::time::SystemTime;

use batch::Batch;
use group::Group;
use hush::Hush;
use job::Job;
use mounts::Mounts;
use root::{At, Line, PICTURE, Root, RootId, Roots};
use said::{Seen, Told};
use tree::Tree;

use super::actor;
use super::closing::Closing;
use super::coverage::Coverage;
use super::root::Key;
use super::{Problem, Report, Request};
use crate::event::LineId;
use crate::sys::inotify::{Stamp, file_clock, fine_stamps};
use crate::table::Mask;
use crate::time::Moment;

/// How a group is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Each record has a descriptor of its process: it costs four times as much, and
    /// helps only where processes are not followed otherwise.
    pub pidfd: bool,
    /// Records of a directory that nobody asks for from which on it is left out, whether
    /// there is noise or not. None: as it pays.
    pub loud: Option<u32>,
}

/// Events from fanotify(7).
pub struct Fanotify {
    options: Options,
    group: Group,
    hush: Hush,
    gate: Gate,
    mounts: Mounts,
    /// They may have changed.
    look: remount::Look,
    tree: Tree,
    roots: Roots,
    lines: HashMap<LineId, RootId>,
    keys: HashMap<Key, RootId>,
    /// Watched files by their handles: other names may lead to them.
    files: HashMap<Box<[u8]>, Vec<RootId>>,
    batch: Batch,
    /// Parts of records that are told later than they stand.
    later: BTreeMap<usize, Vec<unfold::Part>>,
    jobs: Vec<Job>,
    /// There were jobs since the queue was last told to its end: what is told
    /// meanwhile is not told again by their scans.
    scanning: bool,
    /// Directories in trees to be scanned of whose content roots have been told.
    settled: HashSet<(RootId, Box<[u8]>)>,
    told: Told,
    seen: Seen,
    wandered: lost::Wandered,
    /// Files that were open for writing when their close was told, by their directories'
    /// handles.
    closing: Closing<Box<[u8]>>,
    /// When the last read began.
    now: Moment,
    /// The number of the record that is told.
    number: u64,
    /// Directories in which a file got its name, by their handles, the latest first.
    created: Vec<Box<[u8]>>,
    /// The last renames, from where to where, and of what.
    arrived: Vec<(batch::Place, batch::Place, Box<[u8]>)>,
    /// What a directory was to roots, which another has taken the place of, and the record
    /// by which it takes the other's.
    exchanged: Vec<(usize, reach::Reach)>,
    /// A directory was renamed in which something may be mounted: nothing else says that
    /// the table of mounts has changed by that.
    carried: bool,
    /// What was told of this batch, by roots; while that may be told again.
    heard: replay::Heard,
    /// Renames of this batch that were something to a line.
    renamed: Vec<usize>,
    /// Directories that are gone, until all that was queued before is told.
    dead: Vec<tree::NodeId>,
    /// Every event before this time has been read.
    drained: Stamp,
    time: SystemTime,
    own: i32,
    /// Who knows the process behind a number.
    pub(super) actors: actor::Shared,
    buffer: Vec<u8>,
    figures: Figures,
    /// A file that was looked at gets another stamp when it is written again.
    fine: bool,
}

impl Fanotify {
    /// A source without lines, which is to be read when `gate` is readable.
    ///
    /// # Errors
    /// The kernel or this process's capabilities do not do.
    pub fn new(gate: Gate, options: Options) -> Result<Self, Refusal> {
        let group = Group::new(options.pidfd).map_err(|e| Refusal::group(&e))?;
        gate.open(group.fd()).map_err(|e| Refusal::group(&e))?;
        Ok(Self {
            options,
            group,
            hush: Hush::default(),
            gate,
            mounts: Mounts::new(),
            look: remount::Look::default(),
            tree: Tree::new(),
            roots: Roots::default(),
            lines: HashMap::new(),
            keys: HashMap::new(),
            files: HashMap::new(),
            batch: Batch::default(),
            later: BTreeMap::new(),
            jobs: Vec::new(),
            scanning: false,
            settled: HashSet::new(),
            told: Told::default(),
            seen: Seen::default(),
            wandered: lost::Wandered::default(),
            closing: Closing::default(),
            now: Moment(0),
            number: 0,
            created: Vec::new(),
            arrived: Vec::new(),
            exchanged: Vec::new(),
            carried: false,
            heard: replay::Heard::default(),
            renamed: Vec::new(),
            dead: Vec::new(),
            drained: file_clock(),
            time: SystemTime::now(),
            own: nix::unistd::getpid().as_raw(),
            actors: actor::Shared::default(),
            buffer: vec![0; read::BUFFER],
            figures: Figures::default(),
            fine: fine_stamps(),
        })
    }

    /// Starts serving a line.
    ///
    /// # Errors
    /// Why it cannot be served here.
    pub fn add(&mut self, request: &Request, out: &mut Vec<Report>) -> Result<(), Refusal> {
        self.remove(request.line);
        let key = Key::of(request);
        let line = Line {
            id: request.line,
            mask: request.mask,
            who: request.who,
            spent: false,
        };
        if let Some(&id) = self.keys.get(&key) {
            if let Some(root) = self.roots.get_mut(id) {
                root.lines.push(line);
                root.sum();
            }
            self.lines.insert(request.line, id);
            self.resolve(id);
            return Ok(());
        }
        let mut root = Root::new(key.clone());
        if root.key.path.pattern && root.pattern.is_none() {
            let message = format!(
                "{}: not watched: its braces stand for too many patterns",
                root.written()
            );
            out.push(Report::Problem(
                request.line,
                Problem {
                    message,
                    serious: true,
                },
            ));
            return Ok(());
        }
        root.lines.push(line);
        root.sum();
        let way = self.look_up(&root)?;
        if let Some(lack) = &way.lack {
            let message = format!("{}: {lack}", root.written());
            out.push(Report::Problem(
                request.line,
                Problem {
                    message,
                    serious: true,
                },
            ));
        }
        let id = self.roots.insert(root);
        self.set_way(id, way);
        self.all_told(id);
        self.lines.insert(request.line, id);
        self.keys.insert(key, id);
        // What came between the look and the mark.
        self.resolve(id);
        self.group.close();
        Ok(())
    }

    /// Ends serving a line.
    pub fn remove(&mut self, line: LineId) {
        let Some(id) = self.lines.remove(&line) else {
            return;
        };
        let Some(root) = self.roots.get_mut(id) else {
            return;
        };
        root.lines.retain(|l| l.id != line);
        root.sum();
        if root.lines.is_empty() {
            self.keys.retain(|_, &mut r| r != id);
            self.forget_file(id);
            self.roots.remove(id);
        }
        self.tree.touch();
        self.give_up();
    }

    /// Gives up marks that nobody needs.
    fn give_up(&mut self) {
        let roots = &self.roots;
        let needed = |path: &[u8]| {
            let on = |id: RootId| {
                roots
                    .get(id)
                    .is_some_and(|r| reach::within(&r.way.real, path))
            };
            roots.ids().into_iter().any(on)
        };
        self.group.keep_ways(PICTURE, needed);
        for fs in self.group.narrow(&self.mounts, |fs| roots.needed(fs)) {
            self.tree.forget(Some(&fs));
        }
    }

    /// How much of `line` is watched; None: it is not a line of this source.
    pub fn coverage(&self, line: LineId) -> Option<Coverage> {
        let root = self.roots.get(*self.lines.get(&line)?)?;
        let spent = root.lines.iter().any(|l| l.id == line && l.spent);
        let lack = root.way.lack.clone();
        Some(match lack {
            _ if spent => Coverage::Spent,
            Some(lack) if root.way.areas.is_empty() => Coverage::Unwatched(lack),
            Some(lack) => Coverage::Partly(lack),
            None if root.way.at == At::Nothing => Coverage::Waiting,
            None => Coverage::Served,
        })
    }

    /// True while reading is put off, for the noise of others.
    pub fn waits(&self) -> bool {
        self.gate.deadline().is_some()
    }

    /// When `tick` wants to be called.
    pub fn deadline(&self) -> Option<Moment> {
        let closing = self.closing.at();
        self.gate.deadline().into_iter().chain(closing).min()
    }

    /// Does what was waiting for `deadline`.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<Report>) {
        if self.gate.deadline().is_some_and(|at| at <= now) {
            // An error comes again with the next read.
            let _ = self.read(now, out);
        }
        self.look_at_closing(now, out);
    }

    /// Reads once, whatever noise there is. True: the queue is not empty.
    ///
    /// # Errors
    /// As read(2).
    pub fn drain(&mut self, now: Moment, out: &mut Vec<Report>) -> io::Result<bool> {
        Ok(self.read(now, out)? || self.group.queued() != 0)
    }
}

/// Events that reading causes.
const NOISE: u64 =
    libc::FAN_ACCESS | libc::FAN_OPEN | libc::FAN_CLOSE_NOWRITE | libc::FAN_OPEN_EXEC;

/// The bits of a record that a line may ask for.
fn bits_of(mask: u64) -> Mask {
    Mask((mask & 0x1fff) as u32)
}

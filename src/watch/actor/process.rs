//! What is remembered of a process, and what the cache asks of /proc.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::event::LineId;

/// Parents remembered, the nearest first.
pub const PARENTS: usize = 8;

/// What a process has from its program; what it forks shares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // as the fields of event::Actor
pub struct Image {
    pub exe: Option<PathBuf>,
    pub cmdline: Vec<OsString>,
    pub login_uid: Option<u32>,
    pub session: Option<u32>,
    pub cgroup: Option<String>,
    pub container: Option<String>,
    /// What shows that the rest of this is as it was.
    pub marks: Marks,
}

/// What the kernel keeps apart of a process, by number: where these are the same in two
/// moments, its cgroups, login, container and number in its own namespace are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Of the text that names its cgroups, the hash.
    pub cgroups: u64,
    /// Changes with each login.
    pub session: Option<u32>,
    /// Its mount namespace.
    pub mounts: Option<u64>,
    /// Its pid namespace.
    pub pids: Option<u64>,
}

impl Image {
    /// About what it takes of memory, in bytes.
    pub fn weight(&self) -> usize {
        let exe = self.exe.as_ref().map_or(0, |exe| exe.as_os_str().len());
        let words: usize = self.cmdline.iter().map(|word| word.len() + 40).sum();
        let cgroup = self.cgroup.as_ref().map_or(0, String::len);
        size_of::<Self>() + exe + words + cgroup
    }
}

/// What a process runs: gone as soon as it ends, so read first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Program {
    pub exe: Option<PathBuf>,
    pub cmdline: Vec<OsString>,
}

/// What else /proc says of a process, as long as nobody has reaped it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// When it began: clock ticks since the machine did.
    pub start: u64,
    /// Its parent now.
    pub ppid: i32,
    /// Its effective user.
    pub uid: Option<u32>,
    /// Its effective group.
    pub gid: Option<u32>,
    /// Its number in its own pid namespace, where that is another.
    pub ns_pid: Option<i32>,
    /// Of a kernel thread, which has no program: its name.
    pub kernel: Option<OsString>,
    /// It has ended, and nobody has reaped it.
    pub ended: bool,
    /// The rest, without its program.
    pub image: Image,
}

/// A process as /proc shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// With its program.
    pub rest: Rest,
    /// Its program was there: it had not ended.
    pub whole: bool,
}

impl Reading {
    /// Of the two halves.
    pub fn new(program: Program, mut rest: Rest) -> Self {
        let whole = program.exe.is_some() || rest.kernel.is_some();
        rest.image.exe = program.exe;
        rest.image.cmdline = match &rest.kernel {
            Some(name) => vec![name.clone()],
            None => program.cmdline,
        };
        Self { rest, whole }
    }
}

/// What the cache asks of the machine; a simulation answers it in the tests.
pub trait Reader {
    /// A process that was found; it stays this one, whoever has its number later.
    type Found;
    /// Finds a process and reads its program. None: there is none of this number.
    fn open(&self, pid: i32) -> Option<(Self::Found, Program)>;
    /// Reads the rest; `last` is what it was before, whose container need not be looked
    /// for again. None: it has been reaped.
    fn rest(&self, found: &Self::Found, last: Option<&Image>) -> Option<Rest>;
    /// True where the marks are as in `last`. None: it has been reaped.
    fn is_like(&self, found: &Self::Found, last: &Image) -> Option<bool>;
    /// Every process there is, in order.
    fn pids(&self) -> Vec<i32>;
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    fn now(&self) -> u64;
    /// A moment of that clock in ticks, as in [`Rest::start`].
    fn ticks(&self, at: u64) -> u64;

    /// Both halves.
    fn read(&self, pid: i32, last: Option<&Image>) -> Option<Reading> {
        let (found, program) = self.open(pid)?;
        let rest = self.rest(&found, last)?;
        Some(Reading::new(program, rest))
    }
}

/// One of the worker's own commands; everything it starts, however deep, shares it.
#[derive(Debug, Default)]
pub struct Run(AtomicU32);

impl Run {
    /// It is a run of this line.
    pub fn set(&self, line: LineId) {
        self.0.store(line.0, Ordering::Relaxed);
    }

    /// Whose run it is, as far as that has been said.
    pub fn line(&self) -> Option<LineId> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            line => Some(LineId(line)),
        }
    }
}

/// One step up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Its number.
    pub pid: i32,
    /// What it was when it made the one below.
    pub image: Arc<Image>,
}

/// How well a process is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// Its number and where it comes from.
    Number,
    /// Read when it may have been another program already, or in part.
    Late,
    /// As it was when it began or executed its program.
    Exact,
}

/// A process from one moment on.
#[derive(Clone, Debug)]
pub struct Process {
    /// It is so since this moment: it began, executed, or changed its user.
    pub since: u64,
    /// Messages up to this moment tell nothing new: /proc was read after it.
    pub as_of: u64,
    /// Those of its user and group up to this moment, which is not after `as_of`: a
    /// program is read at once, and these are what the messages before it have told.
    pub ids_as_of: u64,
    /// When it began, in ticks.
    pub start: u64,
    /// Its parent.
    pub ppid: i32,
    /// All above it, the nearest first, at most [`PARENTS`].
    pub parents: Arc<[Ancestor]>,
    /// The command of ours that it is or descends from.
    pub run: Option<Arc<Run>>,
    /// Its program and the rest.
    pub image: Arc<Image>,
    /// Its effective user.
    pub uid: Option<u32>,
    /// Its effective group.
    pub gid: Option<u32>,
    /// Its number in its own pid namespace, where that is another; 0: not known.
    pub ns_pid: Option<i32>,
    /// How well it is known.
    pub known: Known,
    /// It has all from its parent, and nobody has looked.
    pub inherited: bool,
}

impl Process {
    /// As /proc shows it; of what is above it nothing is known yet.
    pub fn new(reading: Reading, as_of: u64, known: Known) -> Self {
        Self {
            since: 0,
            as_of,
            ids_as_of: as_of,
            start: reading.rest.start,
            ppid: reading.rest.ppid,
            parents: Arc::default(),
            run: None,
            uid: reading.rest.uid,
            gid: reading.rest.gid,
            ns_pid: reading.rest.ns_pid,
            image: Arc::new(reading.rest.image),
            known,
            inherited: false,
        }
    }

    /// One that began then, and more is not known.
    pub fn unknown(since: u64) -> Self {
        let mut process = Self::new(Reading::default(), since, Known::Number);
        process.since = since;
        process
    }

    /// It has from its parent what the parent may not have been any more: nothing is to
    /// be taken from it in turn.
    pub fn guessed(&self) -> bool {
        self.inherited && self.known < Known::Exact
    }

    /// What it is beside its program.
    pub fn rest(&self) -> Rest {
        Rest {
            start: self.start,
            ppid: self.ppid,
            uid: self.uid,
            gid: self.gid,
            ns_pid: self.ns_pid,
            image: (*self.image).clone(),
            ..Rest::default()
        }
    }
}

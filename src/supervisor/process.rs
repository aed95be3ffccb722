//! One worker process: its start, its channel, its end.
//!
//! Every worker has a session of its own. On kernels with sched_autogroup the
//! scheduler shares the processors between sessions before it shares them
//! between processes, so one user's commands, however many, leave the others
//! their part; nice values would have to be guessed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use super::accounts::Account;
use super::channel::{Attached, Channel, Received};
use super::outbox::{Order, Outbox};
use super::poll::{Interest, Poll, Token};
#[cfg(feature = "pam")]
use super::session::Session;
use crate::config::LogTarget;
use crate::paths;
use crate::sys;
use crate::time::Moment;
use crate::worker::protocol::{FromWorker, LogChoice, Page, Status, ToWorker};

/// A worker that has not taken a packet for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// More nonsense than this, and a worker is ended.
const MAX_MALFORMED: u32 = 100;
/// What a worker that has closed its channel gets to end.
const LAST_SECONDS: Duration = Duration::from_secs(2);
/// Packets read from one worker before the others have their turn.
const TURN: usize = 32;

/// Whose tables a worker serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The account's name, or "system".
    pub name: String,
    /// The worker of the system tables.
    pub system: bool,
    /// Whom the process becomes; None: it stays who the supervisor is.
    pub account: Option<Account>,
}

/// A running worker.
#[derive(Debug)]
pub struct Process {
    /// Never used twice.
    pub id: u64,
    child: Child,
    pidfd: OwnedFd,
    channel: Channel,
    /// What is still to be said.
    pub outbox: Outbox,
    /// When it was started.
    pub since: Moment,
    /// The same, by the clock on the wall.
    pub time: SystemTime,
    /// It has said that it watches all it was given.
    pub ready: bool,
    /// Packets that were not of the protocol.
    pub malformed: u32,
    /// The figures it sent last.
    pub status: Option<Status>,
    /// It was told to stop; from then on it is killed.
    pub stop_until: Option<Moment>,
    /// It has handed over what waited; once is all it may.
    pub saved: bool,
    trusted: bool,
    blocked: Option<Moment>,
    waits_for_room: bool,
    closed: bool,
}

/// What a worker has to say, after the checks.
#[derive(Debug)]
pub enum Word {
    /// All watched.
    Ready,
    /// The answer to one load.
    Loaded {
        /// Which.
        table: String,
        /// Lines served.
        lines: u32,
        /// Lines not served.
        errors: u32,
    },
    /// Figures are in `status`.
    Figures,
    /// Figures of some of its lines.
    Page(Page),
    /// Work that waited, in a file in memory.
    Saved(u64, OwnedFd),
}

impl Process {
    /// Starts this program again as the worker of `owner`. `files` is the limit
    /// of open files it gets, `log` is where it logs.
    pub fn start(
        id: u64,
        owner: &Owner,
        files: (u64, u64),
        log: &LogChoice,
        now: Moment,
    ) -> io::Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("incrond")
            .arg("--worker")
            .arg(theirs.as_raw_fd().to_string());
        command.stdin(Stdio::null());
        let mut spawn = sys::Spawn {
            keep: theirs.as_fd(),
            identity: None,
            umask: None,
            files: Some(files),
        };
        command.env_remove("NOTIFY_SOCKET");
        if let Some(account) = &owner.account {
            spawn.identity = Some(account.identity());
            spawn.umask = Some(0o022);
            // Its owner can make it say anything, and what it says on our
            // standard error would stand in the log as ours.
            if !matches!(log.target, LogTarget::Stderr | LogTarget::Json) {
                command.stdout(Stdio::null()).stderr(Stdio::null());
            }
            // Root's own table keeps the daemon's environment, as it did in incron.
            if account.uid != 0 {
                command.env_clear().env("PATH", paths::USER_PATH);
            }
            command.envs(account.environment());
            command.arg("--worker-cwd").arg(&account.home);
            #[cfg(feature = "pam")]
            if let Some(session) = Session::of(account, log) {
                command.arg("--session").arg(session.to_argument()?);
                // It becomes the user once the session is open.
                spawn.identity = None;
            }
        } else {
            command.arg("--worker-cwd").arg("/");
        }
        let child = sys::spawn_worker(&mut command, spawn)?;
        let pidfd = sys::pidfd_open(&child)?;
        Ok(Self {
            id,
            child,
            pidfd,
            channel,
            outbox: Outbox::default(),
            since: now,
            time: SystemTime::now(),
            ready: false,
            malformed: 0,
            status: None,
            stop_until: None,
            saved: false,
            trusted: owner.account.is_none(),
            blocked: None,
            waits_for_room: false,
            closed: false,
        })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Readable when it has something to say.
    pub fn channel(&self) -> BorrowedFd<'_> {
        self.channel.fd()
    }

    /// Some when it has ended.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Ends it at once. Its commands are in groups of their own and go on.
    pub fn kill(&self) {
        let _ = sys::process::signal(self.pidfd.as_fd(), libc::SIGKILL);
    }

    /// When something has to be done about it.
    pub fn deadline(&self) -> Option<Moment> {
        self.blocked.into_iter().chain(self.stop_until).min()
    }

    /// Why it is to be killed, if it is.
    pub fn overdue(&self, now: Moment) -> Option<&'static str> {
        if self.malformed > MAX_MALFORMED {
            Some("it does not keep to the protocol")
        } else if self.blocked.is_some_and(|until| now >= until) {
            Some("it does not read what it is told")
        } else if self.stop_until.is_some_and(|until| now >= until) {
            Some("it does not stop")
        } else {
            None
        }
    }

    /// It was killed; that is enough.
    pub fn forgive(&mut self) {
        self.malformed = 0;
        self.blocked = None;
        self.stop_until = None;
    }

    /// Asks `poll` for room to write while the worker is behind.
    pub fn wait_for_room(&mut self, behind: bool, poll: &Poll) {
        if behind != self.waits_for_room && !self.closed {
            let interest = if behind {
                Interest::Both
            } else {
                Interest::Read
            };
            self.waits_for_room = behind;
            if let Err(error) = poll.modify(self.channel(), Token::Channel(self.id), interest) {
                log::error!("cannot wait for worker {}: {error}", self.pid());
            }
        }
    }

    /// It has closed its end: it is about to end, or is made to.
    pub fn close(&mut self, poll: &Poll, now: Moment) {
        poll.remove(self.channel());
        self.closed = true;
        let soon = now + LAST_SECONDS;
        self.stop_until = Some(self.stop_until.map_or(soon, |until| until.min(soon)));
    }

    /// Sends what waits, as `fill` makes packets of orders (None: not to be
    /// sent). True: the worker is behind, and the rest waits.
    pub fn flush(
        &mut self,
        now: Moment,
        mut fill: impl FnMut(&Order) -> Option<(ToWorker, Option<OwnedFd>)>,
    ) -> bool {
        while let Some(order) = self.outbox.next() {
            let Some((packet, attached)) = fill(order) else {
                self.outbox.skip();
                continue;
            };
            match self
                .channel
                .send(&packet, attached.as_ref().map(AsFd::as_fd))
            {
                Ok(()) => {
                    self.outbox.sent();
                    self.blocked = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.get_or_insert(now + PATIENCE);
                    return true;
                }
                // It is gone; the pidfd says so, too, and the next one hears all.
                Err(_) => return false,
            }
        }
        false
    }

    /// Reads what it says, a turn's worth.
    pub fn hear(&mut self, words: &mut Vec<Word>) -> Heard {
        for _ in 0..TURN {
            let due = (self.trusted || self.stop_until.is_some()) && !self.saved;
            let word = match self.channel.receive(due) {
                Received::Packet(packet, attached) => self.check(packet, attached),
                Received::Malformed => None,
                Received::Nothing => return Heard::All,
                Received::Closed => return Heard::Closed,
            };
            match word {
                Some(word) => words.push(word),
                None => self.malformed = self.malformed.saturating_add(1),
            }
        }
        Heard::Part
    }

    /// None: nobody asked for this.
    fn check(&mut self, packet: FromWorker, attached: Attached) -> Option<Word> {
        if !attached.is_empty() {
            // Good or bad, it was the one descriptor that this worker may send.
            self.saved = true;
            return match (packet, attached.memory()) {
                (FromWorker::Saved { events }, Some(memory)) => Some(Word::Saved(events, memory)),
                _ => None,
            };
        }
        match packet {
            FromWorker::Ready if !self.ready => {
                self.ready = true;
                Some(Word::Ready)
            }
            FromWorker::Loaded {
                table,
                lines,
                errors,
            } => {
                let asked = self.outbox.loaded(&table);
                asked.then_some(Word::Loaded {
                    table,
                    lines,
                    errors,
                })
            }
            FromWorker::Status(status) if self.outbox.figures() => {
                self.status = Some(*status);
                Some(Word::Figures)
            }
            FromWorker::Lines(page) if self.outbox.page(page.after) => Some(Word::Page(page)),
            _ => None,
        }
    }
}

/// How far reading got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing more for now.
    All,
    /// There may be more.
    Part,
    /// It has closed its end.
    Closed,
}

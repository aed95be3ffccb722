//! The supervisor itself: one loop, one wait. Handlers mark what is to be done,
//! [`Daemon::act`] does it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::access::Access;
use super::accounts::Account;
use super::clients::Clients;
use super::notify;
use super::places::{self, Change, Places};
use super::poll::{Poll, Token};
use super::process::{Owner, Process};
use super::rate::Rate;
use super::reconcile::{Key, Kind};
use super::reload::access;
use super::saved::Saved;
use super::waiting::Waiting;
use super::worker::Worker;
use crate::config::Config;
use crate::exit::Exit;
use crate::paths;
use crate::time::{Clock, Moment};

/// A worker that is not ready by then holds up the others' "ready" no longer.
pub const START_PATIENCE: Duration = Duration::from_secs(30);
/// Two descriptors a worker: enough for thousands of users.
const WANTED_FILES: u64 = 65_536;

/// Where the supervisor stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for all workers, until then at most.
    Starting(Moment),
    /// Waiting for all to answer a reload.
    Reloading(Moment),
    /// Serving.
    Running,
    /// Waiting for all to end.
    Stopping,
}

/// All it knows and holds.
#[derive(Debug)]
pub struct Daemon {
    pub(super) config: Config,
    pub(super) config_file: Option<PathBuf>,
    pub(super) access: Access,
    pub(super) euid: u32,
    /// The account that runs this.
    pub(super) me: Account,
    pub(super) clock: Clock,
    pub(super) poll: Poll,
    pub(super) workers: BTreeMap<Key, Worker>,
    /// Processes that were told to stop.
    pub(super) leaving: Vec<(Owner, Process)>,
    pub(super) clients: Clients,
    pub(super) waiting: Vec<Waiting>,
    pub(super) rate: Rate,
    pub(super) saved: Saved,
    pub(super) phase: Phase,
    signals: SignalFd,
    pub(super) places: Places,
    pub(super) roles: Roles,
    pub(super) next_id: u64,
    /// The limit of open files as it was: what workers get.
    pub(super) files: (u64, u64),
    marks: Marks,
}

/// What handlers leave for the loop.
#[derive(Debug, Default)]
struct Marks {
    reload: bool,
    stop: u32,
    changes: Vec<Change>,
}

/// Which watched place is what.
#[derive(Debug, Default)]
pub struct Roles {
    pub tables: Vec<(usize, Kind)>,
    /// Files whose change asks for a new look at all users.
    pub users: Vec<(usize, std::ffi::OsString)>,
}

impl Daemon {
    /// Everything but the tables: signals are blocked, directories watched, the
    /// socket is served from `clients`.
    pub fn new(config: Config, config_file: Option<PathBuf>, clients: Clients) -> io::Result<Self> {
        let mask = block_signals()?;
        crate::sys::process::keep_exit_statuses()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let euid = nix::unistd::geteuid().as_raw();
        let me = Account::by_uid(euid)?
            .ok_or_else(|| io::Error::other(format!("uid {euid} has no account")))?;
        let poll = Poll::new()?;
        let mut places = Places::new()?;
        let roles = Roles::watch(&config, &mut places);
        poll.add(signals.as_fd(), Token::Signals)?;
        poll.add(places.fd(), Token::Places)?;
        poll.add(clients.listener(), Token::Listener)?;
        let clock = Clock::new();
        Ok(Self {
            access: access(&config),
            saved: Saved::new(&config.state_dir),
            phase: Phase::Starting(clock.now() + START_PATIENCE),
            files: raise_files()?,
            config,
            config_file,
            euid,
            me,
            clock,
            poll,
            workers: BTreeMap::new(),
            leaving: Vec::new(),
            clients,
            waiting: Vec::new(),
            rate: Rate::default(),
            signals,
            places,
            roles,
            next_id: 1,
            marks: Marks::default(),
        })
    }

    /// Serves until it is told to stop and all workers have ended.
    pub fn run(&mut self) -> io::Result<Exit> {
        self.scan_all(true);
        loop {
            self.act();
            if self.phase == Phase::Stopping && self.leaving.is_empty() {
                return Ok(Exit::Success);
            }
            let now = self.clock.now();
            for token in self.poll.wait(now, self.deadline())? {
                self.handle(token)?;
            }
        }
    }

    /// True while the first tables are loaded.
    pub fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting(_))
    }

    fn handle(&mut self, token: Token) -> io::Result<()> {
        match token {
            Token::Signals => self.read_signals()?,
            Token::Places => self.places.read(&mut self.marks.changes)?,
            Token::Listener => self.clients.accept(&self.poll, self.clock.now()),
            Token::Client(id) => self.clients.ready(id, &self.poll, self.clock.now()),
            Token::Channel(id) => {
                self.hear(id);
            }
            Token::Exit(id) => self.reap(id),
        }
        Ok(())
    }

    fn read_signals(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.read_signal()? {
            if signal.ssi_signo == Signal::SIGHUP as u32 {
                self.marks.reload = true;
            } else {
                self.marks.stop += 1;
            }
        }
        Ok(())
    }

    /// Does what was marked, then what is due.
    fn act(&mut self) {
        let marks = std::mem::take(&mut self.marks);
        if marks.stop > 0 {
            self.stop();
        }
        if self.phase != Phase::Stopping {
            if marks.reload {
                self.reload();
            }
            self.changed(marks.changes);
        }
        self.answer_requests();
        self.start_due();
        self.flush();
        self.end_overdue();
        self.answer_waiting();
        self.clients.expire(&self.poll, self.clock.now());
        self.advance();
    }

    fn flush(&mut self) {
        let now = self.clock.now();
        for worker in self.workers.values_mut() {
            let behind = worker.flush(&self.saved, now);
            if let Some(process) = &mut worker.process {
                process.wait_for_room(behind, &self.poll);
            }
        }
    }

    /// "Ready" is said when it is true.
    fn advance(&mut self) {
        let now = self.clock.now();
        let (until, starting) = match self.phase {
            Phase::Starting(until) => (until, true),
            Phase::Reloading(until) => (until, false),
            Phase::Running | Phase::Stopping => return,
        };
        let behind = |worker: &&Worker| match &worker.process {
            Some(process) => !process.ready || !process.outbox.is_settled(),
            None => !worker.refused,
        };
        let late: Vec<String> = self
            .workers
            .values()
            .filter(behind)
            .map(Worker::label)
            .collect();
        if !late.is_empty() {
            if now < until {
                return;
            }
            log::error!(
                "not ready yet, and no longer waited for: {}",
                late.join(", ")
            );
        }
        self.phase = Phase::Running;
        if starting {
            log::info!("ready to process filesystem events");
        }
        notify::ready(&format!("serving {} tables", self.table_count()));
    }

    fn table_count(&self) -> usize {
        self.workers
            .values()
            .map(|worker| worker.tables.len())
            .sum()
    }

    fn deadline(&self) -> Option<Moment> {
        let phase = match self.phase {
            Phase::Starting(until) | Phase::Reloading(until) => Some(until),
            Phase::Running | Phase::Stopping => None,
        };
        let restarts = self
            .workers
            .values()
            .filter(|w| w.process.is_none())
            .filter_map(|w| w.restart);
        let serving = self
            .workers
            .values()
            .filter_map(|w| w.process.as_ref()?.deadline());
        let leaving = self
            .leaving
            .iter()
            .filter_map(|(_, process)| process.deadline());
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        // Messages for a log that is away: tried again without a new one.
        let log = crate::log::behind().then(|| self.clock.now() + crate::log::RETRY);
        phase
            .into_iter()
            .chain(restarts)
            .chain(serving)
            .chain(leaving)
            .chain(waiting)
            .chain(self.clients.deadline())
            .chain(log)
            .min()
    }
}

impl Roles {
    /// Watches what `config` names.
    pub fn watch(config: &Config, places: &mut Places) -> Self {
        let mut roles = Self::default();
        if let Some(dir) = &config.system_table_dir {
            roles.tables.push((places.add(dir), Kind::System));
        }
        let kind = if config.personal {
            Kind::Personal
        } else {
            Kind::Spool
        };
        roles
            .tables
            .push((places.add(&config.user_table_dir), kind));
        if !config.personal {
            let lists = [
                config.allowed_users.as_path(),
                config.denied_users.as_path(),
            ];
            for file in lists.into_iter().chain(paths::ACCOUNTS.map(Path::new)) {
                let (dir, name) = places::split(file);
                roles.users.push((places.add(dir), name.to_owned()));
            }
        }
        roles
    }
}

/// From here on the signals wait until the loop reads them: one that comes
/// during the start ends the daemon in good order, too.
pub fn block_signals() -> io::Result<SigSet> {
    let ours = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    let mask: SigSet = ours.into_iter().collect();
    let mut blocked = mask;
    // Means only that a writer came while `is_being_written` looked.
    blocked.add(Signal::SIGIO);
    blocked.thread_block()?;
    Ok(mask)
}

/// Raises the soft limit of open files for the supervisor alone; the limit as
/// it was is what its workers get.
fn raise_files() -> io::Result<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(WANTED_FILES).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    Ok((soft, hard))
}

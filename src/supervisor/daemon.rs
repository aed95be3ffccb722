//! The supervisor itself: one loop, one wait. Handlers mark what is to be done,
//! [`Daemon::act`] does it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::access::Access;
use super::accounts::Account;
use super::clients::Clients;
use super::notify;
use super::outbox::Order;
use super::places::{self, Change, Places};
use super::poll::{Poll, Token};
use super::process::{Owner, Process};
use super::reconcile::{Key, Kind};
use super::requests::Waiting;
use super::saved::Saved;
use super::worker::Worker;
use crate::config::Config;
use crate::exit::Exit;
use crate::paths;
use crate::time::{Clock, Moment};

/// A worker that is not ready by then holds up the others' "ready" no longer.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// What a worker gets beyond the grace of its commands to save and end.
const STOP_MARGIN: Duration = Duration::from_secs(5);
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
    pub(super) saved: Saved,
    pub(super) phase: Phase,
    signals: SignalFd,
    places: Places,
    roles: Roles,
    next_id: u64,
    /// The limit of open files as it was: what workers get.
    files: (u64, u64),
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
struct Roles {
    tables: Vec<(usize, Kind)>,
    /// Files whose change asks for a new look at all users.
    users: Vec<(usize, std::ffi::OsString)>,
}

impl Daemon {
    /// Everything but the tables: signals are blocked, directories watched, the
    /// socket is served from `clients`.
    pub fn new(config: Config, config_file: Option<PathBuf>, clients: Clients) -> io::Result<Self> {
        let mask: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
            .into_iter()
            .collect();
        mask.thread_block()?;
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
            Token::Channel(id) => self.hear(id),
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

    fn changed(&mut self, changes: Vec<Change>) {
        let mut users = false;
        for change in changes {
            let place = match &change {
                Change::Entry(place, ..) | Change::Whole(place) => *place,
            };
            let kind = self
                .roles
                .tables
                .iter()
                .find(|(at, _)| *at == place)
                .map(|(_, kind)| *kind);
            match (&change, kind) {
                (Change::Entry(_, name, how), Some(kind)) => self.look(kind, name, *how),
                (Change::Whole(_), Some(kind)) => self.scan(kind, false),
                _ => {}
            }
            users |= self.roles.users.iter().any(|(at, file)| match &change {
                Change::Entry(_, name, _) => *at == place && file == name,
                Change::Whole(_) => *at == place,
            });
        }
        if users && !self.config.personal {
            self.access = access(&self.config);
            self.scan(Kind::Spool, false);
        }
    }

    /// All tables; `first` when the daemon starts.
    fn scan_all(&mut self, first: bool) {
        for (_, kind) in self.roles.tables.clone() {
            if first {
                match kind {
                    Kind::System => log::info!("loading system tables"),
                    Kind::Spool | Kind::Personal => log::info!("loading user tables"),
                }
            }
            self.scan(kind, true);
        }
    }

    fn reload(&mut self) {
        log::info!("reloading configuration and tables");
        notify::reloading();
        let loaded = match self.config.personal {
            true => Config::load_personal(self.config_file.as_deref()),
            false => Config::load(self.config_file.as_deref()),
        };
        match loaded {
            Ok((config, warnings)) => {
                warnings.iter().for_each(|warning| log::warn!("{warning}"));
                self.reconfigure(config);
            }
            Err(error) => {
                for line in error.to_string().lines() {
                    log::error!("{line}");
                }
                log::error!("the configuration stays as it was");
            }
        }
        self.places.verify();
        self.access = access(&self.config);
        self.scan_all(false);
        if !self.is_starting() {
            self.phase = Phase::Reloading(self.clock.now() + START_PATIENCE);
        }
    }

    /// Takes over what can change while it runs.
    fn reconfigure(&mut self, new: Config) {
        let old = std::mem::replace(&mut self.config, new);
        let fixed = [
            ("lockfile_dir", old.lockfile_dir != self.config.lockfile_dir),
            (
                "lockfile_name",
                old.lockfile_name != self.config.lockfile_name,
            ),
            (
                "control_socket",
                old.control_socket != self.config.control_socket,
            ),
            ("state_dir", old.state_dir != self.config.state_dir),
            ("log", old.log != self.config.log),
            (
                "syslog_socket",
                old.syslog_socket != self.config.syslog_socket,
            ),
        ];
        for (key, _) in fixed.iter().filter(|(_, changed)| *changed) {
            log::warn!("`{key}` has changed; that takes effect at the next start");
        }
        self.config.lockfile_dir = old.lockfile_dir;
        self.config.lockfile_name = old.lockfile_name;
        self.config.control_socket = old.control_socket;
        self.config.state_dir = old.state_dir;
        self.config.log = old.log;
        self.config.syslog_socket = old.syslog_socket;
        if (&old.system_table_dir, &old.user_table_dir)
            != (&self.config.system_table_dir, &self.config.user_table_dir)
        {
            // Nothing of the old directories is served from here on.
            let keys: Vec<Key> = self.workers.keys().cloned().collect();
            keys.iter().for_each(|key| self.dismiss(key));
        }
        self.roles = Roles::watch(&self.config, &mut self.places);
        let keys: Vec<Key> = self.workers.keys().cloned().collect();
        for key in keys {
            let Some(owner) = self.workers.get(&key).map(|worker| worker.owner.clone()) else {
                continue;
            };
            let settings = self.settings(&owner);
            if let Some(worker) = self.workers.get_mut(&key) {
                worker.configure(settings);
            }
        }
    }

    fn stop(&mut self) {
        if self.phase == Phase::Stopping {
            log::warn!("told to stop again; ending the workers at once");
            self.leaving.iter().for_each(|(_, process)| process.kill());
            return;
        }
        log::info!("stopping service");
        notify::stopping();
        self.phase = Phase::Stopping;
        let keys: Vec<Key> = self.workers.keys().cloned().collect();
        keys.iter().for_each(|key| self.dismiss(key));
    }

    /// Ends the worker of `key`; its process may finish what runs.
    pub fn dismiss(&mut self, key: &Key) {
        let Some(mut worker) = self.workers.remove(key) else {
            return;
        };
        log::debug!("ending the worker of {}", worker.label());
        let Some(mut process) = worker.process.take() else {
            return;
        };
        let now = self.clock.now();
        process.outbox.push(Order::Stop);
        process.stop_until = Some(now + self.config.stop_grace + STOP_MARGIN);
        // Queued loads are moot; what cannot be sent now is not sent at all.
        worker.process = Some(process);
        worker.flush(&self.saved, now);
        if let Some(process) = worker.process.take() {
            self.leaving.push((worker.owner, process));
        }
    }

    /// Starts every worker whose time has come.
    fn start_due(&mut self) {
        let now = self.clock.now();
        for worker in self.workers.values_mut() {
            if worker.process.is_some() || worker.restart.is_none_or(|at| at > now) {
                continue;
            }
            let id = self.next_id;
            self.next_id += 1;
            let started = Process::start(id, &worker.owner, self.files, now).and_then(|process| {
                self.poll.add(process.channel(), Token::Channel(id))?;
                self.poll.add(process.pidfd(), Token::Exit(id))?;
                Ok(process)
            });
            match started {
                Ok(process) => {
                    log::debug!("worker of {} has pid {}", worker.label(), process.pid());
                    let resume = self.saved.exists(&worker.owner);
                    worker.adopt(process, resume);
                }
                Err(error) => {
                    let pause = worker.failed(Duration::ZERO, now);
                    let who = worker.label();
                    log::error!("cannot start the worker of {who}: {error}; again in {pause:?}");
                }
            }
        }
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

    fn end_overdue(&mut self) {
        let now = self.clock.now();
        let serving = self
            .workers
            .values_mut()
            .filter_map(|worker| worker.process.as_mut());
        let leaving = self.leaving.iter_mut().map(|(_, process)| process);
        for process in serving.chain(leaving) {
            if let Some(why) = process.overdue(now) {
                log::error!("killing worker {}: {why}", process.pid());
                process.kill();
                process.forgive();
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
        let behind = |worker: &&Worker| {
            worker
                .process
                .as_ref()
                .is_none_or(|p| !p.ready || !p.outbox.is_settled())
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
        phase
            .into_iter()
            .chain(restarts)
            .chain(serving)
            .chain(leaving)
            .chain(waiting)
            .chain(self.clients.deadline())
            .min()
    }
}

impl Roles {
    fn watch(config: &Config, places: &mut Places) -> Self {
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
            let passwd = PathBuf::from(paths::PASSWD);
            for file in [&config.allowed_users, &config.denied_users, &passwd] {
                let (dir, name) = places::split(file);
                roles.users.push((places.add(dir), name.to_owned()));
            }
        }
        roles
    }
}

fn access(config: &Config) -> Access {
    if config.personal {
        Access::everyone()
    } else {
        Access::read(config)
    }
}

/// Raises the soft limit of open files for the supervisor alone; the limit as
/// it was is what its workers get.
fn raise_files() -> io::Result<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(WANTED_FILES).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    Ok((soft, hard))
}

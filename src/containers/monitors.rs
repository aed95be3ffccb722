//! The main thread: hears that somebody starts a container, finds the store by the
//! process that monitors it, and gives the store to its owner's keeper.
//!
//! A running container always has such a process, and its words name the store. So
//! the homes of users are not searched: a home on a server that does not answer
//! holds up nobody, and a store in an unusual place needs no configuration.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::getuid;

use super::binaries::{self, Binaries};
use super::cli::{Engine, Watch, Which};
use super::describe::{self, Asked, Monitor};
use super::keeper::{self, Handle, Order, Settings};
use super::looks::Looks;
use super::places;
use super::probe;
use super::process::{self, Pid};
use super::say;
use super::store::{Kind, Store};
use super::teller::Teller;

/// How long what runs at the start may take to be found: less than the daemon waits for
/// a provider, and more than a slow machine needs.
const BEGINNING: Duration = Duration::from_secs(8);
/// What is known of the machine.
pub struct Monitors {
    binaries: Binaries,
    conmon: bool,
    shim: bool,
    settings: Arc<Settings>,
    teller: Arc<Teller>,
    keepers: HashMap<u32, Handle>,
    known: HashSet<(u32, Store)>,
    own_uid: u32,
}

/// Finds what runs, tells it, and says that it is ready.
///
/// # Errors
/// What the kernel refuses: descriptors, threads.
pub fn begin(which: &Which, teller: Arc<Teller>) -> io::Result<Monitors> {
    let settings = Settings {
        layers: layers(which.watch),
        engines: which.engine.clone(),
        asked: Asked {
            stopped: which.stopped,
            builds: which.builds,
        },
    };
    let mut monitors = Monitors {
        binaries: Binaries::new()?,
        conmon: which.wants(Engine::Podman) || which.wants(Engine::Crio),
        shim: which.wants(Engine::Docker) || which.wants(Engine::Containerd),
        settings: Arc::new(settings),
        teller,
        keepers: HashMap::new(),
        known: HashSet::new(),
        own_uid: getuid().as_raw(),
    };
    let conmon = binaries::CONMON.iter().filter(|_| monitors.conmon);
    let shim = binaries::SHIM.iter().filter(|_| monitors.shim);
    let files: Vec<_> = conmon.chain(shim).collect();
    files
        .into_iter()
        .for_each(|file| monitors.binaries.add(&process::engines(Path::new(file))));
    for store in places::stores(which) {
        monitors.give(0, 0, store);
    }
    if monitors.conmon && monitors.settings.asked.any() {
        for store in places::storage(which) {
            monitors.give(0, 0, store);
        }
        for (uid, dir) in describe::homes() {
            monitors.give(uid, 0, Store::stored(dir));
        }
    }
    monitors.look();
    if !monitors.teller.wait(BEGINNING) {
        say("some user's files do not answer; those containers are told when they do");
    }
    monitors.teller.form().ready();
    Ok(monitors)
}

fn layers(watch: Watch) -> bool {
    let why = match (watch, probe::upper_layers_report()) {
        (Watch::Layer, _) | (Watch::Auto, Ok(true)) => return true,
        (Watch::Root, _) => return false,
        (Watch::Auto, Ok(false)) => "this kernel reports no writes in upper layers".to_owned(),
        (Watch::Auto, Err(error)) => format!("no overlay could be tried: {error}"),
    };
    say(&format!(
        "{why}; containers are watched through /proc/PID/root, and who made a change is not known"
    ));
    false
}

impl Monitors {
    /// Stays, until `reader` is closed at its other end.
    ///
    /// # Errors
    /// As poll(2).
    pub fn run(mut self, reader: BorrowedFd<'_>) -> io::Result<()> {
        let mut looks = Looks::new(Instant::now());
        loop {
            let now = Instant::now();
            let listen = match looks.would_hear(now) {
                true => PollFlags::POLLIN,
                false => PollFlags::empty(),
            };
            let mut fds = [
                PollFd::new(self.binaries.fd(), listen),
                PollFd::new(reader, PollFlags::empty()), // says that nobody reads, only
            ];
            match poll(&mut fds, timeout(looks.next(), now)) {
                Err(Errno::EINTR) => continue,
                count => count?,
            };
            let has = |fd: &PollFd<'_>| fd.revents().is_some_and(|flags| !flags.is_empty());
            let [_, closed] = fds.each_ref().map(has);
            if closed {
                return Ok(());
            }
            if self.binaries.read() {
                looks.heard(Instant::now());
            }
            let began = Instant::now();
            if looks.next().is_some_and(|at| at <= began) {
                self.look();
                looks.done(began, Instant::now());
            }
        }
    }

    fn look(&mut self) {
        for pid in process::all() {
            let comm = process::comm(pid);
            let store = match &*comm {
                "conmon" if self.conmon => self.conmon_store(pid),
                "containerd-shim" if self.shim => shim_store(pid),
                _ => None,
            };
            if let Some((uid, store)) = store.filter(|_| process::is_ours(pid)) {
                self.give(uid, pid, store);
            }
        }
    }

    fn conmon_store(&mut self, pid: Pid) -> Option<(u32, Store)> {
        let monitor = Monitor::of(pid)?;
        let uid = owner(pid)?;
        if uid == 0 {
            // A build of the administrator's own; a user's file might hang.
            if let Ok(file) = std::fs::read_link(format!("/proc/{pid}/exe")) {
                self.binaries.add(&process::engines(&file));
            }
        }
        if self.settings.asked.any()
            && process::is_ours(pid)
            && let Some(root) = monitor.bundle.ancestors().nth(3)
        {
            self.give(uid, pid, Store::stored(root.to_owned()));
        }
        Some((uid, Store::of_file(Kind::Conmon, &monitor.pidfile)?))
    }

    fn give(&mut self, uid: u32, monitor: Pid, store: Store) {
        if self.own_uid != 0 && self.own_uid != uid {
            return; // closed to us
        }
        if self.known.contains(&(uid, store.clone())) {
            return;
        }
        let order = Order {
            store: store.clone(),
            users: process::mapped_users(monitor),
        };
        if let Some(keeper) = self.keepers.get_mut(&uid) {
            if keeper.add(order) {
                self.known.insert((uid, store));
            }
            return;
        }
        let (settings, teller) = (self.settings.clone(), self.teller.clone());
        match keeper::start(uid, order, settings, teller) {
            Ok(keeper) => {
                self.keepers.insert(uid, keeper);
                self.known.insert((uid, store));
            }
            Err(error) => say(&format!(
                "containers of user {uid} are not found: {error}; see fs.inotify.max_user_instances"
            )),
        }
    }
}

/// As poll(2) takes it: never too early.
fn timeout(next: Option<Instant>, now: Instant) -> PollTimeout {
    let Some(next) = next else {
        return PollTimeout::NONE;
    };
    let rest = next.saturating_duration_since(now).as_micros();
    PollTimeout::from(u16::try_from(rest.div_ceil(1000)).unwrap_or(u16::MAX))
}

/// The shim stands in the bundle of its container: `STATE/TASKS/NAMESPACE/ID`.
fn shim_store(pid: Pid) -> Option<(u32, Store)> {
    let dir = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    let store = Store::of_file(Kind::Shim, &dir.join("init.pid"))?;
    Some((owner(pid)?, store))
}

/// Who runs the process.
fn owner(pid: Pid) -> Option<u32> {
    let data = std::fs::metadata(format!("/proc/{pid}")).ok()?;
    Some(data.uid())
}

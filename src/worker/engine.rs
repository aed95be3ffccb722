//! The loop: one wait, handlers that hand on, and the starts at its end.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::catchup::CatchUp;
use super::channel::Channel;
use super::environment;
use super::lines::Lines;
use super::protocol::{Settings, Status};
use super::providers::Providers;
use super::stop::Stopping;
use super::streams::StreamLines;
use super::view::{RunInfo, View};
use crate::event::LineId;
use crate::run::{self, Runner};
use crate::schedule::{RunId, Scheduler};
use crate::time::Clock;
use crate::watch::{self, Source, Sources};

/// Whether there is a next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// There is.
    Continue,
    /// All is done; the process may end.
    Done,
}

/// What became ready, as the tag of its descriptor.
const SOURCE: u64 = 0;
const RUNNER: u64 = 1;
const CHANNEL: u64 = 2;
const SIGNALS: u64 = 3;
const STREAMS: u64 = 4;
const WAKER: u64 = 5;
const MOUNTS: u64 = 6;
const PROVIDERS: u64 = 7;
const FANOTIFY: u64 = 8;

/// The foreground's own table, as a watched path like any other.
pub(super) const TABLE: LineId = LineId(0);

/// Everything one owner has: lines, watches, queues and running commands.
pub struct Engine {
    pub(super) settings: Settings,
    pub(super) base_env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    pub(super) host: Rc<str>,
    pub(super) clock: Clock,
    pub(super) lines: Lines,
    pub(super) source: Sources,
    pub(super) catch_up: CatchUp,
    pub(super) scheduler: Scheduler,
    pub(super) runner: Runner,
    pub(super) streams: StreamLines,
    pub(super) providers: Providers,
    pub(super) view: Box<dyn View>,
    pub(super) channel: Option<Channel>,
    pub(super) status: Status,
    pub(super) stopping: Stopping,
    /// `Begin` came and `Ready` was not said yet.
    pub(super) beginning: bool,
    /// The table of mounts has changed, and what was queued before is read first.
    mounts_wait: bool,
    /// The table of `incrond run`.
    pub(super) followed: Option<PathBuf>,
    epoll: Epoll,
    signals: SignalFd,
    pub(super) active: HashMap<RunId, (LineId, RunInfo)>,
    // Kept between turns for their memory.
    pub(super) reports: Vec<watch::Report>,
    pub(super) wanting: Vec<LineId>,
    pub(super) ended: Vec<run::Report>,
}

impl Engine {
    /// Opens the descriptors of an owner without lines.
    pub fn new(settings: Settings, view: Box<dyn View>) -> io::Result<Self> {
        let mut stop = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            stop.add(signal);
        }
        stop.thread_block()?;
        let signals = SignalFd::with_flags(&stop, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut source = Sources::new()?;
        source.set_system(settings.system);
        let mut runner = Runner::new()?;
        runner.set_mailer(settings.mailer.clone());
        if !settings.system {
            runner.set_owner(&settings.owner);
        }
        let streams = StreamLines::new()?;
        let providers = Providers::new()?;
        let readable = |tag| EpollEvent::new(EpollFlags::EPOLLIN, tag);
        epoll.add(source.fd(), readable(SOURCE))?;
        epoll.add(source.fanotify(), readable(FANOTIFY))?;
        epoll.add(runner.fd(), readable(RUNNER))?;
        epoll.add(signals.as_fd(), readable(SIGNALS))?;
        epoll.add(streams.fd(), readable(STREAMS))?;
        epoll.add(source.waker().fd(), readable(WAKER))?;
        epoll.add(providers.fd(), readable(PROVIDERS))?;
        if let Some(mounts) = source.mounts() {
            epoll.add(mounts, EpollEvent::new(EpollFlags::EPOLLPRI, MOUNTS))?;
        }
        Ok(Self {
            scheduler: Scheduler::new(settings.max_jobs as usize),
            base_env: environment::inherited(),
            host: host_name().into(),
            clock: Clock::new(),
            lines: Lines::default(),
            catch_up: CatchUp::new(settings.state.clone()),
            channel: None,
            status: Status::default(),
            stopping: Stopping::No,
            beginning: false,
            mounts_wait: false,
            followed: None,
            active: HashMap::new(),
            reports: Vec::new(),
            wanting: Vec::new(),
            ended: Vec::new(),
            settings,
            source,
            runner,
            streams,
            providers,
            view,
            epoll,
            signals,
        })
    }

    /// Listens to a supervisor from now on.
    pub fn attach(&mut self, channel: Channel) -> io::Result<()> {
        self.epoll
            .add(channel.fd(), EpollEvent::new(EpollFlags::EPOLLIN, CHANNEL))?;
        self.channel = Some(channel);
        Ok(())
    }

    /// Stops listening: the supervisor is gone.
    pub(super) fn detach(&mut self) {
        if let Some(channel) = self.channel.take() {
            let _ = self.epoll.delete(channel.fd());
        }
    }

    /// Waits, handles what is ready, starts what may start.
    pub fn turn(&mut self) -> io::Result<Flow> {
        self.runner.prepare();
        let mut ready = [EpollEvent::empty(); 8];
        let count = match self.epoll.wait(&mut ready, self.timeout()) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        let is_ready = |tag| ready[..count].iter().any(|event| event.data() == tag);
        if is_ready(SOURCE) {
            self.read_source()?;
            self.start_ready();
        }
        if is_ready(FANOTIFY) {
            self.report(|source, now, reports| source.read_fanotify(now, reports))?;
            self.start_ready();
        }
        if is_ready(RUNNER) {
            self.read_runner()?;
        }
        if is_ready(SIGNALS) {
            self.read_signals()?;
        }
        if is_ready(CHANNEL) {
            self.read_channel()?;
        }
        if is_ready(MOUNTS) || self.mounts_wait {
            // What came before is acted on read by read, and not kept until all is read.
            self.mounts_wait =
                self.report(|source, now, reports| source.mounts_changed(now, reports));
        }
        if is_ready(WAKER) {
            self.read_woken()?;
        }
        if is_ready(PROVIDERS) {
            self.read_providers()?;
        }
        self.tick();
        self.start_ready();
        self.serve_streams();
        self.tell_ready()?;
        self.flow()
    }

    fn timeout(&self) -> EpollTimeout {
        if self.mounts_wait {
            return EpollTimeout::ZERO;
        }
        let deadlines = [
            self.source.deadline(),
            self.runner.deadline(),
            self.scheduler.deadline(),
            self.streams.deadline(),
            self.stopping.until(),
            crate::log::behind().then(|| self.clock.now() + crate::log::RETRY),
            self.catch_up.deadline(),
            self.providers.deadline(),
        ];
        let Some(next) = deadlines.into_iter().flatten().min() else {
            return EpollTimeout::NONE;
        };
        let wait = next - self.clock.now();
        // Rounded up: a turn that comes too early would spin.
        let millis = wait.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128);
        EpollTimeout::try_from(millis as i32).unwrap_or(EpollTimeout::ZERO)
    }

    fn read_signals(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.read_signal()? {
            let hangup = signal.ssi_signo == Signal::SIGHUP as u32;
            if !hangup || self.channel.is_none() {
                self.stop()?;
            }
        }
        Ok(())
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        if self.source.deadline().is_some_and(|at| at <= now) {
            self.report(|source, now, reports| source.tick(now, reports));
        }
        if self.runner.deadline().is_some_and(|at| at <= now) {
            self.runner.tick(now);
        }
        self.tick_catch_up(now);
        self.tick_providers(now);
    }
}

/// The machine's name for event JSON; "localhost" where it has none.
fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_else(|_| "localhost".into());
    name.to_string_lossy().into_owned()
}

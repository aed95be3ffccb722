//! All running commands of a worker behind one epoll descriptor.
//!
//! A run is over when its process is over, and not when its pipe closes: what
//! it left in the background may hold the pipe for years. Such a pipe is still
//! read, apart from the runs.

mod start;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::mailer::Mailer;
use super::pipe::{Outlet, Pipe, READ};
use super::running::{Run, Source, Stop};
use super::{Job, Outcome, Report};
use crate::schedule::RunId;
use crate::sys::memory::above_stdio;
use crate::sys::process::{self, End};
use crate::sys::spawn::Spawner;
use crate::time::Moment;

/// Descriptors looked at in one call of `process`.
const EVENTS: usize = 64;
/// Pipes made in advance.
const SPARE_PIPES: usize = 2;
/// Pipes still read after their run; beyond that the oldest is closed.
const MAX_LEFT: usize = 256;
/// Pause before epoll is asked again to watch what it refused.
const RETRY: Duration = Duration::from_millis(100);

/// All running commands of a worker, behind one descriptor.
///
/// Dropping it leaves running commands alone: they go on.
#[derive(Debug)]
pub struct Runner {
    epoll: Epoll,
    spawner: Spawner,
    null: OwnedFd,
    spare: Vec<Pipe>,
    runs: HashMap<RunId, Run>,
    /// When to act on which run: its timeout, then the end of `kill_after`.
    due: BTreeSet<(Moment, RunId)>,
    /// Pipes of runs that are over.
    left: BTreeMap<RunId, Outlet>,
    /// What epoll refused to watch, and when it is asked again.
    unwatched: Vec<Source>,
    retry: Option<Moment>,
    buffer: Box<[u8]>,
    mailer: Mailer,
}

impl Runner {
    /// Opens /dev/null and an epoll instance. Signals that this process ignores
    /// or handles must be set up before: commands get their defaults back.
    pub fn new() -> io::Result<Self> {
        process::keep_exit_statuses()?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            spawner: Spawner::new()?,
            null: above_stdio(null.into())?,
            spare: Vec::new(),
            runs: HashMap::new(),
            due: BTreeSet::new(),
            left: BTreeMap::new(),
            unwatched: Vec::new(),
            retry: None,
            buffer: vec![0; READ].into_boxed_slice(),
            mailer: Mailer::new(),
        })
    }

    /// The owner whom mail is from, and to where no MAILTO says otherwise;
    /// default: LOGNAME of the command.
    pub fn set_owner(&mut self, owner: &str) {
        self.mailer.owner = Some(owner.to_owned());
    }

    /// The program that takes mail, [`MAILER`](super::mail::MAILER) by default.
    pub fn set_mailer(&mut self, mailer: PathBuf) {
        self.mailer.program = mailer;
    }

    /// Readable (an epoll descriptor) when `process` has something to do.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// Where the kernel refuses (no memory, fs.epoll.max_user_watches), `tick`
    /// tries again: neither output nor the end of a run is lost.
    fn watch(&mut self, source: Source, now: Moment) {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, source.token());
        let result = match source {
            Source::Process(run) => self
                .runs
                .get(&run)
                .map(|run| self.epoll.add(&run.pidfd, event)),
            Source::Pipe(run) => {
                let outlet = self.runs.get(&run).map(|run| &run.output);
                let outlet = outlet.or_else(|| self.left.get(&run));
                outlet
                    .and_then(|o| o.pipe.as_ref())
                    .map(|pipe| self.epoll.add(pipe, event))
            }
        };
        if let Some(Err(errno)) = result {
            if self.unwatched.is_empty() {
                log::error!(
                    "cannot follow a running command: epoll_ctl: {}",
                    errno.desc()
                );
            }
            self.unwatched.push(source);
            self.retry = Some(now + RETRY);
        }
    }

    /// TERM to the group of this run, KILL after its `kill_after`.
    pub fn kill(&mut self, run: RunId, now: Moment) {
        if self.runs.get(&run).is_some_and(|r| r.stop == Stop::Running) {
            self.stop(run, now);
        }
    }

    /// [`kill`](Self::kill) of every run.
    pub fn kill_all(&mut self, now: Moment) {
        let runs: Vec<RunId> = self.runs.keys().copied().collect();
        for run in runs {
            self.kill(run, now);
        }
    }

    /// The next step in ending a run.
    fn stop(&mut self, id: RunId, now: Moment) {
        let Some(run) = self.runs.get_mut(&id) else {
            return;
        };
        if let Some(due) = run.due.take() {
            self.due.remove(&(due, id));
        }
        if run.stop == Stop::Running && !run.kill_after.is_zero() {
            run.stop = Stop::Termed;
            let due = now + run.kill_after;
            run.due = Some(due);
            self.due.insert((due, id));
            run.signal(libc::SIGTERM);
            // A stopped process would not see the TERM.
            run.signal(libc::SIGCONT);
        } else {
            run.stop = Stop::Killed;
            run.signal(libc::SIGKILL);
        }
    }

    /// Reads output and reaps, without ever blocking. It does a bounded amount
    /// of work; `fd` stays readable while there is more.
    pub fn process(&mut self, now: Moment, out: &mut Vec<Report>) {
        let first = out.len();
        let mut events = [EpollEvent::empty(); EVENTS];
        // EINTR is the only possible error; the descriptor stays readable.
        let count = self
            .epoll
            .wait(&mut events, EpollTimeout::ZERO)
            .unwrap_or(0);
        for event in events.iter().take(count) {
            match Source::from_token(event.data()) {
                Source::Pipe(run) => self.read(run, now, out),
                Source::Process(run) => self.end(run, now, out),
            }
        }
        self.mailer.take_reports(out, first);
    }

    /// Reads once from the pipe of a run, be it over or not.
    fn read(&mut self, id: RunId, now: Moment, out: &mut Vec<Report>) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.output.read(id, &mut self.buffer, now, out);
        } else if let Some(output) = self.left.get_mut(&id) {
            output.read(id, &mut self.buffer, now, out);
            if output.pipe.is_none() {
                self.left.remove(&id);
            }
        }
    }

    /// Reaps a run that has ended, takes what is still in its pipe and reports.
    fn end(&mut self, id: RunId, now: Moment, out: &mut Vec<Report>) {
        let Some(run) = self.runs.get(&id) else {
            return;
        };
        let outcome = match process::reap(run.pidfd.as_fd()) {
            Ok(None) => return,
            Ok(Some(End::Exited(code))) => Outcome::Exited(code),
            Ok(Some(End::Signaled(number))) => Outcome::Signaled(number),
            Err(error) => {
                log::error!("the exit status of process {} is lost: {error}", run.pid);
                Outcome::Exited(255)
            }
        };
        let Some(mut run) = self.runs.remove(&id) else {
            return;
        };
        if let Some(due) = run.due {
            self.due.remove(&(due, id));
        }
        run.output.drain(id, &mut self.buffer, now, out);
        out.push(Report::Ended {
            run: id,
            pid: run.pid,
            outcome,
            duration: now - run.started,
            killed: run.stop != Stop::Running,
            tail: run.output.capture.take_tail(),
        });
        if let Some(job) = run.mail {
            self.send_mail(&job, run.output.capture.take_mail(), now);
        }
        if run.output.pipe.is_some() {
            self.keep_left(id, run.output);
        }
    }

    /// Something in the background still holds this pipe: it is read on.
    fn keep_left(&mut self, run: RunId, mut output: Outlet) {
        output.capture.report_lines(); // a mail has gone
        self.left.insert(run, output);
        if self.left.len() > MAX_LEFT
            && let Some((RunId(oldest), _)) = self.left.pop_first()
        {
            log::warn!(
                "more than {MAX_LEFT} commands in the background hold their output open: \
                 that of run {oldest} is no longer read"
            );
        }
    }

    fn send_mail(&mut self, job: &Job, output: Vec<u8>, now: Moment) {
        if let Some((run, mail)) = self.mailer.run(job, output)
            && let Err(error) = self.start(run, &mail, now)
        {
            let whose = self.mailer.over(run);
            log::error!("output of {whose} is not mailed: {error}");
        }
    }

    /// The next timeout.
    pub fn deadline(&self) -> Option<Moment> {
        self.due
            .first()
            .map(|&(due, _)| due)
            .into_iter()
            .chain(self.retry)
            .min()
    }

    /// Acts on timeouts.
    pub fn tick(&mut self, now: Moment) {
        while let Some(&(due, run)) = self.due.first()
            && due <= now
        {
            self.stop(run, now);
        }
        if self.retry.is_some_and(|retry| retry <= now) {
            self.retry = None;
            for source in std::mem::take(&mut self.unwatched) {
                self.watch(source, now);
            }
        }
    }

    /// Prepares what the next start needs (pipes), while nothing is urgent.
    pub fn prepare(&mut self) {
        self.spawner.prepare();
        while self.spare.len() < SPARE_PIPES {
            // Where none can be made now, `start` tries again, and reports.
            let Ok(pipe) = Pipe::new() else { return };
            self.spare.push(pipe);
        }
    }

    /// How many processes run, mailers included.
    pub fn running(&self) -> usize {
        self.runs.len()
    }
}

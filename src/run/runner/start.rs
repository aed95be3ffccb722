//! The way from a job to its process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::super::capture::{Capture, Keep};
use super::super::error::StartError;
use super::super::mailer::without_input;
use super::super::pipe::{Outlet, Pipe};
use super::super::running::{Run, Source, Stop};
use super::super::{Job, file, input};
use super::Runner;
use crate::schedule::RunId;
use crate::sys::memory::above_stdio;
use crate::sys::spawn::Program;
use crate::table::Output;
use crate::time::Moment;

impl Runner {
    /// Starts a command in its own process group; its pid. Returns when it
    /// executes. Numbers of `run` from 1 << 61 on are used by streams and mailers.
    ///
    /// Errors hold a [`StartError`]; nothing was started then. Where no pipe can
    /// be made for its output, the command runs and its output is discarded.
    pub fn start(&mut self, run: RunId, job: &Job, now: Moment) -> io::Result<i32> {
        let stdin = input::open(job)?;
        self.start_with(run, job, stdin.as_ref().map(AsFd::as_fd), now)
    }

    /// [`start`](Self::start) of a command that reads from `stdin` instead of `job.stdin`.
    pub fn start_reading(
        &mut self,
        run: RunId,
        job: &Job,
        stdin: BorrowedFd<'_>,
        now: Moment,
    ) -> io::Result<i32> {
        self.start_with(run, job, Some(stdin), now)
    }

    fn start_with(
        &mut self,
        run: RunId,
        job: &Job,
        stdin: Option<BorrowedFd<'_>>,
        now: Moment,
    ) -> io::Result<i32> {
        let (pipe, file) = self.open_output(job)?;
        let append = match &job.output {
            Output::File(path) if file.is_none() => Some(path.as_path()),
            _ => None,
        };
        let output = match (&pipe, &file) {
            (Some(pipe), _) => pipe.write.as_fd(),
            (_, Some(file)) => file.as_fd(),
            _ => self.null.as_fd(),
        };
        let child = self.spawner.spawn(&Program {
            argv: &job.argv,
            env: [&job.base, &job.env],
            stdin: stdin.unwrap_or(self.null.as_fd()),
            output,
            errors: output,
            with_us: false,
            append,
            cwd: job.cwd.as_deref(),
            umask: job.umask,
            nice: job.nice,
            ids: job
                .identity
                .as_ref()
                .map(|i| (i.uid, i.gid, i.groups.as_slice())),
        });
        let child = match child {
            Ok(child) => child,
            Err(failure) => {
                self.spare.extend(pipe);
                return Err(StartError::new(failure, job).into());
            }
        };
        let pid = child.pid;
        let keep = if job.output == Output::Mail {
            Keep::Mail
        } else {
            Keep::Lines
        };
        let pipe = pipe.map(|pipe| pipe.read);
        let due = job.timeout.map(|timeout| now + timeout);
        self.due.extend(due.map(|due| (due, run)));
        let mail = (keep == Keep::Mail).then(|| Box::new(without_input(job)));
        self.runs.insert(
            run,
            Run {
                pid,
                pidfd: child.pidfd,
                started: now,
                output: Outlet {
                    pipe,
                    capture: Capture::new(keep, now),
                },
                stop: Stop::Running,
                kill_after: job.kill_after,
                due,
                mail,
            },
        );
        self.watch(Source::Pipe(run), now);
        self.watch(Source::Process(run), now);
        Ok(pid)
    }

    /// The pipe or the file for the job's output; neither: it is discarded, or
    /// the command itself opens the file.
    fn open_output(&mut self, job: &Job) -> io::Result<(Option<Pipe>, Option<OwnedFd>)> {
        match &job.output {
            Output::Discard => Ok((None, None)),
            Output::File(path) if path.is_relative() => {
                let reason = "it is not an absolute path".to_owned();
                Err(StartError::output(job, Errno::EINVAL, reason).into())
            }
            Output::File(path) if runs_as_root(job) => {
                let file = file::open_append(path, job.umask.unwrap_or(0))
                    .map_err(|(errno, reason)| StartError::output(job, errno, reason))?;
                Ok((None, Some(above_stdio(file)?)))
            }
            Output::File(_) => Ok((None, None)),
            Output::Log | Output::Mail => match self.spare.pop().map_or_else(Pipe::new, Ok) {
                Ok(pipe) => Ok((Some(pipe), None)),
                Err(error) => {
                    log::warn!("no pipe for the output of a command, which is discarded: {error}");
                    Ok((None, None))
                }
            },
        }
    }
}

fn runs_as_root(job: &Job) -> bool {
    match &job.identity {
        Some(identity) => identity.uid == 0,
        None => geteuid().is_root(),
    }
}

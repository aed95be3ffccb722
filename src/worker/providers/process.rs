//! The process of a provider: its pipes, what comes through them, its end.
//!
//! Not one of `run`'s commands: it is no run of a line, its output is read by the
//! worker, and it lives as long as a line names it.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::message::{self, Message};
use super::reader::{Line, Lines};
use crate::run::{self, Capture, Job, Keep, Outcome, Pipe, READ, StartError};
use crate::schedule::RunId;
use crate::sys::process::{self, End};
use crate::sys::spawn::{Program, Spawner};
use crate::time::Moment;

/// Read from one provider in one turn, in bytes: the rest waits, so that one that
/// prints without end does not keep events waiting.
const TURN: usize = 4 * READ;
/// Read when it has ended: the most that a pipe holds by default (fs.pipe-max-size).
const LAST: usize = 1 << 20;
/// KILL this long after TERM.
const KILL_AFTER: Duration = Duration::from_secs(5);
/// Of one read, so many lines that mean nothing are told one by one.
const MOST_WRONG: u64 = 8;
/// Of an error's text, in characters: it may cite the line.
const MOST_TEXT: usize = 300;

/// What a process is heard of.
pub(super) enum Heard {
    /// A line of its output.
    Message(Message),
    /// A line that means nothing: its number and what is wrong with it.
    Malformed(u64, String),
    /// So many more of them.
    More(u64),
    /// A line of its standard error.
    Said(Vec<u8>),
}

pub(super) struct Process {
    /// Its provider; None: no line names that any more.
    pub provider: Option<Rc<str>>,
    pub pid: i32,
    pub started: Moment,
    pidfd: OwnedFd,
    output: Option<File>,
    errors: Option<File>,
    lines: Lines,
    capture: Capture,
    /// TERM was sent; KILL is due then, or (None) was sent, too.
    ending: Option<Option<Moment>>,
    reaped: bool,
}

impl Process {
    /// Runs the program at `path` with the worker's environment, in a process group
    /// of its own; it ends with the worker.
    ///
    /// # Errors
    /// [`StartError`], or no pipe could be made.
    pub fn start(
        spawner: &mut Spawner,
        (name, path): (&Rc<str>, &Path),
        job: &mut Job,
        now: Moment,
    ) -> io::Result<Self> {
        job.argv = vec![path.into()];
        let (output, errors) = (Pipe::new()?, Pipe::new()?);
        let null = crate::sys::memory::above_stdio(File::open("/dev/null")?.into())?;
        let child = spawner.spawn(&Program {
            argv: &job.argv,
            env: [&job.base, &job.env],
            stdin: null.as_fd(),
            output: output.write.as_fd(),
            errors: errors.write.as_fd(),
            with_us: true,
            append: None,
            cwd: None,
            umask: None,
            nice: None,
            ids: None,
        });
        let child = child.map_err(|failure| io::Error::from(StartError::new(failure, job)))?;
        Ok(Self {
            provider: Some(Rc::clone(name)),
            pid: child.pid,
            started: now,
            pidfd: child.pidfd,
            output: Some(output.read),
            errors: Some(errors.read),
            lines: Lines::default(),
            capture: Capture::new(Keep::Lines, now),
            ending: None,
            reaped: false,
        })
    }

    /// What is to be polled: its end, its output, its standard error.
    pub fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 3] {
        [
            Some(self.pidfd.as_fd()),
            self.output.as_ref().map(AsFd::as_fd),
            self.errors.as_ref().map(AsFd::as_fd),
        ]
    }

    /// Reads some of its output. False: it is closed, and nothing more will come.
    pub fn read_output(&mut self, out: &mut Vec<Heard>) -> bool {
        self.read_at_most(TURN, out);
        self.output.is_some()
    }

    fn read_at_most(&mut self, most: usize, out: &mut Vec<Heard>) {
        let mut buffer = vec![0; READ];
        let mut taken = 0;
        while taken < most {
            let size = read(&mut self.output, &mut buffer);
            if size == 0 {
                break;
            }
            taken += size;
            let bytes = buffer.get(..size).unwrap_or_default();
            // A megabyte of newlines is a million lines that mean nothing.
            let (mut wrong, mut more) = (0, 0);
            self.lines.take(bytes, |line| match heard(line) {
                Heard::Malformed(..) if wrong == MOST_WRONG => more += 1,
                line => {
                    wrong += u64::from(matches!(line, Heard::Malformed(..)));
                    out.push(line);
                }
            });
            if more > 0 {
                out.push(Heard::More(more));
            }
        }
    }

    /// Reads some of its standard error.
    pub fn read_errors(&mut self, now: Moment, out: &mut Vec<Heard>) {
        let mut buffer = vec![0; READ];
        let size = read(&mut self.errors, &mut buffer);
        let mut lines = Vec::new();
        let bytes = buffer.get(..size).unwrap_or_default();
        self.capture.take(RunId(0), bytes, now, &mut lines);
        if self.errors.is_none() {
            self.capture.flush(RunId(0), &mut lines);
        }
        out.extend(lines.into_iter().filter_map(said));
    }

    /// How it has ended, if it has; what it said last is heard first.
    pub fn end(&mut self, now: Moment, out: &mut Vec<Heard>) -> Option<Outcome> {
        // What it has left in its group has nobody to talk to. Before it is reaped:
        // until then the group's number is its own.
        self.signal(libc::SIGTERM);
        let end = match process::reap(self.pidfd.as_fd()) {
            Ok(None) => return None,
            Ok(Some(End::Exited(code))) => Outcome::Exited(code),
            Ok(Some(End::Signaled(number))) => Outcome::Signaled(number),
            // Somebody else has reaped it: it is gone all the same.
            Err(_) => Outcome::Exited(0),
        };
        self.reaped = true;
        self.read_at_most(LAST, out);
        self.lines.clear();
        self.read_errors(now, out);
        Some(end)
    }

    /// Asks it to end. What it leaves behind in its group is asked, too.
    pub fn terminate(&mut self, now: Moment) {
        if self.ending.is_none() {
            self.ending = Some(Some(now + KILL_AFTER));
            self.signal(libc::SIGTERM);
        }
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.ending.flatten()
    }

    /// Ends it where it was asked in vain.
    pub fn tick(&mut self, now: Moment) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.kill();
        }
    }

    pub fn kill(&mut self) {
        self.ending = Some(None);
        self.signal(libc::SIGKILL);
    }

    fn signal(&self, number: i32) {
        if let Err(error) = process::signal_group(self.pid, self.pidfd.as_fd(), number)
            && error.raw_os_error() != Some(libc::ESRCH)
        {
            let pid = self.pid;
            log::warn!("cannot send signal {number} to process {pid}: {error}");
        }
    }
}

/// Nobody is left without an end: a worker that gives one up has reaped or kills it.
impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(libc::SIGKILL);
        }
    }
}

/// How much was read; 0: nothing is there now, or (then the pipe is closed) ever.
fn read(pipe: &mut Option<File>, buffer: &mut [u8]) -> usize {
    let Some(open) = pipe else { return 0 };
    match open.read(buffer) {
        Ok(size) if size > 0 => size,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
        Ok(_) | Err(_) => {
            *pipe = None;
            0
        }
    }
}

fn heard(line: Line<'_>) -> Heard {
    match line {
        Line::TooLong(number) => {
            let most = super::reader::LONGEST_LINE;
            Heard::Malformed(number, format!("it is longer than {most} bytes"))
        }
        Line::Whole(number, text) => match message::parse(text) {
            Ok(message) => Heard::Message(message),
            Err(why) => Heard::Malformed(number, why.chars().take(MOST_TEXT).collect()),
        },
    }
}

fn said(report: run::Report) -> Option<Heard> {
    match report {
        run::Report::Output(_, text) => Some(Heard::Said(text)),
        run::Report::Ended { .. } => None,
    }
}

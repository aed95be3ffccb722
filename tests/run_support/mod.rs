//! A worker's loop in small: start, wait for a condition, with a deadline.
#![allow(dead_code)] // each test program uses its part

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use incron::run::stream::Streams;
use incron::run::{Job, Outcome, Report, Runner};
use incron::schedule::RunId;
use incron::time::{Clock, Moment};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Nothing here takes nearly as long; only a hang does.
const DEADLINE: Duration = Duration::from_secs(120);

/// How a run went.
pub struct Done {
    pub pid: i32,
    pub outcome: Outcome,
    pub killed: bool,
    pub tail: Vec<u8>,
    pub lines: Vec<String>,
}

pub struct Loop {
    pub runner: Runner,
    pub streams: Streams,
    /// Added to the clock: time passes as a test says.
    pub skew: Duration,
    /// Processes of streams that have ended.
    pub stream_lives: usize,
    /// When the last one's end was heard of.
    pub stream_end: Moment,
    clock: Clock,
    next: u64,
    lines: BTreeMap<RunId, Vec<String>>,
    ended: BTreeMap<RunId, Done>,
}

impl Loop {
    pub fn new() -> Self {
        let runner = Runner::new().unwrap();
        let (lines, ended) = (BTreeMap::new(), BTreeMap::new());
        let streams = Streams::new().unwrap();
        let skew = Duration::ZERO;
        let clock = Clock::new();
        Self {
            runner,
            streams,
            skew,
            stream_lives: 0,
            stream_end: clock.now(),
            clock,
            next: 0,
            lines,
            ended,
        }
    }

    pub fn now(&self) -> Moment {
        self.clock.now() + self.skew
    }

    pub fn start(&mut self, job: &Job) -> io::Result<RunId> {
        self.next += 1;
        let run = RunId(self.next);
        self.runner.start(run, job, self.now())?;
        Ok(run)
    }

    pub fn kill(&mut self, run: RunId) {
        self.runner.kill(run, self.now());
    }

    pub fn run(&mut self, job: &Job) -> Done {
        let run = self.start(job).unwrap();
        self.wait_for(run)
    }

    pub fn wait_for(&mut self, run: RunId) -> Done {
        self.until(|the| the.ended.contains_key(&run));
        let lines = self.lines.get(&run).cloned().unwrap_or_default();
        Done {
            lines,
            ..self.ended.remove(&run).unwrap()
        }
    }

    /// Output of a run so far.
    pub fn lines(&self, run: RunId) -> &[String] {
        self.lines.get(&run).map_or(&[], Vec::as_slice)
    }

    /// Output of everything so far.
    pub fn all_lines(&self) -> Vec<&str> {
        self.lines.values().flatten().map(String::as_str).collect()
    }

    pub fn read_anything(&self, run: RunId) -> bool {
        !self.lines(run).is_empty()
    }

    /// Turns the loop until the condition holds.
    pub fn until(&mut self, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let now = self.now();
            self.streams.process(now, &mut self.runner);
            if condition(self) {
                return;
            }
            assert!(Instant::now() < deadline, "the condition never came true");
            self.turn();
        }
    }

    fn turn(&mut self) {
        let now = self.now();
        let due = self
            .runner
            .deadline()
            .into_iter()
            .chain(self.streams.deadline())
            .min();
        let wait = due.map_or(DEADLINE, |due| due - now);
        let wait = PollTimeout::try_from(wait.min(DEADLINE) + Duration::from_millis(1)).unwrap();
        let mut fds =
            [self.runner.fd(), self.streams.fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut fds, wait).unwrap();
        let now = self.now();
        let mut out = Vec::new();
        self.runner.tick(now);
        self.runner.process(now, &mut out);
        for report in out {
            match report {
                Report::Output(run, line) => {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    self.lines.entry(run).or_default().push(line);
                }
                Report::Ended { run, outcome, .. } if self.streams.of(run).is_some() => {
                    self.stream_lives += 1;
                    self.stream_end = now;
                    self.streams.ended(run, outcome, now);
                }
                Report::Ended {
                    run,
                    pid,
                    outcome,
                    killed,
                    tail,
                    ..
                } => {
                    let done = Done {
                        pid,
                        outcome,
                        killed,
                        tail,
                        lines: Vec::new(),
                    };
                    self.ended.insert(run, done);
                }
            }
        }
    }

    /// Children of this thread that nobody has reaped.
    pub fn children(&self) -> Vec<i32> {
        let text = fs::read_to_string("/proc/thread-self/children").unwrap();
        text.split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    }
}

/// A command with a PATH and nothing else.
pub fn job<'a>(argv: impl IntoIterator<Item = &'a str>) -> Job {
    let mut job = Job::new(argv.into_iter().map(OsString::from));
    job.env = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())];
    job
}

pub fn sh(text: &str) -> Job {
    job(["/bin/sh", "-c", text])
}

/// Writes a file that all may execute, by a process of its own: a descriptor of ours that
/// is open for writing may be inherited by what a test beside this one starts, and then
/// the file cannot be executed (ETXTBSY).
pub fn script(path: &std::path::Path, text: &str) {
    let write = ["-c", "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"];
    let mut sh = std::process::Command::new("sh");
    let written = sh.args(write).arg(path).arg(text).status();
    assert!(written.unwrap().success());
}

pub fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub fn skip(needs: &str) {
    eprintln!("SKIPPED: needs {needs}");
}

impl Drop for Loop {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        self.runner.kill_all(self.now());
        self.streams.close_all(Duration::ZERO, self.now());
        while self.runner.running() > 0 && Instant::now() < deadline {
            self.turn();
        }
    }
}

//! A worker's loop in small: start, wait for a condition, with a deadline.
#![allow(dead_code)] // each test program uses its part

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use incron::run::{Job, Outcome, Report, Runner};
use incron::schedule::RunId;
use incron::time::Clock;
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
    clock: Clock,
    next: u64,
    lines: HashMap<RunId, Vec<String>>,
    ended: HashMap<RunId, Done>,
}

impl Loop {
    pub fn new() -> Self {
        let runner = Runner::new().unwrap();
        let (lines, ended) = (HashMap::new(), HashMap::new());
        Self {
            runner,
            clock: Clock::new(),
            next: 0,
            lines,
            ended,
        }
    }

    pub fn start(&mut self, job: &Job) -> io::Result<RunId> {
        self.next += 1;
        let run = RunId(self.next);
        self.runner.start(run, job, self.clock.now())?;
        Ok(run)
    }

    pub fn kill(&mut self, run: RunId) {
        self.runner.kill(run, self.clock.now());
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

    pub fn read_anything(&self, run: RunId) -> bool {
        !self.lines(run).is_empty()
    }

    /// Turns the loop until the condition holds.
    pub fn until(&mut self, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "the condition never came true");
            self.turn();
        }
    }

    fn turn(&mut self) {
        let now = self.clock.now();
        let wait = self.runner.deadline().map_or(DEADLINE, |due| due - now);
        let wait = PollTimeout::try_from(wait.min(DEADLINE) + Duration::from_millis(1)).unwrap();
        let mut fds = [PollFd::new(self.runner.fd(), PollFlags::POLLIN)];
        poll(&mut fds, wait).unwrap();
        let now = self.clock.now();
        let mut out = Vec::new();
        self.runner.tick(now);
        self.runner.process(now, &mut out);
        for report in out {
            match report {
                Report::Output(run, line) => {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    self.lines.entry(run).or_default().push(line);
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

pub fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub fn skip(needs: &str) {
    eprintln!("SKIPPED: needs {needs}");
}

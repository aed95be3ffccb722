//! `incron-containers provide`, and waiting for what it says.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::PROGRAM;

/// No condition is waited for longer; only a hang takes as long.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Waits until `condition` holds; for what tells nobody that it has changed.
#[track_caller]
pub fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        let _ = nix::poll::poll(&mut [], nix::poll::PollTimeout::from(25u8));
    }
}

/// A running provider; ended when it is dropped.
pub struct Provider {
    pub child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
    /// Lines so far.
    pub seen: Vec<Value>,
}

impl Provider {
    /// Starts it, and waits until it is ready.
    pub fn start(words: &[&str]) -> Provider {
        let mut provider = Provider::begin(words);
        provider.until("ready", |line| line["ready"] == true);
        provider
    }

    /// Starts it.
    pub fn begin(words: &[&str]) -> Provider {
        Provider::run(Command::new(PROGRAM), words)
    }

    /// Starts it without a capability, as setpriv(1) names it.
    pub fn without(capability: &str, words: &[&str]) -> Provider {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", &format!("-{capability}"), PROGRAM]);
        Provider::run(command, words)
    }

    fn run(mut command: Command, words: &[&str]) -> Provider {
        command.arg("provide").args(words);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Provider {
            lines: lines(child.stdout.take().unwrap()),
            errors: lines(child.stderr.take().unwrap()),
            child,
            seen: Vec::new(),
        }
    }

    /// Reads on to the line that is meant.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut meant: impl FnMut(&Value) -> bool) -> Value {
        loop {
            let line = match self.lines.recv_timeout(LIMIT) {
                Ok(line) => serde_json::from_str::<Value>(&line).unwrap(),
                Err(error) => panic!("{error} while waiting for {what}: {:#?}", self.seen),
            };
            self.seen.push(line.clone());
            if meant(&line) {
                return line;
            }
        }
    }

    /// The message that adds the container with this name.
    #[track_caller]
    pub fn added(&mut self, name: &str) -> Value {
        let line = self.until(name, |line| line["add"]["labels"]["name"] == name);
        line["add"].clone()
    }

    /// Reads on to the end of a container that was added.
    #[track_caller]
    pub fn removed(&mut self, add: &Value) {
        self.until("its end", |line| line["remove"] == add["id"]);
    }

    /// Reads on to a line of standard error with this text.
    #[track_caller]
    pub fn complains(&mut self, text: &str) -> String {
        loop {
            match self.errors.recv_timeout(LIMIT) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(error) => panic!("{error} while waiting for {text:?}"),
            }
        }
    }

    /// Names of the containers that run now, as far as it was read.
    pub fn names(&self) -> Vec<String> {
        let mut running: Vec<&Value> = Vec::new();
        for line in &self.seen {
            let id = line.get("remove").unwrap_or(&line["add"]["id"]);
            running.retain(|add| add["id"] != *id);
            if let Some(add) = line.get("add") {
                running.push(add);
            }
        }
        let name = |add: &&Value| add["labels"]["name"].as_str().map(str::to_owned);
        running.iter().filter_map(name).collect()
    }

    /// How often its threads have gone to sleep by themselves so far.
    pub fn wakeups(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let count = |status: String| {
            let mut lines = status.lines();
            let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse::<u64>().ok()
        };
        let statuses = tasks.flatten().map(|task| task.path().join("status"));
        statuses
            .filter_map(|path| count(std::fs::read_to_string(path).ok()?))
            .sum()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

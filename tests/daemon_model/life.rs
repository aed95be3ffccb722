//! The lives of a game's daemon and of its worker.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::common::{Daemon, INCROND, alive};
use super::game::Game;
use super::served::now;
use super::supervisor_support::worker;

const READY: &str = "ready to process filesystem events";

/// What ended since the last check.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// Something by kill -9: the state on disk is as old as its last writing.
    pub killed: bool,
    /// The daemon by SIGTERM, when everything was written down; when that was.
    pub stopped: Option<usize>,
}

impl Ends {
    pub fn any(self) -> bool {
        self.killed || self.stopped.is_some()
    }
}

/// The daemon of a game; none between its end and the next check.
#[derive(Default)]
pub struct Life<'a> {
    pub daemon: Option<Daemon<'a>>,
    /// Since the last check.
    pub ends: Ends,
    /// In the whole game.
    pub all_ends: usize,
    /// Times that this daemon's worker was killed: the pause after it grows.
    kills: usize,
    killed_worker: Option<Pid>,
    readies: usize,
}

impl Game<'_> {
    pub fn start(&mut self) {
        let daemon = self.prefix.spawn(INCROND);
        self.life.readies += 1;
        daemon.wait_log_times(READY, self.life.readies);
        self.life.daemon = Some(daemon);
        self.life.kills = 0;
        self.life.killed_worker = None;
    }

    pub fn stop(&mut self) -> Result<(), String> {
        let Some(daemon) = self.life.daemon.take() else {
            return Ok(());
        };
        let stopped = now();
        // A worker that was killed and not started again has written nothing down.
        self.life.ends.stopped = Some(stopped);
        self.life.all_ends += 1;
        for served in &mut self.lines {
            served.stops();
        }
        match daemon.stop() {
            Some(0) => Ok(()),
            code => Err(format!("the daemon ended with {code:?}")),
        }
    }

    pub fn kill_daemon(&mut self) {
        let Some(mut daemon) = self.life.daemon.take() else {
            return;
        };
        let workers = daemon.workers();
        daemon.signal(Signal::SIGKILL);
        daemon.child.wait().unwrap();
        // They end when they notice; the next daemon's begin after them.
        let gone = || !workers.iter().any(|pid| alive(*pid));
        self.prefix.wait("the workers' end", gone);
        self.life.ends.killed = true;
        self.life.all_ends += 1;
    }

    pub fn kill_worker(&mut self) {
        let Some(daemon) = &self.life.daemon else {
            return;
        };
        if self.life.kills == 2 || self.life.killed_worker.is_some() {
            return;
        }
        if let Some(&pid) = daemon.workers().first() {
            kill(pid, Signal::SIGKILL).unwrap();
            self.life.killed_worker = Some(pid);
            self.life.kills += 1;
            self.life.ends.killed = true;
            self.life.all_ends += 1;
        }
    }

    /// Another worker serves all lines.
    pub fn await_worker(&mut self) {
        let Some(old) = self.life.killed_worker.take() else {
            return;
        };
        let lines = self.lines.iter().filter(|served| served.on).count() as u64 + 1;
        self.prefix.wait("another worker", || {
            worker(self.prefix, "system").is_some_and(|worker| {
                let other = worker["pid"].as_i64() != Some(old.as_raw().into());
                other && worker["state"] == "running" && worker["lines"] == lines
            })
        });
    }
}

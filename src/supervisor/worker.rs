//! One owner's worker: its tables, and its life across processes.
//!
//! A process that dies is started again, at once the first time, then after
//! growing pauses; it is told everything anew. What happened in between is
//! lost for its owner only, and the log says so.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::outbox::Order;
use super::process::{Owner, Process};
use super::saved::Saved;
use super::tables::{self, Rule, Version};
use crate::time::Moment;
use crate::worker::protocol::{Settings, ToWorker};

/// A worker that lived so long was well; its next death is a first one again.
const HEALTHY: Duration = Duration::from_secs(60);
/// Between two starts there is never more.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// An owner who was refused a session is asked for again after this.
const REFUSED_PAUSE: Duration = Duration::from_secs(300);

/// One table of a worker.
#[derive(Clone, Debug)]
pub struct TableFile {
    /// Its directory.
    pub dir: PathBuf,
    /// Its name there.
    pub file: String,
    /// What it must be.
    pub rule: Rule,
    /// The version that was sent last.
    pub version: Option<Version>,
}

/// One owner's worker.
#[derive(Debug)]
pub struct Worker {
    /// Whose.
    pub owner: Owner,
    /// What it is told at its start.
    pub settings: Settings,
    /// By the name it knows them by.
    pub tables: BTreeMap<String, TableFile>,
    /// The process, while there is one.
    pub process: Option<Process>,
    /// When the next one is started.
    pub restart: Option<Moment>,
    /// Starts after the first.
    pub restarts: u64,
    failures: u32,
    /// PAM refused its owner a session; nobody waits for it to be ready.
    pub refused: bool,
}

impl Worker {
    /// A worker without a process, to be started now.
    pub fn new(owner: Owner, settings: Settings, now: Moment) -> Self {
        Self {
            owner,
            settings,
            tables: BTreeMap::new(),
            process: None,
            restart: Some(now),
            restarts: 0,
            failures: 0,
            refused: false,
        }
    }

    /// Takes up a table, or its new version, and tells the process.
    pub fn put(&mut self, name: String, table: TableFile) {
        if let Some(process) = &mut self.process {
            process.outbox.push(Order::Load(name.clone()));
        }
        self.tables.insert(name, table);
    }

    /// Gives a table up. False: it had none of this name.
    pub fn take(&mut self, name: &str) -> bool {
        if self.tables.remove(name).is_none() {
            return false;
        }
        if let Some(process) = &mut self.process {
            process.outbox.push(Order::Drop(name.to_owned()));
        }
        true
    }

    /// Tells other settings.
    pub fn configure(&mut self, settings: Settings) {
        if settings == self.settings {
            return;
        }
        self.settings = settings;
        if let Some(process) = &mut self.process {
            process.outbox.push(Order::Hello);
        }
    }

    /// A process was started for it: queues all there is to say.
    pub fn adopt(&mut self, mut process: Process, resume: bool) {
        process.outbox.push(Order::Hello);
        for name in self.tables.keys() {
            process.outbox.push(Order::Load(name.clone()));
        }
        // After the tables, whose lines the saved work belongs to.
        if resume {
            process.outbox.push(Order::Resume);
        }
        process.outbox.push(Order::Begin);
        self.restart = None;
        self.refused = false;
        self.process = Some(process);
    }

    /// Its process is gone, or could not be started: when to try again.
    pub fn failed(&mut self, lived: Duration, now: Moment) -> Duration {
        if lived >= HEALTHY {
            self.failures = 0;
        }
        let pause = pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.restarts += 1;
        self.process = None;
        self.restart = Some(now + pause);
        pause
    }

    /// Its owner was refused a session: when to ask again.
    pub fn refuse(&mut self, now: Moment) -> Duration {
        self.process = None;
        self.refused = true;
        self.restart = Some(now + REFUSED_PAUSE);
        REFUSED_PAUSE
    }

    /// Something has changed: who was refused may be let in now.
    pub fn reconsider(&mut self, now: Moment) {
        if self.refused && self.process.is_none() {
            self.restart = Some(now);
        }
    }

    /// Sends what waits. True: the process is behind.
    pub fn flush(&mut self, saved: &Saved, now: Moment) -> bool {
        let Self {
            owner,
            settings,
            tables,
            process,
            ..
        } = self;
        let Some(process) = process else { return false };
        let behind = process.flush(now, |order| packet(order, owner, settings, tables, saved));
        // Kept until the worker is known to have it: one that dies before is
        // followed by one that gets it again.
        if process.ready && process.outbox.take_resumed() {
            saved.remove(owner);
        }
        behind
    }

    /// For log lines: `system` or `user alice`.
    pub fn label(&self) -> String {
        label(&self.owner)
    }
}

/// For log lines: `system` or `user alice`.
pub fn label(owner: &Owner) -> String {
    if owner.system {
        "system".to_owned()
    } else {
        format!("user {}", owner.name)
    }
}

/// Nothing, then 1 s, 2 s, 4 s ... a minute.
fn pause(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs(1 << doublings.min(6)).min(MAX_PAUSE),
    }
}

fn packet(
    order: &Order,
    owner: &Owner,
    settings: &Settings,
    tables: &mut BTreeMap<String, TableFile>,
    saved: &Saved,
) -> Option<(ToWorker, Option<OwnedFd>)> {
    Some(match order {
        Order::Hello => (ToWorker::Hello(settings.clone()), None),
        Order::Begin => (ToWorker::Begin, None),
        Order::Status => (ToWorker::Status, None),
        Order::Lines(after) => (ToWorker::Lines { after: *after }, None),
        Order::Stop => (ToWorker::Stop, None),
        Order::Drop(table) => (
            ToWorker::Drop {
                table: table.clone(),
            },
            None,
        ),
        Order::Resume => (ToWorker::Resume, Some(saved.open(owner)?.into())),
        Order::Load(name) => {
            let table = tables.get_mut(name)?;
            // It was good a moment ago; if it no longer is, the change that
            // made it so is already on its way to us.
            let opened = tables::open(&table.dir, OsStr::new(&table.file), &table.rule).ok()?;
            table.version = Some(opened.version);
            let origin = origin(&table.dir, &table.file);
            (
                ToWorker::Load {
                    table: name.clone(),
                    origin,
                },
                Some(opened.file.into()),
            )
        }
    })
}

fn origin(dir: &Path, file: &str) -> String {
    dir.join(file).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let seconds: Vec<u64> = (0..10).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(u32::MAX), MAX_PAUSE);
    }
}

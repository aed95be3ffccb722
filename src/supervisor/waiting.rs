//! Answers that depend on workers: a table is loaded, figures have come.

use serde_json::json;

use super::client::refused;
use super::daemon::Daemon;
use super::reconcile::Key;
use super::worker::Worker;
use crate::control::Answer;
use crate::time::Moment;
use crate::worker::protocol::Page;

/// A client whose answer depends on workers.
#[derive(Debug)]
pub struct Waiting {
    /// The connection.
    pub client: u64,
    /// Then it gets what is known.
    pub until: Moment,
    /// On what.
    pub what: What,
}

/// What somebody waits for.
#[derive(Debug)]
pub enum What {
    /// For the answer of this number about a table.
    Load {
        key: Key,
        table: String,
        process: u64,
        number: u64,
        result: Option<(u32, u32)>,
    },
    /// For this process to drop a table, or to end.
    Drop {
        process: u64,
        table: String,
        number: u64,
    },
    /// For the figures of these processes.
    Figures { keys: Vec<Key>, asked: Vec<u64> },
    /// For the lines after this one from this process.
    Lines {
        process: u64,
        after: u32,
        page: Option<Page>,
    },
}

impl Daemon {
    /// A worker has answered for a table.
    pub(super) fn loaded(&mut self, id: u64, table: &str, lines: u32, errors: u32) {
        for waiting in &mut self.waiting {
            if let What::Load {
                table: wanted,
                process,
                result,
                ..
            } = &mut waiting.what
                && *process == id
                && wanted == table
            {
                *result = Some((lines, errors));
            }
        }
    }

    /// A worker has sent figures of some of its lines.
    pub(super) fn paged(&mut self, id: u64, sent: &Page) {
        for waiting in &mut self.waiting {
            if let What::Lines {
                process,
                after,
                page,
            } = &mut waiting.what
                && (*process, *after) == (id, sent.after)
            {
                *page = Some(sent.clone());
            }
        }
    }

    /// Answers those whose workers have spoken, or who have waited enough.
    pub(super) fn answer_waiting(&mut self) {
        let now = self.clock.now();
        for mut waiting in std::mem::take(&mut self.waiting) {
            let done = self.is_answerable(&mut waiting.what) || waiting.until <= now;
            if done {
                let answer = self.final_answer(waiting.what);
                self.clients
                    .answer(waiting.client, &answer, &self.poll, now);
            } else {
                self.waiting.push(waiting);
            }
        }
    }

    fn is_answerable(&self, what: &mut What) -> bool {
        match what {
            What::Load {
                key,
                table,
                process: id,
                number,
                result,
            } => {
                let process = self
                    .workers
                    .get(key)
                    .and_then(|worker| worker.process.as_ref());
                let Some(process) = process else { return false };
                // The first look, or another process since: count anew.
                if process.id != *id {
                    (*id, *number, *result) = (process.id, process.outbox.awaited(table), None);
                }
                process.outbox.answered(table) >= *number && result.is_some()
            }
            What::Drop {
                process,
                table,
                number,
            } => self
                .held(*process)
                .is_none_or(|process| process.outbox.answered(table) >= *number),
            What::Figures { keys, asked } => keys
                .iter()
                .filter_map(|key| self.workers.get(key)?.process.as_ref())
                .all(|process| process.status.is_some() || !asked.contains(&process.id)),
            What::Lines { process, page, .. } => {
                let lives = |worker: &Worker| {
                    worker
                        .process
                        .as_ref()
                        .is_some_and(|now| now.id == *process)
                };
                page.is_some() || !self.workers.values().any(lives)
            }
        }
    }

    fn final_answer(&self, what: What) -> Answer {
        match what {
            What::Load { result, .. } => Answer::Done {
                lines: result.map(|(lines, _)| lines),
                errors: result.map(|(_, errors)| errors),
            },
            What::Drop { .. } => Answer::Done {
                lines: None,
                errors: None,
            },
            What::Figures { keys, .. } => Answer::Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                workers: keys
                    .iter()
                    .filter_map(|key| self.workers.get(key))
                    .map(figures)
                    .collect(),
            },
            What::Lines {
                page: Some(page), ..
            } => Answer::Lines {
                next: page
                    .lines
                    .last()
                    .map(|line| line.id)
                    .filter(|last| page.more && *last > page.after),
                lines: page.lines,
            },
            What::Lines { page: None, .. } => refused("failed", "the worker does not answer"),
        }
    }
}

/// One worker, for `Answer::Status`.
fn figures(worker: &Worker) -> serde_json::Value {
    let process = worker.process.as_ref();
    let state = match process {
        Some(process) if process.ready => "running",
        Some(_) => "starting",
        None => "waiting",
    };
    let mut object = json!({
        "owner": worker.owner.name,
        "system": worker.owner.system,
        "state": state,
        "pid": process.map(|process| process.pid()),
        "since": process.map(|process| crate::event::rfc3339(process.time)),
        "restarts": worker.restarts,
        "malformed": process.map_or(0, |process| process.malformed),
    });
    let status = process.and_then(|process| process.status.as_ref());
    if let Some(serde_json::Value::Object(status)) =
        status.and_then(|s| serde_json::to_value(s).ok())
        && let Some(object) = object.as_object_mut()
    {
        object.extend(status);
    }
    object
}

//! Workers' lives: how they start, what they say, how they end.

use std::os::fd::OwnedFd;
use std::time::Duration;

use super::daemon::{Daemon, Phase};
use super::logging;
use super::notify;
use super::outbox::Order;
use super::poll::Token;
use super::process::{Heard, Owner, Process, Word};
use super::reconcile::Key;
use super::worker::{Worker, label};
use crate::exit::Exit;
use crate::open_files::named;
use crate::time::Moment;
use crate::worker::KILLING;

/// What a worker gets beyond the grace of its commands to end those that are left,
/// to save and to end: killed before, it would lose what waits.
const STOP_MARGIN: Duration = Duration::from_secs(3 + KILLING.as_secs());
/// Turns of reading after a worker's end: more than a channel can hold.
const LAST_TURNS: usize = 64;

impl Daemon {
    pub(super) fn stop(&mut self) {
        if self.phase == Phase::Stopping {
            log::warn!("told to stop again; ending the workers at once");
            self.leaving.iter().for_each(|(_, process)| process.kill());
            return;
        }
        log::info!("stopping service");
        notify::stopping();
        self.phase = Phase::Stopping;
        let keys: Vec<Key> = self.workers.keys().cloned().collect();
        keys.iter().for_each(|key| self.dismiss(key));
    }

    /// Ends the worker of `key`; its process may finish what runs.
    pub fn dismiss(&mut self, key: &Key) {
        let Some(mut worker) = self.workers.remove(key) else {
            return;
        };
        log::debug!("ending the worker of {}", worker.label());
        let Some(mut process) = worker.process.take() else {
            return;
        };
        let now = self.clock.now();
        process.outbox.push(Order::Stop);
        process.stop_until = Some(now + self.config.stop_grace + STOP_MARGIN);
        // Queued loads are moot; what cannot be sent now is not sent at all.
        worker.process = Some(process);
        worker.flush(&self.saved, now);
        if let Some(process) = worker.process.take() {
            self.leaving.push((worker.owner, process));
        }
    }

    /// Starts every worker whose time has come.
    pub(super) fn start_due(&mut self) {
        if self.phase == Phase::Stopping {
            return;
        }
        let now = self.clock.now();
        let log = logging::choice(&self.config);
        for worker in self.workers.values_mut() {
            if worker.process.is_some() || worker.restart.is_none_or(|at| at > now) {
                continue;
            }
            let id = self.next_id;
            self.next_id += 1;
            let started =
                Process::start(id, &worker.owner, self.files, &log, now).and_then(|process| {
                    self.poll.add(process.channel(), Token::Channel(id))?;
                    self.poll.add(process.pidfd(), Token::Exit(id))?;
                    Ok(process)
                });
            match started {
                Ok(process) => {
                    log::debug!("worker of {} has pid {}", worker.label(), process.pid());
                    let resume = self.saved.exists(&worker.owner);
                    worker.adopt(process, resume);
                }
                Err(error) => {
                    let pause = worker.failed(Duration::ZERO, now);
                    let (who, error) = (worker.label(), named(error));
                    log::error!("cannot start the worker of {who}: {error}; again in {pause:?}");
                }
            }
        }
    }

    pub(super) fn end_overdue(&mut self) {
        let now = self.clock.now();
        let serving = self
            .workers
            .values_mut()
            .filter_map(|worker| worker.process.as_mut());
        let leaving = self.leaving.iter_mut().map(|(_, process)| process);
        for process in serving.chain(leaving) {
            if let Some(why) = process.overdue(now) {
                log::error!("killing worker {}: {why}", process.pid());
                process.kill();
                process.forgive();
            }
        }
    }

    /// The process of this number, and whose it is.
    fn process(&mut self, id: u64) -> Option<(&Owner, &mut Process)> {
        let serving = self
            .workers
            .values_mut()
            .filter_map(|worker| Some((&worker.owner, worker.process.as_mut()?)));
        let leaving = self
            .leaving
            .iter_mut()
            .map(|(owner, process)| (&*owner, process));
        serving.chain(leaving).find(|(_, process)| process.id == id)
    }

    /// The process of this number, to be asked.
    pub(super) fn held(&self, id: u64) -> Option<&Process> {
        let serving = self.workers.values().filter_map(|w| w.process.as_ref());
        let leaving = self.leaving.iter().map(|(_, process)| process);
        serving.chain(leaving).find(|process| process.id == id)
    }

    /// A worker speaks, has closed its end, or can take more.
    pub(super) fn hear(&mut self, id: u64) -> Heard {
        let now = self.clock.now();
        let mut words = Vec::new();
        let Some((owner, process)) = self.process(id) else {
            return Heard::Closed;
        };
        let owner = owner.clone();
        let before = process.malformed;
        let heard = process.hear(&mut words);
        if before == 0 && process.malformed > 0 {
            log::warn!(
                "the worker of {} said something that is no packet",
                label(&owner)
            );
        }
        if heard == Heard::Closed {
            self.close(id, now);
        }
        for word in words {
            match word {
                Word::Ready => log::debug!("the worker of {} is ready", label(&owner)),
                Word::Loaded {
                    table,
                    lines,
                    errors,
                } => {
                    log::debug!("{}: {table}: {lines} lines, {errors} errors", label(&owner));
                    self.loaded(id, &table, lines, errors);
                }
                Word::Figures => {}
                Word::Page(page) => self.paged(id, &page),
                Word::Saved(events, memory) => self.keep(&owner, events, memory),
            }
        }
        heard
    }

    fn close(&mut self, id: u64, now: Moment) {
        let Self {
            workers,
            leaving,
            poll,
            ..
        } = self;
        let serving = workers
            .values_mut()
            .filter_map(|worker| worker.process.as_mut());
        let leaving = leaving.iter_mut().map(|(_, process)| process);
        if let Some(process) = serving.chain(leaving).find(|process| process.id == id) {
            process.close(poll, now);
        }
    }

    fn keep(&mut self, owner: &Owner, events: u64, memory: OwnedFd) {
        match self.saved.keep(owner, memory) {
            Ok(()) => {
                let who = label(owner);
                log::info!("saved {events} events of {who} for the next start");
                // The next one may have started before this one had ended.
                let next = |worker: &&mut Worker| {
                    (&worker.owner.name, worker.owner.system) == (&owner.name, owner.system)
                };
                for worker in self.workers.values_mut().filter(next) {
                    if let Some(process) = &mut worker.process {
                        process.outbox.push(Order::Resume);
                    }
                }
            }
            Err(error) => {
                log::error!(
                    "{events} events of {} are lost: cannot save: {error}",
                    label(owner)
                );
            }
        }
    }

    /// A worker process has ended.
    pub(super) fn reap(&mut self, id: u64) {
        // What it said last is still in the channel. That has an end, unless the
        // user has passed the other end of it to a process that goes on talking.
        for _ in 0..LAST_TURNS {
            if self.hear(id) != Heard::Part {
                break;
            }
        }
        let now = self.clock.now();
        let Some((_, process)) = self.process(id) else {
            return;
        };
        let (pid, since, was_ready) = (process.pid(), process.since, process.ready);
        let status = match process.ended() {
            Ok(Some(status)) => status,
            Ok(None) => return,
            Err(error) => {
                log::error!("cannot learn how worker {pid} ended: {error}");
                return;
            }
        };
        if let Some(at) = self
            .leaving
            .iter()
            .position(|(_, process)| process.id == id)
        {
            let (owner, _) = self.leaving.swap_remove(at);
            log::debug!("the worker of {} has ended ({status})", label(&owner));
            return;
        }
        let of_it = |process: &Process| process.id == id;
        let worker = self
            .workers
            .values_mut()
            .find(|w| w.process.as_ref().is_some_and(of_it));
        let Some(worker) = worker else { return };
        if status.code() == Some(Exit::Refused as i32) && !was_ready {
            let pause = worker.refuse(now);
            log::error!(
                "the worker of {} is refused, as logged before; tried again in {pause:?}, or when its table changes",
                worker.label()
            );
            return;
        }
        let pause = worker.failed(now - since, now);
        let when = if pause.is_zero() {
            "now".to_owned()
        } else {
            format!("in {pause:?}")
        };
        log::error!(
            "the worker of {} (pid {pid}) ended ({status}); it is started again {when}, and events until then are lost to it",
            worker.label()
        );
    }
}

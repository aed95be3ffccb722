//! What workers say, and how they end.

use std::os::fd::OwnedFd;

use super::daemon::Daemon;
use super::process::{Owner, Process, Word};
use super::worker::label;
use crate::time::Moment;

impl Daemon {
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

    /// A worker speaks, has closed its end, or can take more.
    pub(super) fn hear(&mut self, id: u64) {
        let now = self.clock.now();
        let mut words = Vec::new();
        let Some((owner, process)) = self.process(id) else {
            return;
        };
        let owner = owner.clone();
        let before = process.malformed;
        let open = process.hear(&mut words);
        if before == 0 && process.malformed > 0 {
            log::warn!(
                "the worker of {} said something that is no packet",
                label(&owner)
            );
        }
        if !open {
            self.close(id, now);
        }
        for word in words {
            match word {
                Word::Ready => self.is_ready(&owner),
                Word::Loaded {
                    table,
                    lines,
                    errors,
                } => {
                    log::debug!("{}: {table}: {lines} lines, {errors} errors", label(&owner));
                    self.loaded(id, &table, lines, errors);
                }
                Word::Figures => {}
                Word::Saved(events, memory) => self.keep(&owner, events, memory),
            }
        }
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

    fn is_ready(&mut self, owner: &Owner) {
        log::debug!("the worker of {} is ready", label(owner));
        self.saved.remove(owner);
    }

    fn keep(&mut self, owner: &Owner, events: u64, memory: OwnedFd) {
        match self.saved.keep(owner, memory) {
            Ok(()) => log::info!(
                "saved {events} events of {} for the next start",
                label(owner)
            ),
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
        // What it said last is still in the channel.
        self.hear(id);
        let now = self.clock.now();
        let Some((_, process)) = self.process(id) else {
            return;
        };
        let (pid, since) = (process.pid(), process.since);
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

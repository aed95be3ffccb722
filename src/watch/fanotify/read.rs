//! Reading the group, and telling what was read in order.

use std::io;

use super::batch::{Batch, CREATE, DELETE, ONDIR, RENAME};
use super::parse::Record;
use super::tree::Known;
use super::unfold::Part;
use super::{Fanotify, NOISE};
use crate::sys::inotify::file_clock;
use crate::time::Moment;
use crate::watch::Report;
use std::time::SystemTime;

/// Bytes of one read: some 3000 records.
pub(super) const BUFFER: usize = 256 * 1024;
/// No record is longer: its fixed part, three handles and two names.
const LARGEST: usize = 24 + 3 * (4 + 16 + 128) + 2 * 256 + 8;
/// Times that the stream is read on before a look at the file system is trusted.
const MOST_ROUNDS: u32 = 64;

impl Fanotify {
    /// Reads once and tells what it means, and what is found out on the way. True:
    /// more may be waiting.
    ///
    /// # Errors
    /// As read(2) of a fanotify descriptor.
    pub fn read(&mut self, now: Moment, out: &mut Vec<Report>) -> io::Result<bool> {
        let started = file_clock();
        self.now = now;
        let mut batch = std::mem::take(&mut self.batch);
        let (records, foreign) = (self.figures.records, self.figures.foreign);
        let result = self.fill(&mut batch);
        self.work(&mut batch, out);
        let more = result.as_ref().is_ok_and(|&n| n + LARGEST > BUFFER);
        if !more && result.is_ok() {
            self.drained = started;
            self.bury();
        }
        self.figures.records += batch.records.len() as u64;
        self.figures.stale += std::mem::take(&mut batch.bad);
        self.seen.expire(batch.total);
        batch.clear();
        self.batch = batch;
        if self.gate.deadline().is_some() || self.options.loud.is_some() {
            self.hush(now);
        }
        self.group.close();
        let read = self.figures.records - records;
        let group = self.group.fd();
        self.gate
            .after(group, now, read, self.figures.foreign - foreign);
        if self.tree.wants_sweep() {
            self.sweep();
        }
        result.map(|_| more)
    }

    /// Appends what one read brings; how many bytes.
    pub(super) fn fill(&mut self, batch: &mut Batch) -> io::Result<usize> {
        match nix::unistd::read(self.group.fd(), &mut self.buffer) {
            Ok(n) => {
                self.time = SystemTime::now();
                let start = batch.bytes.len();
                batch
                    .bytes
                    .extend_from_slice(self.buffer.get(..n).unwrap_or_default());
                batch.take(start);
                if let Some(actors) = &mut *self.actors.borrow_mut() {
                    actors.events_read();
                }
                Ok(n)
            }
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads all that is queued by now. True: there was something.
    pub(super) fn extend(&mut self, batch: &mut Batch) -> bool {
        let until = batch.total + self.group.queued();
        let before = batch.total;
        while batch.total < until {
            // Merged on its way, or an error that the next read gives again.
            if !matches!(self.fill(batch), Ok(1..)) {
                break;
            }
        }
        batch.total > before
    }

    /// Tells all records of `batch`, and does what they lead to.
    pub(super) fn work(&mut self, batch: &mut Batch, out: &mut Vec<Report>) {
        let (mut at, mut rounds) = (0, 0);
        loop {
            while let Some(record) = batch.get(at) {
                self.number = batch.number(at);
                self.apply(batch, at, record, out);
                if !self.later.is_empty() {
                    for part in self.later.remove(&at).unwrap_or_default() {
                        self.tell_part(batch, at, part, out);
                    }
                }
                at += 1;
            }
            if self.set_right(batch) || self.look_at_mounts(batch, at, out) {
                continue;
            }
            if self.jobs.is_empty() {
                break;
            }
            if rounds < MOST_ROUNDS && self.extend(batch) {
                rounds += 1;
                continue;
            }
            let job = self.jobs.remove(0);
            self.run_job(job, batch, at, out);
        }
        if std::mem::take(&mut self.scanning) {
            self.forget_wandered();
            self.told.clear();
            self.settled.clear();
        }
        self.arrived.clear();
        self.exchanged.clear();
        self.heard.clear();
    }

    fn apply(&mut self, batch: &mut Batch, at: usize, mut record: Record, out: &mut Vec<Report>) {
        if record.mask & libc::FAN_Q_OVERFLOW != 0 {
            return self.overflow();
        }
        self.quieten(&mut record);
        if record.mask & 0xfff_ffff & !ONDIR == 0 && record.mask & RENAME == 0 {
            return;
        }
        if record.mask & RENAME != 0 {
            return self.rename(batch, at, record, out);
        }
        let foreign = match self.tree.met(batch.text(record.from.0)) {
            _ if record.from.0.is_empty() => {
                self.by_file(batch, at, record, out);
                return;
            }
            Known::Foreign => true,
            Known::Node(id) if self.tree.strayed(id).is_none() => {
                self.named(batch, at, id, record, out);
                false
            }
            Known::No | Known::Node(_) => {
                let key: Box<[u8]> = batch.text(record.from.0).into();
                match self.find(&key, batch, at) {
                    Known::Node(id) => {
                        self.named(batch, at, id, record, out);
                        false
                    }
                    Known::Foreign => true,
                    Known::No => {
                        self.figures.stale += 1;
                        true
                    }
                }
            }
        };
        if !foreign {
            return;
        }
        self.figures.foreign += 1;
        if record.mask & ONDIR != 0 && record.mask & (CREATE | DELETE) != 0 {
            // Its removal may be told with its making, before what happened in it.
            if record.mask & CREATE != 0 {
                self.tree.set_foreign(batch.text(record.target));
            }
        } else if !self.files.is_empty() {
            self.by_file(batch, at, record, out);
        }
    }

    /// Leaves out what we opened and read ourselves, looking for what others did.
    pub(super) fn quieten(&self, record: &mut Record) {
        if record.pid == self.own {
            record.mask &= !NOISE;
        }
    }

    /// Tells a part of a record that was put off until after the record at `at`.
    fn tell_part(&mut self, batch: &mut Batch, at: usize, part: Part, out: &mut Vec<Report>) {
        let key: Box<[u8]> = batch.text(part.record.from.0).into();
        match self.find(&key, batch, at + 1) {
            Known::Node(id) => self.named_part(batch, at, id, part, out),
            _ => self.tell_former(batch, &part, &[], out),
        }
    }

    /// Directories that are gone are not asked for any more.
    fn bury(&mut self) {
        for id in std::mem::take(&mut self.dead) {
            self.tree.away(id);
        }
    }
}

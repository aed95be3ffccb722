//! What was read from the group and is not told yet, and what of it may be looked
//! up ahead of its turn: the place that a directory had is known from the first
//! record after it that tells of the directory.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use super::parse::{self, Record, Span};
use crate::sys::own_fd;

/// `FAN_RENAME`
pub(super) const RENAME: u64 = libc::FAN_RENAME;
pub(super) const CREATE: u64 = libc::FAN_CREATE;
pub(super) const DELETE: u64 = libc::FAN_DELETE;
pub(super) const ONDIR: u64 = libc::FAN_ONDIR;

/// Handle of a directory and name in it.
pub(super) type Place = (Box<[u8]>, Box<[u8]>);

/// Records in the order in which they are to be told.
#[derive(Default)]
pub(super) struct Batch {
    pub bytes: Vec<u8>,
    pub records: Vec<Record>,
    /// Records read so far, in the life of the source.
    pub total: u64,
    /// Open until the batch is told.
    pidfds: Vec<OwnedFd>,
    /// By the handle of a directory: where it is renamed or removed.
    moves: HashMap<Box<[u8]>, Vec<usize>>,
    /// How far `moves` has been filled.
    indexed: usize,
    /// By the handle of a thing: the last record of it or of what is in it.
    lasts: HashMap<Box<[u8]>, usize>,
    counted: usize,
    /// By directory and name: the last record by which something came there.
    arrivals: HashMap<Place, usize>,
    /// How far `arrivals` has been filled.
    arrived: usize,
    /// Bytes that were no records.
    pub bad: u64,
}

impl Batch {
    /// Takes what was read into the buffer from `start` on.
    pub fn take(&mut self, start: usize) {
        let first = self.records.len();
        if !parse::records(&self.bytes, start, &mut self.records) {
            self.bad += 1;
        }
        for at in first..self.records.len() {
            if let Some(record) = self.records.get(at)
                && record.pidfd >= 0
            {
                self.pidfds.push(own_fd(record.pidfd));
            }
        }
        self.total += (self.records.len() - first) as u64;
    }

    /// Adds a record of what the kernel did not tell by one of its own.
    pub fn add(&mut self, record: Record) {
        self.records.push(record);
        self.total += 1;
    }

    /// The number, in the life of the source, of the record at `at`.
    pub fn number(&self, at: usize) -> u64 {
        self.total - (self.records.len() - at.min(self.records.len())) as u64
    }

    pub fn get(&self, at: usize) -> Option<Record> {
        self.records.get(at).copied()
    }

    pub fn text(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// Nothing of it is needed any more.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.pidfds.clear();
        self.moves.clear();
        self.lasts.clear();
        self.indexed = 0;
        self.counted = 0;
        self.arrivals.clear();
        self.arrived = 0;
    }

    fn index(&mut self) {
        for at in self.indexed..self.records.len() {
            let Some(record) = self.records.get(at) else {
                break;
            };
            if record.mask & ONDIR != 0
                && record.mask & (RENAME | DELETE) != 0
                && !record.target.is_empty()
            {
                let key = record.target.of(&self.bytes);
                self.moves.entry(key.into()).or_default().push(at);
            }
        }
        self.indexed = self.records.len();
    }

    /// The first record from `at` on by which the directory `key` leaves its place.
    pub fn leaves(&mut self, key: &[u8], at: usize) -> Option<Record> {
        self.index();
        let all = self.moves.get(key)?;
        let first = all.get(all.partition_point(|&other| other < at))?;
        self.get(*first)
    }

    /// The last record after `at` by which the directory `key` is renamed.
    pub fn renamed_after(&mut self, key: &[u8], at: usize) -> Option<usize> {
        self.index();
        if self.moves.is_empty() {
            return None;
        }
        let is =
            |&&other: &&usize| other > at && self.get(other).is_some_and(|r| r.mask & RENAME != 0);
        self.moves.get(key)?.iter().rev().find(is).copied()
    }

    /// The last record after `at` of the thing `key`, or of what is in it.
    pub fn last_of(&mut self, key: &[u8], at: usize) -> Option<usize> {
        for at in self.counted..self.records.len() {
            let Some(r) = self.records.get(at) else { break };
            for span in [r.from.0, r.to.0, r.target] {
                if !span.is_empty() {
                    self.lasts.insert(span.of(&self.bytes).into(), at);
                }
            }
        }
        self.counted = self.records.len();
        self.lasts.get(key).copied().filter(|&last| last > at)
    }

    /// The last record of all by which something came to a name in a directory, told
    /// or not, and its place.
    pub fn arrival(&mut self, directory: &[u8], name: &[u8]) -> Option<(usize, Record)> {
        for at in self.arrived..self.records.len() {
            let Some(r) = self.records.get(at) else { break };
            let (directory, name) = match r.mask {
                mask if mask & RENAME != 0 => r.to,
                mask if mask & CREATE != 0 => r.from,
                _ => continue,
            };
            let place = (self.text(directory).into(), self.text(name).into());
            self.arrivals.insert(place, at);
        }
        self.arrived = self.records.len();
        let at = *self.arrivals.get(&(directory.into(), name.into()))?;
        Some((at, self.get(at)?))
    }
}

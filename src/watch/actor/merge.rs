//! Puts what comes by several ways in the order in which it happened. Pure.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use super::cache::{Cache, Look};
use super::message::Message;
use super::process::Reader;

/// Something that happened.
pub enum Entry<F = OwnedFd> {
    /// No program was executed.
    Message(Message),
    /// One was, and has been looked at.
    Executed(Message, Look<F>),
}

impl<F> Entry<F> {
    fn at(&self) -> u64 {
        match self {
            Self::Message(message) | Self::Executed(message, _) => message.at,
        }
    }
}

/// What was not told yet.
pub struct Merge<F = OwnedFd> {
    entries: VecDeque<Entry<F>>,
    /// Messages were lost, and this was not told.
    pub lost: bool,
}

impl<F> Default for Merge<F> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            lost: false,
        }
    }
}

impl<F> Merge<F> {
    /// One more; nearly always later than all others.
    pub fn add(&mut self, entry: Entry<F>) {
        let later = self.entries.iter().rev();
        let later = later.take_while(|other| other.at() > entry.at()).count();
        self.entries.insert(self.entries.len() - later, entry);
    }

    /// What was not told yet.
    #[cfg(test)]
    pub(super) fn waits(&self) -> usize {
        self.entries.len()
    }

    /// Tells the cache what has happened until then.
    pub fn tell<R: Reader<Found = F>>(&mut self, cache: &mut Cache<R>, until: u64) {
        if std::mem::take(&mut self.lost) {
            cache.tell_lost();
        }
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.at() <= until)
        {
            let Some(entry) = self.entries.pop_front() else {
                return;
            };
            match entry {
                Entry::Message(message) => cache.tell_with(message, None),
                Entry::Executed(message, look) => cache.tell_with(message, Some(look)),
            }
        }
    }
}

//! What is remembered around a scan: what lines were told before it, and what it told
//! while records of the same may still wait.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use super::root::RootId;
use crate::event::LineId;
use crate::table::Mask;
use crate::watch::found::Thing;

type ByName<T> = HashMap<Box<[u8]>, HashMap<Box<[u8]>, T>>;

/// What lines were told since something came into reach that is to be scanned.
#[derive(Default)]
pub(super) struct Told(ByName<Vec<Word>>);

/// What a line was told, and by which `$@`.
pub(super) struct Word {
    line: LineId,
    mask: Mask,
    watch: OsString,
    /// As the thing that its path leads to, without a name.
    own: bool,
}

impl Told {
    pub fn say(
        &mut self,
        owner: (&[u8], &[u8]),
        line: LineId,
        mask: Mask,
        (watch, own): (&OsStr, bool),
    ) {
        let names = self.0.entry(owner.0.into()).or_default();
        let words = names.entry(owner.1.into()).or_default();
        if mask.intersects(Mask::DELETE | Mask::MOVED_FROM) {
            words.retain(|word| word.line != line);
        } else {
            let watch = watch.to_owned();
            words.push(Word {
                line,
                mask,
                watch,
                own,
            });
        }
    }

    /// Takes out what was said of it.
    pub fn take(&mut self, owner: (&[u8], &[u8])) -> Vec<Word> {
        let names = self.0.get_mut(owner.0);
        names.and_then(|n| n.remove(owner.1)).unwrap_or_default()
    }

    /// Puts that back.
    pub fn put_back(&mut self, owner: (&[u8], &[u8]), words: Vec<Word>) {
        if !words.is_empty() {
            let names = self.0.entry(owner.0.into()).or_default();
            names.insert(owner.1.into(), words);
        }
    }

    /// What `line` was told of it, by this `$@` or, without one, by any; what it was told of
    /// the file that its path was says nothing of what is in the directory that it is.
    pub fn of(
        &self,
        owner: (&[u8], &[u8]),
        line: LineId,
        (watch, own): (Option<&OsStr>, bool),
    ) -> Mask {
        let words = self.0.get(owner.0).and_then(|n| n.get(owner.1));
        let of = |word: &&Word| {
            let here = watch.is_none_or(|w| word.watch == w);
            word.line == line && word.own == own && here
        };
        let words = words.into_iter().flatten().filter(of);
        words.fold(Mask(0), |all, word| all | word.mask)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// What scans told to which roots, while records of the same may wait.
#[derive(Default)]
pub(super) struct Seen {
    things: ByName<Vec<(RootId, u64, Thing)>>,
    until: u64,
}

impl Seen {
    /// Records before the number `until` may say the same.
    pub fn insert(&mut self, root: RootId, owner: (&[u8], &[u8]), thing: Thing, until: u64) {
        self.until = self.until.max(until);
        let names = self.things.entry(owner.0.into()).or_default();
        let all = names.entry(owner.1.into()).or_default();
        all.retain(|(other, ..)| *other != root);
        all.push((root, until, thing));
    }

    pub fn known(&self, root: RootId, owner: (&[u8], &[u8]), number: u64) -> Option<Thing> {
        let all = self.things.get(owner.0)?.get(owner.1)?;
        let known = all.iter().find(|(other, ..)| *other == root);
        known
            .filter(|(_, until, _)| number < *until)
            .map(|(.., thing)| *thing)
    }

    pub fn forget(&mut self, root: RootId, owner: (&[u8], &[u8])) {
        if let Some(all) = self
            .things
            .get_mut(owner.0)
            .and_then(|n| n.get_mut(owner.1))
        {
            all.retain(|(other, ..)| *other != root);
        }
    }

    pub fn expire(&mut self, number: u64) {
        if number >= self.until {
            self.things.clear();
        }
    }
}

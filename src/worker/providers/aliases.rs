//! The numbers under which members are watched.
//!
//! To the sources, each path of a set is a line of its own: they need not know of
//! providers. An alias leads back from such a line to the one of the table.

use std::collections::HashMap;
use std::rc::Rc;

use super::message::Member;
use super::overlay::Layers;
use crate::event::LineId;

/// Aliases have numbers from here on; lines of tables stay below, those of
/// `catch-up=` are above.
const FIRST: u32 = 1 << 30;
const END: u32 = 1 << 31;

/// What a number of ours stands for.
pub(super) enum Entry {
    /// A path of a set, watched for a line.
    Member(Box<Alias>),
    /// The program of a provider, waited for.
    Program(Rc<str>),
}

/// A path of a set, watched for a line.
pub(super) struct Alias {
    /// The line of the table.
    pub line: LineId,
    pub member: Rc<Member>,
    /// For the upper layer of an overlay.
    pub layers: Option<Layers>,
}

#[derive(Default)]
pub(super) struct Aliases {
    entries: HashMap<LineId, Entry>,
    by_line: HashMap<LineId, HashMap<Rc<str>, LineId>>,
    last: u32,
}

impl Aliases {
    /// True for a number that only this knows.
    pub fn owns(id: LineId) -> bool {
        (FIRST..END).contains(&id.0)
    }

    /// A new number for a member, watched for `line`.
    pub fn member(&mut self, line: LineId, member: &Rc<Member>) -> LineId {
        let id = self.insert(Entry::Member(Box::new(Alias {
            line,
            member: Rc::clone(member),
            layers: None,
        })));
        let of_line = self.by_line.entry(line).or_default();
        of_line.insert(Rc::clone(&member.id), id);
        id
    }

    /// A new number for a program.
    pub fn program(&mut self, name: &Rc<str>) -> LineId {
        self.insert(Entry::Program(Rc::clone(name)))
    }

    /// The least number after the last that is free: a late report of one that
    /// went must not meet another.
    fn insert(&mut self, entry: Entry) -> LineId {
        let id = loop {
            self.last = (self.last + 1) % (END - FIRST);
            let id = LineId(FIRST + self.last);
            if !self.entries.contains_key(&id) {
                break id;
            }
        };
        self.entries.insert(id, entry);
        id
    }

    pub fn get(&self, id: LineId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub fn get_mut(&mut self, id: LineId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    /// Looks at the layers of a member that is watched now, before any event of it comes.
    pub fn look(&mut self, id: LineId) {
        if let Some(Entry::Member(alias)) = self.entries.get_mut(&id)
            && let Some(overlay) = &alias.member.overlay
        {
            alias.layers = Some(Layers::new(&alias.member.path, overlay));
        }
    }

    /// All that was queued at that look has come.
    pub fn settle(&mut self, id: LineId) {
        if let Some(Entry::Member(alias)) = self.entries.get_mut(&id)
            && let Some(layers) = &mut alias.layers
        {
            layers.settle();
        }
    }

    /// The number of a member, watched for `line`.
    pub fn of(&self, line: LineId, member: &str) -> Option<LineId> {
        self.by_line.get(&line)?.get(member).copied()
    }

    /// All numbers of a line.
    pub fn all_of(&self, line: LineId) -> impl Iterator<Item = LineId> {
        let of_line = self.by_line.get(&line);
        of_line.into_iter().flat_map(|ids| ids.values().copied())
    }

    /// The member has other labels.
    pub fn relabel(&mut self, line: LineId, member: &Rc<Member>) {
        if let Some(id) = self.of(line, &member.id)
            && let Some(Entry::Member(alias)) = self.entries.get_mut(&id)
        {
            alias.member = Rc::clone(member);
        }
    }

    /// Forgets a member, as far as it is watched for `line` by this number.
    pub fn remove(&mut self, id: LineId) {
        let Some(Entry::Member(alias)) = self.entries.remove(&id) else {
            return;
        };
        if let Some(of_line) = self.by_line.get_mut(&alias.line)
            && of_line.get(&alias.member.id) == Some(&id)
        {
            of_line.remove(&alias.member.id);
        }
    }

    /// Forgets a line; its numbers.
    pub fn remove_line(&mut self, line: LineId) -> Vec<LineId> {
        let of_line = self.by_line.remove(&line).unwrap_or_default();
        let ids: Vec<LineId> = of_line.into_values().collect();
        for id in &ids {
            self.entries.remove(id);
        }
        ids
    }
}

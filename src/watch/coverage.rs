//! How much of what a line asks for is watched now, for an operator who asks.

use super::inotify::Inotify;
use super::limit_texts;
use super::root::State;
use crate::event::LineId;

/// How much of a line is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All of it.
    Served,
    /// Its path does not exist; it is waited for.
    Waiting,
    /// Some of it; why not the rest.
    Partly(String),
    /// Nothing; why.
    Unwatched(String),
    /// `IN_ONESHOT` has had its event.
    Spent,
}

impl Inotify {
    /// How much of `line` is watched; None: it is not a line of this source.
    pub fn coverage(&self, line: LineId) -> Option<Coverage> {
        let root = self.roots.get(*self.lines.get(&line)?)?;
        let spent = root.lines.iter().any(|l| l.id == line && l.spent);
        let missing = matches!(root.state, State::Missing);
        let lack = root.lack.filter(|lack| !lack.guard_only);
        let why = |lack| limit_texts::message(root.written(), lack, self.kernel.len());
        Some(match lack {
            _ if spent => Coverage::Spent,
            Some(lack) if missing => Coverage::Unwatched(why(lack)),
            Some(lack) => Coverage::Partly(why(lack)),
            None if missing => Coverage::Waiting,
            None => Coverage::Served,
        })
    }
}

//! `include=`, `exclude=` and `type=` of a worker's lines, asked for every event.
//!
//! Apart from the lines themselves, because an event in a directory of a thousand
//! lines asks each of them: what that reads is here in few pages, in the order in
//! which it is asked, and what the lines share is worked out once.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use crate::event::{Event, LineId};
use crate::table::{Filter, Line, Mask, Pattern};

/// The filters of all lines that have one.
#[derive(Default)]
pub(super) struct Filters {
    /// In the order of the lines' numbers.
    by_line: Vec<(LineId, PathFilter)>,
    /// Where the line after the latest one is: sources tell lines in their order.
    next: usize,
    target: Target,
}

/// The filter of a line, compiled, and what it starts from.
struct PathFilter {
    filter: Filter,
    /// The path as written; the same one for neighbours that share it.
    root: Rc<[u8]>,
    /// The path, where it is a pattern.
    pattern: Option<Box<Pattern>>,
}

/// Where the latest event happened, for the lines that share it.
#[derive(Default)]
struct Target {
    /// Held, so that no other event can be at its address.
    event: Option<Rc<Event>>,
    path: OsString,
    /// A watched path, and where in `path` begins what is below it.
    below: Option<(Rc<[u8]>, usize)>,
}

impl Filters {
    /// Compiles the filter of a line that begins, or begins anew.
    pub(super) fn set(&mut self, id: LineId, line: &Line) {
        self.forget(id);
        let Some(mut filter) = PathFilter::new(line) else {
            return;
        };
        let at = self.by_line.partition_point(|(other, _)| *other < id);
        let before = at.checked_sub(1).and_then(|at| self.by_line.get(at));
        if let Some((_, neighbour)) = before.filter(|(_, other)| other.root == filter.root) {
            filter.root = Rc::clone(&neighbour.root);
        }
        self.by_line.insert(at, (id, filter));
    }

    /// A line ends.
    pub(super) fn forget(&mut self, id: LineId) {
        if let Some(at) = self.place(id) {
            self.by_line.remove(at);
        }
    }

    /// Whether a line wants the thing that changed; without a filter it does.
    pub(super) fn want(&mut self, id: LineId, event: &Rc<Event>) -> bool {
        let Some(at) = self.place(id) else {
            return true;
        };
        self.next = at + 1;
        let found = self.by_line.get(at);
        found.is_none_or(|(_, filter)| filter.wants(&mut self.target, event))
    }

    fn place(&self, id: LineId) -> Option<usize> {
        match self.by_line.get(self.next) {
            Some((next, _)) if *next == id => Some(self.next),
            _ => self.by_line.binary_search_by_key(&id, |(id, _)| *id).ok(),
        }
    }
}

impl PathFilter {
    /// None where the line wants every path.
    fn new(line: &Line) -> Option<Self> {
        // Checked by the parser; without it a line has no filter at all.
        let filter = Filter::new(&line.options).ok()?;
        let pattern = || Pattern::compile(&line.path).ok().map(Box::new);
        (!filter.is_empty()).then(|| Self {
            filter,
            root: line.path.written.as_bytes().into(),
            pattern: line.path.pattern.then(pattern).flatten(),
        })
    }

    fn wants(&self, target: &mut Target, event: &Rc<Event>) -> bool {
        let relative = match &self.pattern {
            Some(pattern) => {
                let whole = target.of(event);
                below_match(whole, pattern).unwrap_or(whole)
            }
            None => target.below(event, &self.root),
        };
        let is_dir = event.mask.intersects(Mask::ISDIR);
        self.filter.wants(relative, is_dir)
    }
}

impl Target {
    /// The whole path.
    fn of(&mut self, event: &Rc<Event>) -> &[u8] {
        let same = |last: &Rc<Event>| Rc::ptr_eq(last, event);
        if !self.event.as_ref().is_some_and(same) {
            self.path = event.target();
            self.event = Some(Rc::clone(event));
            self.below = None;
        }
        self.path.as_bytes()
    }

    /// What of it is below `root`; the whole where it is elsewhere.
    fn below(&mut self, event: &Rc<Event>, root: &Rc<[u8]>) -> &[u8] {
        self.of(event);
        let path = self.path.as_bytes();
        let start = match &self.below {
            Some((known, start)) if Rc::ptr_eq(known, root) => *start,
            _ => {
                let start = below(path, root).map_or(0, |rest| path.len() - rest.len());
                self.below = Some((Rc::clone(root), start));
                start
            }
        };
        path.get(start..).unwrap_or(path)
    }
}

/// What `target` is below `root`; empty for `root` itself.
fn below<'a>(target: &'a [u8], root: &[u8]) -> Option<&'a [u8]> {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let rest = target.strip_prefix(root)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix(b"/")
    }
}

/// What `target` is below the shortest of its directories that matches.
fn below_match<'a>(target: &'a [u8], pattern: &Pattern) -> Option<&'a [u8]> {
    let ends = target
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| at);
    let end = ends
        .chain([target.len()])
        .find(|end| pattern.matches(&target[..*end]))?;
    below(target, &target[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::PathSpec;

    #[test]
    fn what_is_below_a_path() {
        assert_eq!(below(b"/a/b/c", b"/a"), Some(&b"b/c"[..]));
        assert_eq!(below(b"/a/b", b"/a/"), Some(&b"b"[..]));
        assert_eq!(below(b"/a", b"/a"), Some(&b""[..]));
        assert_eq!(below(b"/ab", b"/a"), None);
        assert_eq!(below(b"/ab", b"/"), Some(&b"ab"[..]));
    }

    #[test]
    fn what_is_below_a_pattern() {
        let spec = PathSpec {
            written: "/home/*/public".into(),
            pattern: true,
        };
        let pattern = Pattern::compile(&spec).unwrap();
        assert_eq!(
            below_match(b"/home/al/public/x/y", &pattern),
            Some(&b"x/y"[..])
        );
        assert_eq!(below_match(b"/home/al/public", &pattern), Some(&b""[..]));
        assert_eq!(below_match(b"/home/al", &pattern), None);
    }
}

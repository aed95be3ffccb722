//! `include=`, `exclude=` and `type=` of a worker's lines, asked for every event.
//!
//! Apart from the lines themselves, because an event in a directory of a thousand
//! lines asks each of them: what that reads is here in few pages, in the order in
//! which it is asked, and what the lines share is worked out once.

use std::os::unix::ffi::OsStrExt;

use crate::event::{Event, LineId, LineIds};
use crate::table::{Below, Filter, Line, Mask, Pattern};

/// The filters of all lines that have one.
#[derive(Default)]
pub(super) struct Filters {
    /// In the order of the lines' numbers.
    by_line: Vec<(LineId, PathFilter)>,
    /// Room for the path of an event.
    path: Vec<u8>,
}

/// The filter of a line, compiled, and what it starts from.
struct PathFilter {
    filter: Filter,
    /// The path as written.
    root: Box<[u8]>,
    /// The path, where it is a pattern.
    pattern: Option<Box<Pattern>>,
}

impl Filters {
    /// Compiles the filter of a line that begins, or begins anew.
    pub(super) fn set(&mut self, id: LineId, line: &Line) {
        self.forget(id);
        if let Some(filter) = PathFilter::new(line) {
            let at = self.by_line.partition_point(|(other, _)| *other < id);
            self.by_line.insert(at, (id, filter));
        }
    }

    /// Whether a line on the paths of a provider wants the thing that changed: the
    /// first `own` bytes of its path are the provider's.
    pub(super) fn want_below(&self, id: LineId, event: &Event, own: usize) -> bool {
        let found = self.by_line.binary_search_by_key(&id, |(id, _)| *id);
        let Some((_, filter)) = found.ok().and_then(|at| self.by_line.get(at)) else {
            return true;
        };
        let target = event.target();
        let path = target.as_bytes().get(own..).unwrap_or_default();
        let relative = match &filter.pattern {
            Some(pattern) => below_match(path, pattern),
            None => below(path, &filter.root),
        };
        let is_dir = event.mask.intersects(Mask::ISDIR);
        filter.filter.wants(relative.unwrap_or(path), is_dir)
    }

    /// A line ends.
    pub(super) fn forget(&mut self, id: LineId) {
        if let Ok(at) = self.by_line.binary_search_by_key(&id, |(id, _)| *id) {
            self.by_line.remove(at);
        }
    }

    /// Those of `lines`, which watch one path, that want the thing that changed;
    /// one without a filter does.
    pub(super) fn wanting(&mut self, lines: &LineIds, event: &Event, wanting: &mut Vec<LineId>) {
        wanting.clear();
        if self.by_line.is_empty() {
            wanting.extend(lines);
            return;
        }
        self.path.clear();
        event.write_target(&mut self.path);
        let is_dir = event.mask.intersects(Mask::ISDIR);
        let mut rest = &*self.by_line;
        let mut place = None;
        for id in lines {
            let Some(filter) = skip_to(&mut rest, id) else {
                wanting.push(id);
                continue;
            };
            let place = place.get_or_insert_with(|| Below::new(filter.below(&self.path), is_dir));
            if filter.filter.wants_below(*place) {
                wanting.push(id);
            }
        }
    }
}

/// The filter of line `id` among those of `filters`, which are left with what comes
/// after it. Lines that follow each other cost one step each.
fn skip_to<'a>(filters: &mut &'a [(LineId, PathFilter)], id: LineId) -> Option<&'a PathFilter> {
    let all = *filters;
    let found = match all.first() {
        Some((first, _)) if *first == id => Ok(0),
        _ => all.binary_search_by_key(&id, |(id, _)| *id),
    };
    let (filter, next) = match found {
        Ok(at) => (all.get(at), at + 1),
        Err(at) => (None, at),
    };
    *filters = all.get(next..).unwrap_or_default();
    filter.map(|(_, filter)| filter)
}

impl PathFilter {
    /// None where the line wants every path.
    fn new(line: &Line) -> Option<Self> {
        // Checked by the parser; without it a line has no filter at all.
        let filter = Filter::new(&line.options).ok()?;
        // Of a provider's paths only what the line adds is the same for all.
        let path = match line.path.provider() {
            Some(_) => line.path.below(b"/"),
            None => line.path.clone(),
        };
        let pattern = || Pattern::compile(&path).ok().map(Box::new);
        (!filter.is_empty()).then(|| Self {
            filter,
            root: path.written.as_bytes().into(),
            pattern: path.pattern.then(pattern).flatten(),
        })
    }

    /// What of `target` is below the watched path; the whole where it is elsewhere.
    fn below<'a>(&self, target: &'a [u8]) -> &'a [u8] {
        let below = match &self.pattern {
            Some(pattern) => below_match(target, pattern),
            None => below(target, &self.root),
        };
        below.unwrap_or(target)
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
    use crate::table::{Context, Dialect, PathSpec, parse};

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

    #[test]
    fn a_list_is_told_what_each_of_its_lines_is_told_alone() {
        let context = Context {
            origin: "test".into(),
            name: "test".into(),
            dialect: Dialect::V0_5_12,
            system: true,
        };
        let table = "/w IN_ALL_EVENTS,include=a c\n/w IN_ALL_EVENTS c\n\
                     /w IN_ALL_EVENTS,type=dir c\n/w IN_ALL_EVENTS,exclude=/d c\n\
                     /w IN_ALL_EVENTS c\n/w IN_ALL_EVENTS,include=a:*.x c\n";
        let table = parse(table.as_bytes(), &context).0;
        let mut filters = Filters::default();
        let mut ids = Vec::new();
        for line in &table.lines {
            ids.push(LineId(line.number));
            filters.set(LineId(line.number), line);
        }
        assert_eq!(ids.len(), 6);
        let mut hits = 0;
        for (watch, name) in [("/w", "a"), ("/w", "b.x"), ("/w/d", "a"), ("/w", "")] {
            for kind in [Mask(0), Mask::ISDIR] {
                let event = event(watch, name, Mask::CREATE | kind);
                // Every choice of lines, in a list and one by one.
                for choice in 1..1_u32 << ids.len() {
                    let chosen = |id: &LineId| choice >> (id.0 - 1) & 1 == 1;
                    let list: Vec<_> = ids.iter().copied().filter(chosen).collect();
                    let (mut together, mut alone) = (Vec::new(), Vec::new());
                    filters.wanting(&LineIds::new(&list), &event, &mut together);
                    for id in list {
                        let mut one = Vec::new();
                        filters.wanting(&id.into(), &event, &mut one);
                        alone.extend(one);
                    }
                    assert_eq!(together, alone);
                    hits += alone.len();
                }
            }
        }
        assert_eq!(
            hits,
            32 * (5 + 6 + 4 + 5 + 4 + 5 + 5 + 6),
            "of 64 lists each line is in 32"
        );
    }

    fn event(watch: &str, name: &str, mask: Mask) -> Event {
        Event {
            mask,
            watch: watch.into(),
            name: name.into(),
            old_path: None,
            time: std::time::UNIX_EPOCH,
            origin: crate::event::Origin::Kernel,
            actor: None,
            seq: 1,
            labels: None,
        }
    }
}

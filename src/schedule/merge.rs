//! Two events of one path become one, because a run for the path needs to know
//! that it changed, not how often.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::rc::Rc;

use crate::event::Event;
use crate::table::Mask;

/// What makes two events "of the same path": the target without trailing slashes, and
/// the labels. Every container has an /etc/passwd, and labels say whose it is.
pub(crate) fn key(event: &Event) -> OsString {
    let mut path = path(event);
    for (name, value) in event.labels.iter().flat_map(|labels| labels.iter()) {
        // No path holds a NUL, so what follows one is no part of it.
        for part in ["\0", name, "\0", value] {
            path.push(part);
        }
    }
    path
}

fn path(event: &Event) -> OsString {
    let target = event.target();
    let keep = target
        .as_bytes()
        .iter()
        .rposition(|b| *b != b'/')
        .map_or(1, |last| last + 1);
    if keep >= target.len() {
        return target;
    }
    let mut bytes = target.into_vec();
    bytes.truncate(keep);
    OsString::from_vec(bytes)
}

/// `new` with what `old` knew besides: its event bits and, unless `new` is itself a
/// rename, its old path. Whether it is a directory is what `new` says.
pub(super) fn merge(old: &Event, new: Rc<Event>) -> Rc<Event> {
    let mask = (old.mask & !Mask::ISDIR) | new.mask;
    let old_path = new.old_path.is_none() && old.old_path.is_some();
    if mask == new.mask && !old_path {
        return new;
    }
    let mut merged = Rc::unwrap_or_clone(new);
    merged.mask = mask;
    if old_path {
        merged.old_path.clone_from(&old.old_path);
    }
    Rc::new(merged)
}

//! Events made of those that the kernel told of an upper layer.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{Layer, stack};
use crate::event::{Event, next_seq};
use crate::table::Mask;

impl Layer {
    /// An event of `path` that the kernel told in other words.
    pub(super) fn synthetic(&self, event: &Event, path: &[u8], mask: Mask) -> Event {
        let (dir, name) = stack::split(path);
        let mut watch = self.stack.upper().as_os_str().as_bytes().to_vec();
        if !dir.is_empty() {
            watch.push(b'/');
            watch.extend_from_slice(dir);
        }
        Event {
            mask,
            watch: OsString::from_vec(watch),
            name: OsStr::from_bytes(name).to_owned(),
            old_path: None,
            seq: next_seq(),
            ..event.clone()
        }
    }
}

pub(super) fn is_dir(event: &Event) -> bool {
    event.mask.intersects(Mask::ISDIR)
}

pub(super) fn with(event: &Event, mask: Mask) -> Event {
    Event {
        mask,
        old_path: None,
        ..event.clone()
    }
}

/// What is left of merged events without one of them.
pub(super) fn rest(event: &Event, without: Mask) -> Vec<Event> {
    let mask = event.mask & !without;
    match (mask & !Mask::ISDIR).is_empty() {
        true => Vec::new(),
        false => vec![with(event, mask)],
    }
}

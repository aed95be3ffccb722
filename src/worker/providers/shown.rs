//! An event of a member as its line's command sees it: with the member's labels,
//! and with the path that the provider gave it in place of the real one.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::rc::Rc;

use super::aliases::Alias;
use super::message::Member;
use crate::event::{Event, next_seq};
use crate::table::Mask;

/// The latest event and what was made of it, for the other lines on the same member.
#[derive(Default)]
pub(super) struct Shown {
    /// Held, so that no other can be at their address.
    last: Option<(Rc<Event>, Rc<Member>, Rc<Event>)>,
}

impl Shown {
    /// What `event` of `alias` is for its line, which asks for `mask`.
    pub fn events(&mut self, alias: &mut Alias, event: &Rc<Event>, mask: Mask) -> Vec<Rc<Event>> {
        let member = &alias.member;
        // One event of two members is two: each has a number of its own.
        let again = self
            .last
            .as_ref()
            .is_some_and(|(last, ..)| Rc::ptr_eq(last, event));
        if let Some(layers) = &mut alias.layers {
            let mut events = Vec::new();
            for meant in layers.translate(event) {
                let asked = meant.mask & mask.events();
                if asked.is_empty() {
                    continue;
                }
                let mut meant = show(member, meant, again || !events.is_empty());
                meant.mask = asked | (meant.mask & Mask::ISDIR);
                events.push(Rc::new(meant));
            }
            if let Some(first) = events.first() {
                self.last = Some((Rc::clone(event), Rc::clone(member), Rc::clone(first)));
            }
            return events;
        }
        match &self.last {
            Some((last, of, shown)) if Rc::ptr_eq(last, event) && Rc::ptr_eq(of, member) => {
                vec![Rc::clone(shown)]
            }
            _ => {
                let shown = Rc::new(show(member, Event::clone(event), again));
                self.last = Some((Rc::clone(event), Rc::clone(member), Rc::clone(&shown)));
                vec![shown]
            }
        }
    }
}

fn show(member: &Member, event: Event, renumber: bool) -> Event {
    let watch = exchange(event.watch.as_bytes(), member);
    let old = event.old_path.as_ref();
    let old = old.and_then(|path| match exchange(path.as_os_str().as_bytes(), member) {
        Some(shown) => Some(PathBuf::from(OsString::from_vec(shown))),
        // From elsewhere: where every path is a real one, that one says it too.
        None => (member.shown == member.path).then(|| path.clone()),
    });
    Event {
        watch: watch.map_or(event.watch, OsString::from_vec),
        old_path: old,
        labels: member.labels.clone(),
        seq: if renumber { next_seq() } else { event.seq },
        ..event
    }
}

/// `path` with the member's real path exchanged for the one that is shown.
fn exchange(path: &[u8], member: &Member) -> Option<Vec<u8>> {
    let bare = |path: &[u8]| path.strip_suffix(b"/").unwrap_or(path).to_vec();
    let rest = path.strip_prefix(bare(&member.path).as_slice())?;
    if !rest.is_empty() && rest.first() != Some(&b'/') {
        return None;
    }
    let mut shown = bare(&member.shown);
    shown.extend_from_slice(rest);
    if shown.is_empty() {
        shown.push(b'/');
    }
    Some(shown)
}

/// How much of a shown path is the member's own, in bytes: what follows is what the
/// line's filters see.
pub(super) fn own_length(member: &Member) -> usize {
    match member.shown.as_slice() {
        b"/" => 0,
        shown => shown.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Message, parse};
    use super::*;

    fn member(path: &str, shown: &str) -> Member {
        let text = format!(r#"{{"add":{{"id":"x","path":"{path}","shown":"{shown}"}}}}"#);
        match parse(text.as_bytes()).unwrap() {
            Message::Add(member) => *member,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn paths_are_exchanged() {
        let inside = member("/var/c1", "/");
        assert_eq!(
            exchange(b"/var/c1/etc/x", &inside),
            Some(b"/etc/x".to_vec())
        );
        assert_eq!(exchange(b"/var/c1", &inside), Some(b"/".to_vec()));
        assert_eq!(exchange(b"/var/c1/", &inside), Some(b"/".to_vec()));
        assert_eq!(exchange(b"/var/c12/x", &inside), None);
        assert_eq!(own_length(&inside), 0);
        let whole = member("/", "/host");
        assert_eq!(exchange(b"/", &whole), Some(b"/host/".to_vec()));
        assert_eq!(exchange(b"/etc", &whole), Some(b"/host/etc".to_vec()));
        assert_eq!(own_length(&whole), 5);
        assert_eq!(
            exchange(b"/etc/", &member("/", "/")),
            Some(b"/etc/".to_vec())
        );
    }
}

//! The set of paths that one provider keeps, across the lives of its process.
//!
//! A process that has just started says all members again. Those it has not said
//! when it is ready are gone; until then all stay, so that a restart leaves no gap.

use std::collections::HashMap;
use std::rc::Rc;

use super::message::Member;

/// No set is larger.
pub(super) const MOST_MEMBERS: usize = 100_000;
/// What all members of a set take of memory, about, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// One provider's paths.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: HashMap<Rc<str>, Known>,
    bytes: usize,
    /// Of the process: grows with each start.
    life: u64,
}

#[derive(Debug)]
struct Known {
    member: Rc<Member>,
    /// The life that said it last.
    life: u64,
}

/// What an `add` means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// A path that was not there.
    New(Rc<Member>),
    /// The first takes the place of the second: it is watched elsewhere, or shown
    /// in another way.
    Moved(Rc<Member>, Rc<Member>),
    /// Other labels; it is watched as before.
    Relabelled(Rc<Member>),
    /// Nothing new.
    Same,
    /// There is no room for it.
    Full,
}

impl Members {
    /// Another process begins to say what there is.
    pub fn begin_life(&mut self) {
        self.life += 1;
    }

    pub fn add(&mut self, member: Member) -> Added {
        let life = self.life;
        let size = member.size();
        if let Some(known) = self.by_id.get_mut(&member.id) {
            known.life = life;
            if *known.member == member {
                return Added::Same;
            }
            let old_size = known.member.size();
            if self.bytes - old_size + size > MOST_BYTES {
                return Added::Full;
            }
            self.bytes = self.bytes - old_size + size;
            let same_place = known.member.same_place(&member);
            let member = Rc::new(member);
            let old = std::mem::replace(&mut known.member, Rc::clone(&member));
            return match same_place {
                true => Added::Relabelled(member),
                false => Added::Moved(member, old),
            };
        }
        if self.by_id.len() >= MOST_MEMBERS || self.bytes + size > MOST_BYTES {
            return Added::Full;
        }
        self.bytes += size;
        let member = Rc::new(member);
        let known = Known {
            member: Rc::clone(&member),
            life,
        };
        self.by_id.insert(Rc::clone(&member.id), known);
        Added::New(member)
    }

    pub fn remove(&mut self, id: &str) -> Option<Rc<Member>> {
        let known = self.by_id.remove(id)?;
        self.bytes -= known.member.size();
        Some(known.member)
    }

    /// The process has said all: takes out what only an earlier one said.
    pub fn ready(&mut self) -> Vec<Rc<Member>> {
        let life = self.life;
        let gone = self.by_id.extract_if(|_, known| known.life != life);
        let gone: Vec<Rc<Member>> = gone.map(|(_, known)| known.member).collect();
        self.bytes -= gone.iter().map(|member| member.size()).sum::<usize>();
        gone
    }

    pub fn all(&self) -> impl Iterator<Item = &Rc<Member>> {
        self.by_id.values().map(|known| &known.member)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Message, parse};
    use super::*;

    fn member(id: &str, path: &str, label: &str) -> Member {
        let text =
            format!(r#"{{"add":{{"id":"{id}","path":"{path}","labels":{{"l":"{label}"}}}}}}"#);
        match parse(text.as_bytes()).unwrap() {
            Message::Add(member) => *member,
            other => panic!("{other:?}"),
        }
    }

    fn ids(members: &[Rc<Member>]) -> Vec<String> {
        let mut ids: Vec<String> = members.iter().map(|m| m.id.to_string()).collect();
        ids.sort();
        ids
    }

    #[test]
    fn what_an_add_means() {
        let mut members = Members::default();
        let a = member("a", "/a", "1");
        assert!(matches!(members.add(a.clone()), Added::New(_)));
        assert_eq!(members.add(a.clone()), Added::Same);
        assert!(matches!(
            members.add(member("a", "/a", "2")),
            Added::Relabelled(_)
        ));
        assert!(matches!(
            members.add(member("a", "/b", "2")),
            Added::Moved(..)
        ));
        assert_eq!(members.len(), 1);
        assert_eq!(members.remove("a").unwrap().path, b"/b");
        assert_eq!((members.remove("a"), members.bytes), (None, 0));
    }

    #[test]
    fn a_new_life_keeps_all_until_it_is_ready() {
        let mut members = Members::default();
        for id in ["a", "b", "c"] {
            members.add(member(id, "/x", ""));
        }
        assert!(members.ready().is_empty());
        members.begin_life();
        members.add(member("b", "/x", ""));
        members.add(member("d", "/x", ""));
        assert_eq!(members.len(), 4);
        assert_eq!(ids(&members.ready()), ["a", "c"]);
        assert_eq!(members.len(), 2);
    }

    #[test]
    fn the_set_is_bounded() {
        let mut members = Members::default();
        let big = "x".repeat(16_000);
        let mut count = 0;
        while members.add(member(&count.to_string(), "/x", &big)) != Added::Full {
            count += 1;
        }
        assert!((4000..5000).contains(&count), "{count}");
        members.remove("0");
        assert!(matches!(members.add(member("y", "/x", "")), Added::New(_)));
    }
}

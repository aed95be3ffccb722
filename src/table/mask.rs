//! Event bits and watch flags: the numbers of <sys/inotify.h>, and two of ours.

use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

/// A set of event bits and flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mask(pub u32);

#[allow(missing_docs)] // inotify(7) documents them
impl Mask {
    pub const ACCESS: Mask = Mask(0x1);
    pub const MODIFY: Mask = Mask(0x2);
    pub const ATTRIB: Mask = Mask(0x4);
    pub const CLOSE_WRITE: Mask = Mask(0x8);
    pub const CLOSE_NOWRITE: Mask = Mask(0x10);
    pub const CLOSE: Mask = Mask(0x18);
    pub const OPEN: Mask = Mask(0x20);
    pub const MOVED_FROM: Mask = Mask(0x40);
    pub const MOVED_TO: Mask = Mask(0x80);
    pub const MOVE: Mask = Mask(0xc0);
    pub const CREATE: Mask = Mask(0x100);
    pub const DELETE: Mask = Mask(0x200);
    pub const DELETE_SELF: Mask = Mask(0x400);
    pub const MOVE_SELF: Mask = Mask(0x800);
    pub const ALL_EVENTS: Mask = Mask(0xfff);
    /// `FAN_OPEN_EXEC` of fanotify; no inotify bit has this value.
    pub const OPEN_EXEC: Mask = Mask(0x1000);
    pub const UNMOUNT: Mask = Mask(0x2000);
    pub const Q_OVERFLOW: Mask = Mask(0x4000);
    pub const IGNORED: Mask = Mask(0x8000);
    /// Ours: an upload is complete (closed by its last writer, or moved in).
    pub const COMPLETE: Mask = Mask(0x1_0000);
    pub const ONLYDIR: Mask = Mask(0x0100_0000);
    pub const DONT_FOLLOW: Mask = Mask(0x0200_0000);
    pub const EXCL_UNLINK: Mask = Mask(0x0400_0000);
    pub const ISDIR: Mask = Mask(0x4000_0000);
    pub const ONESHOT: Mask = Mask(0x8000_0000);

    /// True where any bit of `other` is set here.
    pub const fn intersects(self, other: Mask) -> bool {
        self.0 & other.0 != 0
    }

    /// True where every bit of `other` is set here.
    pub const fn contains(self, other: Mask) -> bool {
        self.0 & other.0 == other.0
    }

    /// True without any bit.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Mask {
    type Output = Mask;
    fn bitor(self, other: Mask) -> Mask {
        Mask(self.0 | other.0)
    }
}

impl BitOrAssign for Mask {
    fn bitor_assign(&mut self, other: Mask) {
        self.0 |= other.0;
    }
}

impl BitAnd for Mask {
    type Output = Mask;
    fn bitand(self, other: Mask) -> Mask {
        Mask(self.0 & other.0)
    }
}

impl Not for Mask {
    type Output = Mask;
    fn not(self) -> Mask {
        Mask(!self.0)
    }
}

/// The events a line may ask for. `Q_OVERFLOW` and `IGNORED` are news about the
/// watch, not about a file, and never run a command.
const EVENTS: u32 = 0xfff | 0x1000 | 0x2000 | 0x1_0000;
/// The flags of inotify_add_watch(2) that a line may set.
const FLAGS: u32 = 0x0100_0000 | 0x0200_0000 | 0x0400_0000 | 0x8000_0000;
/// What a number in a table may hold: all that <sys/inotify.h> names and incron accepts.
const NUMBER: u32 = 0xfff | 0xe000 | FLAGS | 0x4000_0000;

/// One event each, in the order in which incron 0.5.12 writes them.
const ORDER: [(Mask, &str); 18] = [
    (Mask::ACCESS, "IN_ACCESS"),
    (Mask::MODIFY, "IN_MODIFY"),
    (Mask::ATTRIB, "IN_ATTRIB"),
    (Mask::CREATE, "IN_CREATE"),
    (Mask::DELETE, "IN_DELETE"),
    (Mask::DELETE_SELF, "IN_DELETE_SELF"),
    (Mask::OPEN, "IN_OPEN"),
    (Mask::MOVE_SELF, "IN_MOVE_SELF"),
    (Mask::CLOSE_WRITE, "IN_CLOSE_WRITE"),
    (Mask::CLOSE_NOWRITE, "IN_CLOSE_NOWRITE"),
    (Mask::MOVED_FROM, "IN_MOVED_FROM"),
    (Mask::MOVED_TO, "IN_MOVED_TO"),
    (Mask::OPEN_EXEC, "IN_OPEN_EXEC"),
    (Mask::COMPLETE, "IN_COMPLETE"),
    (Mask::UNMOUNT, "IN_UNMOUNT"),
    (Mask::Q_OVERFLOW, "IN_Q_OVERFLOW"),
    (Mask::IGNORED, "IN_IGNORED"),
    (Mask::ISDIR, "IN_ISDIR"),
];

/// The words of a table that stand for several events or for a flag.
const MORE_WORDS: [(Mask, &str); 7] = [
    (Mask::CLOSE, "IN_CLOSE"),
    (Mask::MOVE, "IN_MOVE"),
    (Mask::ALL_EVENTS, "IN_ALL_EVENTS"),
    (Mask::ONESHOT, "IN_ONESHOT"),
    (Mask::DONT_FOLLOW, "IN_DONT_FOLLOW"),
    (Mask::ONLYDIR, "IN_ONLYDIR"),
    (Mask::EXCL_UNLINK, "IN_EXCL_UNLINK"),
];

/// The names of inotifywait(1), and `complete`.
const SHORT_WORDS: [(Mask, &str); 17] = [
    (Mask::ACCESS, "access"),
    (Mask::MODIFY, "modify"),
    (Mask::ATTRIB, "attrib"),
    (Mask::CLOSE_WRITE, "close_write"),
    (Mask::CLOSE_NOWRITE, "close_nowrite"),
    (Mask::CLOSE, "close"),
    (Mask::OPEN, "open"),
    (Mask::MOVED_TO, "moved_to"),
    (Mask::MOVED_FROM, "moved_from"),
    (Mask::MOVE, "move"),
    (Mask::MOVE_SELF, "move_self"),
    (Mask::CREATE, "create"),
    (Mask::DELETE, "delete"),
    (Mask::DELETE_SELF, "delete_self"),
    (Mask::UNMOUNT, "unmount"),
    (Mask::ALL_EVENTS, "all_events"),
    (Mask::COMPLETE, "complete"),
];

impl Mask {
    /// The part that names events a command can run for.
    pub const fn events(self) -> Mask {
        Mask(self.0 & EVENTS)
    }

    /// The part that is flags of inotify_add_watch(2).
    pub const fn flags(self) -> Mask {
        Mask(self.0 & FLAGS)
    }

    /// The bits that mean nothing in a table's number.
    pub(super) const fn unknown_in_number(self) -> Mask {
        Mask(self.0 & !NUMBER)
    }

    /// The names of its events, one each, in incron's order; `IN_ISDIR` is the last.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        ORDER
            .iter()
            .filter(move |(bit, _)| self.intersects(*bit))
            .map(|(_, name)| *name)
    }

    /// The text of `$%`: the names joined by commas.
    pub fn text(self) -> String {
        let mut text = String::new();
        for name in self.names() {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
        }
        text
    }

    /// The mask field that means this: event names, then flags.
    pub fn written(self) -> String {
        let mut words: Vec<&str> = Vec::new();
        if self.contains(Mask::ALL_EVENTS) {
            words.push("IN_ALL_EVENTS");
        }
        let named = if words.is_empty() {
            self
        } else {
            self & !Mask::ALL_EVENTS
        };
        words.extend(named.names());
        words.extend(
            MORE_WORDS
                .iter()
                .skip(3)
                .filter(|(bit, _)| self.contains(*bit))
                .map(|(_, name)| *name),
        );
        words.join(",")
    }

    /// The bits of one word of a mask field: an IN_ name, or inotifywait's, in exact case.
    pub fn from_word(word: &str) -> Option<Mask> {
        words()
            .find(|(_, name)| *name == word)
            .map(|(mask, _)| mask)
    }
}

/// Every word [`Mask::from_word`] knows.
pub(super) fn words() -> impl Iterator<Item = (Mask, &'static str)> {
    ORDER.iter().chain(&MORE_WORDS).chain(&SHORT_WORDS).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_incron_wrote() {
        assert_eq!(Mask::CREATE.text(), "IN_CREATE");
        assert_eq!((Mask::CREATE | Mask::ISDIR).text(), "IN_CREATE,IN_ISDIR");
        assert_eq!(Mask::CLOSE_WRITE.text(), "IN_CLOSE_WRITE");
        assert_eq!(Mask(0).text(), "");
    }

    #[test]
    fn every_word_is_its_bits_and_back() {
        for (mask, word) in words() {
            assert_eq!(Mask::from_word(word), Some(mask), "{word}");
            let again = mask
                .written()
                .split(',')
                .filter_map(Mask::from_word)
                .fold(Mask(0), |a, b| a | b);
            assert_eq!(again, mask, "{word}");
        }
    }

    #[test]
    fn case_matters() {
        assert_eq!(Mask::from_word("in_create"), None);
        assert_eq!(Mask::from_word("CREATE"), None);
        assert_eq!(Mask::from_word("close_write"), Some(Mask::CLOSE_WRITE));
    }

    #[test]
    fn old_masks_keep_move_self_and_close_write() {
        let mask = Mask::CLOSE_WRITE | Mask::MOVE_SELF;
        assert_eq!(mask.written(), "IN_MOVE_SELF,IN_CLOSE_WRITE");
    }
}

//! What a line is told of a thing that a scan found: the rule, without any I/O.
//!
//! The kernel tells of changes; a scan sees states. A thing that a scan finds is
//! told to a line as the kernel would have told it had the watch been there in
//! time, once each, in the order in which it would have come:
//!
//! - it was made in place (`mkdir -p`, `cp -r`, `tar x`): CREATE, then for a
//!   regular file MODIFY if it holds anything, then CLOSE_WRITE unless somebody
//!   still has it open for writing (the kernel will tell of that close);
//! - it came with a tree that was renamed into place: one event, the first of
//!   MOVED_TO, CREATE, CLOSE_WRITE, MODIFY that the line asks for;
//! - it changed while the queue was full: as much of the first as its times show.

use super::kernel::Wd;
use crate::sys::inotify::{Stamp, Stat};
use crate::table::Mask;

/// How the thing came to be where the scan found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It was there before: nothing is told.
    Known,
    /// Made in place.
    Made,
    /// Renamed into place.
    Moved,
    /// Known if it is the directory of this watch, which was renamed to this name; else
    /// made in place.
    Kept(Wd),
    /// Anything may have happened since this time.
    Since(Stamp),
    /// Watched again after it had been refused at this time; what changed since
    /// in directories that were watched all the time is known.
    Regain(Stamp, Part),
}

/// Of a tree that is watched completely again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Was watched all the time.
    Held,
    /// Was not watched.
    Lacked,
}

impl How {
    /// True where directories that are known are looked at again.
    pub fn again(self) -> bool {
        matches!(self, How::Since(_) | How::Regain(..))
    }

    /// True where nothing in the directory itself is told.
    pub fn silent(self) -> bool {
        matches!(self, How::Known | How::Regain(_, Part::Held))
    }
}

/// What the scan knows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Thing {
    pub dir: bool,
    pub regular: bool,
    pub nonempty: bool,
    /// Somebody has it open for writing.
    pub open: bool,
    /// Renamed into place, rather than made there.
    pub moved: bool,
    /// Only these apply (`Since`): made, content written, anything at all changed.
    pub made: bool,
    pub written: bool,
    /// It is not there any more.
    pub gone: bool,
    /// It was known by its name all the time, and has got another one.
    pub linked: bool,
    /// Its times, where they were needed.
    pub born: Stamp,
    pub changed: Stamp,
    /// Any later change gives it another `changed`.
    pub exact: bool,
}

impl Thing {
    /// From its type and, where one was needed, its properties.
    /// `arrived`: its name was not there before, where that is known.
    pub fn new(kind: u32, stat: Option<&Stat>, arrived: Option<bool>, how: How) -> Option<Thing> {
        let mut thing = Thing {
            dir: kind == libc::S_IFDIR,
            regular: kind == libc::S_IFREG,
            nonempty: stat.is_some_and(|s| s.size > 0),
            open: false,
            moved: how == How::Moved,
            made: true,
            written: true,
            gone: false,
            linked: false,
            born: stat.and_then(|s| s.born).unwrap_or_default(),
            changed: stat.map(|s| s.changed).unwrap_or_default(),
            exact: false,
        };
        match how {
            How::Known | How::Kept(_) | How::Regain(_, Part::Held) => return None,
            How::Made | How::Moved => {}
            How::Since(since) | How::Regain(since, Part::Lacked) => {
                let s = stat?;
                if s.changed.latest() < since && arrived != Some(true) {
                    return None;
                }
                thing.made = s.born.is_some_and(|b| b.latest() >= since) || arrived == Some(true);
                thing.written = thing.made || s.modified.latest() >= since;
                if thing.dir && !thing.made {
                    return None;
                }
            }
        }
        Some(thing)
    }

    /// The same, unchanged since long ago.
    pub fn of_old(self) -> Thing {
        let (born, changed) = (Stamp(i64::MIN), Stamp(i64::MIN));
        Thing {
            born,
            changed,
            ..self
        }
    }

    /// A file that was found open for writing the last time: all but its close is told.
    pub fn closing(stat: &Stat) -> Thing {
        Thing {
            regular: true,
            written: true,
            born: stat.born.unwrap_or_default(),
            changed: stat.changed,
            ..Thing::default()
        }
    }
}

/// The event bits a line that asks for `asked` is told, to be reported singly
/// in the order of [`ORDER`].
pub(super) fn due(asked: Mask, thing: Thing) -> Mask {
    let has = |m: Mask| asked.intersects(m);
    let only = |list: &[Mask]| list.iter().copied().find(|&m| has(m)).unwrap_or_default();
    let closed = thing.regular && !thing.open;
    if thing.gone {
        return only(&[Mask::DELETE, Mask::MOVED_FROM]);
    }
    if thing.moved {
        let first = only(&[Mask::MOVED_TO, Mask::CREATE]);
        let complete = if thing.regular {
            asked & Mask::COMPLETE
        } else {
            Mask(0)
        };
        return match first | complete {
            m if !m.is_empty() => m,
            _ if closed => only(&[Mask::CLOSE_WRITE, Mask::MODIFY]),
            _ if thing.regular => only(&[Mask::MODIFY]),
            _ => Mask(0),
        };
    }
    let mut told = Mask(0);
    if thing.made {
        told |= asked & Mask::CREATE;
    }
    if thing.regular && thing.written {
        if thing.nonempty {
            told |= asked & Mask::MODIFY;
        }
        if closed {
            told |= asked & (Mask::CLOSE_WRITE | Mask::COMPLETE);
        }
    }
    let waits =
        thing.regular && has(Mask::CLOSE_WRITE | Mask::MODIFY | Mask::COMPLETE) && thing.written;
    if told.is_empty() && !waits {
        told = match (thing.made, thing.written) {
            _ if thing.linked => asked & Mask::ATTRIB,
            (true, _) => asked & Mask::MOVED_TO,
            (false, true) => only(&[Mask::MOVED_TO, Mask::CREATE, Mask::ATTRIB]),
            (false, false) => only(&[Mask::MOVED_TO, Mask::ATTRIB]),
        };
    }
    told
}

/// The order in which the kernel would tell.
pub(super) const ORDER: [Mask; 8] = [
    Mask::MOVED_FROM,
    Mask::DELETE,
    Mask::MOVED_TO,
    Mask::CREATE,
    Mask::ATTRIB,
    Mask::MODIFY,
    Mask::CLOSE_WRITE,
    Mask::COMPLETE,
];

/// The part of `due` that is told in the step of `bit`: one event each, except
/// that `complete` comes with the event that completes.
pub(super) fn step(due: Mask, bit: Mask, thing: Thing) -> Mask {
    let with = if thing.moved {
        Mask::MOVED_TO | Mask::CREATE
    } else {
        Mask::CLOSE_WRITE
    };
    let together = due.intersects(with);
    match bit {
        Mask::COMPLETE if together => Mask(0),
        _ if due.intersects(bit & with) => due & (bit | Mask::COMPLETE),
        _ => due & bit,
    }
}

/// What a line on a file is told of an event of the file's name in its directory.
/// A save is a save: a file that replaces the old one by a rename is a write to
/// lines that ask for writes only. `complete`: the file is all there; `linked`:
/// it came as a link to a file with content.
pub(super) fn for_file(asked: Mask, bits: Mask, complete: bool, linked: bool) -> Mask {
    let first = |list: &[Mask]| {
        list.iter()
            .copied()
            .find(|&m| asked.intersects(m))
            .unwrap_or_default()
    };
    let complete = if complete {
        asked & Mask::COMPLETE
    } else {
        Mask(0)
    };
    complete
        | match bits & Mask::ALL_EVENTS {
            Mask::MOVED_TO => first(&[Mask::MOVED_TO, Mask::CLOSE_WRITE, Mask::MODIFY]),
            Mask::CREATE if linked => first(&[Mask::CREATE, Mask::CLOSE_WRITE, Mask::MODIFY]),
            Mask::DELETE => first(&[Mask::DELETE_SELF, Mask::DELETE]),
            Mask::MOVED_FROM => first(&[Mask::MOVE_SELF, Mask::MOVED_FROM]),
            bits => asked & bits,
        }
}

/// True where a line that was told `told` by a scan need not hear `bit`, which
/// the kernel had queued before the scan ended.
pub(super) fn covers(told: Mask, bit: Mask) -> bool {
    let arrival = Mask::CREATE | Mask::MOVED_TO;
    let parting = Mask::DELETE | Mask::MOVED_FROM;
    if told.intersects(parting) {
        return bit.intersects(parting);
    }
    told.intersects(bit) || (!told.is_empty() && bit.intersects(arrival))
}

/// What is left of `due` for a line that was told `told` at `at`, before the
/// queue was full: not again what covers the state that the thing is in.
pub(super) fn left(due: Mask, told: Mask, at: Stamp, thing: Thing) -> Mask {
    let arrival = Mask::CREATE | Mask::MOVED_TO;
    let mut left = due;
    // That a file was written says nothing of the directory or link that took its name.
    let of_this = thing.regular && !told.is_empty() || told.intersects(arrival);
    if of_this && thing.born <= at {
        left = left & !arrival;
    }
    if thing.changed < at {
        left = left & !told;
        if told.intersects(Mask::MOVED_TO) {
            left = Mask(0);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Thing {
        Thing {
            regular: true,
            nonempty: true,
            made: true,
            written: true,
            ..Thing::default()
        }
    }

    #[test]
    fn a_made_file_is_told_as_the_kernel_would_have() {
        let all = Mask::CREATE | Mask::MODIFY | Mask::CLOSE_WRITE | Mask::MOVED_TO;
        assert_eq!(
            due(all, file()),
            Mask::CREATE | Mask::MODIFY | Mask::CLOSE_WRITE
        );
        assert_eq!(due(Mask::MOVED_TO, file()), Mask::MOVED_TO);
        assert_eq!(
            due(Mask::CLOSE_WRITE | Mask::MOVED_TO, file()),
            Mask::CLOSE_WRITE
        );
        assert_eq!(due(Mask::DELETE, file()), Mask(0));
    }

    #[test]
    fn a_file_still_being_written_waits_for_its_close() {
        let open = Thing {
            open: true,
            ..file()
        };
        assert_eq!(due(Mask::CLOSE_WRITE | Mask::MOVED_TO, open), Mask(0));
        assert_eq!(due(Mask::CREATE | Mask::CLOSE_WRITE, open), Mask::CREATE);
    }

    #[test]
    fn a_moved_thing_is_told_once() {
        let moved = Thing {
            moved: true,
            ..file()
        };
        assert_eq!(due(Mask::ALL_EVENTS, moved), Mask::MOVED_TO);
        assert_eq!(due(Mask::CREATE | Mask::CLOSE_WRITE, moved), Mask::CREATE);
        assert_eq!(
            due(Mask::CLOSE_WRITE | Mask::MODIFY, moved),
            Mask::CLOSE_WRITE
        );
        let dir = Thing {
            dir: true,
            moved: true,
            made: true,
            ..Thing::default()
        };
        assert_eq!(due(Mask::CLOSE_WRITE, dir), Mask(0));
    }
}

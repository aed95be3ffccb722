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

//! The directories that the supervisor keeps an eye on: tables, allow and deny
//! files, passwd. One that vanishes is waited for at its nearest ancestor.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{
    AddWatchFlags as Flags, InitFlags, Inotify, InotifyEvent, WatchDescriptor,
};

/// One mask for all: a directory may serve several purposes, and a second
/// `add_watch` would replace the mask of the first.
const MASK: Flags = Flags::IN_CREATE
    .union(Flags::IN_CLOSE_WRITE)
    .union(Flags::IN_MOVED_TO)
    .union(Flags::IN_MOVED_FROM)
    .union(Flags::IN_DELETE)
    .union(Flags::IN_ATTRIB)
    .union(Flags::IN_DELETE_SELF)
    .union(Flags::IN_MOVE_SELF)
    .union(Flags::IN_ONLYDIR);

/// The place itself is gone, or no longer where it was.
const LEFT: Flags = Flags::IN_DELETE_SELF
    .union(Flags::IN_MOVE_SELF)
    .union(Flags::IN_UNMOUNT)
    .union(Flags::IN_IGNORED);

/// Steps towards a place before giving up until the next change.
const MAX_STEPS: u32 = 32;

/// What happened to a name in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A name was made; if it is a new file, its text is still to come.
    Created,
    /// A writer closed it.
    Written,
    /// It came by a rename.
    MovedIn,
    /// Owner, mode or number of names changed.
    Attributes,
    /// It is not there any more.
    Gone,
    /// Nothing that is known of: the daemon reads all of them again.
    Again,
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A name in a place.
    Entry(usize, OsString, How),
    /// The place appeared or vanished, or events were lost: look at all of it.
    Whole(usize),
}

/// All watched places.
#[derive(Debug)]
pub struct Places {
    inotify: Inotify,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Itself(WatchDescriptor),
    Ancestor(WatchDescriptor),
    Nowhere,
}

impl Places {
    /// Nothing watched yet.
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        Ok(Self {
            inotify,
            places: Vec::new(),
        })
    }

    /// Readable when something changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Watches a directory, or waits for it. The number is what changes name it by.
    pub fn add(&mut self, path: &Path) -> usize {
        if let Some(known) = self.places.iter().position(|place| place.path == path) {
            return known;
        }
        self.places.push(Place {
            path: path.to_owned(),
            at: At::Nowhere,
        });
        let number = self.places.len() - 1;
        self.settle(number);
        number
    }

    /// Reads what changed, all of it.
    pub fn read(&mut self, changes: &mut Vec<Change>) -> io::Result<()> {
        loop {
            match self.inotify.read_events() {
                Ok(events) => events.iter().for_each(|event| self.take(event, changes)),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Looks whether every place is still what is watched, and watches what is
    /// there now (a mount, or a parent that was renamed, makes no event).
    pub fn verify(&mut self) {
        for number in 0..self.places.len() {
            self.settle(number);
        }
    }

    fn take(&mut self, event: &InotifyEvent, changes: &mut Vec<Change>) {
        if event.mask.contains(Flags::IN_Q_OVERFLOW) {
            log::warn!("too many changes in the table directories at once; reading them all again");
            changes.extend((0..self.places.len()).map(Change::Whole));
            return;
        }
        for number in 0..self.places.len() {
            let Some(at) = self.places.get(number).map(|place| place.at) else {
                continue;
            };
            match at {
                At::Itself(wd) if wd == event.wd => match (how(event), &event.name) {
                    (Some(how), Some(name)) => {
                        changes.push(Change::Entry(number, name.clone(), how));
                    }
                    _ if event.mask.intersects(LEFT) => self.left(number, changes),
                    // Its own owner or mode: what it holds may be trusted no more, or again.
                    _ if event.mask.contains(Flags::IN_ATTRIB) => {
                        changes.push(Change::Whole(number))
                    }
                    _ => {}
                },
                At::Ancestor(wd) if wd == event.wd && self.settle(number) => {
                    changes.push(Change::Whole(number));
                }
                _ => {}
            }
        }
    }

    /// The watched directory is not the place any more.
    fn left(&mut self, number: usize, changes: &mut Vec<Change>) {
        let Some(place) = self.places.get_mut(number) else {
            return;
        };
        if let At::Itself(wd) = std::mem::replace(&mut place.at, At::Nowhere) {
            log::warn!("{} is gone; waiting for it", place.path.display());
            self.release(wd);
        }
        self.settle(number);
        changes.push(Change::Whole(number));
    }

    fn release(&self, wd: WatchDescriptor) {
        let used = |place: &Place| place.at == At::Itself(wd) || place.at == At::Ancestor(wd);
        if !self.places.iter().any(used) {
            // Fails when the kernel has removed it already.
            let _ = self.inotify.rm_watch(wd);
        }
    }

    /// Watches the place, or the nearest there is. True: the place itself, anew.
    fn settle(&mut self, number: usize) -> bool {
        let Some(place) = self.places.get(number) else {
            return false;
        };
        let (path, before) = (place.path.clone(), place.at);
        let mut at = At::Nowhere;
        for _ in 0..MAX_STEPS {
            let now = self.nearest(&path);
            // Twice the same answer: nothing came up between look and watch.
            if now == at {
                break;
            }
            at = now;
        }
        if let Some(place) = self.places.get_mut(number) {
            place.at = at;
        }
        match before {
            At::Itself(old) | At::Ancestor(old) if before != at => self.release(old),
            _ => {}
        }
        matches!(at, At::Itself(_)) && at != before
    }

    fn nearest(&self, path: &Path) -> At {
        for step in path.ancestors() {
            match self.inotify.add_watch(step, MASK) {
                Ok(wd) if step == path => return At::Itself(wd),
                Ok(wd) => return At::Ancestor(wd),
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(error) => log::error!("cannot watch {}: {error}", step.display()),
            }
        }
        At::Nowhere
    }
}

fn how(event: &InotifyEvent) -> Option<How> {
    let has = |flag| event.mask.contains(flag);
    if has(Flags::IN_CLOSE_WRITE) {
        Some(How::Written)
    } else if has(Flags::IN_MOVED_TO) {
        Some(How::MovedIn)
    } else if has(Flags::IN_MOVED_FROM) || has(Flags::IN_DELETE) {
        Some(How::Gone)
    } else if has(Flags::IN_CREATE) {
        Some(How::Created)
    } else if has(Flags::IN_ATTRIB) {
        Some(How::Attributes)
    } else {
        None
    }
}

/// The directory and the name of a file that is watched by its directory.
pub fn split(path: &Path) -> (&Path, &OsStr) {
    let dir = path.parent().unwrap_or(Path::new("/"));
    (dir, path.file_name().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(places: &mut Places) -> Vec<Change> {
        let mut changes = Vec::new();
        places.read(&mut changes).unwrap();
        changes
    }

    #[test]
    fn names_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut places = Places::new().unwrap();
        let number = places.add(dir.path());
        assert_eq!(places.add(dir.path()), number);
        std::fs::write(dir.path().join("t"), "x").unwrap();
        std::fs::remove_file(dir.path().join("t")).unwrap();
        let entry = |how| Change::Entry(number, "t".into(), how);
        let expected = [entry(How::Created), entry(How::Written), entry(How::Gone)];
        assert_eq!(changes(&mut places), expected);
    }

    #[test]
    fn a_directory_that_is_not_there_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut places = Places::new().unwrap();
        let path = dir.path().join("a/b/c");
        let number = places.add(&path);
        std::fs::create_dir(dir.path().join("a")).unwrap();
        assert_eq!(changes(&mut places), []);
        std::fs::create_dir_all(&path).unwrap();
        assert_eq!(changes(&mut places), [Change::Whole(number)]);
        std::fs::write(path.join("t"), "x").unwrap();
        assert_eq!(changes(&mut places).len(), 2);

        // Renamed away, and another in its place.
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        assert_eq!(changes(&mut places), [Change::Whole(number)]);
        std::fs::write(dir.path().join("old/t"), "y").unwrap();
        assert_eq!(changes(&mut places), []);
        std::fs::create_dir(&path).unwrap();
        assert_eq!(changes(&mut places), [Change::Whole(number)]);
    }

    #[test]
    fn a_directory_replaced_at_once_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tables");
        std::fs::create_dir(&path).unwrap();
        let mut places = Places::new().unwrap();
        let number = places.add(&path);
        std::fs::remove_dir(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(changes(&mut places).contains(&Change::Whole(number)));
        std::fs::write(path.join("t"), "x").unwrap();
        let written = Change::Entry(number, "t".into(), How::Written);
        assert!(changes(&mut places).contains(&written));
    }
}

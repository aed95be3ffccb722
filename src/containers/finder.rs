//! Tells when a file of a [`Pattern`] is written, by inotify: nothing happens while
//! nothing happens.
//!
//! A directory that is not there yet is waited for at its nearest ancestor. Each
//! directory is watched first and read then, so that nothing falls in between.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::pattern::{Part, Pattern};
use super::rights;

/// A directory may be on the way of several patterns; nix has no name for it.
const MASK_ADD: AddWatchFlags = AddWatchFlags::from_bits_retain(nix::libc::IN_MASK_ADD);

/// No reason to complain.
const NOT_THERE: [Errno; 4] = [Errno::ENOENT, Errno::ENOTDIR, Errno::EACCES, Errno::ELOOP];

/// Watches of one inotify instance, with all that they wait for.
#[derive(Debug)]
pub struct Finder {
    inotify: Inotify,
    patterns: Vec<Pattern>,
    nodes: HashMap<WatchDescriptor, Node>,
    /// A user's directories may be any number, and the kernel's limit is ours.
    most: usize,
    found: Vec<PathBuf>,
    trouble: Option<Errno>,
}

#[derive(Debug)]
struct Node {
    path: PathBuf,
    waits: Vec<Wait>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Wait {
    pattern: usize,
    awaited: Awaited,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Awaited {
    /// The next component on the way to the pattern's base.
    Base(OsString),
    /// The part with this number.
    Part(usize),
}

impl Finder {
    /// With at most `most` watches.
    ///
    /// # Errors
    /// `EMFILE`: `fs.inotify.max_user_instances`, or our own open files.
    pub fn new(most: usize) -> io::Result<Finder> {
        Ok(Finder {
            inotify: Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?,
            patterns: Vec::new(),
            nodes: HashMap::new(),
            most,
            found: Vec::new(),
            trouble: None,
        })
    }

    /// Readable when [`Self::read`] has something to do.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Begins with a pattern; its files that are there already.
    pub fn add(&mut self, pattern: Pattern) -> Vec<PathBuf> {
        self.patterns.push(pattern);
        self.walk(self.patterns.len() - 1);
        std::mem::take(&mut self.found)
    }

    /// The files that were written since.
    pub fn read(&mut self) -> Vec<PathBuf> {
        while let Ok(events) = self.inotify.read_events() {
            for event in &events {
                self.event(event);
            }
        }
        std::mem::take(&mut self.found)
    }

    /// Why the latest watch could not be had, once: `ENOSPC` is a limit.
    pub fn trouble(&mut self) -> Option<Errno> {
        self.trouble.take()
    }

    fn event(&mut self, event: &InotifyEvent) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            (0..self.patterns.len()).for_each(|pattern| self.walk(pattern));
        } else if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            let node = self.nodes.remove(&event.wd);
            node.into_iter().for_each(|node| self.gone(node));
        } else if let Some(name) = &event.name {
            let Some(node) = self.nodes.get(&event.wd) else {
                return;
            };
            let (path, waits) = (node.path.join(name), node.waits.clone());
            for wait in waits {
                self.appeared(event, &wait, name, &path);
            }
        }
    }

    fn appeared(&mut self, event: &InotifyEvent, wait: &Wait, name: &OsStr, path: &Path) {
        let index = match &wait.awaited {
            Awaited::Base(next) if next == name => {
                self.forget(event.wd, wait);
                return self.walk(wait.pattern);
            }
            Awaited::Base(_) => return,
            Awaited::Part(index) => *index,
        };
        let Some((part, last)) = self.part(wait.pattern, index) else {
            return;
        };
        let written = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO;
        let dir = event.mask.contains(AddWatchFlags::IN_ISDIR);
        if !part.matches(name) {
        } else if last && !dir && event.mask.intersects(written) {
            self.found.push(path.to_owned());
        } else if !last && dir && self.enter(wait.pattern, index + 1, path) {
            self.passed(event.wd, wait, part, index);
        }
    }

    /// A directory that is no more may be there again already.
    fn gone(&mut self, node: Node) {
        for wait in node.waits {
            match wait.awaited {
                Awaited::Base(_) | Awaited::Part(0) => self.walk(wait.pattern),
                Awaited::Part(index) => {
                    let above = self.part(wait.pattern, index - 1);
                    let named = above.is_some_and(|(part, _)| matches!(part, Part::Name(_)));
                    if let (true, Some(parent)) = (named, node.path.parent()) {
                        self.enter(wait.pattern, index - 1, parent);
                    }
                }
            }
        }
    }

    fn part(&self, pattern: usize, index: usize) -> Option<(Part, bool)> {
        let parts = self.patterns.get(pattern)?.parts;
        Some((*parts.get(index)?, index + 1 == parts.len()))
    }

    /// From the pattern's base on; where it is missing, from what there is of it.
    fn walk(&mut self, pattern: usize) {
        let Some(base) = self
            .patterns
            .get(pattern)
            .map(|pattern| pattern.base.clone())
        else {
            return;
        };
        // Each turn is one component that appeared while we looked.
        for _ in 0..64 {
            if self.enter(pattern, 0, &base) {
                return;
            }
            let mut above = base.ancestors().skip(1);
            let Some(at) = above.find(|path| path.is_dir()) else {
                return;
            };
            let Some(next) = base
                .strip_prefix(at)
                .ok()
                .and_then(|rest| rest.iter().next())
            else {
                return;
            };
            let wait = Wait {
                pattern,
                awaited: Awaited::Base(next.to_owned()),
            };
            match self.watch(at, wait.clone(), true) {
                Some(wd) if at.join(next).is_dir() => self.forget(wd, &wait),
                _ => return,
            }
        }
    }

    /// Watches `dir` for the part `index`, then looks what is there. False where it
    /// is no directory, or closed to us.
    fn enter(&mut self, pattern: usize, index: usize, dir: &Path) -> bool {
        let Some((part, last)) = self.part(pattern, index) else {
            return false;
        };
        let wait = Wait {
            pattern,
            awaited: Awaited::Part(index),
        };
        let Some(wd) = self.watch(dir, wait.clone(), index == 0) else {
            return false;
        };
        match part {
            Part::Name(name) if last => self.leaf(dir.join(name)),
            Part::Name(name) => {
                if self.enter(pattern, index + 1, &dir.join(name)) {
                    self.passed(wd, &wait, part, index);
                }
            }
            _ => self.each(dir, |finder, name| {
                if part.matches(name) {
                    finder.enter(pattern, index + 1, &dir.join(name));
                }
            }),
        }
        true
    }

    fn leaf(&mut self, path: PathBuf) {
        if rights::look(|| path.symlink_metadata()).is_ok_and(|data| data.is_file()) {
            self.found.push(path);
        }
    }

    fn each(&mut self, dir: &Path, mut visit: impl FnMut(&mut Finder, &OsStr)) {
        let entries = rights::within(dir, |dir| std::fs::read_dir(dir));
        for entry in entries.into_iter().flatten().flatten() {
            visit(self, &entry.file_name());
        }
    }

    /// A directory below a fixed name needs no watch once that name is there: its
    /// end is told by the watch below. One watch a container, not two.
    fn passed(&mut self, wd: WatchDescriptor, wait: &Wait, part: Part, index: usize) {
        if index > 0 && matches!(part, Part::Name(_)) {
            self.forget(wd, wait);
        }
    }

    fn watch(&mut self, dir: &Path, wait: Wait, follow: bool) -> Option<WatchDescriptor> {
        let last = match wait.awaited {
            Awaited::Base(_) => false,
            Awaited::Part(index) => self.part(wait.pattern, index)?.1,
        };
        let mut flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR | MASK_ADD;
        flags |= match last {
            true => AddWatchFlags::IN_CLOSE_WRITE,
            false => AddWatchFlags::IN_CREATE,
        };
        if !follow {
            flags |= AddWatchFlags::IN_DONT_FOLLOW;
        }
        if self.nodes.len() >= self.most {
            self.trouble = Some(Errno::ENOSPC);
            return None;
        }
        let add = |dir: &Path| Ok(self.inotify.add_watch(dir, flags)?);
        let wd = match rights::within(dir, add) {
            Ok(wd) => wd,
            Err(error) => {
                let error = Errno::from_raw(error.raw_os_error().unwrap_or(0));
                self.trouble = Some(error).filter(|error| !NOT_THERE.contains(error));
                return None;
            }
        };
        let node = self.nodes.entry(wd).or_insert_with(|| Node {
            path: dir.to_owned(),
            waits: Vec::new(),
        });
        if !node.waits.contains(&wait) {
            node.waits.push(wait);
        }
        Some(wd)
    }

    fn forget(&mut self, wd: WatchDescriptor, wait: &Wait) {
        let Some(node) = self.nodes.get_mut(&wd) else {
            return;
        };
        node.waits.retain(|other| other != wait);
        if node.waits.is_empty() {
            self.nodes.remove(&wd);
            let _ = self.inotify.rm_watch(wd); // gone by itself is as good
        }
    }
}

#[cfg(test)]
mod tests;

//! When the kernel refuses a watch: what could be watched is, the line's owner is
//! told once what is missing and how to get it, and it is tried again.
//!
//! A full table (`ENOSPC`, `ENOMEM`, `EMFILE`) is tried again after 1, 2, 4 ...
//! 64 seconds, and at once when a line of ours has given watches back. A directory
//! in a tree that may not be read is tried again when its mode changes; a path
//! that may not be read, like a full table. Nothing missing: no wake-ups.

use std::io;
use std::time::Duration;

use super::found::{How, Part};
use super::inotify::Inotify;
use super::limit_texts::message;
use super::root::{RootId, State};
use super::tree::NodeId;
use super::{Problem, Report};
use crate::sys::inotify::{self as sys, Stamp};
use crate::time::Moment;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(64);

/// What a root lacks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lack {
    /// The first error.
    pub errno: i32,
    /// Directories known to be missing; there may be more below them.
    pub missing: u32,
    /// Since when.
    pub since: Stamp,
    /// The lines have been told.
    pub told: bool,
    /// Only the guard of the way is missing: not worth a message.
    pub guard_only: bool,
    /// The path itself, which may have been there: it is not new when it is watched.
    pub path: bool,
}

/// When to try again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retry {
    /// The last time heard of.
    pub now: Moment,
    pub at: Option<Moment>,
    pause: Duration,
}

impl Retry {
    /// Tries again after the present pause.
    fn later(&mut self) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
        self.at = Some(self.now + self.pause);
    }

    /// Something is missing since now.
    fn begin(&mut self) {
        if self.at.is_none() {
            self.pause = Duration::ZERO;
            self.later();
        }
    }

    /// Watches have been given back.
    pub fn soon(&mut self) {
        if self.at.is_some() {
            self.pause = Duration::ZERO;
            self.at = Some(self.now);
        }
    }
}

pub(super) fn is_limit(errno: i32) -> bool {
    matches!(
        errno,
        libc::ENOSPC | libc::ENOMEM | libc::EMFILE | libc::ENFILE
    )
}

impl Inotify {
    /// The directory `name` in `parent` cannot be watched.
    pub(super) fn refused(&mut self, root: RootId, parent: NodeId, name: &[u8], e: &io::Error) {
        let errno = e.raw_os_error().unwrap_or(libc::EIO);
        if is_limit(errno) {
            return self.lack(root, errno, false);
        }
        log::debug!("{}: {e}", String::from_utf8_lossy(name));
        self.hear_mode(parent);
    }

    /// The path of a root cannot be watched.
    pub(super) fn refused_root(&mut self, root: RootId, e: &io::Error) {
        self.lack(root, e.raw_os_error().unwrap_or(libc::EIO), false);
        if let Some(lack) = self.roots.get_mut(root).and_then(|r| r.lack.as_mut()) {
            lack.path = true;
        }
    }

    /// A guard of its way cannot be had: its being moved would not be heard.
    pub(super) fn refused_guard(&mut self, root: RootId, e: &io::Error) {
        let errno = e.raw_os_error().unwrap_or(libc::EIO);
        self.lack(root, errno, !is_limit(errno));
    }

    fn lack(&mut self, root: RootId, errno: i32, guard_only: bool) {
        let Some(r) = self.roots.get_mut(root) else {
            return;
        };
        let fresh = Lack {
            errno,
            missing: 0,
            since: sys::file_clock(),
            told: false,
            guard_only,
            path: false,
        };
        let lack = r.lack.get_or_insert(fresh);
        if lack.guard_only && !guard_only {
            *lack = Lack {
                since: lack.since,
                ..fresh
            };
        }
        lack.missing = lack.missing.saturating_add(1);
        self.lacking = true;
    }

    /// Tells the lines, once, what they lack; and plans to try again.
    pub(super) fn tell_lacks(&mut self, out: &mut Vec<Report>) {
        if !std::mem::take(&mut self.lacking) {
            return;
        }
        self.retry.begin();
        for id in self.roots.ids() {
            let Some(root) = self.roots.get_mut(id) else {
                continue;
            };
            let Some(lack) = root.lack.as_mut().filter(|l| !l.told && !l.guard_only) else {
                continue;
            };
            lack.told = true;
            let lack = *lack;
            let message = message(root.written(), lack, self.kernel.len());
            for line in &root.lines {
                out.push(Report::Problem(
                    line.id,
                    Problem {
                        message: message.clone(),
                        serious: true,
                    },
                ));
            }
        }
    }

    /// Tries again what was refused.
    pub(super) fn retry_lacks(&mut self, now: Moment, out: &mut Vec<Report>) {
        self.retry.now = now;
        if self.retry.at.is_none_or(|at| at > now) {
            return;
        }
        for id in self.roots.ids() {
            let Some(lack) = self.roots.get_mut(id).and_then(|r| r.lack.take()) else {
                continue;
            };
            let root = self.roots.get(id);
            let missing = root.is_some_and(|r| matches!(r.state, State::Missing));
            if lack.path && missing {
                // What is new its times say.
                self.resolve(id, How::Regain(lack.since, Part::Lacked), out);
            } else {
                self.rescan(id, How::Regain(lack.since, Part::Held), out);
            }
            let Some(root) = self.roots.get_mut(id) else {
                continue;
            };
            match &mut root.lack {
                Some(still) => {
                    still.told |= lack.told;
                    still.path |= lack.path;
                    still.since = lack.since;
                }
                None if lack.told => {
                    let path = String::from_utf8_lossy(root.written());
                    let message = format!("{path}: watched completely again");
                    for line in &root.lines {
                        let problem = Problem {
                            message: message.clone(),
                            serious: false,
                        };
                        out.push(Report::Problem(line.id, problem));
                    }
                }
                None => {}
            }
        }
        self.tell_lacks(out);
        let any = self
            .roots
            .ids()
            .into_iter()
            .any(|id| self.roots.get(id).is_some_and(|r| r.lack.is_some()));
        if any {
            self.retry.later();
        } else {
            self.retry.at = None;
        }
    }
}

//! Going into directories: the working directory of this thread, lent to the source.
//!
//! The threads of a process have one working directory together. So a thread that is
//! about to leave it gets one of its own first (unshare(2), CLONE_FS, which anybody
//! may), and comes back before it does anything else: what it starts then begins
//! where it always did, and no directory is kept busy by us.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, fchdir};

/// Where this thread is.
pub(super) struct Inside {
    /// Where it belongs; None: it stays there.
    home: Option<OwnedFd>,
    away: bool,
}

impl Inside {
    /// At home.
    pub fn new() -> Self {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Self {
            home: open(".", flags, Mode::empty()).ok(),
            away: false,
        }
    }

    /// Goes into `target`. False: it is no directory, or one that may not be entered.
    pub fn enter(&mut self, target: BorrowedFd<'_>) -> bool {
        if self.home.is_none() {
            return false;
        }
        // Each time: a thread that was started since shares it again.
        if !self.away && unshare(CloneFlags::CLONE_FS).is_err() {
            self.home = None;
            return false;
        }
        let inside = fchdir(target).is_ok();
        self.away |= inside;
        inside
    }

    /// Goes home.
    pub fn leave(&mut self) {
        if let Some(home) = self.home.as_ref().filter(|_| self.away) {
            self.away = false;
            // Somebody may have closed it to us.
            let _ = fchdir(home).or_else(|_| chdir("/"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env::current_dir;
    use std::os::fd::AsFd;

    #[test]
    fn nobody_else_is_led_away() {
        let before = current_dir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let fd = open(dir.path(), OFlag::O_PATH, Mode::empty()).unwrap();
        let mut inside = Inside::new();
        assert!(inside.enter(fd.as_fd()));
        assert_eq!(current_dir().unwrap(), dir.path().canonicalize().unwrap());
        inside.leave();
        assert_eq!(current_dir().unwrap(), before);
        // A thread that is there when we go.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (say, hear) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            wait.recv().unwrap();
            say.send(current_dir().unwrap()).unwrap();
        });
        assert!(inside.enter(fd.as_fd()));
        go.send(()).unwrap();
        assert_eq!(hear.recv().unwrap(), before);
        inside.leave();
        other.join().unwrap();
    }

    #[test]
    fn a_file_cannot_be_entered() {
        let file = tempfile::tempfile().unwrap();
        let mut inside = Inside::new();
        let before = current_dir().unwrap();
        assert!(!inside.enter(file.as_fd()));
        inside.leave();
        assert_eq!(current_dir().unwrap(), before);
    }
}

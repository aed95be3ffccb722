//! The programs that engines leave beside each container (conmon, containerd's
//! shim). Executing a file opens it, and inotify tells: so we hear that somebody
//! starts a container, wherever its files are, and hear nothing else.
//!
//! The kernel's process events would tell it, too, but wake us for every process
//! of the machine.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// Where distributions and engines' own builds put them; containers.conf(5).
pub const CONMON: [&str; 8] = [
    "/usr/bin/conmon",
    "/usr/sbin/conmon",
    "/usr/libexec/podman/conmon",
    "/usr/lib/podman/conmon",
    "/usr/libexec/crio/conmon",
    "/usr/local/bin/conmon",
    "/usr/local/libexec/podman/conmon",
    "/usr/local/lib/podman/conmon",
];
/// The same of containerd's shim.
pub const SHIM: [&str; 2] = [
    "/usr/bin/containerd-shim-runc-v2",
    "/usr/local/bin/containerd-shim-runc-v2",
];

/// Watches of those files, and of their directories: a package upgrade replaces them.
#[derive(Debug)]
pub struct Binaries {
    inotify: Inotify,
    /// Directories, and what is wanted in them. One that is a link to another has the
    /// other's watch.
    dirs: HashMap<WatchDescriptor, (PathBuf, HashSet<OsString>)>,
}

impl Binaries {
    /// Begins with no file.
    ///
    /// # Errors
    /// `EMFILE`: `fs.inotify.max_user_instances`, or our own open files.
    pub fn new() -> io::Result<Binaries> {
        Ok(Binaries {
            inotify: Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?,
            dirs: HashMap::new(),
        })
    }

    /// Readable when [`Self::read`] has something to do.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// One more file.
    pub fn add(&mut self, file: &Path) {
        let (Some(dir), Some(name)) = (file.parent(), file.file_name()) else {
            return;
        };
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        let flags = flags | AddWatchFlags::IN_ONLYDIR;
        let Ok(wd) = self.inotify.add_watch(dir, flags) else {
            return;
        };
        let new = || (dir.to_owned(), HashSet::new());
        let (_, wanted) = self.dirs.entry(wd).or_insert_with(new);
        if wanted.insert(name.to_owned()) {
            self.watch(file);
        }
    }

    fn watch(&self, file: &Path) {
        // It need not be there yet.
        let _ = self.inotify.add_watch(file, AddWatchFlags::IN_OPEN);
    }

    /// True if one of them may have been executed.
    pub fn read(&mut self) -> bool {
        let mut executed = false;
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.dirs.remove(&event.wd);
                } else if let (Some((dir, wanted)), Some(name)) =
                    (self.dirs.get(&event.wd), &event.name)
                {
                    if wanted.contains(name) {
                        let file = dir.join(name);
                        self.watch(&file);
                        executed = true; // perhaps before the watch
                    }
                } else {
                    executed = true;
                }
            }
        }
        executed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn an_execution_is_heard_even_of_a_replaced_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("conmon");
        let mut binaries = Binaries::new().unwrap();
        binaries.add(&file);
        assert!(!binaries.read());
        for _ in 0..3 {
            let new = dir.path().join("new");
            std::fs::copy("/bin/true", &new).unwrap();
            std::fs::rename(&new, &file).unwrap();
            assert!(binaries.read());
            assert!(!binaries.read());
            // Another thread's child may hold the file open for writing: try again.
            while Command::new(&file).status().is_err() {}
            assert!(binaries.read());
            std::fs::write(dir.path().join("other"), "").unwrap();
            assert!(!binaries.read());
        }
    }
}

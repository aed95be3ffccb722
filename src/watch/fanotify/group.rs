//! The fanotify group, its marks, and the way from a handle to a directory.
//!
//! A file system is known by the number that the kernel puts before each handle.
//! Directories are opened by their handles through any mount of it, and their places are
//! asked for through the one that they are in. It is open only while that is done: an
//! open mount could not be unmounted.

mod door;
mod ended;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::open;
use nix::sys::stat::Mode;

use super::mounts::{Mount, Mounts};
use crate::sys::fanotify as sys;
use crate::watch::scan::path_flags;
use door::Door;
pub(super) use door::Spot;

/// The number of a file system.
pub(super) type FsId = [u8; 8];

/// A file system with a mark, or a directory of which has one.
struct System {
    device: Box<[u8]>,
    /// What the kernel was asked for on all of it; 0: nothing.
    mask: u64,
    doors: Vec<Door>,
    /// The table of mounts has been looked through for them.
    looked: bool,
    /// Another one has its device by now.
    replaced: bool,
}

pub(super) struct Group {
    fd: OwnedFd,
    systems: HashMap<FsId, System>,
    /// Directories with a mark of their own: on the way to a path, on a file system
    /// that has none.
    ways: HashMap<Box<[u8]>, Vec<u8>>,
}

/// What happens to a file by its name in a directory, but for renames.
const OF_FILES: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MODIFY
    | libc::FAN_CLOSE
    | libc::FAN_ATTRIB
    | libc::FAN_ACCESS
    | libc::FAN_OPEN;

/// The number and the handle of what is open.
pub(super) fn key_of(fd: BorrowedFd<'_>) -> io::Result<Box<[u8]>> {
    let mut key = sys::fsid(fd)?.to_vec();
    sys::handle(fd, c"", &mut key)?;
    Ok(key.into())
}

pub(super) fn fs_of(key: &[u8]) -> Option<FsId> {
    key.first_chunk().copied()
}

impl Group {
    pub fn new(pidfd: bool) -> io::Result<Self> {
        Ok(Self {
            fd: sys::init(pidfd)?,
            systems: HashMap::new(),
            ways: HashMap::new(),
        })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Marks held.
    pub fn marks(&self) -> usize {
        self.ways.len() + self.systems.values().filter(|s| s.mask != 0).count()
    }

    /// Records that wait.
    pub fn queued(&self) -> u64 {
        sys::queued(self.fd.as_fd()).unwrap_or(0)
    }

    /// Asks for at least `mask` of the whole file system that `fd` is on.
    pub fn mark(
        &mut self,
        fs: FsId,
        mount: &Mount,
        fd: BorrowedFd<'_>,
        mask: u64,
    ) -> io::Result<()> {
        let system = self.system(fs, mount);
        if system.mask & mask == mask {
            return Ok(());
        }
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
        let asked = system.mask | mask;
        sys::mark(self.fd.as_fd(), flags, mask, fd)?;
        if let Some(system) = self.systems.get_mut(&fs) {
            system.mask = asked;
        }
        Ok(())
    }

    fn system(&mut self, fs: FsId, mount: &Mount) -> &System {
        let new = || System {
            device: mount.device.clone(),
            mask: 0,
            doors: Vec::new(),
            looked: false,
            replaced: false,
        };
        // These alone give parts of one file system numbers of their own.
        if !self.systems.contains_key(&fs) && !matches!(&*mount.kind, "btrfs" | "bcachefs") {
            let others = self.systems.values_mut();
            let same = others.filter(|s| s.device == mount.device);
            same.for_each(|s| s.replaced = true);
        }
        let system = self.systems.entry(fs).or_insert_with(new);
        if system.mask == 0 && system.device != mount.device {
            // Mounted again, from another device.
            *system = new();
        }
        system
    }

    pub fn is_marked(&self, fs: FsId) -> bool {
        self.systems.get(&fs).is_some_and(|s| s.mask != 0)
    }

    /// Marks a directory on the way to a path.
    pub fn mark_way(
        &mut self,
        fs: FsId,
        mount: &Mount,
        fd: BorrowedFd<'_>,
        path: &[u8],
        mask: u64,
    ) {
        let Ok(key) = key_of(fd) else { return };
        if self.ways.contains_key(&key) {
            return;
        }
        self.system(fs, mount);
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_ONLYDIR;
        // Where it cannot be marked (proc), its names do not change either.
        if sys::mark(self.fd.as_fd(), flags, mask, fd).is_ok() {
            self.ways.insert(key, path.to_vec());
        }
    }

    /// Has the changes of files in a directory left out.
    ///
    /// # Errors
    /// `EINVAL` before Linux 6.0; the directory is gone.
    pub fn ignore(&mut self, mounts: &Mounts, key: &[u8]) -> io::Result<()> {
        let dir = self.open(mounts, key)?;
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_EVICTABLE;
        self.mark_ignored(flags, &dir, key)
    }

    /// Takes [`Self::ignore`] back.
    ///
    /// # Errors
    /// The mark may be there still.
    pub fn heed(&mut self, mounts: &Mounts, key: &[u8]) -> io::Result<()> {
        let done = match self.open(mounts, key) {
            Ok(dir) => self.mark_ignored(libc::FAN_MARK_REMOVE, &dir, key),
            Err(error) => Err(error),
        };
        match done {
            // The directory is gone, its file system is, or the kernel took the mark back.
            Err(e) if e.raw_os_error() == Some(libc::ESTALE) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn mark_ignored(&self, flags: u32, dir: &OwnedFd, key: &[u8]) -> io::Result<()> {
        let asked = fs_of(key).and_then(|fs| self.systems.get(&fs));
        let mask = asked.map_or(0, |system| system.mask) & OF_FILES;
        if mask == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags = flags | libc::FAN_MARK_IGNORE_SURV;
        let mask = mask | libc::FAN_EVENT_ON_CHILD;
        sys::mark(self.fd.as_fd(), flags, mask, dir.as_fd())
    }

    /// Gives up the marks of directories whose paths `needed` does not know.
    pub fn keep_ways(&mut self, mask: u64, needed: impl Fn(&[u8]) -> bool) {
        let gone: Vec<_> = self
            .ways
            .iter()
            .filter(|(_, path)| !needed(path))
            .map(|(k, p)| (k.clone(), p.clone()))
            .collect();
        for (key, path) in gone {
            self.ways.remove(&key);
            let place = if path.is_empty() { b"/" } else { &*path };
            if let Ok(fd) = open(place, path_flags(), Mode::empty())
                && key_of(fd.as_fd()).is_ok_and(|k| k == key)
            {
                let _ = sys::mark(self.fd.as_fd(), libc::FAN_MARK_REMOVE, mask, fd.as_fd());
            }
        }
    }

    /// Asks for what `needed` says of each file system, and no more.
    pub fn narrow(&mut self, mounts: &Mounts, needed: impl Fn(FsId) -> u64) -> Vec<FsId> {
        let mut gone = Vec::new();
        let ids: Vec<FsId> = self.systems.keys().copied().collect();
        for fs in ids {
            let want = needed(fs);
            let Some(system) = self.systems.get(&fs) else {
                continue;
            };
            let extra = system.mask & !want;
            let in_use = want != 0 || self.ways.keys().any(|k| k.starts_with(&fs));
            if extra != 0 {
                let flags = libc::FAN_MARK_REMOVE | libc::FAN_MARK_FILESYSTEM;
                let door = self.any_door(mounts, fs);
                if let Some(fd) = door.and_then(|fd| fd.try_clone_to_owned().ok()) {
                    let _ = sys::mark(self.fd.as_fd(), flags, extra, fd.as_fd());
                }
            }
            if let Some(system) = self.systems.get_mut(&fs) {
                system.mask = want;
            }
            if !in_use {
                self.systems.remove(&fs);
                gone.push(fs);
            }
        }
        self.close();
        gone
    }
}
